package main

import (
	"fmt"
	"path/filepath"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// The ClusterRole that the install manifests bind to provider-kubernetes.
const (
	providerRoleFile = "package/install/rbac.yaml"
	providerRoleName = "whisperops-provider-kubernetes"
)

// A providerRole says what provider-kubernetes may do.
type providerRole struct {
	file  string // for people
	rules []rbacv1.PolicyRule
}

// loadProviderRole returns the ClusterRole of a name from a file below a checkout.
func loadProviderRole(root, file, name string) (*providerRole, error) {
	path := filepath.Join(root, file)
	docs, err := readDocuments(path)
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		if d["kind"] != "ClusterRole" {
			continue
		}
		raw, err := yaml.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("cannot encode a role of %s: %w", path, err)
		}
		r := &rbacv1.ClusterRole{}
		if err := yaml.UnmarshalStrict(raw, r); err != nil {
			return nil, fmt.Errorf("cannot decode a role of %s: %w", path, err)
		}
		if r.GetName() == name {
			return &providerRole{file: file, rules: r.Rules}, nil
		}
	}
	return nil, fmt.Errorf("%s has no ClusterRole %s", path, name)
}

// withStories adds what stories' platform teams let provider-kubernetes do beside: the
// ClusterRoles in examples/*/rbac.yaml. What comes of our own parts is checked without
// them by the goldens.
func (r *providerRole) withStories(root string) (*providerRole, error) {
	files, err := filepath.Glob(filepath.Join(root, "examples", "*", "rbac.yaml"))
	if err != nil {
		return nil, fmt.Errorf("cannot list the stories' roles: %w", err)
	}
	with := &providerRole{file: r.file, rules: slices.Clone(r.rules)}
	for _, f := range files {
		docs, err := readDocuments(f)
		if err != nil {
			return nil, err
		}
		for _, d := range docs {
			role := &rbacv1.ClusterRole{}
			raw, err := yaml.Marshal(d)
			if err == nil && d["kind"] == "ClusterRole" {
				err = yaml.UnmarshalStrict(raw, role)
			}
			if err != nil {
				return nil, fmt.Errorf("cannot decode a role of %s: %w", f, err)
			}
			with.rules = append(with.rules, role.Rules...)
		}
	}
	return with, nil
}

// missing returns the verbs that provider-kubernetes needs for an Object with
// these management policies, and may not use.
func (r *providerRole) missing(gvk schema.GroupVersionKind, policies []string) []string {
	needs := []string{"get", "list", "watch"}
	all := len(policies) == 0 || slices.Contains(policies, "*")
	if all || slices.Contains(policies, "Create") {
		needs = append(needs, "create", "patch")
	}
	if all || slices.Contains(policies, "Update") {
		needs = append(needs, "patch")
	}
	if all || slices.Contains(policies, "Delete") {
		needs = append(needs, "delete")
	}
	slices.Sort(needs)
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	var out []string
	for _, verb := range slices.Compact(needs) {
		if !slices.ContainsFunc(r.rules, func(rule rbacv1.PolicyRule) bool {
			return len(rule.ResourceNames) == 0 && slices.Contains(rule.APIGroups, gvk.Group) &&
				slices.Contains(rule.Resources, plural.Resource) && slices.Contains(rule.Verbs, verb)
		}) {
			out = append(out, verb)
		}
	}
	return out
}
