package simulation

import (
	"context"
	"flag"
	"fmt"
	"math/big"
	"math/rand/v2"
	"reflect"
	"runtime"
	"sort"
	"strings"
	"sync"
	"testing"
)

var (
	seed   = flag.Uint64("seed", 0, "live through this world only, and say what it was")
	worlds = flag.Int("worlds", 1000, "how many worlds TestFailureTable lives through")
)

// A row of the failure table: what goes wrong, and what must come of it.
type row struct {
	name   string
	traits Traits

	// tails: some tokens were never exported, so that nobody can count them; the
	// truth is what samples tell of.
	tails bool

	// bound: nothing says how the samples are to be read, so that the truth is only
	// a bound.
	bound bool
}

var rows = []row{
	{name: "nothing fails", traits: Traits{}},
	{name: "counter reset", traits: Traits{Restarts: true}},
	{name: "counters born at 0", traits: Traits{BornAtZero: true}},
	{name: "series with one sample", traits: Traits{OneSample: true}},
	{name: "quiet agent", traits: Traits{Quiet: true}},
	{name: "series older than the budget", traits: Traits{OldPods: true}, tails: true},
	{name: "retention shorter than life", traits: Traits{Retention: true}},
	{name: "server can't be asked", traits: Traits{Unreachable: true}},
	{name: "nothing stored for minutes", traits: Traits{Unheard: true}, tails: true},
	{name: "process dies without a last export", traits: Traits{NoFlush: true, Restarts: true}, tails: true},
	{name: "samples up to 45 minutes late", traits: Traits{Late: true}},
	{name: "function's clock ahead", traits: Traits{ClockAhead: true}},
	{name: "function's clock behind", traits: Traits{ClockBehind: true}},
	{name: "pods' clocks differ", traits: Traits{PodClocks: true}},
	{name: "two replicas of Prometheus", traits: Traits{Twins: true, Restarts: true}, tails: true},
	{name: "two processes write one series", traits: Traits{TwoWriters: true}, bound: true},
	{name: "samples no counter has", traits: Traits{BadSamples: true}},
	{name: "status wiped", traits: Traits{Wiped: true}},
	{name: "garbage in status", traits: Traits{Garbage: true}},
	{name: "a new day begins", traits: Traits{Daily: true}, tails: true},
}

// everything but what only bounds the truth, what hides tokens, and what can't be
// together.
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
	if r := rand.New(rand.NewPCG(seed, 0x7a17)); r.IntN(2) == 0 && !k.bound {
		t = t.with(r)
	}
	t.LostWrites, t.StaleReads = true, true
	return k, NewWorld(seed, t)
}

// verdict says what is wrong with what came of a world, or "".
func verdict(k row, w *World, faulty, clean Result) string {
	switch {
	case k.bound && faulty.Spent.Cmp(faulty.Used) > 0:
		return fmt.Sprintf("counted %s, more than the %s that were used", faulty.Spent, faulty.Used)
	case k.bound && !faulty.Named:
		return "the series was never named"
	case k.bound:
		return ""
	case faulty.Spent.Cmp(faulty.Truth) != 0:
		return fmt.Sprintf("counted %s, the truth is %s", faulty.Spent, faulty.Truth)
	case !k.tails && faulty.Truth.Cmp(faulty.Used) != 0:
		return fmt.Sprintf("the world hid tokens: exported %s, used %s", faulty.Truth, faulty.Used)
	case faulty.Over != nil && !(w.Traits.Late && (w.Traits.OldPods || w.Traits.Daily)): // until the sample before the boundary comes, what follows it looks new
		return fmt.Sprintf("a look was %s above the truth of its time", faulty.Over)
	case clean.Spent.Cmp(faulty.Spent) != 0:
		return fmt.Sprintf("counted %s, and %s when no write is lost", faulty.Spent, clean.Spent)
	case faulty.Largest > 32<<10:
		return fmt.Sprintf("the ledger grew to %d bytes", faulty.Largest)
	case w.Traits.BadSamples && !faulty.Named:
		return "the bad samples were never named"
	}
	return ""
}

// TestFailureTable lives through worlds in which things fail, and compares what
// was counted with the truth. A world that fails is replayed by its seed:
// make test-simulation SEED=<seed>.
func TestFailureTable(t *testing.T) {
	first, n := uint64(1), uint64(*worlds)
	if testing.Short() {
		n = 2 * uint64(len(rows))
	}
	if *seed != 0 {
		first, n = *seed, 1
	}
	type line struct {
		worlds, looks int
		worst         float64
		largest       int
	}
	var mu sync.Mutex
	table := map[string]*line{}
	var failed []uint64
	var wg sync.WaitGroup
	next := make(chan uint64)
	for range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for s := range next {
				k, w := worldOf(s)
				faulty, err := w.Run(context.Background(), true)
				if err != nil {
					t.Errorf("seed %d (%s): %v", s, k.name, err)
					continue
				}
				clean := faulty
				if s/uint64(len(rows))%4 == 0 || n == 1 {
					if clean, err = w.Run(context.Background(), false); err != nil {
						t.Errorf("seed %d (%s), without faults: %v", s, k.name, err)
						continue
					}
				}
				why := verdict(k, w, faulty, clean)
				mu.Lock()
				if why != "" {
					failed = append(failed, s)
					t.Errorf("seed %d (%s; %s): %s", s, k.name, w.Traits, why)
				}
				if n == 1 {
					t.Logf("seed %d: %s; %s: %d looks, counted %s, truth %s, used %s, problems %v, cursors %d",
						s, k.name, w.Traits, faulty.Looks, faulty.Spent, faulty.Truth, faulty.Used, faulty.Problems, len(faulty.Ledger.Cursors))
				}
				l := table[k.name]
				if l == nil {
					l = &line{}
					table[k.name] = l
				}
				l.worlds++
				l.looks += faulty.Looks
				l.largest = max(l.largest, faulty.Largest)
				if e := errorPercent(faulty); e > l.worst && !k.bound || -e > -l.worst && k.bound {
					l.worst = e
				}
				mu.Unlock()
			}
		}()
	}
	for s := first; s < first+n; s++ {
		next <- s
	}
	close(next)
	wg.Wait()

	var out strings.Builder
	fmt.Fprintf(&out, "\n%-36s %7s %7s %12s %14s\n", "failure", "worlds", "looks", "worst error", "largest ledger")
	for _, k := range rows {
		if l := table[k.name]; l != nil {
			fmt.Fprintf(&out, "%-36s %7d %7d %11.4f%% %12d B\n", k.name, l.worlds, l.looks, l.worst, l.largest)
		}
	}
	t.Log(out.String())
	sort.Slice(failed, func(i, j int) bool { return failed[i] < failed[j] })
	for _, s := range failed {
		t.Logf("replay with: make test-simulation SEED=%d", s)
	}
}

// errorPercent is how far off the truth a world was counted: without a sign, but
// below the truth is negative where the truth is only a bound.
func errorPercent(r Result) float64 {
	if r.Truth.Sign() == 0 {
		return 0
	}
	d, _ := new(big.Rat).SetFrac(new(big.Int).Sub(r.Spent, r.Truth), r.Truth).Float64()
	return d * 100
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
