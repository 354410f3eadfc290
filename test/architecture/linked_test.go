package architecture

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"whisperops.io/functions/test/pipeline"
)

var update = flag.Bool("update", false, "rewrite testdata/linked.txt, the modules that each function links")

// maxPackages is how many packages a function may link beside the standard library's: a
// do-nothing function on the SDK has 398. One that is above has imported something large.
const maxPackages = 240

// never are packages that look harmless and bring Kubernetes' clients along.
var never = map[string]string{
	"github.com/crossplane/crossplane-runtime/v2/pkg/errors": "use whisperops.io/functions/internal/errors",
	"github.com/crossplane/function-sdk-go/response":         "use whisperops.io/functions/internal/reply",
	"github.com/crossplane/function-sdk-go/request":          "read through edge.Call",
	"github.com/crossplane/function-sdk-go/resource":         "read through edge.Call",
	"text/template": "it keeps every method of every type in the program, a fifth of its size; if it comes through gRPC, the build tag grpcnotrace is missing",
}

// TestLinked keeps nine images small: testdata/linked.txt lists the modules that each
// function links, for people to review. go test ./test/architecture -run TestLinked -update
// rewrites it.
func TestLinked(t *testing.T) {
	mains, err := filepath.Glob(filepath.Join(pipeline.Root(), "cmd", "function-*"))
	if err != nil {
		t.Fatal(err)
	}
	linkedBy := map[string][]string{}
	for _, m := range mains {
		name := filepath.Base(m)
		packages := 0
		for _, p := range linked(t, name) {
			path, module, _ := strings.Cut(p, " ")
			if why, is := never[path]; is {
				t.Errorf("%s links %s: %s", name, path, why)
			}
			if module == "" {
				continue // the standard library's
			}
			packages++
			if !slices.Contains(linkedBy[module], name) {
				linkedBy[module] = append(linkedBy[module], name)
			}
		}
		if packages > maxPackages {
			t.Errorf("%s links %d packages, at most %d are small: go list -deps ./cmd/%s", name, packages, maxPackages, name)
		}
	}
	var text strings.Builder
	for _, module := range slices.Sorted(maps.Keys(linkedBy)) {
		by := "all"
		if len(linkedBy[module]) < len(mains) {
			by = strings.Join(linkedBy[module], " ")
		}
		fmt.Fprintf(&text, "%s: %s\n", module, by)
	}
	file := filepath.Join("testdata", "linked.txt")
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("functions link other modules (-%s, +now). Is it worth its bytes in nine images? Then rewrite the file with -update:\n%s", file, diff)
	}
}

// linked returns the packages that a function links, each with its module, as they are
// built for an image: on every machine the same.
func linked(t *testing.T, name string) []string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-tags", "grpcnotrace", "-f", "{{.ImportPath}} {{with .Module}}{{.Path}}{{end}}", "./cmd/"+name)
	cmd.Dir = pipeline.Root()
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOWORK=off")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("cannot list what %s links: %v", name, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// TestFunctionsAreBuiltSmall proves that images are built as TestLinked thinks.
func TestFunctionsAreBuiltSmall(t *testing.T) {
	for _, f := range []string{"Makefile", "hack/xpkg/cmd/xpkg/main.go"} {
		b, err := os.ReadFile(filepath.Join(pipeline.Root(), f))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), "grpcnotrace") {
			t.Errorf("%s builds without the tag grpcnotrace", f)
		}
	}
}
