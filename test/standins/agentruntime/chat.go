package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"

	"google.golang.org/adk/v2/model"
	"google.golang.org/genai"
)

// chat is a model that speaks OpenAI's chat completions, streamed. ADK's own speaks
// the newer responses, which kagent does not use.
type chat struct{ model, key, base string }

func (c *chat) Name() string { return c.model }

type chatMessage struct {
	Role       string     `json:"role"`
	Content    string     `json:"content"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
	ToolCalls  []chatCall `json:"tool_calls,omitempty"`
}

type chatCall struct {
	Index    int    `json:"index"`
	ID       string `json:"id"`
	Type     string `json:"type"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

func (c *chat) GenerateContent(ctx context.Context, req *model.LLMRequest, stream bool) iter.Seq2[*model.LLMResponse, error] {
	return func(yield func(*model.LLMResponse, error) bool) {
		rsp, err := c.post(ctx, req)
		if err != nil {
			yield(nil, err)
			return
		}
		defer rsp.Body.Close() //nolint:errcheck // a reader
		text, calls := "", []chatCall{}
		var usage *genai.GenerateContentResponseUsageMetadata
		lines := bufio.NewScanner(rsp.Body)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			data, is := strings.CutPrefix(lines.Text(), "data: ")
			if !is || data == "[DONE]" {
				continue
			}
			var e struct {
				Choices []struct {
					Delta chatMessage `json:"delta"`
				} `json:"choices"`
				Usage *struct {
					Prompt     int32 `json:"prompt_tokens"`
					Completion int32 `json:"completion_tokens"`
				} `json:"usage"`
			}
			if err := json.Unmarshal([]byte(data), &e); err != nil {
				yield(nil, fmt.Errorf("cannot read the model's answer: %w", err))
				return
			}
			if e.Usage != nil {
				usage = &genai.GenerateContentResponseUsageMetadata{PromptTokenCount: e.Usage.Prompt, CandidatesTokenCount: e.Usage.Completion}
			}
			for _, ch := range e.Choices {
				text += ch.Delta.Content
				calls = append(calls, ch.Delta.ToolCalls...)
				if stream && ch.Delta.Content != "" && !yield(&model.LLMResponse{Content: genai.NewContentFromText(ch.Delta.Content, "model"), Partial: true}, nil) {
					return
				}
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, err)
			return
		}
		whole, err := said(text, joined(calls))
		if err != nil {
			yield(nil, err)
			return
		}
		yield(&model.LLMResponse{Content: whole, UsageMetadata: usage, TurnComplete: true, FinishReason: genai.FinishReasonStop}, nil)
	}
}

// said is what the model said, as ADK has it.
func said(text string, calls []chatCall) (*genai.Content, error) {
	whole := &genai.Content{Role: "model"}
	if text != "" {
		whole.Parts = append(whole.Parts, genai.NewPartFromText(text))
	}
	for _, call := range calls {
		var args map[string]any
		if err := json.Unmarshal([]byte(call.Function.Arguments), &args); err != nil {
			return nil, fmt.Errorf("cannot read a tool call's arguments: %w", err)
		}
		p := genai.NewPartFromFunctionCall(call.Function.Name, args)
		p.FunctionCall.ID = call.ID
		whole.Parts = append(whole.Parts, p)
	}
	return whole, nil
}

// joined puts the pieces of calls together.
func joined(pieces []chatCall) []chatCall {
	var out []chatCall
	for _, p := range pieces {
		for len(out) <= p.Index {
			out = append(out, chatCall{})
		}
		o := &out[p.Index]
		o.ID += p.ID
		o.Function.Name += p.Function.Name
		o.Function.Arguments += p.Function.Arguments
	}
	return out
}

func (c *chat) post(ctx context.Context, req *model.LLMRequest) (*http.Response, error) {
	body, err := json.Marshal(map[string]any{
		"model": c.model, "stream": true, "stream_options": map[string]any{"include_usage": true}, "messages": messages(req), "tools": functions(req),
	})
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"/chat/completions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+c.key)
	rsp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	if rsp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(rsp.Body, 1<<16)) // what there is
		_ = rsp.Body.Close()
		return nil, fmt.Errorf("the model answers %s: %s", rsp.Status, text)
	}
	return rsp, nil
}

func messages(req *model.LLMRequest) []chatMessage {
	var out []chatMessage
	if req.Config != nil && req.Config.SystemInstruction != nil {
		var text strings.Builder
		for _, p := range req.Config.SystemInstruction.Parts {
			text.WriteString(p.Text)
		}
		out = append(out, chatMessage{Role: "system", Content: text.String()})
	}
	for _, content := range req.Contents {
		m := chatMessage{Role: "user"}
		if content.Role == "model" {
			m.Role = "assistant"
		}
		for _, p := range content.Parts {
			switch {
			case p.FunctionCall != nil:
				args, _ := json.Marshal(p.FunctionCall.Args) //nolint:errchkjson // it came from JSON
				call := chatCall{Index: len(m.ToolCalls), ID: p.FunctionCall.ID, Type: "function"}
				call.Function.Name, call.Function.Arguments = p.FunctionCall.Name, string(args)
				m.ToolCalls = append(m.ToolCalls, call)
			case p.FunctionResponse != nil:
				text, _ := json.Marshal(p.FunctionResponse.Response) //nolint:errchkjson // it came from JSON
				out = append(out, chatMessage{Role: "tool", ToolCallID: p.FunctionResponse.ID, Content: string(text)})
			default:
				m.Content += p.Text
			}
		}
		if m.Content != "" || len(m.ToolCalls) > 0 {
			out = append(out, m)
		}
	}
	return out
}

func functions(req *model.LLMRequest) []any {
	var out []any
	if req.Config == nil {
		return nil
	}
	for _, t := range req.Config.Tools {
		for _, f := range t.FunctionDeclarations {
			params := f.ParametersJsonSchema
			if params == nil {
				params = f.Parameters
			}
			out = append(out, map[string]any{"type": "function", "function": map[string]any{"name": f.Name, "description": f.Description, "parameters": params}})
		}
	}
	return out
}
