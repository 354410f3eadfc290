package v1alpha1

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
)

// FetchSpendInput configures the step "fetch-spend".
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=fetchspendinputs,categories=crossplane
// +kubebuilder:storageversion
type FetchSpendInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Prometheus is the server that is asked: Prometheus, Mimir, Thanos, VictoriaMetrics
	// or Google's managed Prometheus.
	//
	// +kubebuilder:default={}
	Prometheus Prometheus `json:"prometheus,omitempty"`

	// Metrics names the token counters and their labels.
	//
	// +kubebuilder:default={}
	Metrics TokenMetrics `json:"metrics,omitempty"`

	// InputContainsCached says whether the input counter already contains the
	// cached input tokens, as Gemini reports them.
	//
	// +kubebuilder:default=true
	InputContainsCached *bool `json:"inputContainsCached,omitempty"`

	// PricingNamespaces are the namespaces in which price tables may lie, beside the
	// budget's own: what Crossplane may read is more than who writes a budget may. A *
	// stands for any characters; "*" alone allows all.
	//
	// +kubebuilder:default={"crossplane-system"}
	// +listType=atomic
	PricingNamespaces []string `json:"pricingNamespaces,omitempty"`

	// ReplicaLabels tell the twins of a replicated Prometheus apart; series that
	// differ in nothing else are one series.
	//
	// +kubebuilder:default={"prometheus_replica","__replica__"}
	// +listType=atomic
	ReplicaLabels []string `json:"replicaLabels,omitempty"`

	// Grid is the step of all times in status, at best the interval at which
	// agents export their counters.
	//
	// +kubebuilder:default="30s"
	Grid *metav1.Duration `json:"grid,omitempty"`

	// IngestDelay is how long a sample may take until it can be queried.
	//
	// +kubebuilder:default="15s"
	IngestDelay *metav1.Duration `json:"ingestDelay,omitempty"`

	// SettleAfter is how late a sample may come and still be counted; at least
	// the server's out-of-order window.
	//
	// +kubebuilder:default="1h"
	SettleAfter *metav1.Duration `json:"settleAfter,omitempty"`

	// Heartbeat is how often an idle ledger is settled (and status written).
	//
	// +kubebuilder:default="1h"
	Heartbeat *metav1.Duration `json:"heartbeat,omitempty"`

	// MinLook is the shortest time to the next look, which follows the money at
	// risk.
	//
	// +kubebuilder:default="10s"
	MinLook *metav1.Duration `json:"minLook,omitempty"`

	// MaxLook is the time to the next look for an idle agent.
	//
	// +kubebuilder:default="5m"
	MaxLook *metav1.Duration `json:"maxLook,omitempty"`

	// MaxResetsPerHour of one series; beyond it two processes write one series,
	// of which only the highest value counts then.
	//
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	MaxResetsPerHour int32 `json:"maxResetsPerHour,omitempty"`
}

// Said is told which fields somebody wrote.
func (in *FetchSpendInput) Said(fields map[string]any) { in.Metrics.Said(fields["metrics"]) }

// Default fills in what an absent field means.
func (in *FetchSpendInput) Default() {
	contained := true
	after := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
	in.Prometheus.URL = "http://prometheus-operated.monitoring.svc:9090"
	in.Prometheus.Timeout = after(10 * time.Second)
	in.Metrics.Default()
	in.InputContainsCached = &contained
	in.PricingNamespaces = []string{v1alpha1.ControlPlaneNamespace}
	in.ReplicaLabels = []string{"prometheus_replica", "__replica__"}
	in.Grid = after(30 * time.Second)
	in.IngestDelay = after(15 * time.Second)
	in.SettleAfter = after(time.Hour)
	in.Heartbeat = after(time.Hour)
	in.MinLook = after(10 * time.Second)
	in.MaxLook = after(5 * time.Minute)
	in.MaxResetsPerHour = 20
}

// Prometheus is a server that speaks Prometheus' query API.
type Prometheus struct {
	// URL of the server, with its path prefix if it has one. For Mimir:
	// http://mimir-gateway.mimir.svc/prometheus.
	//
	// +kubebuilder:default="http://prometheus-operated.monitoring.svc:9090"
	// +kubebuilder:validation:Pattern=`^https?://.+`
	URL string `json:"url,omitempty"`

	// Tenant is sent in the header X-Scope-OrgID, as Mimir wants. Empty: no header.
	//
	// +optional
	Tenant string `json:"tenant,omitempty"`

	// Timeout of one query.
	//
	// +kubebuilder:default="10s"
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// CredentialsName names the credentials of the pipeline step that hold either
	// "token" (bearer) or "username" and "password" (basic auth), and optionally
	// "ca.crt". Empty: none are used.
	//
	// +optional
	CredentialsName string `json:"credentialsName,omitempty"`

	// CABundle verifies the server's certificate: PEM. Empty: the system's roots.
	//
	// +optional
	CABundle string `json:"caBundle,omitempty"`

	// ExactNames asks for each metric by itself: Google's managed Prometheus takes no
	// regular expression on the names of metrics. A server that refuses one is asked so
	// by itself; this saves the first attempt.
	//
	// +optional
	ExactNames bool `json:"exactNames,omitempty"`
}
