package usage

import (
	"github.com/tidwall/gjson"
)

// count reads a number of tokens: a whole one that isn't negative, else none.
func count(v gjson.Result) uint64 {
	if v.Type != gjson.Number || v.Num < 0 || v.Num > maxTokens {
		return 0
	}
	return uint64(v.Num)
}

// maxTokens of one figure. More is no number of tokens but a fault.
const maxTokens = 1e12

// object reads a document as an object. Anything else is counted as unread.
func object(r *Report, doc []byte) (gjson.Result, bool) {
	if !gjson.ValidBytes(doc) {
		r.Unread++
		return gjson.Result{}, false
	}
	v := gjson.ParseBytes(doc)
	return v, v.IsObject()
}

// first is the item of the model that answers.
func (r *Report) first() *Item {
	if len(r.Items) == 0 {
		r.Items = []Item{{}}
	}
	return &r.Items[0]
}

func (r *Report) model(name gjson.Result) {
	if name.Type == gjson.String && name.Str != "" {
		r.first().Model = name.Str
	}
}

func apart(a, b uint64) uint64 { return max(a, b) - min(a, b) }

// foldGemini reads a GenerateContentResponse, of which a stream has many. Its
// usageMetadata is cumulative: the fullest and latest one counts. Vertex sends
// some that hold nothing but a trafficType.
func foldGemini(r *Report, doc []byte) {
	v, ok := object(r, doc)
	if !ok {
		return
	}
	v.ForEach(func(key, v gjson.Result) bool {
		switch key.Str {
		case "modelVersion":
			r.model(v)
		case "usageMetadata":
			r.gemini(v)
		case "error":
			r.Failed = r.Failed || v.IsObject()
		case "promptFeedback":
			r.Complete = r.Complete || v.Get("blockReason").Str != ""
		case "candidates":
			v.ForEach(func(_, c gjson.Result) bool {
				r.Complete = r.Complete || c.Get("finishReason").Str != ""
				return true
			})
		}
		return true
	})
	r.Final = r.Complete && r.Seen
}

// gemini reads a usageMetadata. The prompt contains what was cached; thoughts
// and what tools read stand beside the rest.
func (r *Report) gemini(u gjson.Result) {
	var prompt, cached, output, thoughts, tools, total uint64
	seen := false
	u.ForEach(func(key, v gjson.Result) bool {
		var to *uint64
		switch key.Str {
		case "promptTokenCount":
			to = &prompt
		case "cachedContentTokenCount":
			to = &cached
		case "candidatesTokenCount":
			to = &output
		case "thoughtsTokenCount":
			to = &thoughts
		case "toolUsePromptTokenCount":
			to = &tools
		case "totalTokenCount":
			to = &total
		case "trafficType", "serviceTier":
			if v.Str != "" {
				r.Tier = Tier(v.Str)
			}
			return true
		default:
			return true
		}
		*to, seen = count(v), true
		return true
	})
	if !seen {
		return
	}
	t := Tokens{Input: prompt - min(cached, prompt), CachedInput: min(cached, prompt), Output: output, Thoughts: thoughts, ToolUse: tools}
	r.cumulative(t, total, cached > prompt)
}

// cumulative takes figures that contain all earlier ones. One that is smaller
// than what was said before is a part of the figures, not a correction.
func (r *Report) cumulative(t Tokens, total uint64, odd bool) {
	i := r.first()
	if r.Seen && t.Sum() < i.Tokens.Sum() {
		return
	}
	i.Tokens, r.Seen, r.Mismatch = t, true, 0
	if total > 0 {
		r.Mismatch = apart(total, t.Sum())
	}
	if odd {
		r.Mismatch = max(r.Mismatch, 1)
	}
}

// foldOpenAI reads chat completions, their chunks, responses and the events of
// responses' streams.
func foldOpenAI(r *Report, doc []byte) {
	if string(doc) == "[DONE]" {
		r.Complete = true
		r.Final = r.Seen
		return
	}
	v, ok := object(r, doc)
	if !ok {
		return
	}
	streamed := v.Get("object").Str == "chat.completion.chunk"
	answer, last, figures := false, false, false
	if event := v.Get("type").Str; len(event) > len("response.") && event[:len("response.")] == "response." {
		switch event {
		case "response.completed", "response.incomplete", "response.cancelled":
			r.Complete = true
		case "response.failed":
			r.Complete, r.Failed = true, true
		}
		v = v.Get("response")
		streamed = !r.Complete
	} else if event == "error" {
		r.Failed = true
	}
	v.ForEach(func(key, v gjson.Result) bool {
		switch key.Str {
		case "model":
			r.model(v)
		case "service_tier":
			if v.Str != "" {
				r.Tier = Tier(v.Str)
			}
		case "usage":
			if v.IsObject() {
				r.openAI(v)
				figures = true
			}
		case "choices":
			// The chunk with the figures, which is the last but for [DONE], has none.
			answer, last = true, v.IsArray() && len(v.Array()) == 0
		case "output":
			answer = true
		case "error":
			r.Failed = r.Failed || v.IsObject()
		}
		return true
	})
	if !streamed && (r.Seen || answer) || last && figures {
		r.Complete = true
	}
	r.Final = r.Complete && r.Seen
}

// openAI reads the usage of both of OpenAI's APIs. Cached input and what was
// written to a cache are inside the prompt, reasoning is inside the output; a
// total that is larger than both is thinking that a provider left out, as
// Google's endpoint for OpenAI's clients does.
func (r *Report) openAI(u gjson.Result) {
	get := func(names ...string) uint64 {
		for _, n := range names {
			if v := u.Get(n); v.Exists() {
				return count(v)
			}
		}
		return 0
	}
	prompt, completion, total := get("prompt_tokens", "input_tokens"), get("completion_tokens", "output_tokens"), get("total_tokens")
	cached := get("prompt_tokens_details.cached_tokens", "input_tokens_details.cached_tokens")
	written := get("prompt_tokens_details.cache_write_tokens", "input_tokens_details.cache_write_tokens")
	reasoning := get("completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens")
	beside := uint64(0)
	if total > prompt+completion {
		beside = total - prompt - completion
	}
	output := completion + beside
	thoughts := min(max(reasoning, beside), output)
	odd := cached+written > prompt
	cached = min(cached, prompt)
	written = min(written, prompt-cached)
	r.cumulative(Tokens{
		Input: prompt - cached - written, CachedInput: cached, CacheWrite: written,
		Output: output - thoughts, Thoughts: thoughts,
	}, total, odd)
}

// anthropicState keeps the figures of a message: a later event overrides the
// fields it has and leaves the others.
type anthropicState struct {
	input, read, written, output, thinking uint64
	others                                 []Item
}

// fold reads a message, or an event of its stream.
func (s *anthropicState) fold(r *Report, doc []byte) {
	v, ok := object(r, doc)
	if !ok {
		return
	}
	switch v.Get("type").Str {
	case "message":
		r.model(v.Get("model"))
		s.usage(r, v.Get("usage"), false)
		r.Complete = true
	case "message_start":
		r.model(v.Get("message.model"))
		// Its figure for the output is provisional.
		s.usage(r, v.Get("message.usage"), true)
	case "message_delta":
		s.usage(r, v.Get("usage"), false)
		r.Complete = r.Complete || v.Get("delta.stop_reason").Str != ""
	case "message_stop":
		r.Complete = true
	case "error":
		r.Failed = true
	}
	r.Final = r.Complete && r.Seen && !r.InputOnly
}

// usage reads figures, all of them cumulative. The input is without what was read
// from a cache or written to one; the output contains the thinking.
func (s *anthropicState) usage(r *Report, u gjson.Result, start bool) {
	if !u.IsObject() {
		return
	}
	hasOutput := false
	u.ForEach(func(key, v gjson.Result) bool {
		var to *uint64
		switch key.Str {
		case "input_tokens":
			to = &s.input
		case "cache_read_input_tokens":
			to = &s.read
		case "cache_creation_input_tokens":
			to = &s.written
		case "output_tokens":
			if start {
				return true
			}
			to, hasOutput = &s.output, true
		case "output_tokens_details":
			if t := v.Get("thinking_tokens"); t.Exists() && !start {
				s.thinking = max(s.thinking, count(t))
			}
			return true
		case "service_tier":
			if v.Str != "" && r.Tier == TierStandard {
				r.Tier = Tier(v.Str)
			}
			return true
		case "speed":
			if v.Str != "" && v.Str != "standard" {
				r.Tier = Tier(v.Str)
			}
			return true
		case "iterations":
			s.iterations(v)
			return true
		default:
			return true
		}
		if v.Type == gjson.Number {
			*to = max(*to, count(v))
		}
		return true
	})
	thoughts := min(s.thinking, s.output)
	r.first().Tokens = Tokens{Input: s.input, CachedInput: s.read, CacheWrite: s.written, Output: s.output - thoughts, Thoughts: thoughts}
	r.Items = append(r.Items[:1], s.others...)
	r.InputOnly = start || (r.InputOnly && !hasOutput)
	r.Seen = true
}

// iterations are what a message consists of. The figures beside them are without
// compaction and without what an advisor used, which is billed at its own model's
// price. A fallback that declined is listed and not billed.
func (s *anthropicState) iterations(list gjson.Result) {
	if !list.IsArray() {
		return
	}
	s.others = nil
	list.ForEach(func(_, it gjson.Result) bool {
		kind := it.Get("type").Str
		if kind != "compaction" && kind != "advisor_message" {
			return true
		}
		thoughts := min(count(it.Get("output_tokens_details.thinking_tokens")), count(it.Get("output_tokens")))
		s.others = append(s.others, Item{
			Model: it.Get("model").Str,
			Tokens: Tokens{
				Input:       count(it.Get("input_tokens")),
				CachedInput: count(it.Get("cache_read_input_tokens")),
				CacheWrite:  count(it.Get("cache_creation_input_tokens")),
				Output:      count(it.Get("output_tokens")) - thoughts,
				Thoughts:    thoughts,
			},
		})
		return true
	})
}
