// Package v1alpha1 holds the Go types of the whisperops.io/v1alpha1 API
// (XDatasetAgent, XAgentBudget, XDataset), the context values that the pipeline
// steps hand to each other, and the names of the composed resources.
//
// The schemas in package/ are generated from these types by `make generate`;
// the types are the one source of truth.
//
// +kubebuilder:object:generate=true
// +groupName=whisperops.io
// +versionName=v1alpha1
package v1alpha1

import "k8s.io/apimachinery/pkg/runtime/schema"

// GroupVersion is the API group and version of all three kinds.
var GroupVersion = schema.GroupVersion{Group: "whisperops.io", Version: "v1alpha1"}

// Kinds of this group.
const (
	KindXDatasetAgent = "XDatasetAgent"
	KindXAgentBudget  = "XAgentBudget"
	KindXDataset      = "XDataset"
)
