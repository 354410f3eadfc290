package v1alpha1

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"whisperops.io/functions/apis/v1alpha1"
)

// RenderDashboardInput configures the step "render-dashboard".
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=renderdashboardinputs,categories=crossplane
// +kubebuilder:storageversion
type RenderDashboardInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// DashboardsNamespace is the namespace that Grafana's sidecar watches. It must
	// exist. A dashboard that is there stays where it is; one whose Object is deleted
	// by hand is made anew where this says.
	//
	// +kubebuilder:default=monitoring
	DashboardsNamespace string `json:"dashboardsNamespace,omitempty"`

	// SidecarLabel is the label by which Grafana's sidecar finds dashboards, its
	// setting label and labelValue. Unset: grafana_dashboard: "1".
	//
	// +optional
	SidecarLabel map[string]string `json:"sidecarLabel,omitempty"`

	// Folder of the dashboards in Grafana, written to the annotation that
	// folderAnnotation names. Empty: Grafana's own folder.
	//
	// +kubebuilder:default="Whisperops agents"
	Folder string `json:"folder,omitempty"`

	// FolderAnnotation is the sidecar's setting folderAnnotation.
	//
	// +kubebuilder:default=grafana_folder
	FolderAnnotation string `json:"folderAnnotation,omitempty"`

	// DatasourceUID is the uid of Grafana's Prometheus data source.
	//
	// +kubebuilder:default=prometheus
	DatasourceUID string `json:"datasourceUid,omitempty"`

	// Metrics names the token series; as in fetch-spend's input.
	//
	// +kubebuilder:default={}
	Metrics TokenMetrics `json:"metrics,omitempty"`

	// InputContainsCached says whether the input counter already contains the
	// cached input tokens; as in fetch-spend's input.
	//
	// +kubebuilder:default=true
	InputContainsCached *bool `json:"inputContainsCached,omitempty"`

	// Platform names the series that the platform measures: requests, memory,
	// replicas, and the budget's own figure.
	//
	// +kubebuilder:default={}
	Platform PlatformMetrics `json:"platform,omitempty"`

	// ObjectProviderConfig names the ClusterProviderConfig of provider-kubernetes.
	//
	// +kubebuilder:default=in-cluster
	ObjectProviderConfig string `json:"objectProviderConfig,omitempty"`

	// ObjectNamespace is the namespace of the Object. It must exist.
	//
	// +kubebuilder:default=crossplane-system
	ObjectNamespace string `json:"objectNamespace,omitempty"`
}

// Said is told which fields somebody wrote.
func (in *RenderDashboardInput) Said(fields map[string]any) { in.Metrics.Said(fields["metrics"]) }

// Default fills in what an absent field means.
func (in *RenderDashboardInput) Default() {
	contained := true
	in.DashboardsNamespace = "monitoring"
	in.Folder = "Whisperops agents"
	in.FolderAnnotation = "grafana_folder"
	in.DatasourceUID = "prometheus"
	in.Metrics.Default()
	in.InputContainsCached = &contained
	in.Platform = PlatformMetrics{
		Spent:              "kube_customresource_xagentbudget_spent_usd",
		Requests:           "nginx_ingress_controller_requests",
		RequestHostLabel:   "host",
		RequestStatusLabel: "status",
		ContainerMemory:    "container_memory_working_set_bytes",
		ContainerLimit:     "kube_pod_container_resource_limits",
		ContainerRestarts:  "kube_pod_container_status_restarts_total",
		DeploymentReplicas: "kube_deployment_status_replicas_available",
	}
	in.ObjectProviderConfig = v1alpha1.DefaultProviderConfig
	in.ObjectNamespace = v1alpha1.ControlPlaneNamespace
}

// Validate says what of the input can't be used, or nil.
func (in *RenderDashboardInput) Validate() error {
	if err := ValidateNamespace("dashboardsNamespace", in.DashboardsNamespace, "it names the namespace that Grafana's sidecar watches"); err != nil {
		return err
	}
	if err := ValidateNamespace("objectNamespace", in.ObjectNamespace, "it names a namespace that exists"); err != nil {
		return err
	}
	if in.SidecarLabel != nil && len(in.SidecarLabel) == 0 {
		return fmt.Errorf("sidecarLabel is empty: without a label no sidecar finds a dashboard; leave it out for grafana_dashboard: \"1\"")
	}
	if errs := metavalidation.ValidateLabels(in.SidecarLabel, field.NewPath("sidecarLabel")); len(errs) > 0 {
		return errs.ToAggregate()
	}
	for _, l := range slices.Sorted(maps.Keys(in.SidecarLabel)) {
		if strings.HasPrefix(l, "whisperops.io/") {
			return fmt.Errorf("sidecarLabel must not be %s: that says whose the dashboard is", l)
		}
	}
	if in.Folder != "" {
		if errs := apivalidation.ValidateAnnotations(map[string]string{in.FolderAnnotation: in.Folder}, field.NewPath("folderAnnotation")); len(errs) > 0 {
			return errs.ToAggregate()
		}
	}
	if in.DatasourceUID == "" {
		return fmt.Errorf("datasourceUid is empty: it is the uid of Grafana's Prometheus data source")
	}
	if err := ValidateObjectName("objectProviderConfig", in.ObjectProviderConfig, "it names a ClusterProviderConfig of provider-kubernetes"); err != nil {
		return err
	}
	if in.InputContainsCached == nil {
		return fmt.Errorf("inputContainsCached must be true or false")
	}
	if err := in.Metrics.Validate(); err != nil {
		return fmt.Errorf("metrics.%w", err)
	}
	if err := in.Platform.Validate(); err != nil {
		return fmt.Errorf("platform.%w", err)
	}
	return nil
}

// PlatformMetrics names what the platform measures. The defaults are those of
// ingress-nginx, cAdvisor and kube-state-metrics. A panel whose series nobody
// exports is empty; the others work.
type PlatformMetrics struct {
	// Spent is a gauge of an XAgentBudget's status.spentUsd, with the agent's name in the
	// label agent_name, or labelled like the token counters. kube-state-metrics exports it if its
	// custom resource state says so (docs/design/0007-spend-on-the-dashboard.md). Where
	// nothing exports it, the dashboard shows an estimate from the token counters.
	//
	// +kubebuilder:default=kube_customresource_xagentbudget_spent_usd
	Spent string `json:"spent,omitempty"`

	// Requests counts the requests that the ingress controller served.
	//
	// +kubebuilder:default=nginx_ingress_controller_requests
	Requests string `json:"requests,omitempty"`

	// RequestHostLabel of Requests holds the host name that was asked for.
	//
	// +kubebuilder:default=host
	RequestHostLabel string `json:"requestHostLabel,omitempty"`

	// RequestStatusLabel of Requests holds the HTTP status of the answer.
	//
	// +kubebuilder:default=status
	RequestStatusLabel string `json:"requestStatusLabel,omitempty"`

	// ContainerMemory is a gauge of the bytes that a container uses, with the
	// labels namespace, pod and container.
	//
	// +kubebuilder:default=container_memory_working_set_bytes
	ContainerMemory string `json:"containerMemory,omitempty"`

	// ContainerLimit is a gauge of the limits of a container, with the labels
	// namespace, container and resource.
	//
	// +kubebuilder:default=kube_pod_container_resource_limits
	ContainerLimit string `json:"containerLimit,omitempty"`

	// ContainerRestarts counts the restarts of a container, with the labels
	// namespace, pod and container.
	//
	// +kubebuilder:default=kube_pod_container_status_restarts_total
	ContainerRestarts string `json:"containerRestarts,omitempty"`

	// DeploymentReplicas is a gauge of a Deployment's available replicas, with the
	// labels namespace and deployment.
	//
	// +kubebuilder:default=kube_deployment_status_replicas_available
	DeploymentReplicas string `json:"deploymentReplicas,omitempty"`
}

// Validate says which name can't be used, or nil.
func (m PlatformMetrics) Validate() error {
	return validateNames(
		promName{"spent", m.Spent, metricName},
		promName{"requests", m.Requests, metricName},
		promName{"requestHostLabel", m.RequestHostLabel, labelName},
		promName{"requestStatusLabel", m.RequestStatusLabel, labelName},
		promName{"containerMemory", m.ContainerMemory, metricName},
		promName{"containerLimit", m.ContainerLimit, metricName},
		promName{"containerRestarts", m.ContainerRestarts, metricName},
		promName{"deploymentReplicas", m.DeploymentReplicas, metricName},
	)
}
