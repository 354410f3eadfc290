package docs

import (
	"fmt"
	"regexp"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
)

// page is how a cure names a page beside this one.
var page = regexp.MustCompile(`docs/([a-z-]+)\.md`)

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
		fmt.Fprintf(&b, "| %s=%s | %s | %s |\n", c.Type, c.Status, strings.Join(c.Reasons, ", "), page.ReplaceAllString(cure, "[$1]($1.md)"))
	}
	b.WriteString(`
## When no condition says it

- **` + "`Synced=False`, reason `ReconcileError`" + `**: a step stopped the run. Nothing was changed or deleted. The sentence names the
  step, what is wrong and where.
- **Nothing on the order for two minutes, then a timeout**: Crossplane may not list and watch XDatasets
  (` + "`package/install/rbac.yaml`" + `), or can't reach a function (` + "`kubectl get functions`" + `).
- **A deletion hangs**: see below.

## When the figure looks wrong

The status has the bill: for each model and class the tokens, the price that was applied, and what they cost.

    kubectl get xab <name> -n agent-<name> -o jsonpath='{range .status.bill[*]}{@}{"\n"}{end}'
    kubectl describe xab <name> -n agent-<name>        # events Repriced, PricesStale; the conditions

| What you see | Mostly because |
|---|---|
| a model at a price that isn't its own | it has none in the table and counts at the dearest row (` + "`PricingComplete=False`" + `): add the row, and what was used under it is priced anew |
| an event Repriced | a row was edited in place, which re-prices what was used under it; a change of price is a row with ` + "`from`" + ` |
| SpendDoubtful, or a sentence on doubt in SpendMeasured | counters fell and nothing says why; the lower figure counts, the sentence has the amount |
| tokens that nobody used | another pod reports under the agent's name: ` + "`metrics.namespaces`" + ` ([metrics](metrics.md#whose-pod-it-was)) |
| more than the budget | a look came late: the budget cuts at the next one; the token-meter alone holds to the cent |

With a checkout of this repository and Go, ` + "`make -s explain`" + ` works the figure out again, line by line: [prices](prices.md#how-a-figure-came-about).

## When a deletion hangs

Crossplane deletes all parts at once, in no order, and calls no function for an order that is being deleted. So no condition of ours
says anything, and the order can leave ` + "`kubectl get xda`" + ` while its parts are still there. Look at what is left:

    kubectl get managed,objects.kubernetes.crossplane.io
    kubectl get objects.kubernetes.m.crossplane.io -n crossplane-system
    kubectl get ns agent-<name> -o yaml        # status.conditions name what still lies in it

Each part that is left has a condition Synced, and its message says what the provider waits for.

| What is left | Mostly because | Do |
|---|---|---|
| everything, Synced doesn't move | the provider or its ProviderConfig was removed first | install it again; it goes on by itself |
| a Bucket, a grant, an account | Google refuses: a right of the provider was taken away, or the project is gone | give the right back; or, if the thing itself is gone, take the part's finalizer away |
| the Namespace | something in it has a finalizer of its own, such as kagent's Agents after kagent was removed | its status names the kind; run the controller again, or take the finalizer away |
| an Object whose target is gone | its provider can't read the target's kind any more (the CRD was deleted) | bring the CRD back until the Object is gone |
| the order itself, with parts that are used | a Usage or ClusterUsage refuses, by protection or by function-sequencer | ` + "`kubectl get usages.protection.crossplane.io,clusterusages.protection.crossplane.io -A`" + ` names who |
| a paused agent's Deployments at 0 | a budget that stood alone was deleted while it paused | ` + "`kubectl scale`" + ` them; next time set ` + "`enforcement: monitor-only`" + ` first |

Take a finalizer away only when what it stands for is gone: a bucket whose part you removed so is nobody's, and stays.
`)
	return b.String()
}
