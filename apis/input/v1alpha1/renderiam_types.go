package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RenderIAMInput configures the step "render-iam".
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=renderiaminputs,categories=crossplane
// +kubebuilder:storageversion
type RenderIAMInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Location of the agents' buckets: a region, dual-region or multi-region of
	// Google Cloud Storage. It can't be changed for a bucket that exists.
	//
	// +kubebuilder:default=EU
	Location string `json:"location,omitempty"`

	// ProviderConfig names the ProviderConfig (gcp.upbound.io) of the GCP parts.
	//
	// +kubebuilder:default=default
	ProviderConfig string `json:"providerConfig,omitempty"`

	// Grants chooses the kind of the two grants of new agents: "ProjectIAMMember"
	// (a condition in the project's policy; full near 50 agents) or
	// "BucketIAMMember" (the bucket's own policy). A living agent keeps the kind
	// it was created with.
	//
	// +kubebuilder:default=ProjectIAMMember
	Grants GrantKind `json:"grants,omitempty"`

	// DataDeletion says what becomes of the agent's bucket when the agent is
	// destroyed: "Delete" (default) leaves no data behind, "Orphan" keeps the
	// bucket and all that is in it.
	//
	// +kubebuilder:default=Delete
	DataDeletion DataDeletion `json:"dataDeletion,omitempty"`
}

// A GrantKind is the kind that opens a bucket to an agent.
//
// +kubebuilder:validation:Enum=ProjectIAMMember;BucketIAMMember
type GrantKind string

// The kinds of grants.
const (
	GrantProjectIAMMember GrantKind = "ProjectIAMMember"
	GrantBucketIAMMember  GrantKind = "BucketIAMMember"
)

// DataDeletion says what becomes of data.
//
// +kubebuilder:validation:Enum=Delete;Orphan
type DataDeletion string

// What becomes of data.
const (
	DataDelete DataDeletion = "Delete"
	DataOrphan DataDeletion = "Orphan"
)
