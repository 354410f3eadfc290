package v1alpha1

import (
	"strings"
	"testing"
)

func TestRenderDashboardInputValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		change func(*RenderDashboardInput)
		want   string
	}{
		"Defaults":      {"Everything has a default that works.", func(*RenderDashboardInput) {}, ""},
		"NoFolder":      {"Dashboards may lie in Grafana's own folder.", func(in *RenderDashboardInput) { in.Folder = "" }, ""},
		"NoNamespace":   {"The sidecar watches a namespace.", func(in *RenderDashboardInput) { in.DashboardsNamespace = "" }, "dashboardsNamespace is empty"},
		"Namespace":     {"Crossplane would stop the whole order for it.", func(in *RenderDashboardInput) { in.DashboardsNamespace = "monitoring/grafana" }, `dashboardsNamespace "monitoring/grafana" can't be`},
		"NoDatasource":  {"Every panel asks a data source.", func(in *RenderDashboardInput) { in.DatasourceUID = "" }, "datasourceUid is empty"},
		"Cached":        {"null is no answer.", func(in *RenderDashboardInput) { in.InputContainsCached = nil }, "inputContainsCached must be"},
		"RecordingRule": {"Recording rules have colons in their names.", func(in *RenderDashboardInput) { in.Metrics.Input = "agent:tokens:sum" }, ""},
		"Query":         {"A name is written into queries as it is.", func(in *RenderDashboardInput) { in.Metrics.Output = `x{a="b"}` }, "metrics.output"},
		"NoName":        {"A query needs a metric.", func(in *RenderDashboardInput) { in.Metrics.CachedInput = "" }, "metrics.cachedInput"},
		"LabelColon":    {"Labels have no colons.", func(in *RenderDashboardInput) { in.Metrics.AgentLabel = "agent:name" }, "metrics.agentLabel"},
		"LabelDigit":    {"A digit comes not first.", func(in *RenderDashboardInput) { in.Platform.RequestHostLabel = "1host" }, "platform.requestHostLabel"},
		"Umlaut":        {"Other letters need quotes.", func(in *RenderDashboardInput) { in.Platform.Requests = "zähler" }, "platform.requests"},
	} {
		t.Run(name, func(t *testing.T) {
			in := &RenderDashboardInput{}
			in.Default()
			tc.change(in)
			if err := in.Validate(); !says(err, tc.want) {
				t.Errorf("%s\nValidate() = %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// says whether err holds want; an empty want wants no error.
func says(err error, want string) bool {
	if err == nil || want == "" {
		return err == nil && want == ""
	}
	return strings.Contains(err.Error(), want)
}
