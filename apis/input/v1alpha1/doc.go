// Package v1alpha1 holds the typed inputs of the functions
// (fn.whisperops.io/v1alpha1): what a platform team sets once, in a Composition,
// and never in an order. Inputs are decoded strictly: an unknown field is a
// fatal result that names it. Everything but the images has a default that
// works; Default fills it in, and the schemas repeat it.
//
// +kubebuilder:object:generate=true
// +groupName=fn.whisperops.io
// +versionName=v1alpha1
package v1alpha1

// APIVersion of all inputs.
const APIVersion = "fn.whisperops.io/v1alpha1"
