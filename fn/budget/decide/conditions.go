package decide

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
)

// No message holds an amount or a time: it would move with every request of the
// agent, and every write of a status wakes whoever watches it.

func spendMeasured(f Facts) metav1.Condition {
	switch {
	case f.Spend == nil && f.Problem == nil:
		return no(v1alpha1.ConditionSpendMeasured, v1alpha1.ReasonNotMeasured, "Nobody says why")
	case f.Spend == nil:
		return no(v1alpha1.ConditionSpendMeasured, f.Problem.Reason, f.Problem.Message)
	case f.Flaw != nil:
		return no(v1alpha1.ConditionSpendMeasured, f.Flaw.Reason, f.Flaw.Message)
	case f.Spend.Flaw != nil:
		return no(v1alpha1.ConditionSpendMeasured, f.Spend.Flaw.Reason, f.Spend.Flaw.Message)
	case len(f.Spend.Distrusted) > 0:
		return no(v1alpha1.ConditionSpendMeasured, v1alpha1.ReasonSeriesDistrusted, "Some series can't be trusted, all others are counted in full: "+list(f.Spend.Distrusted)+doubtful(f.Spend.Doubtful))
	case f.Spend.Doubtful > 0:
		return yes(v1alpha1.ConditionSpendMeasured, v1alpha1.ReasonSpendDoubtful, "Every sample is counted, and where nothing says whether a counter was reset the lower figure counts"+doubtful(f.Spend.Doubtful))
	case f.Spend.NeverSeen:
		return unknown(v1alpha1.ConditionSpendMeasured, v1alpha1.ReasonNeverSeen, "No sample of this agent was ever seen. That is right until its first request; after it, check that the agent exports its token counters under the names and labels that the input of the step fetch-spend gives")
	}
	return yes(v1alpha1.ConditionSpendMeasured, v1alpha1.ReasonMeasured, "Every sample of the agent's token counters is counted")
}

// doubtful says what may have been spent beside the figure. It moves only when a
// counter falls.
func doubtful(usd MicroUSD) string {
	if usd <= 0 {
		return ""
	}
	return ". In doubt, and not charged: " + (MicroUSD(usd+50) / 100 * 100).String()
}

func pricingComplete(f Facts) metav1.Condition {
	switch {
	case f.Spend == nil:
		// Not measured says nothing about prices: what was known stands.
		for _, c := range f.Status.Conditions {
			if c.Type == v1alpha1.ConditionPricingComplete && c.Reason != "" {
				return metav1.Condition{Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message}
			}
		}
		return unknown(v1alpha1.ConditionPricingComplete, v1alpha1.ReasonNotMeasured, "It is not known which models the agent uses")
	case f.Spend.PricesProblem != nil:
		return no(v1alpha1.ConditionPricingComplete, v1alpha1.ReasonPricesStale, clip(f.Spend.PricesProblem.Message+". Since "+f.Spend.PricesSince+" the last good prices go on counting"))
	case len(f.Spend.Unpriced) > 0:
		return no(v1alpha1.ConditionPricingComplete, v1alpha1.ReasonModelsWithoutPrice, clip("Counted at the dearest row of the price table, because it has none for them: "+list(models(f.Spend.Unpriced))+". Add them to "+f.PricingTable+flaws(f)))
	case len(f.Spend.PriceFlaws) > 0:
		return no(v1alpha1.ConditionPricingComplete, v1alpha1.ReasonPriceRowsInvalid, clip("Every model that the agent uses has a price"+flaws(f)+announced(f)))
	case len(f.Spend.Tierless) > 0:
		return no(v1alpha1.ConditionPricingComplete, v1alpha1.ReasonModelsWithoutPrice, clip("The price table says nothing about a tier of service, whose tokens count at the usual price: "+list(f.Spend.Tierless)+". Add tiers to "+f.PricingTable))
	}
	return yes(v1alpha1.ConditionPricingComplete, v1alpha1.ReasonAllModelsPriced, clip("Every model that the agent uses has a price"+announced(f)))
}

// flaws are the rows of the price table that can't be used.
func flaws(f Facts) string {
	if len(f.Spend.PriceFlaws) == 0 {
		return ""
	}
	fs := f.Spend.PriceFlaws
	more := ""
	if len(fs) > 3 {
		fs, more = fs[:3], "; and more"
	}
	return ". Of " + f.PricingTable + " all other rows count but these: " + strings.Join(fs, "; ") + more
}

// announced are prices that change.
func announced(f Facts) string {
	if len(f.Spend.Announced) == 0 {
		return ""
	}
	return ". A price changes: " + strings.Join(f.Spend.Announced, "; ")
}

func withinBudget(f Facts, v Verdict, why reason) metav1.Condition {
	switch {
	case v.Paused && f.Budget == 0:
		return no(v1alpha1.ConditionWithinBudget, v1alpha1.ReasonBudgetExhausted, "The budget is 0, which is no money at all: planner and worker are held at 0. "+wayOut(f))
	case v.Paused && why == becauseExhausted:
		return no(v1alpha1.ConditionWithinBudget, v1alpha1.ReasonBudgetExhausted, "The budget is spent: planner and worker are held at 0. "+wayOut(f))
	case v.Paused && why == becauseOfGuardBand:
		return no(v1alpha1.ConditionWithinBudget, v1alpha1.ReasonGuardBand, "At its present rate the agent would be past its budget before it could be stopped: planner and worker are held at 0. "+wayOut(f))
	case v.Paused && why == becauseOfLater:
		return no(v1alpha1.ConditionWithinBudget, v1alpha1.ReasonPausedForLater, "The agent was paused in the period "+f.Status.Period+", which has not begun by the clock of function-budget-decide: a clock was wrong, or is. The pause ends by itself when that period is over; spec.enforcement monitor-only ends it now")
	case v.Paused:
		was := "was spent"
		if f.GuardBand > 0 {
			was = "was spent, or about to be,"
		}
		return no(v1alpha1.ConditionWithinBudget, v1alpha1.ReasonPausedUntilRaised, "The budget "+was+" earlier in this period: planner and worker are held at 0, although less is known to be spent now, because a figure that falls starts no agent. To start them, raise budgetUsd by however little"+otherWaysOut(f))
	case exhausted(f, v.Spent):
		return no(v1alpha1.ConditionWithinBudget, v1alpha1.ReasonBudgetExhausted, "The budget is spent. Enforcement is monitor-only: the agent keeps running")
	case v.Spent == nil:
		return unknown(v1alpha1.ConditionWithinBudget, v1alpha1.ReasonSpendUnknown, "Nothing is known yet of what was spent in this period; the agent keeps running")
	}
	if p := crossed(f.WarnAtPercent, ratio(*v.Spent, f.Budget)); len(p) > 0 {
		return yes(v1alpha1.ConditionWithinBudget, v1alpha1.ReasonNearlySpent, fmt.Sprintf("At least %d percent of the budget are spent", p[len(p)-1]))
	}
	return yes(v1alpha1.ConditionWithinBudget, v1alpha1.ReasonWithinBudget, "Less than the budget is spent")
}

// wayOut says what starts a paused agent.
func wayOut(f Facts) string {
	return "To start them, raise budgetUsd above what is spent" + otherWaysOut(f)
}

func otherWaysOut(f Facts) string {
	way := " (in the agent's order, if it has one), or set spec.enforcement to monitor-only"
	if f.Period != v1alpha1.PeriodLifetime {
		way += "; the next " + string(f.Period) + " period starts them too"
	}
	return way
}

// crossed returns the warning thresholds, in percent, that r has reached; sorted.
func crossed(warnAt []int32, r tenThousandths) []int32 {
	var c []int32
	for _, p := range warnAt {
		if p >= 1 && p <= 100 && tenThousandths(p)*100 <= r {
			c = append(c, p)
		}
	}
	slices.Sort(c)
	return slices.Compact(c)
}

// models are names of models for people.
func models(names []string) []string {
	named := slices.Clone(names)
	for i, n := range named {
		if n == "" {
			named[i] = `"" (tokens without a model: check metrics.modelLabel of the step fetch-spend)`
		}
	}
	return named
}

// maxListed names in a message are enough to start repairing.
const maxListed = 10

func list(names []string) string {
	names = slices.Sorted(slices.Values(names))
	if len(names) > maxListed {
		return strings.Join(names[:maxListed], ", ") + " and more"
	}
	return strings.Join(names, ", ")
}

func yes(typ, reason, message string) metav1.Condition {
	return metav1.Condition{Type: typ, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

func no(typ, reason, message string) metav1.Condition {
	return metav1.Condition{Type: typ, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

func unknown(typ, reason, message string) metav1.Condition {
	return metav1.Condition{Type: typ, Status: metav1.ConditionUnknown, Reason: reason, Message: message}
}
