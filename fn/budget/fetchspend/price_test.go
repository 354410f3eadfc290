package fetchspend

import (
	"testing"

	"github.com/google/go-cmp/cmp"
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
