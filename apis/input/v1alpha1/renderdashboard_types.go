package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RenderDashboardInput configures the step "render-dashboard".
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=renderdashboardinputs,categories=crossplane
// +kubebuilder:storageversion
type RenderDashboardInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// DashboardsNamespace is the namespace that Grafana's sidecar watches. It must
	// exist.
	//
	// +kubebuilder:default=monitoring
	DashboardsNamespace string `json:"dashboardsNamespace,omitempty"`

	// Folder of the dashboards in Grafana, written to the annotation
	// grafana_folder. It works when the sidecar's folderAnnotation names it.
	//
	// +kubebuilder:default="Whisperops agents"
	Folder string `json:"folder,omitempty"`

	// DatasourceUID is the uid of Grafana's Prometheus data source.
	//
	// +kubebuilder:default=prometheus
	DatasourceUID string `json:"datasourceUid,omitempty"`

	// Metrics names the token series; as in fetch-spend's input.
	//
	// +kubebuilder:default={}
	Metrics TokenMetrics `json:"metrics,omitempty"`

	// ObjectProviderConfig names the ClusterProviderConfig of provider-kubernetes.
	//
	// +kubebuilder:default=in-cluster
	ObjectProviderConfig string `json:"objectProviderConfig,omitempty"`

	// ObjectNamespace is the namespace of the Object. It must exist.
	//
	// +kubebuilder:default=crossplane-system
	ObjectNamespace string `json:"objectNamespace,omitempty"`
}

// TokenMetrics names the token counters and their labels.
type TokenMetrics struct {
	// Input counts input tokens.
	//
	// +kubebuilder:default=whisperops_tokens_input_total
	Input string `json:"input,omitempty"`

	// Output counts output tokens, thinking included.
	//
	// +kubebuilder:default=whisperops_tokens_output_total
	Output string `json:"output,omitempty"`

	// CachedInput counts input tokens served from a cache.
	//
	// +kubebuilder:default=whisperops_tokens_cached_input_total
	CachedInput string `json:"cachedInput,omitempty"`

	// AgentLabel holds the agent's name.
	//
	// +kubebuilder:default=agent_name
	AgentLabel string `json:"agentLabel,omitempty"`

	// ModelLabel holds the model's name.
	//
	// +kubebuilder:default=model
	ModelLabel string `json:"modelLabel,omitempty"`
}
