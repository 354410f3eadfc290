package count

import (
	"cmp"
	"math"
	"slices"
	"sort"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
)

// doubts are the times at which a series' resets can't be trusted: in a window of
// time with more resets than MaxResets allows and in the one right after it, and
// while the series is away (see absence). Every doubt about a sample is settled
// within SettleAfter, so that what goes into the ledger never has to be taken back.
type doubts struct {
	window  int64 // milliseconds
	windows map[int64]bool
	away    []absence
	named   bool // two processes write it, or so it seems

	// lowered are samples from which on a series counts at a lower level.
	lowered map[int64]bool
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
func losses(fs []fall, quiet int64) []loss {
	if len(fs) > maxFalls {
		return nil
	}
	doubtful := slices.DeleteFunc(slices.Clone(fs), func(f fall) bool {
		return f.company || f.verdict != ambiguous && (f.verdict != lowered || f.low >= f.high-f.high/8)
	})
	var out []loss
	for _, f := range doubtful {
		if !slices.ContainsFunc(doubtful, func(o fall) bool {
			return o.twin != f.twin && o.at >= f.at-quiet && (o.at < f.at || o.at == f.at && o.twin < f.twin)
		}) {
			out = append(out, loss{at: f.at, tokens: f.high})
		}
	}
	return out
}

// restless finds the windows with more resets than any process has.
func restless(w *walker, start *Cursor, points []point, r Rules) doubts {
	window, limit := r.resetWindow()
	d := doubts{window: window.Milliseconds()}
	falls := map[int64]int{}
	if start != nil {
		falls[start.At/d.window] = start.resets.now
		falls[start.At/d.window-1] = start.resets.before
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
	return d
}

// A fall of a series is either a reset, because its process began anew, or a step
// back, because it came from somewhere that is behind: a server that failed over, a
// sample out of turn, a second writer.
type fall struct {
	twin       int
	before, at int64  // the samples between which it fell
	high, low  uint64 // where it was, and where it fell to
	back       int64  // when it was again where it had been; 0: not yet
	company    bool   // another fall is near
	verdict    verdict
}

// A verdict is what a fall was. Those of higher rank decide for the others of the
// same process: what one counter proves holds for all.
type verdict int

const (
	open      verdict = iota // nothing is known yet: the lower figure counts
	openReset                // not known yet either, but it looks as a reset does
	ambiguous                // it came back, and may have been both: the lower figure counts
	lowered                  // it did not come back, and fell less far than a reset does: it goes on from there
	isReset                  // it grew anew from where a process begins
	isBack                   // it was back in one step that no process takes
)

// falls finds and judges those of one counter, as far as it can tell by itself.
func falls(points []point, r Rules, at int64) []fall {
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
		}
		out = append(out, fs...)
	}
	return out
}

func fallsOf(points []point, r Rules, at int64) []fall {
	var out []fall
	near, away, quiet := r.near().Milliseconds(), r.away().Milliseconds(), r.Quiet().Milliseconds()
	back := returns(points)
	for i := 1; i < len(points); i++ {
		before, p := points[i-1], points[i]
		// A longer silence may begin before the samples that are read again.
		if p.v >= before.v || p.at-before.at > quiet {
			continue
		}
		f := fall{before: before.at, at: p.at, high: before.v, low: p.v}
		b := back[i-1]
		if b < len(points) && points[b].at <= p.at+away {
			f.back = points[b].at
		}
		f.verdict = judge(points, i, b, f, at, away, r)
		out = append(out, f)
	}
	for i := range out {
		out[i].company = i > 0 && out[i].at-out[i-1].at <= near || i < len(out)-1 && out[i+1].at-out[i].at <= near
		// Beyond that a fall is another one.
		out[i].company = out[i].company && out[i].back != 0 && out[i].back <= out[i].at+near
	}
	return out
}

// judge says what a fall at points[i] was that is made good at points[b].
func judge(points []point, i, b int, f fall, at, away int64, r Rules) verdict {
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
		case i+1 < len(points) && points[i+1].v >= points[i].v:
			return openReset
		}
		return open
	}
	if !born && (pace.known() || f.low > f.high-f.high/8) {
		return isBack
	}
	var biggest uint64
	var took int64
	lowest := f.low
	if b-i > maxWay {
		return ambiguous
	}
	for k := i + 1; k <= b; k++ {
		lowest = min(lowest, points[k].v)
		if points[k].v > points[k-1].v && points[k].v-points[k-1].v > biggest {
			biggest, took = points[k].v-points[k-1].v, points[k].at-points[k-1].at
		}
	}
	switch {
	case biggest < (f.high-lowest+1)/2:
		return isReset // it grew back, step by step
	case pace.known() && !pace.may(biggest, took):
		return isBack
	case pace.steps == 0 && points[b].v-f.high > f.high/8:
		return isReset // a counter that stood still is not back where it was
	}
	return ambiguous
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

// step lets a walker take one sample.
func (d doubts) step(w *walker, p point) (tokens uint64) {
	if d.lowered[p.at] {
		return w.lower(p)
	}
	tokens, _ = w.step(p, d.at(p.at))
	return tokens
}

// absences are the times in which a counter is away, and why.
func absences(fs []fall, cached bool, near int64) (away []absence, from map[int64]bool, why []string) {
	names := map[string]bool{}
	for _, f := range fs {
		// What comes after a fall only counts as it grows beyond where it had been. Falls
		// in between are the same one, as long as all of it is read again.
		a := absence{from: f.at, to: f.at}
		if f.back != 0 && f.back <= f.at+near {
			a.to = f.back
		}
		switch {
		case f.company:
			names[twoWriters] = true
		case f.verdict == isBack:
			names["stepped back and came back, as when a server fails over to one that is behind, so that what it had counted counts once"] = true
		case f.verdict == lowered:
			if from == nil {
				from = map[int64]bool{}
			}
			from[f.at] = true
			names["fell and was not seen to start anew, so that only what it grew since then counts"] = true
			continue
		case f.verdict == ambiguous:
			names["fell and was not seen to start anew, so that it counts once how far it came"] = true
		case f.verdict == open && !cached:
		default:
			continue
		}
		away = append(away, a)
	}
	return away, from, sortedKeys(names)
}

const twoWriters = "resets all the time, as if two processes wrote it, so that only its highest value counts"

// A bench judges the falls of all counters of an agent together.
type bench struct {
	rules  Rules
	starts []Series
	falls  [][]fall // by counter
	cs     []Counter
	at     int64
}

// try hears what a process' other counters and its start say of each fall.
func try(cs []Counter, r Rules, starts []Series, at int64) *bench {
	b := &bench{rules: r, starts: starts, cs: cs, at: at, falls: make([][]fall, len(cs))}
	byProcess := map[process][]int{}
	verdicts := make([][]fall, len(cs))
	for i, c := range cs {
		b.falls[i] = falls(upTo(c.points, at), r, at)
		verdicts[i] = slices.Clone(b.falls[i])
		byProcess[c.process] = append(byProcess[c.process], i)
	}
	for i, c := range cs {
		for k, f := range b.falls[i] {
			if len(b.falls[i]) > maxFalls {
				break
			}
			if f.company || f.verdict == isBack && f.low > f.high/8 {
				continue
			}
			if v, ok := b.evidence(c, f); ok {
				verdicts[i][k].verdict = v
				continue
			}
			if f.verdict < isReset {
				verdicts[i][k].verdict = b.hear(i, f, byProcess[c.process])
			}
		}
	}
	b.falls = verdicts
	return b
}

// maxFalls of a counter are heard; one with more has nothing to say.
const maxFalls = 200

// hear is the verdict on a fall after the other counters of its process were heard.
func (b *bench) hear(i int, f fall, others []int) verdict {
	v, quiet := f.verdict, b.rules.Quiet().Milliseconds()
	reset := false
	for _, j := range others {
		if j == i {
			continue
		}
		fell := false
		fs := b.falls[j]
		if len(fs) > maxFalls {
			continue
		}
		for _, o := range fs {
			if o.at < f.at-quiet || o.at > f.at+quiet || o.company {
				continue
			}
			fell = true
			if o.verdict == isBack && f.back != 0 {
				return isBack
			}
			reset = reset || o.verdict == isReset
		}
		if !fell && f.back != 0 && wentOn(b.cs[j].points, f) {
			return isBack // a process that begins anew begins anew with all it counts
		}
	}
	if reset {
		return isReset
	}
	return v
}

// wentOn says whether a counter of the same process was collected before and with a
// fall, and had gone on by then.
func wentOn(points []point, f fall) bool {
	k := sort.Search(len(points), func(k int) bool { return points[k].at >= f.at })
	return k > 0 && k < len(points) && points[k].at == f.at && points[k-1].at == f.before && points[k-1].v > 0 && points[k].v >= points[k-1].v
}

// StartMetric tells when a process started, in Unix seconds.
const StartMetric = "process_start_time_seconds"

// CreatedMetric is the metric that tells when a counter began.
func CreatedMetric(name string) string { return strings.TrimSuffix(name, "_total") + "_created" }

// evidence is what a process itself says of a fall: that it started in between, or
// that it did not.
func (b *bench) evidence(c Counter, f fall) (verdict, bool) {
	long, best := b.rules.long().Milliseconds(), 0
	var v verdict
	var agree bool
	for _, s := range b.starts {
		shared, ok := c.startedBy(s)
		if !ok || shared < best {
			continue
		}
		var before, after float64
		again := false // it says the earlier start again: two processes say so
		for _, p := range s.Samples {
			again = again || after > 0 && p.At > f.at+1000 && p.Value < after-1
			switch {
			case p.At <= f.before+1000 && p.At >= f.before-long:
				before = p.Value
			case p.At > f.before+1000 && p.At <= f.at+long && (after == 0 || p.At <= f.at+1000):
				after = p.Value
			}
		}
		if after <= 0 || again || math.IsNaN(after) || math.IsNaN(before) {
			continue
		}
		one := isBack
		if before > 0 && after-before > 1 || before == 0 && after*1000 > float64(f.before) {
			one = isReset
		}
		if shared > best {
			best, v, agree = shared, one, true
		} else {
			agree = agree && one == v
		}
	}
	if best == 0 || !agree || v == isBack && f.back == 0 && b.at >= f.at+b.rules.away().Milliseconds() {
		return 0, false
	}
	return v, true
}

// startedBy says how much a start's series has in common with the counter; ok is
// false if it is another process'.
func (c Counter) startedBy(s Series) (shared int, ok bool) {
	label := ProcessLabel(c.Labels)
	own := s.Labels["__name__"] == CreatedMetric(c.Labels["__name__"])
	if !own && (s.Labels["__name__"] != StartMetric || label == "" || s.Labels[label] != c.Labels[label]) {
		return 0, false
	}
	for k, v := range c.Labels {
		switch {
		case k == "__name__":
		case s.Labels[k] == v:
			shared++
		case own:
			return 0, false
		}
	}
	return shared, shared > 0
}

// Suspects are the counters of which the start of their process would say whether a
// fall after the ledger was settled is a reset.
func Suspects(l Ledger, cs []Counter, r Rules, at int64) []Counter {
	var out []Counter
	for i, fs := range try(cs, r, nil, at).falls {
		for _, f := range fs {
			if f.at > l.SettledAt && !f.company && f.verdict != isReset && (f.verdict != isBack || f.low <= f.high/8) && ProcessLabel(cs[i].Labels) != "" {
				out = append(out, cs[i])
				break
			}
		}
	}
	return out
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

// contained says whether a class is part of another one's counter, so that to count
// less of it is to charge more.
func contained(c v1alpha1.TokenClass) bool { return c == v1alpha1.TokenCachedInput }
