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

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// Names that the scenarios share.
const (
	housing  = "california-housing" // the dataset of most orders
	datasets = "acme-data-datasets" // the bucket it lies in
	million  = 1e6                  // tokens: 1.25 USD of input with suite.Model
)

// A world is one stack, which the scenarios share.
type world struct {
	*suite.Suite

	root string // of the checkout
	bin  string // programs that `make up-build` built

	deleted bool // an order was
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
		Options: controlplane.Options{Dir: dir, Log: t.Logf, Audit: true, RealNode: controlplane.WantsRealNode(),
			APIServerArgs: []string{"--audit-log-maxsize", "10000"}}, // MB; one file holds all of it
		Checkout: root, Packages: filepath.Join(out, "xpkg"), StandIns: filepath.Join(out, "bin"), Schemas: os.Getenv("SCHEMAS"),
		Programs: programs(t), Agents: agents(t, root),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return &world{Suite: s, root: root, bin: filepath.Join(out, "bin")}
}

// agents are those that really answer, where there is a Python with pandas.
func agents(t *testing.T, root string) suite.Agents {
	t.Helper()
	if controlplane.WantsRealNode() {
		return suite.Agents{Namespaces: []string{"*"}, Datasets: filepath.Join(root, "test", "standins", "datasets"), Rootfs: os.Getenv("SANDBOX_ROOTFS")}
	}
	python, err := suite.FindPython(t.Context())
	if err != nil {
		t.Log(err)
		return suite.Agents{}
	}
	return suite.Agents{Namespaces: []string{"agent-" + asked, "agent-" + other}, Datasets: filepath.Join(root, "test", "standins", "datasets"), Python: python}
}

// programs reads E2E_PROGRAMS, which make mutants sets: programs to run instead of
// what packages hold, each as repository=path, separated by commas.
func programs(t *testing.T) map[string]string {
	t.Helper()
	m := map[string]string{}
	for p := range strings.SplitSeq(os.Getenv("E2E_PROGRAMS"), ",") {
		repository, path, is := strings.Cut(p, "=")
		switch {
		case is:
			m[repository] = path
		case p != "":
			t.Fatalf("E2E_PROGRAMS: want repository=path, got %q", p)
		}
	}
	return m
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

func (w *world) apply(t *testing.T, objs ...*unstructured.Unstructured) {
	t.Helper()
	for _, o := range objs {
		if err := w.ApplyWithStatus(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
}

// readyWithin is what an order may take. Most of it is waiting: Crossplane's
// circuit breaker drops a new order's events for a while, because there are many.
const readyWithin = 3 * time.Minute

func (w *world) ready(t *testing.T, name string) {
	t.Helper()
	if err := w.WaitFor(t.Context(), readyWithin, "Ready", suite.API, "XDatasetAgent", "", name); err != nil {
		t.Fatal(err)
	}
}

// agent returns the namespace of a running agent with a budget of 5 USD, and
// orders it if no earlier scenario has.
func (w *world) agent(t *testing.T, name string) string {
	t.Helper()
	if _, err := w.Get(t.Context(), suite.API, "XDatasetAgent", "", name); apierrors.IsNotFound(err) {
		w.apply(t, suite.NewDataset(housing, datasets), suite.NewOrder(name, housing, 5))
	} else if err != nil {
		t.Fatal(err)
	}
	w.ready(t, name)
	return "agent-" + name
}

// see waits until an object of the suite's looks as a user should see it.
func (w *world) see(t *testing.T, within time.Duration, what, kind, namespace, name string, is ...check) {
	t.Helper()
	apiVersion := suite.API
	switch kind {
	case "Deployment":
		apiVersion = "apps/v1"
	case "ConfigMap", "Secret", "Service", "Namespace":
		apiVersion = "v1"
	case "NetworkPolicy", "Ingress":
		apiVersion = "networking.k8s.io/v1"
	}
	began := time.Now()
	if err := controlplane.Eventually(t.Context(), within, what, func(ctx context.Context) error {
		o, err := w.Get(ctx, apiVersion, kind, namespace, name)
		if err != nil {
			return err
		}
		var errs []error
		for _, c := range is {
			errs = append(errs, c(o))
		}
		return errors.Join(errs...)
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s after %s", what, time.Since(began).Round(100*time.Millisecond))
}

// heard is how long an order may take to hear of a change, and its budget of what
// the order passes on. While Crossplane drops the events of a new order, it is looked at
// by the clock: every half minute or, where becoming Ready took long, every 165 seconds.
const heard = 3 * time.Minute

// heardAfterKill is the same when a process was killed meanwhile: clients of an API
// server that was away come back after a minute at most.
const heardAfterKill = heard + time.Minute

// seeOrder and seeBudget are see for the two XRs of an agent.
func (w *world) seeOrder(t *testing.T, within time.Duration, what, agent string, is ...check) {
	t.Helper()
	w.see(t, within, what, "XDatasetAgent", "", agent, is...)
}

func (w *world) seeBudget(t *testing.T, within time.Duration, what, agent string, is ...check) {
	t.Helper()
	w.see(t, within, what, "XAgentBudget", "agent-"+agent, agent, is...)
}

// A check says why an object doesn't look as it should.
type check func(*unstructured.Unstructured) error

// condition checks an object's condition; an empty reason is any.
func condition(kind, status, reason string) check {
	return func(o *unstructured.Unstructured) error {
		s, r, msg := controlplane.Condition(o, kind)
		if s != status || (reason != "" && r != reason) {
			return fmt.Errorf("%s is %s, %s (%s); want %s, %s", kind, s, r, msg, status, reason)
		}
		return nil
	}
}

func field(want any, path ...string) check {
	return func(o *unstructured.Unstructured) error {
		got, _, err := unstructured.NestedFieldNoCopy(o.Object, path...)
		if err == nil && fmt.Sprint(got) != fmt.Sprint(want) {
			err = fmt.Errorf("%s is %v, want %v", strings.Join(path, "."), got, want)
		}
		return err
	}
}

func spent(usd float64) check { return field(usd, "status", "spentUsd") }

// running and exhausted are the two things that a budget mostly says.
func running(o *unstructured.Unstructured) error {
	return errors.Join(field(false, "status", "paused")(o), field("running", "status", "cause")(o))
}

func exhausted(o *unstructured.Unstructured) error {
	return errors.Join(field(true, "status", "paused")(o), field("budget-exhausted", "status", "cause")(o), condition("Ready", "True", "")(o))
}

// anew checks that an object isn't the one with the given uid any more.
func anew(uid any) check {
	return func(o *unstructured.Unstructured) error {
		if fmt.Sprint(o.GetUID()) == fmt.Sprint(uid) {
			return errors.New("the old one is still there")
		}
		return nil
	}
}

// A ref names a part.
type ref struct{ apiVersion, kind, namespace, name string }

func (r ref) String() string { return r.kind + " " + r.namespace + "/" + r.name }

// refs lists the parts of an order.
func (w *world) refs(t *testing.T, order string) []ref {
	t.Helper()
	o, err := w.Get(t.Context(), suite.API, "XDatasetAgent", "", order)
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := unstructured.NestedSlice(o.Object, "spec", "crossplane", "resourceRefs")
	if err != nil {
		t.Fatal(err)
	}
	var refs []ref
	for _, r := range list {
		m := &unstructured.Unstructured{Object: r.(map[string]any)}
		text := func(k string) string { s, _, _ := unstructured.NestedString(m.Object, k); return s }
		refs = append(refs, ref{text("apiVersion"), text("kind"), text("namespace"), text("name")})
	}
	return refs
}

// parts returns the uid of each part of an order.
func (w *world) parts(t *testing.T, order string) map[ref]string {
	t.Helper()
	uids := map[ref]string{}
	for _, r := range w.refs(t, order) {
		p, err := w.Get(t.Context(), r.apiVersion, r.kind, r.namespace, r.name)
		if err != nil {
			t.Fatalf("a part of %s can't be read: %v", order, err)
		}
		uids[r] = string(p.GetUID())
	}
	return uids
}

// keeps remembers the parts of an order. The function it returns fails the test
// if one of them, but for the named ones, is gone by then or was made anew.
func (w *world) keeps(t *testing.T, order string, but ...string) func() {
	t.Helper()
	before := w.parts(t, order)
	return func() {
		t.Helper()
		after := w.parts(t, order)
		for r, uid := range before {
			if after[r] != uid && !anyOf(r.name, but) {
				t.Errorf("part %s of %s was lost or made anew: uid was %s, is %q", r, order, uid, after[r])
			}
		}
		if len(after) != len(before) {
			t.Errorf("%s had %d parts, has %d", order, len(before), len(after))
		}
	}
}

func anyOf(s string, parts []string) bool {
	for _, p := range parts {
		if s == p || strings.HasSuffix(s, "-"+p) {
			return true
		}
	}
	return false
}

// replicas waits until planner and worker of an agent are to have n pods.
func (w *world) replicas(t *testing.T, within time.Duration, agent string, n int64) {
	t.Helper()
	for _, d := range []string{"planner", "worker"} {
		w.see(t, within, fmt.Sprintf("%s of %s at %d replicas", d, agent, n), "Deployment", "agent-"+agent, d, field(n, "spec", "replicas"))
	}
}

// untouched checks that planner and worker have n replicas. The function it
// returns fails the test if their spec changed since, be it for a moment: the
// generation counts every change.
func (w *world) untouched(t *testing.T, agent string, n int64) func() {
	t.Helper()
	look := func() map[string]*unstructured.Unstructured {
		t.Helper()
		all := map[string]*unstructured.Unstructured{}
		for _, d := range []string{"planner", "worker"} {
			o, err := w.Get(t.Context(), "apps/v1", "Deployment", "agent-"+agent, d)
			if err != nil {
				t.Fatal(err)
			}
			if err := field(n, "spec", "replicas")(o); err != nil {
				t.Errorf("%s of %s: %v", d, agent, err)
			}
			all[d+" "+string(o.GetUID())] = o
		}
		return all
	}
	before := look()
	return func() {
		t.Helper()
		after := look()
		for d, was := range before {
			is := after[d]
			if is == nil {
				t.Errorf("%s of %s was to stay, and is gone or was made anew", d, agent)
				continue
			}
			if is.GetGeneration() != was.GetGeneration() {
				was.SetResourceVersion("")
				is.SetResourceVersion("")
				t.Errorf("%s of %s was to stay at %d replicas all the time, but its spec was changed: generation was %d, is %d (-before +after)\n%s",
					d, agent, n, was.GetGeneration(), is.GetGeneration(), cmp.Diff(was.Object, is.Object))
			}
		}
	}
}

// setBudget changes what an order allows, in US dollars.
func (w *world) setBudget(t *testing.T, agent string, usd float64) {
	t.Helper()
	w.patch(t, "XDatasetAgent", "", agent, fmt.Sprintf(`{"spec":{"budgetUsd":%v}}`, usd))
}

// exhaust lets an agent spend five million tokens, 6.25 USD of its 5.
func (w *world) exhaust(t *testing.T, agent string) {
	t.Helper()
	w.Meter.Spend(agent, suite.Model, suite.Input, 5*million)
	w.seeBudget(t, heard, "the budget to be exhausted", agent, spent(6.25), exhausted)
	w.replicas(t, 30*time.Second, agent, 0)
}

func (w *world) patch(t *testing.T, kind, namespace, name, patch string, sub ...string) {
	t.Helper()
	if err := w.Patch(t.Context(), suite.API, kind, namespace, name, patch, sub...); err != nil {
		t.Fatal(err)
	}
}

// wake makes Crossplane look at an order now, as a person would.
func (w *world) wake(t *testing.T, order string) {
	t.Helper()
	w.patch(t, "XDatasetAgent", "", order, fmt.Sprintf(`{"metadata":{"annotations":{"crossplane.io/reconcile-requested-at":%q}}}`, time.Now().Format(time.RFC3339Nano)))
}

func (w *world) delete(t *testing.T, apiVersion, kind, namespace, name string) {
	t.Helper()
	if err := w.Delete(t.Context(), apiVersion, kind, namespace, name); err != nil {
		t.Fatal(err)
	}
}

func (w *world) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := w.Kubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// start runs a process again and waits until it is ready.
func (w *world) start(t *testing.T, p *controlplane.Process) {
	t.Helper()
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// process returns the one process whose name begins like this: those of packages
// end in their revision.
func (w *world) process(t *testing.T, prefix string) *controlplane.Process {
	t.Helper()
	var found []*controlplane.Process
	for _, p := range w.AllProcesses() {
		if strings.HasPrefix(p.Name, prefix) && p.Alive() {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		t.Fatalf("want one running process %s..., got %d", prefix, len(found))
	}
	return found[0]
}
