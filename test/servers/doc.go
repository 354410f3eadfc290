// Package servers measures the same agents through the real servers that speak
// Prometheus' query API, with one query for all metrics and with one for each exact
// name: whichever is asked, at every look the figure is the same to the last digit,
// and in the end it is what was used. And it looks at what each of them says when it
// can't answer: the reason must be the right one, and the same at every look.
//
// All of an agent's hours are written at once, with remote write, and looked at from
// times in the past, so that three hours of looks take seconds.
//
// `make test-servers` builds what is needed and runs it; `make test-servers-long` does so for
// a Thanos and a Mimir, which take long to build.
package servers
