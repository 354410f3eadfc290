package fetchspend

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/pricing"
)

// A table that is corrected prices again what was counted: tokens are stored, not
// money. One that names a model at last does the same for it.
func TestPriceCorrected(t *testing.T) {
	s := storeOf(t, map[string]string{"output pod=a": "10:05:00=500 12:00:00=900", "output pod=a model=new": "10:05:00=7"})
	f := facts(t, "14:00:20", nil)
	s.now = f.Now
	for i, tc := range []struct {
		table    string
		want     int64
		unpriced []string
	}{
		{`models: {m: {input: "0", output: "0.001", unchecked: true}, other: {input: "0", output: "0.000005", unchecked: true}}`, 907_000, []string{"new"}},
		{`models: {m: {input: "0", output: "0.00001", unchecked: true}, other: {input: "0", output: "0.00005", unchecked: true}}`, 9_000 + 350, []string{"new"}},
		{`models: {m: {input: "0", output: "0.00001", unchecked: true}, new: {input: "0", output: "0.000001", unchecked: true}}`, 9_007, nil},
	} {
		f.Prices = table(tc.table)
		o := Measure(t.Context(), s, f)
		if got := tokens(o); got != tc.want {
			t.Errorf("look %d: spent %d, want %d", i+1, got, tc.want)
		}
		if diff := cmp.Diff(tc.unpriced, o.Measurement.UnpricedModels); diff != "" {
			t.Errorf("look %d: %s", i+1, diff)
		}
		f.Ledger = o.Ledger
	}
}

// A row that is broken by an edit goes on at its last good price, however long: an agent
// that is over its budget must not run again, and no other must stop, for a typing error.
func TestPriceRowBroken(t *testing.T) {
	s := storeOf(t, map[string]string{"output pod=a": "10:05:00=500 12:00:00=900"})
	f := facts(t, "14:00:20", nil)
	s.now = f.Now
	for i, tc := range []struct {
		table string
		want  int64
		named bool
	}{
		{`models: {m: {input: "1", output: "10"}, cheap: {input: "1", output: "1"}}`, 9_000_000_000, false},
		{`models: {m: {input: "1", output: "1O"}, cheap: {input: "1", output: "1"}}`, 9_000_000_000, true},
		{`models: {m: {input: "1"}, cheap: {input: "1", output: "1"}}`, 9_000_000_000, true}, // the look before kept it
		{`models: {m: {input: "1", output: "11"}, cheap: {input: "1", output: "1"}}`, 9_900_000_000, false},
	} {
		var err error
		if f.Prices, err = pricing.Read(tc.table); err != nil {
			t.Fatal(err)
		}
		o := Measure(t.Context(), s, f)
		if got := int64(*o.Spent); got != tc.want {
			t.Errorf("look %d: spent %d, want %d", i+1, got, tc.want)
		}
		if named := len(o.Measurement.PriceFlaws) > 0; named != tc.named || len(o.Measurement.UnpricedModels) > 0 {
			t.Errorf("look %d: flaws %q, without price %q", i+1, o.Measurement.PriceFlaws, o.Measurement.UnpricedModels)
		}
		f.Ledger = o.Ledger
	}
}

// What was used costs something else than at the last look, and an event says so, with both
// figures: also where a row was added too late, or is taken back after it began. A row that
// begins when it said is none.
func TestRepriced(t *testing.T) {
	const (
		one = `version: 2
models: {m: [{input: "1", output: "10"}]}`
		rise = `version: 2
models: {m: [{input: "1", output: "10"}, {from: 2026-11-23T14:00:00Z, input: "1", output: "20"}]}`
		twice = `version: 2
models: {m: [{input: "1", output: "10"}, {from: 2026-11-23T14:00:00Z, input: "1", output: "20"}, {from: 2026-11-23T14:10:00Z, input: "1", output: "30"}]}`
		other = `version: 2
models: {m: [{input: "1", output: "12"}]}`
	)
	for name, tc := range map[string]struct {
		reason       string
		before, then string
		at           [2]string // of the looks
		from, to     string    // "": nothing was priced again
	}{
		"Begins":    {"It was announced: what was used before it costs what it did.", rise, rise, [2]string{"13:58:20", "14:30:20"}, "", ""},
		"Late":      {"Of 1,200 tokens of output 610 were used from 14:00 on, at the old price as far as anybody knew.", one, rise, [2]string{"14:30:20", "14:30:50"}, "0.012", "0.0181"},
		"LateByTwo": {"200 of them between the two rows, 410 from the second on.", one, twice, [2]string{"14:30:20", "14:30:50"}, "0.012", "0.0222"},
		"TakenBack": {"As Late, the other way round.", rise, one, [2]string{"14:30:20", "14:30:50"}, "0.0181", "0.012"},
		"Corrected": {"A row edited in place.", one, other, [2]string{"14:30:20", "14:30:50"}, "0.012", "0.0144"},
		"Withdrawn": {"What was in doubt at the first look is taken back, and the price rises in between: that is two things.", rise, rise, [2]string{"13:58:20", "14:30:20"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			s := storeOf(t, map[string]string{"output pod=a": "13:30:00=0 .. 14:00:00=600 .. 14:30:00=1200"})
			var l *v1alpha1.Ledger
			var bill []v1alpha1.BillLine
			var got *v1alpha1.Repriced
			for i, text := range []string{tc.before, tc.then} {
				f := facts(t, tc.at[i], l)
				f.Created, f.Bill, f.Prices = when(t, "13:00:00"), bill, table(text)
				s.now = f.Now
				o := Measure(t.Context(), s, f)
				l, bill, got = o.Ledger, o.Measurement.Bill, o.Measurement.Repriced
				if name == "Withdrawn" {
					bill[0].Tokens = "700"
				}
			}
			switch {
			case tc.to == "" && got != nil:
				t.Errorf("priced again: %+v", got)
			case tc.to != "" && (got == nil || got.FromUSD != tc.from || got.ToUSD != tc.to || !strings.Contains(got.Why, "m output ")):
				t.Errorf("got %+v, want from %s to %s", got, tc.from, tc.to)
			}
		})
	}
}

// What a pause may have rested on is what it would cost if the models that lacked a price at
// the last look still did.
func TestAtDearest(t *testing.T) {
	const dear = `dear: {input: "100", output: "100"}`
	for name, tc := range map[string]struct {
		reason       string
		before, then string
		forgotten    bool // the bill of the first look
		want         float64
		unpriced     int
	}{
		"Added":      {"600 tokens at 100 USD for a million, where they cost 1.", dear, dear + `, a: {input: "1", output: "1"}, b: {input: "1", output: "1"}`, false, 0.06, 0},
		"OneAdded":   {"The other still costs as the dearest.", dear, dear + `, a: {input: "1", output: "1"}`, false, 0.06, 1},
		"None":       {"Nothing was added: it is what it costs.", dear + `, a: {input: "1", output: "1"}`, dear + `, a: {input: "1", output: "1"}`, false, 0.0303, 1},
		"DearestToo": {"The row that was the dearest is corrected by the same edit: they cost 100 USD all the same while they lacked one.", dear, `dear: {input: "2", output: "2"}, a: {input: "1", output: "1"}, b: {input: "1", output: "1"}`, false, 0.06, 0},
		"DearestOne": {"As above of one; the other has none, and costs as the dearest does now.", dear, `dear: {input: "2", output: "2"}, a: {input: "1", output: "1"}`, false, 0.0306, 1},
		"Corrected":  {"It is corrected, and nothing was added: a figure that falls starts nobody.", dear, `dear: {input: "2", output: "2"}`, false, 0.0012, 2},
		"Forgotten":  {"Nobody knows which one lacked a price: it may have been all.", dear, dear + `, a: {input: "1", output: "1"}, b: {input: "1", output: "1"}`, true, 0.06, 0},
		"OneUnknown": {"Nobody knows whether it lacked one more.", dear + `, a: {input: "1", output: "1"}`, dear + `, a: {input: "1", output: "1"}`, true, 0, 1},
		"NeverDid":   {"Every model had a price.", `a: {input: "1", output: "1"}, b: {input: "1", output: "1"}`, dear + `, a: {input: "1", output: "1"}, b: {input: "1", output: "1"}`, false, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			s := storeOf(t, map[string]string{"output pod=a model=a": "10:05:00=200 10:05:30=300", "output pod=a model=b": "10:05:00=200 10:05:30=300"})
			f := facts(t, "10:30:20", nil)
			var o Outcome
			for i, text := range []string{tc.before, tc.then} {
				f.Prices = table("version: 2\nmodels: {" + text + "}")
				s.now = f.Now
				o = Measure(t.Context(), s, f)
				f.Now, f.Ledger, f.Bill = f.Now.Add(time.Minute), o.Ledger, o.Measurement.Bill
				if i == 0 && tc.forgotten {
					f.Bill = nil
				}
			}
			if o.Measurement.AtDearestUSD != tc.want || len(o.Measurement.UnpricedModels) != tc.unpriced {
				t.Errorf("%v, without a price %q; want %v", o.Measurement.AtDearestUSD, o.Measurement.UnpricedModels, tc.want)
			}
		})
	}
}
