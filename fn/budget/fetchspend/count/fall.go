package count

import (
	"cmp"
	"slices"
)

// A fall of a series is either a reset, because its process began anew, or a step
// back, because it came from somewhere that is behind: a server that failed over, a
// sample out of turn, a second writer.
type fall struct {
	twin       int
	before, at int64  // the samples between which it fell
	high, low  uint64 // where it was, and where it fell to
	back       int64  // when it was again where it had been; 0: not yet
	company    bool   // another fall is near
	other      uint64 // what another process, if it is that one's, used since it was heard before
	verdict    verdict
	follows    bool // what it is part of fell too, and that is no reset
}

// A verdict is what a fall was. Those of higher rank decide for the others of the
// same process: what one counter proves holds for all.
type verdict int

const (
	open      verdict = iota // nothing is known yet: the lower figure counts
	openReset                // not known yet either, but it looks as a reset does
	openLower                // as above, but for how much it begins with: until it is known, it counts on from there
	ambiguous                // it came back, and may have been both: the lower figure counts
	lowered                  // it did not come back, and fell less far than a reset does: it goes on from there
	isReset                  // it grew anew from where a process begins
	isBack                   // it was back in one step that no process takes
)

// falls finds and judges those of one counter, as far as it can tell by itself.
func falls(points []point, r Rules, at int64) []fall {
	if !slices.ContainsFunc(points, func(p point) bool { return p.twin != points[0].twin }) {
		fs := fallsOf(points, r, at)
		for i := range fs {
			fs[i].twin = points[0].twin
		}
		return fs
	}
	byTwin, order := map[int][]point{}, []int{}
	for _, p := range points {
		if byTwin[p.twin] == nil {
			order = append(order, p.twin)
		}
		byTwin[p.twin] = append(byTwin[p.twin], p)
	}
	var out []fall
	for _, twin := range order {
		fs := fallsOf(byTwin[twin], r, at)
		for i := range fs {
			fs[i].twin = twin
			if len(order) > 1 && fs[i].verdict == openLower {
				fs[i].verdict = open // the others may be as high as before
			}
		}
		out = append(out, fs...)
	}
	return out
}

func fallsOf(points []point, r Rules, at int64) []fall {
	if slices.IsSortedFunc(points, func(a, b point) int { return cmp.Compare(a.v, b.v) }) {
		return nil // as nearly all
	}
	var out []fall
	company, away := r.near().Milliseconds(), r.away().Milliseconds()
	silence := r.silence().Milliseconds()
	back := returns(points)
	var which []int // of the points each of them is
	for i := 1; i < len(points); i++ {
		before, p := points[i-1], points[i]
		// A longer silence may begin before the samples that are read again.
		if p.v >= before.v || p.at-before.at > silence {
			continue
		}
		b := back[i-1]
		f := fall{before: before.at, at: p.at, high: before.v, low: p.v}
		if b < len(points) && points[b].at <= p.at+away {
			f.back = points[b].at
		}
		f.verdict = judge(points, i, b, f, at, away, r)
		out = append(out, f)
		which = append(which, i)
	}
	for i := range out {
		near := i > 0 && out[i].at-out[i-1].at <= company || i < len(out)-1 && out[i+1].at-out[i].at <= company
		// Beyond that a fall is another one.
		out[i].company = near && out[i].back != 0 && out[i].back <= out[i].at+company
		if near && (out[i].verdict == openReset || out[i].verdict == openLower) {
			out[i].verdict = open
		}
		if !out[i].company {
			continue
		}
		k := which[i]
		out[i].other = highest(points[k:min(back[k-1], k+maxWay)])
		if i > 0 && out[i].at-out[i-1].at <= company {
			before := which[i-1]
			out[i].other -= min(out[i].other, highest(points[before:min(back[before-1], before+maxWay, k)]))
		}
	}
	return out
}

// highest of some points.
func highest(points []point) uint64 {
	var v uint64
	for _, p := range points {
		v = max(v, p.v)
	}
	return v
}

// judge says what a fall at points[i] was that is made good at points[b].
func judge(points []point, i, b int, f fall, at, away int64, r Rules) verdict {
	if f.at-f.before < tooSoon {
		return isBack
	}
	pace := paceOf(points, i, r)
	born := f.low <= f.high/8 || pace.may(f.low, f.at-f.before) // as little as a process begins with
	if f.back == 0 {
		switch {
		case !born && at >= f.at+away:
			return lowered
		case !born:
			return open
		case at >= f.at+away:
			return isReset
		case f.low <= f.high/8 && i+1 < len(points) && points[i+1].v >= points[i].v:
			// A young process may begin with as much as it had; so may a server that is behind
			// show it, which then counts on as the process does. This is more than a process
			// used in that time before.
			if pace.known() && !pace.may(f.low, f.at-f.before) {
				return openLower
			}
			return openReset
		}
		return open
	}
	if !born && (pace.known() || f.low > f.high-f.high/8) {
		return isBack
	}
	if b-i > maxWay {
		return ambiguous
	}
	biggest, took, lowest := steepest(points[i : b+1])
	switch {
	case biggest < (f.high-lowest+1)/2:
		// It grew back, step by step. So does a second process, but not for long: until
		// it can be known that nothing else falls, the lower figure counts.
		switch {
		case at < f.at+r.near().Milliseconds():
			return open
		case f.low > f.high/8:
			return ambiguous // what is behind goes on to count what is used
		}
		return isReset
	case pace.known() && !pace.may(biggest, took):
		return isBack
	}
	return ambiguous
}

// tooSoon is a time in which no process ends and another one begins and is scraped: two
// samples nearer than that are of two servers that write one series, and in the wrong
// order. Milliseconds.
const tooSoon = 1000

// steepest is the biggest step of points, how long it took, and the lowest of them.
func steepest(points []point) (biggest uint64, took int64, lowest uint64) {
	lowest = points[0].v
	for k := 1; k < len(points); k++ {
		lowest = min(lowest, points[k].v)
		if points[k].v > points[k-1].v && points[k].v-points[k-1].v > biggest {
			biggest, took = points[k].v-points[k-1].v, points[k].at-points[k-1].at
		}
	}
	return biggest, took, lowest
}

// maxWay is how many samples the way back may have.
const maxWay = 5000

// A pace is how fast a counter grew just before a fall.
type pace struct {
	steps   int    // that it grew in
	biggest uint64 // of them
	every   int64  // milliseconds between its samples
}

// paceOf looks at what is read of a counter before a fall wherever counting begins.
func paceOf(points []point, i int, r Rules) pace {
	from := points[i].at - (r.Overlap() - r.Quiet()).Milliseconds()
	p := pace{}
	k := i - 1
	for ; k > 0 && points[k-1].at > from && i-k <= maxPace; k-- {
		if d := points[k].v - points[k-1].v; points[k].v > points[k-1].v {
			p.steps, p.biggest = p.steps+1, max(p.biggest, d)
		}
	}
	if n := int64(i - 1 - k); n > 0 {
		p.every = max(1, (points[i-1].at-points[k].at)/n)
	}
	return p
}

// maxPace are as many samples as a pace is taken of.
const maxPace = 64

func (p pace) known() bool { return p.steps >= 3 }

// may says whether the counter may grow so much in a time: by no more than twice of
// what it did.
func (p pace) may(tokens uint64, in int64) bool {
	if !p.known() {
		return false
	}
	return tokens/uint64(max(1, (in+p.every-1)/p.every)) <= 2*p.biggest
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
