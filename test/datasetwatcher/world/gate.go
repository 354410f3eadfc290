package world

import (
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
)

// A Gate is a way to a server that can be told to misbehave.
type Gate struct {
	URL string

	mu     sync.Mutex
	fault  func(http.ResponseWriter, *http.Request) bool
	passed int
	server *http.Server
}

func newGate(to string) (*Gate, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &Gate{URL: "http://" + l.Addr().String()}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) }}
	g.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		fault := g.fault
		g.passed++
		g.mu.Unlock()
		if fault == nil || !fault(w, r) {
			proxy.ServeHTTP(w, r)
		}
	})}
	go g.server.Serve(l) //nolint:errcheck // it ends when it is closed
	return g, nil
}

// Fail lets f answer the requests that it returns true for. f may change the
// others before they pass. nil lets all pass.
func (g *Gate) Fail(f func(http.ResponseWriter, *http.Request) bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault = f
}

// Requests returns how many requests came so far.
func (g *Gate) Requests() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.passed
}

// Close ends the gate.
func (g *Gate) Close() { _ = g.server.Close() } // nothing is under way that matters
