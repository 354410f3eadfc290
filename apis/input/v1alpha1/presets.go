package v1alpha1

import (
	"cmp"
	"strings"
)

// A Preset is what one exporter calls its counters, and what they contain.
type Preset struct {
	Metrics     TokenMetrics
	ModelLabels []string // the first that a series has
	PartLabels  []string // that split what one process counts
	Source      string   // where its names were read, and in which version

	// Canary is a metric with the agent's label that is there as long as somebody counts
	// what the agent uses. Empty: there is none.
	Canary string
}

// Presets by name.
func Presets() map[string]Preset {
	yes, no := true, false
	return map[string]Preset{
		"token-meter": {
			Metrics: TokenMetrics{
				Tokens: "whisperops_tokens_total", ClassLabel: "class", AgentLabel: "agent_name", ModelLabel: "model",
				ContextLabel: "context", TierLabel: "tier", InputContains: []string{}, OutputContainsThoughts: &no,
				Namespaces: []string{"whisperops-system"},
			},
			PartLabels: []string{"outcome"},
			Canary:     "whisperops_meter_heartbeat_timestamp_seconds",
			Source:     "this project, docs/token-meter.md",
		},
		"otel-genai": {
			Metrics: TokenMetrics{ //nolint:gosec // tokens of a model
				Tokens: "gen_ai_client_token_usage_sum", ClassLabel: "gen_ai_token_type", AgentLabel: "namespace", AgentPrefix: "agent-",
				InputContains: []string{"cachedInput", "cacheWrite"}, OutputContainsThoughts: &yes,
			},
			ModelLabels: []string{"gen_ai_response_model", "gen_ai_request_model"},
			PartLabels:  []string{"gen_ai_operation_name", "gen_ai_request_model", "gen_ai_response_model", "server_address", "error_type"},
			Source:      "OpenTelemetry semantic conventions for generative AI, gen_ai.client.token.usage (a histogram of {token})",
		},
		"agentgateway": {
			Metrics: TokenMetrics{
				Tokens: "agentgateway_gen_ai_client_token_usage_sum", ClassLabel: "gen_ai_token_type", AgentLabel: "namespace", AgentPrefix: "agent-",
				InputContains: []string{"cachedInput", "cacheWrite"}, OutputContainsThoughts: &yes,
			},
			ModelLabels: []string{"gen_ai_response_model", "gen_ai_request_model"},
			PartLabels:  []string{"gen_ai_operation_name", "gen_ai_request_model", "gen_ai_response_model", "gen_ai_system", "route", "backend", "listener", "gateway", "bind"},
			Source:      "agentgateway v1.4.1, metrics on port 15020",
		},
		"envoy-ai-gateway": {
			Metrics: TokenMetrics{ //nolint:gosec // tokens of a model
				Tokens: "gen_ai_client_token_usage_token_sum", ClassLabel: "gen_ai_token_type", AgentLabel: "agent_name",
				InputContains: []string{"cachedInput", "cacheWrite"}, OutputContainsThoughts: &yes,
			},
			ModelLabels: []string{"gen_ai_response_model", "gen_ai_request_model"},
			PartLabels:  []string{"gen_ai_operation_name", "gen_ai_request_model", "gen_ai_response_model", "gen_ai_original_model", "gen_ai_provider_name", "error_type"},
			Source:      "Envoy AI Gateway v1.1.0, metricsRequestHeaderAttributes must map a header to agent_name",
		},
		"litellm": {
			Metrics: TokenMetrics{
				Input: "litellm_input_tokens_metric_total", Output: "litellm_output_tokens_metric_total",
				CachedInput: "litellm_input_cached_tokens_metric_total", CacheWrite: "litellm_input_cache_creation_tokens_metric_total",
				Thoughts: "litellm_output_reasoning_tokens_metric_total", AgentLabel: "api_key_alias",
				InputContains: []string{"cachedInput", "cacheWrite"}, OutputContainsThoughts: &yes,
			},
			ModelLabels: []string{"model", "requested_model"},
			PartLabels:  []string{"end_user", "hashed_api_key", "team", "team_alias", "user", "model_id", "api_base", "api_provider", "requested_model", "route", "status_code"},
			Source:      "LiteLLM 1.92.0, callback prometheus; the alias of an agent's key must be its name",
		},
	}
}

// The conventions' one metric, and the label that tells its classes apart.
const (
	usualMetric      = "gen_ai_client_token_usage"
	dottedMetric     = "gen_ai.client.token.usage"
	usualClassLabel  = "gen_ai_token_type"
	dottedClassLabel = "gen_ai.token.type"
)

// dotted is a preset whose labels have the dots that they have in the conventions: who keeps
// those of the metric keeps the labels', too. Beside them stands what Prometheus made of them.
func (p Preset) dotted() Preset {
	with := func(labels []string) []string {
		var out []string
		for _, l := range labels {
			rest, ours := strings.CutPrefix(l, "gen_ai_")
			l = strings.ReplaceAll(rest, "_", ".")
			if ours {
				l = "gen_ai." + l
			}
			out = append(out, l)
		}
		return append(out, labels...)
	}
	p.ModelLabels, p.PartLabels = with(p.ModelLabels), with(p.PartLabels)
	return p
}

// conventional is m and its preset where one of its metrics is that of the conventions: what
// they say of it counts, whoever names it. Labelled: somebody named the class label.
func (m TokenMetrics) conventional(preset Preset, labelled, inputContainsCached bool) (TokenMetrics, Preset) {
	named := strings.Join([]string{m.Tokens, m.Input, m.Output, m.CachedInput, m.CacheWrite, m.Thoughts, m.ToolUse}, " ")
	dotted := strings.Contains(named, dottedMetric)
	if m.Preset == "" && (dotted || strings.Contains(named, usualMetric)) {
		of := Presets()["otel-genai"]
		preset.PartLabels = of.PartLabels
		m.OutputContainsThoughts = cmp.Or(m.OutputContainsThoughts, of.Metrics.OutputContainsThoughts)
		if m.InputContains == nil && inputContainsCached {
			m.InputContains = of.Metrics.InputContains
		}
	}
	if !dotted {
		return m, preset
	}
	if m.ClassLabel == usualClassLabel && !labelled {
		m.ClassLabel = dottedClassLabel
	}
	return m, preset.dotted()
}
