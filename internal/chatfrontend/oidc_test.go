package chatfrontend

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"whisperops.io/functions/internal/chatfrontend/chattest"
	"whisperops.io/functions/test/settings"
)

// An issuer signs in whomever claims say, if the code, the secret and the verifier are right.
type issuer struct {
	*httptest.Server

	t       *testing.T
	key     *rsa.PrivateKey
	claims  map[string]any
	signer  *rsa.PrivateKey // another one forges
	request url.Values      // of the last authorization
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, key: k, signer: k, claims: map[string]any{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": i.URL, "authorization_endpoint": i.URL + "/auth", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
			"id_token_signing_alg_values_supported": []string{"RS256"}, "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(), KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("GET /auth", func(w http.ResponseWriter, r *http.Request) {
		i.request = r.URL.Query()
		http.Redirect(w, r, i.request.Get("redirect_uri")+"?code=c1&state="+url.QueryEscape(i.request.Get("state")), http.StatusFound)
	})
	mux.HandleFunc("POST /token", i.token)
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	_, secret, _ := r.BasicAuth()
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if r.FormValue("code") != "c1" || secret != "s3cret" || base64.RawURLEncoding.EncodeToString(sum[:]) != i.request.Get("code_challenge") {
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	all := map[string]any{"iss": i.URL, "aud": "chat", "sub": "u1", "nonce": i.request.Get("nonce"), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()}
	maps.Copy(all, i.claims)
	b, err := json.Marshal(all)
	if err != nil {
		i.t.Error(err)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: i.signer, KeyID: "k"}}, nil)
	if err != nil {
		i.t.Error(err)
		return
	}
	signed, err := s.Sign(b)
	if err != nil {
		i.t.Error(err)
		return
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		i.t.Error(err)
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": compact})
}

func newSignedSite(t *testing.T, i *issuer, allowed string) *site {
	t.Helper()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := newSite(t, func(t *chattest.Task) { t.Answer("ok") }, "AUTH=oidc", "OIDC_ISSUER_URL="+i.URL, "OIDC_CLIENT_ID=chat", "OIDC_CLIENT_SECRET_FILE="+secret, "OIDC_ALLOWED="+allowed)
	return s
}

func TestSignIn(t *testing.T) {
	i := newIssuer(t)
	s := newSignedSite(t, i, "@example.org, group:analysts")
	forger, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason string
		claims map[string]any
		signer *rsa.PrivateKey
		want   int
		person string
	}{
		"Domain":        {"An address of the domain.", map[string]any{"email": "ada@example.org"}, i.key, 200, "ada@example.org"},
		"Group":         {"A member of the group.", map[string]any{"email": "x@y.z", "groups": []string{"analysts"}}, i.key, 200, "x@y.z"},
		"Unverified":    {"Anybody can claim an address.", map[string]any{"email": "ada@example.org", "email_verified": false}, i.key, 403, ""},
		"Stranger":      {"Signed in is not allowed.", map[string]any{"email": "eve@example.com"}, i.key, 403, ""},
		"LookingLike":   {"A domain that ends the same way.", map[string]any{"email": "eve@evil-example.org"}, i.key, 403, ""},
		"TwoAts":        {"An address that is none.", map[string]any{"email": "eve@evil.com@example.org"}, i.key, 403, ""},
		"Forged":        {"Signed by another key.", map[string]any{"email": "ada@example.org"}, forger, 401, ""},
		"OtherClient":   {"Meant for another page.", map[string]any{"email": "ada@example.org", "aud": "other"}, i.key, 401, ""},
		"OtherSignIn":   {"Replayed from another sign-in.", map[string]any{"email": "ada@example.org", "nonce": "old"}, i.key, 401, ""},
		"Expired":       {"Too old.", map[string]any{"email": "ada@example.org", "exp": time.Now().Add(-time.Hour).Unix()}, i.key, 401, ""},
		"AnotherIssuer": {"Somebody else's.", map[string]any{"email": "ada@example.org", "iss": "https://evil.example"}, i.key, 401, ""},
	} {
		t.Run(name, func(t *testing.T) {
			i.claims, i.signer = tc.claims, tc.signer
			v, body := s.visitor(), ""
			if got := v.send(http.MethodGet, "/", nil, &body); got != tc.want {
				t.Fatalf("got %d %s, want %d: %s", got, body, tc.want, tc.reason)
			}
			state := State{}
			want := 401
			if tc.want == 200 {
				want = 200
			}
			if got := v.send(http.MethodGet, "/api/state", nil, &state); got != want || state.Person != tc.person {
				t.Errorf("state: %d %+v", got, state)
			}
			if tc.want != 200 {
				return
			}
			v.send(http.MethodGet, signOutPath, nil, nil)
			if got := v.send(http.MethodGet, "/api/state", nil, nil); got != 401 {
				t.Errorf("after signing out: %d", got)
			}
		})
	}
	if n := len(s.planner.Messages()); n != 0 {
		t.Errorf("%d messages", n)
	}
}

func TestSignInElsewhereBegun(t *testing.T) {
	i := newIssuer(t)
	s := newSignedSite(t, i, "")
	body := ""
	if got := s.visitor().send(http.MethodGet, "/auth/callback?code=c1&state=stolen", nil, &body); got != 400 {
		t.Errorf("a callback that nobody began: %d %s", got, body)
	}
	v := s.visitor()
	v.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	rsp, err := v.http.Get(s.URL + "/auth/login?next=//evil.example")
	if err != nil {
		t.Fatal(err)
	}
	_ = rsp.Body.Close()
	for _, c := range rsp.Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("cookie: %+v", c)
		}
		if b, err := base64.RawURLEncoding.DecodeString(c.Value); err != nil || strings.Contains(string(b), "evil") {
			t.Errorf("the way back leads away: %s", b)
		}
	}
}

func TestIssuerDown(t *testing.T) {
	i := newIssuer(t)
	s := newSignedSite(t, i, "")
	i.Close()
	body := ""
	if got := s.visitor().send(http.MethodGet, "/", nil, &body); got != 503 || !strings.Contains(body, "Signing in does not work") {
		t.Errorf("got %d %s", got, body)
	}
}

// Every setting is in --help and in docs/chat.md, with the variable that a Deployment
// sets.
func TestSettings(t *testing.T) {
	page, err := os.ReadFile("../../docs/chat.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range settings.Check(t, func(args []string, env func(string) string, out io.Writer) error {
		_, err := Parse(append(args, "--agent-name=a", "--planner-url=http://planner:8080"), env, out)
		return err
	}) {
		if !strings.Contains(string(page), name+"`") && !strings.Contains(string(page), "name: "+name+",") {
			t.Errorf("docs/chat.md does not name %s", name)
		}
	}
}

func TestFlags(t *testing.T) {
	good := map[string]string{"AGENT_NAME": "a", "PLANNER_URL": "http://planner:8080"}
	for name, tc := range map[string]struct{ key, value, want string }{
		"Good":         {"AGENT_NAME", "a", ""},
		"NoAgent":      {"AGENT_NAME", "", "AGENT_NAME"},
		"NoPlanner":    {"PLANNER_URL", "", "--planner-url"},
		"BadPlanner":   {"PLANNER_URL", "planner:8080", "--planner-url"},
		"BadPort":      {"PORT", "x", "PORT"},
		"HighPort":     {"PORT", "70000", "ports"},
		"SamePort":     {"METRICS_PORT", "3000", "ports"},
		"BadAuth":      {"AUTH", "none", "--auth"},
		"NoIssuer":     {"AUTH", "oidc", "--oidc-issuer-url"},
		"BadTime":      {"ANSWER_TIMEOUT", "soon", "ANSWER_TIMEOUT"},
		"BadEmulator":  {"STORAGE_EMULATOR_HOST", "http://", "STORAGE_EMULATOR_HOST"},
		"BareEmulator": {"STORAGE_EMULATOR_HOST", "127.0.0.1:4443", ""},
		"NoSandbox":    {"SANDBOX_URL", "none", ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(nil, func(k string) string {
				if k == tc.key {
					return tc.value
				}
				return good[k]
			}, io.Discard)
			if err != nil {
				if got := err.Error(); tc.want == "" || !strings.Contains(got, tc.want) {
					t.Errorf("got %q, want %q in it", got, tc.want)
				}
			} else if tc.want != "" {
				t.Errorf("accepted, want %q", tc.want)
			}
		})
	}
	f, err := Parse([]string{"--agent-name", "b"}, func(k string) string { return good[k] }, io.Discard)
	if err != nil || f.Agent.Name != "b" || f.Namespace != "agent-b" || f.Sandbox != "http://sandbox.agent-b.svc:8080" || f.Port != 3000 {
		t.Errorf("got %+v, %v", f, err)
	}
}
