// Package emitbudget is the step "emit-budget" of the agent pipeline. It composes
// the agent's XAgentBudget, whose own pipeline measures and stops the agent, and
// repeats its figures in the order's status, where they outlive it.
package emitbudget

import (
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"google.golang.org/protobuf/types/known/structpb"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/fn/internal/manifest"
	"whisperops.io/functions/internal/errors"
)

// New returns the step.
func New(log logging.Logger) *edge.Function { return edge.New(log, run) }

// run adds one part, and sets status url and budget and conditions PartsHeldBack and,
// once the budget has them, SpendMeasured, PricingComplete and WithinBudget.
func run(c *edge.Call) error {
	in := &input.EmitBudgetInput{}
	xr, dataset, err := c.Ask(in, v1alpha1.UsesAgentName, v1alpha1.UsesBudgetUSD, v1alpha1.UsesBaseDomain, v1alpha1.UsesStatus)
	if err != nil {
		return err
	}

	agent := xr.Spec.AgentName
	enforcement, period := Chosen(in.Enforcement, xr.Spec.Enforcement), Chosen(in.Period, xr.Spec.Period)
	budget := c.Observed(v1alpha1.PartXAgentBudget)
	if !budget.Exists() && dataset != nil && c.NamespaceActive() {
		// An order that was restored takes its budget over with all that was spent.
		budget = c.Unadopted(edge.Name{
			Part: v1alpha1.PartXAgentBudget, APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindXAgentBudget,
			Namespace: v1alpha1.AgentNamespace(agent), Name: agent,
		})
	}
	opened, err := observedOpening(budget)
	if err != nil {
		return err
	}
	figures := Figures(observed(budget, opened), xr.Status.Budget)
	forgetful := MadeAgain(budget.String("metadata", "creationTimestamp"), opened, xr.Status.Budget)
	if forgetful {
		figures = xr.Status.Budget // the new meter knows nothing of what was spent before it
	}
	status := map[string]any{}
	if figures != nil {
		status["budget"] = figures
	}

	repeatConditions(c, budget)
	var heldBack []v1alpha1.HeldBack
	switch {
	case dataset == nil:
		// An order that can't be filled has no chat page and gets no budget.
	case budget.Exists() || c.NamespaceActive():
		status["url"] = URL(agent, c.BaseDomain(xr.Spec.BaseDomain), in.ExternalPort)
		opening, err := Open(Before{
			Exists:    budget.Exists(),
			Deleting:  budget.Deleting(),
			Forgetful: forgetful,
			Opened:    opened,
			ToLetter:  budget.Value("spec", "opening"),
			Spent:     figures,
			Period:    period,
			TimeZone:  in.TimeZone,
			Ordered:   xr.CreationTimestamp.Time,
			Namespace: c.NamespaceCreated(),
		})
		if err != nil {
			return errors.Errorf("cannot open budget: %s; correct or remove it with `kubectl edit --subresource=status xda %s`", err, agent)
		}
		b := Budget{
			Agent:         agent,
			USD:           xr.Spec.BudgetUSD,
			Composition:   in.CompositionName,
			Pricing:       in.PricingRef,
			Enforcement:   enforcement,
			Period:        period,
			TimeZone:      in.TimeZone,
			WarnAtPercent: in.WarnAtPercent,
			Opening:       opening,
		}
		if err := c.AddComposed(map[string]manifest.Object{v1alpha1.PartXAgentBudget: Render(b)}); err != nil {
			return err
		}
		c.Log.Debug("Rendered budget", "agent", agent, "with-opening", b.Opening != nil)
	default:
		status["url"] = URL(agent, c.BaseDomain(xr.Spec.BaseDomain), in.ExternalPort)
		heldBack = append(heldBack, v1alpha1.HeldBack{
			Part:     v1alpha1.PartXAgentBudget,
			WaitsFor: "namespace " + v1alpha1.AgentNamespace(agent) + " to be active",
		})
	}
	if len(status) > 0 {
		if err := c.SetStatus(status); err != nil {
			return err
		}
	}
	if err := c.HoldBack(heldBack...); err != nil {
		return err
	}
	return c.NothingLost("there is no valid dataset, so nothing can be rendered (condition DatasetValid says why)", v1alpha1.PartXAgentBudget)
}

// repeatConditions says of the order what its budget says of itself, so that whoever
// looks at the order sees that nothing can be measured, or that the money is gone.
func repeatConditions(c *edge.Call, budget edge.Part) {
	for _, typ := range []string{v1alpha1.ConditionSpendMeasured, v1alpha1.ConditionPricingComplete, v1alpha1.ConditionWithinBudget} {
		if is, ok := budget.Said(typ); ok {
			c.Condition(is)
		}
	}
}

// observedOpening reads what an observed budget opened with; nil when that is
// nothing. An opening that can't be read is an error: a budget that is rendered
// without it forgets what was spent.
func observedOpening(budget edge.Part) (*v1alpha1.Opening, error) {
	if edge.IsNull(budget.Value("spec", "opening")) {
		return nil, nil //nolint:nilnil // no opening is an answer
	}
	o := &v1alpha1.Opening{}
	if err := budget.Into(o, "spec", "opening"); err != nil {
		return nil, errors.Errorf("cannot read spec.opening of the observed XAgentBudget: %s; correct it there, because without it what was spent before is forgotten", err)
	}
	return o, nil
}

// observed reads what the budget says of itself, in place: its ledger is large,
// and whatever can't be read hasn't been said.
func observed(budget edge.Part, opening *v1alpha1.Opening) Observed {
	o := Observed{
		SpentUSD: number(budget.Value("status", "spentUsd")),
		Ratio:    number(budget.Value("status", "ratio")),
		Paused:   edge.Bool(budget.Value("status", "paused")),
		AsOf:     budget.String("status", "ledger", "asOf"),
		Period:   budget.String("status", "ledger", "period"),
		Opening:  opening,
	}
	switch c := v1alpha1.Cause(budget.String("status", "cause")); c {
	case v1alpha1.CauseBudgetExhausted, v1alpha1.CauseAgentUnreachable, v1alpha1.CauseUnknown, v1alpha1.CauseRunning:
		o.Cause = c
	}
	return o
}

func number(v *structpb.Value) *float64 {
	n, ok := edge.Number(v)
	if !ok {
		return nil
	}
	return &n
}
