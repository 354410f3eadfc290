//go:build linux

package sandbox

import (
	"context"
	"testing"
)

// Every wall that the probe tries stands on the kernels that CI and developers have.
func TestProbe(t *testing.T) {
	r := startRunner(t)
	w, err := r.probe(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	if len(w.Open) > 0 {
		t.Errorf("missing walls: %v", w.Open)
	}
}
