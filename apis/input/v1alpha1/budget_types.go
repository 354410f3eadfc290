package v1alpha1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FetchSpendInput configures the step "fetch-spend".
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=fetchspendinputs,categories=crossplane
// +kubebuilder:storageversion
type FetchSpendInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Prometheus is the server that is asked: Prometheus or Mimir.
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
}

// DecideInput configures the step "decide".
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=decideinputs,categories=crossplane
// +kubebuilder:storageversion
type DecideInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// GuardBandSeconds pauses an agent so many seconds of its present burn before
	// its budget is gone. 0, the default, is off.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	GuardBandSeconds int32 `json:"guardBandSeconds,omitempty"`
}

// Validate says what of the input can't be used, or nil.
func (in *DecideInput) Validate() error {
	if in.GuardBandSeconds < 0 || in.GuardBandSeconds > 3600 {
		return fmt.Errorf("guardBandSeconds %d must be from 0 (off) to 3600", in.GuardBandSeconds)
	}
	return nil
}

// RenderReplicasInput configures the step "render" of the budget's pipeline.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=renderreplicasinputs,categories=crossplane
// +kubebuilder:storageversion
type RenderReplicasInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// RunningReplicas of planner and worker when they are started from 0.
	//
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	RunningReplicas int32 `json:"runningReplicas,omitempty"`

	// ObjectProviderConfig names the ClusterProviderConfig of provider-kubernetes.
	//
	// +kubebuilder:default=in-cluster
	ObjectProviderConfig string `json:"objectProviderConfig,omitempty"`
}

// Default fills in what an absent field means.
func (in *RenderReplicasInput) Default() {
	in.RunningReplicas = 1
	in.ObjectProviderConfig = "in-cluster"
}

// Validate says what of the input can't be used, or nil.
func (in *RenderReplicasInput) Validate() error {
	if in.RunningReplicas < 1 || in.RunningReplicas > 100 {
		return fmt.Errorf("runningReplicas %d must be from 1 to 100", in.RunningReplicas)
	}
	if in.ObjectProviderConfig == "" {
		return fmt.Errorf("objectProviderConfig is empty: it names a ClusterProviderConfig of provider-kubernetes")
	}
	return nil
}
