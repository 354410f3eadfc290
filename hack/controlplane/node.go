package controlplane

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	appslisters "k8s.io/client-go/listers/apps/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
)

// NodeOptions say which pods run as plain processes, and how.
type NodeOptions struct {
	// Runs says whether the pods of a namespace run. The Deployments of others are
	// somebody else's.
	Runs func(namespace string) bool
	// Programs run in place of images, by repository, for example
	// "ghcr.io/whisperops/sandbox". A container of another image is a failure.
	Programs map[string]string
	// Env is more environment for a program, by the same repository: what the
	// machine has in place of a cloud.
	Env map[string][]string
	// Targets is a file that lists what can be scraped, for Prometheus' file_sd: the
	// container ports called metrics.
	Targets string
}

// NodeName is the one node on which everything runs.
const NodeName = "this-machine"

// A Node plays what a cluster has between a Deployment and its processes:
// controllers, scheduler, kubelet and kube-proxy. Each pod is a process of the
// present user with a loopback address of its own; Secrets and ConfigMaps are files in
// its folder, and what its environment says of their paths is changed to that. A
// Service's address leads to its ready pods, and they see the address of the pod that
// calls. NetworkPolicies hold for what goes through a Service. File systems and
// limits of memory are not played.
type Node struct {
	s *Stack
	o NodeOptions

	deployments appslisters.DeploymentLister
	services    corelisters.ServiceLister
	apiPods     corelisters.PodLister
	namespaces  corelisters.NamespaceLister
	policies    networkinglisters.NetworkPolicyLister

	cancel context.CancelFunc
	done   sync.WaitGroup
	wake   chan struct{}

	mu      sync.Mutex
	pods    map[string]*pod // by namespace/name
	proxies map[string]*proxy
	last    int // address given out
	targets string
	hosts   string
}

// A pod is a process, or will be one.
type pod struct {
	namespace, name, deployment, hash string
	uid                               types.UID
	labels                            map[string]string
	spec                              corev1.PodSpec
	ip, dir                           string
	process                           *Process // nil until its volumes are there
	ready                             bool
	problem                           string
	cancel                            context.CancelFunc
	gone                              bool
	stale                             string // why its files were last left as they are
}

// StartNode runs pods until the stack stops.
func (s *Stack) StartNode(ctx context.Context, o NodeOptions) (*Node, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n := &Node{s: s, o: o, cancel: cancel, wake: make(chan struct{}, 1), pods: map[string]*pod{}, proxies: map[string]*proxy{}}
	if err := n.register(ctx); err != nil {
		cancel()
		return nil, err
	}
	f := informers.NewSharedInformerFactory(s.Kubernetes, 0)
	n.deployments, n.services = f.Apps().V1().Deployments().Lister(), f.Core().V1().Services().Lister()
	n.apiPods, n.namespaces = f.Core().V1().Pods().Lister(), f.Core().V1().Namespaces().Lister()
	n.policies = f.Networking().V1().NetworkPolicies().Lister()
	for _, inf := range []cache.SharedIndexInformer{
		f.Apps().V1().Deployments().Informer(), f.Core().V1().Services().Informer(), f.Core().V1().Pods().Informer(),
		f.Core().V1().Namespaces().Informer(), f.Networking().V1().NetworkPolicies().Informer(),
	} {
		if _, err := inf.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { n.poke() }, UpdateFunc: func(any, any) { n.poke() }, DeleteFunc: func(any) { n.poke() },
		}); err != nil {
			cancel()
			return nil, err
		}
	}
	f.Start(ctx.Done())
	f.WaitForCacheSync(ctx.Done())
	n.done.Go(func() {
		for {
			n.look(ctx)
			select {
			case <-ctx.Done():
				return
			case <-n.wake:
			case <-time.After(time.Second):
			}
		}
	})
	s.node = n
	return n, nil
}

func (n *Node) poke() {
	select {
	case n.wake <- struct{}{}:
	default: // it will look at everything anyhow
	}
}

func (n *Node) stop() {
	n.cancel()
	n.done.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.proxies {
		p.close()
	}
}

// Pod returns the process of a ready pod of a Deployment, or nil.
func (n *Node) Pod(namespace, deployment string) *Process {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(n.pods)) {
		if p := n.pods[k]; p.namespace == namespace && p.deployment == deployment && p.ready {
			return p.process
		}
	}
	return nil
}

// Addresses are those of all pods of a Deployment, ready or not, sorted.
func (n *Node) Addresses(namespace, deployment string) []string {
	var ips []string
	for _, p := range n.all() {
		if p.namespace == namespace && p.deployment == deployment {
			ips = append(ips, p.ip)
		}
	}
	slices.Sort(ips)
	return ips
}

// look brings Deployments, processes and Services together.
func (n *Node) look(ctx context.Context) {
	all, err := n.deployments.List(labels.Everything())
	if err != nil {
		return // a list from memory has no errors
	}
	wanted := map[string]bool{}
	for _, d := range all {
		if !n.o.Runs(d.Namespace) || d.DeletionTimestamp != nil || n.ending(d.Namespace) {
			continue
		}
		wanted[d.Namespace+"/"+d.Name] = true
		if err := n.deployment(ctx, d); err != nil && ctx.Err() == nil {
			n.s.log("deployment %s/%s: %v", d.Namespace, d.Name, err)
		}
	}
	for _, p := range n.all() {
		if !wanted[p.namespace+"/"+p.deployment] {
			n.end(ctx, p)
		}
	}
	n.serve()
	n.scrape()
}

func (n *Node) ending(namespace string) bool {
	ns, err := n.namespaces.Get(namespace)
	return err != nil || ns.DeletionTimestamp != nil
}

func (n *Node) all() []*pod {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []*pod
	for _, k := range slices.Sorted(maps.Keys(n.pods)) {
		out = append(out, n.pods[k])
	}
	return out
}

// deployment starts and ends the pods of a Deployment, new ones before old ones
// end, and says so in its status.
func (n *Node) deployment(ctx context.Context, d *appsv1.Deployment) error {
	want := 1
	if d.Spec.Replicas != nil {
		want = int(*d.Spec.Replicas)
	}
	hash := hashOf(d.Spec.Template)
	var fresh, stale []*pod
	freshReady := 0
	for _, p := range n.all() {
		if p.namespace != d.Namespace || p.deployment != d.Name {
			continue
		}
		if o, err := n.apiPods.Pods(p.namespace).Get(p.name); err == nil && o.UID == p.uid && o.DeletionTimestamp != nil {
			n.end(ctx, p) // somebody deleted it
			continue
		} else if err == nil && o.UID != p.uid || apierrors.IsNotFound(err) && n.vanished(ctx, p) {
			n.end(ctx, p)
			continue
		}
		if p.hash == hash {
			fresh = append(fresh, p)
			if p.ready {
				freshReady++
			}
		} else {
			stale = append(stale, p)
		}
	}
	for len(fresh) > want {
		last := fresh[len(fresh)-1]
		fresh = fresh[:len(fresh)-1]
		n.end(ctx, last)
	}
	if freshReady >= want {
		for _, p := range stale {
			n.end(ctx, p)
		}
	}
	for range want - len(fresh) {
		if err := n.begin(ctx, d, hash); err != nil {
			return err
		}
	}
	ready := 0 // of those that are left: the server refuses more ready pods than there are
	for _, p := range n.all() {
		if p.namespace == d.Namespace && p.deployment == d.Name && p.ready {
			ready++
		}
	}
	return n.status(ctx, d, want, ready, len(fresh))
}

// vanished asks the server whether a pod that the cache lacks is really gone: a
// pod that was just made may be younger than the cache.
func (n *Node) vanished(ctx context.Context, p *pod) bool {
	_, err := n.s.Kubernetes.CoreV1().Pods(p.namespace).Get(ctx, p.name, metav1.GetOptions{})
	return apierrors.IsNotFound(err)
}

func hashOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // an object of Kubernetes
	}
	h := fnv.New32a()
	_, _ = h.Write(b) // never fails
	return fmt.Sprintf("%08x", h.Sum32())
}

func (n *Node) status(ctx context.Context, d *appsv1.Deployment, want, ready, updated int) error {
	available := corev1.ConditionTrue
	reason, message := "MinimumReplicasAvailable", "Deployment has minimum availability."
	if ready < want-want/4 { // maxUnavailable 25 %, rounded down
		available, reason, message = corev1.ConditionFalse, "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
	}
	st := d.Status.DeepCopy()
	st.ObservedGeneration = d.Generation
	st.Replicas, st.ReadyReplicas, st.AvailableReplicas, st.UpdatedReplicas = int32(max(want, ready)), int32(ready), int32(ready), int32(updated)
	if want == 0 {
		st.Replicas, st.UpdatedReplicas = 0, 0
	}
	st.UnavailableReplicas = int32(max(0, want-ready))
	i := slices.IndexFunc(st.Conditions, func(c appsv1.DeploymentCondition) bool { return c.Type == appsv1.DeploymentAvailable })
	if i < 0 {
		st.Conditions = append(st.Conditions, appsv1.DeploymentCondition{Type: appsv1.DeploymentAvailable})
		i = len(st.Conditions) - 1
	}
	if c := &st.Conditions[i]; c.Status != available {
		*c = appsv1.DeploymentCondition{Type: appsv1.DeploymentAvailable, Status: available, Reason: reason, Message: message, LastTransitionTime: metav1.Now(), LastUpdateTime: metav1.Now()}
	}
	if hashOf(st) == hashOf(&d.Status) {
		return nil
	}
	next := d.DeepCopy()
	next.Status = *st
	_, err := n.s.Kubernetes.AppsV1().Deployments(d.Namespace).UpdateStatus(ctx, next, metav1.UpdateOptions{})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		n.poke()
		return nil // it is looked at again
	}
	return err
}

// begin makes a pod and lets it come up by itself.
func (n *Node) begin(ctx context.Context, d *appsv1.Deployment, hash string) error {
	n.mu.Lock()
	n.last++
	number := n.last
	n.mu.Unlock()
	tpl := d.Spec.Template
	p := &pod{
		namespace: d.Namespace, deployment: d.Name, hash: hash, labels: tpl.Labels, name: fmt.Sprintf("%s-%s-%d", d.Name, hash, number),
		ip: fmt.Sprintf("127.88.%d.%d", number/250, number%250+1),
	}
	p.dir = filepath.Join(n.s.Dir, "pods", p.namespace, p.name)
	yes := true
	o := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: p.name, Namespace: p.namespace, Labels: tpl.Labels, Annotations: tpl.Annotations,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: d.Name, UID: d.UID, Controller: &yes}},
		},
		Spec: tpl.Spec,
	}
	o.Spec.NodeName = NodeName
	made, err := n.s.Kubernetes.CoreV1().Pods(p.namespace).Create(ctx, o, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("cannot make pod: %w", err)
	}
	p.uid, p.spec = made.UID, made.Spec
	ctx, p.cancel = context.WithCancel(ctx)
	n.mu.Lock()
	n.pods[p.namespace+"/"+p.name] = p
	n.mu.Unlock()
	n.done.Go(func() { n.live(ctx, p) })
	return nil
}

// live starts a pod's process as soon as all that it needs is there, and watches
// over it.
func (n *Node) live(ctx context.Context, p *pod) {
	report := func(ready bool, problem string) {
		n.mu.Lock()
		changed := p.ready != ready || p.problem != problem
		p.ready, p.problem = ready && !p.gone, problem
		n.mu.Unlock()
		if !changed {
			return
		}
		if problem != "" {
			n.s.log("pod %s/%s: %s", p.namespace, p.name, problem)
		}
		if err := n.podStatus(ctx, p, ready, problem); err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) {
			n.s.log("pod %s/%s: cannot write its status: %v", p.namespace, p.name, err)
		}
		n.poke()
	}
	pause := func(d time.Duration) bool {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(d):
			return true
		}
	}
	for err := n.start(ctx, p); err != nil; err = n.start(ctx, p) {
		if ctx.Err() != nil {
			return
		}
		report(false, err.Error())
		if !pause(time.Second) {
			return
		}
	}
	if err := n.podStatus(ctx, p, false, ""); err != nil && ctx.Err() == nil {
		n.s.log("pod %s/%s: cannot write its status: %v", p.namespace, p.name, err)
	}
	check := probe(p)
	failures, refreshed := 0, time.Now()
	every := func() time.Duration {
		n.mu.Lock()
		defer n.mu.Unlock()
		if p.ready {
			return time.Second
		}
		return 200 * time.Millisecond
	}
	for pause(every()) {
		if time.Since(refreshed) >= refreshEvery {
			n.refresh(ctx, p)
			refreshed = time.Now()
		}
		switch err := check(ctx); {
		case err == nil && p.process.Alive():
			failures = 0
			report(true, "")
		case !p.process.Alive():
			report(false, "")
		default:
			if failures++; failures >= 3 {
				report(false, "")
			}
		}
	}
}

// start starts a pod's process once. An error is what it waits for.
func (n *Node) start(ctx context.Context, p *pod) error {
	c, err := n.command(ctx, p)
	if err != nil {
		return err
	}
	proc, err := n.s.Run(ctx, c)
	if err != nil {
		return Never(err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	p.process = proc
	return nil
}

// end stops a pod's process, as a kubelet does, and removes the pod.
func (n *Node) end(ctx context.Context, p *pod) {
	n.mu.Lock()
	if p.gone {
		n.mu.Unlock()
		return
	}
	p.gone, p.ready = true, false
	proc := p.process
	delete(n.pods, p.namespace+"/"+p.name)
	n.mu.Unlock()
	p.cancel()
	n.serve() // nothing new is sent there
	n.done.Go(func() {
		if proc != nil {
			proc.Stop()
		}
		now := int64(0)
		if err := n.s.Kubernetes.CoreV1().Pods(p.namespace).Delete(context.WithoutCancel(ctx), p.name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
			n.s.log("pod %s/%s: cannot remove it: %v", p.namespace, p.name, err)
		}
		_ = os.RemoveAll(filepath.Join(p.dir, "volumes")) // Secrets among them; logs stay
		n.poke()
	})
}

// podStatus writes what a kubelet knows of a pod.
func (n *Node) podStatus(ctx context.Context, p *pod, ready bool, problem string) error {
	phase, state := corev1.PodRunning, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}}
	if p.process == nil {
		phase, state = corev1.PodPending, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CreateContainerConfigError", Message: problem}}
	}
	truth := map[bool]corev1.ConditionStatus{true: corev1.ConditionTrue, false: corev1.ConditionFalse}[ready]
	var containers []corev1.ContainerStatus
	for _, c := range p.spec.Containers {
		containers = append(containers, corev1.ContainerStatus{Name: c.Name, Image: c.Image, Ready: ready, Started: &ready, State: state})
	}
	now := metav1.Now()
	status, err := json.Marshal(map[string]any{"status": corev1.PodStatus{
		Phase: phase, HostIP: "127.0.0.1", PodIP: p.ip, PodIPs: []corev1.PodIP{{IP: p.ip}}, StartTime: &now, ContainerStatuses: containers,
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.PodInitialized, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: corev1.ContainersReady, Status: truth, LastTransitionTime: now}, {Type: corev1.PodReady, Status: truth, LastTransitionTime: now},
		},
	}})
	if err != nil {
		return err
	}
	_, err = n.s.Kubernetes.CoreV1().Pods(p.namespace).Patch(ctx, p.name, types.MergePatchType, status, metav1.PatchOptions{}, "status")
	return err
}

// scrape lists the ports called metrics of running pods.
func (n *Node) scrape() {
	list := []scrapeTarget{}
	for _, p := range n.all() {
		if p.process != nil {
			list = append(list, scrapeTargets(p.ip, p.namespace, p.name, p.spec)...)
		}
	}
	n.targets = writeTargets(n.o.Targets, list, n.targets)
}
