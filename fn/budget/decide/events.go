package decide

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
)

// events are what changed between the last decision and this one. They compare
// with what status says, so a quiet pass has none, and a status write that is
// lost repeats its events once.
func events(f Facts, last decision, v Verdict, why reason) []Event {
	var all []Event
	add := func(warning bool, reason, message string, args ...any) {
		all = append(all, Event{Warning: warning, Reason: reason, Message: fmt.Sprintf(message, args...)})
	}

	if v.Spent != nil && f.Budget > 0 {
		var before tenThousandths
		if f.Status.Ratio != nil && f.Status.of(v.Period) {
			before = *f.Status.Ratio
		}
		for _, p := range crossed(f.WarnAtPercent, ratio(*v.Spent, f.Budget)) {
			if tenThousandths(p)*100 > before {
				add(true, "BudgetWarning", "%d percent are spent: %s of %s", p, v.Spent.digits(), f.Budget)
			}
		}
	}

	switch {
	case v.Paused && !last.paused:
		add(true, "Paused", "Planner and worker are scaled to 0: %s", sentence(f, v, why))
	case !v.Paused && last.paused:
		add(false, "Resumed", "Planner and worker may run again: %s", sentence(f, v, why))
	case !v.Paused && v.Cause == v1alpha1.CauseBudgetExhausted && f.Status.Cause != v.Cause:
		add(true, v1alpha1.ReasonBudgetExhausted, "The budget of %s is spent; enforcement is monitor-only, so the agent keeps running", f.Budget)
	}

	if f.Spend != nil && f.Spend.Repriced != nil {
		r := f.Spend.Repriced
		add(false, "Repriced", "The price table was corrected: what was spent is %s USD, and was %s: %s", r.ToUSD, r.FromUSD, r.Why)
	}

	switch was, is := f.Status.Cause == v1alpha1.CauseAgentUnreachable, v.Cause == v1alpha1.CauseAgentUnreachable; {
	case is && !was:
		add(true, "AgentUnreachable", "The replicas of planner or worker can't be observed or changed; the condition Synced of the Objects %s and %s says why", v1alpha1.PartPlannerReplicas, v1alpha1.PartWorkerReplicas)
	case was && !is:
		add(false, "AgentReachable", "The replicas of planner and worker can be observed and changed again")
	}

	for _, c := range v.Conditions {
		if c.Type == v1alpha1.ConditionWithinBudget {
			continue // the events above tell it better
		}
		switch was := statusOf(f.Status.Conditions, c.Type); {
		case c.Status == metav1.ConditionFalse && was != metav1.ConditionFalse:
			add(true, c.Reason, "%s", c.Message)
		case c.Status == metav1.ConditionTrue && was == metav1.ConditionFalse:
			add(false, c.Reason, "%s", c.Message)
		}
	}
	return all
}

// sentence says with figures why the agent was paused or started.
func sentence(f Facts, v Verdict, why reason) string {
	spent := "what is spent is not known"
	if v.Spent != nil {
		spent = fmt.Sprintf("%s of %s are spent", v.Spent.digits(), f.Budget)
	}
	switch why {
	case becauseMonitorOnly:
		return "enforcement is monitor-only now"
	case becauseNewPeriod:
		return "the period " + v.Period + " has begun"
	case becauseRaised:
		return "the budget was raised, " + spent
	case becauseOpenedAnew:
		return "the budget was opened anew, " + spent
	case becausePriced:
		return "every model has a price now, " + spent
	case becauseOfGuardBand:
		return spent + ", and at its present rate the agent would be past its budget before it could be stopped"
	case becauseExhausted, becauseNotRaised, becauseWithinBudget, becauseOfLater:
	}
	return spent
}

func statusOf(conditions []metav1.Condition, typ string) metav1.ConditionStatus {
	for _, c := range conditions {
		if c.Type == typ {
			return c.Status
		}
	}
	return ""
}
