// Package emitbudget is the step "emit-budget" of the agent pipeline. It composes
// the agent's XAgentBudget, whose own pipeline measures and stops the agent, and
// repeats its figures in the order's status, where they outlive it.
package emitbudget

import (
	"context"
	"math"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/fn/internal/manifest"
)

// Function is the step "emit-budget".
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log logging.Logger
}

// New returns the step.
func New(log logging.Logger) *Function { return &Function{log: log} }

// RunFunction adds one part, and sets status url and budget and condition
// PartsHeldBack.
func (f *Function) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	return edge.Run(f.log, req, func(rsp *fnv1.RunFunctionResponse) error { return f.run(req, rsp) }), nil
}

func (f *Function) run(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) error {
	in := &input.EmitBudgetInput{}
	if err := edge.Input(req, in); err != nil {
		return err
	}
	xr, err := edge.Agent(req)
	if err != nil {
		return err
	}
	dataset, err := edge.Dataset(req)
	if err != nil {
		return err
	}

	agent := xr.Spec.AgentName
	budget := edge.Observed(req, v1alpha1.PartXAgentBudget)
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

	var heldBack []v1alpha1.HeldBack
	switch {
	case dataset == nil:
		// An order that can't be filled has no chat page and gets no budget.
	case budget.Exists() || edge.NamespaceActive(req):
		status["url"] = URL(agent, edge.BaseDomain(req, xr.Spec.BaseDomain), in.ExternalPort)
		b := Budget{
			Agent:         agent,
			USD:           xr.Spec.BudgetUSD,
			Composition:   in.CompositionName,
			Pricing:       in.PricingRef,
			Enforcement:   in.Enforcement,
			Period:        in.Period,
			TimeZone:      in.TimeZone,
			WarnAtPercent: in.WarnAtPercent,
		}
		if opened != nil {
			b.Opening = budget.Value("spec", "opening") // to the letter
		}
		if !budget.Exists() || budget.Deleting() || forgetful {
			o, err := Opening(figures)
			if err != nil {
				return errors.Errorf("cannot open budget: %s; correct or remove it with `kubectl edit --subresource=status xda %s`", err, agent)
			}
			if o == nil && opened == nil {
				o = Beginning(in.Period, in.TimeZone, xr.CreationTimestamp.Time, edge.NamespaceCreated(req))
			}
			if o != nil {
				b.Opening = o
			}
		}
		if err := edge.AddComposed(req, rsp, map[string]manifest.Object{v1alpha1.PartXAgentBudget: Render(b)}); err != nil {
			return err
		}
		f.log.Debug("Rendered budget", "agent", agent, "with-opening", b.Opening != nil)
	default:
		status["url"] = URL(agent, edge.BaseDomain(req, xr.Spec.BaseDomain), in.ExternalPort)
		heldBack = append(heldBack, v1alpha1.HeldBack{
			Part:     v1alpha1.PartXAgentBudget,
			WaitsFor: "namespace " + v1alpha1.AgentNamespace(agent) + " to be active",
		})
	}
	if len(status) > 0 {
		if err := edge.SetStatus(req, rsp, status); err != nil {
			return err
		}
	}
	if err := edge.HoldBack(req, rsp, heldBack...); err != nil {
		return err
	}
	return edge.NothingLost(req, rsp, "there is no valid dataset, so nothing can be rendered (condition DatasetValid says why)", v1alpha1.PartXAgentBudget)
}

// observedOpening reads what an observed budget opened with; nil when that is
// nothing. An opening that can't be read is an error: a budget that is rendered
// without it forgets what was spent.
func observedOpening(budget edge.Part) (*v1alpha1.Opening, error) {
	v := budget.Value("spec", "opening")
	if _, null := v.GetKind().(*structpb.Value_NullValue); null || v.GetKind() == nil {
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
		AsOf:     budget.String("status", "ledger", "asOf"),
		Period:   budget.String("status", "ledger", "period"),
		Opening:  opening,
	}
	if v, ok := budget.Value("status", "paused").GetKind().(*structpb.Value_BoolValue); ok {
		o.Paused = &v.BoolValue
	}
	switch c := v1alpha1.Cause(budget.String("status", "cause")); c {
	case v1alpha1.CauseBudgetExhausted, v1alpha1.CauseAgentUnreachable, v1alpha1.CauseUnknown, v1alpha1.CauseRunning:
		o.Cause = c
	}
	return o
}

func number(v *structpb.Value) *float64 {
	n, ok := v.GetKind().(*structpb.Value_NumberValue)
	if !ok || math.IsNaN(n.NumberValue) || math.IsInf(n.NumberValue, 0) {
		return nil
	}
	return &n.NumberValue
}
