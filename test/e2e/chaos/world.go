package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// A world is the suite on a control plane, and somebody who breaks it.
type world struct {
	*suite.Suite
	*recorder

	log func(string, ...any)

	kills  atomic.Int64 // of a token-meter, each twice: when it begins and when it is over
	paying sync.WaitGroup
	busy   sync.Map // agents whose call is under way
}

// patience is how long one act may take: an API server that is killed and an
// etcd that stands still are away for seconds.
const patience = 90 * time.Second

// carryOut does what a plan says, each target's acts one after the other. It
// returns what could not be done.
func (w *world) carryOut(ctx context.Context, plan []Act) error {
	began := time.Now()
	targets := map[string][]Act{}
	for _, a := range plan {
		targets[a.Target] = append(targets[a.Target], a)
	}
	var mu sync.Mutex
	var failures []error
	var all sync.WaitGroup
	for _, acts := range targets {
		all.Go(func() {
			for _, a := range acts {
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Until(began.Add(a.At))):
				}
				did, err := w.act(ctx, a)
				w.log("%s: %s", a, did)
				if err != nil && ctx.Err() == nil {
					mu.Lock()
					failures = append(failures, fmt.Errorf("cannot do %q: %w", a, err))
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

// act does one thing, and says what came of it.
func (w *world) act(ctx context.Context, a Act) (string, error) {
	switch a.Verb {
	case Kill, Pause:
		return w.hurt(ctx, a)
	case Burst:
		tokens := math.Round(a.USD * 1e12 / float64(inputPicos))
		if metered(a.Target) {
			return w.pay(a.Target, tokens, 0), nil //nolint:contextcheck // a call of an agent goes on when chaos ends
		}
		if !w.work(a.Target, tokens, 0) {
			return "it does not run", nil
		}
		return "done", nil
	default: // objects
	}
	did := ""
	err := controlplane.Eventually(ctx, patience, string(a.Verb)+" of "+a.Target, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
		defer cancel()
		var err error
		did, err = w.touch(ctx, a)
		if apierrors.IsNotFound(err) {
			did, err = "there is none", nil
		}
		if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) {
			err = controlplane.Never(err)
		}
		return err
	})
	if err != nil {
		did = err.Error()
	}
	return did, err
}

// touch does one thing to objects, once.
func (w *world) touch(ctx context.Context, a Act) (string, error) {
	const done = "done"
	ns := "agent-" + a.Target
	switch a.Verb {
	case Order:
		return done, w.order(ctx, a)
	case Drop:
		return done, w.remove(ctx, suite.API, "XDatasetAgent", "", a.Target)
	case SetBudget:
		w.changed(a.Target, func(m *Money) { m.Cap = inPicos(a.USD) })
		return done, w.merge(ctx, "XDatasetAgent", "", a.Target, map[string]any{"spec": map[string]any{"budgetUsd": a.USD}})
	case MonitorOnly:
		return w.enforce(ctx, a.Target, false)
	case Enforce:
		return w.enforce(ctx, a.Target, true)
	case Swap:
		return done, w.merge(ctx, "XDatasetAgent", "", a.Target, map[string]any{"spec": map[string]any{"datasetRef": map[string]any{"name": a.Dataset}}})
	case DeletePart:
		return w.deletePart(ctx, a)
	case ScaleUp:
		for _, d := range []string{"planner", "worker"} {
			if err := w.Patch(ctx, "apps/v1", "Deployment", ns, d, `{"spec":{"replicas":1}}`); err != nil {
				return "", err
			}
		}
		return done, nil
	case WipeOrder:
		return done, w.merge(ctx, "XDatasetAgent", "", a.Target, map[string]any{"status": nil}, "status")
	case WipeBudget:
		return done, w.merge(ctx, "XAgentBudget", ns, a.Target, map[string]any{"status": nil}, "status")
	case WipePart:
		p, err := w.part(ctx, a)
		if err != nil {
			return "", err
		}
		return done, w.Patch(ctx, p.GetAPIVersion(), p.GetKind(), p.GetNamespace(), p.GetName(), `{"status":null}`, "status")
	case Vanish:
		return done, w.Delete(ctx, suite.API, "XDataset", "", a.Target)
	case Appear:
		return done, w.ApplyWithStatus(ctx, suite.NewDataset(a.Target, bucketOf(a.Target)))
	default:
	}
	return "", controlplane.Never(fmt.Errorf("nobody knows how to %s", a.Verb))
}

// order orders an agent, as soon as the last order of its name is gone.
func (w *world) order(ctx context.Context, a Act) error {
	old, err := w.Get(ctx, suite.API, "XDatasetAgent", "", a.Target)
	switch {
	case err == nil && old.GetDeletionTimestamp() != nil:
		return errors.New("the last order of that name is still there")
	case err != nil && !apierrors.IsNotFound(err):
		return err
	}
	if err := w.Apply(ctx, suite.NewOrder(a.Target, a.Dataset, a.USD)); err != nil {
		return err
	}
	o, err := w.Get(ctx, suite.API, "XDatasetAgent", "", a.Target)
	if err != nil {
		return fmt.Errorf("cannot read back: %w", errors.New(err.Error())) // not found is no answer here
	}
	w.ordered(a.Target, string(o.GetUID()), a.USD)
	return nil
}

func (w *world) enforce(ctx context.Context, agent string, enforce bool) (string, error) {
	b, err := w.Get(ctx, suite.API, "XAgentBudget", "agent-"+agent, agent)
	if err != nil {
		return "", err
	}
	to := "monitor-only"
	if enforce {
		to = "enabled"
	}
	// With the uid, so that it is this budget and none that was made since.
	patch := map[string]any{"metadata": map[string]any{"uid": string(b.GetUID())}, "spec": map[string]any{"enforcement": to}}
	w.changed(agent, func(m *Money) { m.Enforced = enforce })
	err = w.merge(ctx, "XAgentBudget", "agent-"+agent, agent, patch)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		w.changed(agent, func(m *Money) { m.Enforced = true }) // the next one does
		return "it was made anew", nil
	}
	return "done", err
}

// part finds a part of an agent by its composed name.
func (w *world) part(ctx context.Context, a Act) (*unstructured.Unstructured, error) {
	name, ns := "agent-"+a.Target+"-"+a.Part, controlplane.Namespace
	switch a.Part {
	case budgetPart:
		return w.Get(ctx, suite.API, "XAgentBudget", "agent-"+a.Target, a.Target)
	case "namespace":
		return w.Get(ctx, "kubernetes.crossplane.io/v1alpha2", "Object", "", name)
	case "bucket":
		return w.Get(ctx, "storage.gcp.upbound.io/v1beta2", "Bucket", "", name)
	case "sa":
		return w.Get(ctx, "cloudplatform.gcp.upbound.io/v1beta1", "ServiceAccount", "", name)
	case "sa-key":
		return w.Get(ctx, "cloudplatform.gcp.upbound.io/v1beta1", "ServiceAccountKey", "", name)
	case "planner-replicas", "worker-replicas":
		ns = "agent-" + a.Target
	}
	return w.Get(ctx, "kubernetes.m.crossplane.io/v1alpha1", "Object", ns, name)
}

func (w *world) deletePart(ctx context.Context, a Act) (string, error) {
	if a.Part == budgetPart {
		// Before the order has repeated what was spent, nobody else remembers it.
		o, err := w.Get(ctx, suite.API, "XDatasetAgent", "", a.Target)
		if err != nil {
			return "", err
		}
		if asOf, _, _ := unstructured.NestedString(o.Object, "status", "budget", "asOf"); asOf == "" {
			return "nobody else remembers yet what was spent", nil
		}
	}
	p, err := w.part(ctx, a)
	if err != nil {
		return "", err
	}
	return "done", w.remove(ctx, p.GetAPIVersion(), p.GetKind(), p.GetNamespace(), p.GetName())
}

// remove deletes an object by hand, and exactly the one whose uid was written down.
func (w *world) remove(ctx context.Context, apiVersion, kind, namespace, name string) error {
	o, err := w.Get(ctx, apiVersion, kind, namespace, name)
	if err != nil {
		return err
	}
	uid := o.GetUID()
	w.byHand(string(uid))
	r, err := w.Resource(apiVersion, kind, namespace)
	if err != nil {
		return err
	}
	err = r.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsConflict(err) {
		return nil // it is gone already
	}
	return err
}

// merge merges a document into one of the suite's own objects.
func (w *world) merge(ctx context.Context, kind, namespace, name string, doc map[string]any, sub ...string) error {
	data, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return w.Patch(ctx, suite.API, kind, namespace, name, string(data), sub...)
}

// process finds a process by the name in Processes.
func (w *world) process(name string) (*controlplane.Process, error) {
	var found []*controlplane.Process
	for _, p := range w.AllProcesses() {
		if p.Name == name || processOf(p.Name) == name {
			found = append(found, p)
		}
	}
	if len(found) != 1 {
		return nil, fmt.Errorf("want one process %s, found %d", name, len(found))
	}
	return found[0], nil
}

// meterPod is the name of a token-meter's process, with the number of its pod.
var meterPod = regexp.MustCompile(`^pod-` + suite.MeterNamespace + `-(` + suite.MeterName + `)-[0-9a-f]+(-[0-9]+)$`)

// processOf returns the name in Processes of a process of the stack: of a package
// it is the name without the revision behind it, of a token-meter that without the hash
// of its template.
func processOf(name string) string {
	if m := meterPod.FindStringSubmatch(name); m != nil {
		return m[1] + m[2]
	}
	if strings.HasPrefix(name, "function-") || strings.HasPrefix(name, "provider-") {
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			return name[:i]
		}
	}
	return name
}

// known fails if the stack has a process that chaos leaves alone, or the other way round.
func (w *world) known() error {
	var errs []error
	for _, p := range Processes {
		_, err := w.process(p.Name)
		errs = append(errs, err)
	}
	for _, p := range w.AllProcesses() {
		if !slices.ContainsFunc(Processes, func(k Process) bool { return k.Name == processOf(p.Name) }) {
			errs = append(errs, fmt.Errorf("nobody hurts the process %s", p.Name))
		}
	}
	return errors.Join(errs...)
}

// hurt ends or pauses a process, and sees to it that it is there again.
func (w *world) hurt(ctx context.Context, a Act) (string, error) {
	p, err := w.process(a.Target)
	if err != nil {
		return err.Error(), err
	}
	if a.Verb == Pause {
		p.Signal(syscall.SIGSTOP)
	} else {
		w.kill(p)
	}
	select {
	case <-ctx.Done():
	case <-time.After(a.For):
	}
	if a.Verb == Pause {
		p.Signal(syscall.SIGCONT)
		return "it goes on", nil
	}
	if err := w.up(ctx, p); err != nil {
		return err.Error(), err
	}
	return "it runs again", nil
}

// kill ends a process. Before and after that of a token-meter calls may begin or end
// that are lost with it.
func (w *world) kill(p *controlplane.Process) {
	if strings.HasPrefix(processOf(p.Name), suite.MeterName) {
		w.kills.Add(1)
		defer w.kills.Add(1)
	}
	p.Kill()
}

// up waits until a process runs and is ready. What it needs may be away as well:
// then it is started as often as it ends.
func (w *world) up(ctx context.Context, p *controlplane.Process) error {
	return controlplane.Eventually(ctx, 2*time.Minute, p.Name+" to run again", func(ctx context.Context) error {
		if !p.Alive() {
			return p.Start(ctx)
		}
		if p.Ready == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return p.Ready(ctx)
	})
}

// calm ends all that chaos began: processes run, datasets are there, orders name
// one that they can have. The provider is started again, as one does after a
// restore: it sees that an Object has lost its status at its next poll only, an hour later.
func (w *world) calm(ctx context.Context) error {
	provider, err := w.process("provider-kubernetes")
	if err != nil {
		return err
	}
	provider.Kill()
	var errs []error
	for _, p := range w.AllProcesses() { // in the order of their first start
		p.Signal(syscall.SIGCONT)
		errs = append(errs, w.up(ctx, p))
	}
	for _, d := range Datasets {
		errs = append(errs, w.ApplyWithStatus(ctx, suite.NewDataset(d, bucketOf(d))))
	}
	for agent := range w.orders() {
		o, err := w.Get(ctx, suite.API, "XDatasetAgent", "", agent)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		// A live agent can't leave its bucket.
		bucket, _, _ := unstructured.NestedString(o.Object, "status", "dataset", "gcsPath")
		d := Datasets[0]
		if strings.HasPrefix(bucket, "gs://"+otherBucket+"/") {
			d = Datasets[len(Datasets)-1]
		}
		errs = append(errs, w.merge(ctx, "XDatasetAgent", "", agent, map[string]any{"spec": map[string]any{"datasetRef": map[string]any{"name": d}}}))
	}
	return errors.Join(errs...)
}

// repair does what a condition asks an operator for: a provider that is killed
// while it holds a new key's private half has lost it.
func (w *world) repair(ctx context.Context, order *unstructured.Unstructured) error {
	s, reason, msg := controlplane.Condition(order, "CredentialsPresent")
	if s != "False" || reason != "KeyLost" {
		return nil
	}
	agent := order.GetName()
	key, err := w.part(ctx, Act{Target: agent, Part: "sa-key"})
	if apierrors.IsNotFound(err) {
		return nil // it is being made
	}
	if err != nil {
		return err
	}
	if key.GetDeletionTimestamp() != nil || time.Since(key.GetCreationTimestamp().Time) < 30*time.Second {
		return nil // so was what the condition speaks of
	}
	w.log("%s: %s", agent, msg)
	return w.remove(ctx, key.GetAPIVersion(), key.GetKind(), "", key.GetName())
}

// ends reads what there is of every ordered agent.
func (w *world) ends(ctx context.Context) ([]End, error) {
	var ends []End
	for agent, money := range w.orders() {
		order, err := w.Get(ctx, suite.API, "XDatasetAgent", "", agent)
		if err != nil {
			return nil, err
		}
		if err := w.repair(ctx, order); err != nil {
			return nil, err
		}
		e := End{Agent: agent, Money: money, Budget: math.NaN(), Order: figure(order, "status", "budget", "spentUsd"), Planner: -1, Worker: -1, Doubts: w.inDoubt(agent)}
		e.unready(order, "Synced", "Ready", "DatasetValid", "CredentialsPresent")
		refs, _, _ := unstructured.NestedSlice(order.Object, "spec", "crossplane", "resourceRefs")
		e.Parts = len(refs)
		for _, r := range refs {
			ref := &unstructured.Unstructured{}
			ref.Object, _ = r.(map[string]any)
			ns, _, _ := unstructured.NestedString(ref.Object, "namespace")
			name, _, _ := unstructured.NestedString(ref.Object, "name")
			p, err := w.Get(ctx, ref.GetAPIVersion(), ref.GetKind(), ns, name)
			if err != nil {
				e.NotReady = append(e.NotReady, fmt.Sprintf("%s %s: %v", ref.GetKind(), name, err))
				continue
			}
			if e.unready(p, "Synced", "Ready"); p.GetKind() == "XAgentBudget" {
				e.Budget = figure(p, "status", "spentUsd")
				e.unready(p, "SpendMeasured")
			}
		}
		for d, n := range map[string]*int64{"planner": &e.Planner, "worker": &e.Worker} {
			o, err := w.Get(ctx, "apps/v1", "Deployment", "agent-"+agent, d)
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, err
			}
			*n, _, _ = unstructured.NestedInt64(o.Object, "spec", "replicas")
		}
		ends = append(ends, e)
	}
	slices.SortFunc(ends, func(a, b End) int { return strings.Compare(a.Agent, b.Agent) })
	return ends, nil
}

// unready adds an object's conditions that are not True.
func (e *End) unready(o *unstructured.Unstructured, conditions ...string) {
	if o.GetDeletionTimestamp() != nil {
		e.NotReady = append(e.NotReady, fmt.Sprintf("%s %s: it is being deleted", o.GetKind(), o.GetName()))
	}
	for _, c := range conditions {
		s, reason, msg := controlplane.Condition(o, c)
		// A meter that never saw a sample is one of an agent that never worked.
		if s != "True" && reason != "NeverSeen" {
			e.NotReady = append(e.NotReady, fmt.Sprintf("%s %s: %s is %q (%s: %s)", o.GetKind(), o.GetName(), c, s, reason, msg))
		}
	}
}

// figure reads a number of an object; NaN if there is none.
func figure(o *unstructured.Unstructured, path ...string) float64 {
	v, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
	switch n := v.(type) {
	case float64:
		return n
	case int64:
		return float64(n)
	}
	return math.NaN()
}

// dropAll deletes all orders by hand.
func (w *world) dropAll(ctx context.Context) error {
	for agent := range w.orders() {
		if err := w.remove(ctx, suite.API, "XDatasetAgent", "", agent); err != nil {
			return err
		}
	}
	return nil
}

// left lists what is left of orders.
func (w *world) left(ctx context.Context) ([]string, error) {
	var left []string
	add := func(apiVersion, kind string, is func(o unstructured.Unstructured) bool) error {
		objs, err := w.List(ctx, apiVersion, kind, "")
		for _, o := range objs {
			if is == nil || is(o) {
				left = append(left, strings.TrimSpace(kind+" "+o.GetNamespace()+" "+o.GetName()))
			}
		}
		return err
	}
	ofAgent := func(o unstructured.Unstructured) bool { return strings.HasPrefix(o.GetName(), "agent-bot-") }
	for _, k := range []struct {
		apiVersion, kind string
		is               func(unstructured.Unstructured) bool
	}{
		{suite.API, "XDatasetAgent", nil},
		{suite.API, "XAgentBudget", nil},
		{"kubernetes.crossplane.io/v1alpha2", "Object", nil},
		{"kubernetes.m.crossplane.io/v1alpha1", "Object", nil},
		{"storage.gcp.upbound.io/v1beta2", "Bucket", nil},
		{"storage.gcp.upbound.io/v1beta2", "BucketIAMMember", nil},
		{"cloudplatform.gcp.upbound.io/v1beta1", "ServiceAccount", nil},
		{"cloudplatform.gcp.upbound.io/v1beta1", "ServiceAccountKey", nil},
		{"cloudplatform.gcp.upbound.io/v1beta2", "ProjectIAMMember", nil},
		{"kubernetes.crossplane.io/v1alpha1", "ProviderConfigUsage", nil},
		{"kubernetes.m.crossplane.io/v1alpha1", "ProviderConfigUsage", nil},
		{"v1", "Namespace", ofAgent},
		{"v1", "ConfigMap", ofAgent},
	} {
		if err := add(k.apiVersion, k.kind, k.is); err != nil {
			return nil, err
		}
	}
	return left, nil
}

// explain logs what a user would look at.
func (w *world) explain(ctx context.Context) {
	for _, args := range [][]string{
		{"get", "xda,xab,xds", "-A"},
		{"get", "objects.kubernetes.m.crossplane.io,objects.kubernetes.crossplane.io,managed", "-A"},
		{"get", "deployments,agents.kagent.dev", "-A"},
		{"describe", "xda"},
		{"describe", "xab", "-A"},
	} {
		out, err := w.Kubectl(ctx, args...)
		w.log("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
