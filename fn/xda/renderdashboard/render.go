package renderdashboard

import (
	"strconv"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

// An Agent is everything that its dashboard is rendered from.
type Agent struct {
	Name        string  // 3 to 24 of [a-z0-9-], letter first
	Description string  // one line of text; may be empty
	BaseDomain  string  // a DNS name
	BudgetUSD   float64 // US dollars in each period of the budget

	Input input.RenderDashboardInput // validated
}

// Render returns the agent's dashboard, in the Object that keeps it.
func Render(a Agent) manifest.Object {
	return manifest.Wrapped{
		Name:           v1alpha1.PartName(a.Name, v1alpha1.PartDashboard),
		Namespace:      a.Input.ObjectNamespace,
		ProviderConfig: a.Input.ObjectProviderConfig,
		Manifest:       configMap(a),
	}.Object()
}

// configMap is what Grafana's sidecar looks for: the label, by default with the value
// that kube-prometheus-stack wants, and a file. Every sidecar writes the files of all
// ConfigMaps into one folder, so the file's name holds the agent's.
func configMap(a Agent) manifest.Object {
	meta := manifest.Object{
		"name":      v1alpha1.PartName(a.Name, v1alpha1.PartDashboard),
		"namespace": a.Input.DashboardsNamespace,
		"labels":    sidecarLabels(a),
	}
	if a.Input.Folder != "" {
		meta["annotations"] = manifest.Object{a.Input.FolderAnnotation: a.Input.Folder}
	}
	return manifest.Object{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"metadata":   meta,
		"data":       manifest.Object{uid(a) + ".json": dashboard.with(values(a))},
	}
}

// sidecarLabels are the sidecar's, and whose the dashboard is.
func sidecarLabels(a Agent) manifest.Object {
	labels := manifest.Object{}
	for k, v := range a.Input.SidecarLabel {
		labels[k] = v
	}
	if a.Input.SidecarLabel == nil {
		labels["grafana_dashboard"] = "1"
	}
	labels[v1alpha1.LabelAgent] = a.Name
	return labels
}

// uid of the dashboard: at most 35 of the 40 characters that Grafana allows. A
// second dashboard with the same uid or title would make Grafana stop importing
// dashboards altogether, so both hold the agent's name, which is unique.
func uid(a Agent) string { return "whisperops-" + a.Name }

// values are what one agent's dashboard has of its own: properties of the
// dashboard, and variables that its queries use.
func values(a Agent) map[string]string {
	m, p := a.Input.Metrics, a.Input.Platform
	cachedInInput := "0"
	if *a.Input.InputContainsCached {
		cachedInInput = "1"
	}
	return map[string]string{
		propertyUID:         uid(a),
		propertyTitle:       "Agent " + a.Name,
		propertyDescription: a.Description,

		"datasource": a.Input.DatasourceUID,

		"agent":      a.Name,
		"namespace":  v1alpha1.AgentNamespace(a.Name),
		"host":       v1alpha1.AgentHost(a.Name, a.BaseDomain),
		"budget_usd": strconv.FormatFloat(a.BudgetUSD, 'f', -1, 64),

		"tokens_input":    m.Input,
		"tokens_output":   m.Output,
		"tokens_cached":   m.CachedInput,
		"cached_in_input": cachedInInput,
		"agent_label":     m.AgentLabel,
		"model_label":     m.ModelLabel,

		"spent":        p.Spent,
		"requests":     p.Requests,
		"host_label":   p.RequestHostLabel,
		"status_label": p.RequestStatusLabel,
		"memory":       p.ContainerMemory,
		"limit":        p.ContainerLimit,
		"restarts":     p.ContainerRestarts,
		"replicas":     p.DeploymentReplicas,
	}
}
