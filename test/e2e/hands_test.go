package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// Status is the durable record, and a restore brings none: not a part is lost,
// nobody is pardoned, and no token is counted twice.
func statusWiped(t *testing.T, w *world) {
	const agent = "wiped-bot"
	w.apply(t, suite.NewDataset("wiped-data", datasets), suite.NewOrder(agent, "wiped-data", 5))
	w.ready(t, agent)
	wipe := func(kind, namespace string) {
		t.Helper()
		w.patch(t, kind, namespace, agent, `{"status":null}`, "status")
	}
	kept, untouched := w.keeps(t, agent), w.untouched(t, agent, 1)
	w.Meter.Spend(agent, suite.Model, suite.Input, million)
	w.seeBudget(t, heard, "1.25 USD on the meter", agent, spent(1.25), running)
	wipe("XAgentBudget", "agent-"+agent)
	w.seeBudget(t, heard, "the budget to count again", agent, spent(1.25), running)
	untouched()

	// The worst: the dataset is gone as well, so that nothing but the parts
	// themselves tells what the agent works on.
	w.delete(t, suite.API, "XDataset", "", "wiped-data")
	w.seeOrder(t, heard, "the dataset to be gone", agent, condition("DatasetValid", "False", "DatasetNotFound"))
	wipe("XDatasetAgent", "")
	w.seeOrder(t, heard, "the order to remember its dataset", agent, condition("DatasetValid", "False", "DatasetNotFound"),
		field("wiped-data", "status", "dataset", "name"), field(1.25, "status", "budget", "spentUsd"), condition("Ready", "True", ""))
	kept()
	w.apply(t, suite.NewDataset("wiped-data", datasets))

	untouched = w.untouched(t, agent, 1)
	w.seeOrder(t, heard, "the dataset to be back", agent, condition("DatasetValid", "True", ""))
	untouched()
	w.exhaustTo(t, agent, 4*million, 6.25)
	stopped := w.untouched(t, agent, 0)
	wipe("XAgentBudget", "agent-"+agent)
	wipe("XDatasetAgent", "")
	w.seeBudget(t, heard, "the stopped agent to stay stopped", agent, spent(6.25), exhausted)
	w.seeOrder(t, heard, "the order to show it again", agent, field(6.25, "status", "budget", "spentUsd"), field(true, "status", "budget", "paused"), condition("Ready", "True", ""))
	stopped()
	kept()
}

// exhaustTo lets an agent spend tokens that take it past its budget.
func (w *world) exhaustTo(t *testing.T, agent string, tokens, usd float64) {
	t.Helper()
	w.Meter.Spend(agent, suite.Model, suite.Input, tokens)
	w.seeBudget(t, heard, "the budget to be exhausted", agent, spent(usd), exhausted)
	w.replicas(t, 30*time.Second, agent, 0)
}

// Whoever deletes an Object, or what it wraps, gets it back, and nothing else is
// touched.
func objectsDeleted(t *testing.T, w *world) {
	const agent = "hands-bot"
	ns := w.agent(t, agent)
	wrapped := []ref{
		{"networking.k8s.io/v1", "NetworkPolicy", ns, "agent"}, {"networking.k8s.io/v1", "Ingress", ns, "chat-frontend"}, {"v1", "ConfigMap", ns, "agent-prompts"},
	}
	uids := func() map[ref]any {
		m := map[ref]any{}
		for _, r := range wrapped {
			o, err := w.Get(t.Context(), r.apiVersion, r.kind, r.namespace, r.name)
			if err != nil {
				t.Fatal(err)
			}
			m[r] = o.GetUID()
		}
		return m
	}
	healed := func(was map[ref]any) {
		t.Helper()
		for _, r := range wrapped {
			w.see(t, 90*time.Second, r.String()+" to be made again", r.kind, r.namespace, r.name, anew(was[r]))
		}
		w.ready(t, agent)
	}
	parts := []string{"networkpolicy", "chat-frontend-ingress", "prompts"}
	kept, untouched := w.keeps(t, agent, parts...), w.untouched(t, agent, 1)
	was := uids()
	for _, p := range parts {
		w.delete(t, "kubernetes.m.crossplane.io/v1alpha1", "Object", controlplane.Namespace, "agent-"+agent+"-"+p)
	}
	healed(was)
	kept()
	kept = w.keeps(t, agent)
	was = uids()
	for _, r := range wrapped {
		w.delete(t, r.apiVersion, r.kind, r.namespace, r.name)
	}
	healed(was)
	kept()
	untouched()
}

// Deleting the meter is not paying the bill, whether the agent runs or not.
func budgetDeleted(t *testing.T, w *world) {
	const agent = "billed-bot"
	ns := w.agent(t, agent)
	again := func(total float64, n int64, is check) {
		t.Helper()
		kept, untouched := w.keeps(t, agent, agent), w.untouched(t, agent, n)
		old, err := w.Get(t.Context(), suite.API, "XAgentBudget", ns, agent)
		if err != nil {
			t.Fatal(err)
		}
		w.delete(t, suite.API, "XAgentBudget", ns, agent)
		w.seeBudget(t, 2*time.Minute, "a new budget that remembers", agent, anew(old.GetUID()), spent(total), is, field(total, "spec", "opening", "usd"))
		w.seeOrder(t, heard, "the order to be Ready", agent, condition("Ready", "True", ""), field(total, "status", "budget", "spentUsd"))
		untouched()
		kept()
	}
	w.Meter.Spend(agent, suite.Model, suite.Input, million)
	w.seeOrder(t, heard, "1.25 USD in the order", agent, field(1.25, "status", "budget", "spentUsd"))
	again(1.25, 1, running)
	w.exhaustTo(t, agent, 4*million, 6.25)
	w.seeOrder(t, heard, "6.25 USD in the order", agent, field(6.25, "status", "budget", "spentUsd"))
	again(6.25, 0, exhausted)
	w.setBudget(t, agent, 50)
	w.seeBudget(t, heard, "the raise to start it", agent, spent(6.25), running)
	w.Meter.Spend(agent, suite.Model, suite.Input, million)
	w.seeBudget(t, heard, "spend to be counted on", agent, spent(7.5), running)
}

// A reconcile that read a budget before somebody deleted it makes it again as it was.
// That one knows what was spent before it decides for the first time, though the
// order can't tell it.
func budgetMadeAgain(t *testing.T, w *world) {
	const agent = "hasty-bot"
	ns := w.agent(t, agent)
	w.exhaustTo(t, agent, 5*million, 6.25)
	w.seeOrder(t, heard, "6.25 USD in the order", agent, field(6.25, "status", "budget", "spentUsd"))
	kept, untouched := w.keeps(t, agent, agent), w.untouched(t, agent, 0)
	old, err := w.Get(t.Context(), suite.API, "XAgentBudget", ns, agent)
	if err != nil {
		t.Fatal(err)
	}
	order := w.process(t, "function-xda-emit-budget-")
	order.Signal(syscall.SIGSTOP)
	defer order.Signal(syscall.SIGCONT)
	w.delete(t, suite.API, "XAgentBudget", ns, agent)
	if err := controlplane.Eventually(t.Context(), time.Minute, "the budget to be gone", func(ctx context.Context) error {
		_, err := w.Get(ctx, suite.API, "XAgentBudget", ns, agent)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(err, errors.New("it is there still"))
	}); err != nil {
		t.Fatal(err)
	}
	w.apply(t, asItWas(old))
	w.seeBudget(t, heard, "the budget to know by itself", agent, anew(old.GetUID()), spent(6.25), exhausted, field(0, "spec", "opening", "usd"))
	untouched()
	order.Signal(syscall.SIGCONT)
	w.seeBudget(t, 3*time.Minute, "the order to tell it", agent, spent(6.25), exhausted, field(6.25, "spec", "opening", "usd"))
	w.seeOrder(t, heard, "the order to be Ready", agent, condition("Ready", "True", ""), field(6.25, "status", "budget", "spentUsd"))
	untouched()
	kept()
}

// asItWas is what a composing reconcile would apply, had it just read the object.
func asItWas(o *unstructured.Unstructured) *unstructured.Unstructured {
	o = o.DeepCopy()
	for _, f := range []string{"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "finalizers"} {
		unstructured.RemoveNestedField(o.Object, "metadata", f)
	}
	for _, f := range []string{"resourceRefs", "compositionRevisionRef"} {
		unstructured.RemoveNestedField(o.Object, "spec", "crossplane", f)
	}
	unstructured.RemoveNestedField(o.Object, "status")
	return o
}

// repair runs the command that the condition CredentialsPresent recommends.
func (w *world) repair(t *testing.T, agent string) {
	t.Helper()
	o, err := w.Get(t.Context(), suite.API, "XDatasetAgent", "", agent)
	if err != nil {
		t.Fatal(err)
	}
	_, _, message := controlplane.Condition(o, "CredentialsPresent")
	m := regexp.MustCompile("`kubectl ([^`]+)`").FindStringSubmatch(message)
	if m == nil {
		t.Fatalf("want a command in the message, got %q", message)
	}
	w.kubectl(t, strings.Fields(m[1])...)
	w.seeOrder(t, 2*time.Minute, "the command to have repaired it", agent, condition("CredentialsPresent", "True", ""), condition("Ready", "True", ""))
	s, err := w.Get(t.Context(), "v1", "Secret", "agent-"+agent, "gcp-credentials")
	if err != nil {
		t.Fatal(err)
	}
	if key, _, _ := unstructured.NestedString(s.Object, "data", "private_key"); key == "" {
		t.Error("the Secret holds no private_key")
	}
}

// keyed waits until an agent has its key, and repairs it if the key's Secret went
// with the last namespace while the key itself stayed.
func (w *world) keyed(t *testing.T, agent string) {
	t.Helper()
	lost := false
	w.seeOrder(t, heard, "the agent's key, or a way to it", agent, func(o *unstructured.Unstructured) error {
		lost = condition("CredentialsPresent", "False", "KeyLost")(o) == nil
		if lost {
			return nil
		}
		return condition("CredentialsPresent", "True", "")(o)
	})
	if lost {
		w.repair(t, agent)
	}
}

// A key's private half is handed out once. When its Secret is lost the order says
// so, and how to repair it; the sentence is right.
func keyLost(t *testing.T, w *world) {
	const agent = "keyless-bot"
	ns := w.agent(t, agent)
	w.seeOrder(t, heard, "the agent's key", agent, condition("CredentialsPresent", "True", ""))
	kept := w.keeps(t, agent, "sa-key")
	w.process(t, "provider-gcp-cloudplatform").Kill() // with it goes the only other copy
	w.delete(t, "v1", "Secret", ns, "gcp-credentials")
	for _, p := range w.AllProcesses() {
		if strings.HasPrefix(p.Name, "provider-gcp-cloudplatform") {
			w.start(t, p)
		}
	}
	w.wake(t, agent) // nobody watches Secrets: it is seen at the next look, within ten minutes
	w.seeOrder(t, heard, "the order to say that its key is lost", agent, condition("CredentialsPresent", "False", "KeyLost"))
	w.repair(t, agent)
	kept()
}

// Crossplane hands every function the agents' private keys, and debug logs are on:
// no log, event or object but the Secret holds one.
func noKeyMaterial(t *testing.T, w *world) {
	const agent = "housing-bot"
	ns := w.agent(t, agent)
	w.seeOrder(t, heard, "the agent's key", agent, condition("CredentialsPresent", "True", ""))
	s, err := w.Get(t.Context(), "v1", "Secret", ns, "gcp-credentials")
	if err != nil {
		t.Fatal(err)
	}
	file, _, _ := unstructured.NestedString(s.Object, "data", "private_key")
	plain, err := base64.StdEncoding.DecodeString(file)
	if err != nil {
		t.Fatal(err)
	}
	var key struct {
		PrivateKey string `json:"private_key"`
	}
	if err := json.Unmarshal(plain, &key); err != nil || len(key.PrivateKey) < 10 {
		t.Fatalf("the Secret holds no key: %v", err)
	}
	search := func(where, text string) {
		t.Helper()
		for _, secret := range []string{key.PrivateKey, file, file[40:80]} {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s holds the agent's private key: ...%s...", where, text[max(0, i-200):i])
			}
		}
	}
	logs, err := filepath.Glob(filepath.Join(w.Dir, "logs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range logs {
		text, err := os.ReadFile(l)
		if err != nil {
			t.Fatal(err)
		}
		search(filepath.Base(l), string(text))
	}
	for _, kind := range []string{"events", "xda,xab,xds", "managed", "objects.kubernetes.m.crossplane.io,objects.kubernetes.crossplane.io", "configmaps"} {
		search("one of "+kind, w.kubectl(t, "get", kind, "-A", "-o", "yaml"))
	}
	t.Logf("searched %d logs", len(logs))
}

// A namespace that somebody deletes comes back with all that was in it but the
// key, and what was spent is not forgotten.
func namespaceDeleted(t *testing.T, w *world) {
	const agent = "homeless-bot"
	ns := w.agent(t, agent)
	w.Meter.Spend(agent, suite.Model, suite.Input, million)
	w.seeOrder(t, heard, "1.25 USD in the order", agent, field(1.25, "status", "budget", "spentUsd"))
	old, err := w.Get(t.Context(), "v1", "Namespace", "", ns)
	if err != nil {
		t.Fatal(err)
	}
	kept := w.keeps(t, agent, agent, "sa-key")
	began := time.Now()
	w.delete(t, "v1", "Namespace", "", ns)
	w.see(t, 2*time.Minute, "a new namespace", "Namespace", "", ns, anew(old.GetUID()))
	w.seeBudget(t, 3*time.Minute, "a new budget that remembers", agent, spent(1.25), running, field(1.25, "spec", "opening", "usd"))
	w.wake(t, agent)
	w.seeOrder(t, 3*time.Minute, "the key to be lost", agent, condition("CredentialsPresent", "False", "KeyLost"))
	w.repair(t, agent)
	w.replicas(t, time.Minute, agent, 1)
	t.Logf("whole again after %s", time.Since(began).Round(100*time.Millisecond))
	kept()
	w.Meter.Spend(agent, suite.Model, suite.Input, million)
	w.seeBudget(t, heard, "spend to be counted on", agent, spent(2.5), running)
}

// forget makes Prometheus lose all it has.
func (w *world) forget(t *testing.T) {
	t.Helper()
	p := w.Process("prometheus")
	p.Kill()
	if err := os.RemoveAll(filepath.Join(w.Dir, "prometheus", "data")); err != nil {
		t.Fatal(err)
	}
	w.start(t, p)
}
