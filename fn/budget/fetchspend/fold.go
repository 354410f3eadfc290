package fetchspend

import (
	"slices"
	"strings"
	"time"
)

// A tally is what one look at the samples says.
type tally struct {
	ledger   ledger           // as it goes to status
	counted  map[meter]uint64 // tokens of the period so far, settled or not
	gains    map[meter][]gain // what the samples of this look added
	seen     bool             // any sample of the agent, now or ever
	newest   bool             // there is a sample after the old settledAt
	distrust []string         // for people; sorted
}

// history is the last value that a counter's twins had before settledAt, by
// replica labels.
type history map[string]uint64

// fold counts the samples up to the time at, and settles what is older than
// settleTo. It is pure, and settling is associative: to fold up to a time, and
// then on from there, gives what folding in one go gives. So an older copy of the
// ledger, met with the same samples, becomes the same ledger.
//
// Samples up to settledAt are read again (the overlap) but count only for a
// series whose cursor is older: they came late.
func fold(l ledger, s Settings, counters []counter, past map[string]history, at, settleTo int64, force bool) tally {
	t := tally{counted: l.clone().totals, gains: map[meter][]gain{}, seen: len(l.totals)+len(l.cursors) > 0}
	settled := l.clone()
	heads := map[string]cursor{}
	moved := false
	lastGain := int64(0)

	for _, c := range counters {
		w := newWalker(l, s)
		var start *cursor
		counts := max(l.from, l.settledAt) // samples up to it count nothing
		if cu, ok := l.cursors[c.key]; ok {
			start, counts = &cu, l.from
		} else if h := past[c.key]; len(h) > 0 && len(c.points) > 0 {
			start = &cursor{at: l.settledAt - s.overlap().Milliseconds(), value: h.value(c.twins[c.points[0].twin])}
		}
		points := upTo(c.points, at)
		bad := distrusted(w, start, points, s)
		if len(bad) > 0 {
			c.distrust = append(c.distrust, "resets all the time, as if two processes wrote it, so that only its highest value counts")
		}
		for _, why := range c.distrust {
			t.distrust = append(t.distrust, c.name+": "+why)
		}

		rest := w.resume(start, points)
		m := c.meter.named(t.counted)
		if _, ok := t.counted[m]; !ok && len(points) > 0 {
			t.counted[m] = 0
		}
		if cu, ok := l.cursors[c.key]; ok {
			heads[c.key] = cu
		}
		t.seen = t.seen || len(points) > 0
		t.newest = t.newest || len(points) > 0 && points[len(points)-1].at > l.settledAt
		for _, p := range rest {
			tokens, _ := w.step(p, bad[p.at/w.window])
			if p.at <= settleTo {
				heads[c.key] = w.cursor()
			}
			if tokens == 0 || p.at <= counts {
				continue
			}
			t.counted[m] = add(t.counted[m], tokens)
			t.gains[m] = append(t.gains[m], gain{at: p.at, tokens: tokens})
			lastGain = max(lastGain, p.at)
			if p.at <= settleTo {
				settled.totals[m] = add(settled.totals[m], tokens)
				moved = true
			}
		}
		if len(points) > 0 && points[0].at <= settleTo {
			settled.totals[m] = add(settled.totals[m], 0)
		}
	}
	slices.Sort(t.distrust)

	t.ledger = l.clone()
	if settleTo > l.settledAt && (force || moved || settleTo >= l.settledAt+s.Heartbeat.Milliseconds()) {
		for k, c := range l.cursors {
			if _, ok := heads[k]; !ok {
				heads[k] = c
			}
		}
		settled.settledAt = settleTo
		settled.cursors = living(heads)
		t.ledger = settled
	}
	if t.ledger.settledAt >= t.ledger.rebased {
		t.ledger.rebased = 0
	}
	t.ledger.asOf = max(l.from, t.ledger.settledAt, ceil(lastGain, s.Grid))
	return t
}

func newWalker(l ledger, s Settings) *walker {
	window, _ := s.resetWindow()
	return &walker{
		quiet:      s.quiet().Milliseconds(),
		long:       s.long().Milliseconds(),
		window:     window.Milliseconds(),
		birthAfter: max(l.settledAt, l.rebased),
	}
}

// unknown returns the counters of which nothing says whether they are births:
// they have no cursor, no sample before settledAt, and start above zero.
func unknown(l ledger, counters []counter, at int64) []counter {
	var out []counter
	for _, c := range counters {
		if _, ok := l.cursors[c.key]; ok {
			continue
		}
		if p := upTo(c.points, at); len(p) > 0 && p[0].at > l.settledAt && p[0].v > 0 {
			out = append(out, c)
		}
	}
	return out
}

// distrusted returns the windows of time in which a series is reset so often that
// two processes must be writing it, and the windows right after them.
func distrusted(w *walker, start *cursor, points []point, s Settings) map[int64]bool {
	window, limit := s.resetWindow()
	ms := window.Milliseconds()
	falls := map[int64]int{}
	if start != nil {
		falls[start.at/ms] = start.resets.now
		falls[start.at/ms-1] = start.resets.before
	}
	for _, p := range w.resume(start, points) {
		if _, reset := w.step(p, false); reset {
			falls[p.at/ms]++
		}
	}
	var bad map[int64]bool
	for b, n := range falls {
		if n <= limit {
			continue
		}
		if bad == nil {
			bad = map[int64]bool{}
		}
		bad[b], bad[b+1] = true, true
	}
	return bad
}

// living drops the cursors of series that were silent while others of the agent
// went on, and the oldest ones beyond maxCursors: a series without a cursor that
// comes back is looked up in the server. When the whole agent or its meter is
// silent all stay, so that no silence is too long.
func living(heads map[string]cursor) map[string]cursor {
	newest := int64(0)
	for _, c := range heads {
		newest = max(newest, c.at)
	}
	keys := make([]string, 0, len(heads))
	for k, c := range heads {
		if c.at > newest-keepCursor.Milliseconds() {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		if d := heads[b].at - heads[a].at; d != 0 {
			return int(min(1, max(-1, d)))
		}
		return strings.Compare(a, b)
	})
	out := map[string]cursor{}
	for _, k := range keys[:min(len(keys), maxCursors)] {
		out[k] = heads[k]
	}
	return out
}

// value is the last value of a twin, or of the furthest of the others if that
// one has none.
func (h history) value(twin string) uint64 {
	if v, ok := h[twin]; ok {
		return v
	}
	var v uint64
	for _, o := range h {
		v = max(v, o)
	}
	return v
}

// upTo returns the points up to a time.
func upTo(points []point, at int64) []point {
	i := len(points)
	for i > 0 && points[i-1].at > at {
		i--
	}
	return points[:i]
}

// add stops at the largest number: a garbled counter must not turn a huge total
// into a small one.
func add(a, b uint64) uint64 {
	if a+b < a {
		return ^uint64(0)
	}
	return a + b
}

// settleTo is the time up to which samples are final, when the look is at a time.
func (s Settings) settleTo(at int64) int64 {
	return floor(at-s.SettleAfter.Milliseconds(), s.block())
}

// heldBack says whether the samples that were counted after settledAt have all
// vanished: a server that lost its memory, or another tenant's. An answer that is
// empty leaves the figures as they are.
func heldBack(l ledger, t tally, at int64) bool {
	return !t.newest && l.asOf > max(l.settledAt, l.from) && at-l.asOf < (24*time.Hour).Milliseconds()
}
