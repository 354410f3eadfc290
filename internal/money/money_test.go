package money

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		usd    float64
		want   string
		no     bool
	}{
		"Cents":    {reason: "0.1 has no exact float64; its text has.", usd: 0.1, want: "0.1"},
		"Drift":    {reason: "0.1 + 0.2 is what a sum of floats says.", usd: 0.30000000000000004, want: "0.3"},
		"Below":    {reason: "Drift goes both ways.", usd: 0.29999999999999993, want: "0.3"},
		"Smallest": {reason: "One picodollar.", usd: 1e-12, want: "0.000000000001"},
		"Large":    {reason: "The largest budget.", usd: 10_000, want: "10000"},
		"TooLarge": {reason: "Nobody has spent so much; it is not less.", usd: 1e300, want: Max.String()},
		"Negative": {reason: "Nobody spends less than nothing.", usd: -5, no: true},
		"NaN":      {reason: "No amount.", usd: math.NaN(), no: true},
		"Infinite": {reason: "No amount.", usd: math.Inf(1), no: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, ok := Of(tc.usd)
			if ok == tc.no || ok && got.String() != tc.want {
				t.Errorf("%s\n%v is %s (%v), want %q", tc.reason, tc.usd, got, ok, tc.want)
			}
		})
	}
}

// What is written is read, to the last digit, and no sum or product turns over.
func TestExact(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := USD(rapid.Int64Range(0, int64(Max)).Draw(rt, "a"))
		b := USD(rapid.Int64Range(0, int64(Max)).Draw(rt, "b"))
		n := rapid.Uint64().Draw(rt, "n")
		if got, err := Parse(a.String()); err != nil || got != a {
			rt.Fatalf("%d is written %s and read %d (%v)", a, a, got, err)
		}
		if s := a.Plus(b); s < a || s < b {
			rt.Fatalf("%s and %s are %s", a, b, s)
		}
		if p := a.Times(n); n > 0 && p < a {
			rt.Fatalf("%d times %s is %s", n, a, p)
		}
	})
}

func TestScaled(t *testing.T) {
	for _, tc := range []struct {
		u        USD
		num, den int64
		want     USD
	}{{10, 1, 4, 3}, {10, 1, 3, 3}, {-10, 1, 4, -3}, {5 * Dollar, 10_000, 3, 16_666_666_666_666_667}, {Max, 2, 1, Max}} {
		if got := tc.u.Scaled(tc.num, tc.den); got != tc.want {
			t.Errorf("%d * %d / %d is %d, want %d", tc.u, tc.num, tc.den, got, tc.want)
		}
	}
}

func TestShown(t *testing.T) {
	for name, tc := range map[string]struct{ spent, budget, want, why string }{
		"Exact":             {"5.06", "5", "5.06", "Nothing is rounded."},
		"HalfUp":            {"1.00005", "5", "1.0001", "As people round."},
		"Down":              {"1.000049999999", "5", "1", "As people round."},
		"NeverUpToBudget":   {"4.99999", "5", "4.9999", "A budget that isn't spent must not look spent."},
		"NeverDownToBudget": {"5.00001", "5.00001", "5.0001", "A budget that is spent must not look as if something were left."},
		"Largest":           {Max.String(), "5", (Max / 100_000_000 * 100_000_000).String(), "It does not become a debt."},
	} {
		t.Run(name, func(t *testing.T) {
			spent, err := Parse(tc.spent)
			if err != nil {
				t.Fatal(err)
			}
			budget, err := Parse(tc.budget)
			if err != nil {
				t.Fatal(err)
			}
			if got := Shown(spent, budget); got.String() != tc.want {
				t.Errorf("Shown(%s, %s) = %s, want %s: %s", tc.spent, tc.budget, got, tc.want, tc.why)
			}
		})
	}
}
