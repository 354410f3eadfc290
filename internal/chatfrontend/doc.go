// Package chatfrontend serves the page on which people talk to one agent, and
// stands between the page and the agent's planner.
//
//	transcript/    what a planner sends, read event by event; plain Go
//	markdown/      what a model wrote, as HTML that can't hurt
//	page/          the page itself: HTML, CSS and one script, no build step
//	planner.go     A2A         budget.go    the XAgentBudget
//	turn.go        one question and its answer, watched by any number of pages
//	store.go       conversations, in memory, each its owner's alone
//	pictures.go    charts      auth.go      who may see the page
//	server.go      routes      main.go      flags and set-up
//
// A question belongs to the server: a page that goes away, comes back or is opened
// twice sees the same answer grow. See docs/chat.md.
package chatfrontend
