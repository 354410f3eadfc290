package validatedataset

import (
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
)

// names are those that an order needs from the start. They are asked for before the
// first part is made: an order of which one is somebody else's makes nothing at all.
// The rest lies in the agent's namespace, for which the namespace stands, or has no kind
// before a platform chose one (the grants); the step that makes it asks for it.
func names(agent, objects, dashboards string) []edge.Name {
	part := func(p string) string { return v1alpha1.PartName(agent, p) }
	all := []edge.Name{
		{Part: v1alpha1.PartNamespace, APIVersion: "v1", Kind: "Namespace", Name: v1alpha1.AgentNamespace(agent)},
		{Part: v1alpha1.PartNamespace, APIVersion: "kubernetes.crossplane.io/v1alpha2", Kind: "Object", Name: part(v1alpha1.PartNamespace)},
		{Part: v1alpha1.PartBucket, APIVersion: "storage.gcp.upbound.io/v1beta2", Kind: "Bucket", Name: part(v1alpha1.PartBucket)},
		{Part: v1alpha1.PartServiceAccount, APIVersion: "cloudplatform.gcp.upbound.io/v1beta1", Kind: "ServiceAccount", Name: part(v1alpha1.PartServiceAccount)},
		{Part: v1alpha1.PartServiceAccountKey, APIVersion: "cloudplatform.gcp.upbound.io/v1beta1", Kind: "ServiceAccountKey", Name: part(v1alpha1.PartServiceAccountKey)},
		{Part: v1alpha1.PartDashboard, APIVersion: "v1", Kind: "ConfigMap", Namespace: dashboards, Name: part(v1alpha1.PartDashboard)},
	}
	for _, p := range v1alpha1.AgentParts() {
		switch p {
		case v1alpha1.PartNamespace, v1alpha1.PartXAgentBudget, v1alpha1.PartBucket, v1alpha1.PartServiceAccount,
			v1alpha1.PartServiceAccountKey, v1alpha1.PartIAMDatasetsViewer, v1alpha1.PartIAMBucketAdmin:
			continue
		}
		all = append(all, edge.Name{Part: p, APIVersion: "kubernetes.m.crossplane.io/v1alpha1", Kind: "Object", Namespace: objects, Name: part(p)})
	}
	return all
}
