package decide

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/internal/money"
)

// What an order allows reaches its budget through the order's own pipeline. Where that
// can't run (there is no kind XDataset, or Crossplane may not read it; a function is
// gone), a cut would not arrive, for as long as that lasts. So decide looks at the order
// itself, and what it allows counts where it is less: a raise waits for the pipeline,
// in which a station may refuse it.

// An Order is what is known of the order that a budget is part of.
type Order struct {
	Name   string
	Budget money.USD

	// InStep: its pipeline went through since the order was last changed, so what it
	// passes on is here.
	InStep bool

	// Failing: the last run of its pipeline failed.
	Failing bool
}

// allowed is what counts of what a budget was given and what its order, nil for none,
// says now.
func allowed(given money.USD, o *Order) money.USD {
	if o == nil || o.InStep {
		return given
	}
	return min(given, o.Budget)
}

// orderFollowed says that a change of the order does not arrive, and once more when
// there is none any longer that doesn't. Otherwise there is nothing to say.
func orderFollowed(f Facts) (condition, bool) {
	o := f.Order
	if o == nil || !o.Failing || o.Budget == f.Given {
		return again(f, yes(v1alpha1.ConditionOrderFollowed, v1alpha1.ReasonInStep, "No change of the order's budgetUsd waits"))
	}
	counts := "It allows less, and that counts"
	if o.Budget > f.Given {
		counts = "It allows more, which counts as soon as the order can be carried out"
	}
	return no(v1alpha1.ConditionOrderFollowed, v1alpha1.ReasonOrderStuck,
		"XDatasetAgent "+o.Name+" was changed and can't be carried out: its condition Synced says why (`kubectl describe xda "+o.Name+"`). "+counts), true
}

// soleBudget names the other budgets of the agent likewise.
func soleBudget(f Facts) (condition, bool) {
	if len(f.Others) == 0 {
		return again(f, yes(v1alpha1.ConditionSoleBudget, v1alpha1.ReasonNoOtherBudget, "The agent has no other budget"))
	}
	return no(v1alpha1.ConditionSoleBudget, v1alpha1.ReasonAnotherBudget,
		"Another budget is for this agent, too: XAgentBudget "+list(f.Others)+". Only the one in the agent's namespace counts, and stops it: delete what lies elsewhere"), true
}

// again says a condition only where it was said before and isn't True.
func again(f Facts, c condition) (condition, bool) {
	was := statusOf(f.Status.Conditions, c.Type)
	return c, was != "" && was != metav1.ConditionTrue
}

const (
	requireOrder  = "order"
	requireOthers = "budgets"
)

// readOrder asks for the order that controls the budget; nil while there is none. A budget
// that stands alone asks for nothing: there may not even be orders.
func readOrder(c *edge.Call) *Order {
	by := c.Composite().ControlledBy()
	if by.APIVersion != v1alpha1.GroupVersion.String() || by.Kind != v1alpha1.KindXDatasetAgent {
		return nil
	}
	found := c.LookUp(requireOrder, edge.Name{APIVersion: by.APIVersion, Kind: by.Kind, Name: by.Name})
	i := slices.IndexFunc(found, func(p edge.Part) bool { return p.String("metadata", "uid") == string(by.UID) })
	if i < 0 {
		return nil
	}
	budget := readMoney(found[i].Value("spec", "budgetUsd"))
	if budget == nil {
		return nil
	}
	o := &Order{Name: by.Name, Budget: budgetOf(budget.Float())}
	status, of := found[i].ConditionOf(v1alpha1.ConditionSynced)
	generation, _ := edge.Number(found[i].Value("metadata", "generation"))
	o.Failing = status == string(metav1.ConditionFalse)
	// An order that nobody said a generation of is taken at its word.
	o.InStep = status == string(metav1.ConditionTrue) && (of == 0 || of >= generation)
	return o
}

// readOthers asks for the budgets of the same name, which is the agent's, and returns
// those in other namespaces. Crossplane writes the label on every XR: that of the order,
// which has the name too, on what it composes.
func readOthers(c *edge.Call, namespace, name string) []string {
	if me := c.Composite(); me.Kind() != v1alpha1.KindXAgentBudget || me.Group() != v1alpha1.GroupVersion.Group {
		return nil // somebody else's kind; where ours isn't installed, Crossplane would fail to look it up, and with it all of the pipeline
	}
	if namespace == "" || name == "" {
		return nil // rendered by hand
	}
	var others []string
	for _, p := range c.LookUpLabelled(requireOthers, v1alpha1.GroupVersion.String(), v1alpha1.KindXAgentBudget, map[string]string{v1alpha1.LabelComposite: name}) {
		if ns := p.String("metadata", "namespace"); ns != namespace && p.String("metadata", "name") == name && !p.Deleting() {
			others = append(others, ns+"/"+name)
		}
	}
	return others
}
