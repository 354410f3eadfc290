package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// Money gone stops an agent; more money starts it again, with as many pods as it had,
// not as the platform's input says of agents that nobody remembers.
func budget(t *testing.T, w *world) {
	const agent = "housing-bot"
	ns := w.agent(t, agent)
	kept, untouched := w.keeps(t, agent), w.untouched(t, agent, 1)
	w.Meter.Spend(agent, suite.Model, suite.Input, million)
	w.seeBudget(t, heard, "1.25 USD on the meter", agent, spent(1.25), running)
	w.platform(t, "render", map[string]any{"apiVersion": "fn.whisperops.io/v1alpha1", "kind": "RenderReplicasInput", "runningReplicas": 2})
	defer w.platform(t, "render", nil)
	untouched()

	w.Meter.Spend(agent, suite.Model, suite.Input, 4*million) // 6.25 USD of 5
	w.seeBudget(t, heard, "the budget to be exhausted", agent, spent(6.25), exhausted, condition("WithinBudget", "False", "BudgetExhausted"))
	w.replicas(t, 30*time.Second, agent, 0)
	w.seeOrder(t, heard, "the order to show the pause and stay Ready", agent,
		field(true, "status", "budget", "paused"), field(6.25, "status", "budget", "spentUsd"), condition("Ready", "True", ""))
	if out := w.kubectl(t, "get", "xab", agent, "-n", ns); !strings.Contains(out, "125.00%") || !strings.Contains(out, "budget-exhausted") {
		t.Errorf("want ratio and cause in the columns, got:\n%s", out)
	}
	for _, d := range []string{"planner", "worker"} {
		if err := w.Patch(t.Context(), "apps/v1", "Deployment", ns, d, `{"spec":{"replicas":3}}`); err != nil {
			t.Fatal(err)
		}
	}
	w.replicas(t, 5*time.Second, agent, 0) // undone at once, by the provider's watch

	w.setBudget(t, agent, 50)
	w.seeBudget(t, heard, "the budget to run again", agent, spent(6.25), running)
	w.replicas(t, 30*time.Second, agent, 1)
	kept()
}

// cutWithoutDatasets: money doesn't wait for data. Without a kind XDataset no order can be
// carried out, and a cut stops an agent all the same.
func cutWithoutDatasets(t *testing.T, w *world) {
	const agent, crd = "stuck-bot", "xdatasets.whisperops.io"
	w.agent(t, agent)
	kept := w.keeps(t, agent)
	w.Meter.Spend(agent, suite.Model, suite.Input, million)
	w.seeBudget(t, heard, "1.25 USD on the meter", agent, spent(1.25), running)
	all, err := w.List(t.Context(), suite.API, "XDataset", "")
	if err != nil {
		t.Fatal(err)
	}
	w.delete(t, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "", crd)
	w.gone(t, time.Minute, "apiextensions.k8s.io/v1", "CustomResourceDefinition", "", crd)

	w.setBudget(t, agent, 1)
	w.seeBudget(t, heard, "the cut to stop the agent", agent, exhausted, field(1.0, "status", "decidedBudgetUsd"))
	w.replicas(t, 30*time.Second, agent, 0)
	w.seeOrder(t, heard, "the order to say that it can't be carried out", agent, condition("Synced", "False", "ReconcileError"))
	w.seeBudget(t, heard, "the budget to say what waits", agent, condition("OrderFollowed", "False", "OrderStuck"))
	w.setBudget(t, agent, 9)
	w.seeBudget(t, heard, "a raise to wait, but for what was cut", agent, running, condition("OrderFollowed", "False", "OrderStuck"), field(5.0, "status", "decidedBudgetUsd"))

	crds, err := controlplane.DecodeFiles(filepath.Join(w.root, "package", "install", "crds"))
	if err != nil {
		t.Fatal(err)
	}
	w.apply(t, crds...)
	w.kubectl(t, "wait", "crd", crd, "--for=condition=Established", "--timeout=30s")
	for i := range all {
		all[i].SetResourceVersion("")
		all[i].SetUID("")
		all[i].SetManagedFields(nil)
		w.apply(t, &all[i])
	}
	w.seeOrder(t, heardAfterKill, "the order to go on", agent, condition("Synced", "True", ""), condition("DatasetValid", "True", ""), condition("Ready", "True", ""))
	w.seeBudget(t, heard, "the raise to count", agent, running, condition("OrderFollowed", "True", "InStep"), field(9.0, "status", "decidedBudgetUsd"))
	w.replicas(t, 30*time.Second, agent, 1)
	kept()
}

// platform sets the input of a step of the budget's pipeline, as a platform team would.
func (w *world) platform(t *testing.T, step string, input map[string]any) {
	t.Helper()
	const apiVersion, kind, name = "apiextensions.crossplane.io/v1", "Composition", "xagentbudget-default"
	c, err := w.Get(t.Context(), apiVersion, kind, "", name)
	if err != nil {
		t.Fatal(err)
	}
	steps, _, _ := unstructured.NestedSlice(c.Object, "spec", "pipeline")
	for _, s := range steps {
		m := s.(map[string]any)
		switch {
		case m["step"] != step:
		case input == nil:
			delete(m, "input")
		default:
			m["input"] = input
		}
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"pipeline": steps}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Patch(t.Context(), apiVersion, kind, "", name, string(patch)); err != nil {
		t.Fatal(err)
	}
}

// inputOf is the present input of a step of the budget's pipeline.
func (w *world) inputOf(t *testing.T, step string) map[string]any {
	t.Helper()
	c, err := w.Get(t.Context(), "apiextensions.crossplane.io/v1", "Composition", "", "xagentbudget-default")
	if err != nil {
		t.Fatal(err)
	}
	steps, _, _ := unstructured.NestedSlice(c.Object, "spec", "pipeline")
	for _, s := range steps {
		if m, isMap := s.(map[string]any); isMap && m["step"] == step {
			input, _ := m["input"].(map[string]any)
			return input
		}
	}
	t.Fatalf("the budget's pipeline has no step %s", step)
	return nil
}

// monitor-only never cuts, and lets go at once of an agent that was cut.
func monitorOnly(t *testing.T, w *world) {
	const agent = "watched-bot"
	ns := w.agent(t, agent)
	w.exhaust(t, agent)
	w.patch(t, "XAgentBudget", ns, agent, `{"spec":{"enforcement":"monitor-only"}}`)
	w.seeBudget(t, 30*time.Second, "monitor-only to let go", agent, field(false, "status", "paused"), spent(6.25), condition("WithinBudget", "False", "BudgetExhausted"))
	w.replicas(t, 30*time.Second, agent, 1)
	untouched := w.untouched(t, agent, 1)
	w.Meter.Spend(agent, suite.Model, suite.Input, million)
	w.seeBudget(t, heard, "monitor-only to measure on", agent, spent(7.5), field(false, "status", "paused"))
	untouched()
	w.patch(t, "XAgentBudget", ns, agent, `{"spec":{"enforcement":"enabled"}}`)
	w.seeBudget(t, 30*time.Second, "the budget to cut again", agent, spent(7.5), exhausted)
	w.replicas(t, 30*time.Second, agent, 0)
}

// Prices are data: a change works at the next look, and a table that is broken or
// gone neither stops an agent nor starts one: the last good one counts.
func prices(t *testing.T, w *world) {
	const (
		agent = "price-bot"
		other = "gemini-2.5-flash" // nobody else uses it; 0.30 USD for a million input tokens
	)
	w.agent(t, agent)
	table, err := controlplane.DecodeFiles(filepath.Join(w.root, "package", "install", "pricing.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	restore := func() { w.apply(t, table...) }
	defer restore()
	set := func(text string) {
		t.Helper()
		patch, err := json.Marshal(map[string]any{"data": map[string]any{"prices.yaml": text}})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Patch(t.Context(), "v1", "ConfigMap", controlplane.Namespace, "whisperops-pricing", string(patch)); err != nil {
			t.Fatal(err)
		}
	}
	usual, _, _ := unstructured.NestedString(table[0].Object, "data", "prices.yaml")
	const its = other + `: {input: "0.30"`
	if strings.Count(usual, its) != 1 {
		t.Fatalf("want one row %s in:\n%s", its, usual)
	}
	costs := func(usd string) string { return strings.Replace(usual, its, other+`: {input: "`+usd+`"`, 1) }
	// The last good table goes on pricing, and the budget says why and since when.
	stale := func(why string) check {
		return func(o *unstructured.Unstructured) error {
			if err := errors.Join(condition("SpendMeasured", "True", "")(o), condition("PricingComplete", "False", "PricesStale")(o)); err != nil {
				return err
			}
			if _, _, says := controlplane.Condition(o, "PricingComplete"); !strings.Contains(says, why) || !strings.Contains(says, "Since ") {
				return fmt.Errorf("want it said that the table %s, and since when, got %q", why, says)
			}
			return nil
		}
	}
	broken := func(held int64, checks ...check) {
		t.Helper()
		untouched := w.untouched(t, agent, held)
		set("models: [")
		w.seeBudget(t, heard, "the budget to say that the table is broken", agent, append(checks, stale("can't be used"))...)
		w.delete(t, "v1", "ConfigMap", controlplane.Namespace, "whisperops-pricing")
		w.seeBudget(t, heard, "the budget to say that the table is gone", agent, append(checks, stale("does not exist"))...)
		restore()
		w.seeBudget(t, heard, "the table to count again", agent, append(checks, condition("SpendMeasured", "True", ""), condition("PricingComplete", "True", ""))...)
		untouched()
	}

	w.Meter.Spend(agent, other, suite.Input, 10*million)
	w.seeBudget(t, heard, "3 USD on the meter", agent, spent(3), running, condition("PricingComplete", "True", ""))
	set(costs("0.40"))
	w.seeBudget(t, heard, "the new price", agent, spent(4), running)
	restore()
	w.seeBudget(t, heard, "the old price", agent, spent(3), running)
	broken(1, spent(3), running)
	set(costs("0.60"))
	w.seeBudget(t, heard, "a price that exhausts the budget", agent, spent(6), exhausted)
	w.replicas(t, 30*time.Second, agent, 0)
	untouched := w.untouched(t, agent, 0)
	restore()
	w.seeBudget(t, heard, "a lower price to start nobody", agent, spent(3), exhausted, condition("WithinBudget", "False", "PausedUntilRaised"))
	broken(0, spent(3), exhausted)
	untouched()
	// Which row of the installed table is the dearest depends on the day.
	set(strings.TrimRight(usual, "\n") + "\n  the-dearest: {input: \"10\", output: \"100\"}\n")
	w.Meter.Spend(agent, "a-model-without-a-price", suite.Input, 100_000)
	w.seeBudget(t, heard, "a model without a price to cost the dearest", agent, spent(4), condition("PricingComplete", "False", "ModelsWithoutPrice"))
	w.setBudget(t, agent, 6)
	w.seeBudget(t, heard, "the raise to start it", agent, spent(4), running)
	w.replicas(t, 30*time.Second, agent, 1)
}

// A Prometheus that is gone neither stops an agent nor starts one, and what was
// spent meanwhile is counted when it is back.
func prometheusKilled(t *testing.T, w *world) {
	const runs, stopped = "steady-bot", "blind-bot"
	w.agent(t, runs)
	w.setBudget(t, runs, 1000)
	w.agent(t, stopped)
	w.exhaust(t, stopped)
	w.seeOrder(t, 2*time.Minute, "6.25 USD in the order", stopped, field(6.25, "status", "budget", "spentUsd"))
	before := w.measured(t, runs)
	r, s := w.untouched(t, runs, 1), w.untouched(t, stopped, 0)

	prometheus := w.Process("prometheus")
	prometheus.Kill()
	w.Meter.Spend(runs, suite.Model, suite.Input, million)
	for _, agent := range []string{runs, stopped} {
		w.seeBudget(t, 2*time.Minute, agent+" to say that its budget is blind", agent, condition("SpendMeasured", "False", "PrometheusUnreachable"))
	}
	w.seeBudget(t, time.Second, "the running agent's figures to stand", runs, spent(before), running)
	w.seeBudget(t, time.Second, "the stopped agent's figures to stand", stopped, spent(6.25), exhausted)
	old, err := w.Get(t.Context(), suite.API, "XAgentBudget", "agent-"+stopped, stopped)
	if err != nil {
		t.Fatal(err)
	}
	w.delete(t, suite.API, "XAgentBudget", "agent-"+stopped, stopped)
	w.seeBudget(t, 2*time.Minute, "a new budget to hold to what it was opened with", stopped, anew(old.GetUID()), spent(6.25), exhausted, condition("SpendMeasured", "False", "PrometheusUnreachable"))
	w.start(t, prometheus)
	w.seeBudget(t, 2*time.Minute, "what was spent meanwhile", runs, condition("SpendMeasured", "True", ""), spent(before+1.25), running)
	w.seeBudget(t, 2*time.Minute, "the stopped agent to be measured again", stopped, condition("SpendMeasured", "True", ""), spent(6.25), exhausted)
	r()
	s()

	t.Run("RaisedMeanwhile", func(t *testing.T) {
		prometheus.Kill()
		defer w.start(t, prometheus)
		w.seeBudget(t, 2*time.Minute, "the budget to be blind", stopped, condition("SpendMeasured", "False", ""))
		w.setBudget(t, stopped, 10)
		w.seeBudget(t, heard, "what a person changes to act at once", stopped, spent(6.25), running)
		w.replicas(t, 30*time.Second, stopped, 1)
	})
}

// A Prometheus that was away for longer than its retention comes back with
// nothing. No figure falls, and what the counters say from then on is counted once.
func prometheusForgets(t *testing.T, w *world) {
	const runs, stopped = "steady-bot", "forgotten-bot"
	w.agent(t, runs)
	w.setBudget(t, runs, 1000)
	w.agent(t, stopped)
	w.exhaust(t, stopped)
	before := w.measured(t, runs) + 1.25
	w.Meter.Spend(runs, suite.Model, suite.Input, million)
	w.seeBudget(t, heard, "the running agent's spend", runs, spent(before))
	r, s := w.untouched(t, runs, 1), w.untouched(t, stopped, 0)
	w.forget(t)
	w.Meter.Spend(runs, suite.Model, suite.Input, 2*million)
	w.seeBudget(t, 2*time.Minute, "what was spent since, once", runs, spent(before+2.5), running)
	w.seeBudget(t, 2*time.Minute, "the stopped agent to stay stopped", stopped, spent(6.25), exhausted)
	w.Meter.Spend(runs, suite.Model, suite.Input, million)
	w.seeBudget(t, heard, "spend to be counted on", runs, spent(before+3.75), running)
	r()
	s()
}

// measured is what a budget says is spent, in US dollars.
func (w *world) measured(t *testing.T, agent string) float64 {
	t.Helper()
	o, err := w.Get(t.Context(), suite.API, "XAgentBudget", "agent-"+agent, agent)
	if err != nil {
		t.Fatal(err)
	}
	switch v, _, _ := unstructured.NestedFieldNoCopy(o.Object, "status", "spentUsd"); n := v.(type) {
	case float64:
		return n
	case int64:
		return float64(n)
	}
	return 0
}
