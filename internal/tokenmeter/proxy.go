package tokenmeter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

// Limits of a meter.
type Limits struct {
	BodyBytes     int64         // of a request
	DrainCalls    int           // answers read for nobody, at once
	DrainBytes    int64         // of one of them
	DrainTime     time.Duration // of one of them
	CallTime      time.Duration // of any call
	ConfirmWait   time.Duration // for a pod that is new to the API server
	NoteTime      time.Duration // how far what the journal knows of a stream may be behind it
	ExtraModels   int           // names of models without a price that an agent may bring along
	MaxOutput     uint64        // tokens that a call may answer with if it doesn't say, in hard mode
	Overhead      uint64        // tokens of a prompt that its bytes don't show, in hard mode
	PassUnknown   bool          // let calls through that can't be counted
	DefaultMode   Mode
	ClosedAtBirth bool // refuse everything before the first state is known
}

// A Meter is the proxy.
type Meter struct {
	limits    Limits
	upstreams Upstreams
	journal   *Journal
	metrics   *metrics
	state     *State
	callers   Callers
	hard      *Treasury // nil: hard mode refuses
	drains    *drains
	log       logr.Logger
	now       func() time.Time

	proxy *httputil.ReverseProxy
	ids   atomic.Uint64

	modelsMu sync.Mutex
	models   map[string]map[string]bool // without a price, by agent
	answered map[string][]string        // in another's place, by that
}

// Callers say whether a caller is a pod of an agent.
type Callers interface {
	// Confirm returns the reason why the address is none of the namespace's pods,
	// empty if it is one. It may wait until ctx is done.
	Confirm(ctx context.Context, address, namespace string) string
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

func namespaceOf(agent string) string { return v1alpha1.AgentNamespace(agent) }

// newProxy makes the reverse proxy behind a meter.
func (m *Meter) newProxy(transport http.RoundTripper) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        m.rewrite,
		Transport:      transport,
		ModifyResponse: m.answer,
		ErrorHandler:   m.failed,
		BufferPool:     &buffers{},
		ErrorLog:       quiet(m.log),
	}
}

// ServeHTTP serves one call.
func (m *Meter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	rt, ok := parseRoute(r.Method, r.URL)
	if !ok {
		http.Error(w, "token-meter: the path must be /agents/<agentName>/<gemini|openai|anthropic>/<the provider's own path>", http.StatusNotFound)
		return
	}
	if refused := m.confirm(r, rt); refused != nil {
		refused.write(w, rt.dialect)
		return
	}
	c := &call{meter: m, route: rt, asked: rt.model, began: began}
	body, refused := m.admit(c, r)
	if refused != nil {
		m.metrics.refusals.WithLabelValues(rt.agent, namespaceOf(rt.agent), refused.reason).Inc()
		refused.write(w, rt.dialect)
		return
	}
	m.forward(w, r, c, body)
}

// confirm asks whether the caller is who it claims to be.
func (m *Meter) confirm(r *http.Request, rt route) *refusal {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	ctx, cancel := context.WithTimeout(r.Context(), m.limits.ConfirmWait)
	defer cancel()
	reason := m.callers.Confirm(ctx, host, namespaceOf(rt.agent))
	if reason == "" {
		return nil
	}
	claimed := "other"
	if _, ok := m.state.Budget(rt.agent); ok {
		claimed = rt.agent // a name that exists: callers can't make up series
	}
	m.metrics.unverified.WithLabelValues(claimed, reason).Inc()
	m.log.Info("Refused a caller that is not the agent it claims to be", "claimed", rt.agent, "address", host, "reason", reason)
	return &refusal{status: http.StatusForbidden, reason: "unverified", message: "This call claims to come from agent " + rt.agent + ", but its address is none of a pod in namespace " + namespaceOf(rt.agent) + "."}
}

// admit decides whether a call may go on, and returns the body to send if it had
// to be read.
func (m *Meter) admit(c *call, r *http.Request) ([]byte, *refusal) {
	rt := c.route
	if rt.op == opUnknown && !m.limits.PassUnknown {
		return nil, &refusal{status: http.StatusNotFound, reason: "unknown_path", message: "The token meter can't count what " + r.Method + " " + rt.path + " uses, so it isn't passed on. It knows generateContent and streamGenerateContent, chat/completions, responses and messages."}
	}
	if up, _ := m.upstreams.of(rt); up == nil {
		return nil, &refusal{status: http.StatusNotFound, reason: "no_upstream", message: "The platform has no provider behind this path: the token meter was started without an upstream for it."}
	}
	if rt.op == opFree {
		return nil, nil
	}
	budget, known := m.state.Budget(rt.agent)
	mode := m.limits.DefaultMode
	if budget.Mode != "" {
		mode = budget.Mode
	}
	if refused := m.state.judge(rt.agent, budget, known, mode, m.limits.ClosedAtBirth, m.now()); refused != nil {
		return nil, refused
	}
	hard := mode == ModeHard && budget.Enforced
	if rt.op == opUnknown {
		if hard {
			return nil, &refusal{status: http.StatusForbidden, reason: "unknown_path", message: "What this call costs can't be bounded, and the budget of agent " + rt.agent + " is a hard one."}
		}
		return nil, nil
	}
	if rt.form == formGemini && !hard {
		return m.small(r) // nothing of it needs to be known
	}
	body, refused := m.read(c, r)
	if refused != nil || !hard {
		return body, refused
	}
	return m.reserve(r.Context(), c, budget, body)
}

// read reads a request's body, learns the model asked for, and has OpenAI's
// streams say what they used.
func (m *Meter) read(c *call, r *http.Request) ([]byte, *refusal) {
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, &refusal{status: http.StatusUnsupportedMediaType, reason: "encoded_request", message: "The token meter reads requests that are not compressed; this one is " + e + "."}
	}
	body, err := readAll(r, m.limits.BodyBytes)
	switch {
	case errors.Is(err, errTooLarge):
		return nil, &refusal{status: http.StatusRequestEntityTooLarge, reason: "too_large", message: "The request is larger than the token meter reads (--max-body-bytes)."}
	case err != nil:
		return nil, cutRequest()
	case !gjson.ValidBytes(body) || !gjson.ParseBytes(body).IsObject():
		return nil, &refusal{status: http.StatusBadRequest, reason: "unreadable", message: "The request is no JSON object."}
	}
	if c.asked == "" {
		c.asked = gjson.GetBytes(body, "model").Str
	}
	switch c.route.form {
	case formChat:
		if gjson.GetBytes(body, "stream").Bool() && !gjson.GetBytes(body, "stream_options.include_usage").Bool() {
			if body, err = includeUsage(body); err != nil {
				return nil, &refusal{status: http.StatusBadRequest, reason: "unreadable", message: "The request's stream_options is no object."}
			}
		}
	case formResponses:
		if gjson.GetBytes(body, "background").Bool() && !m.limits.PassUnknown {
			return nil, &refusal{status: http.StatusBadRequest, reason: "background", message: "Responses in the background can't be counted by the token meter: leave out \"background\"."}
		}
	case formGemini, formMessages:
	}
	return body, nil
}

// small reads a body that is worth keeping, see kept.
func (m *Meter) small(r *http.Request) ([]byte, *refusal) {
	if r.ContentLength <= 0 || r.ContentLength > min(keepUpTo, m.limits.BodyBytes) {
		return nil, nil
	}
	body, err := readAll(r, r.ContentLength)
	if err != nil {
		return nil, cutRequest()
	}
	return body, nil
}

func cutRequest() *refusal {
	return &refusal{status: http.StatusBadRequest, reason: "unreadable", message: "The request could not be read to its end."}
}

// includeUsage patches the bytes of a request: decoding and encoding it would lose
// what the meter doesn't know.
func includeUsage(body []byte) ([]byte, error) {
	if o := gjson.GetBytes(body, "stream_options"); o.Exists() && !o.IsObject() {
		if o.Type != gjson.Null {
			return nil, errors.New("no object")
		}
		return sjson.SetRawBytes(body, "stream_options", []byte(`{"include_usage":true}`))
	}
	return sjson.SetRawBytes(body, "stream_options.include_usage", []byte("true"))
}

var errTooLarge = errors.New("too large")

func readAll(r *http.Request, limit int64) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, errTooLarge
	}
	buf := bytes.NewBuffer(make([]byte, 0, max(512, min(r.ContentLength+1, limit))))
	n, err := buf.ReadFrom(io.LimitReader(r.Body, limit+1))
	if n > limit {
		return nil, errTooLarge
	}
	return buf.Bytes(), err
}

// forward sends a call to its provider and the answer back. The provider's side
// has a life of its own: a caller that leaves doesn't end it.
func (m *Meter) forward(w http.ResponseWriter, r *http.Request, c *call, body []byte) {
	c.id = m.ids.Add(1)
	// A context without Done would make ReverseProxy watch the connection itself.
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	ctx, stop := context.WithTimeout(context.WithValue(ctx, callKey{}, c), m.limits.CallTime)
	c.context, c.cancel = ctx, func(err error) { cancel(err); stop() }
	m.metrics.open.Inc()
	if c.route.op == opGenerate {
		if err := m.begin(c); err != nil {
			refused := &refusal{status: http.StatusServiceUnavailable, reason: "journal", message: "The token meter can't write its journal, without which a hard budget isn't safe."}
			c.finish()
			m.close(c, 0, 0, nil) //nolint:contextcheck // money is given back after the call
			c.cancel(nil)
			m.metrics.open.Dec()
			m.metrics.refusals.WithLabelValues(c.route.agent, namespaceOf(c.route.agent), refused.reason).Inc()
			refused.write(w, c.route.dialect)
			return
		}
	}
	defer context.AfterFunc(r.Context(), c.leave)()
	out := r.WithContext(ctx)
	if body != nil {
		c.sends = &kept{bytes: body}
		c.sends.attach(out)
	}
	m.proxy.ServeHTTP(w, out)
}

// begin makes a call's series exist, and notes in the journal that it began.
func (m *Meter) begin(c *call) error {
	m.journal.Touch(m.key(c, usage.Item{Model: c.asked}, usage.TierStandard, outcomeComplete))
	c.opened = openCall{Agent: c.route.agent, Namespace: namespaceOf(c.route.agent), Asked: c.asked, Started: c.began}
	if c.hold != nil {
		c.opened.Reserved, c.opened.Key = c.hold.amount, c.hold.key
	}
	// It is on disk before the call goes out: a crash names each call that it lost.
	err := m.journal.Open(c.id, c.opened, true)
	if c.hold == nil && err != nil {
		m.written(c, err)
		return nil // it counts all the same
	}
	return err
}

// rewrite makes the request to the provider.
func (m *Meter) rewrite(p *httputil.ProxyRequest) {
	c := callOf(p.In.Context())
	up, path := m.upstreams.of(c.route)
	p.Out.URL.Scheme, p.Out.URL.Host = up.Base.Scheme, up.Base.Host
	p.Out.Host = up.Base.Host
	decoded, err := url.PathUnescape(path)
	if err != nil {
		decoded = path
	}
	p.Out.URL.Path, p.Out.URL.RawPath = decoded, path
	h := p.Out.Header
	for _, name := range credentialHeaders {
		h.Del(name)
	}
	if q := p.Out.URL.Query(); q.Has("key") || q.Has("access_token") {
		q.Del("key")
		q.Del("access_token")
		p.Out.URL.RawQuery = q.Encode()
	}
	if a := h.Get("Accept-Encoding"); a != "" {
		if a = acceptable(a); a == "" {
			h.Del("Accept-Encoding")
		} else {
			h.Set("Accept-Encoding", a)
		}
	}
}

// authorize is a transport that adds the meter's credentials, so that a failure to
// get one is an error of the call.
type authorize struct {
	base      http.RoundTripper
	upstreams Upstreams
}

func (a authorize) RoundTrip(r *http.Request) (*http.Response, error) {
	if c := callOf(r.Context()); c != nil {
		if up, _ := a.upstreams.of(c.route); up != nil && up.Authorize != nil {
			if err := up.Authorize(r.Context(), r.Header); err != nil {
				return nil, credentialError{err}
			}
		}
	}
	return a.base.RoundTrip(r)
}

// A credentialError says that no request was made.
type credentialError struct{ error }

// answer puts the reader into an answer's way.
func (m *Meter) answer(res *http.Response) error {
	c := callOf(res.Request.Context())
	c.sends.forget()
	b := &body{ReadCloser: res.Body, call: c, left: res.ContentLength, status: res.StatusCode}
	if c.route.op == opGenerate {
		c.reader = usage.NewReader(c.route.reads, res.Header.Get("X-Gemini-Service-Tier"))
		b.tee = newTee(res.Header.Get("Content-Encoding"), c.reader)
		_, plain := b.tee.(plainTee)
		c.packed = !plain
		if b.tee == nil {
			c.unreadable()
		}
	}
	res.Body = b
	if res.ContentLength == 0 {
		b.end(nil) // nobody would read it
	}
	return nil
}

// failed answers for a provider that didn't.
func (m *Meter) failed(w http.ResponseWriter, r *http.Request, err error) {
	c := callOf(r.Context())
	reason, sent := "unreachable", true
	var dial *net.OpError
	var credential credentialError
	switch {
	case errors.As(err, &credential):
		sent, reason = false, "credential"
	case errors.As(err, &dial) && dial.Op == "dial":
		sent = false
	}
	if sent && c.route.op == opGenerate {
		// It may have been answered, and billed, for all we know.
		m.metrics.uncounted.WithLabelValues(c.route.agent, namespaceOf(c.route.agent), "no_answer").Inc()
	}
	if left, _, first := c.finish(); first {
		m.metrics.open.Dec()
		outcome := outcomeReset
		if left {
			outcome = outcomeEstimated
		}
		m.lost(c, outcome, sent) //nolint:contextcheck // money is given back after the call
	}
	cause := context.Cause(c.context) //nolint:contextcheck // the provider's side has its own
	c.cancel(nil)
	if errors.Is(cause, errLeft) {
		return
	}
	m.log.Info("A provider gave no answer", "agent", c.route.agent, "dialect", c.route.dialect, "reason", reason, "error", err.Error())
	status := http.StatusBadGateway
	if errors.Is(cause, context.DeadlineExceeded) {
		status = http.StatusGatewayTimeout
	}
	refusal{status: status, reason: reason, message: "The provider gave the token meter no answer."}.write(w, c.route.dialect)
}

// key is the series that an item of a call is counted under.
func (m *Meter) key(c *call, item usage.Item, tier, outcome string) Key {
	prices := m.state.Prices()
	model := m.named(c.route.agent, modelName(item.Model), c.asked)
	return Key{
		Agent: c.route.agent, Namespace: namespaceOf(c.route.agent), Model: model,
		Context: prices.Context(model, item.Tokens.Prompt()), Tier: tier, Outcome: outcome,
	}
}

// cost of entries, at the prices of now.
func (m *Meter) cost(entries []Entry) USD {
	var cost USD
	prices := m.state.Prices()
	for _, e := range entries {
		cost += prices.Cost(e.Key.Model, e.Key.Context, e.Key.Tier, e.Tokens)
	}
	return cost
}

// add counts what is known of a call that goes on.
func (m *Meter) add(c *call, entries []Entry) {
	if len(entries) == 0 {
		return
	}
	cost := m.cost(entries)
	c.cost += cost
	// What is counted is no longer an estimate, in one write.
	m.written(c, m.journal.Advance(c.id, c.opened, cost, entries...))
}

func (m *Meter) written(c *call, err error) bool {
	if err != nil {
		m.metrics.journal.Inc()
		m.log.Error(err, "Cannot write the journal", "agent", c.route.agent)
	}
	return err == nil
}

// settle ends a call whose answer was read as far as it will be. The report is nil
// for one that isn't counted.
func (m *Meter) settle(c *call, r *usage.Report, outcome string, status int, entries []Entry) {
	asked, model := "", ""
	if c.asked != "" {
		asked = m.named(c.route.agent, "", c.asked)
	}
	if r != nil {
		if len(r.Items) > 0 {
			model = m.named(c.route.agent, modelName(r.Items[0].Model), c.asked)
			m.learn(modelName(c.asked), modelName(r.Items[0].Model))
		}
		cost := m.cost(entries)
		c.cost += cost
		m.close(c, cost, c.hold.charge(c.cost, r, status), entries)
		if c.hold != nil && c.cost > c.hold.amount {
			m.metrics.exceeded.WithLabelValues(c.route.agent, namespaceOf(c.route.agent)).Inc()
		}
	}
	m.metrics.calls.WithLabelValues(c.route.agent, namespaceOf(c.route.agent), string(c.route.dialect), asked, model, outcome).Inc()
}

// close ends a call in the journal, and then what was held for it: a hold whose
// end isn't on disk stays.
func (m *Meter) close(c *call, cost, charge USD, entries []Entry) {
	if c.hold == nil {
		m.written(c, m.journal.Add(c.id, true, c.route.agent, cost, entries...))
		return
	}
	if m.written(c, m.journal.Charge(c.id, c.route.agent, cost, c.hold.key, charge, entries...)) {
		c.hold.settle(charge)
	}
}

// lost ends a call without an answer. One that was sent may have cost all that was
// held.
func (m *Meter) lost(c *call, outcome string, sent bool) {
	if c.route.op == opGenerate {
		charge := USD(0)
		if sent && c.hold != nil {
			charge = c.hold.amount
		}
		m.close(c, 0, charge, nil)
	}
	asked := ""
	if c.asked != "" {
		asked = m.named(c.route.agent, "", c.asked)
	}
	m.metrics.calls.WithLabelValues(c.route.agent, namespaceOf(c.route.agent), string(c.route.dialect), asked, "", outcome).Inc()
}

// buffers of answers on their way. Events are small, and streams are many.
type buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *buffers) Get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return *p
	}
	return make([]byte, bufferSize)
}

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
