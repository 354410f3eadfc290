package count

// A point is one sample of a series, read by one twin.
type point struct {
	at   int64 // Unix milliseconds
	twin int   // index of the twin that has it; a series without twins has one, 0
	v    uint64
	born bool // its process began anew, under labels that it had not had
}

// A Gain is what one sample added.
type Gain struct {
	At     int64
	Tokens uint64
}

// A walker counts one series, sample by sample in the order of time. Its state
// at any sample is a function of the samples up to it, so that counting can stop
// and go on at any of them: a cursor is that state. What a cursor leaves out (the
// twins' own values) is read again from the overlap.
//
// Twins are the same series as two replicas of one Prometheus see it, with clocks
// that differ by less than quiet. How far the counter came is the furthest that
// any twin saw. That it was reset only a fall of a twin's own value can say:
// between two twins a fall may be the difference of their clocks. The first twin
// that falls counts the reset; the others' falls are then the same one.
type walker struct {
	quiet, long int64 // milliseconds
	birthAfter  int64 // a series first seen after it is born from zero, else it starts at its value

	known   bool
	at      int64  // of the last sample
	value   uint64 // the highest in the counter's present life
	level   uint64 // the same, of what is read again, in which every reset is trusted
	life    int    // how many resets this walker counted
	resetAt int64  // of the last of them
	old     uint64 // the highest in the life before it

	twins map[int]twinState
}

func newWalker(l Ledger, r Rules) *walker {
	return &walker{
		quiet:      r.Quiet().Milliseconds(),
		long:       r.long().Milliseconds(),
		birthAfter: max(l.SettledAt, l.Rebased),
	}
}

// A twinState is the last sample of a twin and the life of the counter that the
// twin was seen to be in.
type twinState struct {
	at   int64
	v    uint64
	life int
}

// resume starts a walker at a cursor, or nowhere when there is none, and returns
// the points that are still to be walked. Those up to the cursor only tell where
// the twins stood.
func (w *walker) resume(c *Cursor, points []point) []point {
	*w = walker{quiet: w.quiet, long: w.long, birthAfter: w.birthAfter, twins: map[int]twinState{}}
	if c == nil {
		return points
	}
	for len(points) > 0 && points[0].at <= c.At {
		w.step(points[0], false)
		points = points[1:]
	}
	w.level = c.Value
	if w.known && w.at == c.At {
		w.level = w.value
	}
	w.known, w.at, w.value = true, c.At, c.Value
	return points
}

// step takes one sample and returns what it added, and whether the counter was
// reset before it. In a window of time in which resets can't be trusted
// (distrusted) none counts: the series adds what its highest value grows.
func (w *walker) step(p point, distrusted bool) (tokens uint64, reset bool) {
	if !w.known {
		w.known, w.at, w.value = true, p.at, p.v
		w.twins[p.twin] = twinState{at: p.at, v: p.v}
		if p.at > w.birthAfter {
			tokens = p.v
		}
		return tokens, false
	}

	own, had := w.twins[p.twin]
	had = had && p.at-own.at <= w.long
	if !had {
		own.life = -1
	}
	present := true // p belongs to the present life of the counter
	switch {
	case p.born:
		reset = true
	case p.at-w.at > w.long:
		reset = p.v < w.value // nobody saw anything for long
	case own.life < 0 && p.v < w.value:
		// A twin that was away comes back lower. While the others are heard they say
		// what happened; when they have gone silent, it does.
		if p.at-w.at <= w.quiet {
			w.twins[p.twin] = twinState{at: p.at, v: p.v, life: -1}
			return 0, false
		}
		reset = true
	case had && p.v < own.v:
		reset = own.life == w.life || w.resetAt < own.at-w.quiet
		if !reset && own.v > w.old {
			// The reset that another twin counted; until then this one had seen the
			// life before come further.
			tokens, w.old = own.v-w.old, own.v
		}
	default:
		present = own.life == w.life || w.life == 0 || p.at > w.resetAt+w.quiet
	}

	switch {
	case reset:
		w.life, w.resetAt, w.old = w.life+1, p.at, w.value
		if !distrusted {
			tokens, w.value = p.v, p.v
		}
	case present && p.v > w.value:
		tokens, w.value = tokens+p.v-w.value, p.v
	}
	w.at = p.at
	if present {
		own.life = w.life
	}
	w.twins[p.twin] = twinState{at: p.at, v: p.v, life: own.life}
	return tokens, reset
}

// lower takes a sample of a series that fell and goes on from there, although it was
// not reset: what it counted before stays counted.
func (w *walker) lower(p point) (tokens uint64) {
	if !w.known {
		tokens, _ = w.step(p, false)
		return tokens
	}
	if p.v > w.value {
		tokens = p.v - w.value // another twin was lowered before, and this one is ahead of it
	}
	w.value, w.at = p.v, p.at
	w.twins[p.twin] = twinState{at: p.at, v: p.v, life: w.life}
	return tokens
}

// cursor returns where the walker stands.
func (w *walker) cursor() Cursor { return Cursor{At: w.at, Value: w.value} }
