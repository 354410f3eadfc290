// Package architecture keeps the layout true: it is the page "how this codebase
// reads" as tests.
package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/pipeline"
)

// sources parses every Go file below dir, tests excepted.
func sources(t *testing.T, dir string) map[string]*ast.File {
	t.Helper()
	out := map[string]*ast.File{}
	err := filepath.WalkDir(filepath.Join(pipeline.Root(), dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(pipeline.Root(), path)
		out[filepath.ToSlash(rel)] = f
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) == 0 {
		t.Fatalf("no Go files below %s", dir)
	}
	return out
}

func imports(t *testing.T, f *ast.File) []string {
	t.Helper()
	var out []string
	for _, i := range f.Imports {
		p, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// A core is plain Go: a reader of render.go or decide.go must not have to know
// protobuf. Only fn.go and the edge do.
func TestOnlyEdgesImportProtobuf(t *testing.T) {
	for path, f := range sources(t, "fn") {
		if filepath.Base(path) == "fn.go" || strings.HasPrefix(path, "fn/internal/") {
			continue
		}
		for _, p := range imports(t, f) {
			if strings.HasPrefix(p, "google.golang.org/protobuf") || strings.HasPrefix(p, "github.com/crossplane/function-sdk-go") {
				t.Errorf("%s imports %s: only fn.go and fn/internal may", path, p)
			}
		}
	}
}

// Clock, randomness and network are facts that an edge hands in.
func TestCoresHaveNoClockAndNoNetwork(t *testing.T) {
	for path, f := range sources(t, "fn") {
		for _, p := range imports(t, f) {
			if slices.Contains([]string{"math/rand", "math/rand/v2", "crypto/rand"}, p) {
				t.Errorf("%s imports %s: the same request twice must give the same bytes", path, p)
			}
			if (strings.HasPrefix(p, "net") || strings.HasPrefix(p, "github.com/prometheus/client_golang/api")) && !strings.HasPrefix(path, "fn/budget/fetchspend/query/") && p != "net/url" && p != "net/netip" {
				t.Errorf("%s imports %s: only fetch-spend's query talks to a network", path, p)
			}
			if p == "os" || p == "os/exec" {
				t.Errorf("%s imports %s: a station's settings are its input", path, p)
			}
		}
		if base := filepath.Base(path); base == "fn.go" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "Tick", "NewTimer", "NewTicker"}, sel.Sel.Name) {
				t.Errorf("%s uses time.%s: the clock is a fact that fn.go hands in", path, sel.Sel.Name)
			}
			return true
		})
	}
}

// Stations don't know each other: what they share are context values.
func TestStationsDoNotImportEachOther(t *testing.T) {
	allowed := map[string]string{
		// The contract says that render-workloads applies the same formula when the
		// context holds no tuning.
		"fn/xda/renderworkloads": "whisperops.io/functions/fn/xda/computetuning",
	}
	for path, f := range sources(t, "fn") {
		for _, p := range imports(t, f) {
			if strings.HasPrefix(p, "whisperops.io/functions/fn/") && !strings.HasPrefix(p, "whisperops.io/functions/fn/internal/") && !inRoom(path, p) && allowed[filepath.Dir(path)] != p {
				t.Errorf("%s imports %s", path, p)
			}
			if strings.HasPrefix(p, "whisperops.io/functions/test") || strings.HasPrefix(p, "whisperops.io/functions/cmd") {
				t.Errorf("%s imports %s", path, p)
			}
		}
	}
}

// inRoom says whether an import stays within the counting room: fn.go and measure.go
// stand above count, price and query; price and query know count, and count nobody.
func inRoom(path, p string) bool {
	const room = "fn/budget/fetchspend"
	to, ok := strings.CutPrefix(p, "whisperops.io/functions/"+room+"/")
	if !ok || !strings.HasPrefix(path, room+"/") {
		return false
	}
	switch filepath.Dir(path) {
	case room:
		return true
	case room + "/price", room + "/query":
		return to == "count"
	}
	return false
}

// A third internal package needs a design note that names it.
func TestInternalPackages(t *testing.T) {
	entries, err := os.ReadDir(filepath.Join(pipeline.Root(), "fn", "internal"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "edge" && e.Name() != "manifest" {
			t.Errorf("fn/internal/%s: a third internal package needs a design note", e.Name())
		}
	}
}

// An operator reads `pipeline step "render-iam" ...`; drop the hyphen and that is
// the folder. Every step of ours has its cmd, its fn and its package.
func TestEveryStepHasItsPlaces(t *testing.T) {
	root := pipeline.Root()
	steps := 0
	for composition, family := range map[string]string{"xdatasetagent": "xda", "xagentbudget": "budget"} {
		docs, err := crossplane.ReadDocuments(filepath.Join(root, "package", "compositions", composition+".yaml"))
		if err != nil || len(docs) != 1 {
			t.Fatalf("cannot read Composition %s: %v", composition, err)
		}
		c := &pipeline.Composition{}
		if err := crossplane.Convert(docs[0], c); err != nil {
			t.Fatal(err)
		}
		for _, s := range c.Spec.Pipeline {
			if s.FunctionRef.Name == "function-auto-ready" {
				continue
			}
			steps++
			if want := "function-" + family + "-" + s.Step; s.FunctionRef.Name != want {
				t.Errorf("step %q refers to %s, not to %s", s.Step, s.FunctionRef.Name, want)
			}
			for _, place := range []string{
				filepath.Join("cmd", s.FunctionRef.Name, "main.go"),
				filepath.Join("fn", family, strings.ReplaceAll(s.Step, "-", ""), "fn.go"),
				filepath.Join("fn", family, strings.ReplaceAll(s.Step, "-", ""), "testdata"),
				filepath.Join("package", "functions", family+"-"+s.Step, "crossplane.yaml"),
			} {
				if _, err := os.Stat(filepath.Join(root, place)); err != nil {
					t.Errorf("step %q has no %s", s.Step, place)
				}
			}
		}
	}
	mains, err := filepath.Glob(filepath.Join(root, "cmd", "function-*"))
	if err != nil || len(mains) != steps {
		t.Errorf("%d function mains for %d steps of ours (%v)", len(mains), steps, err)
	}
}

// Mains are one line: a flag belongs to all functions or to none.
func TestMainsAreOneLine(t *testing.T) {
	one := regexp.MustCompile(`(?m)^func main\(\) \{ serve\.Main\("(function-[a-z-]+)", [a-z]+\.New\) \}$`)
	for path := range sources(t, "cmd") {
		dir := filepath.Base(filepath.Dir(path))
		if !strings.HasPrefix(dir, "function-") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(pipeline.Root(), path))
		if err != nil {
			t.Fatal(err)
		}
		if m := one.FindSubmatch(b); len(m) < 2 || string(m[1]) != dir {
			t.Errorf("%s is not one line that serves %s", path, dir)
		}
	}
}

// Every package says what it is for, and a station's names its step, so that
// searching for what an operator reads lands there.
func TestPackageDocs(t *testing.T) {
	docs := map[string]string{}
	for _, dir := range []string{"apis", "cmd", "fn", "internal", "test/crossplane", "test/golden", "test/pipeline", "test/properties"} {
		for path, f := range sources(t, dir) {
			if f.Doc != nil {
				docs[filepath.Dir(path)] += f.Doc.Text()
			} else if _, ok := docs[filepath.Dir(path)]; !ok {
				docs[filepath.Dir(path)] = ""
			}
		}
	}
	steps := map[string]string{}
	mains, err := filepath.Glob(filepath.Join(pipeline.Root(), "cmd", "function-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mains {
		family, step, _ := strings.Cut(strings.TrimPrefix(filepath.Base(m), "function-"), "-")
		steps["fn/"+family+"/"+strings.ReplaceAll(step, "-", "")] = step
	}
	for dir, doc := range docs {
		if doc == "" {
			t.Errorf("package %s has no doc comment", dir)
		}
		if step := steps[dir]; step != "" && !strings.Contains(doc, `"`+step+`"`) {
			t.Errorf("the doc comment of %s does not quote its step %q", dir, step)
		}
	}
}
