package tokenmeter

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"google.golang.org/genai"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/money"
	"whisperops.io/functions/internal/tokenmeter"
	"whisperops.io/functions/internal/tokenmeter/fakeprovider"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

const prices = `models:
  gemini-3.8-flash: {input: "0.75", cachedInput: "0.075", output: "3.75"}
  gpt-6.2-sol: {input: "2", cachedInput: "0.10", output: "10"}
  claude-sonnet-5-5: {input: "2", cachedInput: "0.10", output: "10"}
`

// world is a meter in front of a fake provider; asked counts what arrived at it.
type world struct {
	*tokenmeter.Server

	url      string
	provider *fakeprovider.Provider
	asked    atomic.Int64
}

func newWorld(t *testing.T, limit money.USD) *world {
	t.Helper()
	w := &world{provider: fakeprovider.New()}
	w.provider.KeepRequests = true
	up := httptest.NewServer(w.provider)
	t.Cleanup(up.Close)
	f, err := tokenmeter.Parse([]string{
		"--host=127.0.0.1", "--port=0", "--metrics-port=0", "--journal=" + t.TempDir(), "--confirm-callers=false",
		"--gemini-url=" + up.URL, "--openai-url=" + up.URL + "/v1", "--anthropic-url=" + up.URL,
	}, func(string) string { return "" }, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if w.Server, err = tokenmeter.NewServer(f, logr.Discard()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() }) //nolint:errcheck // a test
	if err := w.SetPrices(prices); err != nil {
		t.Fatal(err)
	}
	w.SetBudgets([]tokenmeter.Budget{{Agent: "housing-bot", Namespace: "agent-housing-bot", Cap: limit, Enforced: true, Period: v1alpha1.PeriodLifetime}})
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.asked.Add(1)
		w.Handler().ServeHTTP(rw, r)
	}))
	t.Cleanup(front.Close)
	w.url = front.URL + "/agents/housing-bot"
	return w
}

// plays makes the provider answer as a model with so many tokens.
func (w *world) plays(model string, t usage.Tokens) {
	w.provider.Answer = func(fakeprovider.Request) *fakeprovider.Plan {
		return &fakeprovider.Plan{Agent: "housing-bot", Model: model, Tokens: t, Events: 5, Seed: 3}
	}
}

func (w *world) check(t *testing.T, model string, calls uint64, each usage.Tokens) {
	t.Helper()
	want := usage.Tokens{}
	for range calls {
		want = want.Plus(each)
	}
	if diff := cmp.Diff(map[[2]string]usage.Tokens{{"housing-bot", model}: want}, w.Counted()); diff != "" {
		t.Errorf("-billed +counted: %s", diff)
	}
}

func (w *world) gemini(t *testing.T) *genai.Client {
	t.Helper()
	c, err := genai.NewClient(t.Context(), &genai.ClientConfig{APIKey: "dummy", Backend: genai.BackendGeminiAPI, HTTPOptions: genai.HTTPOptions{BaseURL: w.url + "/gemini"}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestGenai: plain and streamed, with a tool, and the thought's signature there and
// back, byte for byte.
func TestGenai(t *testing.T) {
	w := newWorld(t, 5*money.Dollar)
	each := usage.Tokens{usage.Input: 900, usage.CachedInput: 100, usage.Output: 50, usage.Thoughts: 30, usage.ToolUse: 5}
	w.plays("gemini-3.8-flash", each)
	c := w.gemini(t)
	config := &genai.GenerateContentConfig{Tools: []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{Name: "execute_python", Description: "x"}}}}}
	first, err := c.Models.GenerateContent(t.Context(), "gemini-3.8-flash", genai.Text("How many?"), config)
	if err != nil {
		t.Fatal(err)
	}
	signature := first.Candidates[0].Content.Parts[0].ThoughtSignature
	if len(signature) == 0 || first.UsageMetadata.TotalTokenCount != 1085 {
		t.Errorf("the answer lost something: %+v", first)
	}
	history := append(genai.Text("How many?"), first.Candidates[0].Content)
	history = append(history, genai.Text("And now?")...)
	chunks := 0
	for chunk, err := range c.Models.GenerateContentStream(t.Context(), "gemini-3.8-flash", history, config) {
		if err != nil {
			t.Fatal(err)
		}
		chunks++
		if len(chunk.Candidates[0].Content.Parts[0].ThoughtSignature) == 0 {
			t.Error("a chunk lost its thought's signature")
		}
	}
	if chunks != 5 {
		t.Errorf("%d chunks", chunks)
	}
	if sent := w.provider.Requests()[1]; !strings.Contains(string(sent.Body), "c2ln+/8=") {
		t.Errorf("the signature did not go back: %s", sent.Body)
	} else if sent.Header.Get("X-Goog-Api-Key") != "" {
		t.Error("the caller's key went to the provider")
	}
	w.check(t, "gemini-3.8-flash", 2, each)
}

func (w *world) openai() openai.Client {
	return openai.NewClient(openaioption.WithBaseURL(w.url+"/openai/v1"), openaioption.WithAPIKey("dummy"))
}

// TestOpenAI: chat completions and responses, plain and streamed. The stream asks
// for no usage, and it is counted all the same.
func TestOpenAI(t *testing.T) {
	w := newWorld(t, 5*money.Dollar)
	each := usage.Tokens{usage.Input: 900, usage.CachedInput: 100, usage.CacheWrite: 20, usage.Output: 50, usage.Thoughts: 30}
	w.plays("gpt-6.2-sol", each)
	c := w.openai()
	chat := openai.ChatCompletionNewParams{
		Model: "gpt-6.2-sol", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("How many?")},
		Tools: []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "execute_python"})},
	}
	if a, err := c.Chat.Completions.New(t.Context(), chat); err != nil || a.Usage.TotalTokens != 1100 {
		t.Fatal(err, a)
	}
	s := c.Chat.Completions.NewStreaming(t.Context(), chat)
	acc := openai.ChatCompletionAccumulator{}
	for s.Next() {
		acc.AddChunk(s.Current())
	}
	if s.Err() != nil || len(acc.Choices) != 1 || acc.Usage.TotalTokens != 1100 {
		t.Error(s.Err(), acc.Choices, acc.Usage)
	}
	in := responses.ResponseNewParams{Model: "gpt-6.2-sol", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("How many?")}}
	if a, err := c.Responses.New(t.Context(), in); err != nil || a.Usage.TotalTokens != 1100 {
		t.Fatal(err, a)
	}
	rs := c.Responses.NewStreaming(t.Context(), in)
	done := false
	for rs.Next() {
		done = done || rs.Current().Type == "response.completed"
	}
	if rs.Err() != nil || !done {
		t.Error(rs.Err(), done)
	}
	w.check(t, "gpt-6.2-sol", 4, each)
}

func (w *world) anthropic() anthropic.Client {
	return anthropic.NewClient(anthropicoption.WithBaseURL(w.url+"/anthropic"), anthropicoption.WithAPIKey("dummy"))
}

// TestAnthropic: messages, plain and streamed.
func TestAnthropic(t *testing.T) {
	w := newWorld(t, 5*money.Dollar)
	each := usage.Tokens{usage.Input: 900, usage.CachedInput: 100, usage.CacheWrite: 20, usage.Output: 50, usage.Thoughts: 30}
	w.plays("claude-sonnet-5-5", each)
	c := w.anthropic()
	in := anthropic.MessageNewParams{Model: "claude-sonnet-5-5", MaxTokens: 500, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("How many?"))}}
	if m, err := c.Messages.New(t.Context(), in); err != nil || m.Usage.OutputTokens != 80 {
		t.Fatal(err, m)
	}
	s := c.Messages.NewStreaming(t.Context(), in)
	var m anthropic.Message
	for s.Next() {
		if err := m.Accumulate(s.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if s.Err() != nil || m.Usage.OutputTokens != 80 || m.Usage.CacheReadInputTokens != 100 {
		t.Error(s.Err(), m.Usage)
	}
	w.check(t, "claude-sonnet-5-5", 2, each)
}

// TestRefusalsAreNotRepeated: each client gets one refusal, understands it, and
// doesn't come back.
func TestRefusalsAreNotRepeated(t *testing.T) {
	retry := 5
	for name, ask := range map[string]func(context.Context, *world) (status int, message string){
		"genai": func(ctx context.Context, w *world) (int, string) {
			_, err := w.gemini(t).Models.GenerateContent(ctx, "gemini-3.8-flash", genai.Text("x"), &genai.GenerateContentConfig{
				HTTPOptions: &genai.HTTPOptions{RetryOptions: &genai.HTTPRetryOptions{Attempts: new(int32(retry))}},
			})
			var e genai.APIError
			errors.As(err, &e)
			return e.Code, e.Message
		},
		"genai stream": func(ctx context.Context, w *world) (int, string) {
			var e genai.APIError
			for _, err := range w.gemini(t).Models.GenerateContentStream(ctx, "gemini-3.8-flash", genai.Text("x"), nil) {
				errors.As(err, &e)
			}
			return e.Code, e.Message
		},
		"openai": func(ctx context.Context, w *world) (int, string) {
			c := w.openai()
			_, err := c.Chat.Completions.New(ctx, openai.ChatCompletionNewParams{Model: "gpt-6.2-sol", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("x")}})
			var e *openai.Error
			if !errors.As(err, &e) || e.Code != "insufficient_quota" {
				t.Errorf("openai: %v", err)
				return 0, ""
			}
			return e.StatusCode, e.Message
		},
		"openai responses stream": func(ctx context.Context, w *world) (int, string) {
			c := w.openai()
			s := c.Responses.NewStreaming(ctx, responses.ResponseNewParams{Model: "gpt-6.2-sol", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("x")}})
			for s.Next() {
			}
			var e *openai.Error
			if !errors.As(s.Err(), &e) {
				return 0, ""
			}
			return e.StatusCode, e.Message
		},
		"anthropic": func(ctx context.Context, w *world) (int, string) {
			c := w.anthropic()
			_, err := c.Messages.New(ctx, anthropic.MessageNewParams{Model: "claude-sonnet-5-5", MaxTokens: 5, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("x"))}})
			var e *anthropic.Error
			if !errors.As(err, &e) {
				return 0, ""
			}
			return e.StatusCode, e.RawJSON()
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 0)
			status, message := ask(t.Context(), w)
			if status != http.StatusPaymentRequired || !strings.Contains(message, "The budget of agent") || !strings.Contains(message, "can raise it") {
				t.Errorf("%d %q", status, message)
			}
			if w.asked.Load() != 1 || w.provider.Calls() != 0 {
				t.Errorf("it asked %d times, and %d calls reached the provider", w.asked.Load(), w.provider.Calls())
			}
		})
	}
}
