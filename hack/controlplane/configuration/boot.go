package configuration

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
)

// AtHand is what every checkout has on its shelf: the packages that make up-build wrote into
// a folder, the stand-in for function-auto-ready, and provider-kubernetes.
func AtHand(checkout, packages, standIns, version string, tools controlplane.Tools) (Shelf, error) {
	h := Shelf{}
	if err := h.AddVersion(packages, version, "xpkg.crossplane.io/whisperops"); err != nil {
		return nil, err
	}
	h.AddDir("xpkg.crossplane.io/crossplane-contrib/function-auto-ready", "v0.7.0",
		filepath.Join(standIns, "autoready"), filepath.Join(checkout, "test", "standins", "autoready", "package"))
	h.AddDir(providerKubernetes, "v1.3.1", "", filepath.Join(tools["PROVIDER_KUBERNETES_FILES"], "package"))
	return h, nil
}

const providerKubernetes = "xpkg.crossplane.io/crossplane-contrib/provider-kubernetes"

// Start boots a control plane and puts a Configuration on it. On an error nothing keeps running.
func Start(ctx context.Context, o controlplane.StackOptions, c *Configuration, h Shelf) (_ *controlplane.Stack, err error) {
	if o.Programs == nil {
		o.Programs = map[string]string{}
	}
	o.Programs[strings.TrimPrefix(providerKubernetes, "xpkg.crossplane.io/")] = o.Tools["PROVIDER_KUBERNETES"]
	for _, w := range h.whole(c.Wants) {
		if host, _, found := strings.Cut(w.Package, "/"); found {
			o.Registries = append(o.Registries, host)
		}
	}
	s, err := controlplane.Start(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	for _, step := range []func(context.Context, *controlplane.Stack, Shelf) error{c.early, c.packages, c.define, c.order} {
		if err := step(ctx, s, h); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (c *Configuration) early(ctx context.Context, s *controlplane.Stack, _ Shelf) error {
	// A kind before what is of it, a namespace before what is in it.
	for _, now := range []func(kind string) bool{
		func(kind string) bool { return kind == "CustomResourceDefinition" },
		func(kind string) bool { return kind == "Namespace" },
		func(kind string) bool { return kind != "CustomResourceDefinition" && kind != "Namespace" },
	} {
		for _, o := range c.Early {
			if now(o.GetKind()) {
				if err := s.Apply(ctx, o); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// packages installs what is wanted, each under the name by which it is wanted.
func (c *Configuration) packages(ctx context.Context, s *controlplane.Stack, h Shelf) error {
	wants := h.whole(c.Wants)
	for _, w := range wants {
		it, ref, ok := h.find(w)
		if !ok {
			return fmt.Errorf("%s %s is not at hand", w.Kind, w.Name)
		}
		if err := it.push(ctx, s, ref); err != nil {
			return err
		}
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": pkgGroup + "v1", "kind": w.Kind, "metadata": map[string]any{"name": w.Name}, "spec": map[string]any{},
		}}
		for _, p := range c.Packages {
			if p.GetKind() == w.Kind && p.GetName() == w.Name {
				o = p.DeepCopy()
			}
		}
		if err := unstructured.SetNestedField(o.Object, ref, "spec", "package"); err != nil {
			return err
		}
		if err := s.Apply(ctx, o); err != nil {
			return err
		}
	}
	for _, w := range wants {
		if err := s.Healthy(ctx, 2*time.Minute, w.Kind, w.Name); err != nil {
			return fmt.Errorf("%s, which %s wants: %w", w.Name, w.By, err)
		}
	}
	return nil
}

func (c *Configuration) define(ctx context.Context, s *controlplane.Stack, _ Shelf) error {
	if err := s.Apply(ctx, c.Definitions...); err != nil {
		return err
	}
	for _, o := range c.Definitions {
		if o.GetKind() != "CompositeResourceDefinition" {
			continue
		}
		if err := s.WaitFor(ctx, time.Minute, "Established", o.GetAPIVersion(), o.GetKind(), "", o.GetName()); err != nil {
			return err
		}
	}
	return s.Apply(ctx, c.Late...)
}

func (c *Configuration) order(ctx context.Context, s *controlplane.Stack, _ Shelf) error {
	for _, o := range c.Orders {
		o = o.DeepCopy()
		delete(o.Object, "status") // is the pipeline's to write
		o.SetManagedFields(nil)
		unstructured.RemoveNestedField(o.Object, "metadata", "creationTimestamp")
		unstructured.RemoveNestedField(o.Object, "metadata", "uid")
		if err := s.Apply(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// Kinds are the names by which kubectl knows what the Configuration defines.
func (c *Configuration) Kinds() []string {
	var out []string
	for _, o := range c.Definitions {
		if o.GetKind() == "CompositeResourceDefinition" {
			out = append(out, o.GetName()) // plural.group, as the API server demands
		}
	}
	slices.Sort(out)
	return out
}
