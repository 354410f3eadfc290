package validatedataset

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
)

func dataset(name, bucket string) *v1alpha1.Dataset {
	return &v1alpha1.Dataset{Name: name, GCSPath: "gs://" + bucket + "/" + name + ".csv", SizeBytes: 1990000, DisplayName: name}
}

func TestValidate(t *testing.T) {
	housing, titanic := dataset("housing", "acme-datasets"), dataset("titanic", "acme-datasets")
	moved := dataset("housing", "other-datasets")

	// What a case says of a verdict; messages are read in the stories.
	type verdict struct {
		Dataset, LastValid *v1alpha1.Dataset
		Status             metav1.ConditionStatus
		Reason             string
		Phase              v1alpha1.AgentPhase
		Waits, Stop        bool
	}
	cases := map[string]struct {
		reason string
		facts  Facts
		want   verdict
	}{
		"NewFound": {
			reason: "A dataset that is ready fills the order.",
			facts:  Facts{Ordered: "housing", Answer: Found, Dataset: *housing},
			want:   verdict{Dataset: housing, LastValid: housing, Status: "True", Reason: "DatasetFound", Phase: "Provisioning"},
		},
		"NewUnresolved": {
			reason: "Nobody has looked yet, so there is nothing to say about the dataset.",
			facts:  Facts{Ordered: "housing", Answer: Unresolved},
			want:   verdict{Status: "Unknown", Reason: "Unresolved", Phase: "Validating", Waits: true},
		},
		"NewNotFound": {
			reason: "A new order has nothing to run on; it heals when the dataset comes.",
			facts:  Facts{Ordered: "housing", Answer: NotFound},
			want:   verdict{Status: "False", Reason: "DatasetNotFound", Phase: "Failed", Waits: true},
		},
		"NewNotReady": {
			reason: "The watcher hasn't finished with the CSV.",
			facts:  Facts{Ordered: "housing", Answer: NotReady},
			want:   verdict{Status: "False", Reason: "DatasetNotReady", Phase: "Failed", Waits: true},
		},
		"NewInvalid": {
			reason: "A dataset that can't be used fills no order.",
			facts:  Facts{Ordered: "housing", Answer: Invalid, Problem: "it is empty"},
			want:   verdict{Status: "False", Reason: "DatasetInvalid", Phase: "Failed", Waits: true},
		},
		"NewNotFoundAgain": {
			reason: "An order whose parts are all gone is new, whatever its status remembers; status remembers on.",
			facts:  Facts{Ordered: "housing", Answer: NotFound, Known: []*v1alpha1.Dataset{housing}},
			want:   verdict{LastValid: housing, Status: "False", Reason: "DatasetNotFound", Phase: "Failed", Waits: true},
		},
		"NewInAnotherBucketThanRemembered": {
			reason: "Without parts there is no grant that the bucket could differ from.",
			facts:  Facts{Ordered: "housing", Answer: Found, Dataset: *moved, Known: []*v1alpha1.Dataset{housing}},
			want:   verdict{Dataset: moved, LastValid: moved, Status: "True", Reason: "DatasetFound", Phase: "Provisioning"},
		},
		"LiveUnresolved": {
			reason: "The first of two calls must not make later steps think that the dataset is gone.",
			facts:  Facts{Ordered: "housing", Answer: Unresolved, Live: true, AllReady: true, Known: []*v1alpha1.Dataset{housing}},
			want:   verdict{Dataset: housing, LastValid: housing, Status: "Unknown", Reason: "Unresolved", Phase: "Ready", Waits: true},
		},
		"LiveNotFound": {
			reason: "A living agent keeps running on the last dataset that was valid.",
			facts:  Facts{Ordered: "housing", Answer: NotFound, Live: true, AllReady: true, Known: []*v1alpha1.Dataset{housing}},
			want:   verdict{Dataset: housing, LastValid: housing, Status: "False", Reason: "DatasetNotFound", Phase: "Ready", Waits: true},
		},
		"LiveNotReady": {
			reason: "An upload in progress is no reason to touch a living agent.",
			facts:  Facts{Ordered: "titanic", Answer: NotReady, Live: true, Known: []*v1alpha1.Dataset{housing}},
			want:   verdict{Dataset: housing, LastValid: housing, Status: "False", Reason: "DatasetNotReady", Phase: "Provisioning", Waits: true},
		},
		"LiveNothingKnown": {
			reason: "Without a dataset the render steps are fatal, which loses nothing.",
			facts:  Facts{Ordered: "housing", Answer: NotFound, Live: true, AllReady: true},
			want:   verdict{Status: "False", Reason: "DatasetNotFound", Phase: "Failed", Waits: true},
		},
		"LiveSwappedWithinBucket": {
			reason: "The grants open the bucket, not the object.",
			facts:  Facts{Ordered: "titanic", Answer: Found, Dataset: *titanic, Live: true, Granted: "acme-datasets", Known: []*v1alpha1.Dataset{housing}},
			want:   verdict{Dataset: titanic, LastValid: titanic, Status: "True", Reason: "DatasetFound", Phase: "Provisioning"},
		},
		"LiveMovedByGrant": {
			reason: "The observed grant says which bucket is open, even with no status.",
			facts:  Facts{Ordered: "housing", Answer: Found, Dataset: *moved, Live: true, Granted: "acme-datasets", Known: []*v1alpha1.Dataset{nil, housing}},
			want:   verdict{Dataset: housing, LastValid: housing, Status: "False", Reason: "BucketChanged", Phase: "Provisioning"},
		},
		"LiveMovedByStatus": {
			reason: "A grant that can't be read must not open the way to another bucket.",
			facts:  Facts{Ordered: "housing", Answer: Found, Dataset: *moved, Live: true, Known: []*v1alpha1.Dataset{housing}},
			want:   verdict{Dataset: housing, LastValid: housing, Status: "False", Reason: "BucketChanged", Phase: "Provisioning"},
		},
		"LiveMovedAndNothingKnown": {
			reason: "Neither the old nor the new dataset can be rendered: only the order's owner can help.",
			facts:  Facts{Ordered: "housing", Answer: Found, Dataset: *moved, Live: true, Granted: "acme-datasets"},
			want:   verdict{Status: "False", Reason: "BucketChanged", Phase: "Failed", Stop: true},
		},
		"LiveFoundAndNothingKnown": {
			reason: "A restore without status heals as soon as the dataset is found where the grant points.",
			facts:  Facts{Ordered: "housing", Answer: Found, Dataset: *housing, Live: true, Granted: "acme-datasets"},
			want:   verdict{Dataset: housing, LastValid: housing, Status: "True", Reason: "DatasetFound", Phase: "Provisioning"},
		},
		"StatusDisagreesWithGrant": {
			reason: "A status of another life is not what the agent works on.",
			facts:  Facts{Ordered: "housing", Answer: NotFound, Live: true, Granted: "acme-datasets", Known: []*v1alpha1.Dataset{moved, housing}},
			want:   verdict{Dataset: housing, LastValid: housing, Status: "False", Reason: "DatasetNotFound", Phase: "Provisioning", Waits: true},
		},
		"StatusIsGarbage": {
			reason: "Half a dataset is none; the note on the prompts is next.",
			facts:  Facts{Ordered: "housing", Answer: NotFound, Live: true, Known: []*v1alpha1.Dataset{{Name: "housing"}, housing}},
			want:   verdict{Dataset: housing, LastValid: housing, Status: "False", Reason: "DatasetNotFound", Phase: "Provisioning", Waits: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := Validate(tc.facts)
			got := verdict{
				Dataset: v.Dataset, LastValid: v.LastValid, Status: v.Condition.Status, Reason: v.Condition.Reason,
				Phase: v.Phase, Waits: v.Waits, Stop: v.Stop,
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
			if v.Condition.Type != v1alpha1.ConditionDatasetValid || v.Condition.Message == "" {
				t.Errorf("every verdict says something: %+v", v.Condition)
			}
		})
	}
}
