// Package chat tests the chat page as a person sees it: the real server, a planner and
// an API server that play theirs, and a real Chromium.
package chat
