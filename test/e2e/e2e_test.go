// Package e2e runs the suite on a real Crossplane and breaks it on purpose. Each
// scenario asserts what a user sees and that nothing was lost.
package e2e

import (
	"flag"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
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

// An act is what happens at one time: scenarios that leave the platform and each
// other's agents alone, and so can share their waiting, or a single one that doesn't.
type act []scenario

// acts begin with what everything rests on and go on with what breaks the platform
// ever more. The last two judge what all others did.
var acts = []act{
	{{"OrderToReady", true, orderToReady, nil}},
	{ // the longest first
		{"Quiet", true, quiet, []string{"quiet-bot"}},
		{"Spending", true, spending, []string{"spending-bot"}},
		{"BudgetDeleted", true, budgetDeleted, []string{"billed-bot"}},
		{"StatusWiped", true, statusWiped, nil},
		{"NamespaceDeleted", false, namespaceDeleted, []string{"homeless-bot"}},
		{"OrderedAgainAtOnce", false, orderedAgainAtOnce, []string{"twice-bot"}},
		{"DatasetAppears", true, datasetAppears, nil},
		{"DatasetDeleted", true, datasetDeleted, nil},
		{"ObjectsDeleted", false, objectsDeleted, []string{"hands-bot"}},
		{"MonitorOnly", false, monitorOnly, []string{"watched-bot"}},
		{"DatasetSwapped", false, datasetSwapped, []string{"swap-bot"}},
		{"WrongOrders", true, wrongOrders, nil},
		{"Strangers", true, strangers, nil},
		{"Tenants", false, tenants, nil},
		{"SecondBudget", false, secondBudget, []string{"paired-bot"}},
		{"DeleteOrder", true, deleteOrder, []string{"gone-bot"}},
		{"GrantsFirst", false, grantsFirst, nil},
	},
	{
		{"ForeignStations", false, foreignStations, nil},
		{"ForeignBudgetStations", false, foreignBudgetStations, nil},
	},
	{
		{"QuestionAndAnswer", true, questionAndAnswer, []string{asked}},
		{"Apart", false, apart, []string{other}},
	},
	{{"DatasetReplaced", false, datasetReplaced, []string{other}}},
	{{"KeyReplaced", false, keyReplaced, []string{other}}},
	{{"SandboxKilled", false, sandboxKilled, []string{other}}},
	{{"PlannerKilled", false, plannerKilled, []string{other}}},
	{{"ModelRubbish", false, modelRubbish, []string{asked, other}}},
	// Behind what compares other's budget with its bill: a crash loses what it can't know.
	{{"MeterKilled", true, meterKilled, []string{other}}},
	{{"BudgetEmptied", true, budgetEmptied, []string{asked}}},
	{{"Policies", false, policies, []string{"ruled-bot"}}},
	{{"Restored", false, restored, []string{"kept-bot"}}},
	{{"Budget", true, budget, nil}},
	{{"Prices", false, prices, []string{"price-bot"}}},
	{{"BudgetMadeAgain", false, budgetMadeAgain, []string{"hasty-bot"}}},
	{{"CutWithoutDatasets", false, cutWithoutDatasets, []string{"stuck-bot"}}},
	{{"KeyLost", true, keyLost, []string{"keyless-bot"}}},
	{{"PrometheusKilled", false, prometheusKilled, []string{"steady-bot", "blind-bot"}}},
	{{"PrometheusForgets", false, prometheusForgets, []string{"steady-bot", "forgotten-bot"}}},
	{{"FunctionKilled", true, functionKilled, []string{"steady-bot"}}},
	{{"Upgrade", false, upgrade, []string{"steady-bot", "upgraded-bot"}}},
	{{"ProcessesKilled", false, processesKilled, []string{"steady-bot", "shaken-bot"}}},
	{{"MeterSilent", false, meterSilent, []string{other}}},
	{{"DeletedWhileProviderIsDown", false, deletedWhileProviderIsDown, []string{other}}}, // other is gone after it
	{{"NoKeyMaterial", true, noKeyMaterial, nil}},
	{{"LeastPrivilege", true, leastPrivilege, nil}},
}

// together is how many scenarios of an act run at once. More would make two cores
// the reason why somebody waits.
const together = 4

func TestSuite(t *testing.T) {
	if controlplane.WantsRealNode() {
		t.Skip("its scenarios reach into the node of processes; TestRealNode is for the real one")
	}
	w := start(t)
	alone := strings.Contains(flag.Lookup("test.run").Value.String(), "/")
	for i, a := range acts {
		w.play(t, a)
		if i == 0 && !alone {
			w.order(t)
		}
	}
}

// play runs the scenarios of an act.
func (w *world) play(t *testing.T, a act) {
	t.Helper()
	var all sync.WaitGroup
	free := make(chan struct{}, together)
	for _, s := range a {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			t.Run(s.name, func(t *testing.T) {
				if testing.Short() && !s.short {
					t.Skip("not one of the short scenarios")
				}
				defer w.explain(t)
				s.run(t, w)
			})
		})
	}
	all.Wait()
}

// order orders the agents of all scenarios and waits until they are Ready.
func (w *world) order(t *testing.T) {
	t.Helper()
	var names []string
	for _, s := range slices.Concat(acts...) {
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
