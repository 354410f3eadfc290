package v1alpha1

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
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

	// ObjectNamespace is where render-workloads and render-dashboard put their
	// Objects: set it as there. Before the first part of an order is made, the names
	// that it needs there are asked for.
	//
	// +kubebuilder:default=crossplane-system
	ObjectNamespace string `json:"objectNamespace,omitempty"`

	// DashboardsNamespace is where render-dashboard puts the agents' dashboards: set it
	// as there. It is asked for the dashboard's name before the first part is made.
	//
	// +kubebuilder:default=monitoring
	DashboardsNamespace string `json:"dashboardsNamespace,omitempty"`

	// Allow says which domains, projects and datasets buckets an order may name. A list
	// that is absent or empty allows all.
	//
	// +optional
	Allow AllowLists `json:"allow,omitempty"`
}

// AllowLists say what orders may reach. An entry is a name, or a pattern in which a *
// stands for any characters, dots included: "*.agents.example.org", "acme-*".
type AllowLists struct {
	// Domains that spec.baseDomain may be.
	//
	// +optional
	// +listType=set
	Domains []string `json:"domains,omitempty"`

	// Projects of Google Cloud that spec.projectId may be.
	//
	// +optional
	// +listType=set
	Projects []string `json:"projects,omitempty"`

	// Buckets that datasets may lie in. An XDataset can be made by hand, and the agent
	// may read the whole bucket.
	//
	// +optional
	// +listType=set
	Buckets []string `json:"buckets,omitempty"`
}

// Default fills in what an absent field means.
func (in *ValidateDatasetInput) Default() {
	in.RetryAfter = &metav1.Duration{Duration: time.Minute}
	in.ObjectNamespace = v1alpha1.ControlPlaneNamespace
	in.DashboardsNamespace = "monitoring"
}

// Validate says what of the input can't be used, or nil.
func (in *ValidateDatasetInput) Validate() error {
	if in.RetryAfter == nil || in.RetryAfter.Duration < time.Second {
		return fmt.Errorf("retryAfter must be a duration of at least 1s, such as 60s")
	}
	if err := ValidateNamespace("objectNamespace", in.ObjectNamespace, "it names a namespace that exists"); err != nil {
		return err
	}
	if err := ValidateNamespace("dashboardsNamespace", in.DashboardsNamespace, "it names the namespace that Grafana's sidecar watches"); err != nil {
		return err
	}
	if slices.Contains(slices.Concat(in.Allow.Domains, in.Allow.Projects, in.Allow.Buckets), "") {
		return fmt.Errorf("allow has an empty entry, which allows nothing: leave a list out to allow all")
	}
	return nil
}

// Allows says whether a list allows a name: an empty one allows all.
func Allows(list []string, name string) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(pattern string) bool { return matches(pattern, name) })
}

// matches says whether a pattern, in which each * stands for any characters, is all of name.
func matches(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	if len(parts) == 1 {
		return pattern == name
	}
	first, last := parts[0], parts[len(parts)-1]
	if len(name) < len(first)+len(last) || !strings.HasPrefix(name, first) || !strings.HasSuffix(name, last) {
		return false
	}
	name = name[len(first) : len(name)-len(last)]
	for _, p := range parts[1 : len(parts)-1] {
		_, rest, found := strings.Cut(name, p)
		if !found {
			return false
		}
		name = rest
	}
	return true
}
