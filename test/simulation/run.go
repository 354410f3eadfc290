package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"time"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend"
)

var nan = math.NaN()

// Prices of every world.
const Prices = `models:
  gemini-2.5-flash: {input: "0.30", output: "2.50", cachedInput: "0.03"}
  gemini-2.5-pro: {input: "1.25", output: "10.00", cachedInput: "0.125"}
  gemini-2.0-flash-lite: {input: "0.075", output: "0.30"}
`

// perMillion repeats Prices in micro-dollars, so that the truth is priced by
// other code.
var perMillion = map[Meter]int64{
	{"gemini-2.5-flash", v1alpha1.TokenInput}: 300_000, {"gemini-2.5-flash", v1alpha1.TokenOutput}: 2_500_000, {"gemini-2.5-flash", v1alpha1.TokenCachedInput}: 30_000,
	{"gemini-2.5-pro", v1alpha1.TokenInput}: 1_250_000, {"gemini-2.5-pro", v1alpha1.TokenOutput}: 10_000_000, {"gemini-2.5-pro", v1alpha1.TokenCachedInput}: 125_000,
	{"gemini-2.0-flash-lite", v1alpha1.TokenInput}: 75_000, {"gemini-2.0-flash-lite", v1alpha1.TokenOutput}: 300_000, {"gemini-2.0-flash-lite", v1alpha1.TokenCachedInput}: 75_000,
}

// Cost prices tokens in 10^-12 US dollars; the input contains the cached input.
func Cost(tokens map[Meter]uint64) *big.Int {
	sum := new(big.Int)
	for m, n := range tokens {
		price := perMillion[m]
		if m.Class == v1alpha1.TokenCachedInput {
			price -= perMillion[Meter{m.Model, v1alpha1.TokenInput}]
		}
		sum.Add(sum, new(big.Int).Mul(big.NewInt(int64(n)), big.NewInt(price)))
	}
	return sum
}

// A Result is what a world came to.
type Result struct {
	Looks    int
	Spent    *big.Int // at the end
	Truth    *big.Int // of the samples
	Used     *big.Int // of the requests
	Over     *big.Int // the most that any look was above what had been used by then; nil: never
	Named    bool     // a series was distrusted at some look
	Problems map[string]int
	Largest  int // bytes of the largest ledger
	Ledger   *v1alpha1.Ledger
}

// Run lives through a world, looks at it as often as a control plane would, and
// returns what was counted. Faults of status come from the same seed.
func (w *World) Run(ctx context.Context, faults bool) (Result, error) {
	retention := time.Duration(0)
	if w.Traits.Retention {
		retention = 4 * time.Hour
	}
	store, err := OpenStore(retention, 90*time.Minute)
	if err != nil {
		return Result{}, err
	}
	defer store.Close()
	prices, err := fetchspend.ReadPriceTable(Prices)
	if err != nil {
		return Result{}, err
	}
	settings, err := fetchspend.ReadSettings(&input.FetchSpendInput{})
	if err != nil {
		return Result{}, err
	}

	r := rand.New(rand.NewPCG(w.Seed, 0xfa17))
	spec := v1alpha1.XAgentBudgetSpec{AgentName: AgentName, BudgetUSD: 5, Period: v1alpha1.PeriodLifetime}
	if w.Traits.Daily {
		spec.Period = v1alpha1.PeriodDaily
	}
	res := Result{Problems: map[string]int{}}
	versions := []*v1alpha1.Ledger{nil}
	exports := w.Exports
	wipe := Epoch.Add(between(r, 0, w.End.Sub(Epoch)))
	garbage := Epoch.Add(between(r, 0, w.End.Sub(Epoch)))
	compacted := Epoch
	first := Epoch
	if len(exports) > 0 && exports[0].Arrives < first.UnixMilli() {
		first = time.UnixMilli(exports[0].Arrives)
	}
	pace := between(r, 30*time.Second, 5*time.Minute)
	for now := w.Created; ; {
		last := !now.Before(w.End)
		n := 0
		for n < len(exports) && exports[n].Arrives <= now.UnixMilli() {
			n++
		}
		if err := store.Append(exports[:n]); err != nil {
			return res, err
		}
		exports = exports[n:]
		if w.Traits.Retention && now.Sub(compacted) > 30*time.Minute {
			compacted = now
			if err := store.Compact(); err != nil {
				return res, err
			}
		}
		store.Failure = nil
		if within(now, w.Unreachable, 0) {
			store.Failure = fetchspend.Problem{Reason: "PrometheusUnreachable", Message: "The server refuses connections"}
		}

		observed := versions[len(versions)-1]
		if faults {
			if w.Traits.StaleReads {
				observed = versions[max(0, len(versions)-1-r.IntN(4))]
			}
			if w.Traits.Wiped && now.After(wipe) {
				wipe = w.End.Add(time.Hour)
				versions, observed = []*v1alpha1.Ledger{nil}, nil
			}
			if w.Traits.Garbage && now.After(garbage) {
				garbage = w.End.Add(time.Hour)
				observed = spoil(r, observed)
			}
		}
		clock := now
		if !last && r.IntN(4) == 0 {
			switch {
			case w.Traits.ClockAhead && r.IntN(2) == 0:
				clock = now.Add(between(r, 0, 4*time.Minute))
			case w.Traits.ClockBehind:
				clock = now.Add(-between(r, 0, 3*time.Hour))
			}
		}

		out := fetchspend.Measure(ctx, store, fetchspend.Facts{
			Now: clock, Settings: settings, Budget: spec, Created: w.Created, Ledger: observed, Prices: prices,
		})
		res.Looks++
		res.Named = res.Named || len(out.Measurement.Distrusted) > 0
		if out.Problem != nil {
			res.Problems[out.Problem.Reason]++
		}
		if out.Spent != nil {
			res.Spent = out.Spent
			start := later(w.Created, v1alpha1.PeriodStart(spec.Period, time.UnixMilli(periodTime(out, spec, clock, settings))))
			if over := new(big.Int).Sub(out.Spent, Cost(w.Exported(start, later(now, clock).Add(time.Minute)))); over.Sign() > 0 && (res.Over == nil || over.Cmp(res.Over) > 0) {
				res.Over = over
			}
		}
		if out.Ledger != nil && !(faults && w.Traits.LostWrites && r.IntN(3) == 0 && !last) {
			b, err := json.Marshal(out.Ledger)
			if err != nil {
				return res, err
			}
			res.Largest = max(res.Largest, len(b))
			versions = append(versions, out.Ledger)
			res.Ledger = out.Ledger
		}
		if last {
			if out.Problem != nil {
				return res, fmt.Errorf("the last look has a problem: %s: %s", out.Problem.Reason, out.Problem.Message)
			}
			break
		}
		now = now.Add(between(r, pace/2, 2*pace))
		if now.After(w.End) {
			now = w.End
		}
	}
	if res.Spent == nil {
		return res, errors.New("spend was never measured")
	}
	start := later(w.Created, v1alpha1.PeriodStart(spec.Period, w.End.Add(-time.Minute)))
	res.Truth = Cost(w.Exported(start, w.End))
	res.Used = Cost(w.UsedIn(start, w.End))
	return res, nil
}

// periodTime is a time in the period that a look measured.
func periodTime(out fetchspend.Outcome, spec v1alpha1.XAgentBudgetSpec, clock time.Time, s fetchspend.Settings) int64 {
	t := clock.Add(-s.IngestDelay)
	for range 4 {
		if v1alpha1.PeriodKey(spec.Period, t) == out.Measurement.Period {
			return t.UnixMilli()
		}
		t = t.Add(24 * time.Hour)
	}
	return clock.UnixMilli()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// spoil returns a ledger that nobody can read.
func spoil(r *rand.Rand, l *v1alpha1.Ledger) *v1alpha1.Ledger {
	if l == nil {
		return &v1alpha1.Ledger{}
	}
	c := l.DeepCopy()
	switch r.IntN(4) {
	case 0:
		c.SettledAt = "yesterday"
	case 1:
		c.Period = ""
	case 2:
		c.Cursors = append(c.Cursors, v1alpha1.Cursor{Series: "x", At: "-1", Value: "NaN"})
	case 3:
		c.Totals = append(c.Totals, v1alpha1.TokenTotal{Model: "m", Class: "thinking", Tokens: "1e9"})
	}
	return c
}
