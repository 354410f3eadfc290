package chatfrontend

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"whisperops.io/functions/internal/chatfrontend/chattest"
)

// A site is a chat page in this process, with its planner and its budget.
type site struct {
	*httptest.Server

	t       *testing.T
	server  *server
	planner *chattest.Planner
	kube    *chattest.Kube
}

// newSite serves a page. The environment overrides the one it starts with.
func newSite(t *testing.T, script func(*chattest.Task), env ...string) *site {
	t.Helper()
	s := &site{t: t, planner: chattest.New(script), kube: chattest.NewKube()}
	path, err := s.kube.Kubeconfig(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBECONFIG", path)
	vars := map[string]string{"AGENT_NAME": "housing-bot", "DATASET_DISPLAY_NAME": "California housing", "AGENT_DESCRIPTION": "House prices", "PLANNER_URL": s.planner.URL, "SANDBOX_URL": "none"}
	for _, e := range env {
		k, v, _ := strings.Cut(e, "=")
		vars[k] = v
	}
	f, err := Parse(nil, func(k string) string { return vars[k] }, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if s.server, err = newServer(f, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	h, err := s.server.routes()
	if err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(h)
	t.Cleanup(func() {
		s.server.cancel()
		s.planner.CloseClientConnections()
		s.planner.Close()
		s.server.running.Wait()
		s.CloseClientConnections()
		s.Close()
		s.kube.Close()
	})
	return s
}

// A visitor is one person's browser.
type visitor struct {
	*site

	http   *http.Client
	header http.Header
}

func (s *site) visitor() *visitor {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &visitor{site: s, http: &http.Client{Jar: jar, Timeout: time.Minute}, header: http.Header{}}
}

func (v *visitor) send(method, path string, body, out any) int {
	v.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		v.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.URL+path, bytes.NewReader(b))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header = v.header.Clone()
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	rsp, err := v.http.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer rsp.Body.Close() //nolint:errcheck // it was only read
	data, err := io.ReadAll(rsp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	switch o := out.(type) {
	case nil:
	case *string:
		*o = string(data)
	default:
		if err := json.Unmarshal(data, out); err != nil {
			v.t.Fatalf("%s %s: %d %s: %v", method, path, rsp.StatusCode, data, err)
		}
	}
	return rsp.StatusCode
}

// ask asks in a conversation, "new" for one that begins, and fails where it is refused.
func (v *visitor) ask(conversation, q string) Asked {
	v.t.Helper()
	a := Asked{}
	if code := v.send(http.MethodPost, "/api/conversations/"+conversation+"/turns", Question{Question: q}, &a); code != http.StatusAccepted {
		v.t.Fatalf("asking %q: %d", q, code)
	}
	return a
}

func (a Asked) path(rest string) string {
	return "/api/conversations/" + a.Conversation + "/turns/" + a.Turn.ID + "/" + rest
}

// watch follows an answer until says yes or the stream ends, and returns what
// page would show then, put together from the patches as a page does.
func (v *visitor) watch(a Asked, until func(View) bool) View {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), 40*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.URL+a.path("events"), http.NoBody)
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header = v.header.Clone()
	rsp, err := v.http.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer rsp.Body.Close() //nolint:errcheck // it was only read
	view, end := View{ID: a.Turn.ID}, false
	lines := bufio.NewScanner(rsp.Body)
	lines.Buffer(nil, 8<<20)
	for lines.Scan() {
		line := lines.Text()
		if line == "event: end" {
			end = true
		}
		data, ok := strings.CutPrefix(line, "data: ")
		if !ok || end {
			continue
		}
		p := Patch{}
		if err := json.Unmarshal([]byte(data), &p); err != nil {
			v.t.Fatalf("%s: %v", data, err)
		}
		view.State, view.Notice, view.Ask, view.Problem, view.Markdown = p.State, p.Notice, p.Ask, p.Problem, p.Text
		view.Blocks = append(view.Blocks[:p.From:p.From], p.Blocks...)
		for _, s := range p.Steps {
			i := 0
			for i < len(view.Steps) && view.Steps[i].ID != s.ID {
				i++
			}
			if i == len(view.Steps) {
				view.Steps = append(view.Steps, s)
			}
			view.Steps[i] = s
		}
		if until != nil && until(view) {
			return view
		}
	}
	if !end {
		v.t.Fatalf("the stream ended too early, at %+v: %v", view, lines.Err())
	}
	return view
}

func (v *visitor) answer(conversation, q string) (Asked, View) {
	v.t.Helper()
	a := v.ask(conversation, q)
	return a, v.watch(a, nil)
}

func (v View) text() string { return strings.Join(v.Blocks, "\n") }
