package chatfrontend

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"

	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
	"github.com/a2aproject/a2a-go/v2/a2asrv"

	"whisperops.io/functions/internal/chatfrontend/chattest"
)

// executor answers by the kit's own server, in artifacts.
type executor struct{ version string }

func (e executor) Execute(_ context.Context, x *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		if !yield(a2a.NewSubmittedTask(x, x.Message), nil) || !yield(a2a.NewStatusUpdateEvent(x, a2a.TaskStateWorking, nil), nil) {
			return
		}
		first := a2a.NewArtifactEvent(x, a2a.NewTextPart("I speak "))
		if !yield(first, nil) || !yield(a2a.NewArtifactUpdateEvent(x, first.Artifact.ID, a2a.NewTextPart(e.version)), nil) {
			return
		}
		yield(a2a.NewStatusUpdateEvent(x, a2a.TaskStateCompleted, nil), nil)
	}
}

func (executor) Cancel(_ context.Context, x *a2asrv.ExecutorContext) iter.Seq2[a2a.Event, error] {
	return func(yield func(a2a.Event, error) bool) {
		yield(a2a.NewStatusUpdateEvent(x, a2a.TaskStateCanceled, nil), nil)
	}
}

// The card says which version is spoken. These are the kit's servers of both.
func TestVersions(t *testing.T) {
	handler := func(version string) a2asrv.RequestHandler { return a2asrv.NewHandler(executor{version}) }
	refuse := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":"1","error":{"code":-32601,"message":"Method not found"}}`))
	}
	v1, v03 := a2asrv.NewJSONRPCHandler(handler("1.0")), a2av0.NewJSONRPCHandler(handler("0.3"))
	for name, tc := range map[string]struct {
		reason string
		card   map[string]any
		serve  map[string]http.Handler
		want   string
	}{
		"Legacy": {
			reason: "kagent up to v0.10.",
			card:   map[string]any{"protocolVersion": "0.3.0", "url": "http://0.0.0.0:8080/", "preferredTransport": "JSONRPC"},
			serve:  map[string]http.Handler{"/": v03}, want: "0.3",
		},
		"Current": {
			reason: "kagent's main branch.",
			card:   map[string]any{"supportedInterfaces": []any{map[string]any{"url": "http://planner/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}}},
			serve:  map[string]http.Handler{"/a2a": v1}, want: "1.0",
		},
		"Both": {
			reason: "The newer one is taken.",
			card:   map[string]any{"supportedInterfaces": []any{map[string]any{"url": "http://planner/old", "protocolBinding": "JSONRPC", "protocolVersion": "0.3"}, map[string]any{"url": "http://planner/new", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}}},
			serve:  map[string]http.Handler{"/old": v03, "/new": v1}, want: "1.0",
		},
		"Promised": {
			reason: "kagent v0.10 was seen to claim 1.0 and to answer -32601.",
			card:   map[string]any{"supportedInterfaces": []any{map[string]any{"url": "http://planner/new", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}, map[string]any{"url": "http://planner/old", "protocolBinding": "JSONRPC", "protocolVersion": "0.3"}}},
			serve:  map[string]http.Handler{"/old": v03, "/new": http.HandlerFunc(refuse)}, want: "0.3",
		},
		"Silent": {
			reason: "A card that says nothing means 0.3 at its own address.",
			card:   map[string]any{},
			serve:  map[string]http.Handler{"/": v03}, want: "0.3",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, streaming := range []bool{true, false} {
				mux := http.NewServeMux()
				for path, h := range tc.serve {
					mux.Handle(path, h)
				}
				mux.HandleFunc("GET /.well-known/agent-card.json", func(w http.ResponseWriter, _ *http.Request) {
					tc.card["name"], tc.card["capabilities"] = "planner", map[string]any{"streaming": streaming}
					_ = json.NewEncoder(w).Encode(tc.card)
				})
				srv := httptest.NewServer(mux)
				s := newSite(t, func(*chattest.Task) {}, "PLANNER_URL="+srv.URL)
				for range 2 {
					if _, got := s.visitor().answer("new", "hi"); got.State != TurnDone || got.text() != "<p>I speak "+tc.want+"</p>" {
						t.Errorf("streaming %t: got %+v %+v: %s", streaming, got, got.Problem, tc.reason)
					}
				}
				srv.Close()
			}
		})
	}
}

// The address in a card may be one that only the agent can reach.
func TestEndpoint(t *testing.T) {
	for _, tc := range []struct{ base, card, want string }{
		{"http://planner:8080", "http://0.0.0.0:8080/", "http://planner:8080/"},
		{"http://planner:8080", "http://evil.example/x", "http://planner:8080/x"},
		{"http://planner:8080/", "", "http://planner:8080/"},
		{"http://controller:8083/api/a2a/ns/planner/", "http://planner:8080/", "http://controller:8083/api/a2a/ns/planner/"},
		{"http://planner:8080", "http://[::1", "http://planner:8080"},
	} {
		base, err := url.Parse(tc.base)
		if err != nil {
			t.Fatal(err)
		}
		if got := newPlanner(base, nil).endpoint(tc.card); got != tc.want {
			t.Errorf("%s, card %s: got %s, want %s", tc.base, tc.card, got, tc.want)
		}
	}
}

// Each question is looked at once by the planner's card, and asked once.
func TestOneQuestionIsOneMessage(t *testing.T) {
	var posts atomic.Int32
	s := newSite(t, func(t *chattest.Task) { posts.Add(1); t.Answer("ok") })
	s.visitor().answer("new", "hi")
	if posts.Load() != 1 {
		t.Errorf("%d messages", posts.Load())
	}
}
