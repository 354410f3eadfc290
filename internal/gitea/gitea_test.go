package gitea

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const secret = "f00ba4f00ba4"

// gitea returns a client of a server, and the pauses it makes.
func gitea(t *testing.T, h http.HandlerFunc) (*Client, *[]time.Duration) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	g, err := New(s.URL, "platform/catalog", "main", func() (string, error) { return secret, nil }, 1000)
	if err != nil {
		t.Fatal(err)
	}
	pauses := &[]time.Duration{}
	g.wait = func(_ context.Context, d time.Duration) error { *pauses = append(*pauses, d); return nil }
	return g, pauses
}

func TestGiteaRetries(t *testing.T) {
	cases := map[string]struct {
		reason   string
		statuses []int
		after    string
		requests int
		want     string // error
	}{
		"AtOnce":       {"", []int{200}, "", 1, ""},
		"ServerErrors": {"A restart of Gitea is no reason to give up.", []int{503, 500, 502, 200}, "", 4, ""},
		"ServerIsGone": {"The next pass tries again.", []int{503, 503, 503, 503, 200}, "", 4, "Gitea answered 503 Service Unavailable"},
		"TooFast":      {"The server says how long it wants to be left alone.", []int{429, 200}, "7", 2, ""},
		"MuchTooFast":  {"Nobody waits for an hour inside a pass.", []int{429, 200}, "3600", 2, ""},
		"WrongToken":   {"Asking again does not help.", []int{401}, "", 1, "Gitea answered 401 Unauthorized: renew the token in the Secret"},
		"NotMine":      {"Asking again does not help.", []int{403}, "", 1, "Gitea answered 403 Forbidden: the token needs write access to the repository, and the branch must not be protected against its user"},
		"Redirected":   {"The token stays with its host.", []int{302}, "", 1, "Gitea answered 302 Found: redirects are not followed, so that the token stays with its host; set the Git URL and repository to the address that is meant"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			requests := 0
			g, pauses := gitea(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "token "+secret {
					t.Error("want the token in every request")
				}
				w.Header().Set("Retry-After", tc.after)
				w.Header().Set("Location", "http://localhost:1/elsewhere")
				w.WriteHeader(tc.statuses[requests])
				requests++
				_, _ = w.Write([]byte(`{"commit":{"id":"abc"}}`))
			})
			_, err := g.Head(t.Context())
			if got := fmt.Sprint(err); got != tc.want && (err != nil || tc.want != "") {
				t.Errorf("%s\nwant error %q, got %q", tc.reason, tc.want, got)
			}
			if requests != tc.requests || len(*pauses) != tc.requests-1 {
				t.Errorf("%s\nwant %d requests, got %d and pauses %s", tc.reason, tc.requests, requests, *pauses)
			}
			for i, p := range *pauses {
				least, most := backoff<<i/2, backoff<<i
				switch tc.after {
				case "7":
					least, most = 7*time.Second, 7*time.Second
				case "3600":
					least, most = longestPause, longestPause
				}
				if p < least || p > most {
					t.Errorf("%s\nwant pause %d from %s to %s, got %s", tc.reason, i+1, least, most, p)
				}
			}
		})
	}
}

func TestGiteaHead(t *testing.T) {
	cases := map[string]struct {
		branch, repository int
		empty              bool
		want               string
	}{
		"Empty":      {404, 200, true, ""},
		"NoBranch":   {404, 200, false, `the repository has no branch "main": create it, or choose another one`},
		"Repository": {404, 404, false, "the repository does not exist, or the token may not see it: create it and give the token's user write access; a GitLab or a GitHub of your own answers so, too, and only a Gitea or a Forgejo will do"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			g, _ := gitea(t, func(w http.ResponseWriter, r *http.Request) {
				status := tc.repository
				if strings.HasSuffix(r.URL.Path, "/branches/main") {
					status = tc.branch
				}
				w.WriteHeader(status)
				fmt.Fprintf(w, `{"empty":%t}`, tc.empty)
			})
			head, err := g.Head(t.Context())
			if head != "" || (err == nil) != (tc.want == "") || err != nil && err.Error() != tc.want {
				t.Errorf("want error %q, got %q, %v", tc.want, head, err)
			}
		})
	}
}

func TestGiteaTree(t *testing.T) {
	g, _ := gitea(t, func(w http.ResponseWriter, r *http.Request) {
		answers := map[string]string{
			"abc/1": `{"truncated":true,"tree":[{"path":"a.txt","type":"blob","sha":"1"}]}`,
			"abc/2": `{"tree":[{"path":"datasets","type":"tree","sha":"2"}]}`,
			"2/1":   `{"tree":[{"path":"resources","type":"tree","sha":"3"},{"path":"catalog-info.yaml","type":"blob","sha":"4"}]}`,
			"3/1":   `{"tree":[{"path":"x.yaml","type":"blob","sha":"5"}]}`,
		}
		parts := strings.Split(r.URL.Path, "/")
		fmt.Fprint(w, answers[parts[len(parts)-1]+"/"+r.URL.Query().Get("page")])
	})
	for folder, want := range map[string]map[string]string{
		"":                   {"a.txt": "1"},
		"datasets":           {"datasets/catalog-info.yaml": "4"},
		"datasets/resources": {"datasets/resources/x.yaml": "5"},
		"nowhere/at/all":     {},
	} {
		got, err := g.Tree(t.Context(), "abc", folder)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", folder, diff)
		}
	}
}

func TestGiteaCommit(t *testing.T) {
	status, message := 201, "sha does not match"
	g, _ := gitea(t, func(w http.ResponseWriter, r *http.Request) {
		got := map[string]any{}
		if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
			t.Error(err)
		}
		want := map[string]any{
			"branch": "main", "message": "m",
			"files": []any{
				map[string]any{"operation": "create", "path": "a", "content": "YQ=="},
				map[string]any{"operation": "update", "path": "b", "content": "Yg==", "sha": "1"},
				map[string]any{"operation": "delete", "path": "c", "sha": "2"},
			},
		}
		if diff := cmp.Diff(want, got); diff != "" || r.Method != http.MethodPost || r.URL.Path != "/api/v1/repos/platform/catalog/contents" {
			t.Errorf("%s %s -want +got:\n%s", r.Method, r.URL, diff)
		}
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"message":%q}`, message)
	})
	changes := []Change{{"a", "", []byte("a")}, {"b", "1", []byte("b")}, {"c", "2", nil}}
	if err := g.Commit(t.Context(), "m", changes); err != nil {
		t.Fatal(err)
	}
	for _, status = range []int{404, 409, 422} {
		if err := g.Commit(t.Context(), "m", changes); !errors.Is(err, ErrConflict) {
			t.Errorf("want answer %d to be a conflict, got %v", status, err)
		}
	}
	status, message = 403, "cannot lock ref 'refs/heads/main': is at 1 but expected 2"
	if err := g.Commit(t.Context(), "m", changes); !errors.Is(err, ErrConflict) {
		t.Errorf("want a lost race to be a conflict, got %v", err)
	}
	message = "user should have permission to write"
	if err := g.Commit(t.Context(), "m", changes); err == nil || errors.Is(err, ErrConflict) {
		t.Errorf("want a missing right not to be a conflict, got %v", err)
	}
	status, message = 400, "sha does not match"
	if err := g.Commit(t.Context(), "m", changes); err == nil || errors.Is(err, ErrConflict) || err.Error() != "Gitea answered 400 Bad Request: sha does not match" {
		t.Errorf("want Gitea's own words, got %v", err)
	}
}

// A caller that left in the middle of the first commit leaves a repository that has files
// and that Gitea calls empty. Another commit makes it see them, and nothing of it stays.
func TestGiteaWakesARepository(t *testing.T) {
	files, empty := map[string]bool{"a": true}, true
	g, _ := gitea(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			fmt.Fprintf(w, `{"empty":%t}`, empty)
			return
		}
		var body struct {
			Files []struct{ Operation, Path, SHA string }
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		for _, f := range body.Files {
			switch {
			case f.Operation == "create" && files[f.Path], f.Operation == "delete" && f.SHA != "made":
				w.WriteHeader(http.StatusUnprocessableEntity)
				fmt.Fprintf(w, `{"message":"repository file already exists [path: %s]"}`, f.Path)
				return
			case f.Operation == "create":
				files[f.Path] = true
			default:
				delete(files, f.Path)
			}
		}
		empty = false
		fmt.Fprint(w, `{"files":[{"sha":"made"}]}`)
	})
	for range 2 { // what is awake is left alone
		if err := g.Commit(t.Context(), "m", []Change{{"a", "", []byte("a")}, {"b", "", []byte("b")}}); !errors.Is(err, ErrConflict) {
			t.Errorf("want a conflict, after which one reads anew; got %v", err)
		}
		if empty || len(files) != 1 {
			t.Errorf("want the repository awake and as it was; empty: %v, files: %v", empty, files)
		}
	}
}

func TestGiteaSettings(t *testing.T) {
	for _, tc := range [][4]string{
		{"gitea", "a/b", "main", "the Git URL must be http(s)://<host>, the address of Gitea itself"},
		{"https://me:" + secret + "@gitea", "a/b", "main", "the Git URL must not hold credentials: put the token into the token file"},
		{"https://gitea", "catalog", "main", `the Git repository "catalog" must be <owner>/<name>`},
		{"https://gitea", "a/b", "", "the Git branch is empty: name the branch that Backstage reads, for example main"},
	} {
		if _, err := New(tc[0], tc[1], tc[2], nil, 1); err == nil || err.Error() != tc[3] {
			t.Errorf("%v: got %v", tc[:3], err)
		}
	}
}

// The token must not come out, whatever goes wrong.
func TestGiteaKeepsTheSecret(t *testing.T) {
	g, _ := gitea(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, "<html>oops</html>")
	})
	_, first := g.Head(t.Context())
	g.repository = "http://127.0.0.1:1"
	_, second := g.Head(t.Context())
	g.token = func() (string, error) { return "", errors.New("open /etc/token: no such file") }
	_, third := g.Head(t.Context())
	for _, err := range []error{first, second, third} {
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("want an error without the token, got %v", err)
		}
	}
	if want := "cannot read the Git token: open /etc/token: no such file"; third.Error() != want {
		t.Errorf("want %q, got %q", want, third)
	}
}
