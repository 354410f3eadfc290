package simulation

import (
	"math/rand/v2"
	"sort"
	"time"
)

// A dip is a time in which counters show less than they had: a server that failed over
// to one that is behind, a ghost.
type dip struct {
	Span

	depth func(value uint64) uint64
}

// depths are by how much counters step back.
var depths = []func(v uint64) uint64{
	func(v uint64) uint64 { return min(v, 1) },
	func(v uint64) uint64 { return min(v, 20) },
	func(v uint64) uint64 { return v / 2 },
	func(v uint64) uint64 { return v },
}

// A relabel is a change of a living series' labels, and a gap before it.
type relabel struct {
	from          time.Time // zero: never
	gap           time.Duration
	before, after []string
}

// A way is how one sample of a life gets to the store.
type way struct {
	labels []string
	offset int64         // milliseconds after the scrape
	lag    time.Duration // its values are so old
}

// disturb says when a life's counters dip and how they are relabelled.
func (w *World) disturb(r *rand.Rand, l *life) {
	length := l.end.Sub(l.start)
	if w.Traits.Dips && length > 20*time.Minute {
		at := l.start
		for range 1 + r.IntN(3) { // so far apart that none is another's company
			at = at.Add(between(r, 10*time.Minute, max(11*time.Minute, length/3)))
			lasts := []time.Duration{step, 10 * step}[r.IntN(2)]
			l.dips = append(l.dips, dip{Span: Span{at, at.Add(lasts)}, depth: depths[r.IntN(len(depths))]})
			at = at.Add(lasts)
		}
	}
	if w.Traits.Failovers && length > 20*time.Minute {
		at := l.start.Add(between(r, 9*time.Minute, length-10*time.Minute))
		l.silent = Span{at.Add(-[]time.Duration{4 * step, 4 * time.Minute, 8 * time.Minute}[r.IntN(3)]), at}
		lasts := []time.Duration{step, 10 * step}[r.IntN(2)]
		l.dips = append(l.dips, dip{Span: Span{at, at.Add(lasts)}, depth: depths[r.IntN(len(depths))]})
	}
	if w.Traits.Relabels && length > 4*time.Minute {
		l.relabelled = relabel{from: l.start.Add(between(r, 2*time.Minute, length-time.Minute))}
		if r.IntN(2) == 0 {
			l.relabelled.gap = min(between(r, step, 8*time.Minute), l.end.Sub(l.relabelled.from)-step)
		}
		labels := [][2][]string{
			{nil, {"cluster", "prod"}},
			{{"cluster", "prod"}, nil},
			{{"job", "agents"}, {"job", "kagent/agents"}},
			{{"instance", "10.0.0.7:8080"}, {"instance", "10.0.0.7:9090"}},
			{{"otel_scope_version", "1.2.0"}, {"otel_scope_version", "1.2.1"}},
		}[r.IntN(5)]
		l.relabelled.before, l.relabelled.after = labels[0], labels[1]
	}
}

// ways are those by which a life's sample at a time gets to the store; none in a gap.
func (w *World) ways(r *rand.Rand, l *life, at time.Time) []way {
	switch {
	case l.silent.Holds(at):
		return nil
	case w.Traits.Monitors:
		return []way{{labels: []string{"job", "a"}, lag: late(r)}, {labels: []string{"job", "b"}, offset: 5, lag: late(r)}}
	case w.Traits.Servers:
		return []way{{lag: late(r)}, {offset: 5, lag: late(r)}}
	case l.relabelled.from.IsZero() || at.Before(l.relabelled.from):
		return []way{{labels: l.relabelled.before}}
	case at.Before(l.relabelled.from.Add(l.relabelled.gap)):
		return nil
	}
	return []way{{labels: l.relabelled.after}}
}

// late is how old a value is that was read a moment before it is stored: now and then
// so old that another one overtakes it.
func late(r *rand.Rand) time.Duration {
	if r.IntN(8) == 0 {
		return between(r, 0, 2*time.Second)
	}
	return 0
}

// value is what a counter shows at a time.
func (l *life) value(c *counter, at time.Time) (shown uint64, there bool) {
	done := sort.Search(len(l.requests), func(i int) bool { return l.requests[i].at.After(at) })
	if c.first > done && !l.zero {
		return 0, false // a counter exists from its first request
	}
	v := c.after[done]
	for _, d := range l.dips {
		if d.Holds(at) && at.Before(l.end) {
			was, ok := l.beforeDip(c, d)
			return was - d.depth(was), ok
		}
	}
	return v, true
}

// beforeDip is what a counter had come to when a dip began.
func (l *life) beforeDip(c *counter, d dip) (uint64, bool) {
	done := sort.Search(len(l.requests), func(i int) bool { return l.requests[i].at.After(d.From) })
	return c.after[done], c.first <= done || l.zero
}

// exportBy makes the samples of a life that get to the store one way.
func (w *World) exportBy(r *rand.Rand, l *life, at, arrives time.Time, stamp int64, replica string, y way) {
	stamp += y.offset
	if !w.Traits.Mute {
		// As every client library does, without a word of the agent.
		w.Exports = append(w.Exports, Export{Arrives: arrives.UnixMilli(), At: stamp, Value: float64(l.start.Unix()), Labels: startLabels(l.pod, replica, y.labels...)})
	}
	for _, c := range l.counters {
		now, there := l.value(c, at.Add(-y.lag))
		if !there {
			continue
		}
		l.stored[c.meter] = append(l.stored[c.meter], seen{at: stamp, late: arrives.UnixMilli() - stamp, value: now})
		e := Export{Arrives: arrives.UnixMilli(), At: stamp, Value: float64(now), Labels: c.labels(l.pod, replica, y.labels)}
		w.Exports = append(w.Exports, e)
		if w.Traits.BadSamples && r.IntN(50) == 0 {
			bad := []float64{nan, -1, 0.5, 1e300}[r.IntN(4)]
			w.Exports = append(w.Exports, Export{Arrives: e.Arrives, At: stamp + 1 + r.Int64N(900), Value: bad, Labels: e.Labels})
		}
	}
}
