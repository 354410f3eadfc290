package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	pkgv1 "github.com/crossplane/crossplane/apis/v2/pkg/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/yaml"
)

// lab returns the lab and its kind, as Crossplane derives it from the XRD.
func lab(t *testing.T) (*garage, *kind) {
	t.Helper()
	ks := kinds{}
	g, err := loadGarage("../..", ks)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ks.find(garageKind)
	if err != nil {
		t.Fatal(err)
	}
	return g, k
}

// garageOrder returns an order; nil leaves a field of spec out.
func garageOrder(name string, teamName, stage any) map[string]any {
	spec := map[string]any{}
	if teamName != nil {
		spec["teamName"] = teamName
	}
	if stage != nil {
		spec["stage"] = stage
	}
	return map[string]any{"apiVersion": garageAPIVersion, "kind": garageKind.Kind, "metadata": map[string]any{"name": name}, "spec": spec}
}

// longestTeam is as long as the pattern allows.
var longestTeam = "a" + strings.Repeat("b", 28)

// TestGarageOrders proves what the lab's XRD accepts and what it refuses.
func TestGarageOrders(t *testing.T) {
	g, k := lab(t)
	for name, tc := range map[string]struct {
		order, old map[string]any
		want       string
	}{
		"TheLabsOrder": {order: g.order},
		"Stage2":       {order: garageOrder("ae86", "ae86", "stage2")},
		"Stage3":       {order: garageOrder("ae86", "ae86", "stage3")},
		"Longest":      {order: garageOrder(longestTeam, longestTeam, "stage1")},
		"Shortest":     {order: garageOrder("ae8", "ae8", "stage1")},
		"StageChanged": {order: garageOrder("ae86", "ae86", "stage3"), old: g.order},

		"TooShort":      {order: garageOrder("ae", "ae", "stage1"), want: "spec.teamName in body should match"},
		"TooLong":       {order: garageOrder(longestTeam+"b", longestTeam+"b", "stage1"), want: "spec.teamName in body should match"},
		"DigitFirst":    {order: garageOrder("86ae", "86ae", "stage1"), want: "spec.teamName in body should match"},
		"UpperCase":     {order: garageOrder("ae86", "AE86", "stage1"), want: "spec.teamName in body should match"},
		"DashAtTheEnd":  {order: garageOrder("ae86-", "ae86-", "stage1"), want: "metadata.name"},
		"NoTeam":        {order: garageOrder("ae86", nil, "stage1"), want: "spec.teamName: Required value"},
		"NoStage":       {order: garageOrder("ae86", "ae86", nil), want: "spec.stage: Required value"},
		"NoSuchStage":   {order: garageOrder("ae86", "ae86", "stage4"), want: `supported values: "stage1", "stage2", "stage3"`},
		"StageAsNumber": {order: garageOrder("ae86", "ae86", int64(1)), want: "spec.stage in body must be of type string"},
		"AnotherName":   {order: garageOrder("eighty-six", "ae86", "stage1"), want: "metadata.name and spec.teamName must be equal"},
		"TeamChanged":   {order: garageOrder("ae86", "fc3s", "stage1"), old: g.order, want: "teamName never changes; order a new garage and delete this one"},
		"UnknownField": {
			order: map[string]any{"apiVersion": garageAPIVersion, "kind": "XGarage", "metadata": map[string]any{"name": "ae86"}, "spec": map[string]any{"teamName": "ae86", "stage": "stage1", "colour": "panda"}},
			want:  "spec.colour: Forbidden",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var old map[string]any
			order := runtime.DeepCopyJSON(tc.order)
			if tc.old != nil {
				old = runtime.DeepCopyJSON(tc.old)
				for _, o := range []map[string]any{order, old} {
					(&unstructured.Unstructured{Object: o}).SetResourceVersion("1")
				}
			}
			refusal(t, k.check(order, old), tc.want)
		})
	}
	if k.namespaced() {
		t.Error("an XGarage would be in a namespace, where it can't compose a Namespace's Object")
	}
}

// refusal fails unless what is refused is what is wanted; empty wants nothing.
func refusal(t *testing.T, errs field.ErrorList, want string) {
	t.Helper()
	got := ""
	if len(errs) > 0 {
		got = errs.ToAggregate().Error()
	}
	if want == "" && got != "" || !strings.Contains(got, want) {
		t.Errorf("got %q, want a refusal with %q", got, want)
	}
}

// awkwardTeams are names that YAML would not read as text, and the ends of what
// the pattern allows.
var awkwardTeams = []string{"ae86", "true", "null", "yes", "off", "a-b", longestTeam}

// TestGarageParts proves what an order becomes: the words of the order arrive as
// text in a Namespace and a ConfigMap, which provider-kubernetes may make and
// which become ready.
func TestGarageParts(t *testing.T) {
	g, _ := lab(t)
	role, err := loadProviderRole("../..", garageDir+"/rbac.yaml", garageRoleName)
	if err != nil {
		t.Fatal(err)
	}
	sheets := map[string]bool{}
	for _, team := range awkwardTeams {
		for _, stage := range []string{"stage1", "stage2", "stage3"} {
			parts, err := g.render(garageOrder(team, team, stage))
			if err != nil {
				t.Fatal(err)
			}
			if d := diff([]string{"namespace", "spec-sheet"}, slices.Sorted(maps.Keys(parts))); d != "" {
				t.Fatalf("%s %s: parts: -want, +got:\n%s", team, stage, d)
			}
			c := &checker{kinds: kinds{}, provider: role, report: newReport()}
			for name, part := range parts {
				o := &unstructured.Unstructured{Object: part}
				if want := "garage-" + team + "-" + name; o.GetName() != want {
					t.Errorf("part %s is called %s, want %s", name, o.GetName(), want)
				}
				c.wrapped(place{"composition.yaml", name}, o)
			}
			if len(c.report.failures) > 0 {
				t.Errorf("%s %s: %s", team, stage, strings.Join(c.report.failures, "\n"))
			}
			labels := map[string]any{"blog.opsbogus.dev/team": team}
			want := map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "garage-" + team, "labels": labels}}
			if d := diff(want, manifest(t, parts["namespace"])); d != "" {
				t.Errorf("Namespace: -want, +got:\n%s", d)
			}
			sheet := manifest(t, parts["spec-sheet"])
			data, _ := sheet["data"].(map[string]any)
			sheets[fmt.Sprint(data["power"], data["parts"])] = true
			want = map[string]any{
				"apiVersion": "v1", "kind": "ConfigMap",
				"metadata": map[string]any{"name": "spec-sheet", "namespace": "garage-" + team, "labels": labels},
				"data":     map[string]any{"team": team, "stage": stage, "power": data["power"], "parts": data["parts"]},
			}
			if d := diff(want, sheet); d != "" {
				t.Errorf("ConfigMap: -want, +got:\n%s", d)
			}
		}
	}
	if len(sheets) != 3 || sheets[fmt.Sprint("", "")] {
		t.Errorf("three stages have the sheets %v", slices.Sorted(maps.Keys(sheets)))
	}
}

func manifest(t *testing.T, object map[string]any) map[string]any {
	t.Helper()
	m, ok, err := unstructured.NestedMap(object, "spec", "forProvider", "manifest")
	if err != nil || !ok {
		t.Fatalf("no manifest: %v", err)
	}
	return m
}

// TestGarageRights holds the provider's role to the two kinds that are wrapped:
// TestGarageParts proves that nothing is missing, this that nothing is too much.
func TestGarageRights(t *testing.T) {
	g, _ := lab(t)
	parts, err := g.render(g.order)
	if err != nil {
		t.Fatal(err)
	}
	needed := map[string]bool{}
	for _, part := range parts {
		gvk := (&unstructured.Unstructured{Object: manifest(t, part)}).GroupVersionKind()
		plural, _ := meta.UnsafeGuessKindToResource(gvk)
		for _, verb := range []string{"get", "list", "watch", "create", "patch", "delete"} {
			needed[verb+" "+gvk.Group+"/"+plural.Resource] = true
		}
	}
	given := map[string]bool{}
	for _, d := range labDocuments(t, "rbac.yaml") {
		switch d["kind"] {
		case "ClusterRole":
			r := &rbacv1.ClusterRole{}
			strictly(t, d, r)
			for _, rule := range r.Rules {
				for _, group := range rule.APIGroups {
					for _, resource := range rule.Resources {
						for _, verb := range rule.Verbs {
							given[verb+" "+group+"/"+resource] = true
						}
					}
				}
			}
		case "ClusterRoleBinding":
			b := &rbacv1.ClusterRoleBinding{}
			strictly(t, d, b)
			if b.RoleRef.Name != garageRoleName || len(b.Subjects) != 1 || b.Subjects[0].Name != boundAccount(t) || b.Subjects[0].Namespace != "crossplane-system" {
				t.Errorf("binds %+v to %+v", b.RoleRef, b.Subjects)
			}
		default:
			t.Errorf("rbac.yaml holds a %v", d["kind"])
		}
	}
	if d := diff(needed, given); d != "" {
		t.Errorf("-needed, +given:\n%s", d)
	}
}

// labDocuments returns what a file of the lab holds.
func labDocuments(t *testing.T, file string) []map[string]any {
	t.Helper()
	docs, err := readDocuments(filepath.Join("../..", garageDir, file))
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) == 0 {
		t.Fatalf("%s is empty", file)
	}
	return docs
}

var pinned = regexp.MustCompile(`^xpkg\.crossplane\.io/crossplane-contrib/(function-go-templating|function-auto-ready|provider-kubernetes):v\d+\.\d+\.\d+$`)

// TestGaragePackages proves that every package is pinned, that the Composition
// finds its functions, and that the lab can be walked on a cluster that has the
// suite: what both install is the same, to the letter.
func TestGaragePackages(t *testing.T) {
	g, _ := lab(t)
	suite := map[string]map[string]any{}
	for _, f := range []string{"install/functions.yaml", "install/providers.yaml", "install/providerconfigs.yaml"} {
		for _, d := range documents(t, f) {
			suite[identity(d)] = d
		}
	}
	var names, shared []string
	for _, f := range []string{"functions.yaml", "provider.yaml", "providerconfig.yaml"} {
		for _, d := range labDocuments(t, f) {
			if in, ok := suite[identity(d)]; ok {
				shared = append(shared, identity(d))
				if d := diff(in, d); d != "" {
					t.Errorf("%s differs from the suite's: -suite, +lab:\n%s", f, d)
				}
			}
			var source string
			switch d["kind"] {
			case "Function":
				fn := &pkgv1.Function{}
				strictly(t, d, fn)
				names, source = append(names, fn.GetName()), fn.Spec.Package
			case "Provider":
				p := &pkgv1.Provider{}
				strictly(t, d, p)
				source = p.Spec.Package
			default:
				continue
			}
			if !pinned.MatchString(source) {
				t.Errorf("%s: package %q is not pinned to a release", f, source)
			}
		}
	}
	if len(shared) != 5 {
		t.Errorf("the lab shares %v with the suite, want a function, the provider, its runtime and two ways to the cluster", shared)
	}
	composition, err := g.document("composition.yaml")
	if err != nil {
		t.Fatal(err)
	}
	steps, _, err := unstructured.NestedSlice(composition, "spec", "pipeline")
	if err != nil {
		t.Fatal(err)
	}
	var called []string
	for _, s := range steps {
		n, _, _ := unstructured.NestedString(s.(map[string]any), "functionRef", "name")
		called = append(called, n)
	}
	if d := diff(names, called); d != "" {
		t.Errorf("-installed, +called:\n%s", d)
	}
	xrd, err := g.document("xrd.yaml")
	if err != nil {
		t.Fatal(err)
	}
	name, _, _ := unstructured.NestedString(composition, "metadata", "name")
	if byDefault, _, _ := unstructured.NestedString(xrd, "spec", "defaultCompositionRef", "name"); byDefault != name {
		t.Errorf("the XRD's default Composition is %q, there is %q", byDefault, name)
	}
}

func identity(d map[string]any) string {
	return fmt.Sprint(d["apiVersion"], " ", d["kind"], " ", (&unstructured.Unstructured{Object: d}).GetName())
}

// A form is as much of a Backstage template as the tests read.
type form struct {
	Spec struct {
		Parameters []struct {
			Required   []string
			Properties map[string]struct {
				Pattern string
				Enum    []string
			}
		}
		Steps []struct {
			ID, Action string
			Input      map[string]any
		}
	}
}

// TestGarageForm proves that the order form and the XRD agree: what the form lets
// through is accepted, and what it refuses would be refused. The order that it
// writes for the lab's team is the lab's order.
func TestGarageForm(t *testing.T) {
	g, k := lab(t)
	b, err := os.ReadFile(filepath.Join(g.dir, "backstage", "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	f := form{}
	if err := yaml.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	page := f.Spec.Parameters[0]
	if d := diff([]string{"teamName", "stage"}, page.Required); d != "" {
		t.Errorf("asks for: -want, +got:\n%s", d)
	}
	if d := diff([]string{"stage1", "stage2", "stage3"}, page.Properties["stage"].Enum); d != "" {
		t.Errorf("stages: -want, +got:\n%s", d)
	}
	pattern := regexp.MustCompile(page.Properties["teamName"].Pattern)
	for _, team := range append([]string{"ae", "ae8", "ae86-", "-ae86", "86ae", "AE86", "ae.86", longestTeam + "b", "a--b"}, awkwardTeams...) {
		accepted := len(k.check(garageOrder(team, team, "stage1"), nil)) == 0
		if got := pattern.MatchString(team); got != accepted {
			t.Errorf("team %q: the form accepts it: %t; the XRD does: %t", team, got, accepted)
		}
	}

	values, _ := f.Spec.Steps[0].Input["values"].(map[string]any)
	if d := diff(map[string]any{"teamName": "${{ parameters.teamName }}", "stage": "${{ parameters.stage }}"}, values); d != "" {
		t.Errorf("hands the skeleton: -want, +got:\n%s", d)
	}
	if url := f.Spec.Steps[0].Input["url"]; url != "./skeleton" {
		t.Errorf("takes the skeleton from %v", url)
	}
	for _, team := range awkwardTeams {
		files, err := g.skeleton(map[string]string{"teamName": team, "stage": "stage1"})
		if err != nil {
			t.Fatal(err)
		}
		if d := diff([]string{team + ".yaml"}, slices.Sorted(maps.Keys(files))); d != "" {
			t.Fatalf("files: -want, +got:\n%s", d)
		}
		order, err := decode(files[team+".yaml"])
		if err != nil {
			t.Fatal(err)
		}
		if team == "ae86" {
			if d := diff(g.order, order); d != "" {
				t.Errorf("-the lab's order, +the form's:\n%s", d)
			}
		}
		refusal(t, k.check(order, nil), "")
	}
}

// TestGarageInGit proves that Argo CD reads the folder that the form's pull
// requests write to, in the same repository.
func TestGarageInGit(t *testing.T) {
	source, _, err := unstructured.NestedMap(labDocuments(t, "argocd/application.yaml")[0], "spec", "source")
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join("../..", garageDir, "backstage", "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	f := form{}
	if err := yaml.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	in := f.Spec.Steps[1].Input
	if in["targetPath"] != source["path"] {
		t.Errorf("the form writes to %v, Argo CD reads %v", in["targetPath"], source["path"])
	}
	want := "github.com?owner=opsbogus&repo=garages"
	if in["repoUrl"] != want || source["repoURL"] != "https://github.com/opsbogus/garages.git" {
		t.Errorf("the form writes to %v, Argo CD reads %v", in["repoUrl"], source["repoURL"])
	}
}

// TestGarageReadme: what a beginner is told to type names files that are there,
// and every file that is there is named.
func TestGarageReadme(t *testing.T) {
	g, _ := lab(t)
	b, err := os.ReadFile(filepath.Join(g.dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	readme := string(b)
	for _, m := range regexp.MustCompile(`examples/garage/([^\s)*]+\.yaml)`).FindAllStringSubmatch(readme, -1) {
		if _, err := os.Stat(filepath.Join(g.dir, m[1])); err != nil {
			t.Errorf("README.md names %s: %v", m[1], err)
		}
	}
	entries, err := os.ReadDir(g.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "README.md" && !strings.Contains(readme, e.Name()) {
			t.Errorf("README.md does not name %s", e.Name())
		}
	}
	// What the reader should see is what comes out.
	parts, err := g.render(g.order)
	if err != nil {
		t.Fatal(err)
	}
	data, _, err := unstructured.NestedStringMap(manifest(t, parts["spec-sheet"]), "data")
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range data {
		if line := k + ": " + v; !strings.Contains(readme, line) {
			t.Errorf("README.md does not show %q", line)
		}
	}
}

// TestGarageReal checks the lab against the real CRDs, and that what people get
// wrong in it is found.
func TestGarageReal(t *testing.T) {
	dir := realSchemas(t)
	c := newChecker(t, dir)
	c.kinds = maps.Clone(c.kinds)
	if err := c.checkGarage("../.."); err != nil {
		t.Fatal(err)
	}
	if len(c.report.failures) > 0 {
		t.Error(strings.Join(c.report.failures, "\n"))
	}
	for gvk, n := range map[schema.GroupVersionKind]int{
		{Group: "kubernetes.crossplane.io", Version: "v1alpha2", Kind: "Object"}:   2,
		{Group: "kubernetes.m.crossplane.io", Version: "v1alpha1", Kind: "Object"}: 2,
		{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application"}:           1,
		garageKind: 3, // the order as a file and as an order, and the form's
	} {
		if got := c.report.tally(gvk).objects; got != n {
			t.Errorf("%s: %d were checked, want %d", gvk, got, n)
		}
	}

	g, err := loadGarage("../..", c.kinds)
	if err != nil {
		t.Fatal(err)
	}
	whole := g.template
	for name, tc := range map[string]struct{ old, now, want string }{
		"Flavour":        {"kind: ClusterProviderConfig\n", "", "spec.providerConfigRef.kind: Required value"},
		"ClusterFlavour": {"namespace: crossplane-system", "labels: {a: b}", "metadata.namespace: Required value"},
		"NotReady":       {`== "Active"`, `== "active"`, "never counts as ready"},
		"NoNamespace":    {"namespace: {{ $namespace }}\n", "annotations: {a: b}\n", "metadata.namespace: Required value"},
		"NotText":        {"{{ $spec.stage | quote }}", "86", "data"},
		"Typo":           {"watch: true", "wach: true", "spec.wach: Forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			g.template = strings.Replace(whole, tc.old, tc.now, 1)
			if g.template == whole {
				t.Fatalf("%q is not in the template", tc.old)
			}
			parts, err := g.render(g.order)
			if err != nil {
				t.Fatal(err)
			}
			c := newChecker(t, dir)
			for _, part := range slices.Sorted(maps.Keys(parts)) {
				c.composed(place{"composition.yaml", part}, parts[part], "")
			}
			if got := strings.Join(c.report.failures, "\n"); !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want a failure with %q", got, tc.want)
			}
		})
	}
}
