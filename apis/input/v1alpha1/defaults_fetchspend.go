package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Default fills in what an absent field means.
func (in *FetchSpendInput) Default() {
	contained := true
	after := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
	in.Prometheus.URL = "http://prometheus-operated.monitoring.svc:9090"
	in.Prometheus.Timeout = after(10 * time.Second)
	in.Metrics.Default()
	in.InputContainsCached = &contained
	in.ReplicaLabels = []string{"prometheus_replica", "__replica__"}
	in.Grid = after(30 * time.Second)
	in.IngestDelay = after(15 * time.Second)
	in.SettleAfter = after(time.Hour)
	in.Heartbeat = after(time.Hour)
	in.MinLook = after(10 * time.Second)
	in.MaxLook = after(5 * time.Minute)
	in.MaxResetsPerHour = 20
}
