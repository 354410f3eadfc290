package pipeline

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/golden"
)

// What six stations make of an order is the same whether each has all decoded, or decodes
// what it looks at of what the one before it sent, as their servers do.
func TestServedAsBytes(t *testing.T) {
	dir := filepath.Join(Root(), "examples", "agent-everything-ready")
	run := func(served bool) *crossplane.Result {
		t.Helper()
		var order map[string]any
		if ok, err := crossplane.ReadYAML(filepath.Join(dir, "xr.yaml"), &order); err != nil || !ok {
			t.Fatalf("no order (%v)", err)
		}
		composed, err := crossplane.ReadDocuments(filepath.Join(dir, "observed.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		cluster, err := crossplane.ReadDocuments(filepath.Join(dir, "required.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		observed, err := crossplane.Observed(order, composed, nil)
		if err != nil {
			t.Fatal(err)
		}
		steps, err := Agent(All())
		if err != nil {
			t.Fatal(err)
		}
		for i := range steps {
			if served {
				steps[i].Function = golden.Served(steps[i].Function)
			}
		}
		r, err := crossplane.Run(context.Background(), steps, observed, cluster, nil)
		if err != nil || r.Fatal != "" {
			t.Fatalf("%v %s", err, r.Fatal)
		}
		return r
	}
	decoded, served := run(false), run(true)
	if n := len(served.Desired.GetResources()); n != 22 {
		t.Errorf("%d parts", n)
	}
	if diff := cmp.Diff(decoded.Desired, served.Desired, protocmp.Transform()); diff != "" {
		t.Errorf("desired state: -decoded, +as bytes:\n%s", diff)
	}
	if diff := cmp.Diff(decoded.Context, served.Context, protocmp.Transform()); diff != "" {
		t.Errorf("context: -decoded, +as bytes:\n%s", diff)
	}
	if diff := cmp.Diff(decoded.Conditions, served.Conditions, protocmp.Transform()); diff != "" {
		t.Errorf("conditions: -decoded, +as bytes:\n%s", diff)
	}
}
