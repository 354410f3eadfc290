package v1alpha1

import (
	"encoding/json"
	"testing"
)

// What is usual without a preset can be said beside one: what nobody wrote is the preset's.
func TestSaidBesideAPreset(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		input  string // JSON
		agent  string // prefix and label
		model  string
	}{
		"Nothing":    {"All is the preset's.", `{"metrics":{"preset":"otel-genai"}}`, "agent-@namespace", "gen_ai_response_model"},
		"Usual":      {"Agents that report by themselves have that label, whatever their metrics are called.", `{"metrics":{"preset":"otel-genai","agentLabel":"agent_name","modelLabel":"model"}}`, "@agent_name", "model"},
		"Null":       {"As absent.", `{"metrics":{"preset":"otel-genai","agentLabel":null}}`, "agent-@namespace", "gen_ai_response_model"},
		"Namespace":  {"An agent's is called agent-<name>.", `{"metrics":{"preset":"envoy-ai-gateway","agentLabel":"k8s_namespace_name"}}`, "agent-@k8s_namespace_name", "gen_ai_response_model"},
		"Prefixed":   {"Whoever says the prefix is right.", `{"metrics":{"preset":"otel-genai","agentLabel":"namespace","agentPrefix":"team-"}}`, "team-@namespace", "gen_ai_response_model"},
		"OwnLabel":   {"It holds the name.", `{"metrics":{"preset":"otel-genai","agentLabel":"bot"}}`, "@bot", "gen_ai_response_model"},
		"NoPreset":   {"What is usual is filled in.", `{}`, "@agent_name", "model"},
		"NoNamePath": {"As Namespace, without a preset.", `{"metrics":{"agentLabel":"namespace"}}`, "agent-@namespace", "model"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			fetch, dashboard := &FetchSpendInput{}, &RenderDashboardInput{}
			for _, in := range []interface {
				Default()
				Said(fields map[string]any)
			}{fetch, dashboard} {
				in.Default()
				var fields map[string]any
				if err := json.Unmarshal([]byte(tc.input), &fields); err != nil {
					t.Fatal(err)
				}
				if err := json.Unmarshal([]byte(tc.input), in); err != nil {
					t.Fatal(err)
				}
				in.Said(fields)
			}
			for of, m := range map[string]TokenMetrics{"fetch-spend": fetch.Metrics, "render-dashboard": dashboard.Metrics} {
				got, err := m.Resolve(true)
				if err != nil {
					t.Fatal(err)
				}
				if agent := got.AgentPrefix + "@" + got.AgentLabel; agent != tc.agent || got.ModelLabels[0] != tc.model {
					t.Errorf("%s: agent %q, model %q, want %q, %q", of, agent, got.ModelLabels, tc.agent, tc.model)
				}
			}
		})
	}
}
