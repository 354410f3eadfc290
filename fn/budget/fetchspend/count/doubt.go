package count

import (
	"cmp"
	"maps"
	"slices"
	"sort"
)

// doubts are the times at which a series' resets can't be trusted: in a window of
// time with more resets than MaxResets allows and in the one right after it, and
// while the series is away (see absence). Every doubt about a sample is settled
// within SettleAfter, so that what goes into the ledger never has to be taken back.
type doubts struct {
	window  int64 // milliseconds
	windows map[int64]bool
	earlier map[int64]int // resets by window, of what is settled
	resets  []int64       // after it; all that there seem to be, trusted or not
	away    []absence
	named   bool // two processes write it, or so it seems

	// lowered are samples from which on a series counts at a lower level.
	lowered map[int64]bool

	// certain are times of resets whatever else is in doubt: of what contains it they
	// count.
	certain map[int64]bool
}

// An absence is a fall of a series that is no reset, until its return to where it
// had been before.
type absence struct{ from, to int64 }

func (d doubts) at(t int64) bool {
	if d.windows[t/d.window] {
		return true
	}
	// The last that began by then is the one that may hold it.
	i := sort.Search(len(d.away), func(i int) bool { return d.away[i].from > t })
	return i > 0 && t <= d.away[i-1].to
}

// merged are absences in the order of time, none of which overlap.
func merged(away []absence) []absence {
	away = slices.Clone(away)
	slices.SortFunc(away, func(a, b absence) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	var out []absence
	for _, a := range away {
		if n := len(out); n > 0 && a.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, a.to)
			continue
		}
		out = append(out, a)
	}
	return out
}

// A loss is what a fall may hide: tokens that were used again after it, if it was a
// reset after all.
type loss struct {
	at     int64
	tokens uint64
}

// losses are those of the falls on which nothing decided. Twins see one fall, one
// after the other.
func losses(fs []fall, r Rules) []loss {
	if len(fs) > maxFalls {
		return nil
	}
	heard := r.heard().Milliseconds()
	hides := make([]uint64, len(fs))
	for i, f := range fs {
		switch {
		case f.company:
			hides[i] = f.other // it counts as far as one of both came
		case f.verdict == ambiguous, f.verdict == lowered && f.low < f.high-f.high/8:
			hides[i] = f.high
		}
	}
	var out []loss
	for i, f := range fs {
		seen := false
		for k, o := range fs {
			seen = seen || hides[k] > 0 && o.twin != f.twin && o.at >= f.at-heard && (o.at < f.at || o.at == f.at && o.twin < f.twin)
		}
		if hides[i] > 0 && !seen {
			out = append(out, loss{at: f.at, tokens: hides[i]})
		}
	}
	return out
}

// restless finds the windows with more resets than any process has. It trusts each of
// them, wherever it begins: where a walker that doesn't stands (far above the samples,
// in a window of doubt) depends on what is in doubt, and so on how many resets there are.
func restless(w *walker, start *Cursor, points []point, r Rules) doubts {
	window, limit := r.resetWindow()
	d := doubts{window: window.Milliseconds(), earlier: map[int64]int{}}
	if start != nil {
		d.earlier[start.At/d.window] = start.resets.now
		d.earlier[start.At/d.window-1] = start.resets.before
	}
	points = w.resume(start, points)
	if start != nil {
		w.value = w.level
	}
	falls := maps.Clone(d.earlier)
	for _, p := range points {
		if _, reset := w.step(p, false); reset {
			falls[p.at/d.window]++
			d.resets = append(d.resets, p.at)
		}
	}
	for b, n := range falls {
		if n <= limit {
			continue
		}
		if d.windows == nil {
			d.windows = map[int64]bool{}
		}
		d.windows[b], d.windows[b+1], d.named = true, true, true
	}
	return d
}

// resetsAt are those that a cursor at a time remembers.
func (d doubts) resetsAt(t int64) resets {
	b := t / d.window
	out := resets{now: d.earlier[b], before: d.earlier[b-1]}
	for _, at := range d.resets {
		switch {
		case at > t:
		case at/d.window == b:
			out.now++
		case at/d.window == b-1:
			out.before++
		}
	}
	return out
}

// step lets a walker take one sample, and says whether it counted a reset. What sank
// counts none.
func (d doubts) step(w *walker, p point, sank bool) (tokens uint64, reset bool) {
	if d.lowered[p.at] {
		return w.lower(p), false
	}
	distrusted := (sank || d.at(p.at)) && !d.certain[p.at] && !p.born
	tokens, reset = w.step(p, distrusted)
	return tokens, reset && !distrusted
}

// absences are the times in which a counter is away, from which samples on it counts
// at a lower level, and why: of the falls after a time, what is settled was said.
func absences(fs []fall, contained bool, near, after int64) (away []absence, from map[int64]bool, why []string) {
	names := map[string]bool{}
	for _, f := range fs {
		reason, counts := f.says(contained)
		if reason != "" && f.at > after {
			names[reason] = true
		}
		switch {
		case counts:
		case (f.verdict == lowered || f.verdict == openLower) && !f.company && !f.follows:
			if from == nil {
				from = map[int64]bool{}
			}
			from[f.at] = true
		default:
			// What comes after a fall only counts as it grows beyond where it had been. Falls
			// in between are the same one, as long as all of it is read again.
			a := absence{from: f.at, to: f.at}
			if f.back != 0 && f.back <= f.at+near {
				a.to = f.back
			}
			away = append(away, a)
		}
	}
	return away, from, sortedKeys(names)
}

// says what is said of a fall, "" for nothing, and whether it counts as a reset.
func (f fall) says(contained bool) (reason string, counts bool) {
	switch {
	case f.follows: // of what contains it that is said
	case f.company:
		return twoWriters, false
	case f.verdict == isBack:
		return "stepped back and came back, as when a server fails over to one that is behind, so that what it had counted counts once", false
	case f.verdict == lowered:
		return "fell and was not seen to start anew, so that only what it grew since then counts", false
	case f.verdict == ambiguous:
		return notSeenAnew, false
	case f.verdict == open && !contained, f.verdict == openLower:
	default:
		return "", true
	}
	return "", false
}

const notSeenAnew = "fell and was not seen to start anew, so that it counts once how far it came"

const twoWriters = "resets all the time, as if two processes wrote it, so that only its highest value counts"
