package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
)

// What an order promises that only a real node keeps: make test-node. It runs where
// NODE=real is in the environment, and says what is missing where one can't be had.
func TestRealNode(t *testing.T) {
	if !controlplane.WantsRealNode() {
		t.Skip("make test-node: pods in containers, on a real kubelet; needs root and Debian's containerd")
	}
	if err := controlplane.CanRunRealNode(); err != nil {
		t.Fatal(err)
	}
	w := start(t)
	defer w.explain(t)
	for _, s := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"QuestionAndAnswer", questionAndAnswer},
		{"Contained", contained},
		{"OutOfMemory", outOfMemory},
		{"Packets", packets},
		{"BudgetEmptied", budgetEmptied},
	} {
		if !t.Run(s.name, func(t *testing.T) { s.run(t, w) }) && s.name == "QuestionAndAnswer" {
			return // nothing runs
		}
	}
}

// inSandbox runs Python in an agent's sandbox container, beside its program and not
// behind the walls that this builds around generated code.
func (w *world) inSandbox(t *testing.T, agent, code string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return w.Kubectl(ctx, "exec", "-n", "agent-"+agent, "deploy/sandbox", "--", "python3", "-c", code)
}

// A container is what its manifest says: nobody, who may write nothing and become
// nobody else. Its words can be read.
func contained(t *testing.T, w *world) {
	w.page(t, asked)
	const look = `
import os
print("uid", os.getuid())
for f in ("/written", "/etc/written", "/usr/written"):
    try:
        open(f, "w"); print("wrote", f)
    except OSError as e:
        print("refused", e.errno)
print({k: v for k, v in (l.rstrip().split(":\t") for l in open("/proc/self/status") if ":\t" in l) if k in ("CapEff", "CapBnd", "NoNewPrivs", "Seccomp")})
`
	out, err := w.inSandbox(t, asked, look)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"uid 65532", "'CapEff': '0000000000000000'", "'CapBnd': '0000000000000000'", "'NoNewPrivs': '1'", "'Seccomp': '2'"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %s in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "wrote") || strings.Count(out, "refused 30") != 3 { // EROFS: not only for want of rights
		t.Errorf("want a read-only file system, got:\n%s", out)
	}
	for _, d := range []string{"sandbox", "worker", "planner", "chat-frontend"} {
		log, err := w.Kubectl(t.Context(), "logs", "-n", "agent-"+asked, "deploy/"+d)
		if err != nil || strings.TrimSpace(log) == "" {
			t.Errorf("want words of %s, got %q, %v", d, log, err)
		}
	}
}

// What takes more memory than the sandbox has is killed by the kernel, and the agent
// goes on answering.
func outOfMemory(t *testing.T, w *world) {
	c := w.page(t, asked)
	out, err := w.inSandbox(t, asked, "b = []\nwhile True: b.append(bytearray(16 << 20))")
	if err == nil || !strings.Contains(err.Error(), "137") {
		t.Errorf("want the kernel to kill what takes all memory (137), got %v: %s", err, out)
	}
	if err := w.WaitForAgent(t.Context(), time.Minute, asked); err != nil {
		t.Fatal(err)
	}
	says(t, answer(t, c, "What is the largest population?"), slices.Max(figures(t, w, "population", nil)))
}

// What the agent's NetworkPolicy promises, with packets: each way is tried from the
// sandbox's container, and from the node, to which all of them are open: what is shut is
// shut by the policy.
func packets(t *testing.T, w *world) {
	for _, a := range []string{asked, other} {
		w.page(t, a)
	}
	theirs, err := w.sandboxIP(t, other)
	if err != nil {
		t.Fatal(err)
	}
	web, err := net.Listen("tcp", controlplane.StorageAddress+":80")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = web.Close() }() // it has served
	for name, tc := range map[string]struct {
		reason  string
		address string
		open    bool
	}{
		"OwnSandbox":      {"A worker calls its sandbox.", "sandbox.agent-" + asked + ".svc:8080", true},
		"OwnPlanner":      {"All pods of an agent have one policy (docs/design/0008-one-network-policy.md).", "planner.agent-" + asked + ":8080", true},
		"TokenMeter":      {"Models are reached through it.", "token-meter.whisperops-system.svc:8080", true},
		"Google":          {"The sandbox fetches its dataset.", controlplane.StorageAddress + ":443", true},
		"OthersSandbox":   {"Another agent's data are behind it.", "sandbox.agent-" + other + ".svc:8080", false},
		"OthersPod":       {"Nor around the Service.", theirs + ":8080", false},
		"OthersPage":      {"Nor its chat page.", "chat-frontend.agent-" + other + ".svc:3000", false},
		"MetersNumbers":   {"A port that no rule names, of a namespace that one names.", "token-meter.whisperops-system.svc:9090", false},
		"Kubelet":         {"The node is a private address.", "192.168.77.1:10250", false},
		"InternetUnnamed": {"Only HTTPS leads out.", controlplane.StorageAddress + ":80", false},
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", tc.address); err != nil {
				t.Errorf("nobody listens at %s, so that this shows nothing: %v", tc.address, err)
			} else {
				_ = c.Close() // it was open
			}
			host, port, _ := strings.Cut(tc.address, ":")
			code := fmt.Sprintf("import socket\ntry:\n    socket.create_connection((%q, %s), 5); print('open')\nexcept OSError as e:\n    print('shut', type(e).__name__, e)", host, port)
			out, err := w.inSandbox(t, asked, code)
			if err != nil {
				t.Fatal(err)
			}
			// A name that can't be resolved must not pass for a way that is shut.
			if strings.Contains(out, "gaierror") || strings.HasPrefix(out, "open") != tc.open {
				t.Errorf("%s: want open %v, got %s", tc.reason, tc.open, out)
			}
			t.Logf("%s: %s", tc.address, strings.TrimSpace(out))
		})
	}
}

// sandboxIP is the address of an agent's sandbox, behind its Service.
func (w *world) sandboxIP(t *testing.T, agent string) (string, error) {
	t.Helper()
	d, err := w.Get(t.Context(), "apps/v1", "Deployment", "agent-"+agent, "sandbox")
	if err != nil {
		return "", err
	}
	match, _, _ := unstructured.NestedStringMap(d.Object, "spec", "selector", "matchLabels")
	var list []string
	for k, v := range match {
		list = append(list, k+"="+v)
	}
	ip, err := w.Kubectl(t.Context(), "get", "pods", "-n", "agent-"+agent, "-l", strings.Join(list, ","), "-o", "jsonpath={.items[0].status.podIP}")
	if err == nil && ip == "" {
		err = errors.New("the sandbox's pod has no address")
	}
	return ip, err
}
