package simulation

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
)

var (
	seed   = flag.Uint64("seed", 0, "live through this world only, and say what it was")
	worlds = flag.Int("worlds", 1000, "how many worlds TestFailureTable lives through")
)

// TestMain lets the garbage wait: the worlds are small and many.
func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// A row of the failure table: what goes wrong, and what must come of it.
type row struct {
	name   string
	traits Traits

	// hides: some tokens are never exported, so that nobody can count them. What is
	// counted is what samples tell of, and that misses no more than Hidden says.
	hides bool

	// alone: nothing else goes wrong; named: a series has to be named at some look.
	alone, named bool

	// least is given where not all that samples tell of can be counted: then what
	// is counted lies between it and the truth.
	least func(w *World, r Result) Tokens
}

var rows = []row{
	{name: "new series at a value above 0", traits: Traits{}},
	{name: "counters born at 0", traits: Traits{BornAtZero: true}},
	{name: "counter reset", traits: Traits{Restarts: true}},
	{name: "the same, and nothing says when a process started", traits: Traits{Restarts: true, Mute: true}, least: func(w *World, r Result) Tokens {
		return w.Proven(r.Start, w.End)
	}},
	{name: "series with one sample", traits: Traits{OneSample: true}},
	{name: "jobs of three minutes", traits: Traits{ShortJobs: true}},
	{name: "quiet agent", traits: Traits{Quiet: true}},
	{name: "series older than the budget", traits: Traits{OldPods: true}},
	{name: "retention shorter than life", traits: Traits{Retention: true}},
	{name: "server down for minutes or hours", traits: Traits{Unreachable: true}},
	{name: "server down longer than retention", traits: Traits{Retention: true, Outlasted: true}, least: func(w *World, r Result) Tokens {
		return w.Unforgotten(r.Start, w.End, r.Forgotten)
	}},
	{name: "pods die while nothing is stored", traits: Traits{Unheard: true}, hides: true},
	{name: "the same, stored afterwards", traits: Traits{Backlog: true, Restarts: true}},
	{name: "pods die without a last export", traits: Traits{NoFlush: true, Restarts: true}, hides: true},
	{name: "samples late by less than D", traits: Traits{Late: true}},
	{name: "samples late by more than D", traits: Traits{TooLate: true}, least: func(w *World, r Result) Tokens {
		return w.OnTime(r.Start, w.End)
	}},
	{name: "function's clock ahead", traits: Traits{ClockAhead: true}},
	{name: "function's clock behind", traits: Traits{ClockBehind: true}},
	{name: "pods' clocks differ", traits: Traits{PodClocks: true}},
	{name: "two replicas of Prometheus", traits: Traits{Twins: true, Restarts: true}, hides: true},
	{name: "two processes write one series", traits: Traits{TwoWriters: true}, least: func(w *World, r Result) Tokens {
		return w.Unshared(r.Start, w.End)
	}},
	{name: "samples that no counter has", traits: Traits{BadSamples: true}},
	{name: "status wiped", traits: Traits{Wiped: true}},
	{name: "garbage in status", traits: Traits{Garbage: true}},
	{name: "counters that dip and come back", traits: Traits{Dips: true}, alone: true, named: true},
	{name: "dips, and nothing says when a process started", traits: Traits{Dips: true, Mute: true}, alone: true, named: true},
	{name: "a silence, and then a server that is behind", traits: Traits{Failovers: true, Mute: true}, alone: true, named: true},
	{name: "labels of living series change", traits: Traits{Relabels: true}, alone: true},
	{name: "two monitors of one pod", traits: Traits{Monitors: true}, alone: true, named: true},
	{name: "two servers without a replica label", traits: Traits{Servers: true}, alone: true},
	{name: "a new day begins", traits: Traits{Daily: true}},
}

// with adds whatever else may go wrong in a world, but not what hides tokens or
// can't be together.
func (t Traits) with(r *rand.Rand) Traits {
	for _, f := range []*bool{&t.Restarts, &t.BornAtZero, &t.OneSample, &t.Unreachable, &t.Late, &t.ClockBehind, &t.ClockAhead, &t.PodClocks, &t.BadSamples, &t.Wiped, &t.Garbage} {
		if r.IntN(4) == 0 {
			*f = true
		}
	}
	if t.Retention {
		t.Wiped, t.Garbage = false, false // nothing is left to count again
	}
	return t
}

// worldOf returns the row and the world that a seed stands for: half of a row's
// worlds have only its own trouble, the others whatever else may come with it.
// In all of them one status write in three is lost, and reads are stale.
func worldOf(seed uint64) (row, *World) {
	k := rows[seed%uint64(len(rows))]
	t := k.traits
	if r := rand.New(rand.NewPCG(seed, 0x7a17)); r.IntN(2) == 0 && k.least == nil && !k.alone {
		t = t.with(r)
	}
	t.LostWrites, t.StaleReads = true, true
	return k, NewWorld(seed, t)
}

// largestStatus is what a status may come to, in bytes.
const largestStatus = 32 << 10

// verdict says what is wrong with what came of a world, or "".
func verdict(k row, w *World, faulty, clean Result) string {
	hidden := Tokens{}
	if k.hides {
		hidden = w.Hidden()
	}
	if w.Traits.PodClocks { // what is used after the start may be stamped before it
		hidden = hidden.plus(w.UsedIn(faulty.Start, faulty.Start.Add(step)))
	}
	if d := faulty.Exported.above(faulty.Used.plus(w.BeforeHeard(faulty.Start))); d != "" && !w.Traits.TwoWriters {
		return "the world made tokens up: exported > used: " + d
	}
	if d := faulty.Used.above(faulty.Exported.plus(hidden)); d != "" && !w.Traits.TwoWriters {
		return "the world hid tokens: used > exported: " + d
	}
	if faulty.Largest >= largestStatus {
		return fmt.Sprintf("the status grew to %d bytes", faulty.Largest)
	}
	if (w.Traits.BadSamples && !w.Traits.Unreachable || w.Traits.TwoWriters || k.named) && !faulty.Named { // a backlog is read without naming anything
		return "the series was never named"
	}
	if k.least != nil {
		most := faulty.Exported
		if w.Traits.TwoWriters {
			most = faulty.Used
		}
		if d := faulty.Counted.above(most); d != "" {
			return "counted > truth: " + d
		}
		// Cached input that comes too late is charged as input.
		if over := faulty.Counted.USD() - most.USD(); over > 1e-9 && !w.Traits.TooLate {
			return fmt.Sprintf("charged %v USD more than was used", over)
		}
		if d := k.least(w, faulty).above(faulty.Counted); d != "" {
			return "counted too little: bound > counted: " + d
		}
		return ""
	}
	switch d := faulty.Counted.differs(faulty.Exported); {
	case d != "":
		return "counted is not the truth: " + d
	case faulty.SpentUSD != faulty.Exported.USD():
		return fmt.Sprintf("spent %v USD, the truth is %v", faulty.SpentUSD, faulty.Exported.USD())
	case faulty.Over > 0 && !(w.Traits.Late && (w.Traits.OldPods || w.Traits.Daily)): // until the sample before the boundary comes, what follows it looks new
		return fmt.Sprintf("a look was %v USD above the truth of its time", faulty.Over)
	}
	if d := clean.Counted.differs(faulty.Counted); d != "" {
		return "when no write is lost, something else is counted: " + d
	}
	return ""
}

// A line of the table that is printed.
type line struct {
	worlds, looks, cursors, largest int
	lowest, highest                 float64 // percent off the truth
}

func (l *line) add(w *World, r Result) {
	l.worlds++
	l.looks += r.Looks
	l.cursors, l.largest = max(l.cursors, r.Cursors), max(l.largest, r.Largest)
	if truth := r.Exported.USD(); truth > 0 {
		if w.Traits.TwoWriters {
			truth = r.Used.USD()
		}
		off := (r.Counted.USD() - truth) / truth * 100
		l.lowest, l.highest = min(l.lowest, off), max(l.highest, off)
	}
}

// TestFailureTable lives through worlds in which things fail, and compares what
// was counted with the truth, token by token. A world that fails is replayed by
// its seed: make test-simulation SEED=<seed>.
func TestFailureTable(t *testing.T) {
	t.Parallel()
	first, n := uint64(1), uint64(*worlds)
	if testing.Short() {
		n = 2 * uint64(len(rows))
	}
	if *seed != 0 {
		first, n = *seed, 1
	}
	var mu sync.Mutex
	table := map[string]*line{}
	var failed []uint64
	var wg sync.WaitGroup
	next := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for s := range next {
				k, w := worldOf(s)
				r, why := live(t, s, k, w, n == 1)
				mu.Lock()
				if why != "" {
					failed = append(failed, s)
					t.Errorf("seed %d (%s; %s): %s", s, k.name, w.Traits, why)
				}
				if table[k.name] == nil {
					table[k.name] = &line{}
				}
				table[k.name].add(w, r)
				mu.Unlock()
			}
		})
	}
	for s := first; s < first+n; s++ {
		next <- s
	}
	close(next)
	wg.Wait()

	var out strings.Builder
	fmt.Fprintf(&out, "\n| Failure | Worlds | Looks | Error, lowest | Error, highest | Most cursors | Largest status |\n|---|---|---|---|---|---|---|\n")
	for _, k := range rows {
		if l := table[k.name]; l != nil {
			fmt.Fprintf(&out, "| %s | %d | %d | %s | %s | %d | %d B |\n", k.name, l.worlds, l.looks, percent(l.lowest), percent(l.highest), l.cursors, l.largest)
		}
	}
	t.Log(out.String())
	slices.Sort(failed)
	for _, s := range failed {
		t.Logf("replay with: make test-simulation SEED=%d", s)
	}
}

// live lives through a world, and says what is wrong with what came of it. One
// world in eight is lived through without faults of status too.
func live(t *testing.T, s uint64, k row, w *World, loud bool) (Result, string) {
	t.Helper()
	faulty, err := w.Run(t.Context(), true)
	if err != nil {
		return faulty, err.Error()
	}
	clean := faulty
	if s/uint64(len(rows))%8 == 0 || loud {
		if clean, err = w.Run(t.Context(), false); err != nil {
			return faulty, "without faults: " + err.Error()
		}
	}
	if loud {
		t.Logf("seed %d: %s; %s: %d looks, counted %v, exported %v, used %v, problems %v, at most %d cursors",
			s, k.name, w.Traits, faulty.Looks, faulty.Counted, faulty.Exported, faulty.Used, faulty.Problems, faulty.Cursors)
	}
	return faulty, verdict(k, w, faulty, clean)
}

func percent(p float64) string {
	if p == 0 {
		return "0"
	}
	return fmt.Sprintf("%+.4f %%", p)
}

func (t Traits) String() string {
	var on []string
	v := reflect.ValueOf(t)
	for i := range v.NumField() {
		if v.Field(i).Bool() {
			on = append(on, v.Type().Field(i).Name)
		}
	}
	return strings.Join(on, " ")
}
