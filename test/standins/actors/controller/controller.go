// Package controller is the little that the stand-ins for other people's
// controllers share: watch some kinds, and look at what changed, some objects at a
// time, again after an error.
package controller

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
)

// A Key names an object.
type Key struct {
	Resource        schema.GroupVersionResource
	Namespace, Name string
}

// A Watch turns changes of a kind's objects into objects to look at.
type Watch struct {
	Resource schema.GroupVersionResource
	// Keys returns what to look at when an object changed. The old object is nil
	// for a new one; the new one is nil for one that is gone. Nil means the object itself.
	Keys func(c *Controller, before, after *unstructured.Unstructured) []Key
}

// A Controller looks at objects.
type Controller struct {
	Client dynamic.Interface
	caches map[schema.GroupVersionResource]cache.GenericLister
	queue  workqueue.TypedRateLimitingInterface[Key]
}

// Main runs a controller until the process is told to end. The kubeconfig comes
// from the environment variable KUBECONFIG.
func Main(name string, watches []Watch, look func(context.Context, *Controller, Key) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, watches, look)
	stop()
	if err != nil {
		log.Fatalf("%s: %v", name, err)
	}
}

func run(ctx context.Context, watches []Watch, look func(context.Context, *Controller, Key) error) error {
	cfg, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return fmt.Errorf("cannot read kubeconfig: %w", err)
	}
	cfg.QPS = -1
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return err
	}
	c := &Controller{Client: client, caches: map[schema.GroupVersionResource]cache.GenericLister{},
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[Key](200*time.Millisecond, 30*time.Second))}
	factory := dynamicinformer.NewDynamicSharedInformerFactory(client, 0)
	for _, w := range watches {
		inf := factory.ForResource(w.Resource)
		keys := w.Keys
		if keys == nil {
			keys = Itself(w.Resource)
		}
		add := func(before, after any) {
			for _, k := range keys(c, object(before), object(after)) {
				c.queue.Add(k)
			}
		}
		if _, err := inf.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { add(nil, o) },
			UpdateFunc: add,
			DeleteFunc: func(o any) { add(o, nil) },
		}); err != nil {
			return err
		}
		c.caches[w.Resource] = inf.Lister()
	}
	factory.Start(ctx.Done())
	go func() { <-ctx.Done(); c.queue.ShutDown() }()
	var all sync.WaitGroup
	for range workers {
		all.Go(func() { c.work(ctx, look) })
	}
	all.Wait()
	return nil
}

// workers look at objects at the same time, each at another one. A cluster has a
// kubelet on each of its nodes, and none of them waits for the others.
const workers = 8

// work looks at one object after the other until the queue ends.
func (c *Controller) work(ctx context.Context, look func(context.Context, *Controller, Key) error) {
	for {
		k, down := c.queue.Get()
		if down {
			return
		}
		if err := look(ctx, c, k); err != nil {
			log.Printf("%s %s/%s: %v", k.Resource.Resource, k.Namespace, k.Name, err)
			c.queue.AddRateLimited(k)
		} else {
			c.queue.Forget(k)
		}
		c.queue.Done(k)
	}
}

// Itself looks at the object that changed, unless it is gone.
func Itself(r schema.GroupVersionResource) func(*Controller, *unstructured.Unstructured, *unstructured.Unstructured) []Key {
	return func(_ *Controller, _, after *unstructured.Unstructured) []Key {
		if after == nil {
			return nil
		}
		return []Key{{Resource: r, Namespace: after.GetNamespace(), Name: after.GetName()}}
	}
}

func object(o any) *unstructured.Unstructured {
	if d, gone := o.(cache.DeletedFinalStateUnknown); gone {
		o = d.Obj
	}
	u, isObject := o.(*unstructured.Unstructured)
	if !isObject {
		return nil
	}
	return u
}

// Get reads an object from the server.
func (c *Controller) Get(ctx context.Context, k Key) (*unstructured.Unstructured, error) {
	return c.At(k).Get(ctx, k.Name, metav1.GetOptions{})
}

// Cached lists what is known of a watched kind in a namespace.
func (c *Controller) Cached(r schema.GroupVersionResource, namespace string) []*unstructured.Unstructured {
	var out []*unstructured.Unstructured
	for _, o := range listed(c.caches[r]) {
		if m, err := meta.Accessor(o); err == nil && m.GetNamespace() == namespace {
			out = append(out, o)
		}
	}
	return out
}

// At is the client for an object's kind and namespace.
func (c *Controller) At(k Key) dynamic.ResourceInterface {
	if k.Namespace == "" {
		return c.Client.Resource(k.Resource)
	}
	return c.Client.Resource(k.Resource).Namespace(k.Namespace)
}

// SetCondition sets a condition of an object in memory. A condition that says the
// same as before keeps its time, so that nothing is written when nothing changed.
func SetCondition(o *unstructured.Unstructured, kind, status, reason, message string) {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	next := map[string]any{"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}
	for i, c := range list {
		if m, isMap := c.(map[string]any); isMap && m["type"] == kind {
			if m["status"] == status {
				next["lastTransitionTime"] = m["lastTransitionTime"]
			}
			list[i] = next
			next = nil
			break
		}
	}
	if next != nil {
		list = append(list, next)
	}
	Set(o, list, "status", "conditions")
}

// Set sets a field of an object in memory.
func Set(o *unstructured.Unstructured, v any, fields ...string) {
	if err := unstructured.SetNestedField(o.Object, v, fields...); err != nil {
		panic(err) // a field in the way is no mapping: the schema is not the one this stand-in plays
	}
}

// Text reads a string field; an empty string if there is none.
func Text(o *unstructured.Unstructured, fields ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, fields...)
	return s
}

func listed(l cache.GenericLister) []*unstructured.Unstructured {
	if l == nil {
		return nil
	}
	objs, err := l.List(labels.Everything())
	if err != nil {
		return nil // a list from memory has no errors
	}
	var out []*unstructured.Unstructured
	for _, o := range objs {
		out = append(out, object(o))
	}
	return out
}
