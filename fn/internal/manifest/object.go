package manifest

// Wrapped is a manifest for provider-kubernetes to keep in the cluster, in a
// namespaced Object (kubernetes.m.crossplane.io/v1alpha1).
type Wrapped struct {
	Name           string // of the Object; unique in the control plane, because its field manager is named after it
	Namespace      string // of the Object; must exist
	ProviderConfig string // a ClusterProviderConfig
	Manifest       Object // with its own namespace: provider-kubernetes defaults none

	// Ready is a CEL query on the variable object that says when the wrapped
	// resource is ready. Empty: as soon as it exists as written. It uses has(),
	// because the optional syntax needs provider-kubernetes v1.4.
	Ready string

	// ManagementPolicies; empty: everything ("*").
	ManagementPolicies []string

	// Annotations of the Object itself; what it wraps doesn't get them.
	Annotations map[string]string
}

// Object returns the Object that keeps w. It watches what it wraps: a hand's edit
// is undone in a moment instead of at the next poll, up to ten minutes later.
func (w Wrapped) Object() Object {
	spec := Object{
		"providerConfigRef": Object{"kind": "ClusterProviderConfig", "name": w.ProviderConfig},
		"watch":             true,
		"readiness":         w.readiness(),
		"forProvider":       Object{"manifest": w.Manifest},
	}
	if len(w.ManagementPolicies) > 0 {
		spec["managementPolicies"] = w.ManagementPolicies
	}
	meta := Object{"name": w.Name, "namespace": w.Namespace}
	if len(w.Annotations) > 0 {
		meta["annotations"] = w.Annotations
	}
	return Object{
		"apiVersion": "kubernetes.m.crossplane.io/v1alpha1",
		"kind":       "Object",
		"metadata":   meta,
		"spec":       spec,
	}
}

func (w Wrapped) readiness() any {
	if w.Ready == "" {
		return asWritten
	}
	return Object{"policy": "DeriveFromCelQuery", "celQuery": w.Ready}
}

var asWritten = Constant(Object{"policy": "SuccessfulCreate"})
