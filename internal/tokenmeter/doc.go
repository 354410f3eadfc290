// Package tokenmeter stands between the agents and their language models: a
// reverse proxy that counts the tokens of every call by agent, model and class,
// and refuses the calls of an agent whose budget is spent. It holds the
// provider's credentials; the agents hold none.
//
//	route.go     what a path asks for
//	proxy.go     one call, from the agent to the provider and back
//	body.go      an answer on its way through, also when nobody is left to read it
//	usage/       what an answer says about tokens
//	journal.go   the counters, on disk
//	budget.go    whether an agent may make a call
//	cluster.go   budgets, prices and pods, from the API server
//
// docs/token-meter.md is the page for whoever runs it.
package tokenmeter
