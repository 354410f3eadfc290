package count

import (
	"cmp"
	"math"
	"slices"

	"whisperops.io/functions/apis/v1alpha1"
)

// contained says whether a class is part of another one's counter, so that to count
// less of it is to charge more.
func (r Rules) contained(c v1alpha1.TokenClass) bool {
	return r.CachedInInput && c == v1alpha1.TokenCachedInput
}

// Cached input is taken out of input, so that to count less of it is to charge more,
// and to count more of it than of input is as wrong. So what is decided of a reset of
// input holds for the cached input of the same process and model. The proof that no
// more is charged than was used: input is counted as far as one process came, or as
// all of them did, and cached input is not less than those had.

// kin are counters of one process and model.
type kin struct {
	process              process
	model, context, tier string
}

// decided is what came of the falls of input.
type decided struct {
	there  bool
	resets []int64 // that counted, by the first sample after each
	away   []int64 // falls that did not count
}

func (f *folding) kinOf(c Counter) *decided {
	k := kin{process: c.process, model: c.meter.Model, context: c.meter.Context, tier: c.meter.Tier}
	if f.kin[k] == nil {
		f.kin[k] = &decided{}
	}
	return f.kin[k]
}

// decide notes what becomes of falls of input.
func (d *decided) decide(fs []fall, doubts doubts) {
	if len(fs) > maxFalls {
		return // they say nothing
	}
	d.there = true
	for _, f := range fs {
		switch {
		case doubts.lowered[f.at]:
		case doubts.at(f.at):
			d.away = append(d.away, f.at)
		default:
			d.resets = append(d.resets, f.at)
		}
	}
}

// tell notes what became of a sample of input.
func (d *decided) tell(at int64, reset, sank bool) {
	if reset {
		d.resets = append(d.resets, at)
	}
	if sank {
		d.away = append(d.away, at)
	}
}

// follow are the falls of cached input, decided as those of input at the same time,
// and its points; its resets are certain. A process that begins anew does so with all it counts: where cached
// input did not fall with input, or comes later, it was nothing in between.
func (d *decided) follow(fs []fall, points []point, doubts *doubts, r Rules) ([]fall, []point) {
	fs, quiet := slices.Clone(fs), r.Quiet().Milliseconds()
	certain := map[int64]bool{}
	doubts.certain = certain
	seen := map[int64]bool{} // resets that it shows itself
	for i, f := range fs {
		reset, toReset := nearest(d.resets, f.at)
		_, toAway := nearest(d.away, f.at)
		switch {
		case toReset <= quiet && toReset <= toAway:
			fs[i].verdict, fs[i].company = isReset, false
			seen[reset], certain[f.at] = true, true
		case toAway <= quiet:
			fs[i].follows = true
		}
	}
	points = slices.Clone(points)
	for _, at := range d.resets {
		i, _ := slices.BinarySearchFunc(points, at, func(p point, at int64) int { return cmp.Compare(p.at, at) })
		// A longer silence may begin before the samples that are read again.
		if !seen[at] && i > 0 && points[i-1].at > at-r.long().Milliseconds() {
			points = slices.Insert(points, i, point{at: at, twin: points[i-1].twin})
			seen[at], certain[at] = true, true
			doubts.resets = append(doubts.resets, at)
		}
	}
	return fs, points
}

// nearest of some times to one, and how far it is.
func nearest(times []int64, to int64) (at, far int64) {
	far = math.MaxInt64
	for _, t := range times {
		if d := max(t-to, to-t); d < far {
			at, far = t, d
		}
	}
	return at, far
}
