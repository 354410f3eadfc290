package tokenmeter

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/money"
)

// A Mode is what happens when a call might pass the cap.
type Mode string

// The modes.
const (
	// ModeSoft refuses calls once the money is gone: it is passed by what was in
	// flight then.
	ModeSoft Mode = "soft"
	// ModeHard reserves the most a call can cost before it goes out: the cap is
	// never passed.
	ModeHard Mode = "hard"
)

// A Budget is what the meter knows of an XAgentBudget.
type Budget struct {
	Agent      string            `json:"agent"`
	Namespace  string            `json:"namespace"`
	UID        string            `json:"uid"`
	Created    time.Time         `json:"created"`
	Generation int64             `json:"generation"`
	Cap        USD               `json:"cap"`
	Enforced   bool              `json:"enforced"`
	Period     v1alpha1.Period   `json:"period"`
	TimeZone   string            `json:"timeZone,omitempty"` // by which periods begin; empty: UTC
	Mode       Mode              `json:"mode,omitempty"`     // empty: the meter's own
	Opening    *v1alpha1.Opening `json:"opening,omitempty"`
	Status     budgetStatus      `json:"status"`
}

// budgetStatus is what the budget's pipeline last said.
type budgetStatus struct {
	Measured bool      `json:"measured"` // there is a figure
	Spent    USD       `json:"spent"`
	Paused   bool      `json:"paused"`
	Period   string    `json:"period"`
	Decided  USD       `json:"decided"` // the cap that paused was decided for
	AsOf     time.Time `json:"asOf"`    // up to which Spent counts
}

// usdOf converts US dollars; what is no amount of money is none.
func usdOf(usd float64) USD {
	p, ok := money.Of(usd)
	if !ok {
		return 0
	}
	return p
}

// ModeAnnotation of an XAgentBudget chooses a mode for one agent.
const ModeAnnotation = "whisperops.io/meter-mode"

func budgetOf(b *v1alpha1.XAgentBudget) Budget {
	out := Budget{
		Agent: b.Spec.AgentName, Namespace: b.Namespace, UID: string(b.UID), Created: b.CreationTimestamp.UTC(), Generation: b.Generation,
		Cap: usdOf(b.Spec.BudgetUSD), Enforced: b.Spec.Enforcement != v1alpha1.EnforcementMonitorOnly, Period: b.Spec.Period,
		TimeZone: b.Spec.TimeZone, Opening: b.Spec.Opening,
	}
	if m := Mode(b.Annotations[ModeAnnotation]); m == ModeSoft || m == ModeHard {
		out.Mode = m
	}
	s := &out.Status
	s.Period = b.Status.Period
	if b.Status.SpentUSD != nil {
		s.Measured, s.Spent = true, usdOf(*b.Status.SpentUSD)
	}
	s.Paused = b.Status.Paused != nil && *b.Status.Paused
	if b.Status.DecidedBudgetUSD != nil {
		s.Decided = usdOf(*b.Status.DecidedBudgetUSD)
	}
	if stuck(b) && s.Decided > 0 {
		// The order allows less than what its pipeline passed on, and that was decided for.
		out.Cap = min(out.Cap, s.Decided)
	}
	if l := b.Status.Ledger; l != nil {
		if at, err := time.Parse(time.RFC3339, l.AsOf); err == nil {
			s.AsOf = at
		}
	}
	return out
}

// stuck says whether a change of the budget's order waits, as decide saw it.
func stuck(b *v1alpha1.XAgentBudget) bool {
	return slices.ContainsFunc(b.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == v1alpha1.ConditionOrderFollowed && c.Status == metav1.ConditionFalse
	})
}

// periodKey and periodStart tell of the period of a time, in the budget's time zone:
// the budget's pipeline writes the key of that into the status.
func (b Budget) periodKey(at time.Time) string { return v1alpha1.PeriodKey(b.Period, b.local(at)) }

func (b Budget) periodStart(at time.Time) time.Time {
	return v1alpha1.PeriodStart(b.Period, b.local(at))
}

func (b Budget) local(at time.Time) time.Time {
	return v1alpha1.XAgentBudgetSpec{TimeZone: b.TimeZone}.In(at)
}

// spentBy is what the budget's pipeline knows to be spent in the period of a time,
// or what the budget was opened with where it knows nothing yet; and up to when
// that counts.
func (b Budget) spentBy(at time.Time) (spent USD, asOf time.Time) {
	key := b.periodKey(at)
	if b.Status.Measured && b.Status.Period == key {
		return b.Status.Spent, b.Status.AsOf
	}
	asOf = b.periodStart(at)
	if b.Created.After(asOf) {
		asOf = b.Created
	}
	if b.Opening != nil && b.Opening.Period == key {
		spent = usdOf(b.Opening.USD)
		if t, err := time.Parse(time.RFC3339, b.Opening.AsOf); err == nil {
			asOf = t
		}
	}
	return spent, asOf
}

// judge says whether an agent may make a call, nil for yes. Own is what it spent
// by the meters' own count that the budget's figure lacks.
//
// A pause stands until somebody raises the budget, as for the pipeline: a figure
// that falls is no reason.
func (b Budget) judge(own USD, at time.Time) *refusal {
	if !b.Enforced {
		return nil
	}
	spent, _ := b.spentBy(at)
	spent += own
	raised := b.Cap > b.Status.Decided && b.Cap > spent
	paused := b.Status.Paused && b.Status.Period == b.periodKey(at) && !raised
	if !paused && spent < b.Cap {
		return nil
	}
	return &refusal{status: statusSpent, reason: "budget-exhausted", message: b.spentMessage(spent)}
}

// spentMessage is read by whoever asked the agent something.
func (b Budget) spentMessage(spent USD) string {
	money := dollars(min(spent, b.Cap)) + " of " + dollars(b.Cap) + " USD"
	if b.Cap == 0 {
		money = "it has no money at all"
	}
	until, zone := "", b.TimeZone
	if zone == "" {
		zone = "UTC"
	}
	switch b.Period {
	case v1alpha1.PeriodDaily:
		until = " It begins anew at midnight (" + zone + ")."
	case v1alpha1.PeriodWeekly:
		until = " It begins anew on Monday, at midnight (" + zone + ")."
	case v1alpha1.PeriodMonthly:
		until = " It begins anew with the next month, at midnight (" + zone + ")."
	case v1alpha1.PeriodLifetime:
	}
	return fmt.Sprintf("The budget of agent %q is spent (%s), so no question can be answered now.%s Whoever owns the agent can raise it: spec.budgetUsd of XDatasetAgent %s.", b.Agent, money, until, b.Agent)
}

// dollars writes an amount with 2 decimals, or 4 where it is less than a cent.
func dollars(p USD) string {
	decimals := 2
	if p > 0 && p < money.Dollar/100 {
		decimals = 4
	}
	return strconv.FormatFloat(p.Float(), 'f', decimals, 64)
}
