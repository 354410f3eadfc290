package server

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	system        = `"systemInstruction":{"parts":[{"text":"You are housing-bot, an assistant that answers questions about one dataset."}]}`
	worker        = `"tools":[{"functionDeclarations":[{"name":"agent_housing_bot__NS__worker","parametersJsonSchema":{"properties":{"request":{}}}}]}]`
	plannerGemini = `{` + system + `,` + worker + `,"contents":[{"role":"user","parts":[{"text":"How many rows?"}]}]}`
	helloGemini   = `{` + system + `,` + worker + `,"contents":[{"role":"user","parts":[{"text":"Hello!"}]}]}`
	unsigned      = `{` + system + `,` + worker + `,"contents":[{"role":"user","parts":[{"text":"How many rows?"}]},{"role":"model","parts":[{"functionCall":{"name":"x","args":{}}}]},
		{"role":"user","parts":[{"functionResponse":{"name":"x","response":{"output":"y"}}}]}]}`
	helloOpenAI = `{"model":"gpt-x","stream":true,"stream_options":{"include_usage":true},"messages":[
		{"role":"system","content":"You are housing-bot, an assistant that answers questions about one dataset."},{"role":"user","content":[{"type":"text","text":"Hello!"}]}],
		"tools":[{"type":"function","function":{"name":"worker"}}]}`
)

func post(ctx context.Context, t *testing.T, url, key, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Goog-Api-Key", key)
	req.Header.Set("Authorization", "Bearer "+key)
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rsp.Body.Close() })
	return rsp
}

// A told is what a piece of a stream says.
type told struct {
	Candidates []struct {
		Content geminiContent `json:"content"`
	} `json:"candidates"`
	UsageMetadata struct {
		PromptTokenCount     int `json:"promptTokenCount"`
		CandidatesTokenCount int `json:"candidatesTokenCount"`
	} `json:"usageMetadata"`
	Usage map[string]any `json:"usage"`
}

func streamed(t *testing.T, r io.Reader) []told {
	t.Helper()
	var out []told
	for s := bufio.NewScanner(r); s.Scan(); {
		line, is := strings.CutPrefix(strings.TrimSpace(s.Text()), "data: ")
		if !is || line == "[DONE]" {
			continue
		}
		var m told
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// TestStreamBillsWhatItTold: the last usage of a stream is the charge, and usage only grows.
func TestStreamBillsWhatItTold(t *testing.T) {
	s := New(Options{Key: "k"})
	srv := httptest.NewServer(s)
	defer srv.Close()
	var last told
	text := ""
	for _, m := range streamed(t, post(t.Context(), t, srv.URL+"/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse", "k", helloGemini).Body) {
		if m.UsageMetadata.CandidatesTokenCount < last.UsageMetadata.CandidatesTokenCount {
			t.Errorf("usage fell from %+v to %+v", last.UsageMetadata, m.UsageMetadata)
		}
		last = m
		text += m.Candidates[0].Content.Parts[0].Text
	}
	if !strings.HasPrefix(text, "Hello! I answer questions") {
		t.Errorf("want the whole greeting, got %q", text)
	}
	if b := s.Bill(); len(b.Calls) != 1 || b.Calls[0].Agent != "housing-bot" || b.Calls[0].Usage.Output != last.UsageMetadata.CandidatesTokenCount || b.Calls[0].Usage.Input != last.UsageMetadata.PromptTokenCount {
		t.Errorf("want one charge of what was told, %+v, got %+v", last.UsageMetadata, b.Calls)
	}
	var usage map[string]any
	for _, m := range streamed(t, post(t.Context(), t, srv.URL+"/v1/chat/completions", "k", helloOpenAI).Body) {
		if m.Usage != nil {
			usage = m.Usage
		}
	}
	c := s.Bill().Calls[1]
	want := map[string]any{
		"prompt_tokens": float64(c.Usage.Input), "completion_tokens": float64(c.Usage.Output), "total_tokens": float64(c.Usage.Input + c.Usage.Output),
		"prompt_tokens_details": map[string]any{"cached_tokens": 0.0}, "completion_tokens_details": map[string]any{"reasoning_tokens": 0.0},
	}
	if d := cmp.Diff(want, usage); d != "" || c.Dialect != "openai" {
		t.Errorf("usage of OpenAI's last chunk (-want +got):\n%s", d)
	}
}

// TestAbortIsBilled: a client that leaves pays for what was said until then.
func TestAbortIsBilled(t *testing.T) {
	s := New(Options{ChunkDelay: 50 * time.Millisecond})
	srv := httptest.NewServer(s)
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	rsp := post(ctx, t, srv.URL+"/v1beta/models/m:streamGenerateContent?alt=sse", "", helloGemini)
	if _, err := bufio.NewReader(rsp.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	cancel()
	for deadline := time.Now().Add(10 * time.Second); len(s.Bill().Calls) == 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an aborted call is not on the bill")
		}
	}
	whole := tokens("Hello! I answer questions about the dataset of this page.")
	if c := s.Bill().Calls[0]; c.Outcome != "aborted" || c.Usage.Output == 0 || c.Usage.Output >= whole {
		t.Errorf("want part of the answer on the bill, got %+v", c)
	}
}

func TestCallsAndBehaviour(t *testing.T) {
	s := New(Options{Key: "k"})
	srv := httptest.NewServer(s)
	defer srv.Close()
	ask := func(key, body string) (int, string) {
		rsp := post(t.Context(), t, srv.URL+"/v1beta/models/gemini-3-pro:generateContent", key, body)
		b, err := io.ReadAll(rsp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return rsp.StatusCode, string(b)
	}
	if code, body := ask("k", plannerGemini); code != 200 || !strings.Contains(body, `"functionCall":{"name":"agent_housing_bot__NS__worker","args":{"request":"How many rows?"}}`) || !strings.Contains(body, "thoughtSignature") {
		t.Errorf("want a signed call of the worker, got %d %s", code, body)
	}
	s.Behave(&Behaviour{Match: "how many", Times: 1, Status: 503})
	if code, body := ask("k", plannerGemini); code != 503 || !strings.Contains(body, "UNAVAILABLE") {
		t.Errorf("want 503 in Gemini's shape, got %d %s", code, body)
	}
	if code, _ := ask("k", plannerGemini); code != 200 {
		t.Errorf("want it once only, got %d", code)
	}
	if code, body := ask("k", unsigned); code != 400 || !strings.Contains(body, "thought_signature") {
		t.Errorf("Gemini 3 must refuse a call without its signature, got %d %s", code, body)
	}
	if code, _ := ask("wrong", plannerGemini); code != 401 {
		t.Errorf("want 401 without the key, got %d", code)
	}
}
