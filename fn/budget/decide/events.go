package decide

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
)

// events are what changed between the last decision and this one. They compare
// with what status says, so a quiet pass has none, and a status write that is
// lost repeats its events once.
func events(s situation, v Verdict, r rule) []Event {
	f, last := s.Facts, s.last
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
				add(true, "BudgetWarning", "%d percent are spent: %s of %s", p, digits(*v.Spent), inUSD(f.Budget))
			}
		}
	}

	switch {
	case v.Paused && !last.paused:
		add(true, "Paused", "Planner and worker are scaled to 0: %s", r.event(s))
	case !v.Paused && last.paused:
		add(false, "Resumed", "Planner and worker may run again: %s", r.event(s))
	case !v.Paused && v.Cause == v1alpha1.CauseBudgetExhausted && f.Status.Cause != v.Cause:
		add(true, v1alpha1.ReasonBudgetExhausted, "The budget of %s is spent; enforcement is monitor-only, so the agent keeps running", inUSD(f.Budget))
	}

	if f.Spend != nil && f.Spend.Repriced != nil {
		p := f.Spend.Repriced
		add(false, "Repriced", "The price table was corrected: what was spent is %s USD, and was %s: %s", p.ToUSD, p.FromUSD, p.Why)
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

func statusOf(conditions []metav1.Condition, typ string) metav1.ConditionStatus {
	for _, c := range conditions {
		if c.Type == typ {
			return c.Status
		}
	}
	return ""
}
