package main

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The flavours of provider-kubernetes' Object.
const (
	groupObjectCluster    = "kubernetes.crossplane.io"
	groupObjectNamespaced = "kubernetes.m.crossplane.io"
)

// maxObjectName is what is left of a field manager's 128 characters beside
// "provider-kubernetes/".
const maxObjectName = 108

// A checker checks what is rendered and notes what it finds.
type checker struct {
	kinds    kinds
	provider *providerRole
	report   *report
	all      bool // a kind without a CRD is a failure

	foreign map[schema.GroupKind]bool // somebody else's kinds, of which examples/ has stories
}

// withoutModule are the groups whose CRDs travel in no Go module. Nobody has them on
// the first day, so their kinds may be named as not checked.
var withoutModule = []string{"kagent.dev", "storage.gcp.upbound.io", "cloudplatform.gcp.upbound.io"}

// place says where an object was found, for people.
type place struct {
	file string // path below the checkout
	part string // composed resource name, or what else the object is in its file
}

// composed checks a composed resource as Crossplane applies it. xr is the
// namespace of the composite resource, or empty for one without.
func (c *checker) composed(p place, in map[string]any, xrNamespace string) {
	o := runtime.DeepCopyJSON(in)
	u := &unstructured.Unstructured{Object: o}
	if _, ok := o["status"]; ok {
		c.report.fail(p, u, "status: a function says what should be, not what is")
	}
	if u.GetName() == "" {
		c.report.fail(p, u, "metadata.name: missing; Crossplane would make a name up that changes when the order is made anew")
	}
	if xrNamespace != "" {
		// A namespaced composite may compose into its own namespace only, and
		// Crossplane writes that namespace itself.
		if u.GetNamespace() == "" {
			u.SetNamespace(xrNamespace)
		}
		if u.GetNamespace() != xrNamespace {
			c.report.fail(p, u, fmt.Sprintf("metadata.namespace: Crossplane silently replaces %q with the XR's own namespace %q", u.GetNamespace(), xrNamespace))
		}
	}
	c.object(p, o, false)

	if g := u.GroupVersionKind().Group; u.GetKind() == "Object" && (g == groupObjectCluster || g == groupObjectNamespaced) {
		c.wrapped(p, u)
	}
}

// object checks one object against its kind. sparse objects hold only the
// fields that somebody wants to own.
func (c *checker) object(p place, o map[string]any, sparse bool) {
	u := &unstructured.Unstructured{Object: o}
	gvk := u.GroupVersionKind()
	if !c.all && slices.Contains(withoutModule, gvk.Group) && !c.kinds.has(gvk.GroupKind()) {
		c.report.unchecked[gvk]++
		return
	}
	c.report.checked(p, gvk, sparse)

	var errs field.ErrorList
	if k, ok := coreKinds[gvk]; ok {
		errs = k.check(o, sparse)
	} else {
		k, err := c.kinds.find(gvk)
		if err != nil {
			c.report.fail(p, u, err.Error())
			return
		}
		errs = k.check(o, nil)
	}
	for _, e := range errs {
		c.report.fail(p, u, e.Error())
	}
}

// wrapped checks what an Object wraps, and whether and when the Object can
// become ready.
func (c *checker) wrapped(p place, object *unstructured.Unstructured) {
	if n := len(object.GetName()); n > maxObjectName {
		c.report.fail(p, object, fmt.Sprintf("metadata.name: %d characters; the field manager provider-kubernetes/<name> leaves %d", n, maxObjectName))
	}
	m, ok, err := unstructured.NestedMap(object.Object, "spec", "forProvider", "manifest")
	if err != nil || !ok {
		c.report.fail(p, object, "spec.forProvider.manifest: missing")
		return
	}
	manifest := &unstructured.Unstructured{Object: m}
	p.part += " > manifest"
	if _, ok := m["status"]; ok {
		c.report.fail(p, manifest, "status: a manifest says what should be, not what is")
	}
	if manifest.GetName() == "" {
		manifest.SetName(object.GetName()) // as the provider does
	}

	policies, _, err := unstructured.NestedStringSlice(object.Object, "spec", "managementPolicies")
	if err != nil {
		c.report.fail(p, object, "spec.managementPolicies: "+err.Error())
	}
	creates := len(policies) == 0 || slices.Contains(policies, "*") || slices.Contains(policies, "Create")
	c.object(p, runtime.DeepCopyJSON(m), !creates)

	if missing := c.provider.missing(manifest.GroupVersionKind(), policies); len(missing) > 0 {
		c.report.fail(p, manifest, fmt.Sprintf("%s does not let provider-kubernetes %s it", c.provider.file, strings.Join(missing, ", ")))
	}
	if err := checkReadiness(object, manifest); err != nil {
		c.report.fail(p, object, "spec.readiness: "+err.Error())
	}
	c.report.judged(manifest.GroupVersionKind(), object)
}
