package server

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strings"

	"whisperops.io/functions/test/standins/provider/mind"
)

// dialectOf tells a dialect by the path.
func dialectOf(path string) (dialect, string) {
	switch {
	case strings.HasSuffix(path, "/chat/completions"):
		return openAI{}, "openai"
	case strings.Contains(path, "/models/") && (strings.HasSuffix(path, ":generateContent") || strings.HasSuffix(path, ":streamGenerateContent")):
		return gemini{}, "gemini"
	}
	return nil, ""
}

type gemini struct{}

type geminiRequest struct {
	SystemInstruction *geminiContent  `json:"systemInstruction"`
	Contents          []geminiContent `json:"contents"`
	Tools             []struct {
		FunctionDeclarations []struct {
			Name       string `json:"name"`
			Parameters schema `json:"parameters"`
			JSONSchema schema `json:"parametersJsonSchema"`
		} `json:"functionDeclarations"`
	} `json:"tools"`
}

type schema struct {
	Properties map[string]any `json:"properties"`
}

func (s schema) names() []string {
	var names []string
	for n := range s.Properties {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

type geminiContent struct {
	Role  string       `json:"role,omitempty"`
	Parts []geminiPart `json:"parts"`
}

type geminiPart struct {
	Text             string              `json:"text,omitempty"`
	Thought          bool                `json:"thought,omitempty"`
	ThoughtSignature string              `json:"thoughtSignature,omitempty"`
	FunctionCall     *geminiCall         `json:"functionCall,omitempty"`
	FunctionResponse *geminiCallResponse `json:"functionResponse,omitempty"`
}

type geminiCall struct {
	ID   string         `json:"id,omitempty"`
	Name string         `json:"name"`
	Args map[string]any `json:"args"`
}

type geminiCallResponse struct {
	ID       string         `json:"id"`
	Name     string         `json:"name"`
	Response map[string]any `json:"response"`
}

func (gemini) read(r *http.Request, body []byte) (request, error) {
	var g geminiRequest
	if err := json.Unmarshal(body, &g); err != nil {
		return request{}, fmt.Errorf("Invalid JSON payload received: %w", err) //nolint:staticcheck // the provider's own words
	}
	if len(g.Contents) == 0 {
		return request{}, errors.New("* GenerateContentRequest.contents: contents is not specified")
	}
	_, rest, _ := strings.Cut(r.URL.Path[strings.LastIndex(r.URL.Path, "/models/"):], "/models/")
	model, verb, _ := strings.Cut(rest, ":")
	q := request{model: model, stream: verb == "streamGenerateContent", id: token(body)}
	q.array = q.stream && r.URL.Query().Get("alt") != "sse"
	if g.SystemInstruction != nil {
		for _, p := range g.SystemInstruction.Parts {
			q.conv.System += p.Text
		}
	}
	for _, t := range g.Tools {
		for _, f := range t.FunctionDeclarations {
			q.conv.Tools = append(q.conv.Tools, mind.Tool{Name: f.Name, Params: append(f.Parameters.names(), f.JSONSchema.names()...)})
		}
	}
	for i, c := range g.Contents {
		m := mind.Message{Model: c.Role == "model"}
		for j, p := range c.Parts {
			switch {
			case p.Thought:
			case p.FunctionCall != nil:
				// Gemini 3 refuses a history whose calls have lost their signature.
				if strings.HasPrefix(model, "gemini-3") && j == 0 && p.ThoughtSignature == "" {
					return request{}, fmt.Errorf("Function call is missing a thought_signature in functionCall parts. Function call `default_api:%s`, position %d", p.FunctionCall.Name, i+1) //nolint:staticcheck // the provider's own words
				}
				m.Calls = append(m.Calls, mind.Call{ID: p.FunctionCall.ID, Name: p.FunctionCall.Name, Args: p.FunctionCall.Args})
			case p.FunctionResponse != nil:
				m.Results = append(m.Results, result(p.FunctionResponse))
			default:
				m.Text += p.Text
			}
		}
		q.conv.Messages = append(q.conv.Messages, m)
	}
	return q, nil
}

// result reads what a tool said, out of the object that runtimes wrap it in.
func result(f *geminiCallResponse) mind.Result {
	r := mind.Result{ID: f.ID, Name: f.Name}
	_, r.Failed = f.Response["error"]
	r.Text = flat(f.Response)
	return r
}

// flat is all text of a value; one that holds nothing but texts reads as they do.
func flat(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case map[string]any:
		if len(v) == 1 {
			for _, only := range v {
				if s, isText := only.(string); isText {
					return s
				}
			}
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func (gemini) whole(q request, p piece) any {
	parts := []geminiPart{}
	if p.text != "" {
		parts = append(parts, geminiPart{Text: p.text})
	}
	for _, c := range p.calls {
		args := c.Args
		if args == nil {
			args = map[string]any{}
		}
		parts = append(parts, geminiPart{FunctionCall: &geminiCall{Name: c.Name, Args: args}, ThoughtSignature: base64.StdEncoding.EncodeToString([]byte("signed " + c.ID))})
	}
	candidate := map[string]any{"index": 0}
	if len(parts) > 0 {
		candidate["content"] = geminiContent{Role: "model", Parts: parts}
	}
	if p.last {
		candidate["finishReason"] = "STOP"
	}
	u := p.usage
	usage := map[string]any{
		"promptTokenCount": u.Input + u.CachedInput, "totalTokenCount": u.Input + u.CachedInput + u.Output + u.Thoughts,
		"promptTokensDetails": []any{map[string]any{"modality": "TEXT", "tokenCount": u.Input + u.CachedInput}},
	}
	for k, n := range map[string]int{"candidatesTokenCount": u.Output, "thoughtsTokenCount": u.Thoughts, "cachedContentTokenCount": u.CachedInput} {
		if n > 0 { // zeros are absent
			usage[k] = n
		}
	}
	return map[string]any{"candidates": []any{candidate}, "usageMetadata": usage, "modelVersion": q.model, "responseId": q.id}
}

func (g gemini) chunk(q request, p piece) []any { return []any{g.whole(q, p)} }

func (gemini) failure(status int, message string) any {
	code := map[int]string{400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE"}[status]
	return map[string]any{"error": map[string]any{"code": status, "message": message, "status": code}}
}

// token is an id that the same request always gets.
func token(b []byte) string {
	h := fnv.New64a()
	_, _ = h.Write(b) // never fails
	return fmt.Sprintf("%016x", h.Sum64())
}
