package portal

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A gate stands before Gitea. It holds the first write back, so that somebody else is
// quicker, and keeps what Gitea answered to each.
type gate struct {
	url     string
	reached chan struct{} // closed when the first write waits
	open    chan struct{} // close it, and the write goes on

	mu      sync.Mutex
	answers []int
}

func newGate(t *testing.T, gitea string) *gate {
	t.Helper()
	behind, err := url.Parse(gitea)
	if err != nil {
		t.Fatal(err)
	}
	g := &gate{reached: make(chan struct{}), open: make(chan struct{})}
	var first sync.Once
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(behind) },
		ModifyResponse: func(r *http.Response) error {
			if r.Request.Method == http.MethodPost {
				g.mu.Lock()
				defer g.mu.Unlock()
				g.answers = append(g.answers, r.StatusCode)
			}
			return nil
		},
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			first.Do(func() {
				close(g.reached)
				<-g.open
			})
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	g.url = s.URL
	return g
}

// between runs what a day-2 template runs, and meanwhile, when the order is read and the
// change not yet written. It returns what the program said, and what Gitea answered it.
func (r *running) between(t *testing.T, agent, set string, meanwhile func()) (said string, answers []int, err error) {
	t.Helper()
	g := newGate(t, r.Gitea.URL)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.Ledger, "edit", "--agent="+agent, "--set="+set, "--gitea-url="+g.url)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, r.LedgerEnv...)
	out := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-g.reached:
		meanwhile()
	case <-ctx.Done():
		t.Error("the change never came to Gitea")
	}
	close(g.open)
	err = cmd.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return out.String(), slices.Clone(g.answers), err
}

// twoAtOnce changes the order in Git and in the form at the same moment: who comes second
// is refused by Gitea, and told. Nobody's change is undone unawares.
func (r *running) twoAtOnce(t *testing.T, agent string) {
	t.Helper()
	read := r.file(t, agent)
	commits := r.commits(t, agent)
	save := func(from, to string) func() {
		return func() {
			if err := r.write(t.Context(), agent, r.file(t, agent), from, to); err != nil {
				t.Fatal("want the editor in Git to be quicker: ", err)
			}
		}
	}
	refused := func(answers []int, then ...int) {
		t.Helper()
		if len(answers) != 1+len(then) || !slices.Contains([]int{403, 409, 422}, answers[0]) || !slices.Equal(answers[1:], then) {
			t.Errorf("want Gitea to refuse the slower writer and then to answer %v, got %v", then, answers)
		}
	}
	says := func(what ...string) {
		t.Helper()
		now := r.file(t, agent).Content
		for _, w := range what {
			if !bytes.Contains(now, []byte(w)) {
				t.Errorf("want %q in the order:\n%s", w, now)
			}
		}
	}

	said, answers, err := r.between(t, agent, "budgetUsd=9", save("about coffee", "about houses"))
	refused(answers, http.StatusCreated)
	if err != nil {
		t.Errorf("want two changes of two fields to be kept, got %v: %s", err, said)
	}
	says("about houses", "budgetUsd: 9\n")
	r.stampf(t, "two fields at once: Gitea answered the form %v, and both are kept", answers)

	said, answers, err = r.between(t, agent, "budgetUsd=8", save("budgetUsd: 9\n", "budgetUsd: 11\n"))
	refused(answers)
	if err == nil || !strings.Contains(said, "somebody else set budgetUsd to 11 at the same moment") {
		t.Errorf("want the loser of one field to be told, got %v: %s", err, said)
	}
	says("about houses", "budgetUsd: 11\n")
	r.stampf(t, "one field at once: Gitea answered the form %v, and it says: %s", answers, strings.TrimSpace(said))

	// The form was quicker than who has had the order open in Gitea.
	stale := r.write(t.Context(), agent, read, "about coffee", "about trains")
	if stale == nil || !strings.Contains(stale.Error(), ": 422 ") || !strings.Contains(stale.Error(), "sha does not match") {
		t.Errorf("want the editor of an old version to be told, got %v", stale)
	}
	says("about houses", "budgetUsd: 11\n")
	if n := r.commits(t, agent) - commits; n != 3 {
		t.Errorf("want three commits, two by hand and one by the form, got %d", n)
	}
	r.form(t, 3*time.Minute, "change-budget", object{"agent": component(agent), "budget_usd": 8})
	r.see(t, time.Minute, "order follows Git", r.ordered(agent, 8, "budgetUsd"))
}
