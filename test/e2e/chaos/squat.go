package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// Squatters have names that orders need, before there is an order and all along: whatever
// breaks meanwhile, and whichever answer is lost, nothing of theirs is touched.
type Squatters struct {
	Orders []string // that need the names
	Things []*unstructured.Unstructured
}

// Squat draws squatters for so many agents.
func Squat(seed uint64, agents int) Squatters {
	rng := rand.New(rand.NewPCG(seed, 15))
	s := Squatters{}
	add := func(apiVersion, kind, namespace, name string, rest map[string]any) {
		o := &unstructured.Unstructured{Object: rest}
		if rest == nil {
			o.Object = map[string]any{}
		}
		o.SetAPIVersion(apiVersion)
		o.SetKind(kind)
		o.SetNamespace(namespace)
		o.SetName(name)
		s.Things = append(s.Things, o)
	}
	for i := range agents {
		agent := fmt.Sprintf("squat-%02d", i)
		ns := "agent-" + agent
		s.Orders = append(s.Orders, agent)
		home := rng.IntN(2) == 0
		if home {
			labels := map[string]any{"team": "acme"}
			if rng.IntN(2) == 0 {
				labels["whisperops.io/agent"] = agent // which anybody can write
			}
			add("v1", "Namespace", "", ns, map[string]any{"metadata": map[string]any{"labels": labels}})
			for _, name := range []string{"agent-prompts", "notes"} {
				add("v1", "ConfigMap", ns, name, map[string]any{"data": map[string]any{"theirs": strconv.FormatUint(rng.Uint64(), 10)}})
			}
			add("v1", "Secret", ns, "gcp-credentials", map[string]any{"stringData": map[string]any{"private_key": "theirs"}})
			add("v1", "ServiceAccount", ns, "chat-frontend", nil)
		}
		if !home || rng.IntN(2) == 0 {
			add("v1", "ConfigMap", "monitoring", ns+"-dashboard", map[string]any{"data": map[string]any{"theirs.json": strconv.FormatUint(rng.Uint64(), 10)}})
		}
	}
	return s
}

// settled is all that somebody wrote of an object, and who.
func settled(o *unstructured.Unstructured) map[string]any {
	o = o.DeepCopy()
	o.SetManagedFields(slices.DeleteFunc(o.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool { return f.Subresource == "status" }))
	o.SetResourceVersion("")
	delete(o.Object, "status")
	return o.Object
}

// squat makes squatters, and orders that need their names. What it returns looks at all of
// it when everything else is calm, lets the orders go, and looks again.
func (w *world) squat(ctx context.Context, s Squatters) (end func(context.Context) error, err error) { //nolint:gocognit // three small looks that share what they look at
	if err := w.Apply(ctx, s.Things...); err != nil {
		return nil, err
	}
	look := func(ctx context.Context) (map[string]map[string]any, error) {
		all := map[string]map[string]any{}
		for _, o := range s.Things {
			now, err := w.Get(ctx, o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName())
			if err != nil {
				return nil, err
			}
			all[o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName()] = settled(now)
		}
		return all, nil
	}
	before, err := look(ctx)
	if err != nil {
		return nil, err
	}
	for _, agent := range s.Orders {
		if err := w.ApplyWithStatus(ctx, suite.NewOrder(agent, Datasets[0], 5)); err != nil {
			return nil, err
		}
	}
	same := func(ctx context.Context, when string) error {
		return controlplane.Eventually(ctx, patience, "squatters to be looked at", func(ctx context.Context) error {
			after, err := look(ctx)
			if apierrors.IsNotFound(err) {
				return controlplane.Never(fmt.Errorf("%s a squatter's thing is gone: %w", when, err))
			}
			if err != nil {
				return err
			}
			for name, was := range before {
				if !reflect.DeepEqual(was, after[name]) {
					return controlplane.Never(fmt.Errorf("%s a squatter's %s is not as it was:\n%v\n%v", when, name, was, after[name]))
				}
			}
			return nil
		})
	}
	return func(ctx context.Context) error {
		errs := []error{same(ctx, "after all that broke")}
		for _, agent := range s.Orders {
			errs = append(errs, controlplane.Eventually(ctx, settles, agent+" to be refused", func(ctx context.Context) error {
				o, err := w.Get(ctx, suite.API, "XDatasetAgent", "", agent)
				if err != nil {
					return err
				}
				if status, reason, says := controlplane.Condition(o, "NamesFree"); status != "False" || reason != "NameTaken" {
					return fmt.Errorf("NamesFree is %s, %s (%s)", status, reason, says)
				}
				if refs, _, _ := unstructured.NestedSlice(o.Object, "spec", "crossplane", "resourceRefs"); len(refs) > 0 {
					return controlplane.Never(fmt.Errorf("it made %v", refs))
				}
				return nil
			}), w.remove(ctx, suite.API, "XDatasetAgent", "", agent))
		}
		// What would go with an order goes within seconds.
		select {
		case <-ctx.Done():
		case <-time.After(15 * time.Second):
		}
		return errors.Join(append(errs, same(ctx, "after the orders went"))...)
	}, nil
}
