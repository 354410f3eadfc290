package computetuning

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

func TestTune(t *testing.T) {
	const gib = 1 << 30
	cases := map[string]struct {
		reason string
		size   int64
		maxGi  int32
		mi     int64
		needed int64
	}{
		"Empty":         {reason: "Python itself needs memory too.", size: 0, maxGi: 8, mi: 1024, needed: 1},
		"Negative":      {reason: "A size below 0 has a verdict as well.", size: math.MinInt64, maxGi: 8, mi: 1024, needed: 1},
		"JustOneGiB":    {reason: "2/7 GiB times 3.5 is 1 GiB, rounded down to whole bytes.", size: gib * 2 / 7, maxGi: 8, mi: 1024, needed: 1},
		"JustAboveOne":  {reason: "One byte more is rounded up.", size: gib*2/7 + 1, maxGi: 8, mi: 2048, needed: 2},
		"HalfGiBs":      {reason: "3.5 GiB is no whole GiB.", size: gib, maxGi: 8, mi: 4096, needed: 4},
		"Whole":         {reason: "7 GiB is, and isn't rounded.", size: 2 * gib, maxGi: 8, mi: 7168, needed: 7},
		"AtCap":         {reason: "The cap is what is given, not what is refused.", size: gib * 16 / 7, maxGi: 8, mi: 8192, needed: 8},
		"AboveCap":      {reason: "No sandbox gets more than the cap.", size: gib*16/7 + 1, maxGi: 8, mi: 8192, needed: 9},
		"HigherCap":     {reason: "The cap is the platform's.", size: 4_000_000_000, maxGi: 32, mi: 14336, needed: 14},
		"LowerCap":      {reason: "Also when it is low.", size: gib, maxGi: 1, mi: 1024, needed: 4},
		"LargestNumber": {reason: "7 times this needs 66 bits.", size: math.MaxInt64, maxGi: 8, mi: 8192, needed: 30064771072},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Tune(Need{Bytes: tc.size}, tc.maxGi)
			if got.SandboxMemMi != tc.mi || got.NeededGi != tc.needed {
				t.Errorf("%s\nTune(%d, %d): want %d MiB of %d GiB, got %d MiB of %d GiB", tc.reason, tc.size, tc.maxGi, tc.mi, tc.needed, got.SandboxMemMi, got.NeededGi)
			}
			if fits := got.Condition().Status == "True"; fits != (tc.needed <= int64(tc.maxGi)) {
				t.Errorf("%s\nTune(%d, %d) needs %d GiB; its condition says fits: %t", tc.reason, tc.size, tc.maxGi, tc.needed, fits)
			}
		})
	}
}

// The formula as it is written, in numbers without bounds.
func TestTuneIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.Int64Range(0, math.MaxInt64).Draw(t, "size")
		gi := new(big.Int).Mul(big.NewInt(7), big.NewInt(size))
		gi.Add(gi, big.NewInt(1<<31-1)).Div(gi, big.NewInt(1<<31))
		if want := max(gi.Int64(), 1); Tune(Need{Bytes: size}, 8).NeededGi != want {
			t.Fatalf("Tune(%d): want %d GiB, got %d", size, want, Tune(Need{Bytes: size}, 8).NeededGi)
		}
	})
}

func TestTuneTakesTheLargerEstimate(t *testing.T) {
	const mib = 1 << 20
	cases := map[string]struct {
		reason    string
		need      Need
		gi        int64
		estimated bool
	}{
		"Unknown":    {reason: "Without an estimate it is 3.5 alone.", need: Need{Bytes: 249 * mib}, gi: 1},
		"Housing":    {reason: "A mix like California housing is killed at 1 GiB from 249 MiB on.", need: Need{Bytes: 249 * mib, Factor: 3.7}, gi: 2, estimated: true},
		"Empty":      {reason: "Mostly empty cells are killed at 1 GiB from 51 MiB on.", need: Need{Bytes: 51 * mib, Factor: 18.3}, gi: 2, estimated: true},
		"LongFloats": {reason: "Long numbers take less than 3.5; the larger one counts.", need: Need{Bytes: 1 << 30, Factor: 0.9}, gi: 4},
		"Small":      {reason: "A small file of a bad kind fits.", need: Need{Bytes: 2 * mib, Factor: 18}, gi: 1},
		"NaN":        {reason: "No number is no estimate.", need: Need{Bytes: 1 << 30, Factor: math.NaN()}, gi: 4},
		"Infinite":   {reason: "Nor does infinity move mountains.", need: Need{Bytes: mib, Factor: math.Inf(1)}, gi: 1},
		"Negative":   {reason: "Nor what is below nothing.", need: Need{Bytes: 1 << 30, Factor: -4}, gi: 4},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if v := Tune(tc.need, 64); v.NeededGi != tc.gi || v.Estimated != tc.estimated {
				t.Errorf("%s\nTune(%+v): want %d GiB, estimated %t, got %d, %t", tc.reason, tc.need, tc.gi, tc.estimated, v.NeededGi, v.Estimated)
			}
		})
	}
}
