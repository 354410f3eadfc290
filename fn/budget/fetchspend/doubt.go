package fetchspend

import "time"

// Doubts are the times at which a series' resets can't be trusted, because two
// processes seem to write it: in a window of time with more resets than
// MaxResets allows and in the one right after it, and while the series is away
// (see absences). Every doubt about a sample is settled within SettleAfter, so
// that what goes into the ledger never has to be taken back.
type doubts struct {
	window  int64 // milliseconds
	windows map[int64]bool
	away    []absence
	named   bool // worth telling people
}

// An absence is a fall of a series and its return to where it had been before.
type absence struct{ from, to int64 }

func (d doubts) at(t int64) bool {
	if d.windows[t/d.window] {
		return true
	}
	for _, a := range d.away {
		if a.from <= t && t <= a.to {
			return true
		}
	}
	return false
}

// doubtsOf looks for them in the points of a counter up to a time.
func doubtsOf(w *walker, start *cursor, points []point, s Settings, at int64) doubts {
	window, limit := s.resetWindow()
	d := doubts{window: window.Milliseconds()}
	falls := map[int64]int{}
	if start != nil {
		falls[start.at/d.window] = start.resets.now
		falls[start.at/d.window-1] = start.resets.before
	}
	for _, p := range w.resume(start, points) {
		if _, reset := w.step(p, false); reset {
			falls[p.at/d.window]++
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
	byTwin := map[int][]point{}
	for _, p := range points {
		byTwin[p.twin] = append(byTwin[p.twin], p)
	}
	for _, ps := range byTwin {
		away, named := absences(ps, s, at)
		d.away, d.named = append(d.away, away...), d.named || named
	}
	return d
}

// absences finds the falls of one twin's samples that are no restarts. A process
// that restarts goes on from below; when two write one series, it goes up and down
// between two counts. So a fall after which the series soon is back where it was
// is doubtful. One alone is a restart, and a busy one. In the company of another
// fall, nearer than MaxResets allows, it is a second writer; and until that can be
// known it is not charged: nobody may be cut off for tokens that were not used.
func absences(points []point, s Settings, at int64) (away []absence, named bool) {
	type fall struct {
		at, back int64 // back 0: it did not come back in time
	}
	near, back := s.near().Milliseconds(), returns(points)
	var falls []fall
	for i := 1; i < len(points); i++ {
		before, p := points[i-1], points[i]
		// A longer silence may begin before the samples that are read again.
		if p.v >= before.v || p.at-before.at > s.quiet().Milliseconds() {
			continue
		}
		f := fall{at: p.at}
		if b := back[i-1]; b < len(points) && points[b].at <= p.at+near {
			f.back = points[b].at
		}
		falls = append(falls, f)
	}
	for i, f := range falls {
		company := i > 0 && f.at-falls[i-1].at <= near || i < len(falls)-1 && falls[i+1].at-f.at <= near
		if f.back != 0 && (company || at < f.at+near) {
			away = append(away, absence{f.at, f.back})
			named = named || company
		}
	}
	return away, named
}

// returns says of each point which later one is the first that is as high; the
// number of points when there is none.
func returns(points []point) []int {
	back := make([]int, len(points))
	for i := len(points) - 1; i >= 0; i-- {
		back[i] = i + 1
		for back[i] < len(points) && points[back[i]].v < points[i].v {
			back[i] = back[back[i]] // what is lower than that one is lower than this
		}
	}
	return back
}

// near is the mean distance of as many resets as MaxResets allows, but no longer
// than what is read again of settled samples can show.
func (s Settings) near() time.Duration {
	window, limit := s.resetWindow()
	return min(window/time.Duration(limit), s.long())
}
