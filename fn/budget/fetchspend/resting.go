package fetchspend

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/query"
)

// Resting are agents that were found at rest, each by a question of its own. Whether they
// still are is asked for all of them at once: what a look costs is the question, not the
// samples.
//
// That question tells one number of each agent: the sum of the last values of its series,
// and one more for each series, in a span of time that has all that the agent's own
// question was about; or that one of them changed. A store only ever adds to what it had
// in a span of time. So if nothing changed and the number is what the agent's own answer
// comes to, there are no other series than those of that answer and they have the same
// values: its own question would be answered as it was. Whatever else is answered, or
// isn't, that question is asked again.
type Resting struct {
	mu     sync.Mutex
	groups map[string][]*group // by server, credentials, what is selected, and since when
}

// A group is asked about together.
type group struct {
	mu     sync.Mutex
	agents map[string]proof
	answer *answered
	asking chan struct{} // closed when the question under way is answered; nil: none is
	used   time.Time
}

// A proof is an agent's own answer, from which it follows that it is at rest.
type proof struct {
	since  int64 // what it is about; Unix milliseconds
	series []count.Series
	sum    float64

	// doubted: an answer for all did not agree with it. It may be right all the same, since
	// more lies in what all are asked about; there is no use asking for it until more is
	// settled.
	doubted bool
}

// An answered question. It is never changed.
type answered struct {
	at    int64     // up to when
	when  time.Time // it was asked
	sums  map[string]float64
	beats map[string]bool // of which agents the meter was heard; nil: it isn't known
}

const (
	// asOne is how long an answer counts for looks: less than a sample may be late
	// anyway (ingestDelay). At those of the next grid time it is asked anew.
	asOne = 10 * time.Second

	// refused is how long a question isn't asked again that wasn't answered.
	refused = 5 * time.Minute

	// sinceStep is how far apart the beginnings are of what groups are asked about: as far as
	// agents are settled, so that it is commonly what each of them is asked about, too.
	sinceStep = 5 * time.Minute

	// unused is how long a group is kept that nobody asks about: all of it was settled.
	unused = 15 * time.Minute

	// maxResting is how many agents are remembered, some KiB each.
	maxResting = 1 << 13
)

// who tells whose answers a question may be for: nobody else's credentials, tenant or
// selection.
func (f Facts) who(since int64) string {
	return strings.Join([]string{f.Server, f.Settings.Canary, query.Rest(f.Settings.Rules.Metrics, []string{""}, 0, time.Time{}), count.RFC3339(count.Floor(since, sinceStep))}, "\x00")
}

// fingerprint of a server, and of as whom it is asked.
func fingerprint(srv query.Server) string {
	b, err := json.Marshal(srv) //nolint:gosec,musttag // only its hash is kept
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// rest returns an agent's own answer as it would be given again; ok is false if that isn't
// certain.
func (c *Resting) rest(ctx context.Context, q query.Querier, f Facts, since, at int64) (series []count.Series, ok bool) {
	if c == nil || f.Server == "" || !f.future.IsZero() {
		return nil, false
	}
	return c.restOf(ctx, q, f, f.who(since), since, at)
}

// restOf is rest of an agent of whom it is known for whom questions may be.
func (c *Resting) restOf(ctx context.Context, q query.Querier, f Facts, who string, since, at int64) (series []count.Series, ok bool) {
	agent := f.Budget.AgentName
	g := c.of(who, agent)
	if g == nil {
		return nil, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used = f.Now
	if p := g.agents[agent]; p.since != since || p.doubted {
		return nil, false
	}
	if under := g.asking; under != nil && !g.counts(f.Now, at) {
		g.mu.Unlock()
		select {
		case <-under:
		case <-ctx.Done():
		}
		g.mu.Lock()
	}
	if g.asking == nil && !g.counts(f.Now, at) {
		g.ask(ctx, q, f, count.Floor(since, sinceStep), at)
	}
	if !g.counts(f.Now, at) {
		return nil, false
	}
	sum, asked := g.answer.sums[agent]
	p := g.agents[agent]
	if !asked || p.since != since {
		return nil, false
	}
	if sum != p.sum {
		p.doubted = true
		g.agents[agent] = p
		return nil, false
	}
	return p.series, true
}

// counts says whether the last answer counts for a look up to a time, or that there is
// none.
func (g *group) counts(now time.Time, at int64) bool {
	if g.answer == nil {
		return false
	}
	age := now.Sub(g.answer.when)
	if g.answer.sums == nil {
		return age >= 0 && age < refused
	}
	return age >= 0 && age < asOne && g.answer.at >= at
}

// ask asks for all of a group, which is locked but for meanwhile.
func (g *group) ask(ctx context.Context, q query.Querier, f Facts, since, at int64) {
	m, sums := f.Settings.Rules.Metrics, map[string]float64{}
	for agent, p := range g.agents {
		if !p.doubted {
			sums[agent] = 0
		}
	}
	done := make(chan struct{})
	g.asking = done
	g.mu.Unlock()
	// Others wait for it, whatever becomes of who asks.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.Settings.Timeout)
	defer cancel()
	all, err := each(ctx, q, f, []string{query.Rest(m, sortedKeys(sums), time.Duration(at-since)*time.Millisecond, time.UnixMilli(at))}, at)
	var beats map[string]bool
	switch {
	case err != nil || !told(all, m, sums):
		sums = nil
	case f.Settings.Canary != "":
		beats = f.beats(ctx, q, sortedKeys(sums), at)
	}
	g.mu.Lock()
	g.answer = &answered{at: at, when: f.Now, sums: sums, beats: beats}
	g.asking = nil
	close(done)
}

// beats says of which agents a meter was heard, as far as that is known.
func (f Facts) beats(ctx context.Context, q query.Querier, agents []string, at int64) map[string]bool {
	m := f.Settings.Rules.Metrics
	all, err := each(ctx, q, f, []string{query.Beats(f.Settings.Canary, m, agents, f.Settings.heard())}, at)
	if err != nil {
		return nil
	}
	beats := map[string]bool{}
	for _, s := range all {
		if agent, ok := strings.CutPrefix(s.Labels[m.AgentLabel], m.AgentPrefix); ok && len(s.Samples) == 1 && s.Samples[0].Value > 0 {
			beats[agent] = true
		}
	}
	return beats
}

// heard says whether the last question for all of an agent's group told that its meter was
// heard. False: that isn't known.
func (c *Resting) heard(f Facts, who string, at int64) bool {
	if c == nil || f.Server == "" {
		return false
	}
	g := c.of(who, f.Budget.AgentName)
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts(f.Now, at) && g.answer.beats[f.Budget.AgentName]
}

// told reads an answer into the sums of agents, and says whether it is one.
func told(all []count.Series, m count.Mapping, sums map[string]float64) bool {
	ended := false
	for _, s := range all {
		if len(s.Samples) != 1 {
			return false
		}
		v := s.Samples[0].Value
		if len(s.Labels) == 0 {
			ended = v == 0
			continue
		}
		agent, ok := strings.CutPrefix(s.Labels[m.AgentLabel], m.AgentPrefix)
		if _, asked := sums[agent]; !ok || !asked || len(s.Labels) != 1 {
			return false
		}
		sums[agent] = v
	}
	return ended
}

// of returns the group that an agent is in; nil: none.
func (c *Resting) of(who, agent string) *group {
	c.mu.Lock()
	groups := slices.Clone(c.groups[who])
	c.mu.Unlock()
	for _, g := range groups {
		g.mu.Lock()
		_, ok := g.agents[agent]
		g.mu.Unlock()
		if ok {
			return g
		}
	}
	return nil
}

// proved takes an agent in whose own answer says that it is at rest.
func (c *Resting) proved(f Facts, since int64, series []count.Series) {
	if c == nil || f.Server == "" {
		return
	}
	p := proof{since: since, series: series}
	for _, s := range series {
		if len(s.Labels) > 0 {
			p.sum += s.Samples[0].Value + 1
		}
	}
	if p.sum > count.LargestStill {
		return
	}
	agent, who := f.Budget.AgentName, f.who(since)
	if g := c.of(who, agent); g != nil {
		g.mu.Lock()
		was := g.agents[agent]
		p.doubted = was.since == since && was.doubted
		g.agents[agent] = p
		g.mu.Unlock()
		return
	}
	c.admit(f, who, agent, p)
}

// admit puts an agent into a group that has room.
func (c *Resting) admit(f Facts, who, agent string, p proof) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range c.groups[who] {
		if g.admits(f.Settings.Rules.Metrics, agent, p) {
			return
		}
	}
	agents := 1
	for who, groups := range c.groups {
		groups = slices.DeleteFunc(groups, func(g *group) bool { return g.forgotten(f.Now, &agents) })
		if c.groups[who] = groups; len(groups) == 0 {
			delete(c.groups, who)
		}
	}
	if c.groups == nil || agents > maxResting {
		c.groups = map[string][]*group{}
	}
	c.groups[who] = append(c.groups[who], &group{agents: map[string]proof{agent: p}, used: f.Now})
}

// admits takes one more agent if the question about all has room for it.
func (g *group) admits(m count.Mapping, agent string, p proof) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	size := len(agent)
	for a := range g.agents {
		size += len(a) + len(m.AgentPrefix) + 1
	}
	if !query.RestFits(m, size) {
		return false
	}
	g.agents[agent] = p
	return true
}

// forgotten says whether nobody asked about a group for long; it adds up the others.
func (g *group) forgotten(now time.Time, agents *int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if age := now.Sub(g.used); age > unused || age < -unused {
		return true
	}
	*agents += len(g.agents)
	return false
}
