package count

import (
	"testing"

	"whisperops.io/functions/apis/v1alpha1"
)

// A run is samples of one counter, one every so many seconds.
type run struct {
	from, every int64 // seconds after noon; seconds
	values      []float64
}

func (r run) times(n int) run {
	values := r.values
	for range n - 1 {
		r.values = append(r.values, values...)
	}
	return r
}

func growing(from, by float64, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = from + by*float64(i)
	}
	return values
}

// What the looks before one forgot changes nothing: looks every five minutes, each on
// from the one before, end where one look at everything does.
func TestLooksForgetNothingThatCounts(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		runs   map[v1alpha1.TokenClass][]run
		until  int64 // seconds after noon
		class  v1alpha1.TokenClass
		want   uint64 // at most what was used
	}{
		"CachedInputIsAwayWhenItsProcessBeginsAnew": {
			reason: "Input says that all began anew, and cached input isn't heard until its cursor could have been dropped: the server only knows 700, and what is not taken out of input is charged at its full price.",
			runs: map[v1alpha1.TokenClass][]run{
				v1alpha1.TokenInput:       {{60, 30, growing(1000, 50, 20)}, {660, 30, growing(10, 50, 300)}},
				v1alpha1.TokenCachedInput: {{60, 30, growing(500, 10, 20)}, {4 * 3600, 30, []float64{900, 950}}},
			},
			until: 5 * 3600,
			class: v1alpha1.TokenCachedInput,
			want:  690 + 950,
		},
		"TwoWritersAreSilent": {
			reason: "The last sample of a series in doubt is of the one that is behind; the other, which comes back, had counted before.",
			runs: map[v1alpha1.TokenClass][]run{
				v1alpha1.TokenInput:  {{60, 30, growing(1, 1, 500)}},
				v1alpha1.TokenOutput: {run{60, 30, []float64{5000, 7}}.times(25), {3 * 3600, 30, []float64{5100, 5100}}},
			},
			until: 5 * 3600,
			class: v1alpha1.TokenOutput,
			want:  5100,
		},
		"TheIdleOfTwoWritersIsLeft": {
			reason: "Seldom exported, it lies far below where the other had come: only to a look that begins in the doubt that would be one more reset, and one too many.",
			runs: map[v1alpha1.TokenClass][]run{
				v1alpha1.TokenOutput: {
					run{60, 30, []float64{5000, 7}}.times(25),  // more resets than any process has
					{3660, 240, growing(8, 1, 4)},              // in the next hour: none
					run{4620, 30, []float64{30, 20}}.times(20), // but for as many as it may have
					{7260, 30, growing(100, 50, 40)},           // and in the one after
					{8460, 30, growing(10, 50, 40)},            // it begins anew
				},
			},
			until: 5 * 3600,
			class: v1alpha1.TokenOutput,
			want:  5000 + 2050 + 1960,
		},
		"FellAllTheTimeAndNeverCameBack": {
			reason: "Falls that count as no reset are falls all the same: what comes after so many is in doubt, at whatever look.",
			runs: map[v1alpha1.TokenClass][]run{
				v1alpha1.TokenOutput: {
					{60, 60, falling(1_000_000, 50)},
					{3660, 30, growing(100, 50, 40)},
					{4860, 30, growing(10, 50, 40)},
				},
			},
			until: 5 * 3600,
			class: v1alpha1.TokenOutput,
			want:  1_002_049,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			var s server
			for _, class := range usageClasses {
				sr := seriesOf(class)
				for _, r := range tc.runs[class] {
					for i, v := range r.values {
						sr.Samples = append(sr.Samples, Sample{At: noon + (r.from+int64(i)*r.every)*1000, Value: v})
					}
				}
				s.series = append(s.series, sr)
			}
			l := New("lifetime", "0123456789abcdef", noon)
			once := s.look(t, l, usual, noon+tc.until*1000).counted(tc.class)
			if once != tc.want {
				t.Errorf("one look counts %d, want %d", once, tc.want)
			}
			var got Tally
			for at := int64(300); at <= tc.until; at += 300 {
				got = s.look(t, l, usual, noon+at*1000)
				l = got.Ledger
			}
			if n := got.counted(tc.class); n != tc.want {
				t.Errorf("looks on from one another count %d, want %d", n, tc.want)
			}
		})
	}
}

// falling falls by a third again and again.
func falling(from float64, n int) []float64 {
	values := make([]float64, n)
	for i := range values {
		values[i] = float64(int64(from))
		from *= 2. / 3
	}
	return values
}

// When a stranger makes a look ask for what was before, the answer may hold others too, of
// which samples are read again: these are not set back to their beginning by it.
func TestPastOfOthers(t *testing.T) {
	s := server{series: []Series{seriesOf(v1alpha1.TokenOutput), seriesOf(v1alpha1.TokenOutput)}}
	s.series[0].Labels["pod"], s.series[1].Labels["pod"] = "known", "stranger"
	s.series[0].Samples = []Sample{{At: noon - 60_000}, {At: noon - 30_000, Value: 1}}
	s.series[1].Samples = []Sample{{At: noon + 60_000, Value: 1}}
	got := s.look(t, New("lifetime", "0123456789abcdef", noon), usual, noon+2*3600_000)
	if len(got.Ledger.Cursors) != 2 {
		t.Errorf("%d cursors, want those of both", len(got.Ledger.Cursors))
	}
	for k, c := range got.Ledger.Cursors {
		if c.resets != (resets{}) {
			t.Errorf("series %s: resets %v, want none", k, c.resets)
		}
	}
}
