package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"whisperops.io/functions/apis/v1alpha1"
)

var (
	applications = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applications"}
	sets         = schema.GroupVersionResource{Group: "argoproj.io", Version: "v1alpha1", Resource: "applicationsets"}
	orders       = schema.GroupVersionResource{Group: "whisperops.io", Version: "v1alpha1", Resource: "xdatasetagents"}
	budgets      = schema.GroupVersionResource{Group: "whisperops.io", Version: "v1alpha1", Resource: "xagentbudgets"}
	namespaces   = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

// partKinds are the kinds that stand for the parts of an order outside its
// namespace. What they carry (label crossplane.io/composite) says whose they are.
var partKinds = []schema.GroupVersionResource{
	{Group: "kubernetes.crossplane.io", Version: "v1alpha2", Resource: "objects"},
	{Group: "kubernetes.m.crossplane.io", Version: "v1alpha1", Resource: "objects"},
	{Group: "storage.gcp.upbound.io", Version: "v1beta2", Resource: "buckets"},
	{Group: "storage.gcp.upbound.io", Version: "v1beta2", Resource: "bucketiammembers"},
	{Group: "cloudplatform.gcp.upbound.io", Version: "v1beta1", Resource: "serviceaccounts"},
	{Group: "cloudplatform.gcp.upbound.io", Version: "v1beta1", Resource: "serviceaccountkeys"},
	{Group: "cloudplatform.gcp.upbound.io", Version: "v1beta2", Resource: "projectiammembers"},
}

const (
	compositeLabel = "crossplane.io/composite"
	// refreshAnnotation makes Argo CD look at Git at once, past its cache.
	refreshAnnotation = "argocd.argoproj.io/refresh"
)

// A Cluster is where orders live and Argo CD works.
type Cluster struct {
	Client dynamic.Interface
	// ArgoCDNamespace holds the Applications.
	ArgoCDNamespace string
}

// ApplicationName returns the name of the Application that delivers an order.
func ApplicationName(agentName string) string { return "agent-" + agentName }

// Refresh has Argo CD read an order's repository now. It is done when Argo CD has
// taken the request, and says so of one that it doesn't take.
func (c Cluster) Refresh(ctx context.Context, agentName string) error {
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"hard"}}}`, refreshAnnotation)
	_, err := c.applications().Patch(ctx, ApplicationName(agentName), types.MergePatchType, patch, metav1.PatchOptions{})
	if kerrors.IsNotFound(err) {
		return fmt.Errorf("no Application %s in namespace %s: Argo CD does not deliver this order", ApplicationName(agentName), c.ArgoCDNamespace)
	}
	return err
}

func (c Cluster) applications() dynamic.ResourceInterface { //nolint:ireturn // client-go has nothing else
	return c.Client.Resource(applications).Namespace(c.ArgoCDNamespace)
}

// A Retirement takes an order down: silence, dismantle, erase. Each stage begins
// when the one before is seen to be done, and a stage that is done already is
// passed over, so that whatever stops in the middle is run again.
type Retirement struct {
	Cluster

	AgentName  string
	Repository Repository // nil: nothing is erased in Git
	File       string     // of the order in the repository
	Catalog    *Catalog   // nil: nothing is erased in Backstage

	// Settle is how long the Application must stay silent before the order is
	// deleted: an ApplicationSet undoes that within a second.
	Settle time.Duration
	// Poll is the time between two looks at what still stands.
	Poll time.Duration
	// Timeout is how long parts may take to go.
	Timeout time.Duration

	// Out gets a line for each step.
	Out io.Writer
}

// Run takes the order down. An error says what stopped it; nothing that comes
// later was done then.
func (r Retirement) Run(ctx context.Context) error {
	// A wrong repository is found out before anything is deleted, not after.
	if err := r.checkRepository(ctx); err != nil {
		return fmt.Errorf("nothing was done: %w", err)
	}
	if err := r.silence(ctx); err != nil {
		return fmt.Errorf("stopped in the first stage, silence; the agent lives: %w", err)
	}
	if err := r.dismantle(ctx); err != nil {
		return fmt.Errorf("stopped in the second stage, dismantle; the repository is whole: %w", err)
	}
	if err := r.erase(ctx); err != nil {
		return fmt.Errorf("stopped in the third stage, erase; nothing of the agent runs any more: %w", err)
	}
	r.sayf("done: nothing of agent %s is left", r.AgentName)
	return nil
}

func (r Retirement) sayf(format string, args ...any) { fmt.Fprintf(r.Out, format+"\n", args...) }

func (r Retirement) checkRepository(ctx context.Context) error {
	if r.Repository == nil {
		return nil
	}
	there, err := r.Repository.Exists(ctx)
	if err != nil || !there {
		return err
	}
	file, _, err := read(ctx, r.Repository, r.File)
	if err != nil {
		return err
	}
	_, err = decodeOrder(file, r.AgentName)
	return err
}

// silence takes automated sync from the Application. Otherwise Argo CD makes the
// order again a second after it was deleted.
func (r Retirement) silence(ctx context.Context) error {
	name := ApplicationName(r.AgentName)
	app, err := r.applications().Get(ctx, name, metav1.GetOptions{})
	switch {
	case kerrors.IsNotFound(err), meta.IsNoMatchError(err):
		r.sayf("silence: no Application %s in namespace %s", name, r.ArgoCDNamespace)
		return nil
	case err != nil:
		return err
	}
	if !silent(app) {
		patch := []byte(`{"spec":{"syncPolicy":{"automated":null}}}`)
		if _, err := r.applications().Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return err
		}
	}
	// It must stay so, and a sync that had begun must have ended.
	for since := time.Now(); ; {
		app, err := r.applications().Get(ctx, name, metav1.GetOptions{})
		if kerrors.IsNotFound(err) {
			break
		}
		if err != nil {
			return err
		}
		if !silent(app) {
			return fmt.Errorf("somebody put the automated sync of Application %s back: if an ApplicationSet or another Application makes it, let that ignore /spec/syncPolicy (docs/gitops.md, Destroy) and run this again", name)
		}
		running := phase(app) == "Running" || phase(app) == "Terminating"
		if !running && time.Since(since) >= r.Settle {
			break
		}
		if running && time.Since(since) >= r.Settle+r.Timeout {
			return fmt.Errorf("application %s is still syncing: end it with argocd app terminate-op %s, and run this again", name, name)
		}
		if err := r.pause(ctx); err != nil {
			return err
		}
	}
	r.sayf("silence: Argo CD no longer makes the order again")
	return nil
}

func silent(app *unstructured.Unstructured) bool {
	_, automated, _ := unstructured.NestedFieldNoCopy(app.Object, "spec", "syncPolicy", "automated")
	return !automated
}

func phase(app *unstructured.Unstructured) string {
	p, _, _ := unstructured.NestedString(app.Object, "status", "operationState", "phase")
	return p
}

// dismantle deletes the order, and waits until everything that it ordered is gone,
// in the cluster and, as the providers say by letting go, in the cloud.
func (r Retirement) dismantle(ctx context.Context) error {
	if err := r.deleteOrder(ctx); err != nil {
		return err
	}
	said := ""
	for since := time.Now(); ; {
		standing, err := r.standing(ctx)
		if err != nil {
			return err
		}
		if len(standing) == 0 {
			r.sayf("dismantle: all parts, the budget and the namespace are gone")
			return nil
		}
		if now := strings.Join(standing, ", "); now != said {
			said = now
			r.sayf("dismantle: %d still standing: %s", len(standing), now)
		}
		if time.Since(since) >= r.Timeout {
			return fmt.Errorf("after %s still standing: %s; kubectl describe says what each waits for; run this again when it is gone", r.Timeout, strings.Join(standing, ", "))
		}
		if err := r.pause(ctx); err != nil {
			return err
		}
	}
}

func (r Retirement) deleteOrder(ctx context.Context) error {
	order, err := r.Client.Resource(orders).Get(ctx, r.AgentName, metav1.GetOptions{})
	switch {
	case kerrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case order.GetDeletionTimestamp() != nil:
		return nil
	}
	uid := order.GetUID() // not one that was made in the meantime
	err = r.Client.Resource(orders).Delete(ctx, r.AgentName, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !kerrors.IsNotFound(err) {
		return err
	}
	r.sayf("dismantle: deleted XDatasetAgent %s", r.AgentName)
	return nil
}

// standing names what is left of the order, sorted.
func (r Retirement) standing(ctx context.Context) ([]string, error) {
	left := []string{}
	look := func(kind schema.GroupVersionResource, namespace, name string) error {
		o, err := r.Client.Resource(kind).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case gone(err):
			return nil
		case err != nil:
			return fmt.Errorf("cannot look at %s %s: %w", kind.Resource, name, err)
		}
		left = append(left, describe(kind, o))
		return nil
	}
	namespace := v1alpha1.AgentNamespace(r.AgentName)
	if err := look(orders, "", r.AgentName); err != nil {
		return nil, err
	}
	if err := look(budgets, namespace, r.AgentName); err != nil {
		return nil, err
	}
	for _, kind := range partKinds {
		l, err := r.Client.Resource(kind).List(ctx, metav1.ListOptions{LabelSelector: compositeLabel + "=" + r.AgentName})
		if gone(err) {
			continue // a platform without that kind has none
		}
		if err != nil {
			return nil, fmt.Errorf("cannot list %s.%s: %w", kind.Resource, kind.Group, err)
		}
		for i := range l.Items {
			left = append(left, describe(kind, &l.Items[i]))
		}
	}
	// Another team's namespace of that name is theirs: it counts as ours only while
	// an Object of the order stands for it, which is counted above, or while it goes.
	ns, err := r.Client.Resource(namespaces).Get(ctx, namespace, metav1.GetOptions{})
	switch {
	case gone(err):
	case err != nil:
		return nil, fmt.Errorf("cannot look at namespace %s: %w", namespace, err)
	case ns.GetDeletionTimestamp() != nil:
		left = append(left, describe(namespaces, ns))
	}
	slices.Sort(left)
	return left, nil
}

func gone(err error) bool {
	return kerrors.IsNotFound(err) || meta.IsNoMatchError(err)
}

func describe(kind schema.GroupVersionResource, o *unstructured.Unstructured) string {
	s := strings.TrimSuffix(kind.Resource, "s") + "/" + o.GetName()
	if o.GetDeletionTimestamp() == nil {
		return s + " (not being deleted)"
	}
	return s
}

// erase deletes what described the agent: repository, catalog entity, Application.
func (r Retirement) erase(ctx context.Context) error {
	if r.Repository != nil {
		if err := r.Repository.Delete(ctx); err != nil {
			return fmt.Errorf("cannot delete the repository: %w", err)
		}
		r.sayf("erase: the repository is gone")
	}
	if r.Catalog != nil {
		if err := r.Catalog.Remove(ctx, r.AgentName); err != nil {
			return fmt.Errorf("cannot take the agent out of the catalog: %w", err)
		}
		r.sayf("erase: the catalog no longer has it")
	}
	name := ApplicationName(r.AgentName)
	// Everything it delivered is gone; its finalizer would ask a repository that is
	// gone, too.
	_, err := r.applications().Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{})
	if err == nil {
		err = r.applications().Delete(ctx, name, metav1.DeleteOptions{})
	}
	switch {
	case gone(err):
	case err != nil:
		return fmt.Errorf("cannot delete Application %s: %w", name, err)
	default:
		r.sayf("erase: Application %s is gone", name)
	}
	return nil
}

func (r Retirement) pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return errors.New("interrupted: run it again to go on")
	case <-time.After(r.Poll):
		return nil
	}
}

// jitter grows with the attempts: 50 to 100 ms, then twice that, up to 3 s.
func jitter(attempt int) time.Duration {
	d := min(100*time.Millisecond<<attempt, 3*time.Second)
	return d/2 + rand.N(d/2) //nolint:gosec // not a secret
}
