package chatfrontend

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	answers *prometheus.CounterVec // by outcome
	seconds prometheus.Histogram
	running prometheus.Gauge
	streams prometheus.Gauge
	budget  *prometheus.CounterVec // by result
	refused *prometheus.CounterVec // by status code
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chat_frontend_answers_total", Help: "Questions by outcome: done, asking (the agent asks back), stopped, failed, budget (used up while it answered)."}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "chat_frontend_answer_duration_seconds", Help: "How long answers took.", Buckets: prometheus.ExponentialBuckets(0.5, 2, 12)}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{Name: "chat_frontend_answers_running", Help: "Questions that are being answered."}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{Name: "chat_frontend_streams", Help: "Pages that watch an answer."}),
		budget:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chat_frontend_budget_reads_total", Help: "Reads of the XAgentBudget by result: ok, missing, error."}, []string{"result"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "chat_frontend_refusals_total", Help: "Questions refused, by status code."}, []string{"code"}),
	}
	r.MustRegister(m.answers, m.seconds, m.running, m.streams, m.budget, m.refused)
	for _, o := range []string{"done", "asking", "stopped", "failed", "budget"} {
		m.answers.WithLabelValues(o)
	}
	for _, o := range []string{"ok", "missing", "error"} {
		m.budget.WithLabelValues(o)
	}
	return m
}
