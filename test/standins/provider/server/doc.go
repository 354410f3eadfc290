// Package server speaks for the fake provider: generateContent and
// streamGenerateContent as Gemini and Vertex have them, and chat completions as
// OpenAI has them. It bills what it says, in the fields and at the moments that the
// real ones do, and keeps the bill: what a meter in front of it counted must be that,
// to the token.
//
//	POST /v1beta/models/MODEL:generateContent, :streamGenerateContent[?alt=sse]
//	POST /v1/chat/completions
//	GET  /bill      every call, and sums by agent and model (JSON)
//	POST /behave    what goes wrong next: a list of Behaviours (JSON)
package server
