package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// A first order becomes 22 parts, and no reconcile of an XR fails on the way: what
// Crossplane itself puts into the namespace waits for it. The Objects don't wait:
// their provider tries again those that come before the namespace, which is what
// providers are for.
func orderToReady(t *testing.T, w *world) {
	began, first := time.Now(), ""
	ends := w.changes(t, "XDatasetAgent", "", "housing-bot", func(o *unstructured.Unstructured) {
		_, _, says := controlplane.Condition(o, "PartsHeldBack")
		first = cmp.Or(first, says)
	})
	w.agent(t, "housing-bot")
	t.Logf("Ready after %s, and %d writes of the order", time.Since(began).Round(100*time.Millisecond), ends())
	if strings.Count(first, " waits for ") != 3 {
		t.Errorf("want sa-key, agent-planner and xagentbudget held back at first, got %q", first)
	}
	if n := len(w.refs(t, "housing-bot")); n != 22 {
		t.Errorf("want 22 parts, got %d", n)
	}
	out := w.kubectl(t, "get", "events", "-A", "--field-selector", "type=Warning", "-o",
		`jsonpath={range .items[*]}{.involvedObject.kind} {.involvedObject.name}: {.reason}: {.message}{"\n"}{end}`)
	early := 0
	for line := range strings.Lines(out) {
		switch {
		case !strings.Contains(line, "housing-bot"):
		case strings.HasPrefix(line, "Object ") && (strings.Contains(line, `namespaces "agent-housing-bot" not found`) || strings.Contains(line, "-replicas:")):
			early++
		default:
			t.Errorf("want no failed reconcile, got a warning: %s", line)
		}
	}
	t.Logf("%d Objects came before what they need and were tried again by their provider", early)
	out = w.kubectl(t, "get", "xda", "housing-bot")
	for _, want := range []string{"DATASET", "BUDGET", "URL", "Dataset " + housing, "https://agent-housing-bot.34.61.7.12.sslip.io/"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in the columns, got:\n%s", want, out)
		}
	}
	out = w.kubectl(t, "get", "xab", "-A")
	for _, want := range []string{"BUDGET", "SPENT", "RATIO", "PAUSED", "CAUSE", "running"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in the columns, got:\n%s", want, out)
		}
	}
}

// A deleted order takes everything with it, and nothing gets stuck. Crossplane
// promises no order, so the one seen is logged and not asserted: what it breaks stands in
// docs/gitops.md, Destroy.
func deleteOrder(t *testing.T, w *world) {
	const agent = "gone-bot"
	ns := w.agent(t, agent)
	parts := w.refs(t, agent)
	parts = append(parts,
		ref{"v1", "Namespace", "", ns}, ref{"apps/v1", "Deployment", ns, "planner"}, ref{"apps/v1", "Deployment", ns, "sandbox"},
		ref{"v1", "Secret", ns, "gcp-credentials"}, ref{suite.API, "XDatasetAgent", "", agent},
		ref{"kubernetes.m.crossplane.io/v1alpha1", "Object", ns, "agent-" + agent + "-planner-replicas"},
	)
	began, from := time.Now(), w.now(t)
	w.delete(t, suite.API, "XDatasetAgent", "", agent)
	gone := map[ref]bool{}
	if err := controlplane.Eventually(t.Context(), 3*time.Minute, "everything of the order to be gone", func(ctx context.Context) error {
		var left []string
		for _, p := range parts {
			if gone[p] {
				continue
			}
			_, err := w.Get(ctx, p.apiVersion, p.kind, p.namespace, p.name)
			switch {
			case apierrors.IsNotFound(err):
				gone[p] = true
				t.Logf("%5.1f s: %s is gone", time.Since(began).Seconds(), p)
			case err != nil:
				return err
			default:
				left = append(left, p.String())
			}
		}
		if len(left) > 0 {
			return fmt.Errorf("left: %s", strings.Join(left, ", "))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.deleted = true
	for _, m := range w.cascade(t, agent, from) {
		t.Log(m)
	}
	t.Logf("everything gone after %s", time.Since(began).Round(100*time.Millisecond))
	for _, kind := range []string{"providerconfigusages.kubernetes.m.crossplane.io", "providerconfigusages.kubernetes.crossplane.io", "usages.protection.crossplane.io", "clusterusages.protection.crossplane.io"} {
		if out := w.kubectl(t, "get", kind, "-A", "-o", "yaml"); strings.Contains(out, "agent-"+agent) {
			t.Errorf("a leftover in %s:\n%s", kind, out)
		}
	}
}

// An order that is deleted and made again at once gets parts that are its own,
// although the old ones are still going. One that Kubernetes had not begun to delete
// may have been taken over: an owner that comes in between refuses the deletion.
func orderedAgainAtOnce(t *testing.T, w *world) {
	const agent = "twice-bot"
	w.agent(t, agent)
	began := time.Now()
	w.delete(t, suite.API, "XDatasetAgent", "", agent)
	if err := controlplane.Eventually(t.Context(), time.Minute, "the order to be accepted again", func(ctx context.Context) error {
		o, err := w.Get(ctx, suite.API, "XDatasetAgent", "", agent)
		if err == nil {
			return fmt.Errorf("the old one (%s) is still there", o.GetUID())
		}
		if !apierrors.IsNotFound(err) {
			return err
		}
		return w.Apply(ctx, suite.NewOrder(agent, housing, 5))
	}); err != nil {
		t.Fatal(err)
	}
	// Being Ready is not enough: it must be so of parts that aren't going.
	w.seeOrder(t, 5*time.Minute, "the new order to be Ready", agent, condition("Ready", "True", ""), func(o *unstructured.Unstructured) error {
		uid := string(o.GetUID())
		for _, r := range w.refs(t, agent) {
			p, err := w.Get(t.Context(), r.apiVersion, r.kind, r.namespace, r.name)
			if err != nil {
				return err
			}
			if p.GetDeletionTimestamp() != nil {
				return fmt.Errorf("part %s is the old one, which is going", r)
			}
			if owners := p.GetOwnerReferences(); len(owners) != 1 || string(owners[0].UID) != uid {
				return fmt.Errorf("part %s is not the new order's: %v", r, owners)
			}
		}
		return nil
	})
	t.Logf("ordered again and Ready after %s", time.Since(began).Round(100*time.Millisecond))
	if n := len(w.refs(t, agent)); n != 22 {
		t.Errorf("want 22 parts, got %d", n)
	}
	w.keyed(t, agent)
}

// An order that is deleted while the provider that stops its pods is down: its budget is
// gone at once, its planner runs on, and gets no call that nobody would count. When the
// provider is back, all of it goes.
func deletedWhileProviderIsDown(t *testing.T, w *world) {
	const agent = other
	c := w.page(t, agent)
	ns := "agent-" + agent
	rows := float64(len(figures(t, w, "population", nil)))
	says(t, answer(t, c, "How many rows are there?"), rows)
	provider := w.process(t, "provider-kubernetes-")
	provider.Kill()
	back := false
	defer func() {
		if !back {
			w.start(t, provider)
		}
	}()
	input, output, _, _ := w.charged(t, agent)
	w.delete(t, suite.API, "XDatasetAgent", "", agent)
	if err := controlplane.Eventually(t.Context(), time.Minute, "the budget to be gone", func(ctx context.Context) error {
		_, err := w.Get(ctx, suite.API, "XAgentBudget", ns, agent)
		if err == nil {
			err = errors.New("it is still there")
		}
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.WaitForAgent(t.Context(), 30*time.Second, agent); err != nil {
		t.Fatalf("want a planner that runs on, which is what this is about: %v", err)
	}
	_, err := c.Ask(t.Context(), "How many rows are there?", nil)
	t.Logf("asked without a budget: %v", err)
	var no *suite.Refusal
	if !errors.As(err, &no) || no.Code != http.StatusServiceUnavailable || !strings.Contains(no.Message, "budget") {
		t.Errorf("want 503 from the page with a word of the budget, got %v", err)
	}
	if status, says := w.call(t, agent); status != http.StatusForbidden || !strings.Contains(says, "is gone") {
		t.Errorf("want the token-meter to refuse the planner's call, because its budget is gone; got %d %s", status, says)
	}
	if in, out, _, _ := w.charged(t, agent); in != input || out != output {
		t.Errorf("the provider billed %d tokens of input and %d of output to an agent without a budget", in-input, out-output)
	}
	w.start(t, provider)
	back = true
	if err := controlplane.Eventually(t.Context(), 3*time.Minute, "the rest to be gone", func(ctx context.Context) error {
		for _, r := range []ref{{"v1", "Namespace", "", ns}, {suite.API, "XDatasetAgent", "", agent}} {
			_, err := w.Get(ctx, r.apiVersion, r.kind, r.namespace, r.name)
			if err == nil {
				err = fmt.Errorf("%s is left", r)
			}
			if err != nil && !apierrors.IsNotFound(err) {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}
