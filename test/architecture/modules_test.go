package architecture

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"

	"whisperops.io/functions/test/pipeline"
)

// asReleased are tools that are built from exactly what their authors chose,
// because they are what the suite is tried on, or have too little in common with it.
var asReleased = map[string]bool{
	"argo-cd": true, "coredns": true, "controller-gen": true, "etcd": true, "gitea": true, "golangci-lint": true, "kubernetes": true, "kyverno": true, "mimir": true, "provider-kubernetes": true, "prometheus-newer": true, "thanos": true, "victoriametrics": true,
}

// apart are requirements of one module's own tools, which meet nothing of the product.
var apart = map[string]string{
	"test/chat": "github.com/go-json-experiment/json", // of the browser's driver; the product has an older one of the functions' SDK
}

// TestModulesAgree proves that all modules use what they share in the product's
// version: what is tested is what is shipped, and a machine compiles Kubernetes'
// clients three times, not nine, which spares a fifth of all that a first make check compiles.
func TestModulesAgree(t *testing.T) {
	product := required(t, filepath.Join(pipeline.Root(), "go.mod"))
	files, err := filepath.Glob(filepath.Join(pipeline.Root(), "*", "*", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	deeper, err := filepath.Glob(filepath.Join(pipeline.Root(), "test", "*", "*", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, f := range append(files, deeper...) {
		dir := filepath.Dir(f)
		if filepath.Base(filepath.Dir(dir)) == "tools" && asReleased[filepath.Base(dir)] {
			continue
		}
		for path, version := range required(t, f) {
			want, shared := product[path]
			if own, err := filepath.Rel(pipeline.Root(), dir); err == nil && apart[filepath.ToSlash(own)] == path {
				continue
			}
			if !shared || strings.HasPrefix(path, "github.com/crossplane/") { // those are what is pinned
				continue
			}
			if compared++; version != want {
				t.Errorf("%s requires %s %s, the product %s: run go get %[2]s@%[4]s there, or in the product's module if that is newer", f, path, version, want)
			}
		}
	}
	if compared < 500 {
		t.Errorf("only %d requirements were compared", compared)
	}
}

// required returns the versions that a go.mod requires, by module.
func required(t *testing.T, file string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := modfile.Parse(file, data, nil)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, r := range m.Require {
		out[r.Mod.Path] = r.Mod.Version
	}
	return out
}
