package renderdashboard

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

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

	Input   input.RenderDashboardInput // validated
	Metrics input.TokenMapping         // what its metrics mean
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
	p, m := a.Input.Platform, a.Metrics
	agent := label(m.AgentLabel) + "=" + strconv.Quote(m.AgentPrefix+a.Name)
	o := otherModels(m.ModelLabels, agent)
	cachedInInput := "0"
	if slices.Contains(m.InInput, v1alpha1.TokenCachedInput) {
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

		"tokens_input":    matchers(m, v1alpha1.TokenInput),
		"tokens_output":   matchers(m, v1alpha1.TokenOutput),
		"tokens_cached":   matchers(m, v1alpha1.TokenCachedInput),
		"cached_in_input": cachedInInput,
		"agent_is":        agent,
		"model_label":     m.ModelLabels[0],
		"model_by":        label(m.ModelLabels[0]),
		"model_there":     o.there,
		"other_is":        o.is,
		"other_open":      o.open,
		"other_close":     o.close,

		"spent":        p.Spent,
		"requests":     p.Requests,
		"host_by":      label(p.RequestHostLabel),
		"status_label": p.RequestStatusLabel,
		"status_by":    label(p.RequestStatusLabel),
		"memory":       p.ContainerMemory,
		"limit":        p.ContainerLimit,
		"restarts":     p.ContainerRestarts,
		"replicas":     p.DeploymentReplicas,
	}
}

// An other says how series without the first of several model labels are shown by the next
// that they have: they are counted by it.
type other struct {
	there, is   string // matchers: the first is there, or isn't
	open, close string // around an expression; what it has then is in the label other_model
}

func otherModels(labels []string, agent string) other {
	first, rest := label(labels[0]), labels[1:]
	o := other{there: first + `!=""`, is: first + `=""`}
	if len(rest) == 0 {
		// All are shown by the one label, whether they have it or not, and none besides.
		rest, o.there, o.is = labels, agent, first+`="",`+first+`!=""`
	}
	for _, l := range slices.Backward(rest) {
		o.open = "label_replace(" + o.open
		o.close += `, "other_model", "$1", ` + strconv.Quote(l) + `, "(.+)")`
	}
	return o
}

// shownWith are the classes that a panel shows together with another, unless the
// counter of that one contains them.
var shownWith = map[v1alpha1.TokenClass][]v1alpha1.TokenClass{
	v1alpha1.TokenInput:  {v1alpha1.TokenCacheWrite, v1alpha1.TokenToolUse},
	v1alpha1.TokenOutput: {v1alpha1.TokenThoughts},
}

// matchers select a class' series, of all agents. Where a label says the class, they
// select those that are shown with it, too; of metrics of their own they don't:
// series of two names that differ in nothing else can't be matched one to one.
func matchers(m input.TokenMapping, class v1alpha1.TokenClass) string {
	var names []string
	for _, n := range slices.Sorted(maps.Keys(m.Names)) {
		if slices.Contains(m.Older, n) {
			continue // for several names a regular expression is needed, which not every server takes
		}
		if m.Names[n] == class || m.ClassLabel != "" {
			names = append(names, n)
		}
	}
	is := matcher("__name__", names)
	if m.ClassLabel == "" {
		return is
	}
	shown := []v1alpha1.TokenClass{class}
	for _, c := range shownWith[class] {
		if !slices.Contains(m.InInput, c) && !slices.Contains(m.InOutput, c) {
			shown = append(shown, c)
		}
	}
	var values []string
	for _, v := range slices.Sorted(maps.Keys(m.Classes)) {
		if slices.Contains(shown, m.Classes[v]) {
			values = append(values, v)
		}
	}
	if m.AnyCase {
		return is + "," + label(m.ClassLabel) + "=~" + strconv.Quote("(?i:"+alternatives(values)+")")
	}
	return is + "," + matcher(m.ClassLabel, values)
}

// matcher selects the values of a label; without one it selects nothing that exists.
func matcher(name string, values []string) string {
	if len(values) < 2 {
		return label(name) + "=" + strconv.Quote(strings.Join(values, ""))
	}
	return label(name) + "=~" + strconv.Quote(alternatives(values))
}

func alternatives(values []string) string {
	quoted := make([]string, 0, len(values))
	for _, v := range values {
		quoted = append(quoted, regexp.QuoteMeta(v))
	}
	return strings.Join(quoted, "|")
}

// label writes a label's name. Only those that PromQL has always known stand without
// quotes, and older servers know no others.
func label(name string) string {
	if strings.Contains(name, ".") {
		return strconv.Quote(name)
	}
	return name
}
