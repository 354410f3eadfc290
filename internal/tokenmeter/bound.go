package tokenmeter

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// A bound is the most tokens that a call can use.
type bound struct{ input, output uint64 }

// boundOf finds the bound of a call, and patches the body where that says nothing
// about the length of the answer. A prompt has at most one token for each byte of
// the request, and what a provider adds by itself. That holds for text alone: a
// picture, a file that is only named, or a tool of the provider's costs what
// nobody can see in the request, so that such a call is refused. A field that
// isn't known here is one that might.
func boundOf(f form, body []byte, maxOutput, overhead uint64) ([]byte, bound, error) {
	v := gjson.ParseBytes(body)
	var at []string // where the length of the answer stands; the first is set if none is there
	answers := uint64(1)
	var err error
	switch f {
	case formGemini:
		at = []string{"generationConfig.maxOutputTokens", "generationConfig.max_output_tokens", "generation_config.max_output_tokens", "generation_config.maxOutputTokens"}
		if v.Get("generation_config").Exists() {
			at[0], at[2] = at[2], at[0]
		}
		answers, err = geminiAnswers(v), geminiBounded(v)
	case formChat:
		at = []string{"max_completion_tokens", "max_tokens"}
		answers, err = max(1, v.Get("n").Uint()), chatBounded(v)
	case formResponses:
		at = []string{"max_output_tokens"}
		err = responsesBounded(v)
	case formMessages:
		at = []string{"max_tokens"}
		err = messagesBounded(v)
	}
	if err != nil {
		return nil, bound{}, err
	}
	length := uint64(0)
	for _, path := range at {
		n := v.Get(path)
		switch {
		case !n.Exists() || n.Type == gjson.Null:
		case n.Type != gjson.Number || n.Num < 1 || n.Num != float64(uint64(n.Num)) || n.Num > 1e9:
			return nil, bound{}, fmt.Errorf("%s is no number of tokens", path)
		default:
			length = max(length, uint64(n.Num))
		}
	}
	if length == 0 {
		length = maxOutput
		if body, err = sjson.SetBytes(body, at[0], length); err != nil {
			return nil, bound{}, fmt.Errorf("%s can't be set", at[0])
		}
	}
	if answers > 128 {
		return nil, bound{}, fmt.Errorf("it asks for %d answers", answers)
	}
	return body, bound{input: uint64(len(body)) + overhead, output: length * answers}, nil
}

// keys are the fields of an object that are known to be harmless.
func keys(v gjson.Result, what, allowed string) error {
	if !v.Exists() || v.Type == gjson.Null {
		return nil
	}
	if !v.IsObject() {
		return fmt.Errorf("%s is no object", what)
	}
	var err error
	seen := map[string]bool{}
	v.ForEach(func(k, _ gjson.Result) bool {
		switch {
		case !strings.Contains(" "+allowed+" ", " "+k.Str+" ") || strings.Contains(k.Str, " "):
			err = fmt.Errorf("%s has %q", what, k.Str)
		case seen[k.Str]:
			err = fmt.Errorf("%s has %q twice", what, k.Str)
		}
		seen[k.Str] = true
		return err == nil
	})
	return err
}

// each checks the elements of an array.
func each(v gjson.Result, what string, check func(gjson.Result) error) error {
	if !v.Exists() || v.Type == gjson.Null {
		return nil
	}
	if !v.IsArray() {
		return fmt.Errorf("%s is no list", what)
	}
	var err error
	v.ForEach(func(_, e gjson.Result) bool {
		err = check(e)
		return err == nil
	})
	return err
}

// first of the results that exists.
func first(all ...gjson.Result) gjson.Result {
	for _, v := range all {
		if v.Exists() {
			return v
		}
	}
	return gjson.Result{}
}

func oneOf(v gjson.Result, what, allowed string) error {
	if !strings.Contains(" "+allowed+" ", " "+v.Str+" ") {
		return fmt.Errorf("%s %q", what, v.Str)
	}
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// standardTier: what a dearer tier costs isn't reserved.
func standardTier(v gjson.Result) error {
	if v.Str == "" {
		return nil
	}
	return oneOf(v, "the service tier", "auto default standard standard_only flex STANDARD FLEX")
}

func geminiAnswers(v gjson.Result) uint64 {
	n := uint64(1)
	for _, c := range []string{"generationConfig", "generation_config"} {
		for _, k := range []string{"candidateCount", "candidate_count"} {
			n = max(n, v.Get(c+"."+k).Uint())
		}
	}
	return n
}

func geminiBounded(v gjson.Result) error {
	content := func(c gjson.Result) error {
		return firstError(keys(c, "a content", "role parts"), each(c.Get("parts"), "parts", func(p gjson.Result) error {
			response := first(p.Get("functionResponse"), p.Get("function_response"))
			if response.Get("parts").Exists() {
				return fmt.Errorf("a function's response has %q", "parts")
			}
			return keys(p, "a part", "text functionCall function_call functionResponse function_response thought thoughtSignature thought_signature executableCode executable_code codeExecutionResult code_execution_result partMetadata")
		}))
	}
	system := first(v.Get("systemInstruction"), v.Get("system_instruction"))
	config := first(v.Get("generationConfig"), v.Get("generation_config"))
	if system.Exists() {
		if err := content(system); err != nil {
			return err
		}
	}
	return firstError(
		keys(v, "the request", "contents systemInstruction system_instruction tools toolConfig tool_config generationConfig generation_config safetySettings safety_settings labels model serviceTier service_tier"),
		each(v.Get("contents"), "contents", content),
		each(v.Get("tools"), "tools", func(t gjson.Result) error {
			return keys(t, "a tool", "functionDeclarations function_declarations")
		}),
		standardTier(first(v.Get("serviceTier"), v.Get("service_tier"))),
		keys(config, "generationConfig", "stopSequences stop_sequences responseMimeType response_mime_type responseSchema response_schema responseJsonSchema response_json_schema _responseJsonSchema candidateCount candidate_count maxOutputTokens max_output_tokens temperature topP top_p topK top_k seed presencePenalty presence_penalty frequencyPenalty frequency_penalty responseLogprobs response_logprobs logprobs thinkingConfig thinking_config responseModalities response_modalities enableEnhancedCivicAnswers"),
		each(first(config.Get("responseModalities"), config.Get("response_modalities")), "responseModalities", func(m gjson.Result) error {
			return oneOf(m, "the modality", "TEXT text Text")
		}),
	)
}

// text is a string, or a list of texts.
func textOnly(v gjson.Result, types string) error {
	if v.Type == gjson.String || !v.Exists() || v.Type == gjson.Null {
		return nil
	}
	return each(v, "a content", func(p gjson.Result) error { return oneOf(p.Get("type"), "a content of type", types) })
}

func chatBounded(v gjson.Result) error {
	return firstError(
		keys(v, "the request", "model messages tools tool_choice functions function_call temperature top_p n stream stream_options stop max_tokens max_completion_tokens presence_penalty frequency_penalty logit_bias user seed response_format logprobs top_logprobs parallel_tool_calls reasoning_effort service_tier store metadata verbosity safety_identifier prompt_cache_key prompt_cache_retention"),
		each(v.Get("messages"), "messages", func(m gjson.Result) error {
			if m.Get("audio").Type == gjson.JSON {
				return fmt.Errorf("a message has %q", "audio")
			}
			return textOnly(m.Get("content"), "text refusal")
		}),
		each(v.Get("tools"), "tools", func(t gjson.Result) error { return oneOf(t.Get("type"), "a tool of type", "function custom") }),
		standardTier(v.Get("service_tier")),
	)
}

func responsesBounded(v gjson.Result) error {
	input := v.Get("input")
	var items error
	if input.Type != gjson.String {
		items = each(input, "input", func(i gjson.Result) error {
			if t := i.Get("type"); t.Exists() {
				if err := oneOf(t, "an item of type", "message function_call function_call_output reasoning custom_tool_call custom_tool_call_output"); err != nil {
					return err
				}
			}
			return firstError(textOnly(i.Get("content"), "input_text output_text refusal reasoning_text"), textOnly(i.Get("output"), "input_text"))
		})
	}
	return firstError(
		keys(v, "the request", "model input instructions tools tool_choice temperature top_p stream stream_options max_output_tokens reasoning text store metadata user parallel_tool_calls truncation include service_tier safety_identifier prompt_cache_key prompt_cache_retention top_logprobs background"),
		items,
		each(v.Get("tools"), "tools", func(t gjson.Result) error { return oneOf(t.Get("type"), "a tool of type", "function custom") }),
		standardTier(v.Get("service_tier")),
	)
}

func messagesBounded(v gjson.Result) error {
	return firstError(
		keys(v, "the request", "model max_tokens messages system tools tool_choice temperature top_p top_k stop_sequences stream thinking metadata cache_control output_config service_tier anthropic_version"),
		each(v.Get("messages"), "messages", func(m gjson.Result) error {
			if c := m.Get("content"); c.IsArray() {
				return each(c, "a content", func(b gjson.Result) error {
					return firstError(
						oneOf(b.Get("type"), "a content of type", "text tool_use tool_result thinking redacted_thinking"),
						textOnly(b.Get("content"), "text"),
					)
				})
			}
			return nil
		}),
		textOnly(v.Get("system"), "text"),
		each(v.Get("tools"), "tools", func(t gjson.Result) error {
			if k := t.Get("type"); k.Exists() && k.Type != gjson.Null {
				return oneOf(k, "a tool of type", "custom")
			}
			return nil
		}),
		standardTier(v.Get("service_tier")),
	)
}

// reserve sets aside the most that a call can cost, and returns the body to send.
func (m *Meter) reserve(ctx context.Context, c *call, b Budget, body []byte) ([]byte, *refusal) {
	patched, most, err := boundOf(c.route.form, body, m.limits.MaxOutput, m.limits.Overhead)
	if err != nil {
		return nil, &refusal{status: http.StatusBadRequest, reason: "unbounded", message: "The budget of agent " + b.Agent + " is a hard one, and what this call costs at most can't be told: " + err.Error() + "."}
	}
	if m.hard == nil {
		return nil, &refusal{status: http.StatusServiceUnavailable, reason: "no_ledger", message: "The budget of agent " + b.Agent + " is a hard one, and the token meter has no ledger to keep it in."}
	}
	cost := m.ceiling(modelName(c.asked), most)
	if cost <= 0 {
		return nil, &refusal{status: http.StatusServiceUnavailable, reason: "no_prices", message: "The budget of agent " + b.Agent + " is a hard one, and the token meter has no price table yet."}
	}
	hold, refused := m.hard.reserve(ctx, m, b, cost)
	if refused != nil {
		return nil, refused
	}
	c.hold = hold
	return patched, nil
}

// ceiling is the most that so many tokens of a model can cost: all of the dearest
// class, and by the models that were seen to answer in its place.
func (m *Meter) ceiling(asked string, most bound) USD {
	prices := m.state.Prices()
	cost := prices.Ceiling(asked, most.input, most.output)
	m.modelsMu.Lock()
	others := m.answered[asked]
	m.modelsMu.Unlock()
	for _, o := range others {
		cost = max(cost, prices.Ceiling(o, most.input, most.output))
	}
	return cost
}
