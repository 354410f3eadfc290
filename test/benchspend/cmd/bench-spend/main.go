// Command bench-spend prints what it costs to measure spend, on a real Prometheus,
// as markdown tables: samples read and query time of one measurement of an agent
// that is an hour, a day and a month old, and what 2,000 agents measured once a
// minute cost the server and the function. Beside both stands the naive
// sum(increase(x[age])) of the three token counters, in the same run.
//
// It fails when a measurement of an old agent reads more samples than one of a young
// agent: those are counted by the server, and the same in every run. Times and memory
// are printed, and nothing depends on them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

// options of a run.
type options struct {
	prometheus string // binary
	function   string // binary of function-budget-fetch-spend
	base       string // the same of an earlier commit; may be empty
	agents     int
	round      time.Duration // in which all agents are measured once
}

func main() {
	var o options
	flag.StringVar(&o.prometheus, "prometheus", "", "path of a prometheus binary")
	flag.StringVar(&o.function, "function", "", "path of function-budget-fetch-spend")
	flag.StringVar(&o.base, "base", "", "path of function-budget-fetch-spend of an earlier commit, to compare with")
	flag.IntVar(&o.agents, "agents", 2000, "how many agents one server has")
	flag.DurationVar(&o.round, "round", time.Minute, "in which all agents are measured once")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench-spend:", err)
		stop()
		os.Exit(1) //nolint:gocritic // nothing is left to be undone
	}
}

func run(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "bench-spend-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // nobody needs it

	p, err := newPopulation(time.Now(), o.agents)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := p.backfill(ctx, dir+"/data"); err != nil {
		return err
	}
	fmt.Printf("Backfilled %d samples in %s: an agent of 6 series for each age, and %d agents of 3 series that are a day old; one sample each 30 s.\n\n",
		p.written, time.Since(began).Round(time.Second), o.agents)

	server, err := startPrometheus(ctx, o.prometheus, dir, p)
	if err != nil {
		return err
	}
	defer server.stop()
	if err := flatness(ctx, server, p); err != nil {
		return err
	}
	return load(ctx, o, server, p)
}
