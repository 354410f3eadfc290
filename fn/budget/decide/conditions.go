package decide

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/money"
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
func doubtful(usd money.USD) string {
	if usd <= 0 {
		return ""
	}
	return ". In doubt, and not charged: " + inUSD((usd+unit/2)/unit*unit)
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
		return no(v1alpha1.ConditionPricingComplete, v1alpha1.ReasonPricesStale, clip(f.Spend.PricesProblem.Message+". Since "+f.Spend.PricesSince+" the last good prices go on counting"+announced(f)))
	case len(f.Spend.Unpriced) > 0:
		return no(v1alpha1.ConditionPricingComplete, v1alpha1.ReasonModelsWithoutPrice, clip("Counted at the dearest row of the price table, because it has none for them: "+list(models(f.Spend.Unpriced))+". Add them to "+f.PricingTable+flaws(f)+announced(f)))
	case len(f.Spend.PriceFlaws) > 0:
		return no(v1alpha1.ConditionPricingComplete, v1alpha1.ReasonPriceRowsInvalid, clip("Every model that the agent uses has a price"+flaws(f)+tierless(f)+announced(f)))
	case len(f.Spend.Tierless) > 0:
		return no(v1alpha1.ConditionPricingComplete, v1alpha1.ReasonModelsWithoutPrice, clip("Every model that the agent uses has a price"+tierless(f)+announced(f)))
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

// tierless are tiers of which the price table says nothing.
func tierless(f Facts) string {
	if len(f.Spend.Tierless) == 0 {
		return ""
	}
	return ". The price table says nothing about a tier of service, whose tokens count at the usual price: " + list(f.Spend.Tierless) + ". Add tiers to " + f.PricingTable
}

// announced are prices that change.
func announced(f Facts) string {
	if len(f.Spend.Announced) == 0 {
		return ""
	}
	return ". A price changes: " + strings.Join(f.Spend.Announced, "; ")
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

type condition = metav1.Condition

func yes(typ, reason, message string) condition {
	return metav1.Condition{Type: typ, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

func no(typ, reason, message string) condition {
	return metav1.Condition{Type: typ, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

func unknown(typ, reason, message string) condition {
	return metav1.Condition{Type: typ, Status: metav1.ConditionUnknown, Reason: reason, Message: message}
}
