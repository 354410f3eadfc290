package emitbudget

import (
	"fmt"
	"strconv"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

// A Budget is what an agent's XAgentBudget is made from.
type Budget struct {
	Agent       string // as v1alpha1 validates it
	USD         float64
	Composition string
	Pricing     v1alpha1.PricingReference

	// Enforcement, Period, TimeZone and WarnAtPercent are their operator's when they are
	// not set here.
	Enforcement   *v1alpha1.Enforcement
	Period        *v1alpha1.Period
	TimeZone      *string
	WarnAtPercent []int32

	// Opening is what goes to spec.opening: an Opening, or an observed value to be
	// repeated as it is. Nil: there is none.
	Opening any
}

// Chosen returns what the platform has decided for all agents, else what the order
// says, else nil: whoever orders an agent can't let it off a rule of the platform.
func Chosen[T ~string](platform *T, order T) *T {
	if platform == nil && order != "" {
		return &order
	}
	return platform
}

// Render returns an agent's XAgentBudget. The chat page finds it by its name.
func Render(b Budget) manifest.Object {
	spec := manifest.Object{
		"crossplane": manifest.Object{"compositionRef": manifest.Object{"name": b.Composition}},
		"agentName":  b.Agent,
		"budgetUsd":  b.USD,
		"pricingRef": manifest.Object{"name": b.Pricing.Name, "namespace": b.Pricing.Namespace},
	}
	if b.Enforcement != nil {
		spec["enforcement"] = *b.Enforcement
	}
	if b.Period != nil {
		spec["period"] = *b.Period
	}
	if b.TimeZone != nil {
		spec["timeZone"] = *b.TimeZone
	}
	if len(b.WarnAtPercent) > 0 {
		spec["warnAtPercent"] = b.WarnAtPercent
	}
	if b.Opening != nil {
		spec["opening"] = b.Opening
	}
	return manifest.Object{
		"apiVersion": v1alpha1.GroupVersion.String(),
		"kind":       v1alpha1.KindXAgentBudget,
		"metadata": manifest.Object{
			"name":      b.Agent,
			"namespace": v1alpha1.AgentNamespace(b.Agent),
		},
		"spec": spec,
	}
}

// Before is what is known of a budget before it is rendered.
type Before struct {
	Exists    bool
	Deleting  bool
	Forgetful bool // made again by a reconcile that didn't know what was spent: see MadeAgain

	Opened   *v1alpha1.Opening // what it opened with; nil when that is nothing
	ToLetter any               // Opened as it is observed

	Spent *v1alpha1.BudgetFigures // what the order knows; nil when that is nothing

	Period    *v1alpha1.Period // the input's, or nil
	TimeZone  *string          // likewise
	Ordered   time.Time        // when the order was made; zero when that isn't known
	Namespace time.Time        // when the agent's namespace was; likewise
}

// Open returns what a budget opens with: an Opening, the observed value to the letter,
// or nil. One that lives on repeats what it has. One that is new, going, or forgetful
// opens with what was spent, or else, an agent's first, with its beginning.
func Open(b Before) (any, error) {
	var opening any
	if b.Opened != nil {
		opening = b.ToLetter
	}
	if b.Exists && !b.Deleting && !b.Forgetful {
		return opening, nil
	}
	o, err := Opening(b.Spent)
	if err != nil {
		return nil, err
	}
	if o == nil && b.Opened == nil {
		o = Beginning(b.Period, b.TimeZone, b.Ordered, b.Namespace)
	}
	if o != nil {
		opening = o
	}
	return opening, nil
}

// Opening carries what an agent has spent into a new budget: deleting a meter
// does not pay the bill. It is nil when nothing was ever counted.
func Opening(spent *v1alpha1.BudgetFigures) (manifest.Object, error) {
	if spent == nil || spent.AsOf == "" || spent.Period == "" {
		return nil, nil //nolint:nilnil // no opening is an answer
	}
	if _, err := time.Parse(time.RFC3339, spent.AsOf); err != nil {
		return nil, fmt.Errorf("status.budget.asOf %q of the order is no time such as 2026-11-23T10:00:00Z", spent.AsOf)
	}
	if spent.SpentUSD < 0 {
		return nil, fmt.Errorf("status.budget.spentUsd %v of the order is below 0", spent.SpentUSD)
	}
	if len(spent.Period) > 16 {
		return nil, fmt.Errorf("status.budget.period %q of the order is no period such as 2026-11", spent.Period)
	}
	return manifest.Object{"usd": spent.SpentUSD, "asOf": spent.AsOf, "period": spent.Period}, nil
}

// Beginning opens an agent's first budget: nothing was spent before there were both
// its order and its namespace. A budget that a reconcile makes again as it was, because it
// had not heard yet that somebody deleted it, counts from then too, not from when it
// was made, and so knows before its first decision what the order will tell it. A
// time that isn't known is zero; without either there is no Beginning. Why: docs/design/0010-a-budget-knows-its-beginning.md.
func Beginning(p *v1alpha1.Period, zone *string, ordered, namespace time.Time) manifest.Object {
	at := ordered
	if namespace.After(at) {
		at = namespace
	}
	if at.IsZero() {
		return nil
	}
	period := v1alpha1.PeriodLifetime
	if p != nil {
		period = *p
	}
	spec := v1alpha1.XAgentBudgetSpec{}
	if zone != nil {
		spec.TimeZone = *zone
	}
	return manifest.Object{"usd": 0.0, "asOf": at.UTC().Format(time.RFC3339), "period": v1alpha1.PeriodKey(period, spec.In(at))}
}

// MadeAgain says whether a budget was created after what the order knows to be
// spent was counted, and is not opened with it. A reconcile that still saw a budget
// which was just deleted by hand makes it again as it was: without an opening, or
// with the one of its own beginning, which the samples that a server still has may
// not reach back to.
func MadeAgain(created string, opened *v1alpha1.Opening, spent *v1alpha1.BudgetFigures) bool {
	if spent == nil {
		return false
	}
	at, err := time.Parse(time.RFC3339, created)
	asOf, errAsOf := time.Parse(time.RFC3339, spent.AsOf)
	if err != nil || errAsOf != nil || !at.After(asOf) {
		return false
	}
	if opened == nil {
		return true
	}
	from, err := time.Parse(time.RFC3339, opened.AsOf)
	return err == nil && from.Before(asOf)
}

// Observed is what an XAgentBudget says about itself. Fields are nil or empty
// while it hasn't said it.
type Observed struct {
	SpentUSD *float64
	Ratio    *float64
	Paused   *bool
	Cause    v1alpha1.Cause
	AsOf     string // of its ledger
	Period   string // of its ledger
	Opening  *v1alpha1.Opening
}

// Figures returns the figures that the order repeats: those of its XAgentBudget.
// What was spent is not forgotten because a new meter hasn't measured yet: until
// then it is what the order itself knows, nil when it knows nothing.
func Figures(o Observed, own *v1alpha1.BudgetFigures) *v1alpha1.BudgetFigures {
	decided := o.Paused != nil && o.Cause != ""
	if decided && o.SpentUSD != nil && o.Ratio != nil {
		f := v1alpha1.BudgetFigures{
			SpentUSD: *o.SpentUSD, Ratio: *o.Ratio, Paused: *o.Paused, Cause: o.Cause,
			AsOf: o.AsOf, Period: o.Period,
		}
		if f.AsOf == "" && o.Opening != nil && o.Opening.Period == o.Period {
			f.AsOf = o.Opening.AsOf // no sample since: all that was spent is the opening
		}
		return &f
	}
	if own == nil || !decided {
		return own
	}
	f := *own
	f.Paused, f.Cause = *o.Paused, o.Cause
	return &f
}

// URL of the agent's chat page. A port of 0 or 443 is not written.
func URL(agent, baseDomain string, port int32) string {
	host := v1alpha1.AgentHost(agent, baseDomain)
	if port != 0 && port != 443 {
		host += ":" + strconv.Itoa(int(port))
	}
	return "https://" + host + "/"
}
