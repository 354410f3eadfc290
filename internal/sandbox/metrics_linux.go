package sandbox

import "github.com/prometheus/client_golang/prometheus"

// metrics of the sandbox.
type metrics struct {
	runs     *prometheus.CounterVec // by cause
	refused  *prometheus.CounterVec // by reason: busy, dataset, interpreter
	seconds  prometheus.Histogram
	peak     prometheus.Histogram // bytes
	charts   *prometheus.CounterVec
	wall     *prometheus.GaugeVec
	landlock prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, s *server) *metrics {
	opts := func(name, help string) prometheus.Opts { return prometheus.Opts{Name: "sandbox_" + name, Help: help} }
	m := &metrics{
		runs:    prometheus.NewCounterVec(prometheus.CounterOpts(opts("runs_total", "Runs of code by how they ended: done, failed, timeout, cpu, memory, output, disk, signal, canceled, broken.")), []string{"cause"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts(opts("refused_total", "Calls that could not be served: busy, dataset (it can't be had), interpreter (it doesn't start), walls (one is missing).")), []string{"reason"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sandbox_run_seconds", Help: "How long runs took.", Buckets: prometheus.ExponentialBuckets(0.01, 3, 10)}),
		peak:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "sandbox_run_peak_bytes", Help: "The most memory that runs took.", Buckets: prometheus.ExponentialBuckets(64<<20, 2, 9)}),
		charts:  prometheus.NewCounterVec(prometheus.CounterOpts(opts("charts_total", "Charts that runs saved, by what became of them: linked, shown (no bucket), failed (upload).")), []string{"result"}),
		wall: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("wall_standing", "Whether a wall around generated code was tried from the inside and stood: "+
			"key, files, server, network, processes, memory.")), []string{"wall"}),
		landlock: prometheus.NewGauge(prometheus.GaugeOpts(opts("landlock_abi", "Version of the kernel's Landlock; 0 if it has none."))),
	}
	gauge := func(name, help string, value func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts(name, help)), value)
	}
	r.MustRegister(m.runs, m.refused, m.seconds, m.peak, m.charts, m.wall, m.landlock,
		gauge("running", "Runs at this moment.", func() float64 { return float64(s.slots.taken.Load()) }),
		gauge("waiting", "Calls that wait for a run to end.", func() float64 { return float64(s.slots.waiting.Load()) }),
		gauge("memory_limit_bytes", "Memory that the sandbox may take.", func() float64 { return float64(s.runner.budget.Limit) }),
		gauge("dataset_bytes", "Size of the dataset, unpacked; 0 while there is none.", func() float64 {
			if f, _ := s.dataset.state(); f != nil {
				return float64(f.Bytes)
			}
			return 0
		}))
	for _, c := range causes {
		m.runs.WithLabelValues(string(c))
	}
	for _, reason := range []string{"busy", "dataset", "interpreter", "walls"} {
		m.refused.WithLabelValues(reason)
	}
	return m
}
