package docs

import (
	"fmt"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
)

// troubleshooting is every condition with every reason and its cure.
func troubleshooting() string {
	var b strings.Builder
	b.WriteString(`<!-- Code generated from apis/v1alpha1/conditions.go by make generate. DO NOT EDIT. -->
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
