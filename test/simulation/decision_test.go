package simulation

import (
	"testing"
	"time"

	"whisperops.io/functions/fn/budget/fetchspend/query"
)

// A trouble begins, and ends.
type trouble struct {
	name       string
	begin, end func(a *agent)
	restarts   bool // the functions start anew before every look
	lost       bool // no status write arrives
	unmeasured bool // nothing can be measured
}

func outage(a *agent) {
	a.store.Failure = query.Problem{Reason: "PrometheusUnreachable", Message: "The server refuses connections"}
}

func outageOver(a *agent) { a.store.Failure = nil }

func pricesGone(a *agent) { a.plane.Prices = "" }

func pricesBack(a *agent) { a.plane.Prices = Prices }

func wiped(a *agent) { a.status = nil }

func nothing(*agent) {}

var troubles = []trouble{
	{name: "metrics outage", begin: outage, end: outageOver, unmeasured: true},
	{name: "function restart", begin: nothing, end: nothing, restarts: true},
	{name: "status writes lost", begin: nothing, end: nothing, lost: true},
	{name: "status wiped", begin: wiped, end: nothing},
	{name: "price table gone", begin: pricesGone, end: pricesBack},
	{name: "metrics outage, status wiped and its writes lost", begin: func(a *agent) { outage(a); wiped(a) }, end: outageOver, lost: true, unmeasured: true},
	{name: "price table gone, status wiped and its writes lost", begin: func(a *agent) { pricesGone(a); wiped(a) }, end: pricesBack, lost: true, unmeasured: true},
	{name: "all of it, and restarts", begin: func(a *agent) { outage(a); pricesGone(a); wiped(a) }, end: func(a *agent) { outageOver(a); pricesBack(a) }, lost: true, restarts: true, unmeasured: true},
}

// last lives through two hours of trouble, a look a minute, and fails unless the
// agent is at every look as it was before.
func (tr trouble) last(t *testing.T, a *agent, each func()) {
	t.Helper()
	was := a.plane.Running()
	tr.begin(a)
	for range 120 {
		a.goOn(time.Minute)
		each()
		if tr.restarts {
			a.plane.Restart()
		}
		r := a.look(!tr.lost)
		if a.plane.Running() != was {
			t.Fatalf("at %s the agent runs: %t; before the trouble: %t", a.now.Format(time.TimeOnly), a.plane.Running(), was)
		}
		measured, reason := condition(r, "SpendMeasured")
		if tr.unmeasured != (measured == "False") {
			t.Fatalf("SpendMeasured is %s (%s)", measured, reason)
		}
	}
	tr.end(a)
}

// TestRunningAgentRunsOn spends slowly through every trouble.
func TestRunningAgentRunsOn(t *testing.T) {
	t.Parallel()
	if *seed != 0 {
		t.Skip("one world is asked for")
	}
	for _, tr := range troubles {
		t.Run(tr.name, func(t *testing.T) {
			t.Parallel()
			a := newAgent(t, nil)
			spend := func() { a.use(1_000) }
			for range 30 {
				spend()
				a.goOn(time.Minute)
				a.look(true)
			}
			tr.last(t, a, spend)
			a.goOn(2 * time.Minute)
			a.look(true)
			if want := 150 * 1_000 * 2.5e-6; a.spentUSD() != want || !a.plane.Running() {
				t.Errorf("after the trouble status says %v USD and running is %t, want %v USD and true", a.spentUSD(), a.plane.Running(), want)
			}
		})
	}
}

// TestExhaustedAgentStaysPaused uses its budget up, and then lives through every
// trouble. The write of the status that says so is lost, or it isn't.
func TestExhaustedAgentStaysPaused(t *testing.T) {
	t.Parallel()
	if *seed != 0 {
		t.Skip("one world is asked for")
	}
	for _, tr := range troubles {
		for _, arrives := range []bool{true, false} {
			name := tr.name
			if !arrives {
				name += ", as the agent is paused"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				a := newAgent(t, nil)
				a.use(100_000)
				a.goOn(10 * time.Minute)
				a.look(true)
				a.use(2_000_000)
				a.goOn(2 * time.Minute)
				if !a.plane.Running() {
					t.Fatal("the agent was paused too early")
				}
				a.look(arrives)
				if a.plane.Running() {
					t.Fatal("5.25 of 5 USD are spent, and the agent runs")
				}
				tr.last(t, a, func() {})
				a.goOn(2 * time.Minute)
				a.look(true)
				if want := 2_100_000 * 2.5e-6; a.spentUSD() != want || a.plane.Running() {
					t.Errorf("after the trouble status says %v USD and running is %t, want %v USD and false", a.spentUSD(), a.plane.Running(), want)
				}
			})
		}
	}
}
