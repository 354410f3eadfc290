package fetchspend

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
)

// What inputs of other people's metrics mean: each line of steady growth counts once, in
// its class, also beside others that grow alike. Every series has a tenth of a million
// tokens, and a million of each class costs a power of ten.
func TestMappings(t *testing.T) {
	const prices = `
version: 2
models:
  m: {input: "1", cachedInput: "0.1", cacheWrite: "10", toolUse: "100", output: "1000", thoughts: "10000", longContext: {above: 200000, input: "2"}, tiers: {provisioned_throughput: "0.5", flex: "0.4"}}
`
	own := func(classes map[string]string) input.TokenMetrics {
		return input.TokenMetrics{Tokens: "my_total", ClassLabel: "kind", Classes: classes}
	}
	const conventions, counters = "gen_ai_client_token_usage_sum", "gen_ai_client_inference_usage_"
	for name, tc := range map[string]struct {
		reason  string
		metrics input.TokenMetrics
		series  []string // labels beside the agent's, model and pod
		want    string   // USD
		named   string   // contained in what is named; "": nothing is
	}{
		"TwoValuesOfAClass": {
			reason:  "Who says that text and audio both are input says that both count, however alike they grow.",
			metrics: own(map[string]string{"text": "input", "audio": "input"}),
			series:  []string{"my_total kind=text", "my_total kind=audio", "my_total kind=output"},
			want:    "100.2",
		},
		"TwoWordsForAClass": {
			reason:  "Nobody said so of the conventions' own words: one process that exports both has one counter under two names.",
			metrics: own(nil),
			series:  []string{"my_total kind=input", "my_total kind=prompt"},
			want:    "0.1", named: "collected more than once, by way of kind",
		},
		"Unmapped": {
			reason:  "A word that means nothing counts nothing, and is named; the others count.",
			metrics: own(map[string]string{"in": "input"}),
			series:  []string{"my_total kind=in", "my_total kind=outputs", "my_total kind=output"},
			want:    "100.1", named: `kind="outputs": metrics.classes doesn't say`,
		},
		"OtherCase": {
			reason:  "A word is one in whatever case an exporter writes it, of one's own, too.",
			metrics: own(map[string]string{"Text": "input", "SUM": "none"}),
			series:  []string{"my_total kind=TEXT", "my_total kind=Output", "my_total kind=CacheWrite", "my_total kind=sum", "my_total kind=TOTAL"},
			want:    "101.1",
		},
		"CaseTellsApart": {
			reason:  "Unless somebody says that it makes a difference: then only what is said counts.",
			metrics: own(map[string]string{"in": "input", "IN": "output"}),
			series:  []string{"my_total kind=in", "my_total kind=IN", "my_total kind=In"},
			want:    "100.1", named: `kind="In": metrics.classes doesn't say`,
		},
		"OneClassOfTheConventions": {
			reason:  "Their metric always counts all classes: named for the input alone, its output is not charged as input.",
			metrics: input.TokenMetrics{Input: conventions},
			series:  []string{conventions + " gen_ai_token_type=input", conventions + " gen_ai_token_type=output"},
			want:    "100.1",
		},
		"WithoutTheLabel": {
			reason:  "As above, of a series that doesn't have it.",
			metrics: own(nil),
			series:  []string{"my_total", "my_total kind=output"},
			want:    "100", named: `kind="": metrics.classes doesn't say`,
		},
		"OwnWordForNone": {
			reason:  "A sum of others is none of them, in whatever case it is written.",
			metrics: own(map[string]string{"TOTAL": "none", "all": "none"}),
			series:  []string{"my_total kind=TOTAL", "my_total kind=all", "my_total kind=total", "my_total kind=output"},
			want:    "100",
		},
		"ByNamespace": {
			reason:  "An agent's namespace is agent-<name>: whoever names that label need not say so.",
			metrics: input.TokenMetrics{Tokens: "my_total", ClassLabel: "kind", AgentLabel: "namespace"},
			series:  []string{"my_total kind=input namespace=agent-bot"},
			want:    "0.1",
		},
		"PresetByNamespace": {
			reason:  "As above, where it is said again what a preset says.",
			metrics: input.TokenMetrics{Preset: "otel-genai", AgentLabel: "namespace"},
			series:  []string{conventions + " gen_ai_token_type=input namespace=agent-bot gen_ai_response_model=m"},
			want:    "0.1",
		},
		"OtherOperation": {
			reason:  "The conventions split what a process counts by operation, with a preset or without.",
			metrics: input.TokenMetrics{Input: conventions, Output: conventions},
			series:  []string{conventions + " gen_ai_token_type=input gen_ai_operation_name=chat", conventions + " gen_ai_token_type=input gen_ai_operation_name=embeddings"},
			want:    "0.2",
		},
		"OtherOperationWithDots": {
			reason:  "As above.",
			metrics: input.TokenMetrics{Tokens: "gen_ai.client.token.usage_sum", ClassLabel: "gen_ai.token.type"},
			series:  []string{"gen_ai.client.token.usage_sum gen_ai.token.type=input gen_ai.operation.name=chat", "gen_ai.client.token.usage_sum gen_ai.token.type=input gen_ai.operation.name=embeddings"},
			want:    "0.2",
		},
		"PresetWithDots": {
			reason:  "Whoever keeps the dots of the metric's name keeps those of its labels.",
			metrics: input.TokenMetrics{Preset: "otel-genai", Tokens: "gen_ai.client.token.usage_sum", AgentLabel: "agent_name"},
			series:  []string{"gen_ai.client.token.usage_sum gen_ai.token.type=input gen_ai.request.model=m model=", "gen_ai.client.token.usage_sum gen_ai.token.type=output gen_ai.response.model=m gen_ai.request.model=x model="},
			want:    "100.1",
		},
		"Contained": {
			reason:  "The conventions' input counts what is written to a cache, too, and their output what is thought, with a preset or without.",
			metrics: input.TokenMetrics{Input: conventions, Output: conventions},
			series: []string{
				conventions + " gen_ai_token_type=input", conventions + " gen_ai_token_type=input_cache_creation",
				conventions + " gen_ai_token_type=output", conventions + " gen_ai_token_type=output_reasoning",
			},
			want: "1001",
		},
		"ContainedByCounters": {
			reason:  "As above, of the counters that the conventions have since then.",
			metrics: input.TokenMetrics{Input: counters + "input_tokens_total", CacheWrite: counters + "cache_write_input_tokens_total", Output: counters + "output_tokens_total", Thoughts: counters + "reasoning_output_tokens_total"},
			series:  []string{counters + "input_tokens_total", counters + "cache_write_input_tokens_total", counters + "output_tokens_total", counters + "reasoning_output_tokens_total"},
			want:    "1001",
		},
		"CountersWithDots": {
			reason:  "Named as the conventions do, they are split by what the conventions split them by.",
			metrics: input.TokenMetrics{Input: "gen_ai.client.inference.usage.input_tokens", Output: "gen_ai.client.inference.usage.output_tokens"},
			series: []string{
				"gen_ai.client.inference.usage.input_tokens gen_ai.token.modality=text", "gen_ai.client.inference.usage.input_tokens gen_ai.token.modality=image",
				"gen_ai.client.inference.usage.output_tokens gen_ai.token.modality=text",
			},
			want: "100.2",
		},
		"Modalities": {
			reason:  "As above, with the preset.",
			metrics: input.TokenMetrics{Preset: "otel-genai-inference", AgentLabel: "agent_name", ModelLabel: "model"},
			series:  []string{counters + "input_tokens_total gen_ai_token_modality=text", counters + "input_tokens_total gen_ai_token_modality=image"},
			want:    "0.2",
		},
		"RulesOfARoute": {
			reason:  "agentgateway splits what a process counts by the rule of its route.",
			metrics: input.TokenMetrics{Preset: "agentgateway", AgentLabel: "agent_name", ModelLabel: "model"},
			series:  []string{"agentgateway_" + conventions + " gen_ai_token_type=input route=a route_rule=0", "agentgateway_" + conventions + " gen_ai_token_type=input route=a route_rule=1"},
			want:    "0.2",
		},
		"Contexts": {
			reason:  "Series that differ in the label of long prompts are of different requests, however many of its values cost the same.",
			metrics: input.TokenMetrics{Tokens: "my_total", ClassLabel: "kind", ContextLabel: "context"},
			series:  []string{"my_total kind=input context=standard", "my_total kind=input", "my_total kind=input context=long"},
			want:    "0.4",
		},
		"OddContext": {
			reason:  "A value that nobody knows costs the usual price, and is named: it may be the long one.",
			metrics: input.TokenMetrics{Tokens: "my_total", ClassLabel: "kind", ContextLabel: "context"},
			series:  []string{"my_total kind=input context=above_200k", "my_total kind=input context=Long"},
			want:    "0.3", named: `context="above_200k": `,
		},
		"Tiers": {
			reason:  "As for contexts; and a provider's longest word for a tier is one.",
			metrics: input.TokenMetrics{Tokens: "my_total", ClassLabel: "kind", TierLabel: "tier"},
			series:  []string{"my_total kind=input tier=PROVISIONED_THROUGHPUT", "my_total kind=input tier=ON_DEMAND_FLEX", "my_total kind=input tier=standard", "my_total kind=input"},
			want:    "0.29",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			in := &input.FetchSpendInput{Metrics: tc.metrics}
			settings, err := ReadSettings(in)
			if err != nil {
				t.Fatal(err)
			}
			s := &store{now: when(t, "10:30:20")}
			for _, text := range tc.series {
				words := strings.Fields(text)
				sr := series(t, "input pod=a "+strings.Join(words[1:], " "), "10:00:30=0 .. 10:20:00=100000")
				sr.labels["__name__"] = words[0]
				for i := range sr.samples {
					sr.samples[i].Value = float64(int64(sr.samples[i].Value))
				}
				s.series = append(s.series, sr)
			}
			o := Measure(t.Context(), s, Facts{
				Now: s.now, Settings: settings, Created: when(t, "10:00:00"), Prices: table(prices),
				Budget: v1alpha1.XAgentBudgetSpec{AgentName: "bot", BudgetUSD: 5000, Period: v1alpha1.PeriodLifetime},
			})
			if o.Problem != nil {
				t.Fatalf("%s: %s", o.Problem.Reason, o.Problem.Message)
			}
			if diff := cmp.Diff(tc.want, o.Spent.String()); diff != "" {
				t.Errorf("%s\nbill %+v\nnamed %q, unpriced %v, tiers %v", diff, o.Measurement.Bill, o.Measurement.Distrusted, o.Measurement.UnpricedModels, o.Measurement.UnpricedTiers)
			}
			if named := strings.Join(o.Measurement.Distrusted, "; "); (named == "") != (tc.named == "") || !strings.Contains(named, tc.named) {
				t.Errorf("named %q, want %q", named, tc.named)
			}
		})
	}
}
