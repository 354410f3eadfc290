package tokenmeter

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloud.google.com/go/compute/metadata"
	"golang.org/x/oauth2"

	"whisperops.io/functions/internal/tokenmeter/fakeprovider"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

const cloudPlatform = "https://www.googleapis.com/auth/cloud-platform"

// fakeGoogle plays the two ways to a token of Google's: a token endpoint, which wants to
// see a claim signed with the service account's key, and a metadata server, which gives
// one to whoever can reach it.
type fakeGoogle struct {
	key *rsa.PrivateKey

	mu       sync.Mutex
	lifetime int // seconds of a token
	refuse   int // status; 0: it doesn't
	given    []string
	problems []error
}

func (g *fakeGoogle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var err error
	switch {
	case g.refuse != 0:
		http.Error(w, `{"error":"invalid_grant","error_description":"secret"}`, g.refuse)
		return
	case r.URL.Path == "/token":
		err = g.claim(r)
	case r.URL.Path == "/computeMetadata/v1/instance/service-accounts/default/token":
		if r.Header.Get("Metadata-Flavor") != "Google" || r.URL.Query().Get("scopes") != cloudPlatform {
			err = fmt.Errorf("it is asked %s with %v", r.URL, r.Header)
		}
	default:
		http.NotFound(w, r) // what else a library wants to know
		return
	}
	if err != nil {
		g.problems = append(g.problems, err)
		http.Error(w, "no", http.StatusForbidden)
		return
	}
	token := fmt.Sprint("ya29.", len(g.given))
	g.given = append(g.given, token)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"access_token": token, "expires_in": g.lifetime, "token_type": "Bearer"}) //nolint:errcheck // a test
}

// claim checks what a holder of the key says.
func (g *fakeGoogle) claim(r *http.Request) error {
	assertion := r.FormValue("assertion")
	signed, signature, _ := cutLast(assertion, ".")
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(signed))
	if err := rsa.VerifyPKCS1v15(&g.key.PublicKey, crypto.SHA256, sum[:], sig); err != nil {
		return err
	}
	_, payload, _ := strings.Cut(signed, ".")
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return err
	}
	var claims struct {
		Iss   string `json:"iss"`
		Scope string `json:"scope"`
		Aud   string `json:"aud"`
	}
	if err := json.Unmarshal(b, &claims); err != nil {
		return err
	}
	if claims.Iss != "token-meter@acme-data.iam.gserviceaccount.com" || claims.Scope != cloudPlatform || claims.Aud != "http://"+r.Host+"/token" {
		return fmt.Errorf("it claims %s", b)
	}
	return nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// change what it does.
func (g *fakeGoogle) change(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// TestVertexWithItsOwnCredentials: a meter in a process of its own gets its tokens from
// Google, by a key file or, as with Workload Identity, by the metadata server; uses one
// as long as it is good; and shows Vertex nothing of what its callers send.
func TestVertexWithItsOwnCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		reason   string
		lifetime int
		tokens   int // that two calls take
		keyFile  bool
	}{
		"KeyFile":                {reason: "A signed claim gets a token, which is good for an hour.", keyFile: true, lifetime: 3600, tokens: 1},
		"KeyFileExpires":         {reason: "A token that is about to end is replaced.", keyFile: true, lifetime: 1, tokens: 2},
		"WorkloadIdentity":       {reason: "The metadata server knows who the pod is; no key is anywhere.", lifetime: 3600, tokens: 1},
		"WorkloadIdentityRenews": {reason: "So it is with its tokens.", lifetime: 1, tokens: 2},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			g := &fakeGoogle{key: key, lifetime: c.lifetime}
			tokens := httptest.NewServer(g)
			defer tokens.Close()
			dir := t.TempDir()
			if c.keyFile {
				t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", writeKey(t, dir, key, tokens.URL+"/token"))
			} else {
				t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
				t.Setenv("HOME", dir) // no credentials of whoever runs this
				t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(tokens.URL, "http://"))
			}
			vertex := fakeprovider.New()
			vertex.KeepRequests = true
			up := httptest.NewServer(vertex)
			defer up.Close()
			p := startProcess(t, dir, up.URL, "--gemini-url=", "--vertex-project=acme-data", "--vertex-location=europe-west4", "--vertex-url="+up.URL)

			plan := &fakeprovider.Plan{Agent: "housing-bot", Model: "gemini-3.8-flash", Tokens: usage.Tokens{usage.Input: 10, usage.Output: 10}, Events: 3}
			for range 2 {
				if status, body := p.ask(t, asks[1], plan); status != http.StatusOK {
					t.Fatalf("%s\nit answers %d %s", c.reason, status, body)
				}
			}
			g.change(func() {
				if len(g.given) != c.tokens || len(g.problems) > 0 {
					t.Errorf("%s\nfor two calls it took %d tokens, want %d; %v", c.reason, len(g.given), c.tokens, errors.Join(g.problems...))
				}
				for i, r := range vertex.Requests() {
					if want := "Bearer " + g.given[min(i, len(g.given)-1)]; r.Header.Get("Authorization") != want || r.Header.Get("X-Goog-Api-Key") != "" || strings.Contains(r.Query, "dummy") {
						t.Errorf("%s\ncall %d shows Vertex %v, want Authorization %s and nothing of its caller's", c.reason, i, r.Header, want)
					}
					if want := "/v1/projects/acme-data/locations/europe-west4/publishers/google/models/gemini-3.8-flash:streamGenerateContent"; r.Path != want {
						t.Errorf("call %d went to %s, want %s", i, r.Path, want)
					}
				}
			})
			if got := p.sum(t, "whisperops_tokens_total", "agent_name", "housing-bot"); got != 40 {
				t.Errorf("%v tokens were counted, want 40", got)
			}

			// Nothing goes out without a credential, and nothing is in doubt then.
			g.change(func() { g.refuse = http.StatusForbidden })
			q := startProcess(t, t.TempDir(), up.URL, "--gemini-url=", "--vertex-project=acme-data", "--vertex-url="+up.URL)
			status, body := q.ask(t, asks[1], plan)
			if status != http.StatusBadGateway || strings.Contains(body, "secret") || strings.Contains(body, "invalid_grant") {
				t.Errorf("without a token it answers %d %s", status, body)
			}
			if n := len(vertex.Requests()); n != 2 {
				t.Errorf("a call without a credential went out: %d", n)
			}
			if n := q.sum(t, "whisperops_meter_uncounted_calls_total", "agent_name", "housing-bot"); n != 0 {
				t.Errorf("%v calls are said to be uncounted, and none went out", n)
			}
		})
	}
}

// ask makes a call of the process, with the dummies that agents have.
func (p *process) ask(t *testing.T, a ask, plan *fakeprovider.Plan) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.calls+a.path+"&key=dummy", strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer dummy")
	r.Header.Set("X-Goog-Api-Key", "dummy")
	r.Header.Set(fakeprovider.PlanHeader, plan.Header())
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// writeKey writes a service account's key file.
func writeKey(t *testing.T, dir string, key *rsa.PrivateKey, tokenURI string) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "acme-data", "private_key_id": "k", "client_email": "token-meter@acme-data.iam.gserviceaccount.com",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": tokenURI,
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "vertex.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestATokenThatNeverComes: a metadata server that hangs holds no call for longer than it
// may wait, and is asked once for all of them.
func TestATokenThatNeverComes(t *testing.T) {
	var asked atomic.Int64
	over := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			asked.Add(1)
			<-over
		}
	}))
	defer hangs.Close()
	defer close(over)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(hangs.URL, "http://"))
	authorize := googleToken(50 * time.Millisecond)
	var calls sync.WaitGroup
	for range 10 {
		calls.Go(func() {
			if err := authorize(t.Context(), http.Header{}); err == nil || !strings.Contains(err.Error(), "doesn't answer") {
				t.Errorf("a call without a token got %v", err)
			}
		})
	}
	calls.Wait()
	until(t, func() bool { return asked.Load() > 0 })
	if n := asked.Load(); n != 1 {
		t.Errorf("the metadata server was asked %d times at once", n)
	}
}

// TestRefusedBy: whoever runs the meter learns how a token was refused, and reads no key.
func TestRefusedBy(t *testing.T) {
	const key = "-----BEGIN PRIVATE KEY-----"
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"Unknown":       {errors.New(key), "GOOGLE_APPLICATION_CREDENTIALS"},
		"TokenEndpoint": {fmt.Errorf("x: %w", &oauth2.RetrieveError{Response: &http.Response{Status: "400 Bad Request"}, Body: []byte(key)}), "token_uri answers 400 Bad Request"},
		"Metadata":      {fmt.Errorf("x: %w", &metadata.Error{Code: http.StatusForbidden, Message: key}), "metadata server answers 403"},
	} {
		if s := refusedBy(c.err); strings.Contains(s, key) || !strings.Contains(s, c.want) {
			t.Errorf("%s: %q, want %q in it", name, s, c.want)
		}
	}
}
