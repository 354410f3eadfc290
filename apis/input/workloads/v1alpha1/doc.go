// Package v1alpha1 holds the typed input of render-workloads
// (fn.whisperops.io/v1alpha1), which says of pods and networks what Kubernetes' own
// types say. It is a package of its own, beside those of the other steps, because
// k8s.io/api is some 3 MB of every program that links it, used or not.
//
// +kubebuilder:object:generate=true
// +groupName=fn.whisperops.io
// +versionName=v1alpha1
package v1alpha1
