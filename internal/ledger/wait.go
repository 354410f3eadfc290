package ledger

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// A Prerequisite is an object that must have conditions before what needs it is applied.
type Prerequisite struct {
	Kind       schema.GroupVersionResource
	Name       string
	Conditions []string
}

func (p Prerequisite) String() string { return p.Kind.Resource + "/" + p.Name }

// Healthy returns the prerequisite of an installed package, named
// providers.pkg.crossplane.io/<name> or functions... or configurations...
func Healthy(s string) (Prerequisite, error) {
	kind, name, ok := strings.Cut(s, "/")
	resource, group, _ := strings.Cut(kind, ".")
	if !ok || name == "" || group != "pkg.crossplane.io" || resource != "providers" && resource != "functions" && resource != "configurations" {
		return Prerequisite{}, fmt.Errorf("%q must be <providers, functions or configurations>.pkg.crossplane.io/<name>", s)
	}
	return Prerequisite{schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource}, name, []string{"Installed", "Healthy"}}, nil
}

// Established returns the prerequisite of a kind that the API server knows, named
// <plural>.<group>.
func Established(s string) (Prerequisite, error) {
	if plural, group, ok := strings.Cut(s, "."); !ok || plural == "" || !strings.Contains(group, ".") || strings.Contains(s, "/") {
		return Prerequisite{}, fmt.Errorf("%q must be the name of a CRD, <plural>.<group>", s)
	}
	return Prerequisite{crds, s, []string{"Established"}}, nil
}

// Wait returns when all prerequisites hold. After the timeout its error names the
// ones that don't, and what they say.
func (c Cluster) Wait(ctx context.Context, prerequisites []Prerequisite, timeout, poll time.Duration, out io.Writer) error {
	said := ""
	for since := time.Now(); ; {
		missing := []string{}
		for _, p := range prerequisites {
			if lack := c.lacks(ctx, p); lack != "" {
				missing = append(missing, p.String()+": "+lack)
			}
		}
		switch now := strings.Join(missing, "; "); {
		case now == "":
			fmt.Fprintf(out, "all %d are there\n", len(prerequisites))
			return nil
		case time.Since(since) >= timeout:
			return fmt.Errorf("after %s %d of %d are still missing: %s", timeout, len(missing), len(prerequisites), now)
		case now != said:
			said = now
			fmt.Fprintln(out, "waiting for", now)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("interrupted while waiting for %s", said)
		case <-time.After(poll):
		}
	}
}

// lacks returns "" if a prerequisite holds, else why not. An API server that can't
// be asked is waited for, too.
func (c Cluster) lacks(ctx context.Context, p Prerequisite) string {
	o, err := c.Client.Resource(p.Kind).Get(ctx, p.Name, metav1.GetOptions{})
	if gone(err) {
		return "not there"
	}
	if err != nil {
		return err.Error()
	}
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, want := range p.Conditions {
		status, message := "", "not said yet"
		for _, x := range conditions {
			if m, ok := x.(map[string]any); ok && m["type"] == want {
				status, _ = m["status"].(string)
				message, _ = m["message"].(string)
			}
		}
		if status != "True" {
			return strings.TrimSuffix(want+"="+status+" "+message, " ")
		}
	}
	return ""
}
