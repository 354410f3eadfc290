package pipeline

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/types/known/structpb"

	"whisperops.io/functions/test/crossplane"
)

// TestStationsDemandOnlyWhatTheyUse proves what package/functions/README.md tells
// authors of other kinds: a station takes a kind that has the fields it reads and no
// other, and names the one that is missing.
func TestStationsDemandOnlyWhatTheyUse(t *testing.T) {
	all := map[string]any{
		"agentName": "sommelier", "projectId": "acme-data", "baseDomain": "acme.example.org", "budgetUsd": 5.0,
		"datasetRef": map[string]any{"name": "wines"},
	}
	dataset := map[string]any{"name": "wines", "gcsPath": "gs://acme-data-datasets/wines.csv", "sizeBytes": 4096.0, "displayName": "Wines"}
	cases := map[string]struct {
		reason string
		needs  []string
		input  map[string]any
	}{
		"function-xda-validate-dataset": {reason: "It looks for a dataset.", needs: []string{"datasetRef"}},
		"function-xda-compute-tuning":   {reason: "It judges a dataset by its size; whose it is doesn't matter.", needs: nil},
		"function-xda-render-iam":       {reason: "A bucket is named after project and agent.", needs: []string{"agentName", "projectId"}},
		"function-xda-render-workloads": {reason: "The chat page has a domain, the model a project.", needs: []string{"agentName", "projectId", "baseDomain"}, input: map[string]any{
			"apiVersion": "fn.whisperops.io/v1alpha1", "kind": "RenderWorkloadsInput", "images": map[string]any{"sandbox": "example.org/s:1", "chatFrontend": "example.org/c:1"},
		}},
		"function-xda-render-dashboard": {reason: "It shows spend beside the budget, and links to the page.", needs: []string{"agentName", "baseDomain"}},
		"function-xda-emit-budget":      {reason: "It orders a budget, and says where the page is.", needs: []string{"agentName", "baseDomain"}},
		"function-budget-decide":        {reason: "It judges an agent's money.", needs: []string{"agentName"}},
	}
	run := func(name string, spec map[string]any, input map[string]any) string {
		observed, err := crossplane.Observed(map[string]any{
			"apiVersion": "acme.example.org/v1", "kind": "XAssistant", "metadata": map[string]any{"name": "the-sommelier", "creationTimestamp": "2026-11-23T08:00:00Z"}, "spec": spec,
		}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		start, err := structpb.NewStruct(map[string]any{"dataset": dataset})
		if err != nil {
			t.Fatal(err)
		}
		res, err := crossplane.Run(t.Context(), []crossplane.Step{{Name: name, Function: All()[name], Input: input}}, observed, nil, start)
		if err != nil {
			t.Fatal(err)
		}
		return res.Fatal
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			least := map[string]any{"motto": "In vino veritas"}
			for _, f := range tc.needs {
				least[f] = all[f]
			}
			if fatal := run(name, least, tc.input); fatal != "" {
				t.Errorf("%s\nwant %v to be enough, got %s", tc.reason, tc.needs, fatal)
			}
			for _, f := range tc.needs {
				without := maps.Clone(least)
				delete(without, f)
				fatal := run(name, without, tc.input)
				if !strings.Contains(fatal, "spec."+f) {
					t.Errorf("%s\nwant %s to be missed, got %q", tc.reason, f, fatal)
				}
				for _, other := range slices.Sorted(maps.Keys(all)) {
					if other != f && strings.Contains(fatal, "spec."+other) {
						t.Errorf("%s\nmissing %s is told as %s: %s", tc.reason, f, other, fatal)
					}
				}
			}
		})
	}
}
