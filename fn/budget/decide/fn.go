// Package decide is the step "decide" of the budget's pipeline: facts in, verdict
// out. It is the single place where the truth about an agent's money is written:
// all of status, the conditions SpendMeasured, PricingComplete and WithinBudget,
// an event for what changed, and the context value should_pause.
package decide

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"google.golang.org/protobuf/types/known/structpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/internal/money"
)

// New returns the step.
func New(log logging.Logger) *edge.Function { return NewAt(log, time.Now) }

// NewAt returns the step with a clock of its own, for tests and stories.
func NewAt(log logging.Logger, now func() time.Time) *edge.Function {
	return edge.New(log, func(c *edge.Call) error { return run(c, now()) })
}

func run(c *edge.Call, now time.Time) error {
	in := &input.DecideInput{}
	if err := c.Input(in); err != nil {
		return err
	}
	// The status is read apart from the spec, field by field: one that can't be
	// read is one that was lost, and no reason to stop enforcing.
	xr := &struct {
		Metadata metav1.ObjectMeta         `json:"metadata"`
		Spec     v1alpha1.XAgentBudgetSpec `json:"spec"`
	}{}
	if err := c.CompositeInto(xr); err != nil {
		return err
	}
	if err := xr.Spec.Validate(); err != nil {
		return errors.Wrap(err, "cannot use budget")
	}

	facts := factsOf(xr.Spec, in, now)
	facts.Order = readOrder(c)
	facts.Given, facts.Budget = facts.Budget, allowed(facts.Budget, facts.Order)
	facts.Others = readOthers(c, xr.Metadata.Namespace, xr.Metadata.Name)
	facts.Status = readStatus(c)
	facts.OpenedAnew = openedAnew(c, xr.Spec.Opening, facts.Now)
	facts.Objects = []Replicas{readReplicas(c.Observed(v1alpha1.PartPlannerReplicas)), readReplicas(c.Observed(v1alpha1.PartWorkerReplicas))}
	facts.Spend, facts.Problem = readSpend(c)
	ledger, flaw := readLedger(c)
	facts.Flaw = flaw
	if ok, why := v1alpha1.BudgetAtHome(xr.Metadata.Namespace, xr.Metadata.Name, xr.Spec.AgentName); !ok {
		// It would stop the agent whose namespace it lies in, or read a stranger's bill.
		facts.MonitorOnly, facts.Spend = true, nil
		facts.Problem = &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonNamespaceRefused, Message: why}
	}

	v := Decide(facts)
	c.Log.Debug("Decided", "paused", v.Paused, "cause", v.Cause, "period", v.Period)
	return leave(c, facts.Budget, v, ledger, readBill(c, facts.Spend != nil))
}

// factsOf fills in what an absent field means: a budget rendered by hand has
// passed no schema.
func factsOf(spec v1alpha1.XAgentBudgetSpec, in *input.DecideInput, now time.Time) Facts {
	pricing := spec.PricingRef.OrDefault()
	f := Facts{
		Budget:        budgetOf(spec.BudgetUSD),
		MonitorOnly:   spec.Enforcement == v1alpha1.EnforcementMonitorOnly,
		Period:        cmp.Or(spec.Period, v1alpha1.PeriodLifetime),
		WarnAtPercent: spec.WarnAtPercent,
		PricingTable:  "ConfigMap " + pricing.Namespace + "/" + pricing.Name,
		GuardBand:     time.Duration(in.GuardBandSeconds) * time.Second,
		Now:           spec.In(now),
	}
	if o := spec.Opening; o != nil {
		// That of a first budget holds nothing, and nothing known is not 0.
		if usd, ok := money.Of(o.USD); ok && usd > 0 {
			f.Opening = &Opening{USD: usd, Period: o.Period}
		}
	}
	if spec.WarnAtPercent == nil {
		f.WarnAtPercent = []int32{v1alpha1.DefaultWarnAtPercent}
	}
	return f
}

// readSpend reads what fetch-spend left: a figure, or why there is none.
func readSpend(c *edge.Call) (*Spend, *v1alpha1.SpendProblem) {
	if v := c.ContextValue(v1alpha1.ContextSpendProblem); !edge.IsNull(v) {
		return nil, readProblem(v)
	}
	v := c.ContextValue(v1alpha1.ContextSpendUSD)
	if edge.IsNull(v) {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonNoFigure, Message: "The step fetch-spend left neither spend_usd nor spend_problem in the context: it was left out of the pipeline, comes later, or a step in between dropped the context"}
	}
	n, number := v.GetKind().(*structpb.Value_NumberValue)
	if !number {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonInvalidFigure, Message: "The step fetch-spend left a spend_usd that is no number"}
	}
	usd, ok := money.Of(n.NumberValue)
	if !ok {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonInvalidFigure, Message: "The step fetch-spend left a spend_usd that is no amount of money: not a number, infinite, or less than 0"}
	}

	s := &Spend{USD: usd}
	m := c.ContextValue(v1alpha1.ContextMeasurement).GetStructValue().GetFields()
	s.Period = m["period"].GetStringValue()
	s.NeverSeen = m["neverSeen"].GetBoolValue()
	s.Unpriced = readStrings(m["unpricedModels"])
	s.Distrusted = slices.DeleteFunc(readStrings(m["distrusted"]), func(why string) bool { return why == "" })
	if burn, ok := money.Of(m["burnUsdPerHour"].GetNumberValue()); ok {
		s.BurnPerHour = burn
	}
	readDetails(s, m)
	return s, nil
}

// readDetails reads what else fetch-spend noticed.
func readDetails(s *Spend, m map[string]*structpb.Value) {
	if d, ok := money.Of(m["doubtfulUsd"].GetNumberValue()); ok {
		s.Doubtful = d
	}
	if d, ok := money.Of(m["atDearestUsd"].GetNumberValue()); ok {
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
func readBill(c *edge.Call, measured bool) any {
	m := &struct {
		Bill []v1alpha1.BillLine `json:"bill"`
	}{}
	if found, err := c.ContextInto(v1alpha1.ContextMeasurement, m); measured && found && err == nil && len(m.Bill) <= 64 {
		if len(m.Bill) == 0 {
			return nil
		}
		return m.Bill
	}
	if v := c.Composite().Value("status", "bill"); v.GetListValue() != nil {
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
	out := edge.Strings(v)
	for i := range out {
		out[i] = clip(out[i])
	}
	return out
}

// readLedger returns the ledger to write: fetch-spend's, or else the observed one,
// because a status field that is not sent is deleted. nil: there is none.
func readLedger(c *edge.Call) (any, *v1alpha1.SpendProblem) {
	l := &v1alpha1.Ledger{}
	found, err := c.ContextInto(v1alpha1.ContextLedger, l)
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
	if v := c.Composite().Value("status", "ledger"); v.GetStructValue() != nil {
		return v, flaw
	}
	return nil, flaw
}

// openedAnew says whether a budget's opening is later than the beginning of the ledger
// in its status: an order that takes over the budget of an earlier order of its name opens
// it with its own beginning, and one that finds it made again without what was
// spent, with that.
func openedAnew(c *edge.Call, o *v1alpha1.Opening, now time.Time) bool {
	if o == nil {
		return false
	}
	asOf, err := time.Parse(time.RFC3339, o.AsOf)
	from, errFrom := time.Parse(time.RFC3339, c.Composite().String("status", "ledger", "from"))
	// A ledger begins at a full second; an opening to come opens nothing yet.
	return err == nil && errFrom == nil && asOf.Truncate(time.Second).After(from) && !asOf.After(now)
}

func readStatus(c *edge.Call) Status {
	xr := c.Composite()
	s := Status{
		Spent:         readMoney(xr.Value("status", "spentUsd")),
		Paused:        edge.Bool(xr.Value("status", "paused")),
		Cause:         v1alpha1.Cause(xr.String("status", "cause")),
		Period:        cmp.Or(xr.String("status", "period"), xr.String("status", "ledger", "period")),
		DecidedBudget: readMoney(xr.Value("status", "decidedBudgetUsd")),
	}
	if r := readMoney(xr.Value("status", "ratio")); r != nil {
		t := tenThousandths((*r + unit/2) / unit)
		s.Ratio = &t
	}
	for _, v := range xr.Value("status", "conditions").GetListValue().GetValues() {
		f := v.GetStructValue().GetFields()
		s.Conditions = append(s.Conditions, metav1.Condition{
			Type:    f["type"].GetStringValue(),
			Status:  metav1.ConditionStatus(f["status"].GetStringValue()),
			Reason:  f["reason"].GetStringValue(),
			Message: f["message"].GetStringValue(),
		})
	}
	return s
}

// readMoney reads an amount; nil when there is none.
func readMoney(v *structpb.Value) *money.USD {
	n, ok := edge.Number(v)
	if !ok {
		return nil
	}
	m, ok := money.Of(n)
	if !ok {
		return nil
	}
	return &m
}

func readReplicas(p edge.Part) Replicas {
	r := Replicas{Period: p.String("metadata", "annotations", v1alpha1.AnnotationPausedPeriod)}
	if n, ok := edge.Number(p.Value("spec", "forProvider", "manifest", "spec", "replicas")); ok && n == 0 {
		r.Stopped = slices.Contains(p.Strings("spec", "managementPolicies"), "Update")
	}
	if usd, err := strconv.ParseFloat(p.String("metadata", "annotations", v1alpha1.AnnotationPausedBudget), 64); err == nil {
		r.Budget = readMoney(structpb.NewNumberValue(usd))
	}
	if status, since := p.Condition(v1alpha1.ConditionSynced); status == "False" {
		r.OutOfSyncSince = since
	}
	return r
}

// leave writes everything, always: a status field that is not sent is deleted.
func leave(c *edge.Call, budget money.USD, v Verdict, ledger, bill any) error {
	status := map[string]any{
		"paused":           v.Paused,
		"cause":            v.Cause,
		"period":           v.Period,
		"decidedBudgetUsd": v.DecidedBudget.Float(),
	}
	if v.Spent != nil {
		status["spentUsd"] = money.Shown(*v.Spent, budget).Float()
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
	if err := c.SetStatus(status); err != nil {
		return err
	}
	for _, is := range v.Conditions {
		c.Condition(is)
	}
	for _, e := range v.Events {
		if e.Warning {
			c.Warn(e.Reason, e.Message)
		} else {
			c.Tell(e.Reason, e.Message)
		}
	}
	return c.SetContext(v1alpha1.ContextShouldPause, v.Paused)
}
