package fetchspend

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/internal/money"
	"whisperops.io/functions/internal/pricing"
)

// A change is a row of a price table: what a million tokens of a class cost from a
// time on, and when a person wrote it down, which is before that.
type change struct {
	model   string
	from    time.Time // zero: the first row
	written time.Time
	micros  map[string]int64 // micro-dollars for a million tokens, by class
}

var threeClasses = []string{"input", "output", "cached_input"}

// changes are the prices of two models, each of which changes up to three times.
func changes() *rapid.Generator[[]change] {
	return rapid.Custom(func(t *rapid.T) []change {
		var out []change
		for _, m := range []string{"m", "n"} {
			row := func() change {
				c := change{model: m, written: ten.Add(-time.Hour), micros: map[string]int64{}}
				for _, class := range threeClasses {
					c.micros[class] = rapid.Int64Range(5_000, 20_000_000).Draw(t, class)
				}
				return c
			}
			out = append(out, row())
			at := ten
			for range rapid.IntRange(0, 3).Draw(t, "changes") {
				at = at.Add(time.Duration(rapid.IntRange(1, 3*3600).Draw(t, "after")) * time.Second)
				c := row()
				c.from, c.written = at, at.Add(-time.Duration(rapid.IntRange(0, 7200).Draw(t, "written before"))*time.Second)
				out = append(out, c)
			}
		}
		return out
	})
}

// tableAt is the table as it is in Git at a time.
func tableAt(all []change, now time.Time) *pricing.Table {
	var text strings.Builder
	text.WriteString("version: 2\nmodels:\n")
	for _, m := range []string{"m", "n"} {
		fmt.Fprintf(&text, "  %s:\n", m)
		for _, c := range all {
			if c.model != m || c.written.After(now) {
				continue
			}
			price := func(class string) string { return (money.USD(c.micros[class]) * 1_000_000).String() }
			fmt.Fprintf(&text, "  - {input: %q, output: %q, cachedInput: %q", price("input"), price("output"), price("cached_input"))
			if !c.from.IsZero() {
				fmt.Fprintf(&text, ", from: %q", c.from.Format(time.RFC3339))
			}
			text.WriteString("}\n")
		}
	}
	return table(text.String())
}

// rate is the price of a token at a time, by the last change that has begun.
func rate(all []change, model, class string, at time.Time) int64 {
	var micros int64
	for _, c := range all {
		if c.model == model && !c.from.After(at) {
			micros = c.micros[class]
		}
	}
	return micros
}

// workers are processes of an agent that begin after its budget; their counters only
// grow, and some samples come in up to 40 minutes late.
func workers() *rapid.Generator[*store] {
	return rapid.Custom(func(t *rapid.T) *store {
		s := &store{}
		for i := range rapid.IntRange(1, 4).Draw(t, "series") {
			one := stored{labels: map[string]string{
				"__name__":   "whisperops_tokens_" + rapid.SampledFrom(threeClasses).Draw(t, "class") + "_total",
				"agent_name": "bot", "model": rapid.SampledFrom([]string{"m", "n"}).Draw(t, "model"), "pod": fmt.Sprint("pod-", i),
			}}
			at, value := ten.Add(time.Duration(rapid.IntRange(1, 7200).Draw(t, "begins"))*time.Second), 0
			for range rapid.IntRange(1, 60).Draw(t, "samples") {
				value += rapid.SampledFrom([]int{0, 1, 100, 7000, 1_000_000}).Draw(t, "uses")
				came := at
				if rapid.IntRange(0, 5).Draw(t, "late") == 0 {
					came = at.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "by")) * time.Minute)
				}
				one.samples = append(one.samples, arrival{count.Sample{At: at.UnixMilli(), Value: float64(value)}, came.UnixMilli()})
				at = at.Add(time.Duration(rapid.SampledFrom([]int{30, 30, 60, 300, 1200}).Draw(t, "export")) * time.Second)
			}
			s.series = append(s.series, one)
		}
		return s
	})
}

// bill is what a person works out by hand who sees all samples up to a time that have
// come in by another: each sample's growth at the price of its moment.
func bill(s *store, all []change, upTo, now int64) money.USD {
	var sum money.USD
	for _, sr := range s.series {
		class := strings.TrimSuffix(strings.TrimPrefix(sr.labels["__name__"], "whisperops_tokens_"), "_total")
		before := 0.0
		for _, a := range sr.samples {
			if a.At > upTo || a.came > now {
				continue
			}
			sum = sum.Plus(money.USD(rate(all, sr.labels["model"], class, time.UnixMilli(a.At).UTC())).Times(uint64(a.Value - before)))
			before = a.Value
		}
	}
	return sum
}

// A price that changes in the middle of a period changes no cent of what was spent
// before: at every look the figure is what all tokens cost at the price of their moment, whatever
// was lost between looks. A look may begin from the last status, from an older copy or
// from none, so that all is counted again; the function keeps nothing by itself, so that every look
// is one after a restart.
func TestPriceChangesLeaveThePastAlone(t *testing.T) {
	disjoint := false
	in := &input.FetchSpendInput{}
	in.Default()
	in.InputContainsCached = &disjoint
	settings, err := ReadSettings(in)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(rt *rapid.T) {
		s, all := workers().Draw(rt, "agent"), changes().Draw(rt, "prices")
		versions := []*v1alpha1.Ledger{nil}
		for now := ten.Add(time.Minute); now.Before(ten.Add(9 * time.Hour)); now = now.Add(time.Duration(rapid.IntRange(30, 2400).Draw(rt, "next look")) * time.Second) {
			f := generated(t, nil, now)
			f.Settings, f.Prices, s.now = settings, tableAt(all, now), now
			f.Budget.BudgetUSD = 1000
			switch rapid.IntRange(0, 5).Draw(rt, "begins from") {
			case 0: // nothing: the status was lost
			case 1:
				f.Ledger = versions[max(0, len(versions)-1-rapid.IntRange(1, 3).Draw(rt, "older by"))]
			default:
				f.Ledger = versions[len(versions)-1]
			}
			o := Measure(context.Background(), s, f)
			for o.Problem != nil && o.Problem.Reason == v1alpha1.ReasonCatchingUp {
				f.Ledger = o.Ledger
				o = Measure(context.Background(), s, f)
			}
			if o.Spent == nil {
				rt.Fatalf("at %s: %s", now, o.Problem)
			}
			upTo := count.Floor(now.Add(-settings.IngestDelay).UnixMilli(), settings.Rules.Grid)
			if want := bill(s, all, upTo, now.UnixMilli()); *o.Spent != want {
				rt.Fatalf("at %s: %s USD, by hand %s\n%+v", now.Format(time.TimeOnly), o.Spent, want, o.Measurement.Bill)
			}
			versions = append(versions, o.Ledger)
			versions = slices.Clip(versions[max(0, len(versions)-5):])
		}
	})
}
