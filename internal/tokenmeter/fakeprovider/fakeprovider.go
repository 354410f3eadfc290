// Package fakeprovider plays the providers of language models in tests, awkward
// ones too, and keeps the bill. What a call is to do stands in a header of it; what
// it costs is written down as the provider of that dialect would.
package fakeprovider

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/andybalholm/brotli"

	"whisperops.io/functions/internal/tokenmeter/usage"
)

// PlanHeader carries a Plan, as JSON.
const PlanHeader = "X-Fake-Plan"

// A Plan is what a provider does with a call.
type Plan struct {
	Agent string `json:"agent"`
	Model string `json:"model"` // that answers

	Tokens usage.Tokens `json:"tokens"` // of the whole answer
	Events int          `json:"events"` // of a stream
	Tier   string       `json:"tier,omitempty"`

	// Seed cuts the bytes into pieces; 0 leaves them whole.
	Seed     uint64 `json:"seed,omitempty"`
	Encoding string `json:"encoding,omitempty"` // gzip or br
	CRLF     bool   `json:"crlf,omitempty"`
	NoBlank  bool   `json:"noBlank,omitempty"` // after "data:"
	Comments bool   `json:"comments,omitempty"`

	// BreakAfter so many events the connection is reset, FailAfter so many an error
	// comes in the stream; 0 is never, -1 before the first.
	BreakAfter int `json:"breakAfter,omitempty"`
	FailAfter  int `json:"failAfter,omitempty"`

	// HoldAfter so many events it waits for Release.
	HoldAfter int `json:"holdAfter,omitempty"`

	// Status other than 0 refuses the call.
	Status int `json:"status,omitempty"`

	Text string `json:"text,omitempty"` // of an event
}

// Header is the plan as the value of its header.
func (p Plan) Header() string {
	b, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and numbers
	}
	return string(b)
}

// A Line of the bill.
type Line struct{ Agent, Model string }

// A Provider answers on all paths of all dialects.
type Provider struct {
	mu       sync.Mutex
	bill     map[Line]usage.Tokens
	calls    int
	waits    []wait
	requests []Request
	release  chan struct{}
	held     chan struct{}

	// KeepRequests makes Requests return them.
	KeepRequests bool

	// Answer, if it isn't nil, is what plain plans answer with.
	Answer func(r Request) *Plan
}

// A Request as it arrived.
type Request struct {
	Method, Path, Query string
	Header              http.Header
	Body                []byte
}

// New returns a provider with an empty bill.
func New() *Provider {
	return &Provider{bill: map[Line]usage.Tokens{}, release: make(chan struct{}), held: make(chan struct{}, 1<<16)}
}

// Bill is what was billed, by agent and model.
func (p *Provider) Bill() map[Line]usage.Tokens {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[Line]usage.Tokens{}
	maps.Copy(out, p.bill)
	return out
}

// Calls is how many arrived.
func (p *Provider) Calls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

// Arrived is closed once so many calls have arrived.
func (p *Provider) Arrived(calls int) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := make(chan struct{})
	if p.calls >= calls {
		close(done)
	} else {
		p.waits = append(p.waits, wait{calls, done})
	}
	return done
}

// A wait is for so many calls.
type wait struct {
	calls int
	done  chan struct{}
}

// arrive notes a call. Whoever calls it holds p.mu.
func (p *Provider) arrive() {
	p.calls++
	p.waits = slices.DeleteFunc(p.waits, func(w wait) bool {
		if w.calls > p.calls {
			return false
		}
		close(w.done)
		return true
	})
}

// Requests that arrived, if they were to be kept.
func (p *Provider) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Request(nil), p.requests...)
}

// Held receives once for each call that waits.
func (p *Provider) Held() <-chan struct{} { return p.held }

// Release lets the calls go on that wait, and those that would.
func (p *Provider) Release() { close(p.release) }

func (p *Provider) charge(pl Plan, t usage.Tokens) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := Line{pl.Agent, pl.Model}
	p.bill[l] = p.bill[l].Plus(t)
}

// ServeHTTP plays the plan of a call.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // whoever asked has gone
	}
	req := Request{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, r.Header.Clone(), body}
	p.mu.Lock()
	p.arrive()
	if p.KeepRequests {
		p.requests = append(p.requests, req)
	}
	p.mu.Unlock()
	plan := Plan{Agent: "housing-bot", Model: "gemini-3.8-flash", Tokens: usage.Tokens{10, 2, 0, 5, 3, 0}, Events: 3}
	if h := r.Header.Get(PlanHeader); h != "" {
		if err := json.Unmarshal([]byte(h), &plan); err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
			return
		}
	} else if p.Answer != nil {
		plan = *p.Answer(req)
	}
	if plan.Status != 0 {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(plan.Status)
		io.WriteString(w, `{"error":{"code":`+strconv.Itoa(plan.Status)+`,"message":"no","status":"NO"}}`) //nolint:errcheck,gosec // a test
		return
	}
	s := scriptOf(r, body, plan)
	p.play(w, plan, s)
}

// A script is an answer in pieces, each with what it has cost up to then.
type script struct {
	kind   string // Content-Type
	pieces []piece
}

type piece struct {
	bytes  []byte
	billed usage.Tokens
}

// scriptOf writes the answer that a request asks for.
func scriptOf(r *http.Request, body []byte, pl Plan) script {
	var in struct {
		Stream        bool `json:"stream"`
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"` //nolint:tagliatelle // OpenAI's name
		} `json:"stream_options"` //nolint:tagliatelle // as above
	}
	json.Unmarshal(body, &in) //nolint:errcheck,gosec // Gemini's say nothing of that
	path := r.URL.Path
	switch {
	case strings.HasSuffix(path, ":generateContent"):
		return plain(geminiDoc(pl, pl.Tokens, true), pl)
	case strings.HasSuffix(path, ":streamGenerateContent"):
		return gemini(pl, r.URL.Query().Get("alt") == "sse")
	case strings.HasSuffix(path, "/chat/completions"):
		return chat(pl, in.Stream, in.StreamOptions.IncludeUsage)
	case strings.HasSuffix(path, "/responses"):
		return responses(pl, in.Stream)
	case strings.HasSuffix(path, "/messages"), strings.Contains(path, "anthropic"):
		return messages(pl, in.Stream || strings.HasSuffix(path, ":streamRawPredict"))
	}
	return script{"application/json", []piece{{[]byte(`{"ok":true}`), usage.Tokens{}}}}
}

func plain(doc any, pl Plan) script {
	return script{"application/json", []piece{{mustJSON(doc), pl.Tokens}}}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// part of the figures after i of n events: all of the input, the share of the rest.
func part(t usage.Tokens, i, n int) usage.Tokens {
	for _, c := range []usage.Class{usage.Output, usage.Thoughts} {
		t[c] = t[c] * uint64(i) / uint64(n) //nolint:gosec // they count events
	}
	return t
}

func geminiUsage(t usage.Tokens, tier string) map[string]any {
	u := map[string]any{}
	for name, n := range map[string]uint64{
		"promptTokenCount": t[usage.Input] + t[usage.CachedInput], "cachedContentTokenCount": t[usage.CachedInput],
		"candidatesTokenCount": t[usage.Output], "thoughtsTokenCount": t[usage.Thoughts], "toolUsePromptTokenCount": t[usage.ToolUse], "totalTokenCount": t.Sum(),
	} {
		if n > 0 { // zeros are absent
			u[name] = n
		}
	}
	if tier != "" {
		u["trafficType"] = tier
	}
	return u
}

func geminiDoc(pl Plan, t usage.Tokens, last bool) map[string]any {
	candidate := map[string]any{"content": map[string]any{"role": "model", "parts": []any{map[string]any{"text": text(pl), "thoughtSignature": "c2ln+/8="}}}, "index": 0}
	if last {
		candidate["finishReason"] = "STOP"
	}
	return map[string]any{"candidates": []any{candidate}, "usageMetadata": geminiUsage(t, pl.Tier), "modelVersion": pl.Model, "responseId": "r"}
}

func text(pl Plan) string {
	if pl.Text != "" {
		return pl.Text
	}
	return "Ein \"Stück\" {von} [etwas] \u2028 usage \\ 🏠\n\ndata: nothing"
}

func gemini(pl Plan, sse bool) script {
	n := max(pl.Events, 1)
	s := script{kind: "application/json"}
	if sse {
		s.kind = "text/event-stream"
	}
	for i := 1; i <= n; i++ {
		t := part(pl.Tokens, i, n)
		doc := mustJSON(geminiDoc(pl, t, i == n))
		switch {
		case sse:
			doc = pl.event("", doc)
		case i == 1:
			doc = append([]byte("["), doc...)
		default:
			doc = append([]byte("\n,\r\n"), doc...)
		}
		if !sse && i == n {
			doc = append(doc, "\n]"...)
		}
		s.pieces = append(s.pieces, piece{doc, t})
		if i == pl.FailAfter {
			fail := mustJSON(map[string]any{"error": map[string]any{"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "in the stream"}})
			if sse {
				fail = pl.event("", fail)
			} else {
				fail = append([]byte(","), append(fail, ']')...)
			}
			s.pieces = append(s.pieces, piece{fail, t})
			return s
		}
	}
	return s
}

// event writes a server-sent event in the plan's style.
func (p Plan) event(name string, data []byte) []byte {
	end, blank := "\n", " "
	if p.CRLF {
		end = "\r\n"
	}
	if p.NoBlank {
		blank = ""
	}
	var b bytes.Buffer
	if p.Comments {
		b.WriteString(": OPENROUTER PROCESSING" + end + end)
	}
	if name != "" {
		b.WriteString("event:" + blank + name + end)
	}
	b.WriteString("data:" + blank)
	b.Write(data)
	b.WriteString(end + end)
	return b.Bytes()
}

func openAIUsage(t usage.Tokens, in, out string) map[string]any {
	prompt, completion := t[usage.Input]+t[usage.CachedInput]+t[usage.CacheWrite], t[usage.Output]+t[usage.Thoughts]
	return map[string]any{
		in: prompt, out: completion, "total_tokens": prompt + completion,
		strings.TrimSuffix(in, "s") + "s_details":  map[string]any{"cached_tokens": t[usage.CachedInput], "cache_write_tokens": t[usage.CacheWrite]},
		strings.TrimSuffix(out, "s") + "s_details": map[string]any{"reasoning_tokens": t[usage.Thoughts]},
	}
}

func chat(pl Plan, stream, wantsUsage bool) script {
	base := func(object string) map[string]any {
		m := map[string]any{"id": "chatcmpl-1", "object": object, "created": 1, "model": pl.Model}
		if pl.Tier != "" {
			m["service_tier"] = pl.Tier
		}
		return m
	}
	if !stream {
		m := base("chat.completion")
		m["choices"] = []any{map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": text(pl)}}}
		m["usage"] = openAIUsage(pl.Tokens, "prompt_tokens", "completion_tokens")
		return plain(m, pl)
	}
	s := script{kind: "text/event-stream"}
	n := max(pl.Events, 1)
	for i := 1; i <= n; i++ {
		m := base("chat.completion.chunk")
		choice := map[string]any{"index": 0, "delta": map[string]any{"content": text(pl)}, "finish_reason": nil}
		if i == n {
			choice["finish_reason"] = "stop"
		}
		m["choices"], m["usage"] = []any{choice}, nil
		// OpenAI says nothing of a call that breaks off; what it bills then can't be
		// known, and here it bills nothing.
		s.pieces = append(s.pieces, piece{pl.event("", mustJSON(m)), usage.Tokens{}})
		if i == pl.FailAfter {
			s.pieces = append(s.pieces, piece{pl.event("", []byte(`{"error":{"message":"in the stream","type":"server_error"}}`)), usage.Tokens{}})
			return s
		}
	}
	if wantsUsage {
		m := base("chat.completion.chunk")
		m["choices"], m["usage"] = []any{}, openAIUsage(pl.Tokens, "prompt_tokens", "completion_tokens")
		s.pieces = append(s.pieces, piece{pl.event("", mustJSON(m)), pl.Tokens})
	}
	s.pieces = append(s.pieces, piece{pl.event("", []byte("[DONE]")), pl.Tokens})
	return s
}

func responses(pl Plan, stream bool) script {
	doc := func(status string, t *usage.Tokens) map[string]any {
		m := map[string]any{"id": "resp_1", "object": "response", "status": status, "model": pl.Model, "output": []any{}, "usage": nil, "error": nil}
		if pl.Tier != "" {
			m["service_tier"] = pl.Tier
		}
		if t != nil {
			m["usage"] = openAIUsage(*t, "input_tokens", "output_tokens")
			m["output"] = []any{map[string]any{"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": []any{map[string]any{"type": "output_text", "text": text(pl), "annotations": []any{}}}}}
		}
		return m
	}
	if !stream {
		return plain(doc("completed", &pl.Tokens), pl)
	}
	s := script{kind: "text/event-stream"}
	add := func(name string, v map[string]any, t usage.Tokens) {
		v["type"], v["sequence_number"] = name, len(s.pieces)
		s.pieces = append(s.pieces, piece{pl.event(name, mustJSON(v)), t})
	}
	add("response.created", map[string]any{"response": doc("in_progress", nil)}, usage.Tokens{})
	for i := 1; i <= max(pl.Events, 1); i++ {
		add("response.output_text.delta", map[string]any{"item_id": "m", "output_index": 0, "content_index": 0, "delta": text(pl)}, usage.Tokens{})
		if i == pl.FailAfter {
			add("response.failed", map[string]any{"response": doc("failed", &pl.Tokens)}, pl.Tokens)
			return s
		}
	}
	add("response.completed", map[string]any{"response": doc("completed", &pl.Tokens)}, pl.Tokens)
	return s
}

func messages(pl Plan, stream bool) script {
	input := func(out uint64) map[string]any {
		return map[string]any{
			"input_tokens": pl.Tokens[usage.Input], "cache_read_input_tokens": pl.Tokens[usage.CachedInput], "cache_creation_input_tokens": pl.Tokens[usage.CacheWrite],
			"cache_creation": map[string]any{"ephemeral_5m_input_tokens": pl.Tokens[usage.CacheWrite], "ephemeral_1h_input_tokens": 0},
			"output_tokens":  out, "service_tier": orStandard(pl.Tier),
		}
	}
	output := pl.Tokens[usage.Output] + pl.Tokens[usage.Thoughts]
	if !stream {
		u := input(output)
		u["output_tokens_details"] = map[string]any{"thinking_tokens": pl.Tokens[usage.Thoughts]}
		return plain(map[string]any{"id": "msg_1", "type": "message", "role": "assistant", "model": pl.Model, "stop_reason": "end_turn", "stop_sequence": nil, "content": []any{map[string]any{"type": "text", "text": text(pl)}}, "usage": u}, pl)
	}
	s := script{kind: "text/event-stream"}
	add := func(name string, v map[string]any, t usage.Tokens) {
		v["type"] = name
		s.pieces = append(s.pieces, piece{pl.event(name, mustJSON(v)), t})
	}
	known := pl.Tokens
	known[usage.Output], known[usage.Thoughts] = 0, 0
	add("message_start", map[string]any{"message": map[string]any{"id": "msg_1", "type": "message", "role": "assistant", "model": pl.Model, "content": []any{}, "stop_reason": nil, "stop_sequence": nil, "usage": input(1)}}, known)
	add("content_block_start", map[string]any{"index": 0, "content_block": map[string]any{"type": "text", "text": ""}}, known)
	add("ping", map[string]any{}, known)
	for i := 1; i <= max(pl.Events, 1); i++ {
		add("content_block_delta", map[string]any{"index": 0, "delta": map[string]any{"type": "text_delta", "text": text(pl)}}, known)
		if i == pl.FailAfter {
			add("error", map[string]any{"error": map[string]any{"type": "overloaded_error", "message": "in the stream"}}, known)
			return s
		}
	}
	add("content_block_stop", map[string]any{"index": 0}, known)
	u := map[string]any{
		"output_tokens": output, "output_tokens_details": map[string]any{"thinking_tokens": pl.Tokens[usage.Thoughts]},
		"input_tokens": pl.Tokens[usage.Input], "cache_read_input_tokens": nil,
	}
	add("message_delta", map[string]any{"delta": map[string]any{"stop_reason": "end_turn", "stop_sequence": nil}, "usage": u}, pl.Tokens)
	add("message_stop", map[string]any{}, pl.Tokens)
	return s
}

func orStandard(tier string) string {
	if tier == "" {
		return "standard"
	}
	return tier
}

// play sends the pieces, cut as the plan wants it, and bills what it got to.
func (p *Provider) play(w http.ResponseWriter, pl Plan, s script) {
	w.Header().Set("Content-Type", s.kind)
	var out io.Writer = w
	var pack interface {
		io.WriteCloser
		Flush() error
	}
	switch pl.Encoding {
	case "gzip":
		pack = gzip.NewWriter(w)
	case "br":
		pack = brotli.NewWriter(w)
	}
	if pack != nil {
		w.Header().Set("Content-Encoding", pl.Encoding)
		out = pack
	}
	flush := func() {
		if pack != nil {
			pack.Flush() //nolint:errcheck,gosec // a test
		}
		http.NewResponseController(w).Flush() //nolint:errcheck,gosec // a test
	}
	var rng *rand.Rand
	if pl.Seed != 0 {
		rng = rand.New(rand.NewPCG(pl.Seed, 1)) //nolint:gosec // a test
	}
	if len(s.pieces) == 1 && pl.BreakAfter == 0 && pack == nil && rng == nil {
		w.Header().Set("Content-Length", strconv.Itoa(len(s.pieces[0].bytes)))
	}
	var billed usage.Tokens
	for i, piece := range s.pieces {
		if pl.BreakAfter != 0 && i == max(pl.BreakAfter, 0) {
			panic(http.ErrAbortHandler)
		}
		if pl.HoldAfter != 0 && i == pl.HoldAfter {
			flush()
			p.held <- struct{}{}
			<-p.release
		}
		// Generation goes on whether somebody reads it or not, and so does the bill. It
		// is written before the piece is sent: who has the piece can look at it.
		p.charge(pl, piece.billed.Minus(billed))
		billed = piece.billed
		for rest := piece.bytes; len(rest) > 0; {
			n := len(rest)
			if rng != nil {
				n = min(n, 1+rng.IntN(1+rng.IntN(200)))
			}
			out.Write(rest[:n]) //nolint:errcheck,gosec // as above
			rest = rest[n:]
			if rng != nil && rng.IntN(4) == 0 {
				flush()
			}
		}
		flush()
	}
	if pack != nil {
		pack.Close() //nolint:errcheck,gosec // as above
	}
}
