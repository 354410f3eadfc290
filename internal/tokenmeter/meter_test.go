package tokenmeter

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/tokenmeter/fakeprovider"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

const testPrices = `models:
  gemini-3.8-flash: {input: "0.75", cachedInput: "0.075", output: "3.75"}
  gpt-6.2-sol: {input: "2", cachedInput: "0.10", output: "10"}
  claude-sonnet-5-5: {input: "2", cachedInput: "0.10", output: "10"}
`

// world is a meter in front of a fake provider.
type world struct {
	*Server

	t        testing.TB
	provider *fakeprovider.Provider
	upstream *httptest.Server
	front    *httptest.Server
	current  atomic.Pointer[Server]
	old      []*Server // that crashed
}

// newWorld starts one; change may change its flags.
func newWorld(t testing.TB, change ...func(*Flags)) *world {
	t.Helper()
	p := fakeprovider.New()
	up := httptest.NewServer(p)
	t.Cleanup(up.Close)
	w := &world{t: t, provider: p, upstream: up}
	w.Server = newServer(t, up.URL, change...)
	w.current.Store(w.Server)
	w.front = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.current.Load().meter.ServeHTTP(rw, r) }))
	t.Cleanup(w.front.Close)
	return w
}

func newServer(t testing.TB, upstream string, change ...func(*Flags)) *Server {
	t.Helper()
	f, err := Parse([]string{
		"--host=127.0.0.1", "--port=0", "--metrics-port=0", "--journal=" + t.TempDir(), "--confirm-wait=0s",
		"--gemini-url=" + upstream, "--openai-url=" + upstream, "--anthropic-url=" + upstream,
		"--vertex-url=" + upstream, "--vertex-project=acme-data", "--vertex-credentials=none",
	}, func(string) string { return "" }, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(&f)
	}
	s, err := NewServer(f, logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = s.calls.Close(), s.metrics.Close() // nobody serves them, or who did has closed them
		s.meter.drains.wait()
		_ = s.meter.journal.Close() // the test may have closed it
	})
	if err := s.meter.state.SetPrices(testPrices); err != nil {
		t.Fatal(err)
	}
	s.pods.Set("pod-1", "agent-housing-bot", []string{"127.0.0.1"})
	if !s.meter.state.Known() { // the journal kept some
		s.meter.state.SetBudgets([]Budget{{Agent: "housing-bot", Namespace: "agent-housing-bot", Cap: usdOf(5), Enforced: true, Period: v1alpha1.PeriodLifetime}})
	}
	return s
}

// front is where callers reach a meter.
func front(t testing.TB, s *Server) *httptest.Server {
	t.Helper()
	f := httptest.NewServer(s.meter)
	t.Cleanup(f.Close)
	return f
}

func itoa(n int) string { return strconv.Itoa(n) }

// onePlan is a call with tokens of every class.
var onePlan = usage.Tokens{1001, 502, 103, 54, 35, 16}

// shown are the counters as /metrics shows them, zeros left out.
func (s *Server) shown(t testing.TB) map[string]float64 {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "whisperops_") {
			continue
		}
		for _, m := range f.GetMetric() {
			v := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if f.GetType() == dto.MetricType_HISTOGRAM || v == 0 || strings.Contains(f.GetName(), "heartbeat") {
				continue
			}
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetName() != "namespace" {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
			}
			out[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = v
		}
	}
	return out
}

// total is what the meter counted, by agent and model.
func (s *Server) total() map[fakeprovider.Line]usage.Tokens {
	out := map[fakeprovider.Line]usage.Tokens{}
	tokens, _ := s.meter.journal.Snapshot()
	for k, t := range tokens {
		l := fakeprovider.Line{Agent: k.Agent, Model: k.Model}
		if sum := out[l].Plus(t); sum.Sum() > 0 {
			out[l] = sum
		}
	}
	return out
}

// A ask is one way to call a model.
type ask struct {
	name, path, body string
	model            string
	reads            usage.Dialect
}

var asks = []ask{
	{"gemini", "/agents/housing-bot/gemini/v1beta/models/gemini-3.8-flash:generateContent", `{"contents":[]}`, "gemini-3.8-flash", usage.Gemini},
	{"gemini sse", "/agents/housing-bot/gemini/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse", `{"contents":[]}`, "gemini-3.8-flash", usage.Gemini},
	{"gemini array", "/agents/housing-bot/gemini/v1beta/models/gemini-3.8-flash:streamGenerateContent", `{"contents":[]}`, "gemini-3.8-flash", usage.Gemini},
	{"vertex", "/agents/housing-bot/gemini/v1beta1/projects/p/locations/l/publishers/google/models/gemini-3.8-flash:streamGenerateContent?alt=sse", `{"contents":[]}`, "gemini-3.8-flash", usage.Gemini},
	{"chat", "/agents/housing-bot/openai/v1/chat/completions", `{"model":"gpt-6.2-sol","messages":[]}`, "gpt-6.2-sol", usage.OpenAI},
	{"chat sse", "/agents/housing-bot/openai/v1/chat/completions", `{"model":"gpt-6.2-sol","messages":[],"stream":true}`, "gpt-6.2-sol", usage.OpenAI},
	{"vertex chat", "/agents/housing-bot/openai/v1/projects/p/locations/l/endpoints/openapi/chat/completions", `{"model":"google/gemini-3.8-flash","messages":[],"stream":true}`, "gemini-3.8-flash", usage.OpenAI},
	{"responses", "/agents/housing-bot/openai/v1/responses", `{"model":"gpt-6.2-sol","input":"x"}`, "gpt-6.2-sol", usage.OpenAI},
	{"responses sse", "/agents/housing-bot/openai/v1/responses", `{"model":"gpt-6.2-sol","input":"x","stream":true}`, "gpt-6.2-sol", usage.OpenAI},
	{"messages", "/agents/housing-bot/anthropic/v1/messages", `{"model":"claude-sonnet-5-5","messages":[],"max_tokens":9}`, "claude-sonnet-5-5", usage.Anthropic},
	{"messages sse", "/agents/housing-bot/anthropic/v1/messages", `{"model":"claude-sonnet-5-5","messages":[],"max_tokens":9,"stream":true}`, "claude-sonnet-5-5", usage.Anthropic},
	{"vertex messages", "/agents/housing-bot/anthropic/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-5-5:rawPredict", `{"anthropic_version":"vertex-2023-10-16","messages":[],"max_tokens":9}`, "claude-sonnet-5-5", usage.Anthropic},
	{"vertex messages sse", "/agents/housing-bot/gemini/v1/projects/p/locations/l/publishers/anthropic/models/claude-sonnet-5-5:streamRawPredict", `{"anthropic_version":"vertex-2023-10-16","messages":[],"max_tokens":9,"stream":true}`, "claude-sonnet-5-5", usage.Anthropic},
}

// tokens that the dialect can tell apart.
func (a ask) tokens(t usage.Tokens) usage.Tokens {
	switch a.reads {
	case usage.Gemini:
		t[usage.CacheWrite] = 0
	case usage.OpenAI, usage.Anthropic:
		t[usage.ToolUse] = 0
	}
	return t
}

func (w *world) post(ctx context.Context, a ask, plan *fakeprovider.Plan) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.front.URL+a.path, strings.NewReader(a.body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer dummy")
	if plan != nil {
		if plan.Encoding != "" {
			r.Header.Set("Accept-Encoding", plan.Encoding)
		}
		r.Header.Set(fakeprovider.PlanHeader, plan.Header())
	}
	return http.DefaultClient.Do(r)
}

// direct is the answer without a meter.
func (w *world) direct(a ask, plan *fakeprovider.Plan) []byte {
	w.t.Helper()
	p := httptest.NewServer(fakeprovider.New())
	defer p.Close()
	rt, _ := parseRoute(http.MethodPost, mustURL(a.path))
	body := a.body
	if a.name == "chat sse" || a.name == "vertex chat" {
		body = strings.Replace(body, `"stream":true`, `"stream":true,"stream_options":{"include_usage":true}`, 1)
	}
	query := ""
	if _, q, ok := strings.Cut(a.path, "?"); ok {
		query = "?" + q
	}
	r, err := http.NewRequest(http.MethodPost, p.URL+rt.path+query, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set(fakeprovider.PlanHeader, plan.Header())
	r.Header.Set("Accept-Encoding", plan.Encoding)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

// TestEveryWayToAsk: {stream or not} by {dialect} by {packed or not}, cut anywhere;
// the figure is the bill's, and the bytes are the provider's.
func TestEveryWayToAsk(t *testing.T) {
	for _, a := range asks {
		for _, encoding := range []string{"", "gzip", "br"} {
			for seed := range uint64(3) {
				t.Run(fmt.Sprint(a.name, encoding, seed), func(t *testing.T) {
					w := newWorld(t)
					plan := &fakeprovider.Plan{
						Agent: "housing-bot", Model: a.model, Tokens: a.tokens(usage.Tokens{1001, 502, 103, 54, 35, 16}), Events: 7,
						Encoding: encoding, Seed: seed, CRLF: seed == 1, NoBlank: seed == 2, Comments: seed == 2,
					}
					res, err := w.post(t.Context(), a, plan)
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(res.Body)
					if err != nil || res.StatusCode != http.StatusOK {
						t.Fatal(res.StatusCode, err, string(got))
					}
					if want := w.direct(a, plan); !bytes.Equal(want, got) {
						t.Errorf("the answer is not the provider's: want %q, got %q", want, got)
					}
					if diff := cmp.Diff(w.provider.Bill(), w.total()); diff != "" {
						t.Errorf("-billed +counted: %s", diff)
					}
					for k, v := range w.shown(t) {
						if strings.Contains(k, "whisperops_tokens_total") && !strings.Contains(k, "context=standard,model="+a.model+",outcome=complete,tier=standard") ||
							strings.Contains(k, "uncounted") || strings.Contains(k, "mismatch") || strings.Contains(k, "unread") {
							t.Errorf("%s %v", k, v)
						}
					}
				})
			}
		}
	}
}

// TestRefusing: a spent budget's call goes nowhere, in the words of each dialect.
func TestRefusing(t *testing.T) {
	w := newWorld(t)
	spent := Budget{Agent: "housing-bot", Namespace: "agent-housing-bot", Cap: usdOf(5), Enforced: true, Period: v1alpha1.PeriodLifetime}
	spent.Status = budgetStatus{Measured: true, Spent: usdOf(5.01), Paused: true, Period: "lifetime", Decided: usdOf(5)}
	w.meter.state.SetBudgets([]Budget{spent})
	for _, a := range asks {
		res, err := w.post(t.Context(), a, nil)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			Type  string `json:"type"`
			Error struct {
				Message string `json:"message"`
				Type    string `json:"type"`
				Status  string `json:"status"`
				Code    any    `json:"code"`
			} `json:"error"`
		}
		if err := json.Unmarshal(b, &v); err != nil || res.StatusCode != http.StatusPaymentRequired || res.Header.Get("X-Should-Retry") != "false" {
			t.Fatal(res.StatusCode, err, string(b))
		}
		for _, say := range []string{"housing-bot", "5.00 of 5.00 USD", "raise", "spec.budgetUsd"} {
			if !strings.Contains(v.Error.Message, say) {
				t.Errorf("%s: %q lacks %q", a.name, v.Error.Message, say)
			}
		}
		switch shape := v.Type + "/" + v.Error.Type + "/" + v.Error.Status; {
		case strings.Contains(a.path, "/openai/") && shape != "/insufficient_quota/",
			strings.Contains(a.path, "/anthropic/v1/m") && shape != "error/billing_error/",
			strings.Contains(a.path, "/gemini/") && shape != "//FAILED_PRECONDITION":
			t.Errorf("%s: %s", a.name, b)
		}
	}
	if n := w.provider.Calls(); n != 0 {
		t.Errorf("%d calls went to the provider", n)
	}
	// Raised: at once.
	spent.Cap = usdOf(6)
	w.meter.state.SetBudgets([]Budget{spent})
	res, err := w.post(t.Context(), asks[0], nil)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("after a raise: %v %v", res, err)
	}
}

// TestRefusalSaysWhen: whoever waits for a new period learns by whose clock it begins.
func TestRefusalSaysWhen(t *testing.T) {
	for name, c := range map[string]struct {
		period     v1alpha1.Period
		zone, want string
	}{
		"Daily":    {v1alpha1.PeriodDaily, "", "It begins anew at midnight (UTC)."},
		"Weekly":   {v1alpha1.PeriodWeekly, "Europe/Berlin", "It begins anew on Monday, at midnight (Europe/Berlin)."},
		"Monthly":  {v1alpha1.PeriodMonthly, "Asia/Tokyo", "It begins anew with the next month, at midnight (Asia/Tokyo)."},
		"Lifetime": {v1alpha1.PeriodLifetime, "Asia/Tokyo", "no question can be answered now. Whoever"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (Budget{Agent: "a", Period: c.period, TimeZone: c.zone, Cap: usdOf(5)}).spentMessage(usdOf(5)); !strings.Contains(got, c.want) {
				t.Errorf("want %q in %q", c.want, got)
			}
		})
	}
}

// TestWhoCalls: the path claims, the address confirms.
// A budget's period is that of its time zone, in which the pipeline writes its key
// into the status: by another key, what was spent would count as of the period before.
func TestPeriodsInTheBudgetsTimeZone(t *testing.T) {
	b := Budget{Cap: usdOf(5), Enforced: true, Period: v1alpha1.PeriodDaily, TimeZone: "America/Los_Angeles"}
	b.Status = budgetStatus{Measured: true, Spent: usdOf(5.01), Paused: true, Period: "2026-11-26", Decided: usdOf(5)}
	for at, want := range map[string]float64{
		"2026-11-27T07:59:59Z": 5.01, // still yesterday there, today in UTC
		"2026-11-27T08:00:00Z": 0,    // midnight there
	} {
		when, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if spent, _ := b.spentBy(when); spent != usdOf(want) {
			t.Errorf("at %s: %v spent, want %v", at, spent, want)
		}
	}
}

func TestWhoCalls(t *testing.T) {
	w := newWorld(t)
	for claim, want := range map[string]int{"housing-bot": 200, "other-bot": 403} {
		a := asks[0]
		a.path = strings.Replace(a.path, "housing-bot", claim, 1)
		res, err := w.post(t.Context(), a, nil)
		if err != nil || res.StatusCode != want {
			t.Errorf("%s: %v %v", claim, res.StatusCode, err)
		}
	}
	want := map[string]float64{"whisperops_meter_unverified_total{claimed_agent=other,reason=other_namespace}": 1}
	got := map[string]float64{}
	for k, v := range w.shown(t) {
		if strings.Contains(k, "other") {
			got[k] = v
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got: %s", diff)
	}
}

// TestLeaving: a caller that leaves in the middle doesn't end the reading of the
// answer, and what it cost is counted.
func TestLeaving(t *testing.T) {
	for _, a := range asks {
		if !strings.Contains(a.name, "sse") && !strings.Contains(a.name, "array") {
			continue
		}
		t.Run(a.name, func(t *testing.T) {
			w := newWorld(t)
			ctx, leave := context.WithCancel(t.Context())
			res, err := w.post(ctx, a, &fakeprovider.Plan{
				Agent: "housing-bot", Model: a.model, Tokens: a.tokens(usage.Tokens{1001, 502, 103, 54, 35, 16}), Events: 9, HoldAfter: 3,
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := res.Body.Read(make([]byte, 10)); err != nil {
				t.Fatal(err)
			}
			<-w.provider.Held()
			leave()
			// The meter notices by itself, before any byte comes.
			until(t, func() bool { return w.shown(t)["whisperops_meter_draining_calls{}"] == 1 })
			w.provider.Release()
			until(t, func() bool { return w.shown(t)["whisperops_meter_open_calls{}"] == 0 })
			if diff := cmp.Diff(w.provider.Bill(), w.total()); diff != "" {
				t.Errorf("-billed +counted: %s", diff)
			}
		})
	}
}

// until waits for something that comes by itself.
func until(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come true within 20 s")
		}
	}
}

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}
