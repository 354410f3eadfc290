package count

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
)

// quick are the rules of test/prometheus: a sample each second, and all else as much
// quicker as an input may say.
var quick = func() Rules {
	r := usual
	r.Grid, r.SettleAfter, r.Heartbeat, r.MaxResets = time.Second, 2*time.Minute, time.Minute, 150
	return r
}()

// Two processes write one series. What is charged at any look is at most what both
// have used by then, whatever is known by then.
func TestTwoWriters(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		values []float64
		starts []float64 // of the process that each sample is of; nil: nobody says
		most   []uint64  // that may be counted at each sample: what was used, of which one sees no more
		want   uint64    // in the end
		doubt  uint64    // then: what the other used, as far as it was heard
	}{
		"TheBusyOneFirst": {
			reason: "Two samples of the busy one around one of the other look like a restart that took no time: until another fall comes nobody can know.",
			values: []float64{5000, 7, 9000, 7, 12000, 7, 15000},
			most:   []uint64{5000, 5007, 9007, 9007, 12007, 12007, 15007},
			want:   15000,
			doubt:  7,
		},
		"TheIdleOneFirst": {
			reason: "As above.",
			values: []float64{7, 5000, 7, 9000, 7, 12000},
			most:   []uint64{7, 5007, 5007, 9007, 9007, 12007},
			want:   12000,
			doubt:  7,
		},
		"OneThatStoodStill": {
			reason: "A counter that stood still for long and comes back higher may have been away, or begun anew.",
			values: []float64{100, 100, 100, 100, 100, 100, 3, 300, 300, 300},
			most:   []uint64{100, 100, 100, 100, 100, 100, 103, 303, 303, 303},
			want:   300,
			doubt:  100,
		},
		"BothWork": {
			reason: "What the other one used is in doubt as far as it came.",
			values: []float64{5000, 7, 9, 9000, 11, 12000, 15, 20, 15000},
			most:   []uint64{5000, 5007, 5009, 9009, 9011, 12011, 12015, 12020, 15020},
			want:   15000,
			doubt:  20,
		},
		"BothSayTheirStart": {
			reason: "The one that started later is no restart of the other, which is heard again.",
			values: []float64{5000, 7, 9000, 7, 12000},
			starts: []float64{1000, 2000, 1000, 2000, 1000},
			most:   []uint64{5000, 5007, 9007, 9007, 12007},
			want:   12000,
			doubt:  7,
		},
		"TheLaterOneGetsFurther": {
			reason: "Where they meet, the later start is no news: it was there before.",
			values: []float64{100, 50, 150, 160, 155, 158, 161},
			starts: []float64{1000, 2000, 2000, 1000, 2000, 2000, 2000},
			most:   []uint64{100, 150, 250, 310, 315, 318, 321},
			want:   161,
			doubt:  158,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			s := server{series: []Series{seriesOf(v1alpha1.TokenOutput)}, starts: []Series{seriesOf("")}}
			l := New("lifetime", "0123456789abcdef", noon)
			for i, v := range tc.values {
				at := noon + int64(i+1)*1000
				s.series[0].Samples = append(s.series[0].Samples, Sample{At: at, Value: v})
				if tc.starts != nil {
					s.starts[0].Samples = append(s.starts[0].Samples, Sample{At: at, Value: tc.starts[i]})
				}
				got := s.look(t, l, quick, at)
				l = got.Ledger
				if n := got.counted(v1alpha1.TokenOutput); n > tc.most[i] {
					t.Errorf("sample %d: counted %d, only %d were used", i, n, tc.most[i])
				} else if i == len(tc.values)-1 && n != tc.want {
					t.Errorf("counted %d, want %d", n, tc.want)
				}
				doubt := uint64(0)
				for _, n := range got.Doubtful {
					doubt += n
				}
				if i == len(tc.values)-1 && doubt != tc.doubt {
					t.Errorf("%d are in doubt, want %d", doubt, tc.doubt)
				}
			}
		})
	}
}

// A usage is what was used of each class; cached input is input.
type usage struct{ input, cached, output uint64 } //nolint:recvcheck // use alone adds to it

func (u *usage) use(t *rapid.T) {
	in := rapid.SampledFrom([]uint64{0, 1, 50, 3000}).Draw(t, "input")
	u.input += in
	u.cached += rapid.Uint64Range(0, in).Draw(t, "cached")
	u.output += rapid.SampledFrom([]uint64{0, 1, 20, 1000}).Draw(t, "output")
}

// cost is in units of a cached token.
func (u usage) cost() uint64 { return 10*(u.input-min(u.input, u.cached)) + u.cached + 80*u.output }

func (u usage) plus(o usage) usage {
	return usage{input: u.input + o.input, cached: u.cached + o.cached, output: u.output + o.output}
}

var usageClasses = []v1alpha1.TokenClass{v1alpha1.TokenInput, v1alpha1.TokenCachedInput, v1alpha1.TokenOutput}

func (u usage) of(class v1alpha1.TokenClass) uint64 {
	return map[v1alpha1.TokenClass]uint64{v1alpha1.TokenInput: u.input, v1alpha1.TokenCachedInput: u.cached, v1alpha1.TokenOutput: u.output}[class]
}

func (t Tally) usage() usage {
	return usage{input: t.counted(v1alpha1.TokenInput), cached: t.counted(v1alpha1.TokenCachedInput), output: t.counted(v1alpha1.TokenOutput)}
}

// exceeds says what was counted or would be charged beyond what was used, or "".
func (u usage) exceeds(used usage) string {
	switch {
	case u.input > used.input:
		return fmt.Sprintf("counted %d tokens of input, used %d", u.input, used.input)
	case u.output > used.output:
		return fmt.Sprintf("counted %d tokens of output, used %d", u.output, used.output)
	case u.cost() > used.cost():
		return fmt.Sprintf("charged %d for %v, used %d by %v", u.cost(), u, used.cost(), used)
	}
	return ""
}

// Two processes write one and the same series, whatever each of them uses and
// whoever says when it started. At no look is more counted or charged than both have
// used, if each is seen every other minute.
func TestTwoWritersOfAnything(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var s server
		for _, c := range usageClasses {
			s.series = append(s.series, seriesOf(c))
		}
		s.starts = []Series{seriesOf("")}
		says := rapid.SampledFrom([][2]float64{{0, 0}, {1000, 2000}, {2000, 1000}, {1000, 1000}, {1000, 0}}).Draw(rt, "starts")
		var of [2]usage
		of[0].use(rt)
		of[1].use(rt)
		of[0].output += rapid.SampledFrom([]uint64{0, 5000, 100_000}).Draw(rt, "ahead by")
		l := New("lifetime", "0123456789abcdef", noon)
		who, run := 0, 0
		var seen [2]bool
		for i := range rapid.IntRange(1, 160).Draw(rt, "samples") {
			at := noon + int64(i+1)*30_000
			if run++; run > 3 || rapid.Bool().Draw(rt, "the other") {
				who, run = 1-who, 1
			}
			of[who].use(rt)
			seen[who] = true
			for k, c := range usageClasses {
				s.series[k].Samples = append(s.series[k].Samples, Sample{At: at, Value: float64(of[who].of(c))})
			}
			if says[who] > 0 {
				s.starts[0].Samples = append(s.starts[0].Samples, Sample{At: at, Value: says[who]})
			}
			var used usage
			for k := range of {
				if seen[k] {
					used = used.plus(of[k])
				}
			}
			got := s.look(rt, l, usual, at)
			l = got.Ledger
			if why := got.usage().exceeds(used); why != "" {
				rt.Fatalf("sample %d: %s", i, why)
			}
		}
	})
}
