package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
}

// ValidateDatasetInput configures the step "validate-dataset".
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=validatedatasetinputs,categories=crossplane
// +kubebuilder:storageversion
type ValidateDatasetInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// RetryAfter is how soon an order whose dataset is missing or not ready is
	// looked at again, beside the watch on the dataset.
	//
	// +kubebuilder:default="60s"
	RetryAfter *metav1.Duration `json:"retryAfter,omitempty"`
}
