package v1alpha1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

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

	// DatasetsProjectID is the project that holds the datasets bucket: a grant of
	// kind ProjectIAMMember opens only buckets of the project in whose policy it
	// stands. Empty: the order's project. A living agent keeps the one that its
	// grant was made in.
	//
	// +optional
	DatasetsProjectID string `json:"datasetsProjectId,omitempty"`

	// DataDeletion says what becomes of the agent's bucket when the agent is
	// destroyed: "Delete" (default) leaves no data behind, "Orphan" keeps the
	// bucket and all that is in it.
	//
	// +kubebuilder:default=Delete
	DataDeletion DataDeletion `json:"dataDeletion,omitempty"`
}

// Default fills in what an absent field means.
func (in *RenderIAMInput) Default() {
	in.Location = "EU"
	in.ProviderConfig = "default"
	in.Grants = GrantProjectIAMMember
	in.DataDeletion = DataDelete
}

// Validate says what of the input can't be used, or nil.
func (in *RenderIAMInput) Validate() error {
	if in.Location == "" {
		return fmt.Errorf("location is empty: it names a region, dual-region or multi-region of Google Cloud Storage, such as EU")
	}
	if in.ProviderConfig == "" {
		return fmt.Errorf("providerConfig is empty: it names a ProviderConfig (gcp.upbound.io)")
	}
	if in.Grants != GrantProjectIAMMember && in.Grants != GrantBucketIAMMember {
		return fmt.Errorf("grants %q must be %s or %s", in.Grants, GrantProjectIAMMember, GrantBucketIAMMember)
	}
	if in.DataDeletion != DataDelete && in.DataDeletion != DataOrphan {
		return fmt.Errorf("dataDeletion %q must be %s or %s", in.DataDeletion, DataDelete, DataOrphan)
	}
	return nil
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
