package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
)

// EmitBudgetInput configures the step "emit-budget".
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=emitbudgetinputs,categories=crossplane
// +kubebuilder:storageversion
type EmitBudgetInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// CompositionName of the nested budget.
	//
	// +kubebuilder:default=xagentbudget-default
	CompositionName string `json:"compositionName,omitempty"`

	// PricingRef names the ConfigMap with the price table.
	//
	// +kubebuilder:default={}
	PricingRef v1alpha1.PricingReference `json:"pricingRef,omitempty"`

	// ExternalPort of the chat pages, when it is not 443.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	ExternalPort int32 `json:"externalPort,omitempty"`

	// Enforcement of new and existing budgets. Unset: the XRD's default applies and
	// an operator's edit survives.
	//
	// +optional
	Enforcement *v1alpha1.Enforcement `json:"enforcement,omitempty"`

	// Period of new and existing budgets. Unset: as Enforcement.
	//
	// +optional
	Period *v1alpha1.Period `json:"period,omitempty"`

	// WarnAtPercent of new and existing budgets. Unset: as Enforcement.
	//
	// +optional
	// +listType=atomic
	WarnAtPercent []int32 `json:"warnAtPercent,omitempty"`
}
