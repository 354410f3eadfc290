package v1alpha1

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ValidateDatasetInput configures the step "validate-dataset".
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=validatedatasetinputs,categories=crossplane
// +kubebuilder:storageversion
type ValidateDatasetInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// RetryAfter is how soon an order whose dataset is missing or not ready is
	// looked at again, beside the watch on the dataset. At least 1s.
	//
	// +kubebuilder:default="60s"
	RetryAfter *metav1.Duration `json:"retryAfter,omitempty"`
}

// Default fills in what an absent field means.
func (in *ValidateDatasetInput) Default() {
	in.RetryAfter = &metav1.Duration{Duration: time.Minute}
}

// Validate says what of the input can't be used, or nil.
func (in *ValidateDatasetInput) Validate() error {
	if in.RetryAfter == nil || in.RetryAfter.Duration < time.Second {
		return fmt.Errorf("retryAfter must be a duration of at least 1s, such as 60s")
	}
	return nil
}
