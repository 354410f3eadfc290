package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// tenants: what another team may write, and nobody else suffers by: tokens under
// somebody's name, an order that would reach somebody's bucket, a price table that isn't
// theirs to look for, hidden text.
func tenants(t *testing.T, w *world) {
	me := w.tenant(t)
	w.apply(t, suite.NewDataset(housing, datasets))

	// Names of two orders make one bucket name; description: a right-to-left override, an
	// invisible tag, a bell.
	const first, second, hidden = "rent-agent-bot", "bot", "Answers\u202e questions\U000E0041 \a"
	order := suite.NewOrder(first, housing, 5)
	order.Object["spec"].(map[string]any)["description"] = hidden
	w.apply(t, order)
	w.ready(t, first)
	kept, same := w.keeps(t, first), w.untouched(t, first, 1)

	t.Run("NamesOfTwoMakeOneBucket", func(t *testing.T) {
		o := suite.NewOrder(second, housing, 5)
		o.Object["spec"].(map[string]any)["projectId"] = "acme-data-agent-rent"
		w.apply(t, o)
		w.seeOrder(t, heard, "the younger order to be refused", second, condition("NamesFree", "False", "NameTaken"), tells("NamesFree", "that of XDatasetAgent "+first))
		if made := w.refs(t, second); len(made) > 0 {
			t.Errorf("the younger order made %v", made)
		}
		w.delete(t, suite.API, "XDatasetAgent", "", second)
		w.gone(t, heard, suite.API, "XDatasetAgent", "", second)
		kept()
	})

	t.Run("HiddenText", func(t *testing.T) {
		for _, where := range []struct{ kind, namespace, name string }{
			{"ConfigMap", "monitoring", "agent-" + first + "-dashboard"}, {"ConfigMap", "agent-" + first, "agent-prompts"},
		} {
			o, err := w.Get(t.Context(), "v1", where.kind, where.namespace, where.name)
			if err != nil {
				t.Fatal(err)
			}
			data, _, _ := unstructured.NestedStringMap(o.Object, "data")
			seen := false
			for key, text := range data {
				seen = seen || strings.Contains(text, "Answers")
				for _, r := range text {
					if unicode.Is(unicode.Cf, r) || unicode.IsControl(r) && r != '\n' && r != '\t' {
						t.Errorf("%s %s, %s holds %U", where.kind, where.name, key, r)
					}
				}
				for _, written := range []string{`\u202e`, `\udb40`, `\u0007`} { // as JSON would
					if strings.Contains(strings.ToLower(text), written) {
						t.Errorf("%s %s, %s holds %s", where.kind, where.name, key, written)
					}
				}
			}
			if !seen {
				t.Errorf("%s %s doesn't hold the description at all", where.kind, where.name)
			}
		}
	})

	t.Run("TokensOfAnotherPod", func(t *testing.T) {
		w.Meter.Spend(first, suite.Model, suite.Input, million)
		w.seeBudget(t, heard, "what the agent used", first, spent(1.25), running)
		w.Meter.Report("team-acme", first, suite.Model, suite.Output, 100*million)
		w.seeBudget(t, heard, "the stranger's tokens to be named and not charged", first, spent(1.25), running, tells("SpendMeasured", `namespace="team-acme"`))
		same()
	})

	t.Run("PriceTableElsewhere", func(t *testing.T) {
		const ns, agent = "agent-lone-bot", "lone-bot"
		if out, err := me.kubectl(t.Context(), "create", "namespace", ns); err != nil {
			t.Fatal(out, err)
		}
		defer w.delete(t, "v1", "Namespace", "", ns)
		said := map[string]string{}
		for _, table := range []string{"extension-apiserver-authentication", "there-is-none"} { // the first is there
			file := filepath.Join(t.TempDir(), "budget.yaml")
			if err := os.WriteFile(file, fmt.Appendf(nil, `
apiVersion: whisperops.io/v1alpha1
kind: XAgentBudget
metadata: {name: %s, namespace: %s}
spec: {agentName: %s, budgetUsd: 1, pricingRef: {name: %s, namespace: kube-system}}
`, agent, ns, agent, table), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := me.kubectl(t.Context(), "create", "-f", file); err != nil {
				t.Fatal(out, err)
			}
			w.seeBudget(t, heard, "one sentence for "+table, agent, tells("SpendMeasured", "where price tables may not lie"), func(o *unstructured.Unstructured) error {
				_, _, said[table] = controlplane.Condition(o, "SpendMeasured")
				return nil
			})
			if out, err := me.kubectl(t.Context(), "delete", "-f", file, "--wait=false"); err != nil {
				t.Fatal(out, err)
			}
			w.gone(t, heard, suite.API, "XAgentBudget", ns, agent)
		}
		if a, b := said["extension-apiserver-authentication"], said["there-is-none"]; a != b {
			t.Errorf("a tenant can tell which ConfigMaps there are: %q, %q", a, b)
		}
	})

	w.delete(t, suite.API, "XDatasetAgent", "", first)
	w.gone(t, 2*time.Minute, suite.API, "XDatasetAgent", "", first)
}

// tells checks a part of a condition's message.
func tells(kind, part string) check {
	return func(o *unstructured.Unstructured) error {
		if _, _, msg := controlplane.Condition(o, kind); !strings.Contains(msg, part) {
			return fmt.Errorf("%s says %q; want %q in it", kind, msg, part)
		}
		return nil
	}
}
