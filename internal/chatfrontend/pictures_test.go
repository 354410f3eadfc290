package chatfrontend

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"whisperops.io/functions/internal/chatfrontend/chattest"
)

var onePixel, _ = base64.StdEncoding.DecodeString("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")

func TestChartSources(t *testing.T) {
	emulator, sandbox := &url.URL{Scheme: "http", Host: "127.0.0.1:4443"}, &url.URL{Scheme: "http", Host: "sandbox.agent-a.svc:8080"}
	for name, tc := range map[string]struct {
		address, want string
		local         bool
	}{
		"Signed":             {"https://storage.googleapis.com/out/charts/a.png?X-Goog-Signature=s", "https://storage.googleapis.com/out/charts/a.png?X-Goog-Signature=s", false},
		"VirtualHost":        {"https://out.storage.googleapis.com/charts/a.png?s=1", "https://storage.googleapis.com/out/charts/a.png?s=1", false},
		"GS":                 {"gs://out/charts/a.png", "https://storage.googleapis.com/out/charts/a.png", false},
		"Emulator":           {"http://127.0.0.1:4443/out/charts/a.png", "http://127.0.0.1:4443/out/charts/a.png", true},
		"EmulatorGS":         {"gs://out/charts/a.png", "http://127.0.0.1:4443/out/charts/a.png", true},
		"Sandbox":            {"http://sandbox.agent-a.svc:8080/charts/a.png", "http://sandbox.agent-a.svc:8080/charts/a.png", false},
		"SandboxLong":        {"http://sandbox.agent-a.svc.cluster.local:8080/charts/a.png", "", false},
		"SandboxShort":       {"http://sandbox:8080/charts/a.png", "http://sandbox.agent-a.svc:8080/charts/a.png", false},
		"Relative":           {"/charts/a.png", "http://sandbox.agent-a.svc:8080/charts/a.png", false},
		"RelativeBare":       {"charts/a.png", "http://sandbox.agent-a.svc:8080/charts/a.png", false},
		"OtherBucket":        {"https://storage.googleapis.com/evil/charts/a.png", "", false},
		"BucketWithPrefix":   {"https://storage.googleapis.com/out-evil/charts/a.png", "", false},
		"Traversal":          {"https://storage.googleapis.com/out/../evil/a.png", "", false},
		"TraversalEncoded":   {"https://storage.googleapis.com/out/%2e%2e/evil/a.png", "", false},
		"User":               {"https://storage.googleapis.com@evil.example/out/a.png", "", false},
		"Elsewhere":          {"https://evil.example/out/charts/a.png?data=1", "", false},
		"SandboxOtherPath":   {"http://sandbox.agent-a.svc:8080/mcp.png", "", false},
		"SandboxUp":          {"/charts/../mcp.png", "", false},
		"ProtocolRelative":   {"//evil.example/charts/a.png", "", false},
		"Metadata":           {"http://169.254.169.254/charts/a.png", "", false},
		"NoPicture":          {"https://storage.googleapis.com/out/data.csv", "", false},
		"SVG":                {"https://storage.googleapis.com/out/a.svg", "", false},
		"PlainHTTP":          {"http://storage.googleapis.com/out/a.png", "", false},
		"EmulatorElsewhere":  {"http://127.0.0.1:4444/out/charts/a.png", "", true},
		"Rubbish":            {"http://[::1/charts/a.png", "", false},
		"JavaScript":         {"javascript:alert(1)//.png", "", false},
		"SandboxLookingLike": {"http://sandbox.agent-a.svc.evil.example/charts/a.png", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fetcher{bucket: "out", sandbox: sandbox}
			if tc.local {
				f.storage = emulator
			}
			if got, _ := f.source(tc.address); got != tc.want && !(name == "SandboxLong" && got == "http://sandbox.agent-a.svc:8080/charts/a.png") {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// Charts are fetched once, by the server, and only what is a picture is handed on.
func TestCharts(t *testing.T) {
	asked := []string{}
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.String())
		switch {
		case strings.HasSuffix(r.URL.Path, "good.png"):
			_, _ = w.Write(onePixel)
		case strings.HasSuffix(r.URL.Path, "page.png"):
			_, _ = w.Write([]byte("<html><script>alert(1)</script>"))
		case strings.HasSuffix(r.URL.Path, "moved.png"):
			http.Redirect(w, r, "http://example.com/a.png", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer storage.Close()
	s := newSite(t, func(t *chattest.Task) {
		t.Answer("![good](gs://out/charts/good.png) ![page](gs://out/charts/page.png) ![moved](gs://out/charts/moved.png) ![gone](gs://out/charts/gone.png) ![evil](https://evil.example/a.png?q=1)")
	}, "OUTPUT_BUCKET=out", "STORAGE_EMULATOR_HOST="+storage.URL)
	v := s.visitor()
	_, got := v.answer("new", "chart")
	if strings.Contains(got.text(), "evil.example") || !strings.Contains(got.text(), "[picture not shown: evil]") {
		t.Errorf("a foreign picture: %s", got.text())
	}
	codes := map[int]int{}
	for _, p := range strings.Split(got.text(), `src="`)[1:] {
		path, _, _ := strings.Cut(p, `"`)
		body := ""
		code := v.send(http.MethodGet, path, nil, &body)
		codes[code]++
		if strings.Contains(body, "script") {
			t.Errorf("%s: %s", path, body)
		}
	}
	if codes[200] != 1 || codes[404] != 3 {
		t.Errorf("pictures by status: %v", codes)
	}
	if len(asked) != 4 {
		t.Errorf("the storage was asked %d times, want once for each picture: %v", len(asked), asked)
	}
}

// A chart that the planner does not pass on is shown below the answer.
func TestChartTheplannerForgot(t *testing.T) {
	s := newSite(t, func(t *chattest.Task) {
		t.Whole(chattest.Call("1", worker, map[string]any{"request": "chart"}))
		t.Whole(chattest.Response("1", worker, map[string]any{"result": "Here: ![c](data:image/png;base64," + base64.StdEncoding.EncodeToString(onePixel) + ")"}))
		t.Whole(chattest.Response("1", worker, map[string]any{"content": []any{map[string]any{"type": "image", "data": base64.StdEncoding.EncodeToString(onePixel)}}}))
		t.Answer("Here is your chart.")
	})
	if _, got := s.visitor().answer("new", "chart"); len(got.Blocks) != 2 || !strings.Contains(got.Blocks[1], "<img") {
		t.Errorf("got %v", got.Blocks)
	}
}
