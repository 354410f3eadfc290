package fetchspend

import (
	"testing"

	"github.com/google/go-cmp/cmp"

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
