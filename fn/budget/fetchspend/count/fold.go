package count

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
)

// A Tally is what one look at the samples says.
type Tally struct {
	Ledger   Ledger           // as it goes to status
	Counted  map[Meter]uint64 // tokens of the period so far, settled or not
	Doubtful map[Meter]uint64 // that may have been used beside them
	Gains    map[Meter][]Gain // what the samples of this look added
	Seen     bool             // any sample of the agent, now or ever
	Newest   bool             // there is a sample after the old SettledAt
	Distrust []string         // for people; sorted
}

// Past is what a server remembers of counters from before SettledAt: the last value
// that each had, as far as it still knows them.
type Past []Counter

// Fold counts the samples up to the time at, and settles what is older than
// settleTo. It is pure, and settling is associative: to fold up to a time, and
// then on from there, gives what folding in one go gives. So an older copy of the
// ledger, met with the same samples, becomes the same ledger.
//
// Samples up to SettledAt are read again (the overlap) but count only for a
// series whose cursor is older: they came late. Starts are what processes say of
// when they started.
func Fold(l Ledger, r Rules, cs []Counter, past Past, starts []Series, at, settleTo int64, force bool) Tally {
	f := folding{
		Tally: Tally{
			Counted: l.Clone().Totals, Doubtful: l.Clone().Doubts, Gains: map[Meter][]Gain{},
			Seen: len(l.Totals)+len(l.Cursors) > 0,
		},
		from:     l,
		rules:    r,
		at:       at,
		settleTo: settleTo,
		settled:  l.Clone(),
	}
	f.told, f.kin = cachedTold(cs, r, at), map[kin]*decided{}
	f.bench = &bench{rules: r, starts: starts}
	trial := try(cs, r, starts, at)
	past = past.beside(cs)
	for _, contained := range []bool{false, true} { // what contains others goes before them
		for i, c := range cs {
			if r.contained(c.meter.Class) == contained {
				f.count(c, trial[i], past)
			}
		}
	}
	slices.Sort(f.Distrust)

	f.Ledger = l.Clone()
	if settleTo > l.SettledAt && (force || f.moved || f.stirred || settleTo >= l.SettledAt+r.Heartbeat.Milliseconds()) {
		f.settled.SettledAt = settleTo
		f.settled.Cursors = living(f.settled)
		f.Ledger = f.settled
	}
	if f.Ledger.SettledAt >= f.Ledger.Rebased {
		f.Ledger.Rebased = 0
	}
	f.Ledger.AsOf = max(l.From, f.Ledger.SettledAt, Ceil(f.lastGain, r.Grid))
	return f.Tally
}

// A folding is a tally in the making.
type folding struct {
	Tally

	from     Ledger
	rules    Rules
	at       int64
	settleTo int64

	bench *bench // which hears what processes say of when they started

	told map[string]int64 // up to when cached input is known
	kin  map[kin]*decided // of input

	settled  Ledger // as it would be if it were settled up to settleTo
	moved    bool   // settled tokens were added
	stirred  bool   // a counter moved in the overlap
	lastGain int64  // the time of the newest sample that added any
}

// cursorOf is the cursor that counting a counter goes on from: the furthest of those
// of its series.
func (l Ledger) cursorOf(c Counter) *Cursor {
	var start *Cursor
	for _, k := range c.keys {
		if cu, ok := l.Cursors[k]; ok && (start == nil || cu.At > start.At || cu.At == start.At && cu.Value > start.Value) {
			start = &cu
		}
	}
	return start
}

// count adds one counter.
func (f *folding) count(c Counter, fs []fall, past Past) {
	l, r := f.from, f.rules
	points := upTo(c.points, f.at)
	w := newWalker(l, r)
	counts := max(l.From, l.SettledAt) // samples up to it count nothing
	start := l.cursorOf(c)
	if start != nil {
		counts = l.From
	} else if v, ok := past.value(c, r); ok && l.strange(c, points) {
		start = &Cursor{At: l.SettledAt - r.Overlap().Milliseconds(), Value: v}
	}
	doubts := restless(w, start, points, r)
	contained := r.contained(c.meter.Class)
	kin := f.kinOf(c)
	if contained {
		if kin.there {
			doubts.windows, doubts.named = nil, false // as it is of input
		}
		fs, points = kin.follow(fs, points, &doubts, r)
	}
	away, lowered, why := absences(fs, contained, r.near().Milliseconds(), l.SettledAt)
	doubts.away, doubts.lowered = merged(away), lowered
	if c.meter.Class == v1alpha1.TokenInput {
		kin.decide(fs, doubts)
	}
	if doubts.named && !slices.Contains(why, twoWriters) {
		why = append(why, twoWriters)
	}
	for _, why := range append(why, c.distrust...) {
		f.Distrust = append(f.Distrust, c.name+": "+why)
	}
	if len(points) == 0 {
		return
	}

	m := c.meter
	m.From = r.began(m.Model, points[len(points)-1].at)
	m = m.named(f.Counted)
	f.Counted[m] = add(f.Counted[m], 0)
	if points[0].at <= f.settleTo {
		f.settled.Totals[m] = add(f.settled.Totals[m], 0)
	}
	f.Seen = true
	f.Newest = f.Newest || points[len(points)-1].at > l.SettledAt
	f.stirred = f.stirred || stirs(upTo(points, l.SettledAt))
	settled, sunk := f.walk(c, w, w.resume(start, points), doubts, kin, counts)
	if settled.At != 0 {
		settled.resets = doubts.resetsAt(settled.At)
		for _, k := range c.keys {
			f.settled.Cursors[k] = settled
		}
	}
	if said := contained && kin.there; !said && slices.ContainsFunc(sunk, func(s loss) bool { return s.at > l.SettledAt }) {
		f.Distrust = append(f.Distrust, c.name+": "+notSeenAnew)
	}
	f.doubt(c, append(losses(fs, r), sunk...), max(l.From, l.SettledAt))
}

// walk adds a counter's points: those after a time count. It returns where the counter
// stands in what is to be settled, and what it sank by.
func (f *folding) walk(c Counter, w *walker, points []point, doubts doubts, kin *decided, counts int64) (settled Cursor, sunk []loss) {
	gains := make([]Gain, 0, len(points))
	for _, p := range points {
		if c.untold(p, f.told, f.rules, f.at) {
			break
		}
		sinks, life, high := f.sank(c, w, p, kin), w.life, w.value
		tokens, reset := doubts.step(w, p, sinks)
		sinks = sinks && w.life > life
		if sinks {
			sunk = append(sunk, loss{p.at, f.hides(c, p, high)})
		}
		if c.meter.Class == v1alpha1.TokenInput {
			kin.tell(p.at, reset, sinks)
		}
		if p.at <= f.settleTo {
			settled = w.cursor()
		}
		if tokens > 0 && p.at > counts {
			gains = append(gains, Gain{At: p.at, Tokens: tokens})
		}
	}
	f.gain(c.meter, gains)
	return settled, sunk
}

// stirs says whether a counter has more than one value. An agent that fell silent is
// settled until it has not in the overlap: then its looks are cheap (see Still), and would
// be so only after Heartbeat otherwise.
func stirs(points []point) bool {
	return slices.ContainsFunc(points, func(p point) bool { return p.v != points[0].v })
}

// doubt counts what may have been used beside what counts.
func (f *folding) doubt(c Counter, all []loss, counts int64) {
	for _, l := range all {
		if l.at <= counts || l.at > f.at || l.tokens == 0 {
			continue
		}
		m := c.meter
		m.From = f.rules.began(m.Model, l.at)
		m = m.named(f.Counted)
		f.Doubtful[m] = add(f.Doubtful[m], l.tokens)
		if l.at <= f.settleTo {
			f.settled.Totals[m] = add(f.settled.Totals[m], 0)
			f.settled.Doubts[m] = add(f.settled.Doubts[m], l.tokens)
			f.moved = true
		}
	}
}

// gain adds what samples of one counter added, the earliest first.
func (f *folding) gain(m Meter, all []Gain) {
	for len(all) > 0 {
		n := f.span(m.Model, all)
		m := m
		m.From = f.rules.began(m.Model, all[0].At)
		m = m.named(f.Counted)
		var counted, settled uint64
		for _, g := range all[:n] {
			counted = add(counted, g.Tokens)
			if g.At <= f.settleTo {
				settled, f.moved = add(settled, g.Tokens), true
			}
		}
		f.Counted[m] = add(f.Counted[m], counted)
		if settled > 0 {
			f.settled.Totals[m] = add(f.settled.Totals[m], settled)
		}
		f.Gains[m] = append(f.Gains[m], all[:n]...)
		f.lastGain = max(f.lastGain, all[n-1].At)
		all = all[n:]
	}
}

// span is how many of some gains lie in the price span of the first.
func (f *folding) span(model string, all []Gain) int {
	first := f.rules.began(model, all[0].At)
	if f.rules.began(model, all[len(all)-1].At) == first {
		return len(all)
	}
	n := 1
	for f.rules.began(model, all[n].At) == first {
		n++
	}
	return n
}

// cachedTold says of each process and model up to when its cached input is known,
// by what its counters of input and cached input have in common. What every look
// sees says it: nobody waits for one that was silent for longer.
func cachedTold(cs []Counter, r Rules, at int64) map[string]int64 {
	told := map[string]int64{}
	for _, c := range cs {
		if p := upTo(c.points, at); c.meter.Class == v1alpha1.TokenCachedInput && len(p) > 0 && p[len(p)-1].at > at-r.SettleAfter.Milliseconds() {
			told[c.sibling()] = p[len(p)-1].at
		}
	}
	return told
}

// untold says whether a sample of input came before the one that says how much of
// it was cached: two shards of a remote-write, say. Charged alone it would count
// cached tokens at the full price, until the other comes; it is waited for, but
// not for long.
func (c Counter) untold(p point, told map[string]int64, r Rules, at int64) bool {
	if c.meter.Class != v1alpha1.TokenInput || !r.CachedInInput || len(told) == 0 || p.at <= at-r.Quiet().Milliseconds() {
		return false
	}
	t, ok := told[c.sibling()]
	return ok && p.at-t > (r.Grid/2).Milliseconds()
}

// sibling identifies what one process counts for one model: a counter's labels
// without its name.
func (c Counter) sibling() string {
	labels := maps.Clone(c.Labels)
	delete(labels, "__name__")
	return identity(labels)
}

// Strangers returns the counters of which nothing says whether they are births:
// they have no cursor, no sample before SettledAt, and start above zero.
func Strangers(l Ledger, cs []Counter, at int64) []Counter {
	var out []Counter
	for _, c := range cs {
		if l.strange(c, upTo(c.points, at)) {
			out = append(out, c)
		}
	}
	return out
}

// strange says it of one. What the server remembers of the others, when it is asked for
// some, is what is read again, and says nothing.
func (l Ledger) strange(c Counter, points []point) bool {
	return l.cursorOf(c) == nil && len(points) > 0 && points[0].at > l.SettledAt && points[0].v > 0
}

// living returns the cursors to keep. It drops those of series that were silent
// while others of the agent went on, and the oldest ones beyond maxCursors or
// maxLedger: a series without a cursor that comes back is looked up in the server.
// One that was reset shortly before stays for as long as that would find it: the server
// has the last value, and not what was decided of it (that it counts on from a higher
// one, or that cached input began anew with input).
// When the whole agent or its meter is silent all stay, so that no silence is too
// long.
func living(l Ledger) map[string]Cursor {
	newest := int64(0)
	for _, c := range l.Cursors {
		newest = max(newest, c.At)
	}
	keys := make([]string, 0, len(l.Cursors))
	for k, c := range l.Cursors {
		keep := keepCursor
		if c.resets != (resets{}) {
			keep = Lookback
		}
		if c.At > newest-keep.Milliseconds() {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(cmp.Compare(l.Cursors[b].At, l.Cursors[a].At), cmp.Compare(a, b))
	})
	out := map[string]Cursor{}
	bare := l
	bare.Cursors = nil
	size := JSONSize(bare.Write())
	for _, k := range keys[:min(len(keys), maxCursors)] {
		if size += JSONSize(l.Cursors[k].write(k)) + 1; size > maxLedger {
			break
		}
		out[k] = l.Cursors[k]
	}
	return out
}

// An heir is a counter that may go on from one of the past: when it was first heard of, and
// in how many labels they differ.
type heir struct {
	began  int64
	differ int
}

// beside notes until when its series go on, and which may go on from them, as far as
// counters tell.
func (p Past) beside(cs []Counter) Past {
	last := map[string]int64{}
	families := map[family][]Counter{}
	for _, c := range cs {
		if n := len(c.points); n > 0 {
			for _, k := range c.keys {
				last[k] = max(last[k], c.points[n-1].at)
			}
			families[c.family()] = append(families[c.family()], c)
		}
	}
	out := slices.Clone(p)
	for i, o := range out {
		out[i].until = last[o.Key]
		out[i].heirs = nil
		for _, c := range families[o.family()] {
			if c.process.is(o.process) && c.points[0].v >= o.highest() {
				out[i].heirs = append(out[i].heirs, heir{c.points[0].at, len(labelsApart(c.Labels, o.Labels))})
			}
		}
	}
	return out
}

func (c Counter) highest() (v uint64) {
	for _, p := range c.points {
		v = max(v, p.v)
	}
	return v
}

// goesOnBeside says whether one of the past is not what a counter goes on from: it is heard
// of still, or something nearer went on from it before.
func (c Counter) goesOnBeside(o Counter, r Rules) bool {
	began, differ := o.points[0].at+r.Quiet().Milliseconds(), len(labelsApart(c.Labels, o.Labels))
	return c.until > began || slices.ContainsFunc(c.heirs, func(h heir) bool { return h.differ < differ && h.began <= began })
}

// value is the last value that a counter had before: that of the same series and
// twin, or of the furthest other twin; else that of the series of the same process
// that it may go on from.
func (p Past) value(c Counter, r Rules) (uint64, bool) {
	var v, other uint64
	same, found := false, false
	for _, o := range p {
		if len(o.points) == 0 {
			continue
		}
		highest := o.highest()
		switch {
		case slices.Contains(c.keys, o.Key):
			for _, q := range o.points {
				if len(c.points) > 0 && len(c.keys) == 1 && o.twins[q.twin] == c.twins[c.points[0].twin] {
					return q.v, true
				}
			}
			v, same = max(v, highest), true
		case len(c.points) > 0 && (r.parted(c, o) || o.goesOnBeside(c, r)):
			// Another part of what its process counts.
		case len(c.points) > 0 && o.meter == c.meter && o.Labels["__name__"] == c.Labels["__name__"] && o.process.is(c.process) && highest <= c.points[0].v:
			other, found = max(other, highest), true
		}
	}
	if same {
		return v, true
	}
	return other, found
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
	if a > math.MaxUint64-b {
		return math.MaxUint64
	}
	return a + b
}

// Vanished says whether the samples that were counted after SettledAt have all
// vanished: a server that lost its memory, or another tenant's. An answer that is
// empty leaves the figures as they are.
func Vanished(l Ledger, t Tally, at int64) bool {
	return !t.Newest && l.AsOf > max(l.SettledAt, l.From) && at-l.AsOf < (24*time.Hour).Milliseconds()
}

// near is the mean distance of as many resets as MaxResets allows, but no longer
// than what is read again of settled samples can show.
func (r Rules) near() time.Duration {
	window, limit := r.resetWindow()
	return min(window/time.Duration(limit), r.long())
}
