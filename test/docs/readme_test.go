package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/pipeline"
)

// TestReadmeShowsTheColumns proves that what README.md says kubectl get prints has the
// columns that the schemas declare, in their order.
func TestReadmeShowsTheColumns(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(pipeline.Root(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"xrds/zz_generated.xdatasetagents.yaml", "xrds/zz_generated.xagentbudgets.yaml", "install/crds/zz_generated.xdatasets.yaml"} {
		docs, err := crossplane.ReadDocuments(filepath.Join(pipeline.Root(), "package", f))
		if err != nil || len(docs) != 1 {
			t.Fatalf("cannot read %s: %v", f, err)
		}
		var crd struct {
			Spec struct {
				Versions []struct {
					AdditionalPrinterColumns []struct{ Name string }
				}
			}
		}
		if err := crossplane.Convert(docs[0], &crd); err != nil {
			t.Fatal(err)
		}
		want := "NAME"
		for _, c := range crd.Spec.Versions[0].AdditionalPrinterColumns {
			want += " " + c.Name
		}
		found := false
		for line := range strings.Lines(string(b)) {
			header := strings.TrimPrefix(strings.Join(strings.Fields(line), " "), "NAMESPACE ")
			found = found || strings.HasPrefix(header+" ", want+" ")
		}
		if !found {
			t.Errorf("README.md shows no table that begins with %s", want)
		}
	}
}

// TestEachFunctionIsDescribed proves that package/functions/README.md says of every
// function what it reads and leaves.
func TestEachFunctionIsDescribed(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(pipeline.Root(), "package", "functions", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range steps(t) {
		if folder := strings.TrimPrefix(name, "function-"); !strings.Contains(string(b), "]("+folder+")") {
			t.Errorf("package/functions/README.md says nothing of %s", name)
		}
	}
}

// TestEachProgramHasItsPage proves that every program in hack is explained to those who
// run it, and listed where they look.
func TestEachProgramHasItsPage(t *testing.T) {
	mains, err := filepath.Glob(filepath.Join(pipeline.Root(), "hack", "*", "go.mod"))
	if err != nil || len(mains) < 4 {
		t.Fatalf("found %d programs: %v", len(mains), err)
	}
	index := read(t, filepath.Join("hack", "README.md"))
	for _, m := range mains {
		name := filepath.Base(filepath.Dir(m))
		if _, err := os.Stat(filepath.Join(filepath.Dir(m), "README.md")); err != nil {
			t.Errorf("hack/%s has no page: %v", name, err)
		}
		if !strings.Contains(index, "]("+name+"/README.md)") {
			t.Errorf("hack/README.md does not list %s", name)
		}
	}
}
