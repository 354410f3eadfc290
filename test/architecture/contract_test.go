package architecture

import (
	"go/ast"
	"go/printer"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"whisperops.io/functions/apis/v1alpha1"
)

// contract are the files of apis/v1alpha1 that hold what more than one place must
// agree on.
var contract = []string{"conditions.go", "names.go", "context.go", "parts.go"}

// constants returns the string constants that a parsed file declares, by name.
func constants(t *testing.T, f *ast.File) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			for i, value := range v.Values {
				if l, ok := value.(*ast.BasicLit); ok && l.Kind == token.STRING {
					text, err := strconv.Unquote(l.Value)
					if err != nil {
						t.Fatal(err)
					}
					out[v.Names[i].Name] = text
				}
			}
		}
	}
	return out
}

// TestContractIsWrittenOnce proves that no condition, reason, label, part or other
// name of the contract is typed a second time: what is typed twice is changed once.
func TestContractIsWrittenOnce(t *testing.T) {
	names := map[string]string{}
	for path, f := range sources(t, "apis/v1alpha1") {
		if slices.Contains(contract, filepath.Base(path)) {
			for name, value := range constants(t, f) {
				names[value] = name
			}
		}
	}
	if len(names) < 90 {
		t.Fatalf("only %d names were found in %v", len(names), contract)
	}
	// Words that mean something else where they stand: fields of objects, words of logs.
	elsewhere := []string{"namespace", "dataset", "bucket", "dashboard", "prompts", "ledger", "sandbox", "WorkloadIdentity"}
	for _, dir := range []string{"apis/input", "fn", "internal", "cmd"} {
		for path, f := range sources(t, dir) {
			ast.Inspect(f, func(n ast.Node) bool {
				if _, ok := n.(*ast.Field); ok {
					return false // struct tags
				}
				l, ok := n.(*ast.BasicLit)
				if !ok || l.Kind != token.STRING {
					return true
				}
				text, err := strconv.Unquote(l.Value)
				if err != nil {
					t.Fatal(err)
				}
				name, ours := names[text]
				// Programs around the pipeline say "planner" to people, and label pods of their own.
				if dir == "internal" && !strings.HasPrefix(text, "whisperops") && !strings.HasPrefix(name, "Condition") && !strings.HasPrefix(name, "Reason") {
					return true
				}
				if ours && !slices.Contains(elsewhere, text) {
					t.Errorf("%s types %q: it is v1alpha1.%s", path, text, name)
				}
				return true
			})
		}
	}
}

// TestEveryReasonHasItsCure proves that a person who meets a reason finds it in
// docs/troubleshooting.md, and that nothing stands there which nobody says.
func TestEveryReasonHasItsCure(t *testing.T) {
	file := sources(t, "apis/v1alpha1")["apis/v1alpha1/conditions.go"]
	types, reasons := map[string]bool{}, map[string]bool{}
	for name, value := range constants(t, file) {
		switch {
		case strings.HasPrefix(name, "Condition"):
			types[value] = false
		case strings.HasPrefix(name, "Reason"):
			reasons[value] = false
		}
	}
	for _, c := range v1alpha1.Cures() {
		if _, ok := types[c.Type]; !ok {
			t.Errorf("%s is no condition", c.Type)
		}
		types[c.Type] = true
		for _, r := range c.Reasons {
			if _, ok := reasons[r]; !ok {
				t.Errorf("%s is no reason", r)
			}
			reasons[r] = true
		}
	}
	for _, crossplanes := range []string{v1alpha1.ConditionSynced, v1alpha1.ConditionResponsive} {
		delete(types, crossplanes) // told in the page's own words
	}
	for what, found := range map[string]map[string]bool{"condition": types, "reason": reasons} {
		for name, cured := range found {
			if !cured {
				t.Errorf("%s %s has no cure in v1alpha1.Cures", what, name)
			}
		}
	}
}

// TestStationsShareTheirOpening proves that no two fn.go begin their run alike: what
// they have in common is edge.Call's.
func TestStationsShareTheirOpening(t *testing.T) {
	const alike = 3 // statements; two are "input, and stop at an error"
	openings := map[string]string{}
	stations := 0
	for path, f := range sources(t, "fn") {
		if filepath.Base(path) != "fn.go" {
			continue
		}
		stations++
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Name.Name != "run" {
				continue
			}
			if len(fn.Type.Params.List) == 0 || !strings.HasPrefix(source(t, fn.Type.Params.List[0].Type), "*edge.Call") {
				t.Errorf("%s: run takes no *edge.Call", path)
			}
			var text []string
			for _, s := range fn.Body.List[:min(alike, len(fn.Body.List))] {
				text = append(text, source(t, s))
			}
			opening := strings.Join(text, "\n")
			if other, ok := openings[opening]; ok {
				t.Errorf("%s and %s begin alike:\n%s", path, other, opening)
			}
			openings[opening] = path
		}
	}
	if stations != 9 || len(openings) != 9 {
		t.Errorf("%d stations, %d of them with a run", stations, len(openings))
	}
}

// source prints a node as it stands in its file, without its comments.
func source(t *testing.T, n ast.Node) string {
	t.Helper()
	var b strings.Builder
	if err := printer.Fprint(&b, token.NewFileSet(), n); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
