package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"whisperops.io/functions/test/standins/provider/mind"
)

type openAI struct{}

type openAIRequest struct {
	Model         string          `json:"model"`
	Messages      []openAIMessage `json:"messages"`
	Stream        bool            `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	Tools []struct {
		Function struct {
			Name       string `json:"name"`
			Parameters schema `json:"parameters"`
		} `json:"function"`
	} `json:"tools"`
}

type openAIMessage struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content"`
	ToolCallID string          `json:"tool_call_id"`
	ToolCalls  []openAICall    `json:"tool_calls"`
}

type openAICall struct {
	Index    *int   `json:"index,omitempty"`
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

// content is a text, or a list of parts.
func content(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var parts []struct {
		Text string `json:"text"`
	}
	_ = json.Unmarshal(raw, &parts) // null, or something that has no text
	var b strings.Builder
	for _, p := range parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

func (openAI) read(_ *http.Request, body []byte) (request, error) {
	var o openAIRequest
	if err := json.Unmarshal(body, &o); err != nil {
		return request{}, fmt.Errorf("We could not parse the JSON body of your request: %w", err) //nolint:staticcheck // the provider's own words
	}
	if o.Model == "" || len(o.Messages) == 0 {
		return request{}, errors.New("you must provide a model parameter and messages")
	}
	q := request{model: o.Model, stream: o.Stream, usage: o.StreamOptions.IncludeUsage, id: "chatcmpl-" + token(body)}
	for _, t := range o.Tools {
		q.conv.Tools = append(q.conv.Tools, mind.Tool{Name: t.Function.Name, Params: t.Function.Parameters.names()})
	}
	called := map[string]string{}
	for _, m := range o.Messages {
		text := content(m.Content)
		switch m.Role {
		case "system", "developer":
			q.conv.System += text
		case "tool":
			q.conv.Messages = append(q.conv.Messages, mind.Message{Results: []mind.Result{wrapped(m.ToolCallID, called[m.ToolCallID], text)}})
		default:
			msg := mind.Message{Model: m.Role == "assistant", Text: text}
			for _, c := range m.ToolCalls {
				var args map[string]any
				if err := json.Unmarshal([]byte(c.Function.Arguments), &args); err != nil {
					return request{}, fmt.Errorf("invalid arguments of tool call %s: %w", c.ID, err)
				}
				called[c.ID] = c.Function.Name
				msg.Calls = append(msg.Calls, mind.Call{ID: c.ID, Name: c.Function.Name, Args: args})
			}
			q.conv.Messages = append(q.conv.Messages, msg)
		}
	}
	return q, nil
}

// wrapped reads a tool's answer that may be an object in JSON.
func wrapped(id, name, text string) mind.Result {
	var m map[string]any
	if json.Unmarshal([]byte(text), &m) != nil {
		return mind.Result{ID: id, Name: name, Text: text, Failed: strings.HasPrefix(text, "Error")}
	}
	return result(&geminiCallResponse{ID: id, Name: name, Response: m})
}

func (openAI) calls(list []mind.Call, id string, stream bool) []openAICall {
	var out []openAICall
	for i, c := range list {
		o := openAICall{ID: fmt.Sprintf("call_%s_%d", id, i), Type: "function"}
		if stream {
			o.Index = &i
		}
		args, _ := json.Marshal(c.Args) //nolint:errchkjson // texts
		if c.Args == nil {
			args = []byte("{}")
		}
		o.Function.Name, o.Function.Arguments = c.Name, string(args)
		out = append(out, o)
	}
	return out
}

func finish(p piece) string {
	if len(p.calls) > 0 {
		return "tool_calls"
	}
	return "stop"
}

func openAIUsage(u Usage) map[string]any {
	in, out := u.Input+u.CachedInput, u.Output+u.Thoughts
	return map[string]any{
		"prompt_tokens": in, "completion_tokens": out, "total_tokens": in + out,
		"prompt_tokens_details":     map[string]any{"cached_tokens": u.CachedInput},
		"completion_tokens_details": map[string]any{"reasoning_tokens": u.Thoughts},
	}
}

func (o openAI) whole(q request, p piece) any {
	msg := map[string]any{"role": "assistant", "content": p.text}
	if len(p.calls) > 0 {
		msg["content"], msg["tool_calls"] = nil, o.calls(p.calls, q.id, false)
	}
	return map[string]any{
		"id": q.id, "object": "chat.completion", "model": q.model,
		"choices": []any{map[string]any{"index": 0, "message": msg, "finish_reason": finish(p)}}, "usage": openAIUsage(p.usage),
	}
}

func (o openAI) chunk(q request, p piece) []any {
	one := func(choices []any, usage any) map[string]any {
		m := map[string]any{"id": q.id, "object": "chat.completion.chunk", "model": q.model, "choices": choices}
		if q.usage {
			m["usage"] = usage
		}
		return m
	}
	delta := map[string]any{}
	if p.first {
		delta["role"] = "assistant"
	}
	if p.text != "" {
		delta["content"] = p.text
	}
	if len(p.calls) > 0 {
		delta["tool_calls"] = o.calls(p.calls, q.id, true)
	}
	out := []any{one([]any{map[string]any{"index": 0, "delta": delta, "finish_reason": nil}}, nil)}
	if p.last {
		out = append(out, one([]any{map[string]any{"index": 0, "delta": map[string]any{}, "finish_reason": finish(p)}}, nil))
		if q.usage { // only in a chunk of its own, the last one
			out = append(out, one([]any{}, openAIUsage(p.usage)))
		}
		out = append(out, done)
	}
	return out
}

func (openAI) failure(status int, message string) any {
	return map[string]any{"error": map[string]any{"message": message, "type": map[bool]string{false: "invalid_request_error", true: "server_error"}[status >= 500], "code": nil, "param": nil}}
}
