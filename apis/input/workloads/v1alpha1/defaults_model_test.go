package v1alpha1

import (
	"testing"
	"time"
)

// shutdowns is until when Vertex AI promises to serve a model, as its page of model
// versions said on 2026-11-27 (cloud.google.com/vertex-ai, "Model versions and
// lifecycle"). A default must be in it.
var shutdowns = map[string]string{
	"gemini-2.5-flash": "2027-03-31",
	"gemini-2.5-pro":   "2027-03-31",
	"gemini-3.5-flash": "2027-05-19",
}

// A default that is switched off fails every new agent with a 404. This test goes red
// a month before, when projects that are new are shut out already.
func TestDefaultModelLives(t *testing.T) {
	if m, left := DefaultModel, timeLeft(t, DefaultModel, time.Now()); left <= 0 {
		t.Errorf("the default model %s can't be had by new projects any more: choose one that is generally available, with the price table and the docs", m)
	}
	// The rule itself: what is left counts to the month before the shutdown.
	for at, want := range map[string]bool{"2027-02-27T00:00:00Z": true, "2027-03-02T00:00:00Z": false} {
		now, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := timeLeft(t, "gemini-2.5-pro", now) > 0; got != want {
			t.Errorf("gemini-2.5-pro at %s: usable %v, want %v", at, got, want)
		}
	}
}

func timeLeft(t *testing.T, model string, now time.Time) time.Duration {
	t.Helper()
	day, ok := shutdowns[model]
	if !ok {
		t.Fatalf("nobody knows until when %s is served: look it up, and add it", model)
	}
	end, err := time.Parse(time.DateOnly, day)
	if err != nil {
		t.Fatal(err)
	}
	return end.AddDate(0, 0, -30).Sub(now)
}

func TestModelValidate(t *testing.T) {
	key := &SecretKey{Name: "model-key", Key: "key"}
	meter := Meter{Enabled: true, URL: "http://token-meter.whisperops-system.svc:8080"}
	for name, tc := range map[string]struct {
		reason string
		model  Model
		want   string // part of the error; empty: the model is fine
	}{
		"Vertex":            {"Workload Identity needs no Secret.", Model{Provider: ProviderGeminiVertexAI, Name: "gemini-3.8-flash", Location: "global"}, ""},
		"VertexTuned":       {"A tuned model is an endpoint's number.", Model{Provider: ProviderGeminiVertexAI, Name: "projects/p/locations/us-central1/endpoints/123456", Location: "us-central1"}, ""},
		"VertexPublisher":   {"Vertex AI's own long form.", Model{Provider: ProviderGeminiVertexAI, Name: "publishers/google/models/gemini-3.5-flash", Location: "global"}, ""},
		"VertexNowhere":     {"A client without a location calls nobody.", Model{Provider: ProviderGeminiVertexAI, Name: "gemini-3.5-flash"}, "model.location is empty"},
		"ClaudeOnVertex":    {"Rendered as Gemini, each question would fail.", Model{Provider: ProviderGeminiVertexAI, Name: "claude-sonnet-4-5@20250929", Location: "global"}, `model.name "claude-sonnet-4-5@20250929" is no model of model.provider GeminiVertexAI, whose are called gemini-...; set model.provider to Anthropic`},
		"ClaudePublisher":   {"The same in Vertex AI's long form.", Model{Provider: ProviderGeminiVertexAI, Name: "publishers/anthropic/models/claude-opus-5-5", Location: "global"}, "set model.provider to Anthropic"},
		"GPTOnVertex":       {"Another company's.", Model{Provider: ProviderGeminiVertexAI, Name: "gpt-6.1-sol", Location: "global"}, "set model.provider to OpenAI"},
		"LlamaOnVertex":     {"Vertex AI serves it, but not by Gemini's API.", Model{Provider: ProviderGeminiVertexAI, Name: "llama-4-maverick", Location: "global"}, "is no model of model.provider GeminiVertexAI"},
		"GPTOnGemini":       {"Another company's.", Model{Provider: ProviderGemini, Name: "gpt-6-luna", CredentialSecret: key}, "is no model of model.provider Gemini"},
		"GeminiOnAnthropic": {"Another company's.", Model{Provider: ProviderAnthropic, Name: "gemini-3.5-flash", CredentialSecret: key}, "set model.provider to GeminiVertexAI or Gemini"},
		"ClaudeOnOpenAI":    {"Another company's.", Model{Provider: ProviderOpenAI, Name: "claude-sonnet-5-5", CredentialSecret: key}, "set model.provider to Anthropic"},
		"ClaudeByGateway":   {"Behind a gateway a name means what the gateway says.", Model{Provider: ProviderOpenAI, Name: "claude-sonnet-5-5", BaseURL: "http://litellm.ai.svc:4000/v1"}, ""},
		"ClaudeVertexName":  {"Anthropic's API answers each question with 404.", Model{Provider: ProviderAnthropic, Name: "claude-sonnet-4-5@20250929", CredentialSecret: key}, `whose are called claude-...; Anthropic itself calls it claude-sonnet-4-5-20250929`},
		"ClaudeVertexMeter": {"The meter passes the name on.", Model{Provider: ProviderAnthropic, Name: "claude-3-5-sonnet-v2@20241022", Meter: meter}, `Anthropic itself calls it claude-3-5-sonnet-20241022`},
		"ClaudeBedrockName": {"The way out is not the provider that is set already.", Model{Provider: ProviderAnthropic, Name: "us.anthropic.claude-sonnet-4-5-20250929-v1:0", CredentialSecret: key}, `whose are called claude-...; Anthropic itself calls it claude-sonnet-4-5-20250929`},
		"ClaudeDated":       {"Anthropic's own name of a version.", Model{Provider: ProviderAnthropic, Name: "claude-sonnet-4-5-20250929", CredentialSecret: key}, ""},
		"ClaudeLatest":      {"And of none.", Model{Provider: ProviderAnthropic, Name: "claude-3-7-sonnet-latest", CredentialSecret: key}, ""},
		"ClaudeCapitals":    {"Names are in small letters.", Model{Provider: ProviderGeminiVertexAI, Name: "Claude-Sonnet-5-5", Location: "global"}, "set model.provider to Anthropic"},
		"ClaudeBehindURL":   {"Behind a gateway a name means what the gateway says.", Model{Provider: ProviderAnthropic, Name: "claude-sonnet-4-5@20250929", BaseURL: "https://llm.example.org"}, ""},
		"Reasoning":         {"Not all of OpenAI's are called gpt.", Model{Provider: ProviderOpenAI, Name: "o4-mini", CredentialSecret: key}, ""},
		"FineTuned":         {"One of a customer's own.", Model{Provider: ProviderOpenAI, Name: "ft:gpt-4.1:acme::9x8y", CredentialSecret: key}, ""},
		"HuggingFace":       {"OpenAI's have no slash; a model server's have.", Model{Provider: ProviderOpenAI, Name: "meta-llama/Llama-4-Scout", CredentialSecret: key}, "needs model.baseUrl"},
		"HuggingFaceMeter":  {"The meter may have a model server behind it.", Model{Provider: ProviderOpenAI, Name: "meta-llama/Llama-4-Scout", Meter: meter}, ""},
		"HuggingFaceURL":    {"So may a gateway.", Model{Provider: ProviderOpenAI, Name: "meta-llama/Llama-4-Scout", BaseURL: "http://vllm.models.svc:8000/v1"}, ""},
		"Ollama":            {"kagent has a provider of its own for it; its plain API does.", Model{Provider: "Ollama", Name: "llama4"}, "Ollama speaks OpenAI's API: use OpenAI with its model.baseUrl"},
		"Azure":             {"As Ollama.", Model{Provider: "AzureOpenAI", Name: "gpt-6-sol"}, "https://<resource>.openai.azure.com/openai/v1"},
		"VertexAnthropic":   {"kagent's name of it.", Model{Provider: "AnthropicVertexAI", Name: "claude-sonnet-4-5@20250929"}, "reach it through a gateway"},
		"BedrockProvider":   {"As above.", Model{Provider: "bedrock", Name: "anthropic.claude-sonnet-5-5"}, "reach it through a gateway"},
		"Claude":            {"Its own provider.", Model{Provider: ProviderAnthropic, Name: "claude-sonnet-5-5", CredentialSecret: key}, ""},
		"Metered":           {"The meter holds the key.", Model{Provider: ProviderAnthropic, Name: "claude-sonnet-5-5", Meter: meter}, ""},
		"NoKey":             {"The pod would start and die.", Model{Provider: ProviderOpenAI, Name: "gpt-6-sol"}, "model.credentialSecret is absent: OpenAI takes no call without a key"},
		"MeterAndKey":       {"An agent with a key can go past the meter.", Model{Provider: ProviderOpenAI, Name: "gpt-6-sol", Meter: meter, CredentialSecret: key}, "no place beside model.meter.enabled"},
		"MeterAndBaseURL":   {"Two places for one thing.", Model{Provider: ProviderOpenAI, Name: "gpt-6-sol", Meter: meter, BaseURL: "https://llm.example.org"}, "model.baseUrl has no place beside"},
		"MeterNowhere":      {"An empty string isn't an absent field.", Model{Provider: ProviderOpenAI, Name: "gpt-6-sol", Meter: Meter{Enabled: true}}, "model.meter.url must be"},
		"Provider":          {"kagent knows more, the suite doesn't count them.", Model{Provider: "Bedrock", Name: "x"}, `model.provider "Bedrock" must be`},
		"ProviderCase":      {"Kubernetes' enums are exact.", Model{Provider: "openai", Name: "gpt-6-sol"}, `model.provider "openai" must be`},
		"NoName":            {"An empty string isn't an absent field.", Model{Provider: ProviderOpenAI, CredentialSecret: key}, "model.name is empty"},
		"Blank":             {"A blank is part of the name for the provider.", Model{Provider: ProviderGeminiVertexAI, Name: "gemini-3.5-flash ", Location: "global"}, "begins or ends with a blank"},
		"BaseURLScheme":     {"A URL has a scheme.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "litellm.ai.svc:4000"}, "model.baseUrl must be an http or https URL"},
		"BaseURLPassword":   {"Everybody who reads a Composition would know it.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "https://u:s3cret@llm.example.org"}, "holds a user or a password"},
		"BaseURLQuery":      {"Clients append paths.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "https://llm.example.org/?key=1"}, "must end with its path"},
		"BaseURLPort":       {"The policy that held it would be refused, and pods without one are open.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "http://10.1.2.3:70000/v1"}, "has port 70000: a port is from 1 to 65535"},
		"BaseURLNoPort":     {"As above.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "http://vllm.models.svc:0/v1"}, "has port 0"},
		"BaseURLColon":      {"The scheme's own port.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "http://vllm.models.svc:/v1"}, ""},
		"BaseURLNamespace":  {"The policy that selected it would be refused.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "http://vllm.-models.svc:8000/v1"}, `is in the cluster, where no Service and no namespace can be called "-models"`},
		"BaseURLCapitals":   {"DNS finds it; the policy, which selects by a label, doesn't.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "http://vllm.Models.svc:8000/v1"}, `can be called "Models"`},
		"BaseURLNoName":     {"A namespace without a name.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "http://vllm..svc:8000/v1"}, `can be called ""`},
		"BaseURLDot":        {"A name may end with the root's dot.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "http://vllm.models.svc.cluster.local.:8000/v1"}, ""},
		"BaseURLOutside":    {"Capitals are DNS' own business outside of the cluster.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "https://LLM.example.org/v1"}, ""},
		"BaseURLMetadata":   {"It would open the node's credentials to the sandbox.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "http://169.254.169.254/v1"}, "is the clouds' metadata server"},
		"BaseURLMetadata6":  {"As above.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "http://[fd00:ec2::254]/v1"}, "is the clouds' metadata server"},
		"BaseURLMapped":     {"API servers refuse it once StrictIPCIDRValidation is on.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "http://[::ffff:10.0.0.1]:8000/v1"}, "names an address that no NetworkPolicy can hold"},
		"BaseURLZone":       {"A zone is a node's own.", Model{Provider: ProviderOpenAI, Name: "m", BaseURL: "http://[fe80::1%25eth0]:8000/v1"}, "names an address that no NetworkPolicy can hold"},
		"MeterPort":         {"As for baseUrl.", Model{Provider: ProviderOpenAI, Name: "gpt-6-sol", Meter: Meter{Enabled: true, URL: "http://token-meter.ns.svc:99999"}}, "has port 99999"},
		"SecretName":        {"The API server takes it; the pod waits for ever.", Model{Provider: ProviderOpenAI, Name: "m", CredentialSecret: &SecretKey{Name: "Model Key", Key: "key"}}, `no Secret can be called "Model Key"`},
	} {
		t.Run(name, func(t *testing.T) {
			if err := tc.model.validate(); !says(err, tc.want) {
				t.Errorf("%s\nvalidate() = %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}
