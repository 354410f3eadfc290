// Package e2e runs the suite on a real Crossplane and breaks it on purpose. Each
// scenario asserts what a user sees and that nothing was lost.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/test/controlplane"
	"whisperops.io/functions/test/controlplane/suite"
)

func TestMain(m *testing.M) { os.Exit(controlplane.Isolated(m.Run)) }

const (
	api   = "whisperops.io/v1alpha1"
	model = "gemini-2.5-pro" // render-workloads' default; costs 1.25 USD for a million input tokens
)

// A world is one stack, which the scenarios share, each with an order of its own.
type world struct {
	*suite.Suite
}

func start(t *testing.T) *world {
	t.Helper()
	root, err := controlplane.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	out := os.Getenv("E2E_BUILD")
	if out == "" {
		out = filepath.Join(root, "_output", "up")
	}
	dir := os.Getenv("E2E_DIR") // keeps the logs
	if dir == "" {
		dir = t.TempDir()
	}
	s, err := suite.Start(t.Context(), suite.Options{
		Options:  controlplane.Options{Dir: dir, Log: t.Logf, Audit: true},
		Checkout: root, Packages: filepath.Join(out, "xpkg"), StandIns: filepath.Join(out, "bin"), Schemas: os.Getenv("SCHEMAS"),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{s}
	t.Cleanup(s.Stop)
	return w
}

// explain logs what a user would look at, when a scenario failed.
func (w *world) explain(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for _, args := range [][]string{
		{"get", "xda,xab,xds", "-A"},
		{"get", "objects.kubernetes.m.crossplane.io,objects.kubernetes.crossplane.io,managed", "-A"},
		{"get", "deployments,agents.kagent.dev", "-A"},
		{"describe", "xda"},
		{"describe", "xab", "-A"},
	} {
		out, err := w.Kubectl(ctx, args...)
		t.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func dataset(name, bucket string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": api, "kind": "XDataset", "metadata": map[string]any{"name": name},
		"spec":   map[string]any{"gcsPath": "gs://" + bucket + "/" + name + ".csv", "sizeBytes": int64(1956142), "displayName": "Dataset " + name},
		"status": map[string]any{"ready": true, "sizeHuman": "1.9 MiB"},
	}}
}

func order(name, dataset string, budget float64) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": api, "kind": "XDatasetAgent", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"agentName": name, "datasetRef": map[string]any{"name": dataset}, "budgetUsd": budget,
			"description": "Answers questions", "baseDomain": "34.61.7.12.sslip.io", "projectId": "acme-data",
		},
	}}
}

func (w *world) apply(t *testing.T, objs ...*unstructured.Unstructured) {
	t.Helper()
	for _, o := range objs {
		if err := w.ApplyWithStatus(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

func (w *world) ready(t *testing.T, name string) {
	t.Helper()
	if err := w.WaitFor(t.Context(), 2*time.Minute, "Ready", api, "XDatasetAgent", "", name); err != nil {
		t.Fatal(err)
	}
}

// see waits until an object looks as a user should see it.
func (w *world) see(t *testing.T, within time.Duration, what, kind, namespace, name string, is func(*unstructured.Unstructured) error) {
	t.Helper()
	apiVersion := api
	if kind == "Deployment" {
		apiVersion = "apps/v1"
	}
	began := time.Now()
	if err := controlplane.Eventually(t.Context(), within, what, func(ctx context.Context) error {
		o, err := w.Get(ctx, apiVersion, kind, namespace, name)
		if err != nil {
			return err
		}
		return is(o)
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s after %s", what, time.Since(began).Round(100*time.Millisecond))
}

func condition(kind, status, reason string) func(*unstructured.Unstructured) error {
	return func(o *unstructured.Unstructured) error {
		s, r, msg := controlplane.Condition(o, kind)
		if s != status || (reason != "" && r != reason) {
			return fmt.Errorf("%s is %s, %s (%s); want %s, %s", kind, s, r, msg, status, reason)
		}
		return nil
	}
}

func field(want any, path ...string) func(*unstructured.Unstructured) error {
	return func(o *unstructured.Unstructured) error {
		got, _, err := unstructured.NestedFieldNoCopy(o.Object, path...)
		if err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
			err = fmt.Errorf("%s is %v, want %v", strings.Join(path, "."), got, want)
		}
		return err
	}
}

func all(checks ...func(*unstructured.Unstructured) error) func(*unstructured.Unstructured) error {
	return func(o *unstructured.Unstructured) error {
		var errs []error
		for _, c := range checks {
			errs = append(errs, c(o))
		}
		return errors.Join(errs...)
	}
}

// parts returns the uid of each part of an order, by kind, namespace and name.
func (w *world) parts(t *testing.T, name string) map[string]string {
	t.Helper()
	o, err := w.Get(t.Context(), api, "XDatasetAgent", "", name)
	if err != nil {
		t.Fatal(err)
	}
	refs, _, err := unstructured.NestedSlice(o.Object, "spec", "crossplane", "resourceRefs")
	if err != nil {
		t.Fatal(err)
	}
	uids := map[string]string{}
	for _, r := range refs {
		m := &unstructured.Unstructured{Object: r.(map[string]any)}
		text := func(k string) string { s, _, _ := unstructured.NestedString(m.Object, k); return s }
		p, err := w.Get(t.Context(), text("apiVersion"), text("kind"), text("namespace"), text("name"))
		if err != nil {
			t.Fatalf("a part of %s can't be read: %v", name, err)
		}
		uids[text("kind")+" "+text("namespace")+"/"+text("name")] = string(p.GetUID())
	}
	return uids
}

// kept fails if a part is gone or was made anew.
func (w *world) kept(t *testing.T, name string, before map[string]string) {
	t.Helper()
	after := w.parts(t, name)
	for part, uid := range before {
		if after[part] != uid {
			t.Errorf("part %s was lost or made anew: uid was %s, is %q", part, uid, after[part])
		}
	}
}

func (w *world) replicas(t *testing.T, within time.Duration, agent string, n int64) {
	t.Helper()
	for _, d := range []string{"planner", "worker"} {
		w.see(t, within, fmt.Sprintf("%s of %s at %d replicas", d, agent, n), "Deployment", "agent-"+agent, d, field(n, "spec", "replicas"))
	}
}

func (w *world) patch(t *testing.T, kind, namespace, name, patch string, sub ...string) {
	t.Helper()
	if err := w.Patch(t.Context(), api, kind, namespace, name, patch, sub...); err != nil {
		t.Fatal(err)
	}
}

func TestSuite(t *testing.T) {
	w := start(t)
	for _, s := range []struct {
		name string
		run  func(*testing.T, *world)
	}{
		{"OrderToReady", orderToReady},
		{"WrongOrders", wrongOrders},
		{"DatasetAppears", datasetAppears},
		{"DatasetDeleted", datasetDeleted},
		{"Budget", budget},
		{"BudgetDeletedByHand", budgetDeletedByHand},
		{"DeleteOrder", deleteOrder},
	} {
		if !t.Run(s.name, func(t *testing.T) {
			defer w.explain(t)
			s.run(t, w)
		}) && t.Context().Err() != nil {
			return
		}
	}
}

// A first order becomes 22 parts, none of which ever failed to apply: what needs
// the namespace waits for it.
func orderToReady(t *testing.T, w *world) {
	began := time.Now()
	w.apply(t, dataset("california-housing", "acme-data-datasets"), order("housing-bot", "california-housing", 5))
	w.ready(t, "housing-bot")
	t.Logf("Ready after %s", time.Since(began).Round(100*time.Millisecond))
	if n := len(w.parts(t, "housing-bot")); n != 22 {
		t.Errorf("want 22 parts, got %d", n)
	}
	out, err := w.Kubectl(t.Context(), "get", "events", "-A", "--field-selector", "type=Warning", "-o",
		`jsonpath={range .items[*]}{.involvedObject.kind} {.involvedObject.name}: {.reason}: {.message}{"\n"}{end}`)
	if err != nil {
		t.Fatal(err)
	}
	early := 0
	for line := range strings.Lines(out) {
		switch {
		case !strings.Contains(line, "housing-bot"):
		// An Object may come before the namespace or the Deployment that it writes
		// to; its provider tries again. Nothing else may fail, least of all an XR.
		case strings.HasPrefix(line, "Object ") && (strings.Contains(line, `namespaces "agent-housing-bot" not found`) || strings.Contains(line, "-replicas:")):
			early++
		default:
			t.Errorf("want no failed reconcile, got a warning: %s", line)
		}
	}
	t.Logf("%d Objects came before what they need and were tried again", early)
	out, err = w.Kubectl(t.Context(), "get", "xda", "housing-bot")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"DATASET", "BUDGET", "URL", "Dataset california-housing", "https://agent-housing-bot.34.61.7.12.sslip.io/"} {
		if !strings.Contains(out, want) {
			t.Errorf("want %q in the columns, got:\n%s", want, out)
		}
	}
}

// What can't be ordered is refused when it is ordered, with a sentence that helps.
func wrongOrders(t *testing.T, w *world) {
	for name, tc := range map[string]struct {
		field string
		value any
		say   string
	}{
		"OtherName":       {"agentName", "other-bot", "metadata.name and spec.agentName must be equal"},
		"GoogleProject":   {"projectId", "acme-google", `must not contain "google"`},
		"ShortProject":    {"projectId", "acme", "projectId"},
		"NegativeBudget":  {"budgetUsd", -1.0, "budgetUsd"},
		"TooMuchMoney":    {"budgetUsd", 10001.0, "budgetUsd"},
		"NoDomain":        {"baseDomain", "not a domain", "baseDomain"},
		"NoDatasetName":   {"datasetRef", map[string]any{}, "datasetRef.name"},
		"UnknownField":    {"budgetEur", 5.0, "budgetEur"},
		"BudgetAsAString": {"budgetUsd", "five", "budgetUsd"},
	} {
		t.Run(name, func(t *testing.T) {
			o := order("wrong-bot", "california-housing", 5)
			if err := unstructured.SetNestedField(o.Object, tc.value, "spec", tc.field); err != nil {
				t.Fatal(err)
			}
			err := w.Apply(t.Context(), o)
			if err == nil || !strings.Contains(err.Error(), tc.say) {
				t.Errorf("want a refusal that says %q, got %v", tc.say, err)
			}
		})
	}
	err := w.Patch(t.Context(), api, "XDatasetAgent", "", "housing-bot", `{"spec":{"projectId":"other-project"}}`)
	if err == nil || !strings.Contains(err.Error(), "projectId never changes") {
		t.Errorf("want a refusal of another project, got %v", err)
	}
}

// An order for a dataset that does not exist says so, and heals when it appears.
func datasetAppears(t *testing.T, w *world) {
	w.apply(t, order("early-bot", "late-data", 5))
	w.see(t, time.Minute, "the order to say that its dataset is missing", "XDatasetAgent", "", "early-bot",
		all(condition("DatasetValid", "False", "DatasetNotFound"), condition("Ready", "False", ""), field("Failed", "status", "phase")))
	if n := len(w.parts(t, "early-bot")); n != 0 {
		t.Errorf("want no part of an order that can't be filled, got %d", n)
	}
	w.apply(t, dataset("late-data", "acme-data-datasets"))
	w.see(t, 10*time.Second, "the order to see its dataset", "XDatasetAgent", "", "early-bot", condition("DatasetValid", "True", ""))
	w.ready(t, "early-bot")
}

// A live agent outlives its dataset, and nothing of it is lost.
func datasetDeleted(t *testing.T, w *world) {
	before := w.parts(t, "early-bot")
	if err := w.Delete(t.Context(), api, "XDataset", "", "late-data"); err != nil {
		t.Fatal(err)
	}
	w.see(t, 30*time.Second, "the order to say that its dataset is gone", "XDatasetAgent", "", "early-bot",
		all(condition("DatasetValid", "False", "DatasetNotFound"), field("Dataset late-data", "status", "dataset", "displayName")))
	w.kept(t, "early-bot", before)
	w.replicas(t, time.Second, "early-bot", 1)
	w.apply(t, dataset("late-data", "acme-data-datasets"))
	w.see(t, 10*time.Second, "the order to see its dataset again", "XDatasetAgent", "", "early-bot", condition("DatasetValid", "True", ""))
	w.kept(t, "early-bot", before)
}

// Money gone stops an agent; more money, and nothing else, starts it again.
func budget(t *testing.T, w *world) {
	const agent, ns = "housing-bot", "agent-housing-bot"
	before := w.parts(t, agent)
	w.Meter.Spend(agent, model, suite.Input, 1_000_000) // 1.25 USD
	w.see(t, time.Minute, "1.25 USD on the meter", "XAgentBudget", ns, agent,
		all(field(1.25, "status", "spentUsd"), field(false, "status", "paused"), field("running", "status", "cause")))
	w.Meter.Spend(agent, model, suite.Input, 4_000_000) // 6.25 USD of 5
	w.see(t, time.Minute, "the budget to be exhausted", "XAgentBudget", ns, agent,
		all(field(6.25, "status", "spentUsd"), field(true, "status", "paused"), field("budget-exhausted", "status", "cause")))
	w.replicas(t, 30*time.Second, agent, 0)
	w.see(t, 30*time.Second, "the order to show the pause and stay Ready", "XDatasetAgent", "", agent,
		all(field(true, "status", "budget", "paused"), field(6.25, "status", "budget", "spentUsd"), condition("Ready", "True", "")))

	t.Run("ScaledUpByHand", func(t *testing.T) {
		if err := w.Patch(t.Context(), "apps/v1", "Deployment", ns, "planner", `{"spec":{"replicas":1}}`); err != nil {
			t.Fatal(err)
		}
		w.replicas(t, 30*time.Second, agent, 0)
	})
	t.Run("PrometheusKilledWhilePaused", func(t *testing.T) {
		prometheus := w.Process("prometheus")
		prometheus.Kill()
		w.see(t, 2*time.Minute, "the budget to say that it is blind", "XAgentBudget", ns, agent,
			all(condition("SpendMeasured", "False", ""), field(true, "status", "paused"), field(6.25, "status", "spentUsd")))
		w.replicas(t, time.Second, agent, 0)
		if err := prometheus.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.see(t, 2*time.Minute, "the budget to measure again", "XAgentBudget", ns, agent,
			all(condition("SpendMeasured", "True", ""), field(true, "status", "paused"), field(6.25, "status", "spentUsd")))
	})
	w.patch(t, "XDatasetAgent", "", agent, `{"spec":{"budgetUsd":50}}`)
	w.see(t, time.Minute, "the budget to run again", "XAgentBudget", ns, agent,
		all(field(false, "status", "paused"), field("running", "status", "cause"), field(6.25, "status", "spentUsd")))
	w.replicas(t, 30*time.Second, agent, 1)
	w.kept(t, agent, before)
}

// Deleting the meter is not paying the bill.
func budgetDeletedByHand(t *testing.T, w *world) {
	const agent, ns = "housing-bot", "agent-housing-bot"
	old, err := w.Get(t.Context(), api, "XAgentBudget", ns, agent)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), api, "XAgentBudget", ns, agent); err != nil {
		t.Fatal(err)
	}
	w.see(t, 3*time.Minute, "a new budget that remembers what was spent", "XAgentBudget", ns, agent, all(
		func(o *unstructured.Unstructured) error {
			if o.GetUID() == old.GetUID() {
				return errors.New("the old one is still there")
			}
			return nil
		},
		field(6.25, "status", "spentUsd"), field(false, "status", "paused")))
	w.replicas(t, 30*time.Second, agent, 1)
}

// A deleted order takes everything with it.
func deleteOrder(t *testing.T, w *world) {
	parts := w.parts(t, "early-bot")
	began := time.Now()
	if err := w.Delete(t.Context(), api, "XDatasetAgent", "", "early-bot"); err != nil {
		t.Fatal(err)
	}
	if err := controlplane.Eventually(t.Context(), 3*time.Minute, "everything of the order to be gone", func(ctx context.Context) error {
		var left []string
		for part := range parts {
			kind, rest, _ := strings.Cut(part, " ")
			ns, name, _ := strings.Cut(rest, "/")
			apiVersion := map[string]string{
				"Bucket": "storage.gcp.upbound.io/v1beta2", "ProjectIAMMember": "cloudplatform.gcp.upbound.io/v1beta2", "XAgentBudget": api,
				"ServiceAccount": "cloudplatform.gcp.upbound.io/v1beta1", "ServiceAccountKey": "cloudplatform.gcp.upbound.io/v1beta1",
				"Object": "kubernetes.m.crossplane.io/v1alpha1",
			}[kind]
			if kind == "Object" && ns == "" {
				apiVersion = "kubernetes.crossplane.io/v1alpha2"
			}
			_, err := w.Get(ctx, apiVersion, kind, ns, name)
			if err == nil {
				left = append(left, part)
			} else if !apierrors.IsNotFound(err) {
				return err
			}
		}
		if _, err := w.Get(ctx, "v1", "Namespace", "", "agent-early-bot"); err == nil {
			left = append(left, "its namespace")
		}
		if len(left) > 0 {
			return fmt.Errorf("left: %s", strings.Join(left, ", "))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("everything gone after %s", time.Since(began).Round(100*time.Millisecond))
}
