package count

import (
	"math"
	"testing"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
)

// What lets a look do without samples, and what doesn't. That it is right then
// TestStillIsExact says.
func TestStill(t *testing.T) {
	hour := time.Hour.Milliseconds()
	r := Rules{
		Metrics: Mapping{
			Names: map[string]v1alpha1.TokenClass{"in": v1alpha1.TokenInput, "by_class": ""}, ClassLabel: "class",
			Classes: map[string]v1alpha1.TokenClass{"input": v1alpha1.TokenInput}, AgentLabel: "agent", ModelLabels: []string{"model"}, ReplicaLabels: []string{"replica"},
		},
		Grid: 30 * time.Second, SettleAfter: time.Hour, Heartbeat: time.Hour, MaxResets: 20,
	}
	one := func(v float64, labels ...string) Series {
		l := map[string]string{"__name__": "in", "agent": "bot", "model": "m", "pod": "a"}
		for k := 0; k+1 < len(labels); k += 2 {
			l[labels[k]] = labels[k+1]
		}
		return Series{Labels: l, Samples: []Sample{{At: 7, Value: v}}}
	}
	changed := func(n float64) Series { return Series{Samples: []Sample{{At: 7, Value: n}}} }
	keyOf := func(s Series) string {
		cs, _, err := ReadCounters([]Series{s}, "bot", r)
		if err != nil {
			t.Fatal(err)
		}
		return cs[0].Key
	}
	at := func(v uint64, now, before int) Cursor {
		return Cursor{At: hour, Value: v, resets: resets{now: now, before: before}}
	}
	for name, tc := range map[string]struct {
		why    string
		answer []Series
		cursor Cursor // of pod a
		rises  int64  // when a price changes; 0: never
		want   bool
	}{
		"Still":      {why: "Every sample is the one that was settled.", answer: []Series{one(5), changed(0)}, cursor: at(5, 0, 0), want: true},
		"Nothing":    {why: "Nobody used anything, ever.", answer: []Series{changed(0)}, want: true},
		"Zero":       {why: "A counter that shows itself and counts nothing needs no cursor.", answer: []Series{one(0, "pod", "b"), changed(0)}, want: true},
		"Twins":      {why: "Two replicas that both stand there.", answer: []Series{one(5, "replica", "x"), one(5, "replica", "y"), changed(0)}, cursor: at(5, 0, 0), want: true},
		"Changed":    {why: "It went somewhere and came back: only the samples say what that was.", answer: []Series{one(5), changed(2)}, cursor: at(5, 0, 0)},
		"Untold":     {why: "An answer that doesn't say what changed proves nothing.", answer: []Series{one(5)}, cursor: at(5, 0, 0)},
		"Moved":      {why: "It was settled lower, and what it shows came late.", answer: []Series{one(6), changed(0)}, cursor: at(5, 0, 0)},
		"Fallen":     {why: "A process that began anew.", answer: []Series{one(0), changed(0)}, cursor: at(5, 0, 0)},
		"Born":       {why: "A series without a cursor counts from zero.", answer: []Series{one(5, "pod", "b"), changed(0)}, cursor: at(5, 0, 0)},
		"TwinBehind": {why: "Two replicas, one of which was away.", answer: []Series{one(5, "replica", "x"), one(4, "replica", "y"), changed(0)}, cursor: at(5, 0, 0)},
		"TwoWays":    {why: "One pod by two monitors is one counter or two, which only the samples say; that is named.", answer: []Series{one(5), one(0, "job", "other"), changed(0)}, cursor: at(5, 0, 0)},
		"Restless":   {why: "It was reset all the time until it fell silent, which stays named.", answer: []Series{one(5), changed(0)}, cursor: at(5, 21, 0)},
		"WasSo":      {why: "As above, in the window before.", answer: []Series{one(5), changed(0)}, cursor: at(5, 0, 21)},
		"NowAndThen": {why: "As often as a process may.", answer: []Series{one(5), changed(0)}, cursor: at(5, 20, 20), want: true},
		"Rises":      {why: "Tokens are kept by the price that was valid at the last sample.", answer: []Series{one(5), changed(0)}, cursor: at(5, 0, 0), rises: 2 * hour},
		"Risen":      {why: "Before all that is read.", answer: []Series{one(5), changed(0)}, cursor: at(5, 0, 0), rises: hour / 2, want: true},
		"Fraction":   {why: "It is named, as it is with all samples.", answer: []Series{one(5.5), changed(0)}, cursor: at(5, 0, 0)},
		"Unknown":    {why: "A class that means nothing is named.", answer: []Series{one(5, "__name__", "by_class", "class", "?"), changed(0)}},
		"Stranger":   {why: "No answer to what was asked.", answer: []Series{one(5, "agent", "other"), changed(0)}},
		"Large":      {why: "VictoriaMetrics takes small changes of large numbers for none.", answer: []Series{one(1e12), changed(0)}, cursor: at(1e12, 0, 0)},
		"NaN":        {why: "No counter has it.", answer: []Series{one(math.NaN()), changed(0)}, cursor: at(5, 0, 0)},
		"Samples":    {why: "Raw samples were not asked for.", answer: []Series{{Labels: one(5).Labels, Samples: []Sample{{At: 1, Value: 5}, {At: 2, Value: 5}}}, changed(0)}, cursor: at(5, 0, 0)},
	} {
		t.Run(name, func(t *testing.T) {
			l := New("lifetime", "m", 0)
			l.SettledAt, l.AsOf = hour, hour
			if tc.cursor != (Cursor{}) {
				l.Cursors[keyOf(one(5))] = tc.cursor
			}
			r := r
			if tc.rises > 0 {
				r.Began = func(_ string, at int64) int64 {
					if at >= tc.rises {
						return tc.rises
					}
					return 0
				}
			}
			if _, got := Still(tc.answer, l, "bot", r, hour, 3*hour); got != tc.want {
				t.Errorf("still: %t, want %t\n%s", got, tc.want, tc.why)
			}
		})
	}
}

func TestMayBeStill(t *testing.T) {
	r := Rules{Heartbeat: time.Hour}
	hour := time.Hour.Milliseconds()
	for name, tc := range map[string]struct {
		why      string
		ledger   Ledger
		settleTo int64
		want     bool
	}{
		"Settled":  {why: "Nothing counts but what is settled.", ledger: Ledger{From: 0, SettledAt: hour, AsOf: hour}, settleTo: hour, want: true},
		"New":      {why: "Nothing was ever settled.", ledger: Ledger{From: hour, SettledAt: hour, AsOf: hour}, settleTo: 0, want: true},
		"Counting": {why: "If samples of the last hour are gone, that is a loss.", ledger: Ledger{SettledAt: hour, AsOf: hour + 30_000}, settleTo: hour},
		"Due":      {why: "What is settled needs the times of samples.", ledger: Ledger{SettledAt: hour, AsOf: hour}, settleTo: 2 * hour},
		"Rebased":  {why: "Series that were mapped anew begin at what they show.", ledger: Ledger{SettledAt: hour, AsOf: hour, Rebased: 2 * hour}, settleTo: hour},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.ledger.MayBeStill(r, tc.settleTo); got != tc.want {
				t.Errorf("may be still: %t, want %t\n%s", got, tc.want, tc.why)
			}
		})
	}
}
