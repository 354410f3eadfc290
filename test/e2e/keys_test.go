package e2e

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
)

// newKey is what a sandbox says when it has taken a key that was replaced.
const newKey = "The credential's file has changed; the new one is used"

// A key is replaced under a living sandbox by the command of docs/workloads.md: the
// sandbox takes the new one out of its volume, and no question goes unanswered meanwhile.
func keyReplaced(t *testing.T, w *world) {
	const agent = other
	c := w.page(t, agent)
	ns := "agent-" + agent
	rows := float64(len(figures(t, w, "population", nil)))
	w.seeOrder(t, heard, "the agent's key", agent, condition("CredentialsPresent", "True", ""))
	firstAnswer(t, c, "How many rows are there?")
	kept := w.keeps(t, agent, "sa-key")
	sandbox := w.Node.Pod(ns, "sandbox")
	pid, took, old := sandbox.PID(), w.said(t, sandbox, newKey), w.privateKey(t, ns)

	began := time.Now()
	w.kubectl(t, "delete", "serviceaccountkeys.cloudplatform.gcp.upbound.io", "agent-"+agent+"-sa-key", "--wait=false")
	for w.said(t, sandbox, newKey) == took {
		says(t, answer(t, c, "How many rows are there?"), rows)
		if time.Since(began) > patient {
			t.Fatalf("the sandbox has not taken the new key after %s; its Secret has another: %t", patient, w.privateKey(t, ns) != old)
		}
	}
	t.Logf("the sandbox works with its new key after %s", time.Since(began).Round(100*time.Millisecond))
	says(t, answer(t, c, "How many rows are there?"), rows)
	if now := w.privateKey(t, ns); now == "" || now == old {
		t.Error("want another key in the Secret")
	}
	if now := w.Node.Pod(ns, "sandbox"); now != sandbox || now.PID() != pid {
		t.Error("want the sandbox to be the process that it was")
	}
	w.seeOrder(t, heard, "the order to be whole", agent, condition("CredentialsPresent", "True", ""), condition("Ready", "True", ""))
	kept()
}

// said counts the lines of a process's log that hold a sentence.
func (*world) said(t *testing.T, p *controlplane.Process, sentence string) int {
	t.Helper()
	log, err := os.ReadFile(p.LogFile())
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(log), sentence)
}

// privateKey waits for an agent's key, as its Secret holds it.
func (w *world) privateKey(t *testing.T, ns string) string {
	t.Helper()
	key := ""
	if err := controlplane.Eventually(t.Context(), heard, "a private key in "+ns, func(ctx context.Context) error {
		s, err := w.Get(ctx, "v1", "Secret", ns, "gcp-credentials")
		if err != nil {
			return err
		}
		if key, _, _ = unstructured.NestedString(s.Object, "data", "private_key"); key == "" {
			return errors.New("the Secret holds none")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return key
}
