package examples

import (
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"whisperops.io/functions/test/pipeline"
)

// What the API server would refuse of a status, field by field: the real XRDs.
func TestRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, kind, status string
		want                 string // part of what is said; empty: the status is fine
	}{
		"Nothing":       {"An order that isn't looked at yet.", "XDatasetAgent", `{}`, ""},
		"Crossplanes":   {"Crossplane's own fields stand in no XRD of ours.", "XDatasetAgent", `{conditions: [{type: Ready}], crossplane: {x: 1}}`, ""},
		"Platforms":     {"Free in form, on both kinds.", "XDatasetAgent", `{platform: {owner: data-team, tickets: [1, {a: b}]}}`, ""},
		"PlatformsToo":  {"Free in form, on both kinds.", "XAgentBudget", `{platform: {owner: data-team}}`, ""},
		"PlatformText":  {"It is an object all the same.", "XDatasetAgent", `{platform: data-team}`, "status.platform: data-team is no object"},
		"Undeclared":    {"The whole status is refused for it.", "XDatasetAgent", `{owner: data-team}`, "status.owner: field not declared in schema"},
		"UndeclaredToo": {"On the budget as well.", "XAgentBudget", `{owner: data-team}`, "status.owner: field not declared in schema"},
		"Below":         {"However deep.", "XDatasetAgent", `{budget: {team: a}}`, "status.budget.team: field not declared in schema"},
		"InList":        {"And in lists.", "XAgentBudget", `{ledger: {totals: [{model: m, class: input, tokens: "1", who: me}]}}`, "status.ledger.totals[0].who: field not declared"},
		"Type":          {"A number where a text belongs.", "XDatasetAgent", `{url: 5}`, "status.url: 5 is no string"},
		"WholeNumber":   {"Half a MiB.", "XDatasetAgent", `{sandboxMemMi: 0.5}`, "status.sandboxMemMi: 0.5 is no integer"},
		"Enum":          {"A phase of one's own.", "XDatasetAgent", `{phase: Sleeping}`, "status.phase: Sleeping is none of"},
	} {
		t.Run(name, func(t *testing.T) {
			status := map[string]any{}
			if err := yaml.Unmarshal([]byte(tc.status), &status); err != nil {
				t.Fatal(err)
			}
			s := &Story{Dir: filepath.Join(pipeline.Root(), "examples"), XR: map[string]any{"apiVersion": "whisperops.io/v1alpha1", "kind": tc.kind}}
			got, err := s.Refused(pipeline.Root(), &Rendering{XR: map[string]any{"status": status}})
			if err != nil {
				t.Fatal(err)
			}
			if said := strings.Join(got, "\n"); (tc.want == "") != (said == "") || !strings.Contains(said, tc.want) {
				t.Errorf("%s\ngot %q, want %q", tc.reason, said, tc.want)
			}
		})
	}
}
