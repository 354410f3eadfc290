package v1alpha1

import (
	"fmt"
	"strings"
)

// Default fills in what an absent field means.
func (in *RenderDashboardInput) Default() {
	contained := true
	in.DashboardsNamespace = "monitoring"
	in.Folder = "Whisperops agents"
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
	in.ObjectProviderConfig = "in-cluster"
	in.ObjectNamespace = "crossplane-system"
}

// Validate says what of the input can't be used, or nil.
func (in *RenderDashboardInput) Validate() error {
	if err := validateNamespace("dashboardsNamespace", in.DashboardsNamespace, "it names the namespace that Grafana's sidecar watches"); err != nil {
		return err
	}
	if err := validateNamespace("objectNamespace", in.ObjectNamespace, "it names a namespace that exists"); err != nil {
		return err
	}
	for _, f := range []struct{ field, value, is string }{
		{"datasourceUid", in.DatasourceUID, "it is the uid of Grafana's Prometheus data source"},
		{"objectProviderConfig", in.ObjectProviderConfig, "it names a ClusterProviderConfig of provider-kubernetes"},
	} {
		if f.value == "" {
			return fmt.Errorf("%s is empty: %s", f.field, f.is)
		}
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

// Default fills in what an absent field means.
func (m *TokenMetrics) Default() {
	*m = TokenMetrics{
		Input:       "whisperops_tokens_input_total",
		Output:      "whisperops_tokens_output_total",
		CachedInput: "whisperops_tokens_cached_input_total",
		AgentLabel:  "agent_name",
		ModelLabel:  "model",
	}
}

// Validate says which name can't be used, or nil.
func (m TokenMetrics) Validate() error {
	return validateNames(
		promName{"input", m.Input, metricName},
		promName{"output", m.Output, metricName},
		promName{"cachedInput", m.CachedInput, metricName},
		promName{"agentLabel", m.AgentLabel, labelName},
		promName{"modelLabel", m.ModelLabel, labelName},
	)
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

type promName struct {
	field, value string
	is           func(string) bool
}

func validateNames(names ...promName) error {
	for _, n := range names {
		if !n.is(n.value) {
			return fmt.Errorf("%s %q must be a name that Prometheus knows without quotes: letters, digits and underscores, not starting with a digit", n.field, n.value)
		}
	}
	return nil
}

// metricName says whether a query can hold s as a metric's name as it is.
// Prometheus 3 allows any characters in quotes; what is written into a query here
// is written without.
func metricName(s string) bool { return labelName(strings.ReplaceAll(s, ":", "_")) }

// labelName is metricName for labels, which have no colons.
func labelName(s string) bool {
	for i, c := range s {
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
