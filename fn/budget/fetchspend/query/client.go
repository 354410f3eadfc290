package query

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/internal/errors"
)

// A Server is where to ask and as whom.
type Server struct {
	URL      string
	Tenant   string // header X-Scope-OrgID; empty: none
	Token    string // bearer; empty: none
	Username string // basic auth; empty: none
	Password string
	CA       string // PEM; empty: the system's roots
	Timeout  time.Duration
}

// maxBody is the largest answer that is read. Samples of 256 series over eight
// hours are some 7 MiB.
const maxBody = 64 << 20

// client asks one server with the Prometheus API client.
type client struct {
	api     promv1.API
	timeout time.Duration
	seen    *notes
	exact   func(remember bool) bool
	stirred func(key string, remember bool) bool
}

// Stirred says whether an agent is known to have moved since a ledger.
func (c *client) Stirred(key string, remember bool) bool {
	return c.stirred != nil && c.stirred(key, remember)
}

// ExactNames says whether the server is known to refuse regular expressions on names.
func (c *client) ExactNames() bool { return c.exact != nil && c.exact(false) }

// RememberExactNames spares the server the query that it refuses.
func (c *client) RememberExactNames() {
	if c.exact != nil {
		c.exact(true)
	}
}

// notes hold what the API client does not hand out. One query at a time writes
// them.
type notes struct {
	mu       sync.Mutex
	date     time.Time
	status   int
	tooLarge bool
	head     []byte // the beginning of the answer
	tail     []byte // and its end
}

// Client returns a client of a server over a transport that its user keeps, because
// it holds the connections.
func Client(srv Server, transport http.RoundTripper) (Querier, error) {
	return newClient(srv, transport)
}

func newClient(srv Server, transport http.RoundTripper) (*client, error) {
	u, err := url.Parse(srv.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, Problem{Reason: v1alpha1.ReasonInvalidURL, Message: "prometheus.url must be http(s)://<host>[:<port>][/<path prefix>]"}
	}
	u.RawQuery, u.Fragment = "", ""
	if u.User != nil && srv.Username == "" {
		srv.Username = u.User.Username()
		srv.Password, _ = u.User.Password()
	}
	u.User = nil // an error quotes the URL
	n := &notes{}
	c, err := api.NewClient(api.Config{Address: u.String(), Client: &http.Client{
		Transport: &guard{next: transport, srv: srv, notes: n},
		// A redirect would turn the query into a GET, and hand the credentials to
		// whoever it names.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}})
	if err != nil {
		return nil, Problem{Reason: v1alpha1.ReasonInvalidURL, Message: "prometheus.url can't be used"}
	}
	return &client{api: promv1.NewAPI(c), timeout: srv.Timeout, seen: n}, nil
}

// Connections keeps one transport for each CA: they hold the open connections.
type Connections struct {
	mu   sync.Mutex
	byCA map[string]*http.Transport

	exact   map[string]bool // servers that want exact names, by URL
	stirred map[string]bool // ledgers of agents that moved since
}

// maxTransports is more CAs than a control plane has; beyond it the kept ones
// are let go.
const maxTransports = 16

// maxStirred is more ledgers than one function sees in a block of time.
const maxStirred = 1 << 14

// remembered says whether a key is in a bounded set, and puts it there.
func (c *Connections) remembered(set *map[string]bool, most int, key string, remember bool) bool { //nolint:gocritic // a set that is not there yet is made
	c.mu.Lock()
	defer c.mu.Unlock()
	if remember {
		if *set == nil || len(*set) >= most {
			*set = map[string]bool{}
		}
		(*set)[key] = true
	}
	return (*set)[key]
}

// Connect returns a client of a server.
func (c *Connections) Connect(srv Server) (Querier, error) {
	c.mu.Lock()
	t, ok := c.byCA[srv.CA]
	c.mu.Unlock()
	if !ok {
		var err error
		if t, err = newTransport(srv.CA); err != nil {
			return nil, err
		}
		c.mu.Lock()
		if c.byCA == nil || len(c.byCA) >= maxTransports {
			c.byCA = map[string]*http.Transport{}
		}
		c.byCA[srv.CA] = t
		c.mu.Unlock()
	}
	q, err := newClient(srv, t)
	if err != nil {
		return nil, err
	}
	q.exact = func(remember bool) bool { return c.remembered(&c.exact, maxTransports, srv.URL, remember) }
	q.stirred = func(key string, remember bool) bool { return c.remembered(&c.stirred, maxStirred, key, remember) }
	return q, nil
}

// newTransport verifies a server with the CA bundles that were given.
func newTransport(ca string) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the standard library's own
	t.MaxIdleConnsPerHost = 16
	if ca != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(ca)) {
			return nil, Problem{Reason: v1alpha1.ReasonInvalidCA, Message: "The CA bundle for Prometheus (prometheus.caBundle, or ca.crt of its credentials) holds no PEM certificate"}
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return t, nil
}

// guard adds what a server wants to every request, and bounds what it answers.
type guard struct {
	next  http.RoundTripper
	srv   Server
	notes *notes
}

func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if g.srv.Tenant != "" {
		r.Header.Set("X-Scope-OrgID", g.srv.Tenant)
	}
	switch {
	case g.srv.Token != "":
		r.Header.Set("Authorization", "Bearer "+g.srv.Token)
	case g.srv.Username != "":
		r.SetBasicAuth(g.srv.Username, g.srv.Password)
	}
	r.Header.Set("User-Agent", "function-budget-fetch-spend")
	rsp, err := g.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	g.notes.mu.Lock()
	defer g.notes.mu.Unlock()
	g.notes.status, g.notes.head, g.notes.tail = rsp.StatusCode, nil, nil
	g.notes.date, _ = http.ParseTime(rsp.Header.Get("Date")) // zero when it says none
	rsp.Body = &bounded{ReadCloser: rsp.Body, left: maxBody, notes: g.notes}
	return rsp, nil
}

// bounded fails when a body is longer than it may be.
type bounded struct {
	io.ReadCloser

	left  int64
	notes *notes
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.notes.mu.Lock()
		b.notes.tooLarge = true
		b.notes.mu.Unlock()
		return 0, errors.New("answer too large")
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	b.notes.mu.Lock()
	b.notes.read(p[:n])
	b.notes.mu.Unlock()
	return n, err
}

// ends are how much of an answer's beginning and end is kept.
const ends = 1 << 10

func (n *notes) read(p []byte) {
	if room := ends - len(n.head); room > 0 {
		n.head = append(n.head, p[:min(room, len(p))]...)
	}
	if len(p) >= ends {
		n.tail = append(n.tail[:0], p[len(p)-ends:]...)
		return
	}
	n.tail = append(n.tail, p...)
	n.tail = n.tail[max(0, len(n.tail)-ends):]
}

// partial is how a cluster of VictoriaMetrics says that a part of it is away, and who puts
// answers of several servers together that one is.
var (
	partial    = regexp.MustCompile(`^\s*\{[^\[]*` + isPartial)
	partialKey = regexp.MustCompile(`[,\]}]\s*` + isPartial)
)

const isPartial = `("isPartial"\s*:\s*true|"status"\s*:\s*"partial")`

// partialAfter says whether an answer says so behind its series, as one does that went through
// something which sorts keys: no label stands there.
func partialAfter(tail []byte) bool {
	end := bytes.LastIndexByte(tail, ']')
	return end >= 0 && partialKey.Match(tail[end:])
}

// Query implements Querier. Its errors are Problems, except for what only a log
// should say.
func (c *client) Query(ctx context.Context, promQL string, at time.Time) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	value, warnings, err := c.api.Query(ctx, promQL, at, promv1.WithTimeout(c.timeout))
	c.seen.mu.Lock()
	defer c.seen.mu.Unlock()
	if err != nil {
		return Answer{}, c.seen.problem(err)
	}
	if c.seen.status != http.StatusOK {
		// The API client takes a 400 or a 422 for an answer unless its body says
		// "error" or "success".
		return Answer{}, httpProblem(&promv1.Error{}, c.seen.status)
	}
	if partial.Match(c.seen.head) || partialAfter(c.seen.tail) {
		return Answer{}, Problem{Reason: v1alpha1.ReasonPartialAnswer, Message: "The server says that its answer is a part only (isPartial, or status partial): one of its storage nodes is away"}
	}
	if len(warnings) > 0 {
		return Answer{}, Problem{Reason: v1alpha1.ReasonPartialAnswer, Message: "The server answered with a warning, so its answer may be a part only"}
	}
	series, err := readValue(value)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Series: series, Date: c.seen.date}, nil
}

// readValue takes an instant query's matrix or vector.
func readValue(v model.Value) ([]count.Series, error) {
	switch v := v.(type) {
	case model.Matrix:
		out := make([]count.Series, 0, len(v))
		for _, s := range v {
			if s == nil {
				return nil, badAnswer("one of its series is null")
			}
			sr := count.Series{Labels: labels(s.Metric), Samples: make([]count.Sample, 0, len(s.Values)+len(s.Histograms))}
			for _, p := range s.Values {
				sr.Samples = append(sr.Samples, count.Sample{At: int64(p.Timestamp), Value: float64(p.Value)})
			}
			for _, p := range s.Histograms {
				if p.Histogram == nil {
					return nil, badAnswer("one of its histograms is null")
				}
				sr.Samples = append(sr.Samples, count.Sample{At: int64(p.Timestamp), Value: float64(p.Histogram.Sum)})
			}
			out = append(out, sr)
		}
		return out, nil
	case model.Vector:
		out := make([]count.Series, 0, len(v))
		for _, s := range v {
			if s == nil {
				return nil, badAnswer("one of its series is null")
			}
			value := float64(s.Value)
			if s.Histogram != nil {
				value = float64(s.Histogram.Sum)
			}
			out = append(out, count.Series{Labels: labels(s.Metric), Samples: []count.Sample{{At: int64(s.Timestamp), Value: value}}})
		}
		return out, nil
	}
	return nil, badAnswer("it is neither samples nor a vector")
}

func labels(m model.Metric) map[string]string {
	out := make(map[string]string, len(m))
	for k, v := range m {
		out[string(k)] = string(v)
	}
	return out
}

func badAnswer(why string) Problem {
	return Problem{Reason: v1alpha1.ReasonBadAnswer, Message: "The server's answer can't be used: " + why}
}

// problem classifies an error in fixed words: what a server or a dialer says has
// ports, times and ids in it, and a status that changes at every look never
// rests. It may hold a secret, too.
func (n *notes) problem(err error) error {
	tooLarge, status := n.tooLarge, n.status
	n.tooLarge, n.status = false, 0

	var (
		apiErr  *promv1.Error
		dns     *net.DNSError
		netErr  net.Error
		cert    *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
	)
	unreachable := func(why string) error { return Problem{Reason: v1alpha1.ReasonPrometheusUnreachable, Message: why} }
	switch {
	case tooLarge:
		return Problem{Reason: v1alpha1.ReasonTooManySamples, Message: fmt.Sprintf("The server's answer is larger than %d MiB: the agent has too many series", maxBody>>20)}
	case status/100 == 2 && brokenOff(string(n.tail)) != "":
		// VictoriaMetrics had begun to answer when it noticed; to the API client that is
		// an answer that can't be read.
		return httpProblem(&promv1.Error{Msg: brokenOff(string(n.tail))}, http.StatusUnprocessableEntity)
	case errors.As(err, &apiErr):
		return httpProblem(apiErr, status)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return Problem{Reason: v1alpha1.ReasonQueryTimedOut, Message: "The server did not answer within prometheus.timeout"}
	case errors.As(err, &cert), errors.As(err, &unknown):
		return unreachable("The server's certificate can't be verified: prometheus.caBundle must hold the CA that issued it")
	case errors.Is(err, http.ErrSchemeMismatch):
		return unreachable("The server speaks http, and prometheus.url says https")
	case errors.As(err, &dns):
		return unreachable("The host name in prometheus.url can't be resolved")
	case errors.Is(err, syscall.ECONNREFUSED):
		return unreachable("The server refuses connections")
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return unreachable("The server broke off its answer")
	case status/100 == 2:
		return badAnswer("it is no answer of the query API")
	}
	return unreachable("The server can't be reached at prometheus.url")
}

// brokenOff is the error that VictoriaMetrics appends to samples it has begun to
// send with status 200; empty: there is none.
func brokenOff(tail string) string {
	if i := strings.LastIndex(tail, `{"status":"error"`); i > 0 {
		return tail[i:]
	}
	if i := strings.LastIndex(tail, "-search.max"); i > 0 {
		return tail[i:] // its beginning, which quotes the query, is longer than what is kept
	}
	return ""
}

// tooMuch says whether a server refuses a query because it reads too much: in the
// words of Prometheus, Mimir, VictoriaMetrics and Thanos.
func tooMuch(msg string) bool {
	return slices.ContainsFunc([]string{"too many samples", "max-fetched", "limit", "cannot select more than", "cannot process more than", "-search.max", "too long query"}, func(s string) bool {
		return strings.Contains(msg, s)
	})
}

// NamesRefused is the reason of a Problem for which a query for exact names may be
// the way out.
const NamesRefused = v1alpha1.ReasonNamesRefused

// namesRefused says whether a server refuses a regular expression on the names of
// metrics, as Google's managed Prometheus does.
func namesRefused(msg string) bool {
	return strings.Contains(msg, "__name__") || strings.Contains(msg, "metric name") && strings.Contains(msg, "match") || strings.Contains(msg, "must be an equality") || strings.Contains(msg, "regex") && strings.Contains(msg, "name")
}

func httpProblem(e *promv1.Error, status int) error {
	msg := e.Msg + e.Detail
	if e.Type == promv1.ErrBadResponse && status/100 == 2 {
		msg = "" // it quotes what could not be read, which may say anything
	}
	switch {
	case e.Type == promv1.ErrTimeout, e.Type == promv1.ErrCanceled, status == http.StatusGatewayTimeout:
		return Problem{Reason: v1alpha1.ReasonQueryTimedOut, Message: "The server gave up the query because it took too long"}
	case status == http.StatusBadRequest && namesRefused(msg):
		return Problem{Reason: NamesRefused, Message: "The server refuses the query (HTTP 400), although it asks for exact metric names: see prometheus.exactNames and prometheus.url"}
	case strings.Contains(msg, "No StoreAPIs"), strings.Contains(msg, "expanding series"), strings.Contains(msg, "fetch series for"):
		return Problem{Reason: v1alpha1.ReasonPartialAnswer, Message: "The server can't reach all of its stores (Thanos), so that its answer would be a part only: one of them is away"}
	case status != http.StatusTooManyRequests && status != http.StatusUnauthorized && tooMuch(msg):
		return Problem{Reason: v1alpha1.ReasonTooManySamples, Message: "The server refuses the query because it reads too much: a limit of the server is too small, or the agent has too many series"}
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return Problem{Reason: v1alpha1.ReasonUnauthorized, Message: "The server refuses the credentials or the tenant (HTTP 401 or 403): see prometheus.credentialsName and prometheus.tenant"}
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		return Problem{Reason: v1alpha1.ReasonQueryFailed, Message: "The server has no query API there (HTTP 404 or 405): prometheus.url may lack its path prefix"}
	case status == http.StatusTooManyRequests:
		return Problem{Reason: v1alpha1.ReasonQueryFailed, Message: "The server has no time for the query (HTTP 429)"}
	case status/100 == 3:
		return Problem{Reason: v1alpha1.ReasonQueryFailed, Message: "The server redirects to another address: prometheus.url must be the last one"}
	case status == http.StatusBadRequest && e.Type == promv1.ErrBadResponse:
		return Problem{Reason: v1alpha1.ReasonQueryFailed, Message: "The server refuses the request, and not as a query API does (HTTP 400): prometheus.url may have to say https, or names another server"}
	case status/100 == 4:
		return Problem{Reason: v1alpha1.ReasonQueryFailed, Message: fmt.Sprintf("The server refuses the query (HTTP %d)", status)}
	case status/100 == 5:
		return Problem{Reason: v1alpha1.ReasonQueryFailed, Message: "The server fails (HTTP 5xx)"}
	}
	return badAnswer("it is no answer of the query API")
}
