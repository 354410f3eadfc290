package v1alpha1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
)

// ComputeTuningInput configures the step "compute-tuning".
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=computetuninginputs,categories=crossplane
// +kubebuilder:storageversion
type ComputeTuningInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// MaxSandboxGi caps the sandbox's memory, in GiB.
	//
	// +kubebuilder:default=8
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	MaxSandboxGi int32 `json:"maxSandboxGi,omitempty"`

	// IgnoreMemoryEstimate goes back to 3.5 times the size of the CSV alone. Without
	// it the sandbox gets what the dataset's cells are estimated to take, if that
	// is more.
	//
	// +optional
	IgnoreMemoryEstimate bool `json:"ignoreMemoryEstimate,omitempty"`
}

// Default fills in what an absent field means.
func (in *ComputeTuningInput) Default() { in.MaxSandboxGi = v1alpha1.DefaultMaxSandboxGi }

// Validate says what of the input can't be used, or nil.
func (in *ComputeTuningInput) Validate() error {
	if in.MaxSandboxGi < 1 || in.MaxSandboxGi > v1alpha1.MaxSandboxGi {
		return fmt.Errorf("maxSandboxGi %d must be from 1 to %d", in.MaxSandboxGi, v1alpha1.MaxSandboxGi)
	}
	return nil
}
