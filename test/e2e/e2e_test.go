// Package e2e runs the suite on a real Crossplane and breaks it on purpose. Each
// scenario asserts what a user sees and that nothing was lost.
package e2e

import (
	"os"
	"testing"

	"whisperops.io/functions/test/controlplane"
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
}

// scenarios, the short ones first and those that break the platform last.
// The last two judge what all others did.
var scenarios = []scenario{
	{"OrderToReady", true, orderToReady},
	{"WrongOrders", true, wrongOrders},
	{"DatasetAppears", true, datasetAppears},
	{"DatasetDeleted", true, datasetDeleted},
	{"DatasetSwapped", false, datasetSwapped},
	{"Budget", true, budget},
	{"MonitorOnly", false, monitorOnly},
	{"Prices", false, prices},
	{"StatusWiped", true, statusWiped},
	{"ObjectsDeleted", false, objectsDeleted},
	{"BudgetDeleted", true, budgetDeleted},
	{"KeyLost", true, keyLost},
	{"NamespaceDeleted", false, namespaceDeleted},
	{"Quiet", true, quiet},
	{"Spending", true, spending},
	{"ForeignStations", false, foreignStations},
	{"ForeignBudgetStations", false, foreignBudgetStations},
	{"PrometheusKilled", false, prometheusKilled},
	{"PrometheusForgets", false, prometheusForgets},
	{"FunctionKilled", true, functionKilled},
	{"Upgrade", false, upgrade},
	{"ProcessesKilled", false, processesKilled},
	{"DeleteOrder", true, deleteOrder},
	{"OrderedAgainAtOnce", false, orderedAgainAtOnce},
	{"NoKeyMaterial", true, noKeyMaterial},
	{"LeastPrivilege", true, leastPrivilege},
}

func TestSuite(t *testing.T) {
	w := start(t)
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			if testing.Short() && !s.short {
				t.Skip("not one of the short scenarios")
			}
			defer w.explain(t)
			s.run(t, w)
		})
	}
}
