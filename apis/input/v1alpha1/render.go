package v1alpha1

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
)

// RenderReplicasInput configures the step "render" of the budget's pipeline.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=renderreplicasinputs,categories=crossplane
// +kubebuilder:storageversion
type RenderReplicasInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// RunningReplicas of planner and worker when they are started from 0 and it isn't
	// known how many there were before the pause.
	//
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	RunningReplicas int32 `json:"runningReplicas,omitempty"`

	// ObjectProviderConfig names the ClusterProviderConfig of provider-kubernetes.
	//
	// +kubebuilder:default=in-cluster
	ObjectProviderConfig string `json:"objectProviderConfig,omitempty"`
}

// Default fills in what an absent field means.
func (in *RenderReplicasInput) Default() {
	in.RunningReplicas = 1
	in.ObjectProviderConfig = v1alpha1.DefaultProviderConfig
}

// Validate says what of the input can't be used, or nil.
func (in *RenderReplicasInput) Validate() error {
	if in.RunningReplicas < 1 || in.RunningReplicas > 100 {
		return fmt.Errorf("runningReplicas %d must be from 1 to 100", in.RunningReplicas)
	}
	return ValidateObjectName("objectProviderConfig", in.ObjectProviderConfig, "it names a ClusterProviderConfig of provider-kubernetes")
}
