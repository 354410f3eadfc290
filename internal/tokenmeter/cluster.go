package tokenmeter

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"whisperops.io/functions/apis/v1alpha1"
)

// cluster keeps a State and the Pods as the API server has them. While that is
// away, they stay as they were.
type cluster struct {
	state   *State
	pods    *Pods
	journal *Journal
	table   client.ObjectKey // the price table
	log     logr.Logger

	scheme *runtime.Scheme
	mapper meta.RESTMapper
	cache  cache.Cache
	dirty  chan struct{}

	mu     sync.Mutex
	synced bool
}

// priceKey is the key of the price table's ConfigMap.
const priceKey = v1alpha1.PricingKey

func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	if err := corev1.AddToScheme(s); err != nil {
		return nil, err
	}
	s.AddKnownTypes(v1alpha1.GroupVersion, &v1alpha1.XAgentBudget{}, &v1alpha1.XAgentBudgetList{})
	metav1.AddToGroupVersion(s, v1alpha1.GroupVersion)
	return s, nil
}

// newCluster returns a cluster that watches once it is started. It asks the API
// server for nothing before.
func newCluster(cfg *rest.Config, state *State, pods *Pods, j *Journal, table client.ObjectKey, log logr.Logger) (*cluster, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	// Asking which kinds there are would fail while the API server is away.
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("ConfigMap"), meta.RESTScopeNamespace)
	mapper.Add(v1alpha1.GroupVersion.WithKind("XAgentBudget"), meta.RESTScopeNamespace)
	c, err := cache.New(cfg, cache.Options{
		Scheme: scheme, Mapper: mapper,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}: {Transform: slimPod},
			&corev1.ConfigMap{}: {Namespaces: map[string]cache.Config{
				table.Namespace: {FieldSelector: fields.OneTermEqualSelector("metadata.name", table.Name)},
			}},
			&v1alpha1.XAgentBudget{}: {Transform: cache.TransformStripManagedFields()},
		},
	})
	if err != nil {
		return nil, err
	}
	return &cluster{state: state, pods: pods, journal: j, table: table, log: log, scheme: scheme, mapper: mapper, cache: c, dirty: make(chan struct{}, 1)}, nil
}

// slimPod keeps of a pod what is asked for, and of a stranger's nothing.
func slimPod(o any) (any, error) {
	p, ok := o.(*corev1.Pod)
	if !ok {
		return o, nil
	}
	slim := &corev1.Pod{}
	slim.Namespace, slim.Name, slim.UID, slim.ResourceVersion = p.Namespace, p.Name, p.UID, p.ResourceVersion
	slim.Spec.HostNetwork = p.Spec.HostNetwork
	slim.Status.Phase, slim.Status.PodIP, slim.Status.PodIPs = p.Status.Phase, p.Status.PodIP, p.Status.PodIPs
	return slim, nil
}

// addresses of a pod by which it can be known. Whoever is on the host's network
// shares the node's address with others, and who has ended has none.
func addresses(p *corev1.Pod) []string {
	if p.Spec.HostNetwork || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return nil
	}
	var all []string
	for _, ip := range p.Status.PodIPs {
		all = append(all, ip.IP)
	}
	if len(all) == 0 && p.Status.PodIP != "" {
		all = append(all, p.Status.PodIP)
	}
	return all
}

// start watches until ctx is done.
func (c *cluster) start(ctx context.Context) error {
	go func() {
		if err := c.cache.Start(ctx); err != nil && ctx.Err() == nil {
			c.log.Error(err, "The cache ended")
		}
	}()
	podEvents := func(o any, gone bool) {
		p, ok := o.(*corev1.Pod)
		if !ok || !strings.HasPrefix(p.Namespace, "agent-") {
			return
		}
		addrs := addresses(p)
		if gone {
			addrs = nil
		}
		c.pods.Set(string(p.UID), p.Namespace, addrs)
		c.wake()
	}
	tables := func(o any, gone bool) {
		cm, ok := o.(*corev1.ConfigMap)
		if !ok || gone || client.ObjectKeyFromObject(cm) != c.table {
			return // without a table, the last one goes on
		}
		if err := c.state.SetPrices(cm.Data[priceKey]); err != nil {
			c.log.Error(err, "Cannot use the price table; the last good one goes on", "configMap", c.table.String())
		}
	}
	informers := []toolscache.InformerSynced{}
	for _, w := range []struct {
		object client.Object
		event  func(o any, gone bool)
	}{
		{&corev1.Pod{}, podEvents},
		{&corev1.ConfigMap{}, tables},
		{&v1alpha1.XAgentBudget{}, func(any, bool) { c.wake() }},
	} {
		i, err := c.cache.GetInformer(ctx, w.object, cache.BlockUntilSynced(false))
		if err != nil {
			return err
		}
		reg, err := i.AddEventHandler(handler(w.event))
		if err != nil {
			return err
		}
		informers = append(informers, reg.HasSynced)
	}
	go c.follow(ctx, informers)
	return nil
}

func handler(f func(o any, gone bool)) toolscache.ResourceEventHandlerFuncs {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { f(o, false) },
		UpdateFunc: func(_, o any) { f(o, false) },
		DeleteFunc: func(o any) {
			if d, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = d.Obj
			}
			f(o, true)
		},
	}
}

func (c *cluster) wake() {
	select {
	case c.dirty <- struct{}{}:
	default:
	}
}

// follow reads the budgets whenever something changed, all of them: they are few.
// Before the first listing is complete, what the journal kept goes on.
func (c *cluster) follow(ctx context.Context, synced []toolscache.InformerSynced) {
	if !toolscache.WaitForCacheSync(ctx.Done(), synced...) {
		return
	}
	if err := c.read(ctx, true); err != nil {
		c.log.Error(err, "Cannot read the cache")
	}
	c.mu.Lock()
	c.synced = true
	c.mu.Unlock()
	c.log.Info("Read budgets, prices and pods", "budgets", len(c.state.agents()))
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.dirty:
			if err := c.read(ctx, false); err != nil {
				c.log.Error(err, "Cannot read the cache")
			}
		}
		// A burst of events is one change.
		select {
		case <-ctx.Done():
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *cluster) read(ctx context.Context, first bool) error {
	var list v1alpha1.XAgentBudgetList
	if err := c.cache.List(ctx, &list); err != nil {
		return err
	}
	budgets := make([]Budget, 0, len(list.Items))
	for i := range list.Items {
		b := budgetOf(&list.Items[i])
		// A budget of this name in another namespace is none of the agent's.
		if b.Namespace == namespaceOf(b.Agent) {
			budgets = append(budgets, b)
		}
	}
	c.state.SetBudgets(budgets)
	if first {
		var pods corev1.PodList
		if err := c.cache.List(ctx, &pods); err != nil {
			return err
		}
		alive := map[string]bool{}
		for i := range pods.Items {
			alive[string(pods.Items[i].UID)] = true
		}
		c.pods.only(alive)
	}
	c.journal.Keep(statePods, c.pods.keep())
	return nil
}

const statePods = "pods"

// ready says whether everything was read once.
func (c *cluster) ready() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.synced
}
