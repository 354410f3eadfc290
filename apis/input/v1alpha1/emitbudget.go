package v1alpha1

import (
	"fmt"

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

	// TimeZone of new and existing budgets' periods: a name of the IANA time zone
	// database, such as Europe/Berlin. Unset: as Enforcement.
	//
	// +optional
	TimeZone *string `json:"timeZone,omitempty"`

	// WarnAtPercent of new and existing budgets. Unset: as Enforcement.
	//
	// +optional
	// +listType=atomic
	WarnAtPercent []int32 `json:"warnAtPercent,omitempty"`
}

// Default fills in what an absent field means.
func (in *EmitBudgetInput) Default() {
	in.CompositionName = v1alpha1.DefaultBudgetComposition
	in.PricingRef = v1alpha1.DefaultPricing()
}

// Validate says what of the input can't be used, or nil.
func (in *EmitBudgetInput) Validate() error {
	if in.CompositionName == "" {
		return fmt.Errorf("compositionName is empty: it names a Composition of XAgentBudgets")
	}
	if in.PricingRef.Name == "" || in.PricingRef.Namespace == "" {
		return fmt.Errorf("pricingRef needs the name and the namespace of a ConfigMap")
	}
	if in.ExternalPort < 0 || in.ExternalPort > 65535 {
		return fmt.Errorf("externalPort %d must be from 1 to 65535", in.ExternalPort)
	}
	if e := in.Enforcement; e != nil {
		if err := e.Validate(); err != nil {
			return fmt.Errorf("enforcement %w", err)
		}
	}
	if p := in.Period; p != nil {
		if err := p.Validate(); err != nil {
			return fmt.Errorf("period %w", err)
		}
	}
	if z := in.TimeZone; z != nil {
		if *z == "" {
			return fmt.Errorf("timeZone is empty: it must be a name of the IANA time zone database, such as Europe/Berlin; leave it out for UTC")
		}
		if _, err := v1alpha1.Zone(*z); err != nil {
			return fmt.Errorf("timeZone %w", err)
		}
	}
	if len(in.WarnAtPercent) > 10 {
		return fmt.Errorf("warnAtPercent holds %d percentages, 10 are allowed", len(in.WarnAtPercent))
	}
	for _, w := range in.WarnAtPercent {
		if w < 1 || w > 100 {
			return fmt.Errorf("warnAtPercent %d must be from 1 to 100", w)
		}
	}
	return nil
}
