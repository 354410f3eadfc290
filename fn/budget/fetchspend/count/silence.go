package count

// A counter that is lower after a silence was reset meanwhile, or whoever answers now is
// behind: a server that failed over. What it fell from may lie before the samples that are
// read again, so that only the cursor knows of it; it is judged as the walker comes by.

// sank says whether such a fall is no reset: it is to more than a process begins with, or
// was soon made good as no process does it, and nobody says that it began anew. The lower
// figure counts then, which is what it grows beyond where it had been.
func (f *folding) sank(c Counter, w *walker, p point, kin *decided) bool {
	before, high, silent := w.silent(p, f.rules.silence().Milliseconds())
	if !silent {
		return false
	}
	if kin.there && f.rules.contained(c.meter.Class) { // as it is of input
		quiet := f.rules.Quiet().Milliseconds()
		_, toReset := nearest(kin.resets, p.at)
		if _, toAway := nearest(kin.away, p.at); min(toReset, toAway) <= quiet {
			return toAway < toReset
		}
	}
	if p.v <= high/8 && (p.at-before > f.rules.away().Milliseconds() || !f.leapt(c, p, high)) {
		return false
	}
	return f.bench.evidence(c, fall{twin: p.twin, before: before, at: p.at}) != isReset
}

// hides is what may have been used again after such a fall, if it was a reset after all:
// none of it if no process begins so, or comes back so.
func (f *folding) hides(c Counter, p point, high uint64) uint64 {
	if p.v >= high-high/8 || f.leapt(c, p, high) {
		return 0
	}
	return high
}

// leapt says whether a counter that fell was soon as high as before, and for the most part
// in one step.
func (f *folding) leapt(c Counter, from point, high uint64) bool {
	way := []point{from}
	for _, p := range upTo(c.points, min(f.at, from.at+f.rules.away().Milliseconds())) {
		if p.at <= from.at || p.twin != from.twin {
			continue
		}
		if way = append(way, p); p.v >= high {
			biggest, _, lowest := steepest(way)
			return biggest >= (high-lowest+1)/2
		}
	}
	return false
}

// silent says whether a sample is lower than what was there before a silence: when that
// was, and how high. What a twin had is known for as long as all looks see it.
func (w *walker) silent(p point, silence int64) (before int64, high uint64, ok bool) {
	before = w.at
	if own, had := w.twins[p.twin]; had && p.at-own.at <= w.long {
		if p.v >= own.v {
			return 0, 0, false
		}
		before = own.at
	}
	return before, w.value, w.known && !p.born && p.v < w.value && p.at-before > silence
}

// sinks says whether a counter may have sunk so, as far as its samples, the ledger and the
// server's memory tell: whether the start of its process would say more.
func (l Ledger) sinks(c Counter, past Past, r Rules, at int64) bool {
	start := l.cursorOf(c)
	if v, ok := past.value(c, r); ok && start == nil {
		start = &Cursor{At: l.SettledAt - r.Overlap().Milliseconds(), Value: v}
	}
	w := newWalker(l, r)
	for _, p := range w.resume(start, upTo(c.points, at)) {
		before, high, silent := w.silent(p, r.silence().Milliseconds())
		if silent && p.at > l.SettledAt && (p.v > high/8 || p.at-before <= r.away().Milliseconds()) {
			return true
		}
		w.step(p, false)
	}
	return false
}
