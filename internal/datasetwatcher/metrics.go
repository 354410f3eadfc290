package datasetwatcher

import (
	"github.com/prometheus/client_golang/prometheus"

	"whisperops.io/functions/internal/csvfile"
)

// metrics of the watcher. Only the leader's move.
type metrics struct {
	datasets   *prometheus.GaugeVec   // by state: ready, not_ready, missing, unverified
	objects    *prometheus.GaugeVec   // by kind: csv, ignored
	ignored    *prometheus.GaugeVec   // by reason
	listing    prometheus.Histogram   // seconds
	listings   *prometheus.CounterVec // by result: complete, failed
	listed     prometheus.Gauge       // Unix time
	pass       prometheus.Histogram   // seconds
	reads      *prometheus.CounterVec // by result: ok, error
	writes     *prometheus.CounterVec // by target, operation and result
	fall       prometheus.Gauge       // missing datasets that are not believed
	catalogued prometheus.Gauge       // Unix time
	held       prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "dataset_watcher_" + name, Help: help})
	}
	seconds := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "dataset_watcher_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.01, 2.5, 11)})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "dataset_watcher_" + name, Help: help}, labels)
	}
	gauges := func(name, help, label string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "dataset_watcher_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		datasets:   gauges("datasets", "XDatasets by state: ready, not_ready, missing (no object in the bucket), unverified (in doubt after a fall of the registry).", "state"),
		objects:    gauges("objects", "Objects of the last complete listing: csv, or ignored (they look like datasets and are none).", "kind"),
		ignored:    gauges("ignored_objects", "Objects of the last complete listing that look like datasets and are none, by reason: Name, Hidden, Spelling, Compressed, Unfinished. The ConfigMap names them.", "reason"),
		listing:    seconds("listing_duration_seconds", "How long complete listings of the bucket took."),
		listings:   counters("listings_total", "Listings of the bucket by result: complete or failed.", "result"),
		listed:     gauge("last_complete_listing_timestamp_seconds", "When a listing of the bucket was last complete, in Unix time."),
		pass:       seconds("pass_duration_seconds", "How long passes took, from the listing to the last write in Kubernetes."),
		reads:      counters("reads_total", "Reads of the first bytes of objects by result: ok or error.", "result"),
		writes:     counters("writes_total", "Writes by target (kubernetes, git), operation and result (ok, conflict, error).", "target", "operation", "result"),
		fall:       gauge("fall_missing_datasets", "Datasets missing from a complete listing that is not believed; 0 when it is. More than 0 needs a person."),
		catalogued: gauge("last_catalog_success_timestamp_seconds", "When the Git catalog was last found or brought in line, in Unix time."),
		held:       gauge("catalog_held_entities", "Entities without a dataset that are kept in the catalog because they are too many to be believed, or the registry is in doubt."),
	}
	r.MustRegister(m.datasets, m.objects, m.ignored, m.listing, m.listings, m.listed, m.pass, m.reads, m.writes, m.fall, m.catalogued, m.held)
	for _, s := range []string{stateReady, stateNotReady, stateMissing, stateUnverified} {
		m.datasets.WithLabelValues(s)
	}
	for _, reason := range csvfile.IgnoredReasons() {
		m.ignored.WithLabelValues(reason)
	}
	for _, result := range []string{"complete", "failed"} {
		m.listings.WithLabelValues(result)
	}
	return m
}

// States of datasets.
const (
	stateReady      = "ready"
	stateNotReady   = "not_ready"
	stateMissing    = "missing"
	stateUnverified = "unverified"
)
