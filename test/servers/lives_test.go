package servers

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"time"
)

// hours is how long all lives last together; the last quarter of it is quiet.
const hours = 3 * time.Hour

// every is how often an agent is scraped.
const every = 30 * time.Second

// A life is what an agent exports and what it used.
type life struct {
	why     string
	metrics map[string]any // of the input
	series  []series
	used    map[string]uint64 // tokens by class; input without what was cached

	// quiet is when the meter's heartbeat stops; zero: nobody has one.
	quiet time.Time

	// rests: most of the time nothing is used, and then no samples are read.
	rests bool

	// least that must be counted, in hundredths of what was used. 0: all of it, and
	// nothing may be distrusted.
	least int
}

// A pod exports counters: of input, which contains what was cached, of cached input
// and of output.
type pod struct {
	life   *life
	labels map[string]string
	names  [3]string // __name__ of each; where class is set, its value
	class  string    // the label that has the class

	input, cached, output uint64
}

func (l *life) pod(agent, name string) *pod {
	return &pod{
		life:   l,
		labels: map[string]string{"agent_name": agent, "namespace": "agent-" + agent, "model": "model-a", "job": "agents", "pod": name},
		names:  [3]string{"whisperops_tokens_input_total", "whisperops_tokens_cached_input_total", "whisperops_tokens_output_total"},
	}
}

func (p *pod) use(r *rand.Rand) {
	in := 500 + r.Uint64N(20_000)
	cached, out := r.Uint64N(in/2), 50+r.Uint64N(2_000)
	p.input, p.cached, p.output = p.input+in, p.cached+cached, p.output+out
	p.life.uses(in-cached, cached, out)
}

func (l *life) uses(fresh, cached, out uint64) {
	if l.used == nil {
		l.used = map[string]uint64{}
	}
	l.used["input"] += fresh
	l.used["cachedInput"] += cached
	l.used["output"] += out
}

// counters are the pod's present values.
func (p *pod) counters() [3]uint64 { return [3]uint64{p.input, p.cached, p.output} }

// scrape adds a sample to each of the pod's series.
func (p *pod) scrape(at time.Time, more ...string) { p.add(at, false, more...) }

// end adds the mark of an end to each.
func (p *pod) end(at time.Time, more ...string) { p.add(at, true, more...) }

func (p *pod) add(at time.Time, end bool, more ...string) {
	for i, v := range p.counters() {
		labels := map[string]string{}
		maps.Copy(labels, p.labels)
		for k := 0; k+1 < len(more); k += 2 {
			labels[more[k]] = more[k+1]
		}
		if p.class != "" {
			labels[p.class], labels["__name__"] = p.names[i], "whisperops_tokens_total"
			if i == 0 {
				v -= p.cached // disjoint classes
			}
		} else {
			labels["__name__"] = p.names[i]
		}
		value := float64(v)
		if end {
			value = stale
		}
		p.life.add(labels, at, value)
	}
}

func (l *life) add(labels map[string]string, at time.Time, v float64) {
	for i, s := range l.series {
		if fmt.Sprint(s.labels) == fmt.Sprint(labels) {
			l.series[i].samples = append(l.series[i].samples, sample{at.UnixMilli(), v})
			return
		}
	}
	l.series = append(l.series, series{labels: labels, samples: []sample{{at.UnixMilli(), v}}})
}

// lives are those of all agents, by name, from a time on.
func lives(from time.Time) map[string]*life {
	r := rand.New(rand.NewPCG(1, 2))
	end := from.Add(hours * 3 / 4)
	out := map[string]*life{}
	begin := func(agent, why string) *life {
		l := &life{why: why}
		out[agent] = l
		return l
	}

	l := begin("steady", "One pod that works all the time.")
	p := l.pod("steady", "worker-0")
	for at := from.Add(every); at.Before(end); at = at.Add(every) {
		p.use(r)
		p.scrape(at)
	}

	l = begin("rests", "Two pods that work for a while, rest for two hours and are scraped all the time; then one of them works once more.")
	l.rests = true
	for i, name := range []string{"worker-0", "worker-1"} {
		p := l.pod("rests", name)
		for k, at := 0, from.Add(every); at.Before(from.Add(hours)); k, at = k+1, at.Add(every) {
			if k < 20 || i == 0 && k == 340 {
				p.use(r)
			}
			p.scrape(at, "prometheus_replica", "a")
			p.scrape(at.Add(7*time.Second), "prometheus_replica", "b")
		}
	}

	l = begin("jobs", "Pods that end: VictoriaMetrics hands out the marks of their ends as NaN (F1).")
	for i := range 12 {
		p := l.pod("jobs", fmt.Sprintf("job-%d", i))
		at := from.Add(time.Duration(i)*10*time.Minute + every)
		for range 1 + i%5 {
			p.use(r)
			p.scrape(at)
			at = at.Add(every)
		}
		p.end(at)
	}

	l = begin("hiccups", "Scrapes that fail: each leaves a mark in a series that goes on (F1).")
	p = l.pod("hiccups", "worker-0")
	for i, at := 0, from.Add(every); at.Before(end); i, at = i+1, at.Add(every) {
		p.use(r)
		if i%7 == 6 {
			p.end(at)
			continue
		}
		p.scrape(at)
	}
	p.scrape(end)

	l = begin("crashes", "A process that begins at zero every half hour, and says when it started.")
	p = l.pod("crashes", "worker-0")
	started := from
	for i, at := 0, from.Add(every); at.Before(end); i, at = i+1, at.Add(every) {
		if i%60 == 59 {
			p.input, p.cached, p.output, started = 0, 0, 0, at.Add(-time.Second)
		}
		p.use(r)
		p.scrape(at)
		l.add(map[string]string{"__name__": "process_start_time_seconds", "job": "agents", "pod": "worker-0"}, at, float64(started.Unix()))
	}

	l = begin("twins", "Two scrapers, told apart by a replica label.")
	p = l.pod("twins", "worker-0")
	for at := from.Add(every); at.Before(end); at = at.Add(every) {
		p.use(r)
		p.scrape(at, "prometheus_replica", "a")
		p.scrape(at.Add(13*time.Millisecond), "prometheus_replica", "b")
	}

	l = begin("failover", "Nobody answers for two minutes, and who answers then is a scrape behind: none of it counts again.")
	l.least = 100
	p = l.pod("failover", "worker-0")
	for i, at := 0, from.Add(every); at.Before(end); i, at = i+1, at.Add(every) {
		before := *p
		p.use(r)
		switch i % 60 {
		case 30, 31, 32:
			continue
		case 33:
			now := *p
			p.input, p.cached, p.output = before.input-1000, before.cached-1, before.output-1
			if i > 60 { // far behind
				p.input, p.cached, p.output = p.input/2, p.cached/2, p.output/2
			}
			p.scrape(at)
			p.input, p.cached, p.output = now.input, now.cached, now.output
		default:
			p.scrape(at)
		}
	}

	l = begin("dotted", "Names with dots, as OpenTelemetry writes them.")
	l.metrics = map[string]any{
		"input": "whisperops.tokens.input", "cachedInput": "whisperops.tokens.cached_input", "output": "whisperops.tokens.output",
		"agentLabel": "agent.name", "modelLabel": "gen_ai.response.model",
	}
	p = l.pod("dotted", "")
	p.names = [3]string{"whisperops.tokens.input", "whisperops.tokens.cached_input", "whisperops.tokens.output"}
	p.labels = map[string]string{"agent.name": "dotted", "gen_ai.response.model": "model-a", "k8s.pod.name": "worker-0"}
	for at := from.Add(every); at.Before(end); at = at.Add(every) {
		p.use(r)
		p.scrape(at)
	}

	l = begin("metered", "The token meter's one metric with disjoint classes, and its heartbeat, which stops.")
	l.metrics = map[string]any{"preset": "token-meter"}
	p = l.pod("metered", "token-meter-0")
	p.class, p.names = "class", [3]string{"input", "cachedInput", "output"}
	for at := from.Add(every); at.Before(end); at = at.Add(every) {
		p.use(r)
		p.scrape(at, "context", "standard", "tier", "", "outcome", "complete")
		l.add(map[string]string{"__name__": "whisperops_meter_heartbeat_timestamp_seconds", "agent_name": "metered", "namespace": "agent-metered", "pod": "token-meter-0"}, at, float64(at.Unix()))
		l.quiet = at
	}

	l = begin("crowd", "220 pods with long names that begin within one look: a query that names them all is too long for VictoriaMetrics (F4).")
	for i := range 220 {
		p := l.pod("crowd", fmt.Sprintf("job-with-quite-a-long-name-%08d", i))
		p.labels["instance"] = fmt.Sprintf("10.244.%d.%d:8080", i/200, i%200)
		p.labels["uid"] = fmt.Sprintf("6f1b3a52-0d7e-4c55-9f0a-0000%08d", i)
		for k := range 3 {
			p.use(r)
			p.scrape(from.Add(time.Hour + time.Duration(k)*every))
		}
		p.end(from.Add(time.Hour + 3*every))
	}

	l = begin("swapped", "Two scrapers without a replica label, 5 ms apart: sometimes the later one has read the earlier value (F2).")
	l.least = 99
	p = l.pod("swapped", "worker-0")
	for i, at := 0, from.Add(every); at.Before(end); i, at = i+1, at.Add(every) {
		before := *p
		p.use(r)
		if i%40 == 39 {
			p.scrape(at)
			now := *p
			p.input, p.cached, p.output = before.input, before.cached, before.output
			p.scrape(at.Add(5 * time.Millisecond))
			p.input, p.cached, p.output = now.input, now.cached, now.output
			continue
		}
		p.scrape(at)
		p.scrape(at.Add(5 * time.Millisecond))
	}
	return out
}
