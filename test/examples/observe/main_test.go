package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestUpToDate: what the stories observe is what the pipeline renders today.
func TestUpToDate(t *testing.T) {
	texts, err := observe(dir())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range texts {
		got, err := os.ReadFile(filepath.Join(dir(), name, "observed.yaml"))
		if err != nil {
			t.Errorf("cannot read what %s observes (make examples-observed writes it): %v", name, err)
			continue
		}
		if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(string(got), "\n")); diff != "" {
			t.Errorf("%s observes what the pipeline does not render any more; make examples-observed writes it anew (-rendered, +committed):\n%s", name, diff)
		}
	}
}
