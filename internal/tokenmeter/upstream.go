package tokenmeter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"whisperops.io/functions/internal/tokenmeter/usage"
)

// An Upstream is where the calls of one kind go.
type Upstream struct {
	Base *url.URL

	// Authorize adds the meter's credential to a request's headers. Nil: there is
	// none.
	Authorize func(ctx context.Context, h http.Header) error

	// Project and Location of Vertex. Empty elsewhere.
	Project, Location string
}

// Upstreams of a meter. A kind without one is refused.
type Upstreams struct {
	Gemini, OpenAI, Anthropic, Vertex *Upstream
}

// of returns where a route's calls go, and the path there, escaped. Calls of the
// Gemini API go to Vertex where that is all there is: the API is the same, beside
// the path and the credential.
func (u Upstreams) of(r route) (*Upstream, string) {
	switch {
	case r.vertex && u.Vertex != nil:
		return u.Vertex, u.Vertex.place(r.path)
	case r.vertex:
		return nil, ""
	case r.dialect == usage.OpenAI && u.OpenAI != nil:
		return u.OpenAI, under(u.OpenAI.Base, r.path)
	case r.dialect == usage.Anthropic && u.Anthropic != nil:
		return u.Anthropic, under(u.Anthropic.Base, r.path)
	case r.dialect == usage.Gemini && u.Gemini != nil:
		return u.Gemini, under(u.Gemini.Base, r.path)
	case r.dialect == usage.Gemini && u.Vertex != nil:
		return u.Vertex, u.Vertex.fromGemini(r.path)
	}
	return nil, ""
}

var version = regexp.MustCompile(`^/v[0-9][a-z0-9]*/`)

// under puts a path below the base's. A base that has a path of its own holds the
// API's version too.
func under(base *url.URL, path string) string {
	own := strings.TrimSuffix(base.EscapedPath(), "/")
	if own == "" {
		return path
	}
	return own + "/" + strings.TrimPrefix(version.ReplaceAllString(path, "/"), "/")
}

var project = regexp.MustCompile(`^(/v[a-z0-9]+)/projects/[^/]+/locations/[^/]+/`)

// place replaces project and location by the meter's own: the caller's credential
// is not used, so neither is its project.
func (u *Upstream) place(path string) string {
	return project.ReplaceAllString(path, "${1}/projects/"+url.PathEscape(u.Project)+"/locations/"+url.PathEscape(u.Location)+"/")
}

var geminiModel = regexp.MustCompile(`^/v[a-z0-9]+/models/`)

// fromGemini is the path of the Gemini API as Vertex has it. Its versions are v1
// and v1beta1; the first has all that agents use.
func (u *Upstream) fromGemini(path string) string {
	return geminiModel.ReplaceAllString(path, "/v1/projects/"+url.PathEscape(u.Project)+"/locations/"+url.PathEscape(u.Location)+"/publishers/google/models/")
}

// VertexHost is Vertex' host for a location.
func VertexHost(location string) string {
	switch location {
	case "", "global":
		return "aiplatform.googleapis.com"
	case "us", "eu":
		return "aiplatform." + location + ".rep.googleapis.com"
	}
	return location + "-aiplatform.googleapis.com"
}

// credentials that a caller may have sent. They are dummies, and never go on.
var credentialHeaders = []string{"Authorization", "X-Goog-Api-Key", "X-Api-Key", "Api-Key", "X-Goog-User-Project", "Proxy-Authorization", "Cookie"}

// keyFile authorizes with a key from a file, which is read again when it changed.
func keyFile(path, header, prefix string) func(context.Context, http.Header) error {
	var mu sync.Mutex
	var key string
	var read time.Time
	return func(_ context.Context, h http.Header) error {
		mu.Lock()
		defer mu.Unlock()
		if time.Since(read) > 10*time.Second {
			b, err := os.ReadFile(path) //nolint:gosec // whoever starts the meter chooses the file
			switch {
			case err == nil:
				key, read = strings.TrimSpace(string(b)), time.Now()
			case key == "":
				return fmt.Errorf("cannot read the provider's key: %w", err)
			}
		}
		if key == "" {
			return errors.New("cannot use the provider's key: its file is empty")
		}
		h.Set(header, prefix+key)
		return nil
	}
}

// tokenTime is how long a call waits for a token of Google's.
const tokenTime = 20 * time.Second

// googleToken authorizes with Google's application default credentials: Workload
// Identity, or the key file that GOOGLE_APPLICATION_CREDENTIALS names. Calls wait for a
// token together, and no longer than some time: a server of tokens may hang, and that of
// metadata is asked without a bound of its own.
func googleToken(wait time.Duration) func(context.Context, http.Header) error {
	g := &googleTokens{}
	return func(ctx context.Context, h http.Header) error {
		ctx, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		f := g.fetch() //nolint:contextcheck // it is for other calls too
		select {
		case <-f.done:
		case <-ctx.Done():
			return errors.New("cannot get a token of Google's for the meter's service account: the key file's token_uri or the metadata server doesn't answer")
		}
		if f.err != nil {
			return f.err
		}
		f.token.SetAuthHeader(&http.Request{Header: h})
		return nil
	}
}

// googleTokens are fetched one at a time. The source keeps the one that is good.
type googleTokens struct {
	mu     sync.Mutex
	source oauth2.TokenSource // only used by the fetch under way
	now    *tokenFetch
}

type tokenFetch struct {
	done  chan struct{}
	token *oauth2.Token
	err   error
}

// fetch is the one under way, or a new one.
func (g *googleTokens) fetch() *tokenFetch {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.now != nil {
		return g.now
	}
	f := &tokenFetch{done: make(chan struct{})}
	g.now = f
	go func() {
		f.token, f.err = g.get()
		g.mu.Lock()
		g.now = nil
		g.mu.Unlock()
		close(f.done)
	}()
	return f
}

func (g *googleTokens) get() (*oauth2.Token, error) {
	if g.source == nil {
		// The source keeps the context, so that it must not be a call's.
		ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Timeout: tokenTime})
		s, err := google.DefaultTokenSource(ctx, "https://www.googleapis.com/auth/cloud-platform")
		if err != nil {
			return nil, fmt.Errorf("cannot find Google's credentials: %w", err)
		}
		g.source = s
	}
	token, err := g.source.Token()
	if err != nil {
		return nil, errors.New("cannot get a token of Google's for the meter's service account" + refusedBy(err))
	}
	return token, nil
}

// refusedBy says how a server of tokens refused one. The whole error may quote the
// key.
func refusedBy(err error) string {
	var retrieve *oauth2.RetrieveError
	var server *metadata.Error
	switch {
	case errors.As(err, &retrieve) && retrieve.Response != nil:
		return ": the key file's token_uri answers " + retrieve.Response.Status
	case errors.As(err, &server):
		return fmt.Sprintf(": the metadata server answers %d; is the Kubernetes ServiceAccount bound to one of Google's?", server.Code)
	}
	return ": is the key file that GOOGLE_APPLICATION_CREDENTIALS names, or the metadata server, what it should be?"
}
