package fetchspend

// A point is one sample of a series, read by one twin.
type point struct {
	at   int64 // Unix milliseconds
	twin int   // index of the twin that has it; a series without twins has one, 0
	v    uint64
}

// A gain is what one sample added.
type gain struct {
	at     int64
	tokens uint64
}

// A walker counts one series, sample by sample in the order of time. Its state
// at any sample is a function of the samples up to it, so that counting can stop
// and go on at any of them: a cursor is that state, and what a cursor leaves out
// (which twin, its own last value) is read again from the overlap.
//
// Twins are the same series as two replicas of one Prometheus see it, with
// clocks that differ a little. One of them is followed until it falls silent;
// merging their samples would turn the difference of their clocks into resets.
type walker struct {
	quiet, long int64 // milliseconds
	window      int64 // milliseconds in which resets are counted
	birthAfter  int64 // a series first seen after it is born from zero, else it starts at its value

	known  bool
	at     int64
	value  uint64 // the highest in the counter's present life
	twin   int    // -1: not known
	resets resets

	last     map[int]point // by twin, its newest sample so far
	fellAt   int64         // when any twin's own value last fell
	fellEver bool
}

// resume starts a walker at a cursor, or nowhere when there is none.
func (w *walker) resume(c *cursor) {
	w.last, w.twin, w.known, w.resets = map[int]point{}, -1, false, resets{}
	w.fellAt, w.fellEver = 0, false
	if c != nil {
		w.known, w.at, w.value, w.resets = true, c.at, c.value, c.resets
	}
}

// step takes one sample and returns what it added, and whether the counter was
// reset before it. A window of time in which the resets can't be trusted
// (distrusted) counts no reset: the series adds what its highest value grows.
func (w *walker) step(p point, distrusted bool) (tokens uint64, reset bool) {
	prev, had := w.last[p.twin]
	w.last[p.twin] = p
	fell := had && p.v < prev.v
	defer func() {
		if fell {
			w.fellAt, w.fellEver = p.at, true
		}
	}()

	if !w.known {
		w.known, w.at, w.value, w.twin = true, p.at, p.v, p.twin
		if p.at > w.birthAfter {
			return p.v, false
		}
		return 0, false
	}
	if p.at <= w.at {
		if p.at == w.at && (w.twin < 0 || p.v == w.value && w.last[w.twin].v != w.value) {
			w.twin = p.twin // the twin that the cursor came from
		}
		return 0, false
	}

	gap := p.at - w.at
	switch {
	case gap > w.long || w.twin < 0:
		reset = p.v < w.value
	case p.twin == w.twin:
		reset = fell
	case gap <= w.quiet:
		return 0, false
	default:
		// The twin that was followed is silent. A value lower than its last is a
		// reset only if this twin's own value fell, in the same life of the counter;
		// else it is the difference of two clocks.
		reset = fell && prev.at >= w.at-w.quiet && (!w.fellEver || prev.at > w.fellAt+w.quiet)
	}

	if b := p.at/w.window - w.at/w.window; b == 1 {
		w.resets = resets{before: w.resets.now}
	} else if b > 1 {
		w.resets = resets{}
	}
	w.at, w.twin = p.at, p.twin
	if reset {
		w.resets.now++
	}
	switch {
	case reset && !distrusted:
		tokens, w.value = p.v, p.v
	case p.v > w.value:
		tokens, w.value = p.v-w.value, p.v
	}
	return tokens, reset
}

// cursor returns where the walker stands.
func (w *walker) cursor() cursor { return cursor{at: w.at, value: w.value, resets: w.resets} }
