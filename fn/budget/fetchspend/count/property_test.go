package count

import (
	"encoding/json"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
)

// The first later point that is as high, found one by one.
func TestReturns(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var points []point
		for _, v := range rapid.SliceOfN(rapid.Uint64Range(0, 9), 0, 40).Draw(rt, "values") {
			points = append(points, point{v: v})
		}
		for i, got := range returns(points) {
			want := i + 1
			for want < len(points) && points[want].v < points[i].v {
				want++
			}
			if got != want {
				rt.Fatalf("point %d of %v returns at %d, want %d", i, points, got, want)
			}
		}
	})
}

// Whatever an agent calls its models and however it is reset, its ledger has an end.
func TestAnyLedgerHasAnEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := New("2026-11-23", "0123456789abcdef", 0)
		name := rapid.StringOfN(rapid.SampledFrom([]rune("ab<é\"\x01")), 0, maxModelLen, maxModelLen)
		for range rapid.IntRange(0, 40).Draw(rt, "models") {
			model := name.Draw(rt, "model")
			for _, class := range []v1alpha1.TokenClass{v1alpha1.TokenInput, v1alpha1.TokenOutput, v1alpha1.TokenCachedInput} {
				m := Meter{Model: model, Class: class}.named(l.Totals)
				l.Totals[m] = add(l.Totals[m], ^uint64(0))
			}
		}
		n := rapid.IntRange(0, 1000).Draw(rt, "resets")
		for i := range 300 {
			l.Cursors[fmt.Sprintf("%016x", i)] = Cursor{At: 1795428000000, Value: largestCount, resets: resets{now: n, before: n}}
		}
		l.Cursors = living(l)
		b, err := json.Marshal(l.Write())
		if err != nil {
			rt.Fatal(err)
		}
		if len(b) > maxLedger+200 {
			rt.Fatalf("%d bytes with %d models and %d cursors", len(b), len(l.Totals)/3, len(l.Cursors))
		}
	})
}
