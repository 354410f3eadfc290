// Package e2e runs the suite on a real Crossplane and breaks it on purpose. Each
// scenario asserts what a user sees and that nothing was lost.
package e2e

import (
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"whisperops.io/functions/test/controlplane"
	"whisperops.io/functions/test/controlplane/suite"
)

func TestMain(m *testing.M) { os.Exit(controlplane.Isolated(m.Run)) }

// A scenario makes or borrows an order, does something to it or to the platform
// under it, and says what a user must see. It works alone, too:
//
//	make e2e RUN=TestSuite/KeyLost
type scenario struct {
	name string
	// short scenarios are those of `make e2e-short`, which CI runs: they end within
	// seconds, or tell most.
	short bool
	run   func(*testing.T, *world)
	// agents that it needs. They are ordered together, because becoming Ready is
	// mostly waiting.
	agents []string
}

// scenarios, the short ones first and those that break the platform last.
// The last two judge what all others did.
var scenarios = []scenario{
	{"OrderToReady", true, orderToReady, nil},
	{"WrongOrders", true, wrongOrders, nil},
	{"DatasetAppears", true, datasetAppears, nil},
	{"DatasetDeleted", true, datasetDeleted, nil},
	{"DatasetSwapped", false, datasetSwapped, []string{"swap-bot"}},
	{"Budget", true, budget, nil},
	{"MonitorOnly", false, monitorOnly, []string{"watched-bot"}},
	{"Prices", false, prices, []string{"price-bot"}},
	{"StatusWiped", true, statusWiped, nil},
	{"ObjectsDeleted", false, objectsDeleted, []string{"hands-bot"}},
	{"BudgetDeleted", true, budgetDeleted, []string{"billed-bot"}},
	{"KeyLost", true, keyLost, []string{"keyless-bot"}},
	{"NamespaceDeleted", false, namespaceDeleted, []string{"homeless-bot"}},
	{"Quiet", true, quiet, []string{"quiet-bot"}},
	{"Spending", true, spending, []string{"spending-bot"}},
	{"ForeignStations", false, foreignStations, nil},
	{"ForeignBudgetStations", false, foreignBudgetStations, nil},
	{"PrometheusKilled", false, prometheusKilled, []string{"steady-bot", "blind-bot"}},
	{"PrometheusForgets", false, prometheusForgets, []string{"steady-bot", "forgotten-bot"}},
	{"FunctionKilled", true, functionKilled, []string{"steady-bot"}},
	{"Upgrade", false, upgrade, []string{"steady-bot", "upgraded-bot"}},
	{"ProcessesKilled", false, processesKilled, []string{"steady-bot", "shaken-bot"}},
	{"DeleteOrder", true, deleteOrder, []string{"gone-bot"}},
	{"OrderedAgainAtOnce", false, orderedAgainAtOnce, []string{"twice-bot"}},
	{"NoKeyMaterial", true, noKeyMaterial, nil},
	{"LeastPrivilege", true, leastPrivilege, nil},
}

func TestSuite(t *testing.T) {
	w := start(t)
	for i, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			if testing.Short() && !s.short {
				t.Skip("not one of the short scenarios")
			}
			defer w.explain(t)
			s.run(t, w)
		})
		if i == 0 && !strings.Contains(flag.Lookup("test.run").Value.String(), "/") {
			w.order(t)
		}
	}
}

// order orders the agents of all scenarios and waits until they are Ready.
func (w *world) order(t *testing.T) {
	t.Helper()
	var names []string
	for _, s := range scenarios {
		if s.short || !testing.Short() {
			names = append(names, s.agents...)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	began := time.Now()
	for _, n := range names {
		w.apply(t, suite.NewOrder(n, housing, 5))
	}
	for _, n := range names {
		if err := w.WaitFor(t.Context(), 10*time.Minute, "Ready", suite.API, "XDatasetAgent", "", n); err != nil {
			t.Error(err)
		}
	}
	t.Logf("%d more agents Ready after %s", len(names), time.Since(began).Round(100*time.Millisecond))
}
