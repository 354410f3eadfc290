package decide

import (
	"fmt"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/money"
)

// A situation is what the rules look at.
type situation struct {
	Facts

	last  decision
	now   string     // the period
	spent *money.USD // nil when nothing is known
}

// A rule says whether an agent runs in a situation, and says so to people.
type rule struct {
	name   string
	when   func(s situation) bool
	pauses bool

	// reason and message of the condition WithinBudget, if the rule pauses; standings say
	// what that of a running agent is. No message holds an amount or a time: it would
	// move with every request of the agent.
	reason  string
	message func(s situation) string

	// event is what comes after "Planner and worker are scaled to 0: ", or "... may run
	// again: ", when that is new.
	event func(s situation) string
}

// rules are all of the decision. They are tried from top to bottom, and the first that
// applies decides. A figure that falls is no reason to start an agent: it falls when
// retention passes, a status is lost or a price changes, and a paused agent would come
// and go.
var rules = []rule{
	{
		name: "MonitorOnly", when: func(s situation) bool { return s.MonitorOnly },
		event: words("enforcement is monitor-only now"),
	},
	{
		name: "NoMoney", when: func(s situation) bool { return s.Budget == 0 }, pauses: true,
		reason: v1alpha1.ReasonBudgetExhausted,
		message: func(s situation) string {
			return "The budget is 0, which is no money at all: planner and worker are held at 0. " + wayOut(s.Facts)
		},
		event: spentOf,
	},
	{
		name: "Exhausted", when: func(s situation) bool { return exhausted(s.Facts, s.spent) }, pauses: true,
		reason: v1alpha1.ReasonBudgetExhausted,
		message: func(s situation) string {
			return "The budget is spent: planner and worker are held at 0. " + wayOut(s.Facts)
		},
		event: spentOf,
	},
	{
		name: v1alpha1.ReasonPausedForLater, when: func(s situation) bool {
			return s.last.holds(s.Facts, s.now) && (s.last.after(s.now) || s.pausedForLater())
		}, pauses: true,
		reason: v1alpha1.ReasonPausedForLater,
		message: func(s situation) string {
			return "The agent was paused in a period that has not begun by the clock of function-budget-decide: a clock was wrong, or is. The next " + string(s.Period) + " period ends the pause by itself; spec.enforcement monitor-only ends it now"
		},
		event: spentOf,
	},
	{
		name: v1alpha1.ReasonPausedUntilRaised, when: func(s situation) bool { return s.last.holds(s.Facts, s.now) }, pauses: true,
		reason: v1alpha1.ReasonPausedUntilRaised,
		message: func(s situation) string {
			was := "was spent"
			if s.GuardBand > 0 {
				was = "was spent, or about to be,"
			}
			return "The budget " + was + " earlier in this period: planner and worker are held at 0, although less is known to be spent now, because a figure that falls starts no agent. To start them, raise budgetUsd by however little" + otherWaysOut(s.Facts)
		},
		event: spentOf,
	},
	{
		name: ruleGuardBand, when: func(s situation) bool {
			return s.Spend != nil && s.spent != nil && s.spent.Plus(s.burntIn(s.GuardBand)) >= s.Budget
		}, pauses: true,
		reason: v1alpha1.ReasonGuardBand,
		message: func(s situation) string {
			return "At its present rate the agent would be past its budget before it could be stopped: planner and worker are held at 0. " + wayOut(s.Facts)
		},
		event: func(s situation) string {
			return spentOf(s) + ", and at its present rate the agent would be past its budget before it could be stopped"
		},
	},
	// What ends a pause, as releases say.
	{
		name: "NewPeriod", when: func(s situation) bool { return s.last.paused && s.last.before(s.now) },
		event: func(s situation) string { return "the period " + s.now + " has begun" },
	},
	{
		name: "Raised", when: func(s situation) bool { return s.last.paused && s.last.raised(s.Facts) },
		event: func(s situation) string { return "the budget was raised, " + spentOf(s) },
	},
	{
		name: "OpenedAnew", when: func(s situation) bool { return s.last.paused && s.openedAnew() },
		event: func(s situation) string { return "the budget was opened anew, " + spentOf(s) },
	},
	{
		name: "Priced", when: func(s situation) bool { return s.last.paused && s.restedOnPrices(s.now) },
		event: func(s situation) string {
			if len(s.Spend.Unpriced) > 0 {
				return "a model has a price now that had none, " + spentOf(s)
			}
			return "every model has a price now, " + spentOf(s)
		},
	},
	{
		name: v1alpha1.ReasonWithinBudget, when: func(situation) bool { return true },
		event: spentOf,
	},
}

// ruleGuardBand is the one rule that a verdict asks for by name.
const ruleGuardBand = v1alpha1.ReasonGuardBand

// A standing is how a running agent stands.
type standing struct {
	when    func(s situation) bool
	status  func(typ, reason, message string) condition
	reason  string
	message func(s situation) string
}

// standings are tried from top to bottom when no rule pauses.
var standings = []standing{
	{
		when:    func(s situation) bool { return exhausted(s.Facts, s.spent) },
		status:  no,
		reason:  v1alpha1.ReasonBudgetExhausted,
		message: words("The budget is spent. Enforcement is monitor-only: the agent keeps running"),
	},
	{
		when:    func(s situation) bool { return s.spent == nil },
		status:  unknown,
		reason:  v1alpha1.ReasonSpendUnknown,
		message: words("Nothing is known yet of what was spent in this period; the agent keeps running"),
	},
	{
		when:   func(s situation) bool { return len(s.crossed()) > 0 },
		status: yes,
		reason: v1alpha1.ReasonNearlySpent,
		message: func(s situation) string {
			p := s.crossed()
			return fmt.Sprintf("At least %d percent of the budget are spent", p[len(p)-1])
		},
	},
	{
		when:    func(situation) bool { return true },
		status:  yes,
		reason:  v1alpha1.ReasonWithinBudget,
		message: words("Less than the budget is spent"),
	},
}

// decided is the first rule that applies.
func decided(s situation) rule {
	for _, r := range rules {
		if r.when(s) {
			return r
		}
	}
	return rules[len(rules)-1] // which always applies
}

// withinBudget is the condition that a rule, or how a running agent stands, makes.
func (r rule) withinBudget(s situation) condition {
	if r.pauses {
		return no(v1alpha1.ConditionWithinBudget, r.reason, r.message(s))
	}
	for _, st := range standings {
		if st.when(s) {
			return st.status(v1alpha1.ConditionWithinBudget, st.reason, st.message(s))
		}
	}
	return unknown(v1alpha1.ConditionWithinBudget, v1alpha1.ReasonSpendUnknown, "")
}

func words(text string) func(situation) string { return func(situation) string { return text } }

// spentOf says with figures how much is spent.
func spentOf(s situation) string {
	if s.spent == nil {
		return "what is spent is not known"
	}
	return fmt.Sprintf("%s of %s are spent", digits(*s.spent), inUSD(s.Budget))
}

func (s situation) crossed() []int32 {
	return crossed(s.WarnAtPercent, ratio(*s.spent, s.Budget))
}

// exhausted says whether the money is gone, as far as is known. The budget is the
// first amount that stops an agent, not the last that doesn't; and when it is 0
// nothing needs to be measured.
func exhausted(f Facts, spent *money.USD) bool {
	return f.Budget == 0 || spent != nil && *spent >= f.Budget
}

// burntIn is what goes in d at the present burn.
func (f Facts) burntIn(d time.Duration) money.USD {
	return f.Spend.BurnPerHour.Scaled(int64(d/time.Second), 3600)
}
