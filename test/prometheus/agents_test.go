package prometheus

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The prices of the story's models in millionths of a US dollar per million
// tokens, which makes a token's price a whole number of 10^-12 US dollars.
var prices = map[string]struct{ input, cached, output int64 }{
	"model-a": {input: 1_250_000, cached: 125_000, output: 10_000_000},
	"model-b": {input: 300_000, cached: 30_000, output: 2_500_000},
}

// priceTable is the same as a ConfigMap.
func priceTable() map[string]any {
	return map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "whisperops-pricing", "namespace": "crossplane-system"},
		"data": map[string]any{"prices.yaml": `
models:
  model-a: {input: "1.25", cachedInput: "0.125", output: "10.00"}
  model-b: {input: "0.30", cachedInput: "0.03", output: "2.50"}
`},
	}
}

// The names of the counters, as fetch-spend expects them by default.
const (
	inputTotal  = "whisperops_tokens_input_total"
	cachedTotal = "whisperops_tokens_cached_input_total"
	outputTotal = "whisperops_tokens_output_total"
)

// A usage is how many tokens of one model were used. The input contains what was
// cached, as Gemini reports it.
type usage struct{ input, cached, output int64 }

func (u usage) plus(o usage) usage {
	return usage{input: u.input + o.input, cached: u.cached + o.cached, output: u.output + o.output}
}

// counters are a usage by the names of its series.
func (u usage) counters() map[string]int64 {
	return map[string]int64{inputTotal: u.input, cachedTotal: u.cached, outputTotal: u.output}
}

// A picos is money in 10^-12 US dollars.
type picos int64

func (p picos) usd() float64 { return float64(p) / 1e12 }

func (u usage) cost(model string) picos {
	p := prices[model]
	return picos((u.input-u.cached)*p.input + u.cached*p.cached + u.output*p.output)
}

// A World is all fake agents, and serves their counters at /metrics/<agent>.
type World struct {
	mu     sync.Mutex
	agents map[string]*Agent
}

// NewWorld returns a world without agents.
func NewWorld() *World { return &World{agents: map[string]*Agent{}} }

// Agent returns the agent of that name, new if need be.
func (w *World) Agent(name string) *Agent {
	w.mu.Lock()
	defer w.mu.Unlock()
	a := w.agents[name]
	if a == nil {
		a = &Agent{name: name, pods: map[string]*Pod{}, used: map[string]usage{}}
		w.agents[name] = a
	}
	return a
}

// ServeHTTP is what Prometheus scrapes.
func (w *World) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	fmt.Fprint(rw, w.Agent(strings.TrimPrefix(r.URL.Path, "/metrics/")).exposition())
}

// An Agent is what one budget pays for: pods that come and go. It knows the truth:
// what all of them used.
type Agent struct {
	name string

	mu     sync.Mutex
	pods   map[string]*Pod
	used   map[string]usage // by model, by all pods ever
	served int              // how often it was scraped
}

// Used is what the agent has used so far.
func (a *Agent) Used() picos {
	a.mu.Lock()
	defer a.mu.Unlock()
	var sum picos
	for model, u := range a.used {
		sum += u.cost(model)
	}
	return sum
}

func (a *Agent) scrapes() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.served
}

// Start starts a pod.
func (a *Agent) Start(pod string) *Pod {
	p := a.pod(pod)
	p.appear()
	return p
}

// pod returns a pod that no scrape sees yet.
func (a *Agent) pod(name string) *Pod {
	return &Pod{agent: a, name: name, started: time.Now(), counts: map[string]usage{}}
}

func (a *Agent) exposition() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.served++
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(a.pods)) {
		p := a.pods[name]
		counts, started := p.counts, p.started
		if p.other != nil && a.served%2 == 0 {
			counts, started = p.other, p.otherStarted
		}
		if !p.mute {
			lines = append(lines, fmt.Sprintf("process_start_time_seconds{agent_name=%q,pod=%q} %.3f\n", a.name, name, float64(started.UnixMilli())/1000))
		}
		p.served = maps.Clone(counts)
		for model, u := range counts {
			for metric, v := range u.counters() {
				lines = append(lines, fmt.Sprintf("%s{agent_name=%q,model=%q,pod=%q} %d\n", metric, a.name, model, name, v))
			}
		}
	}
	slices.Sort(lines) // a metric's lines must stand together
	return strings.Join(lines, "")
}

// A Pod is a process that calls models and counts their tokens, from 0 each time
// it starts.
type Pod struct {
	agent   *Agent
	name    string
	started time.Time        // as client libraries tell without a word of the agent
	mute    bool             // it doesn't tell
	counts  map[string]usage // by model, since it started
	served  map[string]usage // as last scraped

	// other is of a second process that writes the same series: a scrape sees one or the
	// other.
	other        map[string]usage
	otherStarted time.Time
}

// appear lets scrapes see the pod.
func (p *Pod) appear() {
	p.agent.mu.Lock()
	defer p.agent.mu.Unlock()
	p.agent.pods[p.name] = p
}

// Use calls a model.
func (p *Pod) Use(model string, u usage) {
	p.agent.mu.Lock()
	defer p.agent.mu.Unlock()
	p.counts[model] = p.counts[model].plus(u)
	p.agent.used[model] = p.agent.used[model].plus(u)
}

// Restart restarts the process in place: the same series, from 0.
func (p *Pod) Restart() {
	p.agent.mu.Lock()
	defer p.agent.mu.Unlock()
	p.counts, p.started = map[string]usage{}, time.Now()
}

// Stop ends the process; its series are no longer there.
func (p *Pod) Stop() {
	p.agent.mu.Lock()
	defer p.agent.mu.Unlock()
	delete(p.agent.pods, p.name)
}

// Kill ends the process, and returns what it used since its last scrape: nobody
// will ever know of it.
func (p *Pod) Kill(model string, last usage) (unseen picos) {
	p.agent.mu.Lock()
	defer p.agent.mu.Unlock()
	delete(p.agent.pods, p.name)
	p.agent.used[model] = p.agent.used[model].plus(last)
	var sum picos
	for m, u := range p.counts {
		sum += u.cost(m) - p.served[m].cost(m)
	}
	return sum + last.cost(model)
}

// Series are the pod's counters as a range of labels and their present values.
func (p *Pod) Series() []series {
	p.agent.mu.Lock()
	defer p.agent.mu.Unlock()
	var out []series
	for model, u := range p.counts {
		for metric, v := range u.counters() {
			out = append(out, series{
				labels: map[string]string{"__name__": metric, "agent_name": p.agent.name, "model": model, "pod": p.name},
				value:  float64(v),
			})
		}
	}
	return out
}

// A request is what one question costs, by a seed.
func request(r *rand.Rand) usage {
	in := 500 + r.Int64N(20_000)
	return usage{input: in, cached: r.Int64N(in / 2), output: 50 + r.Int64N(2_000)}
}
