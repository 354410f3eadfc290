package count

import (
	"cmp"
	"maps"
	"slices"
	"sort"
	"strings"
)

// Unite joins the series that are the same counter seen another way: a pod that two
// monitors scrape, or two servers without a replica label; and a series whose labels
// were changed while its process lived on. What is joined are twins from then on, of
// which the furthest counts.
//
// Which labels name the process and which only the way to it is known for some, and
// seen for the others: series of one process that are the same counter go through
// the same values at the same time, or one begins where another ended.
func Unite(cs []Counter, r Rules) []Counter {
	groups := map[family][]int{}
	for i, c := range cs {
		groups[c.family()] = append(groups[c.family()], i)
	}
	root := make([]int, len(cs))
	for i := range root {
		root[i] = i
	}
	var find func(i int) int
	find = func(i int) int {
		if root[i] != i {
			root[i] = find(root[i])
		}
		return root[i]
	}
	doubled, into := map[int]bool{}, map[end]bool{}
	for _, g := range groups {
		var links []link
		stretches := map[int][]Counter{}
		for _, i := range g {
			stretches[i] = r.stretches(cs[i])
		}
		for k, i := range g {
			for _, j := range g[k+1:] {
				a, b := cs[i], cs[j]
				switch {
				case !a.process.may(b.process), r.parted(a, b):
				case !r.apart(a, b) && r.tracks(a, b, a.process.is(b.process)):
					doubled[i], doubled[j] = true, true
					root[find(j)] = find(i)
				default:
					links = append(links, r.links(cs, stretches, g, i, j)...)
				}
			}
		}
		for _, l := range r.nearestOf(links) {
			root[find(l.to.series)] = find(l.from.series)
			into[l.to] = true
		}
	}
	joined := map[int][]int{}
	for i := range cs {
		joined[find(i)] = append(joined[find(i)], i)
	}
	out := make([]Counter, 0, len(joined))
	for _, members := range joined {
		twice := slices.ContainsFunc(members, func(i int) bool { return doubled[i] })
		out = append(out, r.join(cs, members, twice, into))
	}
	slices.SortFunc(out, func(a, b Counter) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// A family are the series that may be the same counter: those of one metric and meter.
type family struct {
	name  string
	meter Meter
}

func (c Counter) family() family { return family{c.Labels["__name__"], c.meter} }

// apart says whether two series differ in a label that splits what one process
// counts.
func (r Rules) apart(a, b Counter) bool {
	return slices.ContainsFunc(r.Metrics.PartLabels, func(l string) bool { return a.Labels[l] != b.Labels[l] })
}

// parted says whether both have such a label, and it differs: that of a living series may be
// added or removed, but not be another one's.
func (r Rules) parted(a, b Counter) bool {
	return slices.ContainsFunc(r.Metrics.PartLabels, func(l string) bool {
		return a.Labels[l] != b.Labels[l] && a.Labels[l] != "" && b.Labels[l] != ""
	})
}

// A link says that one series may go on where another ended, in how many labels they
// differ, and when the one ended and the other began.
type link struct {
	from, to     end
	differ       int
	ended, began int64
}

// An end is that of one of a series' stretches, or its beginning.
type end struct{ series, stretch int }

// stretches are a series between the times in which it was silent: meanwhile it may have had
// other labels.
func (r Rules) stretches(c Counter) []Counter {
	var out []Counter
	from, silence := 0, r.silence().Milliseconds()
	for i := range c.points {
		if i+1 == len(c.points) || c.points[i+1].at-c.points[i].at > silence {
			s := c
			s.points, from = c.points[from:i+1], i+1
			out = append(out, s)
		}
	}
	return out
}

// links are those between two of a family, of which all the stretches are given.
func (r Rules) links(cs []Counter, stretches map[int][]Counter, family []int, i, j int) []link {
	a, b := stretches[i], stretches[j]
	exact, pod := r.apart(cs[i], cs[j]), onlyPod(cs, family, cs[i], cs[j])
	differ := len(labelsApart(cs[i].Labels, cs[j].Labels))
	goesOn := func(a, b Counter) bool {
		return r.follows(a, b) && (!exact || r.goesOn(a, b, 0)) || pod && r.goesOn(a, b, 0)
	}
	out, back := r.switches(a, b, goesOn), r.switches(b, a, goesOn)
	for k := range out {
		out[k].from.series, out[k].to.series, out[k].differ = i, j, differ
	}
	for k := range back {
		back[k].from.series, back[k].to.series, back[k].differ = j, i, differ
	}
	return append(out, back...)
}

// switches are the links from stretches of one series to those of another. While one of a
// link is heard the other is not.
func (r Rules) switches(a, b []Counter, goesOn func(a, b Counter) bool) []link {
	var out []link
	quiet, next := r.Quiet().Milliseconds(), 0
	for k, from := range a {
		ended := from.last()
		for next < len(b) && b[next].points[0].at <= ended-quiet {
			next++
		}
		switch {
		case next == len(b):
			return out
		case k+1 < len(a) && a[k+1].points[0].at < b[next].last()-quiet, next > 0 && b[next-1].last() > from.points[0].at+quiet:
			continue // both were heard, or neither
		case goesOn(from, b[next]):
			out = append(out, link{from: end{stretch: k}, to: end{stretch: next}, ended: ended, began: b[next].points[0].at})
		}
	}
	return out
}

// last is when a counter was last heard.
func (c Counter) last() int64 { return c.points[len(c.points)-1].at }

// nearestOf are the links but for those where something nearer went on before, or ended
// after: several series of a process may change their labels at once.
func (r Rules) nearestOf(links []link) []link {
	from, to, quiet := map[end][]link{}, map[end][]link{}, r.Quiet().Milliseconds()
	for _, l := range links {
		from[l.from], to[l.to] = append(from[l.from], l), append(to[l.to], l)
	}
	return slices.DeleteFunc(links, func(l link) bool {
		// Where one begins before another has ended, that is no more than what scrapes are apart.
		beside := func(o link) bool { return l.began <= l.ended && o.began > o.ended && o.differ <= l.differ }
		return slices.ContainsFunc(from[l.from], func(o link) bool { return beside(o) || o.differ < l.differ && o.began <= l.began+quiet }) ||
			slices.ContainsFunc(to[l.to], func(o link) bool { return beside(o) || o.differ < l.differ && o.ended >= l.ended-quiet })
	})
}

// join makes one counter of some. Into are the stretches that go on from others.
func (r Rules) join(cs []Counter, members []int, twice bool, into map[end]bool) Counter {
	slices.SortFunc(members, func(a, b int) int { return strings.Compare(identity(cs[a].Labels), identity(cs[b].Labels)) })
	c := cs[members[0]]
	if len(members) == 1 {
		return c
	}
	c.keys, c.twins, c.ways, c.points, c.distrust = nil, nil, nil, nil, nil
	for _, i := range members {
		m, born := cs[i], r.born(cs, members, i, into)
		for k, p := range m.points {
			p.twin, p.born = p.twin+len(c.twins), k == 0 && born
			c.points = append(c.points, p)
		}
		c.keys = append(c.keys, m.keys...)
		c.twins = append(c.twins, m.twins...)
		c.ways = append(c.ways, m.ways...)
		c.distrust = append(c.distrust, m.distrust...)
	}
	slices.SortFunc(c.points, comparePoints)
	if twice {
		c.distrust = append(c.distrust, "is collected more than once, by way of "+differing(cs, members)+", and counts once")
	}
	slices.Sort(c.keys)
	slices.Sort(c.distrust)
	c.distrust = slices.Compact(c.distrust)
	return c
}

// born says whether the process of one of some series that are one counter began anew under
// labels that it had not had: nothing goes on in the first stretch of it, none of the others
// is heard then, and they had come further. Had they not gone on from it later, it would be a
// counter of its own.
func (r Rules) born(cs []Counter, members []int, i int, into map[end]bool) bool {
	if len(cs[i].points) == 0 || into[end{series: i}] {
		return false
	}
	first := r.stretches(cs[i])[0]
	p, until := first.points[0], first.last()-r.Quiet().Milliseconds()
	before, further := int64(0), false
	for _, j := range members {
		for _, o := range cs[j].points {
			switch {
			case j == i:
			case o.at > p.at && o.at <= until:
				return false
			case o.at < p.at && o.at >= before:
				before, further = o.at, o.v > p.v
			}
		}
	}
	return further
}

// differing names the labels in which series differ.
func differing(cs []Counter, members []int) string {
	names := map[string]bool{}
	for _, i := range members[1:] {
		for _, of := range []map[string]string{cs[members[0]].Labels, cs[i].Labels} {
			for k := range maps.Keys(of) {
				if cs[members[0]].Labels[k] != cs[i].Labels[k] {
					names[k] = true
				}
			}
		}
	}
	return short(strings.Join(sortedKeys(names), ", "), 100)
}

// tracks says whether two series that are there at the same time go through the
// same values: each lies where the other was a scrape before and is a scrape later. Where it is
// not certain that they are of one process, few samples are not enough.
func (r Rules) tracks(a, b Counter, certain bool) bool {
	if len(a.points) == 0 || len(b.points) == 0 {
		return false
	}
	from, to := max(a.points[0].at, b.points[0].at), min(a.points[len(a.points)-1].at, b.points[len(b.points)-1].at)
	quiet := r.Quiet().Milliseconds()
	if to < from {
		return false // one ended where the other began
	}
	said, wrong, grew := 0, 0, false
	for _, pair := range [2][2][]point{{a.points, b.points}, {b.points, a.points}} {
		of, in := pair[0], pair[1]
		lo, hi, fell, fellItself := -1, 0, r.heardFalls(of), r.heardFalls(in)
		for _, p := range in {
			if p.at < from-quiet || p.at > to+quiet {
				continue
			}
			for lo+1 < len(of) && of[lo+1].at <= p.at-quiet {
				lo++
			}
			for hi < len(of) && of[hi].at < p.at+quiet {
				hi++
			}
			switch {
			case r.unheard(of, lo, hi):
				continue
			case !differs(of[lo+1:hi], p) && (fell.between(p.at-quiet, p.at+quiet) || fellItself.between(p.at-quiet, p.at+quiet)):
				grew = grew || p.v > 0 && slices.ContainsFunc(of[lo+1:hi], func(o point) bool { return o.v == p.v })
				continue // one of them was reset about then, and the other before or after
			case r.outside(of, lo, hi, p), differs(of[lo+1:hi], p):
				wrong++
			case lo < 0 && hi == len(of) && !fits(of, p):
				wrong++ // nothing around it but what is near, and that is something else
			}
			said++
			grew = grew || p.v > 0
		}
	}
	return grew && wrong*10 <= said && (certain || said >= 6)
}

// unheard says whether between two of some points they were reset, or not heard.
func (r Rules) unheard(of []point, lo, hi int) bool {
	return lo >= 0 && hi < len(of) && (of[lo].v > of[hi].v || lo+1 == hi && of[hi].at-of[lo].at > r.long().Milliseconds())
}

// outside says whether a sample is lower than one of some points that lies before all that are
// near it, or higher than one after them. Where those near were reset or silent, it may be.
func (r Rules) outside(of []point, lo, hi int, p point) bool {
	goesOn := func(i int) bool {
		near := i > lo && i < hi || i+1 > lo && i+1 < hi
		return !near || of[i].v <= of[i+1].v && of[i+1].at-of[i].at <= r.silence().Milliseconds()
	}
	return lo >= 0 && p.v < of[lo].v && goesOn(lo) || hi < len(of) && p.v > of[hi].v && (hi == 0 || goesOn(hi-1))
}

// fallen are the times of points that are lower than the one before, and of those.
type fallen [][2]int64

// heardFalls are those that no silence hides.
func (r Rules) heardFalls(points []point) fallen {
	var out fallen
	for i := 1; i < len(points); i++ {
		if points[i].v < points[i-1].v && points[i].at-points[i-1].at <= r.silence().Milliseconds() {
			out = append(out, [2]int64{points[i-1].at, points[i].at})
		}
	}
	return out
}

// between says whether one of them lies in a time, or reaches into it.
func (f fallen) between(from, to int64) bool {
	i := sort.Search(len(f), func(i int) bool { return f[i][1] > from })
	return i < len(f) && f[i][0] < to
}

// differs says whether samples of the same time have other values: between counters that
// are a scrape apart lies much that is neither.
func differs(of []point, p point) bool {
	other := false
	for _, o := range of {
		if o.at == p.at {
			if o.v == p.v {
				return false
			}
			other = true
		}
	}
	return other
}

// fits says whether a sample may be of the same counter as all of some that are near it:
// one of them has its value, or those before have no more and those after no less. What
// was collected at the same time and has another value is another counter.
func fits(of []point, p point) bool {
	if slices.ContainsFunc(of, func(o point) bool { return o.v == p.v }) {
		return true
	}
	return !slices.ContainsFunc(of, func(o point) bool { return o.at == p.at || (o.at < p.at) != (o.v < p.v) })
}

// onlyPod says whether two series are of one process of which only one names the pod, and
// no other pod has their address, as all have that a collector collects.
func onlyPod(cs []Counter, family []int, a, b Counter) bool {
	pod := cmp.Or(a.process.pod, b.process.pod)
	return a.process.renamed(b.process) && !slices.ContainsFunc(family, func(i int) bool {
		o := cs[i].process
		return o.place == a.process.place && o.pod != "" && o.pod != pod
	})
}

// follows says whether b goes on where a ended: under other labels, the process is
// the same, and so is what it counts.
func (r Rules) follows(a, b Counter) bool {
	if a.process.is(b.process) {
		return r.goesOn(a, b, 8)
	}
	if !r.goesOn(a, b, 0) {
		return false
	}
	// Nothing names the process: only a difference of one label is no other process.
	return a.process == process{} && b.process == process{} && len(labelsApart(a.Labels, b.Labels)) == 1
}

// goesOn says whether b begins where a ended, and with no less; or with less by a part of
// it (0: none), as who takes over from a server that was ahead of it. No process that
// begins anew begins with nearly as much as the one before had.
func (r Rules) goesOn(a, b Counter, part uint64) bool {
	if len(a.points) == 0 || len(b.points) == 0 || b.points[0].v == 0 {
		return false
	}
	last, next := a.points[len(a.points)-1], b.points[0]
	var highest uint64
	for _, p := range a.points[max(0, len(a.points)-3):] {
		highest = max(highest, p.v) // of the last scrapes of all its twins
	}
	if part > 0 {
		highest -= highest / part
	}
	return next.at > last.at-r.Quiet().Milliseconds() && next.v >= highest && next.at != a.points[0].at
}

func labelsApart(a, b map[string]string) []string {
	names := map[string]bool{}
	for k, v := range a {
		if b[k] != v {
			names[k] = true
		}
	}
	for k, v := range b {
		if a[k] != v {
			names[k] = true
		}
	}
	return sortedKeys(names)
}
