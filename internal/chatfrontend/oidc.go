package chatfrontend

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	sessionCookie = "chat_session"
	loginCookie   = "chat_login"
	// sessionAge is how long somebody stays signed in.
	sessionAge = 12 * time.Hour
	// loginAge is how long signing in may take.
	loginAge = 10 * time.Minute
	// maxSessions bounds who is signed in at once; the oldest go first.
	maxSessions = 10_000
	// issuerTimeout bounds each call of the issuer.
	issuerTimeout = 15 * time.Second
)

// OIDC says who signs people in.
type OIDC struct {
	Issuer     string
	ClientID   string
	Secret     string // of the client; empty with SecretFile, or for a public client
	SecretFile string // read at every sign-in, so that a new one works at once
	Redirect   string // <page>/auth/callback, as the issuer knows it; empty: by the host that the browser asked for
	Allowed    string // comma-separated: a@b.c, @b.c, group:g; empty: everybody the issuer knows
}

func (o OIDC) check() error {
	if o.Issuer == "" || o.ClientID == "" {
		return errors.New("--auth=oidc wants --oidc-issuer-url and --oidc-client-id")
	}
	if _, err := address(o.Issuer); err != nil {
		return fmt.Errorf("invalid value %q for flag --oidc-issuer-url: %w", o.Issuer, err)
	}
	if u, err := address(o.Redirect); o.Redirect != "" && (err != nil || u.Path != callbackPath) {
		return fmt.Errorf("invalid value %q for flag --oidc-redirect-url: want https://<host of the page>/auth/callback", o.Redirect)
	}
	for _, a := range split(o.Allowed) {
		if !strings.Contains(a, "@") && !strings.HasPrefix(a, "group:") {
			return fmt.Errorf("invalid value %q for flag --oidc-allowed: want an address, @domain or group:name", a)
		}
	}
	return nil
}

func split(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
}

// signIn has an OpenID Connect issuer say who somebody is.
type signIn struct {
	OIDC

	http *http.Client
	log  *slog.Logger
	now  func() time.Time

	mu       sync.Mutex
	provider *oidc.Provider // nil until the issuer was reached
	sessions map[string]session
}

type session struct {
	person  Person
	expires time.Time
}

func newSignIn(o OIDC, log *slog.Logger, now func() time.Time) *signIn {
	return &signIn{OIDC: o, http: &http.Client{Timeout: issuerTimeout}, log: log, now: now, sessions: map[string]session{}}
}

func (s *signIn) describe() string { return "oidc" }

func (s *signIn) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /auth/login", s.login)
	mux.HandleFunc("GET "+callbackPath, s.callback)
	mux.HandleFunc("GET "+signOutPath, s.logout)
}

const (
	signOutPath  = "/auth/logout"
	callbackPath = "/auth/callback"
)

// redirect is where the issuer sends people back to. It sends them only where it knows
// that a page of this client is, so the browser's word for the host does no harm.
func (s *signIn) redirect(r *http.Request) string {
	if s.Redirect != "" {
		return s.Redirect
	}
	u := url.URL{Scheme: "http", Host: r.Host, Path: callbackPath}
	if isHTTPS(r) {
		u.Scheme = "https"
	}
	return u.String()
}

func (s *signIn) person(w http.ResponseWriter, r *http.Request) (Person, bool) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		found, ok := s.sessions[c.Value]
		s.mu.Unlock()
		if ok && s.now().Before(found.expires) {
			return found.person, true
		}
	}
	if strings.HasPrefix(r.URL.Path, "/api/") {
		refuse(w, r, http.StatusUnauthorized, Problem{Code: http.StatusUnauthorized, Down: "sign-in", Message: "You are not signed in any more.", Detail: "Reload the page to sign in. What you typed is kept."})
		return Person{}, false
	}
	http.Redirect(w, r, "/auth/login?next="+url.QueryEscape(r.URL.Path), http.StatusFound)
	return Person{}, false
}

// config finds the issuer, which need not be there when this program starts.
func (s *signIn) config(ctx context.Context, r *http.Request) (*oauth2.Config, *oidc.Provider, error) {
	s.mu.Lock()
	p := s.provider
	s.mu.Unlock()
	if p == nil {
		var err error
		if p, err = oidc.NewProvider(ctx, s.Issuer); err != nil {
			return nil, nil, fmt.Errorf("cannot reach the issuer: %w", err)
		}
		s.mu.Lock()
		s.provider = p
		s.mu.Unlock()
	}
	secret := []byte(s.Secret)
	if s.SecretFile != "" {
		var err error
		if secret, err = os.ReadFile(s.SecretFile); err != nil {
			return nil, nil, fmt.Errorf("cannot read the client's secret: %w", err)
		}
	}
	return &oauth2.Config{
		ClientID: s.ClientID, ClientSecret: strings.TrimSpace(string(secret)), RedirectURL: s.redirect(r), Endpoint: p.Endpoint(),
		Scopes: []string{oidc.ScopeOpenID, "email", "profile"},
	}, p, nil
}

// pending is what a browser keeps while somebody signs in.
type pending struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"`
	Next     string `json:"p"`
}

func (s *signIn) login(w http.ResponseWriter, r *http.Request) {
	cfg, _, err := s.config(oidc.ClientContext(r.Context(), s.http), r)
	if err != nil {
		s.fail(w, r, http.StatusServiceUnavailable, "Signing in does not work at the moment.", err)
		return
	}
	p := pending{State: newID(), Nonce: newID(), Verifier: oauth2.GenerateVerifier(), Next: local(r.URL.Query().Get("next"))}
	b, err := json.Marshal(p)
	if err != nil {
		s.fail(w, r, http.StatusInternalServerError, "Signing in does not work at the moment.", err)
		return
	}
	http.SetCookie(w, s.cookie(r, loginCookie, base64.RawURLEncoding.EncodeToString(b), loginAge))
	http.Redirect(w, r, cfg.AuthCodeURL(p.State, oidc.Nonce(p.Nonce), oauth2.S256ChallengeOption(p.Verifier)), http.StatusFound)
}

// local keeps a way back inside this page.
func local(next string) string {
	if strings.HasPrefix(next, "/c/") && !strings.ContainsAny(next, "\\\r\n") {
		return next
	}
	return "/"
}

func (s *signIn) callback(w http.ResponseWriter, r *http.Request) {
	ctx := oidc.ClientContext(r.Context(), s.http)
	p := pending{}
	c, err := r.Cookie(loginCookie)
	if err == nil {
		var b []byte
		if b, err = base64.RawURLEncoding.DecodeString(c.Value); err == nil {
			err = json.Unmarshal(b, &p)
		}
	}
	q := r.URL.Query()
	if err != nil || p.State == "" || subtle.ConstantTimeCompare([]byte(p.State), []byte(q.Get("state"))) != 1 {
		s.fail(w, r, http.StatusBadRequest, "Signing in took too long, or was begun elsewhere. Open the page again.", err)
		return
	}
	http.SetCookie(w, s.cookie(r, loginCookie, "", -1))
	if e := q.Get("error"); e != "" {
		s.fail(w, r, http.StatusForbidden, "You were not signed in.", errors.New(clip(e+": "+q.Get("error_description"), 300)))
		return
	}
	cfg, provider, err := s.config(ctx, r)
	if err != nil {
		s.fail(w, r, http.StatusServiceUnavailable, "Signing in does not work at the moment.", err)
		return
	}
	person, err := s.exchange(ctx, cfg, provider, q.Get("code"), p)
	var no notAllowedError
	switch {
	case errors.As(err, &no):
		s.fail(w, r, http.StatusForbidden, "You may not use this page: "+no.Error()+".", err)
		return
	case err != nil:
		s.fail(w, r, http.StatusUnauthorized, "You were not signed in. Open the page again.", err)
		return
	}
	id := newID()
	s.keep(id, session{person: person, expires: s.now().Add(sessionAge)})
	http.SetCookie(w, s.cookie(r, sessionCookie, id, sessionAge))
	http.Redirect(w, r, local(p.Next), http.StatusFound)
}

// claims of an ID token.
type claims struct {
	Email    string   `json:"email"`
	Verified *bool    `json:"email_verified"` //nolint:tagliatelle // as OpenID Connect names it
	Name     string   `json:"name"`
	Username string   `json:"preferred_username"` //nolint:tagliatelle // as above
	Groups   []string `json:"groups"`
}

func (s *signIn) exchange(ctx context.Context, cfg *oauth2.Config, provider *oidc.Provider, code string, p pending) (Person, error) {
	token, err := cfg.Exchange(ctx, code, oauth2.VerifierOption(p.Verifier))
	if err != nil {
		return Person{}, fmt.Errorf("cannot redeem the code: %w", err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return Person{}, errors.New("the issuer sent no ID token")
	}
	id, err := provider.VerifierContext(ctx, &oidc.Config{ClientID: s.ClientID}).Verify(ctx, raw)
	if err != nil {
		return Person{}, fmt.Errorf("cannot trust the ID token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(p.Nonce)) != 1 {
		return Person{}, errors.New("the ID token belongs to another sign-in")
	}
	var c claims
	if err := id.Claims(&c); err != nil {
		return Person{}, fmt.Errorf("cannot read the ID token: %w", err)
	}
	if err := s.allow(c); err != nil {
		return Person{}, err
	}
	name := c.Email
	for _, n := range []string{c.Name, c.Username, id.Subject} {
		if name == "" {
			name = n
		}
	}
	return Person{Key: key("oidc", id.Issuer+"\x00"+id.Subject), Name: name}, nil
}

type notAllowedError string

func (e notAllowedError) Error() string { return string(e) }

// allow checks the list of who may. An address counts only if the issuer has not said
// that it is unverified.
func (s *signIn) allow(c claims) error {
	list := split(s.Allowed)
	if len(list) == 0 {
		return nil
	}
	email := strings.ToLower(c.Email)
	if c.Verified != nil && !*c.Verified {
		email = ""
	}
	for _, a := range list {
		group, isGroup := strings.CutPrefix(a, "group:")
		a = strings.ToLower(a)
		switch {
		case isGroup:
			if slices.Contains(c.Groups, group) {
				return nil
			}
		case strings.HasPrefix(a, "@"):
			if strings.HasSuffix(email, a) && strings.Count(email, "@") == 1 {
				return nil
			}
		case email != "" && email == a:
			return nil
		}
	}
	return notAllowedError("it is not open to your account")
}

func (s *signIn) keep(id string, n session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for old, o := range s.sessions {
		if !s.now().Before(o.expires) {
			delete(s.sessions, old)
		}
	}
	for len(s.sessions) >= maxSessions {
		oldest := ""
		for old, o := range s.sessions {
			if oldest == "" || o.expires.Before(s.sessions[oldest].expires) {
				oldest = old
			}
		}
		delete(s.sessions, oldest)
	}
	s.sessions[id] = n
}

func (s *signIn) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.mu.Lock()
		delete(s.sessions, c.Value)
		s.mu.Unlock()
	}
	http.SetCookie(w, s.cookie(r, sessionCookie, "", -1))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "You have been signed out of this page. Your account at the issuer may still be signed in.")
}

func (s *signIn) cookie(r *http.Request, name, value string, age time.Duration) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // a page that is reached by http has no secure cookies
		Name: name, Value: value, Path: "/", MaxAge: int(age.Seconds()), HttpOnly: true,
		SameSite: http.SameSiteLaxMode, Secure: strings.HasPrefix(s.redirect(r), "https:"),
	}
}

func (s *signIn) fail(w http.ResponseWriter, r *http.Request, status int, message string, err error) {
	s.log.Info("Cannot sign in", "error", err)
	refuse(w, r, status, Problem{Code: status, Down: "sign-in", Message: message})
}
