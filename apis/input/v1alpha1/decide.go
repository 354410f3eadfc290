package v1alpha1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DecideInput configures the step "decide".
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=decideinputs,categories=crossplane
// +kubebuilder:storageversion
type DecideInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// GuardBandSeconds pauses an agent so many seconds of its present burn before
	// its budget is gone. 0, the default, is off.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3600
	GuardBandSeconds int32 `json:"guardBandSeconds,omitempty"`
}

// Validate says what of the input can't be used, or nil.
func (in *DecideInput) Validate() error {
	if in.GuardBandSeconds < 0 || in.GuardBandSeconds > 3600 {
		return fmt.Errorf("guardBandSeconds %d must be from 0 (off) to 3600", in.GuardBandSeconds)
	}
	return nil
}
