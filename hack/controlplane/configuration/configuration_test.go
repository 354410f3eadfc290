package configuration

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/xpkg"
)

const xrd = `
apiVersion: apiextensions.crossplane.io/v2
kind: CompositeResourceDefinition
metadata: {name: xthings.example.org}
spec:
  group: example.org
  names: {kind: XThing, plural: xthings}
  scope: Cluster
`

// composition names two functions, one by its repository, one as the package manager
// would call it.
const composition = `
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: xthing}
spec:
  compositeTypeRef: {apiVersion: example.org/v1, kind: XThing}
  pipeline:
  - {step: ready, functionRef: {name: function-auto-ready}}
  - {step: patch, functionRef: {name: acme-function-patch}}
`

const meta = `
apiVersion: meta.pkg.crossplane.io/v1
kind: Configuration
metadata: {name: things}
spec:
  dependsOn:
  - {apiVersion: pkg.crossplane.io/v1, kind: Function, package: REGISTRY/acme/function-patch, version: ">=v1.2.0"}
  - {provider: xpkg.crossplane.io/crossplane-contrib/provider-kubernetes, version: v1.3.1}
`

// folder writes files, each named by its key.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for n, content := range files {
		if err := os.WriteFile(filepath.Join(dir, n), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// packed writes the package of a folder to a file.
func packed(t *testing.T, dir string, program []byte, to string) {
	t.Helper()
	m, stream, err := xpkg.Stream(dir)
	if err != nil {
		t.Fatal(err)
	}
	img, err := xpkg.Plain(m, stream)
	if program != nil {
		img, err = xpkg.Function(m, stream, program, runtime.GOARCH)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(to, name.MustParseReference("example.org/any:v1"), img); err != nil {
		t.Fatal(err)
	}
}

func names(objs []*unstructured.Unstructured) []string {
	var out []string
	for _, o := range objs {
		out = append(out, o.GetKind()+"/"+o.GetName())
	}
	return out
}

func TestRead(t *testing.T) {
	extra := map[string]string{
		"xrd.yaml": xrd, "composition.yaml": composition, "crossplane.yaml": strings.ReplaceAll(meta, "REGISTRY", "xpkg.crossplane.io"),
		"order.yaml":    "{apiVersion: example.org/v1, kind: XThing, metadata: {name: first}}",
		"price.yaml":    "{apiVersion: v1, kind: ConfigMap, metadata: {name: prices, namespace: default}}",
		"provider.yaml": "{apiVersion: kubernetes.crossplane.io/v1alpha1, kind: ProviderConfig, metadata: {name: in-cluster}}",
		"want.yaml":     "ready: true",
	}
	dir := folder(t, extra)
	c, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{"early": names(c.Early), "definitions": names(c.Definitions), "late": names(c.Late), "orders": names(c.Orders), "skipped": c.Skipped}
	want := map[string][]string{
		"early": {"ConfigMap/prices"}, "definitions": {"Composition/xthing", "CompositeResourceDefinition/xthings.example.org"},
		"late": {"ProviderConfig/in-cluster"}, "orders": {"XThing/first"}, "skipped": {"want.yaml"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("a folder is not sorted as it is applied (-want +got):\n%s", d)
	}
	wants := []Want{
		{Kind: "Function", Name: "acme-function-patch", Package: "xpkg.crossplane.io/acme/function-patch", Version: ">=v1.2.0", By: "Configuration things"},
		{Kind: "Function", Name: "function-auto-ready", By: "step ready of Composition xthing"},
		{Kind: "Provider", Name: "provider-kubernetes", Package: "xpkg.crossplane.io/crossplane-contrib/provider-kubernetes", Version: "v1.3.1", By: "Configuration things"},
	}
	if d := cmp.Diff(wants, c.Wants); d != "" {
		t.Errorf("a function is wanted under the name that a Composition says (-want +got):\n%s", d)
	}

	file := filepath.Join(t.TempDir(), "things.xpkg")
	packed(t, folder(t, map[string]string{"xrd.yaml": xrd, "composition.yaml": composition, "crossplane.yaml": extra["crossplane.yaml"]}), nil, file)
	p, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(wants, p.Wants); d != "" {
		t.Errorf("a package wants what its folder wants (-want +got):\n%s", d)
	}
}

func TestRefused(t *testing.T) {
	cases := map[string]struct {
		reason string
		files  map[string]string
		want   string
	}{
		"Empty":         {"A wrong folder is noticed before anything boots.", map[string]string{"a.yaml": "a: b"}, "holds no CompositeResourceDefinition"},
		"Function":      {"A function's own folder is no Configuration.", map[string]string{"xrd.yaml": xrd, "crossplane.yaml": strings.ReplaceAll(meta, "kind: Configuration", "kind: Provider")}, "not of a Configuration"},
		"Configuration": {"Nothing here resolves Configurations of Configurations.", map[string]string{"xrd.yaml": xrd, "crossplane.yaml": strings.ReplaceAll(meta, "provider:", "configuration:")}, "give a folder"},
		"BadReference":  {"A Function's package is read as the package manager reads it.", map[string]string{"xrd.yaml": xrd, "f.yaml": "{apiVersion: pkg.crossplane.io/v1, kind: Function, metadata: {name: f}, spec: {package: 'A B'}}"}, "cannot use Function f"},
	}
	for n, tc := range cases {
		t.Run(n, func(t *testing.T) {
			if _, err := Read(folder(t, tc.files)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s\nwant %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
	file := filepath.Join(t.TempDir(), "x.xpkg")
	if err := os.WriteFile(file, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(file); err == nil || !strings.Contains(err.Error(), "neither a folder nor a package's file") {
		t.Errorf("want what it isn't, got %v", err)
	}
}

// The foreign example boots: TestPull would name what it lacks.
func TestForeignExample(t *testing.T) {
	c, err := Read("../../../examples/foreign-assistant")
	if err != nil {
		t.Fatal(err)
	}
	h := Shelf{}
	for _, pkg := range []string{"xpkg.crossplane.io/whisperops/function-budget-fetch-spend", "xpkg.crossplane.io/whisperops/function-budget-decide", "xpkg.crossplane.io/crossplane-contrib/function-auto-ready"} {
		h.AddDir(pkg, "v0.1.0", "", "")
	}
	if err := h.Pull(t.Context(), c.Wants, t.TempDir(), t.Logf); err != nil {
		t.Error(err)
	}
	if !slices.Equal(c.Kinds(), []string{"xassistants.acme.example.org"}) || len(c.Orders) != 1 {
		t.Errorf("want one kind and its order, got %v and %v", c.Kinds(), names(c.Orders))
	}
}

// What the shelf hasn't is pulled, the newest that fits, and what that depends on too.
func TestPull(t *testing.T) {
	srv := httptest.NewServer(registry.New())
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	parse := func(ref string) name.Reference {
		r, err := name.ParseReference(ref)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	publish := func(repo, version, doc string) {
		m, stream, err := xpkg.Stream(folder(t, map[string]string{"crossplane.yaml": doc}))
		if err != nil {
			t.Fatal(err)
		}
		img, err := xpkg.Function(m, stream, []byte(version), runtime.GOARCH)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(parse(host+"/acme/"+repo+":"+version), img); err != nil {
			t.Fatal(err)
		}
	}
	const function = "{apiVersion: meta.pkg.crossplane.io/v1, kind: Function, metadata: {name: function-patch}, spec: {dependsOn: [{provider: REGISTRY/acme/provider-family, version: '>=v0.1.0'}]}}"
	for _, v := range []string{"v1.1.0", "v1.2.1", "v1.10.0", "v2.0.0-rc.1"} {
		publish("function-patch", v, strings.ReplaceAll(function, "REGISTRY", host))
	}
	publish("provider-family", "v0.3.0", "{apiVersion: meta.pkg.crossplane.io/v1, kind: Provider, metadata: {name: provider-family}}")

	dir := folder(t, map[string]string{"xrd.yaml": xrd, "composition.yaml": composition, "crossplane.yaml": strings.ReplaceAll(meta, "REGISTRY", host)})
	c, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	h := Shelf{}
	h.AddDir(providerKubernetes, "v1.3.1", "", "")
	to, said := t.TempDir(), 0
	err = h.Pull(t.Context(), c.Wants, to, func(string, ...any) { said++ })
	if err == nil || !strings.Contains(err.Error(), "function-auto-ready, for step ready of Composition xthing") || strings.Contains(err.Error(), "patch") {
		t.Errorf("want all that nobody can give, and nothing else, got %v", err)
	}
	if said != 2 {
		t.Errorf("want two pulls, got %d", said)
	}
	img, err := tarball.ImageFromPath(filepath.Join(to, "function-patch.xpkg"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if docs, err := documents(img); err != nil || docs[0].GetName() != "function-patch" {
		t.Errorf("want the package, got %v", err)
	}
	tags, err := newest(parse(host+"/acme/function-patch:v1").Context(), ">=v1.2.0", nil)
	if err != nil || tags != "v1.10.0" {
		t.Errorf("the newest release that fits is v1.10.0, not a candidate of the next: got %q, %v", tags, err)
	}
	// What was pulled is found again by the process that installs.
	again := Shelf{}
	if err := again.AddFiles(to); err != nil {
		t.Fatal(err)
	}
	if got := len(again.whole(c.Wants)); got != len(c.Wants)+1 {
		t.Errorf("want what the function depends on among the wants, got %d", got)
	}
}

func TestTag(t *testing.T) {
	cases := map[string]struct{ reason, want, have, tag string }{
		"Fits":       {"What is there keeps its version where that is enough.", ">=v0.1.0", "v0.2.0", "v0.2.0"},
		"Any":        {"A Composition knows no version.", "", "v0.2.0", "v0.2.0"},
		"TooOld":     {"What is there runs in place of what is asked for, under that name.", "v0.7.0", "v0.2.0", "v0.7.0"},
		"FileOnly":   {"A file says no version.", ">=v1.2.0, <v2", "", "v1.2.0"},
		"NobodyAsks": {"Something must stand after the colon.", "", "", "v0.0.1"},
	}
	for n, tc := range cases {
		t.Run(n, func(t *testing.T) {
			if got := tag(tc.want, tc.have); got != tc.tag {
				t.Errorf("%s\nwant %s, got %s", tc.reason, tc.tag, got)
			}
		})
	}
}
