package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	xpv1 "github.com/crossplane/crossplane/apis/v2/apiextensions/v1"
	metapkgv1 "github.com/crossplane/crossplane/apis/v2/pkg/meta/v1"
	pkgv1 "github.com/crossplane/crossplane/apis/v2/pkg/v1"
	pkgv1beta1 "github.com/crossplane/crossplane/apis/v2/pkg/v1beta1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// strictly decodes one document and refuses unknown fields.
func strictly(t *testing.T, d map[string]any, into any) {
	t.Helper()
	raw, err := yaml.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(raw, into); err != nil {
		t.Errorf("%v %v: %v", d["kind"], d["metadata"], err)
	}
}

// documents returns what a file of package/ holds.
func documents(t *testing.T, file string) []map[string]any {
	t.Helper()
	docs, err := readDocuments(filepath.Join(pkg, file))
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) == 0 {
		t.Fatalf("%s is empty", file)
	}
	return docs
}

// TestCompositions holds the two pipelines as the design fixes them, and proves
// that every input is one that its function accepts.
func TestCompositions(t *testing.T) {
	ks, err := loadOurs(pkg)
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]struct {
		name, kind, ttl string
		steps           []string
	}{
		"compositions/xdatasetagent.yaml": {"xdatasetagent-default", kindAgent, "10m", []string{
			"validate-dataset: function-xda-validate-dataset", "compute-tuning: function-xda-compute-tuning",
			"render-iam: function-xda-render-iam", "render-workloads: function-xda-render-workloads",
			"render-dashboard: function-xda-render-dashboard", "emit-budget: function-xda-emit-budget",
			"ready: function-auto-ready",
		}},
		"compositions/xagentbudget.yaml": {"xagentbudget-default", kindBudget, "0s", []string{
			"fetch-spend: function-budget-fetch-spend", "decide: function-budget-decide",
			"render: function-budget-render", "ready: function-auto-ready",
		}},
	} {
		t.Run(want.name, func(t *testing.T) {
			docs := documents(t, file)
			c := &xpv1.Composition{}
			strictly(t, docs[0], c)
			if c.GetName() != want.name || c.Spec.CompositeTypeRef.Kind != want.kind || c.Spec.CompositeTypeRef.APIVersion != ourAPIVersion {
				t.Errorf("is %s for %+v", c.GetName(), c.Spec.CompositeTypeRef)
			}
			var steps []string
			for _, s := range c.Spec.Pipeline {
				steps = append(steps, s.Step+": "+s.FunctionRef.Name)
				if s.Input == nil {
					continue
				}
				in, err := decode(s.Input.Raw)
				if err != nil {
					t.Fatal(err)
				}
				u := &unstructured.Unstructured{Object: in}
				if s.FunctionRef.Name == "function-auto-ready" {
					if got := fmt.Sprintf("%v %v %v", in["apiVersion"], in["kind"], in["ttl"]); got != "autoready.fn.crossplane.io/v1beta1 Input "+want.ttl {
						t.Errorf("the input of step %s is %s", s.Step, got)
					}
					continue
				}
				k, err := ks.find(u.GroupVersionKind())
				if err != nil {
					t.Fatalf("the input of step %s: %v", s.Step, err)
				}
				u.SetName("x") // an input is no object of a cluster, and has no name
				u.SetNamespace("x")
				if errs := k.check(in, nil); len(errs) > 0 {
					t.Errorf("the input of step %s: %v", s.Step, errs.ToAggregate())
				}
				if folder := strings.TrimPrefix(s.FunctionRef.Name, "function-"); !slices.Contains(inputsOf(t, folder), u.GetKind()) {
					t.Errorf("the input of step %s, %s, is none that %s takes", s.Step, u.GetKind(), s.FunctionRef.Name)
				}
			}
			if d := diff(want.steps, steps); d != "" {
				t.Errorf("steps: -want, +got:\n%s", d)
			}
		})
	}
}

// inputsOf returns the kinds whose CRD travels in a function's package.
func inputsOf(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pkg, "functions", folder, "input", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, f := range files {
		docs, err := readDocuments(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range docs {
			k, _, _ := unstructured.NestedString(d, "spec", "names", "kind")
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// TestDefaultCompositions proves that an XRD's default is a Composition that is
// there.
func TestDefaultCompositions(t *testing.T) {
	for file, want := range map[string]string{
		"xrds/zz_generated.xdatasetagents.yaml": "xdatasetagent-default",
		"xrds/zz_generated.xagentbudgets.yaml":  "xagentbudget-default",
	} {
		got, _, err := unstructured.NestedString(documents(t, file)[0], "spec", "defaultCompositionRef", "name")
		if err != nil || got != want {
			t.Errorf("%s: the default Composition is %q (%v), want %q", file, got, err, want)
		}
	}
}

// TestFunctionsAreOneList proves that folders, install manifests, the
// Configuration's dependencies and the Compositions name the same functions: a
// function that is missing from one of them stops every order.
func TestFunctionsAreOneList(t *testing.T) {
	var folders []string
	files, err := filepath.Glob(filepath.Join(pkg, "functions", "*", "crossplane.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		docs, err := readDocuments(f)
		if err != nil {
			t.Fatal(err)
		}
		fn := &metapkgv1.Function{}
		strictly(t, docs[0], fn)
		folder := filepath.Base(filepath.Dir(f))
		if fn.GetName() != "function-"+folder {
			t.Errorf("%s is called %s", f, fn.GetName())
		}
		if !slices.Equal(fn.Spec.Capabilities, []string{"composition"}) {
			t.Errorf("%s: Crossplane refuses a Composition whose function lacks the capability; it has %v", f, fn.Spec.Capabilities)
		}
		checkMeta(t, f, fn.GetAnnotations(), fn.Spec.MetaSpec)
		folders = append(folders, fn.GetName())
	}
	if len(folders) != 9 {
		t.Errorf("%d functions, want 9", len(folders))
	}
	all := append(slices.Clone(folders), "function-auto-ready")
	slices.Sort(all)

	var present []string
	for _, d := range documents(t, "install/functions.yaml") {
		fn := &pkgv1.Function{}
		strictly(t, d, fn)
		repo, _, tagged := strings.Cut(fn.Spec.Package, ":v")
		if !tagged || !strings.HasSuffix(repo, "/"+fn.GetName()) {
			t.Errorf("%s is installed from %s", fn.GetName(), fn.Spec.Package)
		}
		present = append(present, fn.GetName())
	}
	slices.Sort(present)
	if d := diff(all, present); d != "" {
		t.Errorf("install/functions.yaml: -want, +got:\n%s", d)
	}

	conf := &metapkgv1.Configuration{}
	strictly(t, documents(t, "configuration/crossplane.yaml")[0], conf)
	checkMeta(t, "configuration", conf.GetAnnotations(), conf.Spec.MetaSpec)
	var depends []string
	for _, d := range conf.Spec.DependsOn {
		if d.Package == nil || d.Kind == nil || d.Version == "" {
			t.Errorf("dependency %+v is incomplete", d)
			continue
		}
		if from, to, bounded := strings.Cut(d.Version, ", "); !bounded || !strings.HasPrefix(from, ">=v") || !strings.HasPrefix(to, "<v") {
			t.Errorf("%s may be any version from %s on, also one that is not written yet", *d.Package, d.Version)
		}
		if *d.Kind == "Function" {
			depends = append(depends, filepath.Base(*d.Package))
		}
	}
	slices.Sort(depends)
	if d := diff(all, depends); d != "" {
		t.Errorf("configuration: -want, +got:\n%s", d)
	}

	var called []string
	for _, f := range []string{"compositions/xdatasetagent.yaml", "compositions/xagentbudget.yaml"} {
		c := &xpv1.Composition{}
		strictly(t, documents(t, f)[0], c)
		for _, s := range c.Spec.Pipeline {
			called = append(called, s.FunctionRef.Name)
		}
	}
	slices.Sort(called)
	if d := diff(all, slices.Compact(called)); d != "" {
		t.Errorf("compositions: -want, +got:\n%s", d)
	}
}

func checkMeta(t *testing.T, where string, annotations map[string]string, spec metapkgv1.MetaSpec) {
	t.Helper()
	for _, a := range []string{"maintainer", "source", "license", "description"} {
		if annotations["meta.crossplane.io/"+a] == "" {
			t.Errorf("%s: no meta.crossplane.io/%s", where, a)
		}
	}
	if spec.Crossplane == nil || spec.Crossplane.Version != ">=v2.2.0" {
		t.Errorf("%s: constrains Crossplane to %+v", where, spec.Crossplane)
	}
}

// TestInstallManifests proves that Crossplane's own kinds decode strictly, and
// that the provider watches: without it nobody stops an agent that was scaled up
// by hand for up to ten minutes.
func TestInstallManifests(t *testing.T) {
	watches := false
	for _, d := range documents(t, "install/providers.yaml") {
		switch d["kind"] {
		case "Provider":
			strictly(t, d, &pkgv1.Provider{})
		case "DeploymentRuntimeConfig":
			c := &pkgv1beta1.DeploymentRuntimeConfig{}
			strictly(t, d, c)
			for _, ctr := range c.Spec.DeploymentTemplate.Spec.Template.Spec.Containers {
				watches = watches || ctr.Name == "package-runtime" && slices.Contains(ctr.Args, "--enable-watches")
			}
			if *c.Spec.ServiceAccountTemplate.Metadata.Name != boundAccount(t) {
				t.Errorf("rbac.yaml binds the role to %q", boundAccount(t))
			}
		default:
			t.Errorf("install/providers.yaml holds a %v", d["kind"])
		}
	}
	if !watches {
		t.Error("provider-kubernetes is not started with --enable-watches")
	}
	strictly(t, documents(t, "install/configuration.yaml")[0], &pkgv1.Configuration{})
}

// boundAccount returns the ServiceAccount that gets the provider's role.
func boundAccount(t *testing.T) string {
	t.Helper()
	for _, d := range documents(t, "install/rbac.yaml") {
		if d["kind"] == "ClusterRoleBinding" {
			b := &rbacv1.ClusterRoleBinding{}
			strictly(t, d, b)
			if b.RoleRef.Name == providerRoleName {
				return b.Subjects[0].Name
			}
		}
	}
	t.Fatal("nobody is bound to " + providerRoleName)
	return ""
}

// TestNobodyIsAdmin holds the install manifests to the kinds that are named:
// no wildcard, no role of somebody else's, no way to get more rights than were
// given.
func TestNobodyIsAdmin(t *testing.T) {
	roles := 0
	for _, d := range installed(t) {
		var rules []rbacv1.PolicyRule
		var ref rbacv1.RoleRef
		switch d["kind"] {
		case "ClusterRole":
			r := &rbacv1.ClusterRole{}
			strictly(t, d, r)
			rules = r.Rules
		case "Role":
			r := &rbacv1.Role{}
			strictly(t, d, r)
			rules = r.Rules
		case "ClusterRoleBinding":
			b := &rbacv1.ClusterRoleBinding{}
			strictly(t, d, b)
			ref = b.RoleRef
		case "RoleBinding":
			b := &rbacv1.RoleBinding{}
			strictly(t, d, b)
			ref = b.RoleRef
		default:
			continue
		}
		roles++
		name, _, _ := unstructured.NestedString(d, "metadata", "name")
		for _, rule := range rules {
			for _, s := range [][]string{rule.APIGroups, rule.Resources, rule.Verbs} {
				if slices.Contains(s, "*") {
					t.Errorf("%s: a wildcard in %+v", name, rule)
				}
			}
			if slices.Contains(rule.Verbs, "escalate") || slices.Contains(rule.Verbs, "impersonate") {
				t.Errorf("%s: %v", name, rule.Verbs)
			}
			if slices.Contains(rule.Verbs, "bind") && !slices.Equal(rule.ResourceNames, []string{"whisperops-chat-frontend"}) {
				t.Errorf("%s: may bind %v", name, rule.ResourceNames)
			}
		}
		if slices.Contains([]string{"cluster-admin", "admin", "edit"}, ref.Name) {
			t.Errorf("%s binds %s", name, ref.Name)
		}
	}
	if roles < 4 {
		t.Errorf("only %d roles and bindings were found", roles)
	}
}

// installed returns every document below package/install.
func installed(t *testing.T) []map[string]any {
	t.Helper()
	var out []map[string]any
	err := filepath.WalkDir(filepath.Join(pkg, "install"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		docs, err := readDocuments(path)
		out = append(out, docs...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestGeneratedFilesSaySo keeps people from editing them.
func TestGeneratedFilesSaySo(t *testing.T) {
	found := 0
	for _, pattern := range []string{"xrds/*", "install/crds/*", "functions/*/input/*"} {
		files, err := filepath.Glob(filepath.Join(pkg, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found++
			first, _, _ := strings.Cut(string(b), "\n")
			if !strings.HasPrefix(filepath.Base(f), "zz_generated.") || !strings.HasPrefix(first, "# Code generated by ") || !strings.HasSuffix(first, " DO NOT EDIT.") {
				t.Errorf("%s: is not marked as generated: %q", f, first)
			}
		}
	}
	if found < 12 {
		t.Errorf("only %d generated files", found)
	}
}
