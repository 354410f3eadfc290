package count

import (
	"math"
	"slices"
	"sort"
	"strings"
)

// A bench judges the falls of all counters of an agent together.
type bench struct {
	rules  Rules
	starts []Series
	cs     []Counter
	falls  [][]fall // by counter, as each counter tells by itself
	proven [][]verdict
	at     int64
}

// try hears what a process' start and its other counters say of each fall, and
// returns the falls of each counter with their verdicts.
func try(cs []Counter, r Rules, starts []Series, at int64) [][]fall {
	b := &bench{rules: r, starts: starts, cs: cs, at: at, falls: make([][]fall, len(cs)), proven: make([][]verdict, len(cs))}
	byProcess := map[process][]int{}
	for i, c := range cs {
		b.falls[i] = falls(upTo(c.points, at), r, at)
		b.proven[i] = make([]verdict, len(b.falls[i]))
		if len(b.falls[i]) > maxFalls {
			continue
		}
		byProcess[c.process] = append(byProcess[c.process], i)
		for k, f := range b.falls[i] {
			b.proven[i][k] = b.evidence(c, f)
		}
	}
	out := make([][]fall, len(cs))
	for i, c := range cs {
		out[i] = slices.Clone(b.falls[i])
		for k, f := range b.falls[i] {
			if len(b.falls[i]) > maxFalls {
				break
			}
			out[i][k] = b.hear(i, f, b.proven[i][k], byProcess[c.process])
		}
	}
	return out
}

// maxFalls of a counter are heard; one with more has nothing to say.
const maxFalls = 200

// hear is a fall after its process and the other counters of it were heard, and the
// other twins of its own: what one of them proves holds for all.
func (b *bench) hear(i int, f fall, proven verdict, others []int) fall {
	heard := b.rules.heard().Milliseconds()
	reset, back, twinBack, contradicted := false, false, false, false
	for _, j := range others {
		fell := j == i
		for k, o := range b.falls[j] {
			if o.at < f.at-heard || o.at > f.at+heard {
				continue
			}
			p := b.proven[j][k]
			contradicted = contradicted || proven != open && p != open && p != proven
			if proven == open {
				proven = p
			}
			if fell = true; o.company {
				continue
			}
			reset = reset || o.verdict == isReset
			back = back || o.verdict == isBack
			twinBack = twinBack || o.verdict == isBack && j == i
		}
		if !fell && b.cs[j].wentOn(b.cs[i].twins[f.twin], f) {
			back = true // a process that begins anew begins anew with all it counts
		}
	}
	switch {
	case contradicted:
	case proven == isReset:
		f.verdict, f.company = isReset, false
		return f
	case proven == isBack && (f.back != 0 || b.at < f.at+b.rules.away().Milliseconds()):
		f.verdict = isBack
		return f
	}
	switch {
	case f.company || f.verdict == isBack:
	case f.back != 0 && (twinBack || back && f.verdict != isReset):
		f.verdict = isBack
	case reset:
		f.verdict = isReset
	}
	return f
}

// wentOn says whether a twin of a counter of the same process was collected before and
// with a fall, and had gone on by then.
func (c Counter) wentOn(twin string, f fall) bool {
	k := sort.Search(len(c.points), func(k int) bool { return c.points[k].at >= f.before })
	var before *point
	for ; k < len(c.points) && c.points[k].at <= f.at; k++ {
		switch p := &c.points[k]; {
		case c.twins[p.twin] != twin:
		case p.at == f.before:
			before = p
		case p.at == f.at:
			return before != nil && before.v > 0 && p.v >= before.v
		default:
			before = nil // it is collected otherwise
		}
	}
	return false
}

// StartMetric tells when a process started, in Unix seconds.
const StartMetric = "process_start_time_seconds"

// CreatedMetric is the metric that tells when a counter began.
func CreatedMetric(name string) string { return strings.TrimSuffix(name, "_total") + "_created" }

// evidence is what a process itself says of a fall: that it started in between, or
// that it did not; open: it says neither. What is nearest to the counter speaks:
// collected by the same replica, under the same labels.
func (b *bench) evidence(c Counter, f fall) verdict {
	best := 0
	var v verdict
	for _, s := range b.starts {
		shared, ok := c.startedBy(s, f.twin, b.rules.Metrics.ReplicaLabels)
		if !ok || shared < best {
			continue
		}
		one := b.testimony(s.Samples, f)
		switch {
		case one == open: // it has nothing to say
		case shared > best:
			best, v = shared, one
		case one != v:
			v = ambiguous
		}
	}
	if v == ambiguous {
		return open
	}
	return v
}

// testimony is what the start of one process says of a fall. Ambiguous: it contradicts
// itself, as it does when two processes write it, one of which started later.
func (b *bench) testimony(samples []Sample, f fall) verdict {
	r := b.rules
	from, to := f.at-r.Overlap().Milliseconds(), f.at+r.SettleAfter.Milliseconds() // what every look sees that has to know
	var before, after, highest float64
	with, until := false, false // it was said with the fall, and once it was back
	for _, s := range samples {
		if s.At <= from || s.At > to || math.IsNaN(s.Value) || s.Value <= 0 {
			continue
		}
		if s.Value < highest-1 {
			return ambiguous
		}
		highest = max(highest, s.Value)
		switch {
		case s.At <= f.before:
			before = s.Value
		case s.At >= f.at && after == 0 && s.At <= f.at+r.long().Milliseconds():
			after, with = s.Value, s.At == f.at
		}
		until = until || s.At == f.back || before > 0 && s.At > f.back
	}
	switch {
	case after == 0, f.back != 0 && !until:
		return open
	case before > 0 && after <= before+1:
		return isBack
	case before > 0:
		return isReset
	// Nobody said when the one before started, so that there may be two, and only one
	// says it: it has to be this one's.
	case with && after*1000 > float64(f.before):
		return isReset
	}
	return open
}

// startedBy says how much a start's series has in common with a twin of the counter;
// ok is false if it is another process'.
func (c Counter) startedBy(s Series, twin int, replicaLabels []string) (shared int, ok bool) {
	labels := c.ways[twin]
	label := ProcessLabel(labels)
	own := s.Labels["__name__"] == CreatedMetric(labels["__name__"])
	if !own && (s.Labels["__name__"] != StartMetric || label == "" || s.Labels[label] != labels[label]) {
		return 0, false
	}
	replica := map[string]string{}
	for k, v := range s.Labels {
		if slices.Contains(replicaLabels, k) {
			replica[k] = v
		}
	}
	if len(replicaLabels) > 0 && identity(replica) == c.twins[twin] {
		shared++
	}
	for k, v := range labels {
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
func Suspects(l Ledger, cs []Counter, past Past, r Rules, at int64) []Counter {
	var out []Counter
	past = past.beside(cs)
	for i, fs := range try(cs, r, nil, at) {
		suspect := l.sinks(cs[i], past, r, at) || slices.ContainsFunc(fs, func(f fall) bool { return f.at > l.SettledAt && f.suspect() })
		if suspect && ProcessLabel(cs[i].Labels) != "" {
			out = append(out, cs[i])
		}
	}
	return out
}

// suspect says whether more than the counter is needed to know what a fall was.
func (f fall) suspect() bool {
	switch f.verdict {
	case isReset:
		return f.back != 0 // where two processes meet, it looks as a reset does
	case isBack:
		return f.low <= f.high/8
	default:
		return true
	}
}
