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

	// Older are names that earlier versions had for Metrics.Tokens. No process has both.
	Older []string

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
			PartLabels:  conventionalParts,
			Source:      "OpenTelemetry semantic conventions for generative AI until August 2026, gen_ai.client.token.usage (a histogram of {token})",
		},
		"otel-genai-inference": {
			Metrics: TokenMetrics{
				Input: "gen_ai_client_inference_usage_input_tokens_total", Output: "gen_ai_client_inference_usage_output_tokens_total",
				CachedInput: "gen_ai_client_inference_usage_cache_read_input_tokens_total", CacheWrite: "gen_ai_client_inference_usage_cache_write_input_tokens_total",
				Thoughts: "gen_ai_client_inference_usage_reasoning_output_tokens_total", AgentLabel: "namespace", AgentPrefix: "agent-",
				InputContains: []string{"cachedInput", "cacheWrite"}, OutputContainsThoughts: &yes,
			},
			ModelLabels: []string{"gen_ai_response_model", "gen_ai_request_model"},
			PartLabels:  conventionalParts,
			Source:      "OpenTelemetry semantic conventions for generative AI since September 2026, gen_ai.client.inference.usage.* (counters)",
		},
		"agentgateway": {
			Metrics: TokenMetrics{
				Tokens: "agentgateway_gen_ai_client_token_usage_sum", ClassLabel: "gen_ai_token_type", AgentLabel: "namespace", AgentPrefix: "agent-",
				InputContains: []string{"cachedInput", "cacheWrite"}, OutputContainsThoughts: &yes,
			},
			ModelLabels: []string{"gen_ai_response_model", "gen_ai_request_model"},
			PartLabels:  []string{"gen_ai_operation_name", "gen_ai_request_model", "gen_ai_response_model", "gen_ai_system", "route", "route_rule", "backend", "listener", "gateway", "bind"},
			// Until v1.4.1 the input of Claude contains no cache: docs/metrics.md.
			Source: "agentgateway v1.4.1 and its main branch of 2026-08-21, metrics on port 15020",
		},
		"envoy-ai-gateway": {
			Metrics: TokenMetrics{ //nolint:gosec // tokens of a model
				Tokens: "gen_ai_client_token_usage_sum", ClassLabel: "gen_ai_token_type", AgentLabel: "agent_name",
				InputContains: []string{"cachedInput", "cacheWrite"}, OutputContainsThoughts: &yes,
			},
			ModelLabels: []string{"gen_ai_response_model", "gen_ai_request_model"},
			PartLabels:  []string{"gen_ai_operation_name", "gen_ai_request_model", "gen_ai_response_model", "gen_ai_original_model", "gen_ai_provider_name", "error_type"},
			// Until v0.4 its exporter put the unit, "token", behind a name that has it already.
			Older:  []string{"gen_ai_client_token_usage_token_sum"},
			Source: "Envoy AI Gateway v1.1.0, metricsRequestHeaderAttributes must map a header to agent_name",
		},
		"litellm": {
			Metrics: TokenMetrics{
				Input: "litellm_input_tokens_metric_total", Output: "litellm_output_tokens_metric_total",
				CachedInput: "litellm_input_cached_tokens_metric_total", CacheWrite: "litellm_input_cache_creation_tokens_metric_total",
				Thoughts: "litellm_output_reasoning_tokens_metric_total", AgentLabel: "api_key_alias",
				InputContains: []string{"cachedInput", "cacheWrite"}, OutputContainsThoughts: &yes,
			},
			ModelLabels: []string{"model", "requested_model"},
			PartLabels:  []string{"end_user", "hashed_api_key", "team", "team_alias", "user", "model_id", "api_base", "api_provider", "requested_model", "route", "status_code", "org_id", "org_alias", "user_email", "client_ip", "user_agent", "model_group", "stream"},
			Source:      "LiteLLM 1.92.0, callback prometheus; the alias of an agent's key must be its name",
		},
	}
}

// The conventions' one metric of old, the label that tells its classes apart, and the counters
// that each have one class since then.
const (
	usualMetric      = "gen_ai_client_token_usage"
	dottedMetric     = "gen_ai.client.token.usage"
	usualClassLabel  = "gen_ai_token_type"
	dottedClassLabel = "gen_ai.token.type"
	usualCounters    = "gen_ai_client_inference_"
	dottedCounters   = "gen_ai.client.inference."
)

// conventionalParts are the attributes of the conventions' metrics beside the class.
var conventionalParts = []string{
	"gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_system", "gen_ai_request_model", "gen_ai_response_model", "gen_ai_token_modality",
	"server_address", "server_port", "error_type",
}

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
	dotted := strings.Contains(named, dottedMetric) || strings.Contains(named, dottedCounters)
	if m.Preset == "" && (dotted || strings.Contains(named, usualMetric) || strings.Contains(named, usualCounters)) {
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
