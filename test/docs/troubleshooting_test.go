package docs

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/test/pipeline"
)

var update = flag.Bool("update", false, "rewrite the generated pages")

const troubleshooting = "docs/troubleshooting.md"

// TestTroubleshooting proves that docs/troubleshooting.md holds every condition with
// every reason and its cure; go test ./test/docs -update rewrites it.
func TestTroubleshooting(t *testing.T) {
	file := filepath.Join(pipeline.Root(), troubleshooting)
	if *update {
		if err := os.WriteFile(file, []byte(page()), 0o644); err != nil { //nolint:gosec // a page of the repository
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != page() {
		t.Errorf("%s is not what apis/v1alpha1/conditions.go makes: go test ./test/docs -update", troubleshooting)
	}
}

func page() string {
	var b strings.Builder
	b.WriteString(`<!-- Code generated from apis/v1alpha1/conditions.go by go test ./test/docs -update. DO NOT EDIT. -->
# Troubleshooting

Start with ` + "`kubectl describe`" + ` on the order, its budget, or its dataset. The conditions name the cause and the way out.
Find the reason below.
`)
	kind := ""
	for _, c := range v1alpha1.Cures() {
		if c.Kind != kind {
			kind = c.Kind
			fmt.Fprintf(&b, "\n## %s\n\n| Condition | Reason | What to do |\n|---|---|---|\n", kind)
		}
		cure := c.Cure
		if cure == "" {
			cure = "Nothing: all is well."
		}
		fmt.Fprintf(&b, "| %s=%s | %s | %s |\n", c.Type, c.Status, strings.Join(c.Reasons, ", "), cure)
	}
	b.WriteString(`
## When no condition says it

- **` + "`Synced=False`, reason `ReconcileError`" + `**: a step stopped the run. Nothing was changed or deleted. The sentence names the
  step, what is wrong and where.
- **Nothing on the order for two minutes, then a timeout**: Crossplane may not list and watch XDatasets
  (` + "`package/install/rbac.yaml`" + `), or can't reach a function (` + "`kubectl get functions`" + `).
- **A deletion hangs**: the order can leave ` + "`kubectl get xda`" + ` while its parts hang. Look at what is left with
  ` + "`kubectl get managed`" + ` and ` + "`kubectl get objects.kubernetes.m.crossplane.io -n crossplane-system`" + `; the condition Synced
  of the part says what it waits for.
`)
	return b.String()
}
