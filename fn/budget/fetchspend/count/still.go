package count

// An agent that uses nothing is most of what there is, and its samples are the same at
// every look. That nothing moved can be proved without them: if every series of what a
// look reads has one value only, and that is the one at which it was settled, then no
// sample adds any, none falls, and nothing is in doubt. What a look makes of the samples
// then depends on that value alone, and not on when they are.

// MayBeStill says whether it is worth asking: nothing is counted that isn't settled, and
// nothing is to be settled now.
func (l Ledger) MayBeStill(r Rules, settleTo int64) bool {
	return l.Rebased == 0 && l.AsOf == max(l.From, l.SettledAt) && settleTo < l.SettledAt+r.Heartbeat.Milliseconds()
}

// Still reads an answer to the question which last value each series of an agent has in
// what a look up to a time reads, from that time on, and how often one changed meanwhile: a
// value without labels. It returns counters that count as those would of which all
// samples had been read; ok is false if that isn't certain.
func Still(answer []Series, l Ledger, agent string, r Rules, from, at int64) (cs []Counter, ok bool) {
	series := make([]Series, 0, len(answer))
	told := false
	for _, s := range answer {
		if len(s.Samples) != 1 {
			return nil, false
		}
		v := s.Samples[0].Value
		if len(s.Labels) == 0 {
			if told = true; v != 0 {
				return nil, false
			}
			continue
		}
		// Not above it: beyond 10^12 VictoriaMetrics takes a token for an error of rounding.
		// NaN is not above it either.
		if !(v <= LargestStill) {
			return nil, false
		}
		series = append(series, Series{Labels: s.Labels, Samples: []Sample{{At: at, Value: v}}})
	}
	cs, strange, err := ReadCounters(series, agent, r)
	if err != nil || !told || len(strange) > 0 {
		return nil, false
	}
	for i, c := range cs {
		if !l.holds(c, r) || r.began(c.meter.Model, from) != r.began(c.meter.Model, at) {
			return nil, false
		}
		for _, o := range cs[i+1:] {
			// Whether two are one counter only their samples say.
			if c.family() == o.family() && c.process.may(o.process) && !r.apart(c, o) {
				return nil, false
			}
		}
	}
	return cs, true
}

// LargestStill is the largest value of which every server says whether it changed.
const LargestStill = 100_000_000_000

// holds says whether a counter stands where the ledger has it, by all its twins, and the
// ledger has nothing to say of it but that.
func (l Ledger) holds(c Counter, r Rules) bool {
	settled := Cursor{}
	if cu := l.cursorOf(c); cu != nil {
		settled = *cu
	}
	for _, p := range c.points {
		if p.v != settled.Value {
			return false
		}
	}
	_, limit := r.resetWindow()
	return len(c.distrust) == 0 && settled.resets.now <= limit && settled.resets.before <= limit
}
