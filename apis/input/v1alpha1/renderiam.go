package v1alpha1

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
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

	// Credentials is how the sandbox of a new agent reaches its two buckets: "Key"
	// (default), a key of its Google service account, or "WorkloadIdentity", without a
	// key, for organizations that forbid them: the grants are for the Kubernetes
	// service account sandbox of the agent's namespace, and the part sandbox-sa takes
	// the place of sa-key. It needs Workload Identity Federation for GKE. A living
	// agent keeps what it was created with.
	//
	// +kubebuilder:default=Key
	Credentials Credentials `json:"credentials,omitempty"`

	// WorkloadIdentityPool of the cluster, <project>.svc.id.goog. Empty: that of the
	// order's project.
	//
	// +optional
	WorkloadIdentityPool string `json:"workloadIdentityPool,omitempty"`

	// KMSKeyName encrypts new objects in the agents' buckets with a key of yours:
	// projects/P/locations/L/keyRings/R/cryptoKeys/K, with L the buckets' location (europe
	// for EU). Google Cloud Storage's service agent of the order's project must be allowed
	// to use it. Empty: Google's keys. A living agent whose bucket lies elsewhere keeps
	// what it has.
	//
	// +optional
	KMSKeyName string `json:"kmsKeyName,omitempty"`

	// BucketLabels of the agents' buckets, by Google's rules, beside whisperops-agent.
	//
	// +optional
	BucketLabels map[string]string `json:"bucketLabels,omitempty"`

	// DataDeletion says what becomes of the agent's bucket when the agent is
	// destroyed: "Delete" (default) leaves no data behind, "Orphan" keeps the
	// bucket and all that is in it.
	//
	// +kubebuilder:default=Delete
	DataDeletion DataDeletion `json:"dataDeletion,omitempty"`

	// DeletionOrder of an agent's parts in Google Cloud: "Any" (default), as
	// Kubernetes' garbage collector comes to them, or "GrantsFirst": two more parts,
	// ClusterUsages, keep the Google service account until its two grants are gone.
	// Google never removes a grant of an account that went first: it stays in the
	// policy as deleted:serviceAccount:..., and counts there. It costs a destroyed
	// agent up to a minute. With WorkloadIdentity the account has no grants, and
	// nothing is added.
	//
	// +kubebuilder:default=Any
	DeletionOrder DeletionOrder `json:"deletionOrder,omitempty"`
}

// Default fills in what an absent field means.
func (in *RenderIAMInput) Default() {
	in.Location = "EU"
	in.ProviderConfig = "default"
	in.Grants = GrantProjectIAMMember
	in.Credentials = CredentialsKey
	in.DataDeletion = DataDelete
	in.DeletionOrder = DeleteAny
}

// Validate says what of the input can't be used, or nil.
func (in *RenderIAMInput) Validate() error {
	if in.Location == "" {
		return fmt.Errorf("location is empty: it names a region, dual-region or multi-region of Google Cloud Storage, such as EU")
	}
	if !bucketLocation.MatchString(in.Location) {
		return fmt.Errorf("location %q must be letters, digits and dashes, such as EU or europe-west3: Google knows no other names", in.Location)
	}
	if err := ValidateObjectName("providerConfig", in.ProviderConfig, "it names a ProviderConfig (gcp.upbound.io)"); err != nil {
		return err
	}
	if in.DatasetsProjectID != "" && !projectName.MatchString(in.DatasetsProjectID) {
		return fmt.Errorf("datasetsProjectId %q must be a project's id or number, as gcloud projects list shows them", in.DatasetsProjectID)
	}
	if in.Grants != GrantProjectIAMMember && in.Grants != GrantBucketIAMMember {
		return fmt.Errorf("grants %q must be %s or %s", in.Grants, GrantProjectIAMMember, GrantBucketIAMMember)
	}
	if in.Credentials != CredentialsKey && in.Credentials != CredentialsWorkloadIdentity {
		return fmt.Errorf("credentials %q must be %s or %s", in.Credentials, CredentialsKey, CredentialsWorkloadIdentity)
	}
	if in.WorkloadIdentityPool != "" && !identityPool.MatchString(in.WorkloadIdentityPool) {
		return fmt.Errorf("workloadIdentityPool %q must be <project>.svc.id.goog, as gcloud container clusters describe shows it", in.WorkloadIdentityPool)
	}
	if in.KMSKeyName != "" && !kmsKey.MatchString(in.KMSKeyName) {
		return fmt.Errorf("kmsKeyName %q must be projects/<project>/locations/<location>/keyRings/<ring>/cryptoKeys/<key>, without a version", in.KMSKeyName)
	}
	if in.KMSKeyName != "" {
		if at, want := strings.Split(in.KMSKeyName, "/")[3], keysOf(in.Location); at != want {
			return fmt.Errorf("kmsKeyName %q lies in %s: Google encrypts buckets in %s with keys in %s alone", in.KMSKeyName, at, in.Location, want)
		}
	}
	if len(in.BucketLabels) > 62 {
		return fmt.Errorf("bucketLabels holds %d labels: Google allows 64, and %s and %s are two", len(in.BucketLabels), v1alpha1.GoogleLabelAgent, v1alpha1.GoogleLabelOrderUID)
	}
	for _, k := range slices.Sorted(maps.Keys(in.BucketLabels)) {
		switch v := in.BucketLabels[k]; {
		case k == v1alpha1.GoogleLabelAgent, k == v1alpha1.GoogleLabelOrderUID:
			return fmt.Errorf("bucketLabels must not hold %s: it says whose the bucket is", k)
		case !labelKey.MatchString(k):
			return fmt.Errorf("bucketLabels holds the key %q: Google allows 1 to 63 lower-case letters, digits, dashes and underscores, starting with a letter", k)
		case !labelValue.MatchString(v):
			return fmt.Errorf("bucketLabels[%s] is %q: Google allows up to 63 lower-case letters, digits, dashes and underscores", k, v)
		}
	}
	if in.DataDeletion != DataDelete && in.DataDeletion != DataOrphan {
		return fmt.Errorf("dataDeletion %q must be %s or %s", in.DataDeletion, DataDelete, DataOrphan)
	}
	if in.DeletionOrder != DeleteAny && in.DeletionOrder != DeleteGrantsFirst {
		return fmt.Errorf("deletionOrder %q must be %s or %s", in.DeletionOrder, DeleteAny, DeleteGrantsFirst)
	}
	return nil
}

// keysOf returns where Cloud KMS keeps the keys for buckets of a location: in the same
// one, which it writes in small letters, and of the European Union in europe.
func keysOf(location string) string {
	if strings.EqualFold(location, "EU") {
		return "europe"
	}
	return strings.ToLower(location)
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

// What Google allows in names.
var (
	bucketLocation = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*[A-Za-z0-9]$`)
	// A project that is older than ids has its organization's domain before it.
	projectName  = regexp.MustCompile(`^(([a-z0-9-]+\.)+[a-z]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$|^[0-9]{6,}$`)
	identityPool = regexp.MustCompile(`^[a-z][a-z0-9-]{4,28}[a-z0-9]\.svc\.id\.goog$`)
	kmsKey       = regexp.MustCompile(`^projects/[^/\s]+/locations/[a-z0-9-]+/keyRings/[A-Za-z0-9_-]+/cryptoKeys/[A-Za-z0-9_-]+$`)
	labelKey     = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	labelValue   = regexp.MustCompile(`^[a-z0-9_-]{0,63}$`)
)

// Credentials are how a sandbox reaches its data.
//
// +kubebuilder:validation:Enum=Key;WorkloadIdentity
type Credentials string

// How a sandbox reaches its data.
const (
	CredentialsKey              Credentials = "Key"
	CredentialsWorkloadIdentity Credentials = "WorkloadIdentity"
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

// DeletionOrder says what must be gone before what.
//
// +kubebuilder:validation:Enum=Any;GrantsFirst
type DeletionOrder string

// What must be gone before what.
const (
	DeleteAny         DeletionOrder = "Any"
	DeleteGrantsFirst DeletionOrder = "GrantsFirst"
)
