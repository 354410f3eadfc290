package count

import "math"

// A process that only its address names may be collected at two of them, or at another one
// from some time on. Nothing in the labels says then that it is one process; that it started
// when the other did says so, where both count the same.

// maxAlike are as many series of one family as are compared with each other.
const maxAlike = 32

// Elsewhere are the counters that another one may be, collected at another address: those that
// go through the same values, and those of which one goes on where the other ended. When
// their processes started says whether they are.
func Elsewhere(cs []Counter, r Rules) []Counter {
	var out []Counter
	seen := map[int]bool{}
	for _, pair := range r.alike(cs) {
		for _, i := range pair {
			if !seen[i] {
				seen[i] = true
				out = append(out, cs[i])
			}
		}
	}
	return out
}

// Moved are counters as they are, but that those of one process, as starts say, have one
// address.
func Moved(cs []Counter, r Rules, starts []Series) []Counter {
	home := map[process]string{}
	for _, pair := range r.alike(cs) {
		a, b := cs[pair[0]], cs[pair[1]]
		if meet(a.started(starts, r), b.started(starts, r)) {
			if home[a.process] == "" {
				home[a.process] = a.process.place
			}
			home[b.process] = home[a.process]
		}
	}
	for i, c := range cs {
		if place, ok := home[c.process]; ok {
			cs[i].process.place = place
		}
	}
	return cs
}

// alike are the pairs of counters at different addresses that may be the same one.
func (r Rules) alike(cs []Counter) [][2]int {
	families := map[family][]int{}
	for i, c := range cs {
		if c.process.pod == "" && c.process.place != "" && len(c.points) > 0 {
			families[c.family()] = append(families[c.family()], i)
		}
	}
	var out [][2]int
	for i, c := range cs { // in the order of counters
		g := families[c.family()]
		if len(g) > maxAlike || len(g) < 2 {
			continue
		}
		for _, j := range g {
			if j > i && elsewhere(c.process, cs[j].process) && r.maybeSame(c, cs[j]) {
				out = append(out, [2]int{i, j})
			}
		}
	}
	return out
}

// elsewhere says whether nothing but their addresses tells two processes apart.
func elsewhere(p, o process) bool {
	return p.pod == "" && o.pod == "" && p.place != "" && o.place != "" && p.place != o.place && (p.uuid == "" || o.uuid == "")
}

// maybeSame says whether two series may be the same counter, by what they count.
func (r Rules) maybeSame(a, b Counter) bool {
	if len(a.points) == 0 || r.parted(a, b) {
		return false
	}
	if r.tracks(a, b, true) {
		return true
	}
	goesOn := func(a, b Counter) bool { return r.goesOn(a, b, 8) }
	return len(r.switches(r.stretches(a), r.stretches(b), goesOn)) > 0 || len(r.switches(r.stretches(b), r.stretches(a), goesOn)) > 0
}

// started are the times, in Unix milliseconds, at which a counter's process started, as what is
// nearest to the counter says.
func (c Counter) started(starts []Series, r Rules) map[int64]bool {
	var out map[int64]bool
	best := 0
	for _, s := range starts {
		shared, ok := c.startedBy(s, 0, r.Metrics.ReplicaLabels)
		if !ok || shared < best {
			continue
		}
		if shared > best || out == nil {
			best, out = shared, map[int64]bool{}
		}
		for _, p := range s.Samples {
			if p.Value > 0 && !math.IsNaN(p.Value) {
				out[int64(math.Round(p.Value*1000))] = true
			}
		}
	}
	return out
}

func meet(a, b map[int64]bool) bool {
	for k := range a {
		if b[k] {
			return true
		}
	}
	return false
}
