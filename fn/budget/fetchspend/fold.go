package fetchspend

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
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
	f := folding{
		tally:    tally{counted: l.clone().totals, gains: map[meter][]gain{}, seen: len(l.totals)+len(l.cursors) > 0},
		from:     l,
		settings: s,
		at:       at,
		settleTo: settleTo,
		settled:  l.clone(),
	}
	told := cachedTold(counters, s, at)
	for _, c := range counters {
		f.count(c, past[c.key], told)
	}
	slices.Sort(f.distrust)

	f.ledger = l.clone()
	if settleTo > l.settledAt && (force || f.moved || settleTo >= l.settledAt+s.Heartbeat.Milliseconds()) {
		f.settled.settledAt = settleTo
		f.settled.cursors = living(f.settled)
		f.ledger = f.settled
	}
	if f.ledger.settledAt >= f.ledger.rebased {
		f.ledger.rebased = 0
	}
	f.ledger.asOf = max(l.from, f.ledger.settledAt, ceil(f.lastGain, s.Grid))
	return f.tally
}

// A folding is a tally in the making.
type folding struct {
	tally

	from     ledger
	settings Settings
	at       int64
	settleTo int64

	settled  ledger // as it would be if it were settled up to settleTo
	moved    bool   // settled tokens were added
	lastGain int64  // the time of the newest sample that added any
}

// count adds one counter.
func (f *folding) count(c counter, past history, told map[string]int64) {
	l, s := f.from, f.settings
	points := upTo(c.points, f.at)
	w := newWalker(l, s)
	var start *cursor
	counts := max(l.from, l.settledAt) // samples up to it count nothing
	if cu, ok := l.cursors[c.key]; ok {
		start, counts = &cu, l.from
	} else if len(past) > 0 && len(c.points) > 0 {
		start = &cursor{at: l.settledAt - s.overlap().Milliseconds(), value: past.value(c.twins[c.points[0].twin])}
	}
	decided := f.at
	if c.meter.class == v1alpha1.TokenCachedInput {
		// Not to count cached input, for as long as a fall of it is doubtful, is to
		// charge it in full.
		decided = math.MaxInt64
	}
	doubts := doubtsOf(w, start, points, s, decided)
	if doubts.named {
		c.distrust = append(c.distrust, "resets all the time, as if two processes wrote it, so that only its highest value counts")
	}
	for _, why := range c.distrust {
		f.distrust = append(f.distrust, c.name+": "+why)
	}
	if len(points) == 0 {
		return
	}

	m := c.meter.named(f.counted)
	f.counted[m] = add(f.counted[m], 0)
	if points[0].at <= f.settleTo {
		f.settled.totals[m] = add(f.settled.totals[m], 0)
	}
	f.seen = true
	f.newest = f.newest || points[len(points)-1].at > l.settledAt
	for _, p := range w.resume(start, points) {
		if c.untold(p, told, s, f.at) {
			break
		}
		tokens, _ := w.step(p, doubts.at(p.at))
		if p.at <= f.settleTo {
			f.settled.cursors[c.key] = w.cursor()
		}
		if tokens > 0 && p.at > counts {
			f.gain(m, gain{at: p.at, tokens: tokens})
		}
	}
}

// gain adds what one sample added.
func (f *folding) gain(m meter, g gain) {
	f.counted[m] = add(f.counted[m], g.tokens)
	f.gains[m] = append(f.gains[m], g)
	f.lastGain = max(f.lastGain, g.at)
	if g.at <= f.settleTo {
		f.settled.totals[m] = add(f.settled.totals[m], g.tokens)
		f.moved = true
	}
}

// cachedTold says of each process and model up to when its cached input is known,
// by what its counters of input and cached input have in common. It is empty when
// they are priced apart.
func cachedTold(counters []counter, s Settings, at int64) map[string]int64 {
	if !s.InputContainsCached {
		return nil
	}
	told := map[string]int64{}
	for _, c := range counters {
		if p := upTo(c.points, at); c.meter.class == v1alpha1.TokenCachedInput && len(p) > 0 {
			told[c.process()] = p[len(p)-1].at
		}
	}
	return told
}

// untold says whether a sample of input came before the one that says how much of
// it was cached: two shards of a remote-write, say. Charged alone it would count
// cached tokens at the full price, until the other comes; it is waited for, but
// not for long.
func (c counter) untold(p point, told map[string]int64, s Settings, at int64) bool {
	if c.meter.class != v1alpha1.TokenInput || len(told) == 0 || p.at <= at-s.quiet().Milliseconds() {
		return false
	}
	t, ok := told[c.process()]
	return ok && p.at-t > (s.Grid/2).Milliseconds()
}

// process identifies what one process counts for one model: a counter's labels
// without its name.
func (c counter) process() string {
	labels := maps.Clone(c.labels)
	delete(labels, "__name__")
	return identity(labels)
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

// living returns the cursors to keep. It drops those of series that were silent
// while others of the agent went on, and the oldest ones beyond maxCursors or
// maxLedger: a series without a cursor that comes back is looked up in the server.
// When the whole agent or its meter is silent all stay, so that no silence is too
// long.
func living(l ledger) map[string]cursor {
	newest := int64(0)
	for _, c := range l.cursors {
		newest = max(newest, c.at)
	}
	keys := make([]string, 0, len(l.cursors))
	for k, c := range l.cursors {
		if c.at > newest-keepCursor.Milliseconds() {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(l.cursors[b].at, l.cursors[a].at), cmp.Compare(a, b))
	})
	out := map[string]cursor{}
	bare := l
	bare.cursors = nil
	size := jsonSize(bare.write())
	for _, k := range keys[:min(len(keys), maxCursors)] {
		if size += jsonSize(l.cursors[k].write(k)) + 1; size > maxLedger {
			break
		}
		out[k] = l.cursors[k]
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
