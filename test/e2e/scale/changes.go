package scale

import (
	"context"
	"maps"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"whisperops.io/functions/hack/controlplane/suite"
)

// changes counts what requests that could write do change: most of them say again
// what is so already.
type changes struct {
	mu sync.Mutex
	n  map[string]int // of orders and what they compose, by resource
}

// watch counts until the context ends. Several changes of one object while the API
// server is away are one.
func (c *changes) watch(ctx context.Context, client metadata.Interface) error {
	factory := metadatainformer.NewSharedInformerFactory(client, 0)
	for _, r := range suite.Lived {
		i := factory.ForResource(r).Informer()
		// All that counts is which version an object has.
		if err := i.SetTransform(func(o any) (any, error) {
			if m, is := o.(*metav1.PartialObjectMetadata); is {
				m.ManagedFields, m.Annotations = nil, nil
			}
			return o, nil
		}); err != nil {
			return err
		}
		if _, err := i.AddEventHandler(c.of(r.Resource + "." + r.Group)); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return ctx.Err()
}

// of counts the changes of one resource.
func (c *changes) of(resource string) cache.ResourceEventHandlerFuncs {
	one := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.n[resource]++
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { one() },
		UpdateFunc: func(before, after any) {
			if version(before) != version(after) { // a list read anew says all there is
				one()
			}
		},
		DeleteFunc: func(any) { one() },
	}
}

func version(o any) string {
	if m, is := o.(*metav1.PartialObjectMetadata); is {
		return m.ResourceVersion
	}
	return ""
}

func (c *changes) count() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.n)
}
