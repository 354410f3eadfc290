package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// hardCap of the agent in TestTokenMeter, in millionths of a US dollar, and the price
// of its model in the same for a million tokens.
const (
	hardCap     = 60_000
	inputPrice  = 750_000
	outputPrice = 3_750_000
)

const meterObjects = `
apiVersion: v1
kind: Namespace
metadata: {name: crossplane-system}
---
apiVersion: v1
kind: Namespace
metadata: {name: agent-hard}
---
apiVersion: v1
kind: Namespace
metadata: {name: agent-spent}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: whisperops-pricing, namespace: crossplane-system}
data:
  prices.yaml: |
    models:
      gemini-3.8-flash: {input: "0.75", cachedInput: "0.075", output: "3.75"}
`

const meterBudgets = `
apiVersion: whisperops.io/v1alpha1
kind: XAgentBudget
metadata: {name: hard, namespace: agent-hard, annotations: {whisperops.io/meter-mode: hard}}
spec: {agentName: hard, budgetUsd: 0.06}
---
apiVersion: whisperops.io/v1alpha1
kind: XAgentBudget
metadata: {name: spent, namespace: agent-spent}
spec: {agentName: spent, budgetUsd: 5}
---
apiVersion: v1
kind: Pod
metadata: {name: planner, namespace: agent-hard}
spec: {containers: [{name: planner, image: planner}]}
`

// TestTokenMeter lets two replicas of the token-meter share a hard budget through a
// real API server, as the ServiceAccount and with the rights that
// package/install/token-meter gives them, while one is killed and the API server
// goes away. The provider's bill never passes the cap.
func TestTokenMeter(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	ctx := t.Context()
	m := newMeters(t)
	m.objects(ctx, t)
	for i := range 2 {
		m.start(ctx, t, i)
	}
	if got := m.ask(t, 0, "spent"); got != http.StatusForbidden {
		t.Errorf("a caller whose address is of agent hard claims to be agent spent, and gets %d", got)
	}

	var loops sync.WaitGroup
	for range 6 {
		loops.Go(func() { m.loop(t) })
	}
	m.allow(40)
	m.until(ctx, t, "20 calls", func() bool { return m.calls.Load() >= 20 })
	m.kill(ctx, t, 0) // with calls under way
	m.allow(20)
	m.until(ctx, t, "calls after the first killing", func() bool { return len(m.may) == 0 })

	// Before the API server goes: one that has just come back forbids some of what it is
	// about to allow.
	m.rights(t)

	// Without an API server what was granted may be spent, and nothing else is. A
	// meter that is started meanwhile goes on with what it knew.
	server := m.api.Process("kube-apiserver")
	server.Kill()
	m.kill(ctx, t, 1)
	m.allow(1000)
	m.until(ctx, t, "a call to be refused for want of the API server", func() bool { return m.away.Load() > 0 })
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	close(m.may)
	loops.Wait()

	bill, calls := m.bill(), m.calls.Load()
	book, err := m.api.Get(ctx, "v1", "ConfigMap", "whisperops-system", "token-meter-hard")
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := unstructured.NestedString(book.Object, "data", "book.json")
	t.Logf("cap %d, billed %d millionths of a US dollar, %d calls, %d refused while the API server was away; the book: %s", hardCap, bill, calls, m.away.Load(), text)
	if bill > hardCap {
		t.Errorf("the cap is %d, and %d were billed", hardCap, bill)
	}
	if bill < hardCap/4 {
		t.Errorf("little of the cap of %d could be spent: %d", hardCap, bill)
	}
}

// meters are two replicas, a provider, and an API server.
type meters struct {
	api      *APIServer
	program  string
	provider *httptest.Server
	config   string
	urls     [2]string
	dirs     [2]string

	calls, away atomic.Int64
	may         chan struct{} // a call be made; closed: as many as anybody likes
	mu          sync.Mutex
	input       int64 // tokens billed
	output      int64
}

func newMeters(t *testing.T) *meters {
	t.Helper()
	root, err := Checkout()
	if err != nil {
		t.Fatal(err)
	}
	m := &meters{may: make(chan struct{}, 5000), program: filepath.Join(t.TempDir(), "token-meter")}
	build := exec.Command("go", "build", "-o", m.program, "./cmd/token-meter")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m.provider = httptest.NewServer(http.HandlerFunc(m.generate))
	t.Cleanup(m.provider.Close)
	m.api, err = StartAPIServer(t.Context(), Options{Dir: t.TempDir(), Log: t.Logf, ControllerManager: true, Audit: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.api.Stop()
		for _, name := range []string{"meter-0", "meter-1"} {
			if p := m.api.Process(name); p != nil && t.Failed() {
				t.Logf("%s:\n%s", name, p.LogTail(30))
			}
		}
	})
	return m
}

// generate is a provider that answers as briefly or as long as it likes, and bills.
func (m *meters) generate(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var in struct {
		GenerationConfig struct {
			MaxOutputTokens int64 `json:"maxOutputTokens"`
		} `json:"generationConfig"`
	}
	if err := json.Unmarshal(body, &in); err != nil || in.GenerationConfig.MaxOutputTokens == 0 {
		http.Error(w, "no bound", http.StatusTeapot)
		return
	}
	input, output := rand.Int64N(int64(len(body))), rand.Int64N(in.GenerationConfig.MaxOutputTokens+1)
	m.mu.Lock()
	m.input += input
	m.output += output
	m.mu.Unlock()
	fmt.Fprintf(w, `{"candidates":[{"finishReason":"STOP"}],"modelVersion":"gemini-3.8-flash","usageMetadata":{"promptTokenCount":%d,"candidatesTokenCount":%d,"totalTokenCount":%d}}`, input, output, input+output)
}

// bill in millionths of a US dollar, rounded up.
func (m *meters) bill() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return (m.input*inputPrice + m.output*outputPrice + 999_999) / 1_000_000
}

// objects makes what a platform has: the kind, the rights, prices, budgets, a pod.
func (m *meters) objects(ctx context.Context, t *testing.T) {
	t.Helper()
	root, err := Checkout()
	if err != nil {
		t.Fatal(err)
	}
	install := filepath.Join(root, "package", "install", "token-meter", "base")
	objects, err := DecodeFiles(filepath.Join(install, "namespace.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	xrd, err := DecodeFiles(filepath.Join(root, "package", "xrds", "zz_generated.xagentbudgets.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.api.Apply(ctx, append(objects, crdOf(xrd[0]))...); err != nil {
		t.Fatal(err)
	}
	if err := m.api.ApplyYAML(ctx, meterObjects); err != nil {
		t.Fatal(err)
	}
	rights, err := DecodeFiles(filepath.Join(install, "rbac.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.api.Apply(ctx, rights...); err != nil {
		t.Fatal(err)
	}
	if err := Eventually(ctx, time.Minute, "budgets and a pod to be made", func(ctx context.Context) error { return m.api.ApplyYAML(ctx, meterBudgets) }); err != nil {
		t.Fatal(err)
	}
	if err := m.api.Patch(ctx, "v1", "Pod", "agent-hard", "planner", `{"status":{"phase":"Running","podIP":"127.0.0.1","podIPs":[{"ip":"127.0.0.1"}]}}`, "status"); err != nil {
		t.Fatal(err)
	}
	token, err := m.api.Token(ctx, "whisperops-system", "token-meter")
	if err != nil {
		t.Fatal(err)
	}
	m.config = filepath.Join(m.api.Dir, "meter.kubeconfig")
	if err := m.api.WriteKubeconfig(m.config, m.api.URL, &clientcmdapi.AuthInfo{Token: token}); err != nil {
		t.Fatal(err)
	}
}

// crdOf is the kind that Crossplane makes of a definition, but for what it adds.
func crdOf(xrd *unstructured.Unstructured) *unstructured.Unstructured {
	spec := map[string]any{}
	for _, k := range []string{"group", "names", "scope"} {
		spec[k], _, _ = unstructured.NestedFieldCopy(xrd.Object, "spec", k)
	}
	versions, _, _ := unstructured.NestedSlice(xrd.Object, "spec", "versions")
	for _, v := range versions {
		version := v.(map[string]any)
		delete(version, "referenceable")
		version["storage"], version["subresources"] = true, map[string]any{"status": map[string]any{}}
	}
	spec["versions"] = versions
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": xrd.GetName()}, "spec": spec,
	}}
}

// start a replica with an empty journal.
func (m *meters) start(ctx context.Context, t *testing.T, i int) {
	t.Helper()
	var ports [2]int
	for k := range ports {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		ports[k] = port
	}
	m.dirs[i], m.urls[i] = t.TempDir(), fmt.Sprintf("http://127.0.0.1:%d", ports[0])
	ready := fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[1])
	if _, err := m.api.Run(ctx, Command{
		Name: fmt.Sprint("meter-", i), Path: m.program, Env: []string{"KUBECONFIG=" + m.config, "HOME=" + m.dirs[i]},
		Args: []string{
			"--host=127.0.0.1", fmt.Sprint("--port=", ports[0]), fmt.Sprint("--metrics-port=", ports[1]), "--journal=" + m.dirs[i],
			"--gemini-url=" + m.provider.URL, fmt.Sprint("--replica=meter-", i), "--hard-max-output=200", "--hard-overhead=0", "--hard-wait=1s",
		},
		Ready: func(ctx context.Context) error {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, ready, http.NoBody)
			if err != nil {
				return err
			}
			res, err := http.DefaultClient.Do(r)
			if err == nil && res.StatusCode != http.StatusOK {
				err = fmt.Errorf("it answers %s", res.Status)
			}
			if err != nil {
				return err
			}
			return res.Body.Close()
		},
	}); err != nil {
		t.Fatal(err)
	}
}

// kill a replica, and start it again with its journal.
func (m *meters) kill(ctx context.Context, t *testing.T, i int) {
	t.Helper()
	p := m.api.Process(fmt.Sprint("meter-", i))
	p.Kill()
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

// ask makes a call for an agent, and returns 0 if the meter is down.
func (m *meters) ask(t *testing.T, i int, agent string) int {
	t.Helper()
	res, err := http.Post(m.urls[i]+"/agents/"+agent+"/gemini/v1beta/models/gemini-3.8-flash:generateContent", "application/json",
		strings.NewReader(`{"contents":[{"role":"user","parts":[{"text":"`+strings.Repeat("x", 400)+`"}]}]}`))
	if err != nil {
		return 0
	}
	b, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // it was only read
	switch res.StatusCode {
	case http.StatusOK, http.StatusPaymentRequired, http.StatusForbidden, http.StatusServiceUnavailable:
	default:
		t.Errorf("a call was answered %s: %s, %v", res.Status, b, err)
	}
	return res.StatusCode
}

// loop makes calls until the budget is spent, whichever replica is asked.
func (m *meters) loop(t *testing.T) {
	t.Helper()
	for refused := 0; refused < 4 && t.Context().Err() == nil; {
		<-m.may
		switch m.ask(t, rand.IntN(2), "hard") {
		case http.StatusOK:
			m.calls.Add(1)
			refused = 0
		case http.StatusPaymentRequired:
			refused++
		case http.StatusServiceUnavailable:
			m.away.Add(1)
		case http.StatusForbidden:
			t.Error("the agent was not believed")
			return
		}
	}
}

func (m *meters) allow(calls int) {
	for range calls {
		m.may <- struct{}{}
	}
}

func (m *meters) until(ctx context.Context, t *testing.T, what string, ok func() bool) {
	t.Helper()
	if err := Eventually(ctx, 2*time.Minute, what, func(context.Context) error {
		if !ok() {
			return errors.New("not yet")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// rights: nothing that the meters asked for was forbidden, and they asked for all that
// they need.
func (m *meters) rights(t *testing.T) {
	t.Helper()
	f, err := os.ReadFile(m.api.AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	did := map[string]int{}
	for line := range bytes.Lines(f) {
		var e struct {
			Verb string `json:"verb"`
			User struct {
				Username string `json:"username"`
			} `json:"user"`
			ObjectRef struct {
				Resource  string `json:"resource"`
				Namespace string `json:"namespace"`
				Name      string `json:"name"`
			} `json:"objectRef"`
			ResponseStatus struct {
				Code int32 `json:"code"`
			} `json:"responseStatus"`
		}
		if err := json.Unmarshal(line, &e); err != nil || e.User.Username != "system:serviceaccount:whisperops-system:token-meter" {
			continue
		}
		if code := e.ResponseStatus.Code; code == http.StatusForbidden || code == http.StatusUnauthorized {
			t.Errorf("the meter may not %s %s %s/%s", e.Verb, e.ObjectRef.Resource, e.ObjectRef.Namespace, e.ObjectRef.Name)
		}
		did[e.Verb+" "+e.ObjectRef.Resource]++
	}
	t.Logf("the meters did: %v", did)
	// A watch is in the log when it ends.
	for _, need := range []string{"get configmaps", "create configmaps", "update configmaps"} {
		if did[need] == 0 {
			t.Errorf("no meter did: %s", need)
		}
	}
}
