// Package decide is the step "decide" of the budget's pipeline: facts in, verdict
// out. It is the single place where the truth about an agent's money is written:
// all of status, the conditions SpendMeasured, PricingComplete and WithinBudget,
// an event for what changed, and the context value should_pause.
package decide

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/types/known/structpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
)

// Function decides whether an agent may keep running.
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log logging.Logger
	now func() time.Time
}

// New returns the function.
func New(log logging.Logger) *Function { return NewAt(log, time.Now) }

// NewAt returns the function with a clock of its own, for tests and stories.
func NewAt(log logging.Logger, now func() time.Time) *Function { return &Function{log: log, now: now} }

// RunFunction decides.
func (f *Function) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	return edge.Run(f.log, req, func(rsp *fnv1.RunFunctionResponse) error { return f.run(req, rsp) }), nil
}

func (f *Function) run(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) error {
	in := &input.DecideInput{}
	if err := edge.Input(req, in); err != nil {
		return err
	}
	// The status is read apart from the spec, field by field: one that can't be
	// read is one that was lost, and no reason to stop enforcing.
	xr := &struct {
		Spec v1alpha1.XAgentBudgetSpec `json:"spec"`
	}{}
	if err := edge.CompositeInto(req, xr); err != nil {
		return err
	}
	if err := xr.Spec.Validate(); err != nil {
		return errors.Wrap(err, "cannot use budget")
	}

	facts := factsOf(xr.Spec, in, f.now())
	facts.Status = readStatus(req)
	facts.OpenedAnew = openedAnew(req, xr.Spec.Opening, facts.Now)
	facts.Objects = []Replicas{readReplicas(req, v1alpha1.PartPlannerReplicas), readReplicas(req, v1alpha1.PartWorkerReplicas)}
	facts.Spend, facts.Problem = readSpend(req)
	ledger, flaw := readLedger(req)
	facts.Flaw = flaw

	v := Decide(facts)
	f.log.Debug("Decided", "paused", v.Paused, "cause", v.Cause, "period", v.Period)
	return write(req, rsp, facts.Budget, v, ledger, readBill(req, facts.Spend != nil))
}

// factsOf fills in what an absent field means: a budget rendered by hand has
// passed no schema.
func factsOf(spec v1alpha1.XAgentBudgetSpec, in *input.DecideInput, now time.Time) Facts {
	pricing := spec.PricingRef.OrDefault()
	f := Facts{
		Budget:        budgetUSD(spec.BudgetUSD),
		MonitorOnly:   spec.Enforcement == v1alpha1.EnforcementMonitorOnly,
		Period:        cmp.Or(spec.Period, v1alpha1.PeriodLifetime),
		WarnAtPercent: spec.WarnAtPercent,
		PricingTable:  "ConfigMap " + pricing.Namespace + "/" + pricing.Name,
		GuardBand:     time.Duration(in.GuardBandSeconds) * time.Second,
		Now:           spec.In(now),
	}
	if o := spec.Opening; o != nil {
		// That of a first budget holds nothing, and nothing known is not 0.
		if usd, ok := spentUSD(o.USD); ok && usd > 0 {
			f.Opening = &Opening{USD: usd, Period: o.Period}
		}
	}
	if spec.WarnAtPercent == nil {
		f.WarnAtPercent = []int32{v1alpha1.DefaultWarnAtPercent}
	}
	return f
}

// readSpend reads what fetch-spend left: a figure, or why there is none.
func readSpend(req *fnv1.RunFunctionRequest) (*Spend, *v1alpha1.SpendProblem) {
	ctx := req.GetContext().GetFields()
	if v, ok := ctx[v1alpha1.ContextSpendProblem]; ok && !absent(v) {
		return nil, readProblem(v)
	}
	v, ok := ctx[v1alpha1.ContextSpendUSD]
	if !ok || absent(v) {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonNoFigure, Message: "The step fetch-spend left neither spend_usd nor spend_problem in the context: it was left out of the pipeline, comes later, or a step in between dropped the context"}
	}
	n, number := v.GetKind().(*structpb.Value_NumberValue)
	if !number {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonInvalidFigure, Message: "The step fetch-spend left a spend_usd that is no number"}
	}
	usd, ok := spentUSD(n.NumberValue)
	if !ok {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonInvalidFigure, Message: "The step fetch-spend left a spend_usd that is no amount of money: not a number, infinite, or less than 0"}
	}

	s := &Spend{USD: usd}
	m := ctx[v1alpha1.ContextMeasurement].GetStructValue().GetFields()
	s.Period = m["period"].GetStringValue()
	s.NeverSeen = m["neverSeen"].GetBoolValue()
	s.Unpriced = readStrings(m["unpricedModels"])
	s.Distrusted = slices.DeleteFunc(readStrings(m["distrusted"]), func(why string) bool { return why == "" })
	if burn, ok := spentUSD(m["burnUsdPerHour"].GetNumberValue()); ok {
		s.BurnPerHour = burn
	}
	readDetails(s, m)
	return s, nil
}

// readDetails reads what else fetch-spend noticed.
func readDetails(s *Spend, m map[string]*structpb.Value) {
	if d, ok := spentUSD(m["doubtfulUsd"].GetNumberValue()); ok {
		s.Doubtful = d
	}
	if d, ok := spentUSD(m["atDearestUsd"].GetNumberValue()); ok {
		s.AtDearest = d
	}
	s.Tierless = readStrings(m["unpricedTiers"])
	s.PriceFlaws = readStrings(m["priceFlaws"])
	s.Announced = readStrings(m["announced"])
	if p := m["pricesProblem"]; p.GetStructValue() != nil {
		s.PricesProblem, s.PricesSince = readProblem(p), clip(m["pricesSince"].GetStringValue())
	}
	if p := m["flaw"]; p.GetStructValue() != nil {
		s.Flaw = readProblem(p)
	}
	if r := m["repriced"].GetStructValue().GetFields(); r != nil {
		s.Repriced = &v1alpha1.Repriced{FromUSD: clip(r["fromUsd"].GetStringValue()), ToUSD: clip(r["toUsd"].GetStringValue()), Why: clip(r["why"].GetStringValue())}
	}
}

// readBill returns the bill to write: fetch-spend's, or else the observed one, as
// with the ledger. nil: there is none, or none that the schema takes.
func readBill(req *fnv1.RunFunctionRequest, measured bool) any {
	m := &struct {
		Bill []v1alpha1.BillLine `json:"bill"`
	}{}
	if found, err := edge.ContextInto(req, v1alpha1.ContextMeasurement, m); measured && found && err == nil && len(m.Bill) <= 64 {
		if len(m.Bill) == 0 {
			return nil
		}
		return m.Bill
	}
	if v := observedStatus(req)["bill"]; v.GetListValue() != nil {
		return v
	}
	return nil
}

// maxMessage and maxReason keep a foreign function's words within what the API
// server takes for a condition.
const maxMessage = 1024

var reasonPattern = regexp.MustCompile(`^[A-Za-z]([A-Za-z0-9_,:]{0,126}[A-Za-z0-9_])?$`)

func readProblem(v *structpb.Value) *v1alpha1.SpendProblem {
	p := &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonNotMeasured, Message: "The step fetch-spend could not measure, and does not say why"}
	fields := v.GetStructValue().GetFields()
	if r := fields["reason"].GetStringValue(); reasonPattern.MatchString(r) {
		p.Reason = r
	}
	if m := strings.TrimSpace(fields["message"].GetStringValue()); m != "" {
		p.Message = clip(m)
	}
	return p
}

func clip(s string) string {
	if r := []rune(s); len(r) > maxMessage {
		return string(r[:maxMessage]) + " ..."
	}
	return s
}

// readStrings reads a list of strings. An empty one is one, too: the model of
// tokens without a model label.
func readStrings(v *structpb.Value) []string {
	var out []string
	for _, e := range v.GetListValue().GetValues() {
		if s, ok := e.GetKind().(*structpb.Value_StringValue); ok {
			out = append(out, clip(s.StringValue))
		}
	}
	return out
}

// readLedger returns the ledger to write: fetch-spend's, or else the observed one,
// because a status field that is not sent is deleted. nil: there is none.
func readLedger(req *fnv1.RunFunctionRequest) (any, *v1alpha1.SpendProblem) {
	l := &v1alpha1.Ledger{}
	found, err := edge.ContextInto(req, v1alpha1.ContextLedger, l)
	if err == nil {
		err = l.Validate()
	}
	if found && err == nil {
		return l, nil
	}
	var flaw *v1alpha1.SpendProblem
	if err != nil {
		flaw = &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonInvalidLedger, Message: clip("The ledger that the step fetch-spend left can't be written, and the old one is kept: " + err.Error())}
	}
	if v := observedStatus(req)["ledger"]; v.GetStructValue() != nil {
		return v, flaw
	}
	return nil, flaw
}

// openedAnew says whether a budget's opening is later than the beginning of the ledger
// in its status: an order that takes over the budget of an earlier order of its name opens
// it with its own beginning, and one that finds it made again without what was
// spent, with that.
func openedAnew(req *fnv1.RunFunctionRequest, o *v1alpha1.Opening, now time.Time) bool {
	if o == nil {
		return false
	}
	asOf, err := time.Parse(time.RFC3339, o.AsOf)
	from, errFrom := time.Parse(time.RFC3339, observedStatus(req)["ledger"].GetStructValue().GetFields()["from"].GetStringValue())
	// A ledger begins at a full second; an opening to come opens nothing yet.
	return err == nil && errFrom == nil && asOf.Truncate(time.Second).After(from) && !asOf.After(now)
}

func observedStatus(req *fnv1.RunFunctionRequest) map[string]*structpb.Value {
	return req.GetObserved().GetComposite().GetResource().GetFields()["status"].GetStructValue().GetFields()
}

func readStatus(req *fnv1.RunFunctionRequest) Status {
	f := observedStatus(req)
	s := Status{
		Spent:         readMoney(f["spentUsd"]),
		Cause:         v1alpha1.Cause(f["cause"].GetStringValue()),
		Period:        f["period"].GetStringValue(),
		DecidedBudget: readMoney(f["decidedBudgetUsd"]),
	}
	if b, ok := f["paused"].GetKind().(*structpb.Value_BoolValue); ok {
		s.Paused = &b.BoolValue
	}
	if s.Period == "" {
		s.Period = f["ledger"].GetStructValue().GetFields()["period"].GetStringValue()
	}
	if r := readMoney(f["ratio"]); r != nil {
		t := tenThousandths((*r + 50) / 100)
		s.Ratio = &t
	}
	for _, v := range f["conditions"].GetListValue().GetValues() {
		c := v.GetStructValue().GetFields()
		s.Conditions = append(s.Conditions, metav1.Condition{
			Type:    c["type"].GetStringValue(),
			Status:  metav1.ConditionStatus(c["status"].GetStringValue()),
			Reason:  c["reason"].GetStringValue(),
			Message: c["message"].GetStringValue(),
		})
	}
	return s
}

// readMoney reads an amount; nil when there is none.
func readMoney(v *structpb.Value) *MicroUSD {
	n, ok := v.GetKind().(*structpb.Value_NumberValue)
	if !ok {
		return nil
	}
	m, ok := spentUSD(n.NumberValue)
	if !ok {
		return nil
	}
	return &m
}

func readReplicas(req *fnv1.RunFunctionRequest, name string) Replicas {
	p := edge.Observed(req, name)
	r := Replicas{Period: p.String("metadata", "annotations", v1alpha1.AnnotationPausedPeriod)}
	if n, ok := p.Value("spec", "forProvider", "manifest", "spec", "replicas").GetKind().(*structpb.Value_NumberValue); ok && n.NumberValue == 0 {
		for _, policy := range p.Value("spec", "managementPolicies").GetListValue().GetValues() {
			r.Stopped = r.Stopped || policy.GetStringValue() == "Update"
		}
	}
	if usd, err := strconv.ParseFloat(p.String("metadata", "annotations", v1alpha1.AnnotationPausedBudget), 64); err == nil {
		r.Budget = readMoney(structpb.NewNumberValue(usd))
	}
	if status, since := p.Condition(v1alpha1.ConditionSynced); status == "False" {
		r.OutOfSyncSince = since
	}
	return r
}

func absent(v *structpb.Value) bool {
	_, null := v.GetKind().(*structpb.Value_NullValue)
	return null || v.GetKind() == nil
}

// write writes everything, always: a status field that is not sent is deleted.
func write(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, budget MicroUSD, v Verdict, ledger, bill any) error {
	status := map[string]any{
		"paused":           v.Paused,
		"cause":            v.Cause,
		"period":           v.Period,
		"decidedBudgetUsd": v.DecidedBudget.USD(),
	}
	if v.Spent != nil {
		status["spentUsd"] = shown(*v.Spent, budget).float()
	}
	if r := v.ratio(budget); r != nil {
		status["ratio"], status["ratioPct"] = r.float(), r.percent()
	}
	if ledger != nil {
		status["ledger"] = ledger
	}
	if bill != nil {
		status["bill"] = bill
	}
	if err := edge.SetStatus(req, rsp, status); err != nil {
		return err
	}
	for _, c := range v.Conditions {
		edge.Condition(rsp, c)
	}
	for _, e := range v.Events {
		if e.Warning {
			response.Warning(rsp, errors.New(e.Message)).WithReason(e.Reason)
		} else {
			response.Normal(rsp, e.Message).WithReason(e.Reason)
		}
	}
	return edge.SetContext(rsp, v1alpha1.ContextShouldPause, v.Paused)
}
