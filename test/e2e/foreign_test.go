package e2e

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// foreign installs the function that speaks only the context contract.
func (w *world) foreign(t *testing.T) {
	t.Helper()
	const ref = "xpkg.crossplane.io/example/function-foreign:v0.1.0"
	if err := w.PushDir(t.Context(), ref, filepath.Join(w.bin, "foreign"), filepath.Join(w.root, "test", "standins", "foreign", "package")); err != nil {
		t.Fatal(err)
	}
	w.apply(t, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "pkg.crossplane.io/v1", "kind": "Function", "metadata": map[string]any{"name": "function-foreign"}, "spec": map[string]any{"package": ref},
	}})
	if err := w.Healthy(t.Context(), time.Minute, "Function", "function-foreign"); err != nil {
		t.Fatal(err)
	}
}

// swapped applies a copy of a Composition in which the foreign function has a step.
func (w *world) swapped(t *testing.T, composition, step, name string, leaves, renders map[string]any) {
	t.Helper()
	input := map[string]any{"apiVersion": "foreign.example.org/v1", "kind": "Say"}
	if leaves != nil {
		input["leaves"] = leaves
	}
	if renders != nil {
		input["renders"] = renders
	}
	if step == "validate-dataset" {
		// Ours looks by the clock while Crossplane drops a new order's events; so must
		// who takes its place, or an order waits for five minutes.
		input["looks"] = "15s"
	}
	w.copied(t, composition, step, name, map[string]any{"step": step, "functionRef": map[string]any{"name": "function-foreign"}, "input": input})
}

// copied applies a copy of a Composition in which some fields of a step are others.
func (w *world) copied(t *testing.T, composition, step, name string, fields map[string]any) {
	t.Helper()
	c, err := w.Get(t.Context(), "apiextensions.crossplane.io/v1", "Composition", "", composition)
	if err != nil {
		t.Fatal(err)
	}
	steps, _, _ := unstructured.NestedSlice(c.Object, "spec", "pipeline")
	i := slices.IndexFunc(steps, func(s any) bool { return s.(map[string]any)["step"] == step })
	if i < 0 {
		t.Fatalf("Composition %s has no step %s", composition, step)
	}
	maps.Copy(steps[i].(map[string]any), fields)
	spec := map[string]any{"mode": "Pipeline", "pipeline": steps}
	spec["compositeTypeRef"], _, _ = unstructured.NestedFieldCopy(c.Object, "spec", "compositeTypeRef")
	w.apply(t, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": c.GetAPIVersion(), "kind": c.GetKind(), "metadata": map[string]any{"name": name}, "spec": spec,
	}})
}

// theirs is a part that only a foreign station would render.
func theirs(name string) map[string]any {
	return map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "theirs-" + name, "namespace": controlplane.Namespace}, "data": map[string]any{"by": "them"}}
}

// wrapped is an Object around a manifest; the legacy flavour if it has no namespace.
func wrapped(name string, legacy bool, manifest map[string]any) map[string]any {
	o := map[string]any{
		"apiVersion": "kubernetes.m.crossplane.io/v1alpha1", "kind": "Object", "metadata": map[string]any{"name": name, "namespace": controlplane.Namespace},
		"spec": map[string]any{
			"forProvider":       map[string]any{"manifest": manifest},
			"providerConfigRef": map[string]any{"name": "in-cluster", "kind": "ClusterProviderConfig"},
		},
	}
	if legacy {
		o["apiVersion"], o["metadata"] = "kubernetes.crossplane.io/v1alpha2", map[string]any{"name": name}
		o["spec"].(map[string]any)["providerConfigRef"] = map[string]any{"name": "in-cluster"}
	}
	return o
}

func deployment(namespace, name string) map[string]any {
	labels := map[string]any{"app": name}
	return map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": name, "namespace": namespace},
		"spec": map[string]any{
			"selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": []any{
				map[string]any{"name": "agent", "image": "example.org/their-agent:v1"},
			}}},
		},
	}
}

// Each station of the agent's pipeline can be somebody else's: the rest neither
// notices nor stops, and the order becomes Ready.
func foreignStations(t *testing.T, w *world) {
	w.foreign(t)
	w.apply(t, suite.NewDataset(housing, datasets))
	const runtime = "f-workloads"
	cases := []struct {
		step, agent string
		leaves      map[string]any
		renders     map[string]any
		parts       int
		see         func(*testing.T, string)
	}{
		{
			step: "validate-dataset", agent: "f-registry", parts: 22,
			leaves: map[string]any{"dataset": map[string]any{"name": "theirs", "gcsPath": "gs://their-datasets/theirs.csv", "sizeBytes": 1000000, "displayName": "Theirs"}},
			see: func(t *testing.T, agent string) {
				o, err := w.Get(t.Context(), "cloudplatform.gcp.upbound.io/v1beta2", "ProjectIAMMember", "", "agent-"+agent+"-iam-datasets-viewer")
				if err != nil {
					t.Fatal(err)
				}
				if e, _, _ := unstructured.NestedString(o.Object, "spec", "forProvider", "condition", "expression"); !strings.Contains(e, "their-datasets") {
					t.Errorf("want a grant for their bucket, got %q", e)
				}
			},
		},
		{
			step: "compute-tuning", agent: "f-tuning", parts: 22, leaves: map[string]any{"tuning": map[string]any{"sandboxMemMi": 3072}},
			see: func(t *testing.T, agent string) {
				w.see(t, heard, "a sandbox of their size", "Deployment", "agent-"+agent, "sandbox", func(o *unstructured.Unstructured) error {
					if !strings.Contains(fmt.Sprint(o.Object["spec"]), "memory:3Gi") && !strings.Contains(fmt.Sprint(o.Object["spec"]), "memory:3072Mi") {
						return errors.New("it has no limit of 3072Mi")
					}
					return nil
				})
			},
		},
		{step: "render-iam", agent: "f-iam", parts: 18, renders: map[string]any{"theirs": theirs("iam")}},
		{
			// Their runtime makes the namespace, which others wait for, and Deployments
			// that the budget can stop.
			step: "render-workloads", agent: runtime, parts: 10,
			renders: map[string]any{
				"namespace": wrapped("theirs-namespace", true, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "agent-" + runtime}}),
				"planner":   wrapped("theirs-planner", false, deployment("agent-"+runtime, "planner")),
				"worker":    wrapped("theirs-worker", false, deployment("agent-"+runtime, "worker")),
			},
			see: func(t *testing.T, agent string) { w.exhaust(t, agent) },
		},
		{step: "render-dashboard", agent: "f-dashboard", parts: 22, renders: map[string]any{"theirs": theirs("dashboard")}},
		{step: "emit-budget", agent: "f-budget", parts: 22, renders: map[string]any{"theirs": theirs("budget")}},
	}
	for _, tc := range cases {
		w.swapped(t, "xdatasetagent-default", tc.step, tc.agent, tc.leaves, tc.renders)
		o := suite.NewOrder(tc.agent, housing, 5)
		if err := unstructured.SetNestedField(o.Object, tc.agent, "spec", "crossplane", "compositionRef", "name"); err != nil {
			t.Fatal(err)
		}
		w.apply(t, o)
	}
	for _, tc := range cases {
		t.Run(tc.step, func(t *testing.T) {
			w.ready(t, tc.agent)
			if n := len(w.refs(t, tc.agent)); n != tc.parts {
				t.Errorf("want %d parts, got %d: %v", tc.parts, n, w.refs(t, tc.agent))
			}
			if tc.see != nil {
				tc.see(t, tc.agent)
			}
		})
	}
	t.Run("no dataset", func(t *testing.T) { // of a station that has none, nothing of a living agent is taken away
		const agent = "f-registry"
		kept := w.keeps(t, agent)
		defer kept()
		w.swapped(t, "xdatasetagent-default", "validate-dataset", agent, map[string]any{"dataset": nil}, nil)
		w.seeOrder(t, heard, "the order to stop before it loses its parts", agent, func(o *unstructured.Unstructured) error {
			if _, _, says := controlplane.Condition(o, "Synced"); !strings.Contains(says, "cannot go on without deleting what lives") {
				return fmt.Errorf("want the run to be fatal, got %q", says)
			}
			return nil
		})
	})
	for _, tc := range cases {
		w.delete(t, suite.API, "XDatasetAgent", "", tc.agent)
	}
}

// Each station of the budget's pipeline can be somebody else's, too.
func foreignBudgetStations(t *testing.T, w *world) {
	w.foreign(t)
	cases := []struct {
		step, agent string
		leaves      map[string]any
		renders     map[string]any
		see         []check
		replicas    int64
	}{
		{
			step: "fetch-spend", agent: "f-meter", leaves: map[string]any{"spend_usd": 6.5}, replicas: 0,
			see: []check{spent(6.5), exhausted},
		},
		{step: "decide", agent: "f-judge", leaves: map[string]any{"should_pause": true}, replicas: 0, see: []check{condition("Ready", "True", "")}},
		{
			step: "render", agent: "f-hand", replicas: 1, see: []check{exhausted},
			renders: map[string]any{"theirs": map[string]any{
				"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "theirs", "namespace": "agent-f-hand"}, "data": map[string]any{"by": "them"},
			}},
		},
	}
	for _, tc := range cases {
		t.Run(tc.step, func(t *testing.T) {
			ns := "agent-" + tc.agent
			w.swapped(t, "xagentbudget-default", tc.step, tc.agent, tc.leaves, tc.renders)
			w.apply(t, &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": ns}}})
			for _, d := range []string{"planner", "worker"} {
				w.apply(t, &unstructured.Unstructured{Object: deployment(ns, d)})
			}
			w.apply(t, &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": suite.API, "kind": "XAgentBudget", "metadata": map[string]any{"name": tc.agent, "namespace": ns},
				"spec": map[string]any{"agentName": tc.agent, "budgetUsd": 5, "crossplane": map[string]any{"compositionRef": map[string]any{"name": tc.agent}}},
			}})
			if tc.step == "render" {
				w.Meter.Spend(tc.agent, suite.Model, suite.Input, 5*million)
			}
			w.seeBudget(t, 2*time.Minute, "the budget with a foreign "+tc.step, tc.agent, tc.see...)
			w.replicas(t, time.Minute, tc.agent, tc.replicas)
			w.delete(t, suite.API, "XAgentBudget", ns, tc.agent)
			w.delete(t, "v1", "Namespace", "", ns)
		})
	}
}
