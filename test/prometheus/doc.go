// Package prometheus measures spend as it is measured in a cluster: the real
// fetch-spend and decide binaries, asked over gRPC, ask a real Prometheus that
// scrapes fake agents. The agents know what they used, so the money that was
// counted is compared with the truth: while pods come and go, restart in place,
// die without a last scrape, sit behind two replicas, write late or go quiet, and
// while Prometheus is killed, forgets, answers wrongly or not at all.
//
// `make test-prometheus` builds what is needed, runs it and prints a table.
package prometheus
