package chatfrontend

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	"github.com/a2aproject/a2a-go/v2/a2aclient/agentcard"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
)

const (
	// cardTimeout bounds the one call that is made before a question is accepted.
	cardTimeout = 8 * time.Second
	// callTimeout bounds calls that answer at once: the state of a task, its end.
	callTimeout = 15 * time.Second
	// maxStream bounds one stream of events, in bytes. a2a-go bounds one event, to 10 MiB.
	maxStream = 64 << 20
	// maxReply bounds an answer that is no stream.
	maxReply = 12 << 20
	// legacyVersion is what kagent up to v0.10 speaks, later ones only a2a.Version.
	legacyVersion = a2av0.Version
)

// A planner is the agent that answers.
type planner struct {
	base *url.URL
	http *http.Client // without a timeout: an answer takes as long as it takes
	// refused remembers that the agent's card promised a version that it does not serve:
	// kagent v0.10's does.
	refused atomic.Bool
}

func newPlanner(base *url.URL, transport http.RoundTripper) *planner {
	return &planner{base: base, http: &http.Client{Transport: guard{transport}, CheckRedirect: noRedirect}}
}

// noRedirect: an agent that sends its caller elsewhere is none of ours.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// A connection speaks the protocol version of an agent's card.
type connection struct {
	client    *a2aclient.Client
	version   a2a.ProtocolVersion
	streaming bool
	planner   *planner
}

// connect reads the agent's card and chooses the protocol version by it. Its
// error says that the planner can't be reached or is none.
func (p *planner) connect(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, cardTimeout)
	defer cancel()
	resolver := &agentcard.Resolver{Client: p.http, CardParser: a2av0.NewAgentCardParser()}
	card, err := resolver.Resolve(ctx, p.base.String())
	if err != nil {
		return nil, fmt.Errorf("cannot read the planner's agent card: %w", err)
	}
	var endpoints []*a2a.AgentInterface
	for _, i := range card.SupportedInterfaces {
		if i == nil || !strings.EqualFold(string(i.ProtocolBinding), string(a2a.TransportProtocolJSONRPC)) {
			continue
		}
		if p.refused.Load() && i.ProtocolVersion == a2a.Version {
			continue
		}
		e := *i
		e.ProtocolBinding, e.URL = a2a.TransportProtocolJSONRPC, p.endpoint(i.URL)
		endpoints = append(endpoints, &e)
	}
	if len(endpoints) == 0 {
		// A card of old that says nothing on it means JSON-RPC at its own address.
		endpoints = []*a2a.AgentInterface{{URL: p.base.String(), ProtocolBinding: a2a.TransportProtocolJSONRPC, ProtocolVersion: legacyVersion}}
	}
	options := []a2aclient.FactoryOption{
		a2aclient.WithDefaultsDisabled(),
		a2aclient.WithJSONRPCTransport(p.http),
		a2av0.WithJSONRPCTransport(a2av0.JSONRPCTransportConfig{Client: p.http}),
	}
	client, err := a2aclient.NewFromEndpoints(ctx, endpoints, options...)
	if err != nil {
		return nil, fmt.Errorf("cannot speak with the planner: %w", err)
	}
	version := legacyVersion
	for _, e := range endpoints {
		if strings.HasPrefix(string(e.ProtocolVersion), "1") {
			version = a2a.Version
		}
	}
	return &connection{client: client, version: version, streaming: card.Capabilities.Streaming, planner: p}, nil
}

// endpoint is where calls go. A card names the address by which the agent knows
// itself, which may be one that only it can reach; only its path is of use, and only
// where PLANNER_URL has none.
func (p *planner) endpoint(card string) string {
	u, err := url.Parse(card)
	if err != nil || (p.base.Path != "" && p.base.Path != "/") {
		return p.base.String()
	}
	e := *p.base
	e.Path = u.Path
	if e.Path == "" {
		e.Path = "/"
	}
	return e.String()
}

// send asks, and yields what comes back. A version that the card promised and the
// agent does not serve is tried once.
func (c *connection) send(ctx context.Context, m *a2a.Message) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		first := true
		for e, err := range c.events(ctx, &a2a.SendMessageRequest{Message: m}) {
			if first && c.version == a2a.Version && (errors.Is(err, a2a.ErrMethodNotFound) || errors.Is(err, a2a.ErrVersionNotSupported)) && !c.planner.refused.Swap(true) {
				again, connectErr := c.planner.connect(ctx)
				if connectErr != nil {
					yield(nil, connectErr)
					return
				}
				*c = *again
				c.send(ctx, m)(yield)
				return
			}
			first = false
			if !yield(e, err) {
				return
			}
		}
	}
}

// events is the stream of an answer; of one event for an agent that can't stream.
func (c *connection) events(ctx context.Context, req *a2a.SendMessageRequest) iter.Seq2[a2a.Event, error] {
	if c.streaming {
		return c.client.SendStreamingMessage(ctx, req)
	}
	return func(yield func(a2a.Event, error) bool) {
		e, err := c.client.SendMessage(ctx, req)
		if err != nil {
			yield(nil, err)
			return
		}
		yield(e, nil)
	}
}

// resume takes up a task whose stream broke.
func (c *connection) resume(ctx context.Context, id a2a.TaskID) iter.Seq2[a2a.Event, error] {
	return c.client.SubscribeToTask(ctx, &a2a.SubscribeToTaskRequest{ID: id})
}

func (c *connection) task(ctx context.Context, id a2a.TaskID) (*a2a.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.client.GetTask(ctx, &a2a.GetTaskRequest{ID: id})
}

func (c *connection) cancel(ctx context.Context, id a2a.TaskID) (*a2a.Task, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return c.client.CancelTask(ctx, &a2a.CancelTaskRequest{ID: id})
}

// callerKey is the context's key of a caller.
type callerKey struct{}

// A caller is who the planner is asked for, and whether it said too much.
type caller struct {
	user string
	over atomic.Bool
}

// overran says whether the planner sent more than an answer can hold.
func overran(ctx context.Context) bool {
	c, ok := ctx.Value(callerKey{}).(*caller)
	return ok && c.over.Load()
}

// withUser names the person towards the planner. The planner keeps one session of its
// worker per user id, so each conversation has one of its own: with one for all, the
// worker would tell one person what another asked.
func withUser(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, callerKey{}, &caller{user: id})
}

// A guard stands between a2a-go and the network: it names the user, bounds what is
// read, and tells an answer that is no stream from a stream that says nothing.
type guard struct{ next http.RoundTripper }

func (g guard) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	who, ok := r.Context().Value(callerKey{}).(*caller)
	if ok {
		r.Header.Set("X-User-Id", who.user)
	} else {
		who = &caller{}
	}
	rsp, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	limit := int64(maxReply)
	if r.Header.Get("Accept") == "text/event-stream" {
		limit = maxStream
		kind, _, _ := mime.ParseMediaType(rsp.Header.Get("Content-Type"))
		if rsp.StatusCode == http.StatusOK && kind != "text/event-stream" {
			return stream(rsp, kind)
		}
	}
	rsp.Body = &bounded{ReadCloser: rsp.Body, left: limit, over: &who.over}
	if kind, _, _ := mime.ParseMediaType(rsp.Header.Get("Content-Type")); kind == "text/event-stream" || r.Method != http.MethodPost {
		return rsp, nil // what is no stream is JSON, whatever it is called: a2a-go v0.3 says nothing
	}
	defer rsp.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		return nil, err
	}
	body = withoutErrorData(body)
	rsp.Body, rsp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return rsp, nil
}

// withoutErrorData takes the data out of a JSON-RPC error where they are no list. A
// planner of A2A 0.3 sends an object there, which a2a-go v2.3.1 can't read; the error's
// code would be lost with it: a planner that has forgotten a task would be asked for it
// again until the time is up.
func withoutErrorData(body []byte) []byte {
	var reply map[string]json.RawMessage
	var failure map[string]json.RawMessage
	if json.Unmarshal(body, &reply) != nil || json.Unmarshal(reply["error"], &failure) != nil {
		return body
	}
	if data := bytes.TrimSpace(failure["data"]); len(data) == 0 || data[0] == '[' {
		return body
	}
	delete(failure, "data")
	var err error
	if reply["error"], err = json.Marshal(failure); err != nil {
		return body
	}
	if b, err := json.Marshal(reply); err == nil {
		return b
	}
	return body
}

// stream makes a stream of one event of an answer in JSON, which is how servers refuse
// a call; a2a-go would see a stream without events.
func stream(rsp *http.Response, kind string) (*http.Response, error) {
	defer rsp.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(io.LimitReader(rsp.Body, maxReply))
	if err != nil {
		return nil, err
	}
	line := &bytes.Buffer{}
	if json.Compact(line, withoutErrorData(body)) != nil {
		return nil, notA2AError{fmt.Sprintf("the planner answered with %q where a stream of events was asked for", kind)}
	}
	rsp.Body = io.NopCloser(io.MultiReader(strings.NewReader("data: "), line, strings.NewReader("\n\n")))
	return rsp, nil
}

// A bounded body fails when more is read than it may hold.
type bounded struct {
	io.ReadCloser

	left int64
	over *atomic.Bool // of the caller: a2a-go reports the half of an event before the reason
}

var errOverrun = notA2AError{"the planner sent more than an answer can hold"}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.over.Store(true)
		return 0, errOverrun
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// notA2AError is the failure of a planner that does not keep to the protocol. Trying
// again is of no use.
type notA2AError struct{ message string }

func (e notA2AError) Error() string { return e.message }

// hopeless says whether an error is an answer: the planner was reached and what it
// said can't become better by asking again.
func hopeless(err error) bool {
	var bad notA2AError
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var said *a2a.Error
	return errors.As(err, &bad) || errors.As(err, &syntax) && !cutOff(err) || errors.As(err, &kind) || errors.As(err, &said) ||
		strings.Contains(err.Error(), "token too long") || strings.Contains(err.Error(), "unknown event")
}

// cutOff says whether an event ended in the middle, as when a planner dies in a word:
// the connection is broken, and the answer may be found again.
func cutOff(err error) bool { return strings.Contains(err.Error(), "unexpected end of JSON input") }

// unreadable says in words what was wrong with an answer, without its address.
func unreadable(err error) string {
	var bad notA2AError
	var refused *a2a.Error
	switch {
	case errors.As(err, &bad):
		return clip(sentence(bad.message), 300)
	case errors.As(err, &refused):
		return clip(redact("It refused: "+refused.Error()), 300)
	case strings.Contains(err.Error(), "token too long"):
		return "One piece of it was larger than 10 MiB."
	default:
		return "What came was none of the agents' protocol (A2A)."
	}
}

// unreachable says in words why a planner could not be reached, without its address.
func unreachable(err error) string {
	var status *agentcard.ErrStatusNotOK
	var dns *net.DNSError
	switch {
	case errors.As(err, &status):
		return "the agent answered " + status.Status
	case errors.As(err, &dns):
		return "the agent has no address yet"
	case errors.Is(err, context.DeadlineExceeded):
		return "the agent did not answer in time"
	case strings.Contains(err.Error(), "connection refused"):
		return "nothing listens at the agent's address: it is starting, or stopped"
	case strings.Contains(err.Error(), "card parsing failed"):
		return "what answers at the agent's address is no agent"
	default:
		return "the connection to the agent failed"
	}
}
