package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// works checks that a change of the order reaches the budget.
func (w *world) works(t *testing.T, within time.Duration, agent string, usd float64) {
	t.Helper()
	if err := controlplane.Eventually(t.Context(), within, "the API server to take a change", func(ctx context.Context) error {
		return w.Patch(ctx, suite.API, "XDatasetAgent", "", agent, fmt.Sprintf(`{"spec":{"budgetUsd":%v}}`, usd))
	}); err != nil {
		t.Fatal(err)
	}
	w.seeBudget(t, within, fmt.Sprintf("a budget of %v USD to arrive", usd), agent, field(usd, "spec", "budgetUsd"), field(usd, "status", "decidedBudgetUsd"))
}

// A function that dies with an order in its hands loses nothing of it.
func functionKilled(t *testing.T, w *world) {
	const agent = "steady-bot"
	w.agent(t, agent)
	kept := w.keeps(t, agent)
	first, victim := w.process(t, "function-xda-validate-dataset-"), w.process(t, "function-xda-render-workloads-")
	passes := func() int {
		log, err := os.ReadFile(first.LogFile())
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(log, []byte("Validated dataset"))
	}
	victim.Signal(syscall.SIGSTOP)
	before := passes()
	w.patch(t, "XDatasetAgent", "", agent, `{"spec":{"description":"Answers other questions","budgetUsd":2000}}`)
	// When the first station has answered, Crossplane is waiting for the stopped one.
	if err := controlplane.Eventually(t.Context(), time.Minute, "a reconcile to reach the stopped function", func(context.Context) error {
		if passes() == before {
			return fmt.Errorf("no new pass yet")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	victim.Kill()
	w.start(t, victim)
	w.seeBudget(t, heardAfterKill, "the change to arrive all the same", agent, field(2000, "spec", "budgetUsd"))
	w.ready(t, agent)
	t.Logf("as if nothing had happened after %s", time.Since(began).Round(100*time.Millisecond))
	kept()
}

// Whatever is killed and comes back: nothing is lost, nobody is pardoned, and the
// next change works.
func processesKilled(t *testing.T, w *world) {
	const runs, stopped = "steady-bot", "shaken-bot"
	w.agent(t, runs)
	w.agent(t, stopped)
	w.exhaust(t, stopped)
	usd := 3000.0
	for _, name := range []string{"provider-kubernetes-", "provider-gcp-storage-", "provider-gcp-cloudplatform-", "crossplane", "rbac-manager", "kube-controller-manager", "kube-apiserver", "etcd"} {
		t.Run(strings.TrimSuffix(name, "-"), func(t *testing.T) {
			kr, ks := w.keeps(t, runs), w.keeps(t, stopped)
			r, s := w.untouched(t, runs, 1), w.untouched(t, stopped, 0)
			p := w.process(t, name)
			began := time.Now()
			p.Kill()
			w.start(t, p)
			usd++
			w.works(t, heardAfterKill, runs, usd)
			w.ready(t, runs)
			w.ready(t, stopped)
			w.seeBudget(t, heard, "the stopped agent to stay stopped", stopped, spent(6.25), exhausted)
			t.Logf("%s was killed; the next change worked after %s", p.Name, time.Since(began).Round(100*time.Millisecond))
			kr()
			ks()
			r()
			s()
		})
	}
}

// Functions are upgraded in place, one after the other, so that old and new ones
// share a pipeline: no part is made anew, and the old ones end.
func upgrade(t *testing.T, w *world) {
	const runs, stopped = "steady-bot", "upgraded-bot"
	w.agent(t, runs)
	w.agent(t, stopped)
	w.exhaust(t, stopped)
	kr, ks := w.keeps(t, runs), w.keeps(t, stopped)
	r, s := w.untouched(t, runs, 1), w.untouched(t, stopped, 0)
	usd := 4000.0
	functions, err := os.ReadDir(filepath.Join(w.root, "package", "functions"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range functions {
		if !f.IsDir() {
			continue // the README
		}
		name := "function-" + f.Name()
		old := w.process(t, name+"-")
		ref := "xpkg.crossplane.io/whisperops/" + name + ":v99.0.0"
		if err := w.PushDir(t.Context(), ref, old.Path, w.renamed(t, filepath.Join(w.root, "package", "functions", f.Name()))); err != nil {
			t.Fatal(err)
		}
		if err := w.Patch(t.Context(), "pkg.crossplane.io/v1", "Function", "", name, fmt.Sprintf(`{"spec":{"package":%q}}`, ref)); err != nil {
			t.Fatal(err)
		}
		if err := controlplane.Eventually(t.Context(), 2*time.Minute, name+" to be upgraded", func(ctx context.Context) error {
			if old.Alive() {
				return fmt.Errorf("the old one still runs")
			}
			o, err := w.Get(ctx, "pkg.crossplane.io/v1", "Function", "", name)
			if err != nil {
				return err
			}
			if revision, _, _ := unstructured.NestedString(o.Object, "status", "currentRevision"); revision == old.Name {
				return fmt.Errorf("its revision is still %s", revision)
			}
			return condition("Healthy", "True", "")(o)
		}); err != nil {
			t.Fatal(err)
		}
		usd++
		w.works(t, heardAfterKill, runs, usd)
	}
	w.ready(t, runs)
	w.ready(t, stopped)
	w.seeBudget(t, heard, "the stopped agent to stay stopped", stopped, spent(6.25), exhausted)
	kr()
	ks()
	r()
	s()
}

// renamed copies a package's folder and changes what its crossplane.yaml says
// about it, so that its digest, and with it its revision, is another.
func (w *world) renamed(t *testing.T, dir string) string {
	t.Helper()
	objs, err := controlplane.DecodeFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	for i, o := range objs {
		file := fmt.Sprintf("%d.yaml", i)
		if strings.HasPrefix(o.GetAPIVersion(), "meta.pkg.crossplane.io/") {
			file = "crossplane.yaml"
			a := o.GetAnnotations()
			if a == nil {
				a = map[string]string{}
			}
			a["example.org/release"] = "v99.0.0"
			o.SetAnnotations(a)
		}
		data, err := json.Marshal(o) // JSON is YAML
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, file), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return to
}
