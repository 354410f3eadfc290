package prometheus

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// A Gate stands before a Prometheus, and answers as its answer says.
type Gate struct {
	*httptest.Server

	answer atomic.Pointer[answer]
	asked  atomic.Int64
}

// An answer is given in place of the server's, or made of it.
type answer func(w http.ResponseWriter, r *http.Request, pass http.Handler)

func newGate(t *testing.T, upstream string) *Gate {
	t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{}
	pass := httputil.NewSingleHostReverseProxy(u)
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.asked.Add(1)
		if a := g.answer.Load(); a != nil {
			(*a)(w, r, pass)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	t.Cleanup(g.Close)
	return g
}

// Set sets the answer; nil is the server's own.
func (g *Gate) Set(a answer) {
	if a == nil {
		g.answer.Store(nil)
		return
	}
	g.answer.Store(&a)
}

// asMimir wants a tenant and a path prefix, as Mimir does.
func asMimir(tenant string) answer {
	return func(w http.ResponseWriter, r *http.Request, pass http.Handler) {
		switch {
		case r.Header.Get("X-Scope-OrgID") != tenant:
			http.Error(w, "no org id", http.StatusUnauthorized)
		case !strings.HasPrefix(r.URL.Path, "/prometheus/"):
			http.NotFound(w, r)
		default:
			http.StripPrefix("/prometheus", pass).ServeHTTP(w, r)
		}
	}
}

// says answers with a status and a body.
func says(status int, body string) answer {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// never answers.
func never(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that its client went away
	<-r.Context().Done()
}

// slowly answers byte by byte, and too late.
func slowly(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	body := recorded(r, pass)
	w.WriteHeader(http.StatusOK)
	if f, ok := w.(http.Flusher); ok {
		fmt.Fprint(w, body[:1])
		f.Flush()
	}
	<-r.Context().Done()
}

// half breaks off in the middle of an answer.
func half(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	body := recorded(r, pass)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	fmt.Fprint(w, body[:len(body)/2])
	panic(http.ErrAbortHandler) // which closes the connection
}

// cut leaves out the second half of an answer, and says that it is all.
func cut(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	body := recorded(r, pass)
	fmt.Fprint(w, body[:len(body)/2])
}

// warns adds a warning to a complete answer.
func warns(w http.ResponseWriter, r *http.Request, pass http.Handler) {
	body := strings.TrimRight(recorded(r, pass), "\n")
	fmt.Fprint(w, strings.TrimSuffix(body, "}")+`,"warnings":["one of two stores did not answer"]}`)
}

// recorded returns the server's own answer.
func recorded(r *http.Request, pass http.Handler) string {
	r.Header.Del("Accept-Encoding")
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return ""
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	rec := httptest.NewRecorder()
	pass.ServeHTTP(rec, r)
	return rec.Body.String()
}
