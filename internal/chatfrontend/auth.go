package chatfrontend

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// A Person is who looks at the page.
type Person struct {
	// Key tells people apart: conversations are their owner's alone.
	Key string
	// Name to show; empty where nobody says who it is.
	Name string
}

// An authenticator finds out who is asking. When it can't let somebody in it has
// answered, and returns false.
type authenticator interface {
	person(w http.ResponseWriter, r *http.Request) (Person, bool)
	// routes adds what signing in needs.
	routes(mux *http.ServeMux)
	// describe says in a word who may see the page: open, proxy, oidc.
	describe() string
}

const (
	visitorCookie = "chat_visitor"
	visitorAge    = 30 * 24 * time.Hour
)

// open lets in everybody who reaches the page. Browsers are told apart by a cookie, so
// that one doesn't see the other's conversations; it is no proof of anything.
type open struct{}

func (open) person(w http.ResponseWriter, r *http.Request) (Person, bool) {
	if c, err := r.Cookie(visitorCookie); err == nil && len(c.Value) == len(newID()) {
		return Person{Key: key("visitor", c.Value)}, true
	}
	id := newID()
	http.SetCookie(w, cookie(r, visitorCookie, id, visitorAge))
	return Person{Key: key("visitor", id)}, true
}

func (open) routes(*http.ServeMux) {}

func (open) describe() string { return "open" }

// behindProxy trusts the header in which an authenticating proxy names the person.
type behindProxy struct{ header string }

func (p behindProxy) person(w http.ResponseWriter, r *http.Request) (Person, bool) {
	values := r.Header.Values(p.header)
	if len(values) != 1 || strings.TrimSpace(values[0]) == "" || len(values[0]) > 320 {
		refuse(w, r, http.StatusUnauthorized, Problem{Code: http.StatusUnauthorized, Down: "sign-in",
			Message: "You are not signed in.", Detail: "This page is served behind a proxy that signs people in, and the request did not come through it."})
		return Person{}, false
	}
	name := strings.TrimSpace(values[0])
	return Person{Key: key("proxy", strings.ToLower(name)), Name: name}, true
}

func (behindProxy) routes(*http.ServeMux) {}

func (behindProxy) describe() string { return "proxy" }

func key(kind, name string) string {
	h := sha256.Sum256([]byte(kind + "\x00" + name))
	return hex.EncodeToString(h[:])
}

// cookie can't be read by scripts, and is not sent along with what other sites start.
func cookie(r *http.Request, name, value string, age time.Duration) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // a page that is reached by http has no secure cookies
		Name: name, Value: value, Path: "/", MaxAge: int(age.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: isHTTPS(r),
	}
}

func isHTTPS(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

type personKey struct{}

func personOf(ctx context.Context) Person {
	p, _ := ctx.Value(personKey{}).(Person)
	return p
}
