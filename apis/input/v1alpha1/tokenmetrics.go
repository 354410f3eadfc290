package v1alpha1

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
)

// TokenMetrics names the token counters and their labels: a preset for what is
// known, and every name for what isn't. docs/metrics.md leads through it.
type TokenMetrics struct {
	// Preset names who exports the counters: token-meter (ours), otel-genai,
	// otel-genai-inference, agentgateway, envoy-ai-gateway or litellm. What is set beside
	// it wins.
	//
	// +optional
	// +kubebuilder:validation:Enum="";token-meter;otel-genai;otel-genai-inference;agentgateway;envoy-ai-gateway;litellm
	Preset string `json:"preset,omitempty"`

	// Input counts input tokens.
	//
	// +kubebuilder:default=whisperops_tokens_input_total
	Input string `json:"input,omitempty"`

	// Output counts output tokens.
	//
	// +kubebuilder:default=whisperops_tokens_output_total
	Output string `json:"output,omitempty"`

	// CachedInput counts input tokens served from a cache.
	//
	// +kubebuilder:default=whisperops_tokens_cached_input_total
	CachedInput string `json:"cachedInput,omitempty"`

	// CacheWrite counts input tokens written to a cache. Empty: nobody does.
	//
	// +optional
	CacheWrite string `json:"cacheWrite,omitempty"`

	// Thoughts counts output tokens that a model thought. Empty: nobody does.
	//
	// +optional
	Thoughts string `json:"thoughts,omitempty"`

	// ToolUse counts input tokens that a provider's own tools made. Empty: nobody does.
	//
	// +optional
	ToolUse string `json:"toolUse,omitempty"`

	// Tokens is one metric that counts all classes, told apart by ClassLabel: a counter,
	// or the sum of a histogram (<name>_sum).
	//
	// +optional
	Tokens string `json:"tokens,omitempty"`

	// ClassLabel of Tokens holds the class, such as gen_ai_token_type.
	//
	// +optional
	ClassLabel string `json:"classLabel,omitempty"`

	// Classes says what the values of ClassLabel mean: input, output, cachedInput,
	// cacheWrite, thoughts, toolUse, or none for tokens that another value counts too.
	// The usual words are known.
	//
	// +optional
	Classes map[string]string `json:"classes,omitempty"`

	// InputContains lists the classes that the input counter counts too: cachedInput,
	// cacheWrite, toolUse. Absent: as inputContainsCached says.
	//
	// +optional
	// +listType=atomic
	InputContains []string `json:"inputContains,omitempty"`

	// OutputContainsThoughts says that the output counter counts thoughts too.
	//
	// +optional
	OutputContainsThoughts *bool `json:"outputContainsThoughts,omitempty"`

	// AgentLabel holds the agent's name.
	//
	// +kubebuilder:default=agent_name
	AgentLabel string `json:"agentLabel,omitempty"`

	// AgentPrefix stands before the agent's name in AgentLabel: "agent-" where that is
	// the agent's namespace.
	//
	// +optional
	AgentPrefix string `json:"agentPrefix,omitempty"`

	// NamespaceLabel holds the namespace of the pod that was scraped, set by who scrapes
	// and not by who reports. A series without it is counted.
	//
	// +kubebuilder:default=namespace
	NamespaceLabel string `json:"namespaceLabel,omitempty"`

	// Namespaces are those of pods that count for agents beside their own, agent-<name>:
	// a collector's, a gateway's. A * stands for any characters. Series of any other are
	// named and not charged. Absent: with the preset of a gateway any but other agents',
	// with token-meter its own, whisperops-system; without a preset none.
	//
	// +optional
	// +listType=atomic
	Namespaces []string `json:"namespaces,omitempty"`

	// ModelLabel holds the model's name.
	//
	// +kubebuilder:default=model
	ModelLabel string `json:"modelLabel,omitempty"`

	// ContextLabel is "long" for requests that are priced as long ones. Empty: there is
	// none.
	//
	// +optional
	ContextLabel string `json:"contextLabel,omitempty"`

	// TierLabel holds the tier of service that served a request. Empty: there is none.
	//
	// +optional
	TierLabel string `json:"tierLabel,omitempty"`
}

// Default fills in what an absent field means.
func (m *TokenMetrics) Default() {
	*m = TokenMetrics{
		Input:       "whisperops_tokens_input_total",
		Output:      "whisperops_tokens_output_total",
		CachedInput: "whisperops_tokens_cached_input_total",
		AgentLabel:  "agent_name",
		ModelLabel:  "model",

		NamespaceLabel: "namespace",
	}
}

// Said takes out what was filled in beside a preset, given the fields that somebody wrote:
// what is usual can be said, too.
func (m *TokenMetrics) Said(fields any) {
	said, _ := fields.(map[string]any)
	if m.Preset == "" {
		return
	}
	for field, value := range map[string]*string{
		"input": &m.Input, "output": &m.Output, "cachedInput": &m.CachedInput, "agentLabel": &m.AgentLabel, "modelLabel": &m.ModelLabel,
	} {
		if said[field] == nil {
			*value = ""
		}
	}
}

// Validate says which name can't be used, or nil.
func (m TokenMetrics) Validate() error {
	if m.Preset == "" && m.ClassLabel == "" {
		if err := validateNames(
			promName{"input", m.Input, metricName},
			promName{"output", m.Output, metricName},
			promName{"cachedInput", m.CachedInput, metricName},
			promName{"agentLabel", m.AgentLabel, labelName},
			promName{"modelLabel", m.ModelLabel, labelName},
		); err != nil {
			return err
		}
	}
	_, err := m.Resolve(true)
	return err
}

// A TokenMapping is what TokenMetrics mean.
type TokenMapping struct {
	Names        map[string]v1alpha1.TokenClass // "" where ClassLabel says
	Older        []string                       // of Names: what earlier versions of an exporter called them
	ClassLabel   string
	Classes      map[string]v1alpha1.TokenClass
	AnyCase      bool // of the values that Classes names
	AgentLabel   string
	AgentPrefix  string
	ModelLabels  []string
	Namespace    string   // label
	Namespaces   []string // beside the agent's own; nil: any but other agents'; empty: none
	ContextLabel string
	TierLabel    string
	PartLabels   []string
	InInput      []v1alpha1.TokenClass // that input counts too
	InOutput     []v1alpha1.TokenClass // that output counts too
}

// Ours says whether a pod of a namespace may count for an agent, when namespaces count
// beside its own; nil: any but other agents'.
func Ours(namespaces []string, agent, namespace string) bool {
	switch {
	case namespace == v1alpha1.AgentNamespace(agent):
		return true
	case namespaces == nil:
		return !strings.HasPrefix(namespace, v1alpha1.AgentNamespace(""))
	}
	return slices.ContainsFunc(namespaces, func(pattern string) bool { return matches(pattern, namespace) })
}

// classNone is a value of ClassLabel whose tokens others count.
const classNone v1alpha1.TokenClass = "none"

// usualClasses are the words that exporters have for classes.
var usualClasses = map[string]v1alpha1.TokenClass{
	"input": v1alpha1.TokenInput, "prompt": v1alpha1.TokenInput,
	"output": v1alpha1.TokenOutput, "completion": v1alpha1.TokenOutput,
	"cachedInput": v1alpha1.TokenCachedInput, "cached_input": v1alpha1.TokenCachedInput, "cache_read": v1alpha1.TokenCachedInput,
	"input_cached": v1alpha1.TokenCachedInput, "input_cache_read": v1alpha1.TokenCachedInput, "cache_read_input": v1alpha1.TokenCachedInput,
	"cacheWrite": v1alpha1.TokenCacheWrite, "cache_write": v1alpha1.TokenCacheWrite, "cache_creation": v1alpha1.TokenCacheWrite,
	"cache_creation_input": v1alpha1.TokenCacheWrite, "input_cache_write": v1alpha1.TokenCacheWrite, "input_cache_creation": v1alpha1.TokenCacheWrite,
	"thoughts": v1alpha1.TokenThoughts, "reasoning": v1alpha1.TokenThoughts, "thinking": v1alpha1.TokenThoughts, "output_reasoning": v1alpha1.TokenThoughts,
	"toolUse": v1alpha1.TokenToolUse, "tool_use": v1alpha1.TokenToolUse,
	"total": classNone,
}

// Resolve says what the metrics mean, or which name can't be used.
func (m TokenMetrics) Resolve(inputContainsCached bool) (TokenMapping, error) {
	usual := TokenMetrics{}
	usual.Default()
	var preset Preset
	if m.Preset != "" {
		var ok bool
		if preset, ok = Presets()[m.Preset]; !ok {
			return TokenMapping{}, fmt.Errorf("preset %q is unknown; known: %s", m.Preset, strings.Join(slices.Sorted(maps.Keys(Presets())), ", "))
		}
	}
	m, preset = m.withUsualLabel().over(preset.Metrics, usual).conventional(preset, m.ClassLabel != "", inputContainsCached)
	out := TokenMapping{
		Names: map[string]v1alpha1.TokenClass{}, ClassLabel: m.ClassLabel, AnyCase: m.Preset == "",
		AgentLabel: m.AgentLabel, AgentPrefix: m.AgentPrefix, ContextLabel: m.ContextLabel, TierLabel: m.TierLabel,
		ModelLabels: preset.ModelLabels, PartLabels: m.parts(preset),
		Namespace: cmp.Or(m.NamespaceLabel, usual.NamespaceLabel), Namespaces: m.Namespaces,
	}
	switch {
	case m.Namespaces != nil:
	case m.Preset == "": // agents report by themselves
		out.Namespaces = []string{}
	default:
		out.Namespaces = preset.Metrics.Namespaces
	}
	if m.ModelLabel != "" {
		out.ModelLabels = []string{m.ModelLabel}
	}
	if err := m.name(&out); err != nil {
		return out, err
	}
	if m.Tokens == preset.Metrics.Tokens {
		out.Older = preset.Older
		for _, n := range out.Older {
			out.Names[n] = "" // the label says
		}
	}
	if err := m.classes(&out); err != nil {
		return out, err
	}
	if m.InputContains == nil && inputContainsCached {
		out.InInput = []v1alpha1.TokenClass{v1alpha1.TokenCachedInput}
	}
	for _, c := range m.InputContains {
		class := v1alpha1.TokenClass(c)
		if class != v1alpha1.TokenCachedInput && class != v1alpha1.TokenCacheWrite && class != v1alpha1.TokenToolUse {
			return out, fmt.Errorf("inputContains %q must be cachedInput, cacheWrite or toolUse", c)
		}
		out.InInput = append(out.InInput, class)
	}
	if m.OutputContainsThoughts != nil && *m.OutputContainsThoughts {
		out.InOutput = []v1alpha1.TokenClass{v1alpha1.TokenThoughts}
	}
	names := []promName{{"agentLabel", m.AgentLabel, labelName}, {"namespaceLabel", out.Namespace, labelName}}
	for _, l := range out.ModelLabels {
		names = append(names, promName{"modelLabel", l, labelName})
	}
	for _, l := range []promName{{"classLabel", m.ClassLabel, labelName}, {"contextLabel", m.ContextLabel, labelName}, {"tierLabel", m.TierLabel, labelName}} {
		if l.value != "" {
			names = append(names, l)
		}
	}
	return out, validateNames(names...)
}

// parts are labels that split what one process counts. What classes say of two values, they
// say of two counters.
func (m TokenMetrics) parts(preset Preset) []string {
	out := slices.Clone(preset.PartLabels)
	for _, l := range []string{m.ContextLabel, m.TierLabel} {
		if l != "" {
			out = append(out, l)
		}
	}
	if len(m.Classes) > 0 {
		out = append(out, m.ClassLabel)
	}
	return out
}

// withUsualLabel names the class label of a metric of OpenTelemetry's conventions that
// was given for a class, or for several, as old inputs do: it always counts all of them,
// and only the label can tell them apart.
func (m TokenMetrics) withUsualLabel() TokenMetrics {
	if m.ClassLabel != "" || m.Preset != "" || m.Tokens != "" {
		return m
	}
	for _, name := range []string{m.Input, m.Output, m.CachedInput, m.CacheWrite, m.Thoughts, m.ToolUse} {
		switch {
		case strings.Contains(name, usualMetric):
			m.ClassLabel = usualClassLabel
		case strings.Contains(name, dottedMetric):
			m.ClassLabel = dottedClassLabel // who keeps the dots of one keeps those of both
		}
	}
	return m
}

// over is m where it says something of its own, then a preset, then what is usual.
func (m TokenMetrics) over(preset, usual TokenMetrics) TokenMetrics {
	// Nobody says all of what is usual beside a preset: it was filled in.
	filled := m.Preset == "" || m.Input == usual.Input && m.Output == usual.Output && m.AgentLabel == usual.AgentLabel && m.ModelLabel == usual.ModelLabel
	own := func(v, usual string) string {
		if v == usual && filled {
			return "" // nobody said so: it is what an absent field means
		}
		return v
	}
	out := m
	byLabel := m.ClassLabel != "" || preset.ClassLabel != ""
	for _, f := range []struct {
		to                       *string
		own, usual, preset, last string
	}{
		{&out.Input, m.Input, usual.Input, preset.Input, usual.Input},
		{&out.Output, m.Output, usual.Output, preset.Output, usual.Output},
		{&out.CachedInput, m.CachedInput, usual.CachedInput, preset.CachedInput, usual.CachedInput},
		{&out.AgentLabel, m.AgentLabel, usual.AgentLabel, preset.AgentLabel, usual.AgentLabel},
		{&out.ModelLabel, m.ModelLabel, usual.ModelLabel, preset.ModelLabel, usual.ModelLabel},
		{&out.CacheWrite, m.CacheWrite, "", preset.CacheWrite, ""},
		{&out.Thoughts, m.Thoughts, "", preset.Thoughts, ""},
		{&out.ToolUse, m.ToolUse, "", preset.ToolUse, ""},
		{&out.Tokens, m.Tokens, "", preset.Tokens, ""},
		{&out.ClassLabel, m.ClassLabel, "", preset.ClassLabel, ""},
		{&out.AgentPrefix, m.AgentPrefix, "", preset.AgentPrefix, ""},
		{&out.ContextLabel, m.ContextLabel, "", preset.ContextLabel, ""},
		{&out.TierLabel, m.TierLabel, "", preset.TierLabel, ""},
	} {
		said, last := own(f.own, f.usual), f.last
		metric := slices.Contains([]*string{&out.Input, &out.Output, &out.CachedInput}, f.to)
		if metric && (m.Preset != "" || byLabel) || f.to == &out.ModelLabel && m.Preset != "" {
			last = "" // the preset's model labels, or its one metric
		}
		*f.to = cmp.Or(said, f.preset, last)
	}
	if own(m.AgentLabel, usual.AgentLabel) != "" && m.AgentPrefix == "" {
		out.AgentPrefix = "" // a label of one's own holds the name, unless one says so
		if slices.Contains([]string{cmp.Or(m.NamespaceLabel, usual.NamespaceLabel), "k8s_namespace_name", "k8s.namespace.name"}, m.AgentLabel) {
			out.AgentPrefix = v1alpha1.AgentNamespace("") // or a namespace, which is called so
		}
	}
	if m.InputContains == nil {
		out.InputContains = preset.InputContains
	}
	out.OutputContainsThoughts = cmp.Or(m.OutputContainsThoughts, preset.OutputContainsThoughts)
	return out
}

// name maps metrics to classes.
func (m TokenMetrics) name(out *TokenMapping) error {
	fields := []struct {
		name  string
		class v1alpha1.TokenClass
	}{
		{m.Input, v1alpha1.TokenInput}, {m.Output, v1alpha1.TokenOutput}, {m.CachedInput, v1alpha1.TokenCachedInput},
		{m.CacheWrite, v1alpha1.TokenCacheWrite}, {m.Thoughts, v1alpha1.TokenThoughts}, {m.ToolUse, v1alpha1.TokenToolUse},
	}
	if m.Tokens != "" {
		if !metricName(m.Tokens) {
			return fmt.Errorf("tokens %q is no metric name", m.Tokens)
		}
		if err := noPartOfHistogram("tokens", m.Tokens); err != nil {
			return err
		}
		if m.ClassLabel == "" {
			return fmt.Errorf("tokens %q counts all classes: classLabel must name the label that tells them apart", m.Tokens)
		}
		out.Names[m.Tokens] = ""
	}
	for _, f := range fields {
		if f.name == "" {
			continue
		}
		if !metricName(f.name) {
			return fmt.Errorf("%s %q is no metric name", f.class, f.name)
		}
		if err := noPartOfHistogram(string(f.class), f.name); err != nil {
			return err
		}
		if m.ClassLabel != "" {
			out.Names[f.name] = "" // the label says
			continue
		}
		if c, ok := out.Names[f.name]; ok {
			return fmt.Errorf("%s and metrics.%s are both %q, so its tokens would be counted twice: if a label tells them apart, name it in metrics.classLabel, or take a metrics.preset", c, f.class, f.name)
		}
		out.Names[f.name] = f.class
	}
	if len(out.Names) == 0 {
		return fmt.Errorf("classLabel %q is of no metric: name it in metrics.tokens", m.ClassLabel)
	}
	return nil
}

// noPartOfHistogram refuses what counts requests, and looks like what counts tokens.
func noPartOfHistogram(field, name string) error {
	base, bucket := strings.CutSuffix(name, "_bucket")
	of, counts := strings.CutSuffix(name, "_count")
	if conventional := slices.ContainsFunc([]string{usualMetric, dottedMetric, usualCounters, dottedCounters}, func(n string) bool { return strings.Contains(name, n) }); !bucket && (!counts || !conventional) {
		return nil
	}
	if counts {
		base = of
	}
	return fmt.Errorf("%s %q counts requests: the tokens of a histogram are in %s_sum", field, name, base)
}

// classes maps the values of the class label.
func (m TokenMetrics) classes(out *TokenMapping) error {
	if m.ClassLabel == "" {
		if len(m.Classes) > 0 {
			return fmt.Errorf("classes say what the values of a label mean: classLabel must name it")
		}
		return nil
	}
	out.Classes = maps.Clone(usualClasses)
	for _, value := range slices.Sorted(maps.Keys(m.Classes)) {
		class := v1alpha1.TokenClass(m.Classes[value])
		if !slices.Contains(slices.Collect(maps.Values(usualClasses)), class) {
			return fmt.Errorf("classes[%s] %q must be input, output, cachedInput, cacheWrite, thoughts, toolUse or none", value, class)
		}
		out.Classes[value] = class
	}
	return nil
}
