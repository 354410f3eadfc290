package count

import (
	"time"

	"whisperops.io/functions/apis/v1alpha1"
)

// A server is as much of one as counting asks for: raw samples, those of starts
// apart.
type server struct {
	series []Series
	starts []Series
}

// A fataler is a test, or one of its draws.
type fataler interface{ Fatal(args ...any) }

// look looks once, as fetch-spend does: at what is there up to a time, and on from a
// ledger.
func (s server) look(t fataler, l Ledger, r Rules, at int64) Tally {
	after := l.SettledAt - r.Overlap().Milliseconds()
	series, _, err := ReadCounters(between(s.series, after, at), "bot", r)
	if err != nil {
		t.Fatal(err)
	}
	cs := Unite(series, r)
	var past Past
	if len(Strangers(l, cs, at)) > 0 {
		if past, _, err = ReadCounters(last(between(s.series, l.SettledAt-Lookback.Milliseconds(), l.SettledAt)), "bot", r); err != nil {
			t.Fatal(err)
		}
	}
	var starts []Series
	if len(Suspects(l, cs, past, r, at)) > 0 {
		starts = between(s.starts, after, at)
	}
	return Fold(l, r, cs, past, starts, at, r.SettleTo(at), false)
}

// between are the samples of a time, open on the left.
func between(series []Series, after, upTo int64) []Series {
	var out []Series
	for _, sr := range series {
		found := Series{Labels: sr.Labels}
		for _, sm := range sr.Samples {
			if sm.At > after && sm.At <= upTo {
				found.Samples = append(found.Samples, sm)
			}
		}
		if len(found.Samples) > 0 {
			out = append(out, found)
		}
	}
	return out
}

// last leaves of each series its last sample.
func last(series []Series) []Series {
	for i := range series {
		series[i].Samples = series[i].Samples[len(series[i].Samples)-1:]
	}
	return series
}

// seriesOf is a series of the agent's, of a class or of the start of its process.
func seriesOf(class v1alpha1.TokenClass) Series {
	s := Series{Labels: map[string]string{"__name__": StartMetric, "pod": "a"}}
	for name, of := range usual.Metrics.Names {
		if of == class {
			s.Labels["__name__"], s.Labels["agent_name"], s.Labels["model"] = name, "bot", "m"
		}
	}
	return s
}

// noon is when every story here begins.
var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixMilli()

// counted is what all meters of a class have counted.
func (t Tally) counted(class v1alpha1.TokenClass) uint64 {
	var sum uint64
	for m, n := range t.Counted {
		if m.Class == class {
			sum += n
		}
	}
	return sum
}
