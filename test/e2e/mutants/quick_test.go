package mutants

import (
	"os"
	"strings"
	"testing"
)

// TestQuick runs the unit test that must notice a mutant, where one does, when QUICK is set.
func TestQuick(t *testing.T) { //nolint:tparallel // each part compiles: one after the other
	t.Parallel()
	if os.Getenv("QUICK") == "" {
		t.Skip("make mutants-quick runs it")
	}
	root := checkout(t)
	for _, m := range Mutants {
		if m.Test == "" {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			overlay, err := m.Overlay(root, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			test, part, _ := strings.Cut(m.Test, "/")
			run := "^" + test + "$"
			if part != "" {
				run += "/^" + part + "$"
			}
			out, err := goTest(t.Context(), root, "-count=1", "-overlay", overlay, "-run", run, m.Package)
			switch {
			case err == nil:
				t.Errorf("SURVIVED %s %s; what the mistake would mean: %s", m.Package, m.Test, m.Why)
			case !strings.Contains(out, "--- FAIL: "+test):
				t.Errorf("%s %s was not played: %s", m.Package, m.Test, out)
			}
		})
	}
}
