package decide

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/money"
)

// Facts are everything that a decision rests on.
type Facts struct {
	Budget        money.USD // per period; 0 is no money at all
	Given         money.USD // what the budget's own spec says
	Order         *Order    // that it is part of; nil when there is none
	Others        []string  // other budgets of the agent, as namespace/name
	MonitorOnly   bool
	Period        v1alpha1.Period
	WarnAtPercent []int32
	PricingTable  string        // where the price table is, for people
	GuardBand     time.Duration // 0 is off
	Now           time.Time

	Spend   *Spend                 // nil when it was not measured
	Problem *v1alpha1.SpendProblem // why it was not
	Flaw    *v1alpha1.SpendProblem // what was wrong with a measurement that counts all the same

	Status  Status
	Objects []Replicas

	// Opening is what had been spent before the budget was made; nil when nothing was.
	Opening *Opening

	// OpenedAnew: the budget was opened after Status was counted, so what that
	// decided was about what another order spent.
	OpenedAnew bool
}

// An Opening is what was spent in a period before the budget was made.
type Opening struct {
	USD    money.USD
	Period string
}

// Spend is what fetch-spend measured.
type Spend struct {
	USD         money.USD
	Period      string // that it belongs to, as v1alpha1.PeriodKey names it; "" when not said
	NeverSeen   bool   // not one sample was ever counted
	Unpriced    []string
	Distrusted  []string
	BurnPerHour money.USD // at present; 0 when not said

	Doubtful   money.USD // that may have been spent beside USD
	AtDearest  money.USD // what it would be if models that lacked a price still did; 0 when not said
	Tierless   []string  // models with tokens of a tier without a price
	PriceFlaws []string
	Announced  []string // prices that change soon, or just did
	Repriced   *v1alpha1.Repriced

	PricesProblem *v1alpha1.SpendProblem // why the last good prices count
	PricesSince   string
	Flaw          *v1alpha1.SpendProblem // what is wrong, though USD counts
}

// Status is what the previous pass that was written left in status. A field that
// isn't there, or is not what it should be, is nil or empty.
type Status struct {
	Spent         *money.USD
	Ratio         *tenThousandths
	Paused        *bool
	Cause         v1alpha1.Cause
	Period        string
	DecidedBudget *money.USD
	Conditions    []metav1.Condition
}

// Replicas is what is observed of one of the two sparse Objects.
type Replicas struct {
	// Stopped: it holds its Deployment at 0.
	Stopped bool

	// Period and Budget that the stop was decided for, as the step "render" wrote
	// them on the Object; "" and nil when it did not.
	Period string
	Budget *money.USD

	// OutOfSyncSince is when the Object's condition Synced became False; zero while
	// it isn't.
	OutOfSyncSince time.Time
}

// A Verdict is the state of a budget: what status says, and what just changed.
type Verdict struct {
	Paused        bool
	Cause         v1alpha1.Cause
	Spent         *money.USD // nil when nothing at all is known
	Period        string
	DecidedBudget money.USD
	Conditions    []metav1.Condition // SpendMeasured, PricingComplete, WithinBudget, always; OrderFollowed, SoleBudget where there is something to say
	Events        []Event
}

// ratio of what was spent to the budget; nil when nothing is known. All of nothing
// is spent even then.
func (v Verdict) ratio(budget money.USD) *tenThousandths {
	var spent money.USD
	if v.Spent != nil {
		spent = *v.Spent
	} else if budget > 0 {
		return nil
	}
	r := ratio(spent, budget)
	return &r
}

// An Event is something that changed.
type Event struct {
	Warning bool
	Reason  string
	Message string
}

// unreachableAfter is how long a sparse Object may be out of sync: a new agent's
// Deployments take a minute or two to appear.
const unreachableAfter = 5 * time.Minute

// Decide says whether an agent may keep running: rules, in rules.go, are tried in order
// and the first that applies wins. Every set of facts has a verdict, so there is no error.
func Decide(f Facts) Verdict {
	at := situate(f)
	r := decided(at)

	v := Verdict{
		Paused:        r.pauses,
		Cause:         cause(at.Facts, at.spent, r.pauses),
		Spent:         at.spent,
		Period:        at.now,
		DecidedBudget: f.Budget,
	}
	if r.name == ruleGuardBand && at.last.paused {
		// The raise, or the new period, still counts when the burn has calmed down.
		v.DecidedBudget = at.last.budgetIn(at.Facts, at.now)
	}
	v.Conditions = []metav1.Condition{spendMeasured(at.Facts), pricingComplete(at.Facts), r.withinBudget(at)}
	for _, says := range []func(Facts) (condition, bool){orderFollowed, soleBudget} {
		if c, is := says(at.Facts); is {
			v.Conditions = append(v.Conditions, c)
		}
	}
	v.Events = events(at, v, r)
	return v
}

// situate finds what the rules look at.
func situate(f Facts) situation {
	now, f := currentPeriod(f)
	return situation{Facts: f, last: lastDecision(f, now), now: now, spent: knownSpend(f, now)}
}

// cause is the first of the four that holds.
func cause(f Facts, spent *money.USD, paused bool) v1alpha1.Cause {
	switch {
	case paused || exhausted(f, spent):
		return v1alpha1.CauseBudgetExhausted
	case slices.ContainsFunc(f.Objects, func(o Replicas) bool {
		return !o.OutOfSyncSince.IsZero() && f.Now.Sub(o.OutOfSyncSince) >= unreachableAfter
	}):
		return v1alpha1.CauseAgentUnreachable
	case spent == nil:
		return v1alpha1.CauseUnknown
	}
	return v1alpha1.CauseRunning
}

// knownSpend is what is known to be spent in the current period: what was measured
// now, else the figure that stands in status, else what the budget was opened with.
// Within a period money is never unspent, so an old figure is still the least that it can be.
func knownSpend(f Facts, now string) *money.USD {
	switch {
	case f.Spend != nil && f.Spend.Period != "" && f.Spend.Period != now:
		return new(money.USD(0)) // the measurement ends before the period began
	case f.Spend != nil:
		return &f.Spend.USD
	case f.Status.Spent != nil && f.Status.of(now) && !f.OpenedAnew:
		return f.Status.Spent
	case f.Opening != nil && f.Opening.Period == now:
		return &f.Opening.USD
	}
	return nil
}

// of says whether the figures in a status are of the period now. A lifetime
// contains every other period.
func (s Status) of(now string) bool {
	return now == string(v1alpha1.PeriodLifetime) || !decision{period: s.Period}.before(now)
}

// A decision is what an earlier pass decided.
type decision struct {
	paused bool
	period string     // "" when it is not known
	budget *money.USD // that is used up if paused; nil when it is not known
}

// before says whether the decision was made in a period that is over, or for
// periods of another kind. An unknown period, or one to come, is no reason to
// pardon anybody.
func (d decision) before(now string) bool {
	k := kindOf(d.period)
	return k != "" && (k != kindOf(now) || d.period < now)
}

// after says whether the decision was made for a period of the same kind that has not
// begun.
func (d decision) after(now string) bool {
	return kindOf(d.period) == kindOf(now) && kindOf(now) != "" && d.period > now
}

// pausedForLater says whether that is what the last look said: it wrote the period of now.
func (f Facts) pausedForLater() bool {
	return slices.ContainsFunc(f.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == v1alpha1.ConditionWithinBudget && c.Reason == v1alpha1.ReasonPausedForLater
	})
}

// raised says whether there is more money than was used up.
func (d decision) raised(f Facts) bool { return d.budget != nil && f.Budget > *d.budget }

// openedAnew says whether what was decided was about what another order spent. Until
// something is measured, nobody knows what this one has.
func (f Facts) openedAnew() bool { return f.OpenedAnew && f.Spend != nil }

// holds says whether a pause goes on: nothing ends it.
func (d decision) holds(f Facts, now string) bool {
	return d.paused && !f.MonitorOnly && !d.before(now) && !d.raised(f) && !f.openedAnew() && !f.restedOnPrices(now)
}

// restedOnPrices says whether an agent was paused only because a model had no price
// and was charged at the dearest row: it has one now, and with the dearest row still
// the budget would be spent. Another one that has none yet is charged at that now.
func (f Facts) restedOnPrices(now string) bool {
	if f.Spend == nil || f.Spend.AtDearest < f.Budget || f.Spend.USD >= f.Budget || !f.Status.of(now) || f.Status.Spent == nil {
		return false
	}
	lacked := statusOf(f.Status.Conditions, v1alpha1.ConditionPricingComplete) == metav1.ConditionFalse
	// Where nobody says that one lacked a price, the figure does, to its last decimal.
	off := f.Spend.AtDearest - *f.Status.Spent
	return lacked || -unit <= off && off <= unit
}

// budgetIn is the budget that is used up in the period now: none in a new one, or
// when the budget was opened anew.
func (d decision) budgetIn(f Facts, now string) money.USD {
	if d.before(now) || d.budget == nil || f.OpenedAnew {
		return 0
	}
	return *d.budget
}

// lastDecision finds what was decided last. Status knows, unless it was lost or its
// last write was: then the sparse Objects, which are written first, know.
func lastDecision(f Facts, now string) decision {
	s := decision{period: f.Status.Period, budget: f.Status.DecidedBudget}
	if s.budget == nil {
		s.budget = impliedBudget(f.Status)
	}
	if f.Status.Paused != nil && *f.Status.Paused {
		s.paused = true
		return s
	}
	i := slices.IndexFunc(f.Objects, func(o Replicas) bool { return o.Stopped })
	if i < 0 {
		return s
	}
	o := decision{paused: true, period: f.Objects[i].Period, budget: f.Objects[i].Budget}
	if f.Status.Paused == nil {
		return o
	}
	if o.budget != nil && o.holds(f, now) {
		return o
	}
	return s // the status is newer: it has seen what ended the pause
}

// impliedBudget is the budget for which another version, or another function,
// wrote a status: spent divided by its ratio, and never less, because both have 4
// decimals only.
func impliedBudget(s Status) *money.USD {
	if s.Spent == nil || s.Ratio == nil || *s.Ratio <= 0 {
		return nil
	}
	// A unit of the last decimal more was spent, and half a unit less is the ratio.
	b := s.Spent.Plus(unit).Scaled(20_000, 2*int64(*s.Ratio)-1)
	return &b
}

const (
	// clockSkew is what the clocks of two functions may differ by.
	clockSkew = 5 * time.Minute

	// meterLag is how far a measurement may lag behind: a step of its time grid, at
	// most ten minutes, and what a sample takes until it can be queried.
	meterLag = 30 * time.Minute
)

// currentPeriod says which period it is, and takes a measurement of another one
// out of the facts. A period that has begun never ends before its time: the
// clocks of two functions, and of the meter, pass midnight one after the other.
func currentPeriod(f Facts) (string, Facts) {
	now := v1alpha1.PeriodKey(f.Period, f.Now)
	next := v1alpha1.PeriodKey(f.Period, f.Now.Add(clockSkew))
	// A clock that was set back is alone with what it says, or nobody measures.
	setBack := f.Status.Period == v1alpha1.PeriodKey(f.Period, f.Now.Add(24*time.Hour)) && (f.Spend == nil || f.Spend.Period == f.Status.Period)
	switch {
	case f.Status.Period == next || f.Spend != nil && f.Spend.Period == next:
		now = next
	case setBack:
		now = f.Status.Period
	}
	previous := v1alpha1.PeriodKey(f.Period, f.Now.Add(-meterLag))
	if f.Spend != nil && !slices.Contains([]string{"", previous, now}, f.Spend.Period) {
		f.Spend = nil
		f.Problem = &v1alpha1.SpendProblem{
			Reason:  v1alpha1.ReasonOtherPeriod,
			Message: "The step fetch-spend measured another period than the current one: compare the clocks of the functions",
		}
	}
	return now, f
}

// kindOf tells the kinds of period keys apart, because only keys of one kind
// compare: lifetime, 2026-11, 2026-W48, 2026-11-23. It is "" for anything else.
func kindOf(period string) v1alpha1.Period {
	if period == string(v1alpha1.PeriodLifetime) {
		return v1alpha1.PeriodLifetime
	}
	shape := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return '0'
		}
		return r
	}, period)
	switch shape {
	case "0000-00-00":
		return v1alpha1.PeriodDaily
	case "0000-W00":
		return v1alpha1.PeriodWeekly
	case "0000-00":
		return v1alpha1.PeriodMonthly
	}
	return ""
}
