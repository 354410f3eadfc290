package tokenmeter

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"whisperops.io/functions/internal/tokenmeter/usage"
)

// Outcomes of calls.
const (
	outcomeComplete  = "complete"  // the provider's last figures, to a caller who was there or had just left
	outcomeAborted   = "aborted"   // the caller left; the answer was read to its end all the same
	outcomeReset     = "reset"     // the provider's connection broke, or its answer ended early
	outcomeError     = "error"     // the answer held an error, or was one
	outcomeEstimated = "estimated" // the caller left and the answer was not read to its end: what was known by then
)

// metrics of the meter, beside the counters of tokens, which the journal keeps.
type metrics struct {
	calls       *prometheus.CounterVec
	refusals    *prometheus.CounterVec
	unverified  *prometheus.CounterVec
	uncounted   *prometheus.CounterVec
	mismatch    *prometheus.CounterVec
	unread      *prometheus.CounterVec
	firstByte   *prometheus.HistogramVec
	drains      prometheus.Gauge
	drained     prometheus.Counter
	cutOff      *prometheus.CounterVec
	journal     prometheus.Counter
	open        prometheus.Gauge
	unpriced    prometheus.Counter
	exceeded    *prometheus.CounterVec
	unconfirmed prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	name := func(n string) string { return "whisperops_meter_" + n }
	counters := func(n, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name(n), Help: help}, labels)
	}
	counter := func(n, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name(n), Help: help})
	}
	gauge := func(n, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name(n), Help: help})
	}
	m := &metrics{
		calls:      counters("calls_total", "Calls that went to a provider, by the model asked for, the one that answered, and how they ended.", "agent_name", "namespace", "dialect", "asked_model", "model", "outcome"),
		refusals:   counters("refusals_total", "Calls that went to no provider, by reason.", "agent_name", "namespace", "reason"),
		unverified: counters("unverified_total", "Calls whose path claimed an agent that the caller's address did not confirm. They are refused.", "claimed_agent", "reason"),
		uncounted:  counters("uncounted_calls_total", "Calls that may have cost tokens which nobody counted, by reason.", "agent_name", "namespace", "reason"),
		mismatch:   counters("mismatch_tokens_total", "Tokens by which a provider's total and the sum of its classes differ.", "agent_name", "namespace", "dialect"),
		unread:     counters("unread_documents_total", "Events or answers that could not be read: no JSON, too large, or packed in a way that can't be undone.", "dialect"),
		firstByte: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name("first_byte_seconds"), Help: "From the arrival of a call to the first byte of its answer.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120},
		}, []string{"dialect"}),
		drains:      gauge("draining_calls", "Answers that are being read to their end though the caller has left."),
		drained:     counter("drained_bytes_total", "Bytes of answers that were read after the caller had left."),
		cutOff:      counters("drains_cut_off_total", "Answers whose reading was ended before they were over, by the bound that ended it: calls, bytes or time.", "bound"),
		journal:     counter("journal_errors_total", "Writes that the journal's disk did not take."),
		open:        gauge("open_calls", "Calls that are under way."),
		unpriced:    counter("unpriced_models_total", "Answers of models without a price that were counted as model \"other\"."),
		exceeded:    counters("reservation_exceeded_total", "Calls that cost more than was reserved for them. It must stay 0.", "agent_name", "namespace"),
		unconfirmed: gauge("callers_unconfirmed", "1 if callers are believed what they claim, which is for a laptop only."),
	}
	r.MustRegister(m.calls, m.refusals, m.unverified, m.uncounted, m.mismatch, m.unread, m.firstByte, m.drains, m.drained, m.cutOff, m.journal, m.open, m.unpriced, m.exceeded, m.unconfirmed)
	for _, b := range []string{"calls", "bytes", "time"} {
		m.cutOff.WithLabelValues(b)
	}
	return m
}

// counters shows the journal's figures, and a heartbeat for each agent.
type counters struct {
	journal *Journal
	agents  func() []agent // those that the meter answers for, with their health
	now     func() time.Time
	legacy  bool

	tokens, input, output, cached, heartbeat *prometheus.Desc

	scrapes scrapes
}

// An agent as its heartbeat is shown.
type agent struct{ name, namespace string }

func newCounters(j *Journal, agents func() []agent, now func() time.Time, legacy bool) *counters {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	old := []string{"agent_name", "namespace", "model"}
	return &counters{
		journal: j, agents: agents, now: now, legacy: legacy,
		tokens:    desc("whisperops_tokens_total", "Tokens that agents used, by the model that answered and by class; classes are disjoint.", "agent_name", "namespace", "model", "class", "context", "tier", "outcome"),
		input:     desc("whisperops_tokens_input_total", "Input tokens, cached ones included: the sum of four classes of whisperops_tokens_total.", old...),
		output:    desc("whisperops_tokens_output_total", "Output tokens, thoughts included: the sum of two classes of whisperops_tokens_total.", old...),
		cached:    desc("whisperops_tokens_cached_input_total", "Cached input tokens, as in whisperops_tokens_total.", old...),
		heartbeat: desc("whisperops_meter_heartbeat_timestamp_seconds", "Now, in Unix time, for each agent whose calls this meter would count. No sample: nobody counts them.", "agent_name", "namespace"),
	}
}

func (c *counters) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.tokens, c.heartbeat} {
		ch <- d
	}
	if c.legacy {
		ch <- c.input
		ch <- c.output
		ch <- c.cached
	}
}

func (c *counters) Collect(ch chan<- prometheus.Metric) {
	show := func(d *prometheus.Desc, t prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, t, v, labels...)
	}
	type series struct{ agent, namespace, model string }
	sums := map[series]usage.Tokens{}
	tokens, spent := c.journal.Snapshot()
	c.scrapes.mu.Lock()
	c.scrapes.sum, c.scrapes.spent = sum(tokens), spent
	c.scrapes.mu.Unlock()
	for k, t := range tokens {
		for class, n := range t {
			show(c.tokens, prometheus.CounterValue, float64(n), k.Agent, k.Namespace, k.Model, usage.Class(class).String(), k.Context, k.Tier, k.Outcome)
		}
		s := series{k.Agent, k.Namespace, k.Model}
		sums[s] = sums[s].Plus(t)
	}
	now := float64(c.now().UnixMilli()) / 1000
	for _, a := range c.agents() {
		show(c.heartbeat, prometheus.GaugeValue, now, a.name, a.namespace)
	}
	if !c.legacy {
		return
	}
	for s, t := range sums {
		show(c.input, prometheus.CounterValue, float64(t.Prompt()), s.agent, s.namespace, s.model)
		show(c.output, prometheus.CounterValue, float64(t[usage.Output]+t[usage.Thoughts]), s.agent, s.namespace, s.model)
		show(c.cached, prometheus.CounterValue, float64(t[usage.CachedInput]), s.agent, s.namespace, s.model)
	}
}
