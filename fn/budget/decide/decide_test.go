package decide

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/money"
)

func at(t string) time.Time {
	v, err := time.Parse(time.RFC3339, t)
	if err != nil {
		panic(err)
	}
	return v
}

func usd(n float64) *money.USD {
	m, ok := money.Of(n)
	if !ok {
		panic(n)
	}
	return &m
}

// measured is what fetch-spend says of a lifetime.
func measured(n float64) *Spend { return &Spend{USD: *usd(n), Period: "lifetime"} }

func measuredIn(period string, n float64) *Spend { return &Spend{USD: *usd(n), Period: period} }

func noMeter() *v1alpha1.SpendProblem {
	return &v1alpha1.SpendProblem{Reason: "PrometheusUnreachable", Message: "no answer"}
}

func runningAt(spent, budget float64) Status {
	return statusAt("lifetime", spent, budget, false)
}

func pausedAt(spent, budget float64) Status {
	return statusAt("lifetime", spent, budget, true)
}

// statusAt is a status as this step writes it.
func statusAt(period string, spent, budget float64, paused bool) Status {
	s := Status{
		Spent: usd(spent), Ratio: new(ratio(*usd(spent), *usd(budget))), Paused: &paused, Period: period, DecidedBudget: usd(budget),
		Cause:      v1alpha1.CauseRunning,
		Conditions: []metav1.Condition{{Type: v1alpha1.ConditionSpendMeasured, Status: metav1.ConditionTrue}, {Type: v1alpha1.ConditionPricingComplete, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonAllModelsPriced, Message: "Every model that the agent uses has a price"}},
	}
	if paused || spent >= budget {
		s.Cause = v1alpha1.CauseBudgetExhausted
	}
	return s
}

// blind is a status that says that spend is not measured.
func blind(s Status) Status {
	s.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionSpendMeasured, Status: metav1.ConditionFalse}, s.Conditions[1]}
	return s
}

func unreachable(s Status) Status {
	s.Cause = v1alpha1.CauseAgentUnreachable
	return s
}

func foreign(s Status) Status {
	s.DecidedBudget, s.Period = nil, ""
	return s
}

// outcome is what a row of the table looks at; the golden stories look at all.
type outcome struct {
	Paused  bool
	Cause   v1alpha1.Cause
	Spent   *money.USD
	Within  string // reason of WithinBudget
	Meter   string // reason of SpendMeasured
	Events  string // reasons
	Period  string
	Decided *money.USD // nil in a row: the budget
}

func TestDecide(t *testing.T) {
	const noon = "2026-11-23T12:00:00Z" // a Monday
	stopped := []Replicas{{Stopped: true}, {Stopped: true}}
	stoppedFor := func(period string, budget float64) []Replicas {
		r := Replicas{Stopped: true, Period: period, Budget: usd(budget)}
		return []Replicas{r, r}
	}
	daily := func(f Facts) Facts { f.Period = v1alpha1.PeriodDaily; return f }

	cases := map[string]struct {
		reason string
		facts  Facts
		want   outcome
	}{
		// The cap.
		"Cruise": {
			reason: "An agent with money left runs, and a pass in which nothing crossed anything says nothing.",
			facts:  Facts{Budget: *usd(5), Spend: measured(1.46), Status: runningAt(1.4, 5)},
			want:   outcome{Cause: "running", Spent: usd(1.46), Within: "WithinBudget", Meter: "Measured"},
		},
		"JustBelow": {
			reason: "Nobody is cut off for a millionth of a dollar that was not spent.",
			facts:  Facts{Budget: *usd(5), Spend: measured(4.999999), Status: runningAt(4.99, 5)},
			want:   outcome{Cause: "running", Spent: usd(4.999999), Within: "NearlySpent", Meter: "Measured"},
		},
		"ExactlyAtTheBudget": {
			reason: "The budget is the first amount that stops an agent, not the last that does not.",
			facts:  Facts{Budget: *usd(5), Spend: measured(5), Status: runningAt(4.99, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5), Within: "BudgetExhausted", Meter: "Measured", Events: "Paused"},
		},
		"FirstPassIsOver": {
			reason: "A budget that was gone before it was first looked at stops the agent at the first look.",
			facts:  Facts{Budget: *usd(5), Spend: measured(7)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(7), Within: "BudgetExhausted", Meter: "Measured", Events: "BudgetWarning+Paused"},
		},
		"StillOver": {
			reason: "A paused agent whose money is gone stays paused, without another event.",
			facts:  Facts{Budget: *usd(5), Spend: measured(5.2), Status: pausedAt(5.1, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.2), Within: "BudgetExhausted", Meter: "Measured"},
		},
		"LoweredBelowSpent": {
			reason: "A person who takes money away means it now.",
			facts:  Facts{Budget: *usd(2), Spend: measured(3), Status: runningAt(3, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(3), Within: "BudgetExhausted", Meter: "Measured", Events: "BudgetWarning+Paused", Decided: usd(2)},
		},
		"LoweredBelowSpentWhileBlind": {
			reason: "What was spent before the outage is spent; the person who lowers the budget pauses the agent, not the outage.",
			facts:  Facts{Budget: *usd(2), Problem: noMeter(), Status: blind(runningAt(3, 5))},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(3), Within: "BudgetExhausted", Meter: "PrometheusUnreachable", Events: "BudgetWarning+Paused", Decided: usd(2)},
		},
		"BudgetOfNothing": {
			reason: "0 means no money at all: paused at once, before anything was measured.",
			facts:  Facts{Budget: 0, Problem: noMeter()},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Within: "BudgetExhausted", Meter: "PrometheusUnreachable", Events: "Paused+PrometheusUnreachable"},
		},
		"BudgetOfNothingNothingSpent": {
			reason: "0 of 0 is all of it.",
			facts:  Facts{Budget: 0, Spend: measured(0), Status: runningAt(0, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(0), Within: "BudgetExhausted", Meter: "Measured", Events: "Paused"},
		},
		"BudgetOfNothingRaised": {
			reason: "A budget that was 0 and is not is a raise.",
			facts:  Facts{Budget: *usd(1), Spend: measured(0), Status: statusAt("lifetime", 0, 0, true)},
			want:   outcome{Cause: "running", Spent: usd(0), Within: "WithinBudget", Meter: "Measured", Events: "Resumed"},
		},

		// The latch.
		"Raised": {
			reason: "A raise above what is spent starts the agent.",
			facts:  Facts{Budget: *usd(8), Spend: measured(5.1), Status: pausedAt(5.1, 5), Objects: stoppedFor("lifetime", 5)},
			want:   outcome{Cause: "running", Spent: usd(5.1), Within: "WithinBudget", Meter: "Measured", Events: "Resumed"},
		},
		"RaisedByACent": {
			reason: "How much a person raises is the person's business.",
			facts:  Facts{Budget: *usd(5.01), Spend: measured(5.005), Status: pausedAt(5.005, 5)},
			want:   outcome{Cause: "running", Spent: usd(5.005), Within: "NearlySpent", Meter: "Measured", Events: "Resumed"},
		},
		"RaisedNotEnough": {
			reason: "A raise below what is spent starts nothing.",
			facts:  Facts{Budget: *usd(6), Spend: measured(7), Status: pausedAt(7, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(7), Within: "BudgetExhausted", Meter: "Measured"},
		},
		"RaisedStatusWriteLost": {
			reason: "The pass that saw the raise lost its status write: the next one sees it again.",
			facts:  Facts{Budget: *usd(8), Spend: measured(5.2), Status: pausedAt(5.1, 5)},
			want:   outcome{Cause: "running", Spent: usd(5.2), Within: "WithinBudget", Meter: "Measured", Events: "Resumed"},
		},
		"RaisedWhileBlind": {
			reason: "What a person changes acts at once, also while the meter is down.",
			facts:  Facts{Budget: *usd(8), Problem: noMeter(), Status: blind(pausedAt(5.1, 5))},
			want:   outcome{Cause: "running", Spent: usd(5.1), Within: "WithinBudget", Meter: "PrometheusUnreachable", Events: "Resumed"},
		},
		"RaisedNotEnoughWhileBlind": {
			reason: "While the meter is down the last figure counts: money is never unspent.",
			facts:  Facts{Budget: *usd(6), Problem: noMeter(), Status: blind(pausedAt(7, 5))},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(7), Within: "BudgetExhausted", Meter: "PrometheusUnreachable"},
		},
		"OpenedAnew": {
			reason: "Nobody is stopped for what an earlier order of his agent's name spent.",
			facts:  Facts{Budget: *usd(5), Spend: measured(0.1), Status: pausedAt(5.1, 5), Objects: stoppedFor("lifetime", 5), OpenedAnew: true},
			want:   outcome{Cause: "running", Spent: usd(0.1), Within: "WithinBudget", Meter: "Measured", Events: "Resumed"},
		},
		"OpenedAnewWithWhatWasSpent": {
			reason: "A budget that was deleted and made again is opened with the bill.",
			facts:  Facts{Budget: *usd(5), Spend: measured(5.2), Status: pausedAt(5.1, 5), OpenedAnew: true},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.2), Within: "BudgetExhausted", Meter: "Measured"},
		},
		"OpenedAnewWhileBlind": {
			reason: "What the new account holds is not known yet, and an outage pardons nobody.",
			facts:  Facts{Budget: *usd(5), Problem: noMeter(), Status: blind(pausedAt(5.1, 5)), OpenedAnew: true},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Within: "PausedUntilRaised", Meter: "PrometheusUnreachable"},
		},
		"OpenedAnewWhileBlindAndRunning": {
			reason: "Nor does an outage stop somebody for what another order spent.",
			facts:  Facts{Budget: *usd(1), Problem: noMeter(), Status: blind(runningAt(1.9, 2)), OpenedAnew: true},
			want:   outcome{Cause: "unknown", Within: "SpendUnknown", Meter: "PrometheusUnreachable"},
		},
		"MadeAgainWhileBlind": {
			reason: "Who deletes a budget while the meter is down pardons nobody: the order opened the new one with the bill.",
			facts:  Facts{Budget: *usd(5), Problem: noMeter(), Opening: &Opening{USD: *usd(6.25), Period: "lifetime"}},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(6.25), Within: "BudgetExhausted", Meter: "PrometheusUnreachable", Events: "BudgetWarning+Paused+PrometheusUnreachable"},
		},
		"MadeAgainInAnotherPeriodWhileBlind": {
			reason: "Yesterday's bill is yesterday's.",
			facts:  daily(Facts{Budget: *usd(5), Problem: noMeter(), Opening: &Opening{USD: *usd(6.25), Period: "2026-11-22"}}),
			want:   outcome{Cause: "unknown", Within: "SpendUnknown", Meter: "PrometheusUnreachable", Events: "PrometheusUnreachable", Period: "2026-11-23"},
		},
		"OpenedWithMoreThanWasMeasured": {
			reason: "What the opening holds is in what was measured already.",
			facts:  Facts{Budget: *usd(5), Spend: measured(6.5), Status: runningAt(6.25, 7), Opening: &Opening{USD: *usd(6.25), Period: "lifetime"}},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(6.5), Within: "BudgetExhausted", Meter: "Measured", Events: "Paused"},
		},
		"OpenedAnewInTheGuardBand": {
			reason: "That the budget was opened anew still counts when the burn has calmed down.",
			facts:  Facts{Budget: *usd(5), GuardBand: time.Minute, Spend: &Spend{USD: *usd(4.4), Period: "lifetime", BurnPerHour: *usd(36)}, Status: pausedAt(5.1, 5), OpenedAnew: true},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(4.4), Within: "GuardBand", Meter: "Measured", Decided: usd(0)},
		},
		"FigureFell": {
			reason: "Never back to running because a number went down: retention passed, or a price was corrected.",
			facts:  Facts{Budget: *usd(5), Spend: measured(3), Status: pausedAt(5.1, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(3), Within: "PausedUntilRaised", Meter: "Measured"},
		},
		"FigureFellEarlier": {
			reason: "The latch does not open by itself one pass later, when status holds the lower figure.",
			facts:  Facts{Budget: *usd(5), Spend: measured(3), Status: statusAt("lifetime", 3, 5, true)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(3), Within: "PausedUntilRaised", Meter: "Measured"},
		},
		"FigureFellThenRaised": {
			reason: "After a price was corrected any raise above what is spent opens the latch.",
			facts:  Facts{Budget: *usd(5.5), Spend: measured(3), Status: statusAt("lifetime", 3, 5, true)},
			want:   outcome{Cause: "running", Spent: usd(3), Within: "WithinBudget", Meter: "Measured", Events: "Resumed"},
		},
		"RaisedFirstFigureFellLater": {
			reason: "The raise was not enough when it was made; that the figure falls later is not a raise.",
			facts:  Facts{Budget: *usd(6), Spend: measured(5.5), Status: pausedAt(7, 6)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.5), Within: "PausedUntilRaised", Meter: "Measured"},
		},
		"LoweredWhilePausedThenRaisedBack": {
			reason: "Held at 4 after the figure fell to 3; 5 is more than 4 and more than is spent.",
			facts:  Facts{Budget: *usd(5), Spend: measured(3), Status: statusAt("lifetime", 3, 4, true)},
			want:   outcome{Cause: "running", Spent: usd(3), Within: "WithinBudget", Meter: "Measured", Events: "Resumed"},
		},
		"ForeignStatusRaised": {
			reason: "A status without decidedBudgetUsd tells the old budget by its ratio.",
			facts:  Facts{Budget: *usd(8), Spend: measured(5.03), Status: foreign(pausedAt(5.03, 5))},
			want:   outcome{Cause: "running", Spent: usd(5.03), Within: "WithinBudget", Meter: "Measured", Events: "Resumed"},
		},
		"ForeignStatusFigureFell": {
			reason: "The latch holds for a status that another version wrote, too.",
			facts:  Facts{Budget: *usd(5), Spend: measured(3), Status: foreign(pausedAt(5.03, 5))},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(3), Within: "PausedUntilRaised", Meter: "Measured"},
		},
		"ForeignStatusSaysPausedAndNothingElse": {
			reason: "Without the old budget nobody can see a raise: the pause stands, and the next raise is seen.",
			facts:  Facts{Budget: *usd(5), Spend: measured(3), Status: Status{Paused: new(true)}},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(3), Within: "PausedUntilRaised", Meter: "Measured"},
		},

		// monitor-only.
		"MonitorOnlyNeverCuts": {
			reason: "It measures and never cuts; cause says that the money is gone all the same.",
			facts:  Facts{Budget: *usd(5), MonitorOnly: true, Spend: measured(5.1), Status: runningAt(4.9, 5)},
			want:   outcome{Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "Measured", Events: "BudgetExhausted"},
		},
		"MonitorOnlyQuiet": {
			reason: "Once said, it is not said again.",
			facts:  Facts{Budget: *usd(5), MonitorOnly: true, Spend: measured(5.2), Status: runningAt(5.1, 5)},
			want:   outcome{Cause: "budget-exhausted", Spent: usd(5.2), Within: "BudgetExhausted", Meter: "Measured"},
		},
		"MonitorOnlySwitchedOnWhilePaused": {
			reason: "Turning enforcement off starts the agent.",
			facts:  Facts{Budget: *usd(5), MonitorOnly: true, Spend: measured(5.1), Status: pausedAt(5.1, 5), Objects: stoppedFor("lifetime", 5)},
			want:   outcome{Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "Measured", Events: "Resumed"},
		},
		"MonitorOnlySwitchedOnWhileBlind": {
			reason: "What a person changes acts at once, also while the meter is down.",
			facts:  Facts{Budget: *usd(5), MonitorOnly: true, Problem: noMeter(), Status: blind(pausedAt(5.1, 5))},
			want:   outcome{Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "PrometheusUnreachable", Events: "Resumed"},
		},
		"MonitorOnlySwitchedOff": {
			reason: "Turning enforcement on stops an agent whose money is gone.",
			facts:  Facts{Budget: *usd(5), Spend: measured(5.1), Status: runningAt(5.1, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "Measured", Events: "Paused"},
		},
		"MonitorOnlySwitchedOffWithMoneyLeft": {
			reason: "monitor-only and back is a way out of a latch: the pause before it is forgotten.",
			facts:  Facts{Budget: *usd(5), Spend: measured(3), Status: runningAt(3, 5)},
			want:   outcome{Cause: "running", Spent: usd(3), Within: "WithinBudget", Meter: "Measured"},
		},
		"MonitorOnlyWithBudgetOfNothing": {
			reason: "Not even a budget of 0 cuts under monitor-only.",
			facts:  Facts{Budget: 0, MonitorOnly: true, Spend: measured(0), Status: runningAt(0, 5)},
			want:   outcome{Cause: "budget-exhausted", Spent: usd(0), Within: "BudgetExhausted", Meter: "Measured", Events: "BudgetExhausted"},
		},

		// The meter is down.
		"BlindWhileRunning": {
			reason: "A metrics outage never punishes the measured.",
			facts:  Facts{Budget: *usd(5), Problem: noMeter(), Status: runningAt(3, 5)},
			want:   outcome{Cause: "running", Spent: usd(3), Within: "WithinBudget", Meter: "PrometheusUnreachable", Events: "PrometheusUnreachable"},
		},
		"BlindWhilePaused": {
			reason: "A metrics outage never pardons the measured.",
			facts:  Facts{Budget: *usd(5), Problem: noMeter(), Status: pausedAt(5.1, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "PrometheusUnreachable", Events: "PrometheusUnreachable"},
		},
		"BlindAndQuiet": {
			reason: "An outage is said once, not every ten seconds.",
			facts:  Facts{Budget: *usd(5), Problem: noMeter(), Status: blind(runningAt(3, 5))},
			want:   outcome{Cause: "running", Spent: usd(3), Within: "WithinBudget", Meter: "PrometheusUnreachable"},
		},
		"BlindFromTheStart": {
			reason: "No figure at all is unknown, which is neither zero nor infinity: the agent runs on.",
			facts:  Facts{Budget: *usd(5), Problem: noMeter()},
			want:   outcome{Cause: "unknown", Within: "SpendUnknown", Meter: "PrometheusUnreachable", Events: "PrometheusUnreachable"},
		},
		"MeterIsBack": {
			reason: "The end of an outage is said once.",
			facts:  Facts{Budget: *usd(5), Spend: measured(3.5), Status: blind(runningAt(3, 5))},
			want:   outcome{Cause: "running", Spent: usd(3.5), Within: "WithinBudget", Meter: "Measured", Events: "Measured"},
		},
		"FirstLook": {
			reason: "No sample was ever seen: right for a new agent, and not called healthy either.",
			facts:  Facts{Budget: *usd(5), Spend: &Spend{Period: "lifetime", NeverSeen: true}},
			want:   outcome{Cause: "running", Spent: usd(0), Within: "WithinBudget", Meter: "NeverSeen"},
		},
		"OnlySpendUSD": {
			reason: "A foreign fetch-spend that gives only spend_usd works.",
			facts:  Facts{Budget: *usd(5), Spend: &Spend{USD: *usd(5)}, Status: runningAt(3, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5), Within: "BudgetExhausted", Meter: "Measured", Events: "BudgetWarning+Paused"},
		},
		"SeriesLeftOut": {
			reason: "A series that can't be trusted is named, and the rest is counted.",
			facts:  Facts{Budget: *usd(5), Spend: &Spend{USD: *usd(5), Period: "lifetime", Distrusted: []string{"x"}}, Status: runningAt(4.5, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5), Within: "BudgetExhausted", Meter: "SeriesDistrusted", Events: "Paused+SeriesDistrusted"},
		},

		// Lost status.
		"StatusLostWhilePaused": {
			reason: "Without status the replicas in the observed Objects are the last decision; the recount may be less than what was spent.",
			facts:  Facts{Budget: *usd(5), Spend: measured(3), Objects: stopped},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(3), Within: "PausedUntilRaised", Meter: "Measured"},
		},
		"StatusLostWhilePausedAndBlind": {
			reason: "Lost status and a meter that is down: nobody is pardoned.",
			facts:  Facts{Budget: *usd(5), Problem: noMeter(), Objects: stopped},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Within: "PausedUntilRaised", Meter: "PrometheusUnreachable", Events: "PrometheusUnreachable"},
		},
		"StatusLostWhileRunning": {
			reason: "Objects that only observe were not paused.",
			facts:  Facts{Budget: *usd(5), Problem: noMeter(), Objects: []Replicas{{}, {}}},
			want:   outcome{Cause: "unknown", Within: "SpendUnknown", Meter: "PrometheusUnreachable", Events: "PrometheusUnreachable"},
		},
		"StatusLostAndRaised": {
			reason: "The Object tells for which budget it stopped, so a raise is seen even then.",
			facts:  Facts{Budget: *usd(8), Problem: noMeter(), Objects: stoppedFor("lifetime", 5)},
			want:   outcome{Cause: "unknown", Within: "SpendUnknown", Meter: "PrometheusUnreachable", Events: "Resumed+PrometheusUnreachable"},
		},
		"StatusLostOneObjectStopped": {
			reason: "A pause of which only one Object was written is a pause.",
			facts:  Facts{Budget: *usd(5), Problem: noMeter(), Objects: []Replicas{{}, {Stopped: true}}},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Within: "PausedUntilRaised", Meter: "PrometheusUnreachable", Events: "PrometheusUnreachable"},
		},
		"PauseWrittenStatusNot": {
			reason: "Objects are written before status: a pause whose status write was lost stands through an outage.",
			facts:  Facts{Budget: *usd(5), Problem: noMeter(), Status: runningAt(4.9, 5), Objects: stoppedFor("lifetime", 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(4.9), Within: "PausedUntilRaised", Meter: "PrometheusUnreachable", Events: "PrometheusUnreachable"},
		},
		"ResumedButObjectsReadStale": {
			reason: "Objects from before a raise do not take it back: they were stopped for a smaller budget.",
			facts:  Facts{Budget: *usd(8), Spend: measured(5.1), Status: runningAt(5.1, 8), Objects: stoppedFor("lifetime", 5)},
			want:   outcome{Cause: "running", Spent: usd(5.1), Within: "WithinBudget", Meter: "Measured"},
		},
		"ResumedByMonitorOnlyButObjectsReadStale": {
			reason: "Nor do Objects from before enforcement was turned off.",
			facts:  Facts{Budget: *usd(5), MonitorOnly: true, Spend: measured(5.1), Status: runningAt(5.1, 5), Objects: stoppedFor("lifetime", 5)},
			want:   outcome{Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "Measured"},
		},
		"ObjectsStoppedByNobody": {
			reason: "An Object that does not say what it was stopped for is no match for a status.",
			facts:  Facts{Budget: *usd(5), Problem: noMeter(), Status: blind(runningAt(3, 5)), Objects: stopped},
			want:   outcome{Cause: "running", Spent: usd(3), Within: "WithinBudget", Meter: "PrometheusUnreachable"},
		},

		// Periods.
		"NewDay": {
			reason: "A new period starts a paused agent, and spending from zero.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-24T00:00:40Z"), Spend: measuredIn("2026-11-24", 0), Status: statusAt("2026-11-23", 5.1, 5, true), Objects: stoppedFor("2026-11-23", 5)}),
			want:   outcome{Cause: "running", Spent: usd(0), Within: "WithinBudget", Meter: "Measured", Events: "Resumed", Period: "2026-11-24"},
		},
		"NewDayWhileBlind": {
			reason: "A new period acts at once also while the meter is down; yesterday's figure is not today's.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-24T00:00:00Z"), Problem: noMeter(), Status: blind(statusAt("2026-11-23", 5.1, 5, true))}),
			want:   outcome{Cause: "unknown", Within: "SpendUnknown", Meter: "PrometheusUnreachable", Events: "Resumed", Period: "2026-11-24"},
		},
		"LastSecondOfTheDay": {
			reason: "A second before midnight it is still today.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-23T23:59:59Z"), Problem: noMeter(), Status: blind(statusAt("2026-11-23", 5.1, 5, true))}),
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "PrometheusUnreachable", Period: "2026-11-23"},
		},
		"NewDayMissedDuringOutage": {
			reason: "A rollover that nobody saw is not missed: the day is a function of time.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-27T08:00:00Z"), Problem: noMeter(), Status: blind(statusAt("2026-11-23", 5.1, 5, true))}),
			want:   outcome{Cause: "unknown", Within: "SpendUnknown", Meter: "PrometheusUnreachable", Events: "Resumed", Period: "2026-11-27"},
		},
		"NewDayMeasurementStillOld": {
			reason: "The measurement ends 30 s before midnight: of the new day nothing is spent yet, and yesterday's money cuts nobody off today.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-24T00:00:10Z"), Spend: measuredIn("2026-11-23", 5.3), Status: statusAt("2026-11-23", 5.1, 5, true)}),
			want:   outcome{Cause: "running", Spent: usd(0), Within: "WithinBudget", Meter: "Measured", Events: "Resumed", Period: "2026-11-24"},
		},
		"ClockBehindTheMeter": {
			reason: "The meter's clock has passed midnight first: a period that has begun has begun for all.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-23T23:59:58Z"), Spend: measuredIn("2026-11-24", 0.1), Status: statusAt("2026-11-23", 5.1, 5, true)}),
			want:   outcome{Cause: "running", Spent: usd(0.1), Within: "WithinBudget", Meter: "Measured", Events: "Resumed", Period: "2026-11-24"},
		},
		"ClockBehindTheStatus": {
			reason: "Another replica has already begun the new day: it does not end again.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-23T23:59:58Z"), Spend: measuredIn("2026-11-23", 5.3), Status: statusAt("2026-11-24", 0, 5, false)}),
			want:   outcome{Cause: "running", Spent: usd(0), Within: "WithinBudget", Meter: "Measured", Period: "2026-11-24"},
		},
		"ClockSetBackOverMidnight": {
			reason: "The meter and the status say that the day has begun; ours alone doesn't end it. When the clock is right again it would begin anew, and pardon.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-23T22:00:00Z"), Spend: measuredIn("2026-11-24", 4), Status: statusAt("2026-11-24", 5.1, 5, true)}),
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(4), Within: "PausedUntilRaised", Meter: "Measured", Period: "2026-11-24"},
		},
		"ClockSetBackOverMidnightWhileBlind": {
			reason: "As above.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-23T22:00:00Z"), Problem: noMeter(), Status: blind(statusAt("2026-11-24", 5.1, 5, true))}),
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "PrometheusUnreachable", Period: "2026-11-24"},
		},
		"ClockWasAheadOverMidnight": {
			reason: "The meter and our clock say that the day has not begun: it was the clock of then that was wrong.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-23T22:00:00Z"), Spend: measuredIn("2026-11-23", 3), Status: statusAt("2026-11-24", 0, 5, false)}),
			want:   outcome{Cause: "running", Spent: usd(3), Within: "WithinBudget", Meter: "Measured", Period: "2026-11-23"},
		},
		"MeterDaysBehind": {
			reason: "A measurement of another day says nothing about today, and is no zero either.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-25T12:00:00Z"), Spend: measuredIn("2026-11-23", 5.3), Status: statusAt("2026-11-25", 2, 5, false)}),
			want:   outcome{Cause: "running", Spent: usd(2), Within: "WithinBudget", Meter: "OtherPeriod", Events: "OtherPeriod", Period: "2026-11-25"},
		},
		"MeterHoursBehind": {
			reason: "Six hours into the day yesterday's measurement is no zero of today's.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-25T06:00:00Z"), Spend: measuredIn("2026-11-24", 5.3), Status: statusAt("2026-11-25", 2, 5, false)}),
			want:   outcome{Cause: "running", Spent: usd(2), Within: "WithinBudget", Meter: "OtherPeriod", Events: "OtherPeriod", Period: "2026-11-25"},
		},
		"MeterNamesADayThatIsNone": {
			reason: "A period that is none says nothing about today.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-24T00:01:00Z"), Spend: measuredIn("2026-11-23T", 5.3), Status: statusAt("2026-11-24", 2, 5, false)}),
			want:   outcome{Cause: "running", Spent: usd(2), Within: "WithinBudget", Meter: "OtherPeriod", Events: "OtherPeriod", Period: "2026-11-24"},
		},
		"StatusNamesADayThatIsNone": {
			reason: "A period that is none pardons nobody, and becomes nobody's.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-23T23:59:00Z"), Spend: measuredIn("2026-11-23", 3), Status: statusAt("2026-11-23T", 5.1, 5, true)}),
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(3), Within: "PausedUntilRaised", Meter: "Measured", Period: "2026-11-23"},
		},
		"MeterAheadByHours": {
			reason: "A clock that is hours ahead begins no day.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-23T20:00:00Z"), Spend: measuredIn("2026-11-24", 0), Status: statusAt("2026-11-23", 5.1, 5, true)}),
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "OtherPeriod", Events: "OtherPeriod", Period: "2026-11-23"},
		},
		"StatusFromTheFuture": {
			reason: "A clock that once ran a year ahead neither pardons now nor blinds the budget for a year.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-23T12:00:00Z"), Spend: measuredIn("2026-11-23", 3), Status: statusAt("2027-11-23", 5.1, 5, true)}),
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(3), Within: "PausedForLater", Meter: "Measured", Period: "2026-11-23"},
		},
		"StatusFromTheFutureAgain": {
			reason: "The look before wrote today's period. What ends the pause is still no raise: nothing was spent.",
			facts: daily(Facts{Budget: *usd(5), Now: at("2026-11-23T12:01:00Z"), Spend: measuredIn("2026-11-23", 3), Status: func() Status {
				s := statusAt("2026-11-23", 3, 5, true)
				s.Conditions = append(s.Conditions, metav1.Condition{Type: v1alpha1.ConditionWithinBudget, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPausedForLater})
				return s
			}()}),
			want: outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(3), Within: "PausedForLater", Meter: "Measured", Period: "2026-11-23"},
		},
		"StatusFromTheFutureNextDay": {
			reason: "And the next day ends it.",
			facts: daily(Facts{Budget: *usd(5), Now: at("2026-11-24T12:01:00Z"), Spend: measuredIn("2026-11-24", 0), Status: func() Status {
				s := statusAt("2026-11-23", 3, 5, true)
				s.Conditions = append(s.Conditions, metav1.Condition{Type: v1alpha1.ConditionWithinBudget, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonPausedForLater})
				return s
			}()}),
			want: outcome{Cause: "running", Spent: usd(0), Within: "WithinBudget", Meter: "Measured", Events: "Resumed", Period: "2026-11-24"},
		},
		"ObjectsFromTheFuture": {
			reason: "As StatusFromTheFuture, where the status is lost and the Objects know.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-23T12:00:00Z"), Spend: measuredIn("2026-11-23", 3), Objects: stoppedFor("2027-11-23", 5)}),
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(3), Within: "PausedForLater", Meter: "Measured", Period: "2026-11-23"},
		},
		"NewWeek": {
			reason: "Weeks begin on Monday, UTC.",
			facts:  Facts{Budget: *usd(5), Period: v1alpha1.PeriodWeekly, Now: at("2026-11-30T00:00:00Z"), Problem: noMeter(), Status: blind(statusAt("2026-W48", 5.1, 5, true))},
			want:   outcome{Cause: "unknown", Within: "SpendUnknown", Meter: "PrometheusUnreachable", Events: "Resumed", Period: "2026-W49"},
		},
		"SundayIsTheOldWeek": {
			reason: "Sunday belongs to the week that began on Monday.",
			facts:  Facts{Budget: *usd(5), Period: v1alpha1.PeriodWeekly, Now: at("2026-11-29T23:59:59Z"), Problem: noMeter(), Status: blind(statusAt("2026-W48", 5.1, 5, true))},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "PrometheusUnreachable", Period: "2026-W48"},
		},
		"WeekOverNewYear": {
			reason: "1 January 2027 is a Friday of week 53 of 2026: a new year is not a new week.",
			facts:  Facts{Budget: *usd(5), Period: v1alpha1.PeriodWeekly, Now: at("2027-01-01T00:00:00Z"), Problem: noMeter(), Status: blind(statusAt("2026-W53", 5.1, 5, true))},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "PrometheusUnreachable", Period: "2026-W53"},
		},
		"NewMonth": {
			reason: "A month ends on its last day, be it the 30th.",
			facts:  Facts{Budget: *usd(5), Period: v1alpha1.PeriodMonthly, Now: at("2026-12-01T00:00:00Z"), Problem: noMeter(), Status: blind(statusAt("2026-11", 5.1, 5, true))},
			want:   outcome{Cause: "unknown", Within: "SpendUnknown", Meter: "PrometheusUnreachable", Events: "Resumed", Period: "2026-12"},
		},
		"LeapDay": {
			reason: "29 February 2028 is February.",
			facts:  Facts{Budget: *usd(5), Period: v1alpha1.PeriodMonthly, Now: at("2028-02-29T23:59:59Z"), Problem: noMeter(), Status: blind(statusAt("2028-02", 5.1, 5, true))},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "PrometheusUnreachable", Period: "2028-02"},
		},
		"DSTEnds": {
			reason: "The hour that a local clock repeats is no new day: periods are UTC.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-10-25T02:30:00+01:00"), Problem: noMeter(), Status: blind(statusAt("2026-10-25", 5.1, 5, true))}),
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "PrometheusUnreachable", Period: "2026-10-25"},
		},
		"LifetimeNeverEnds": {
			reason: "A lifetime has no rollover, however much time passes.",
			facts:  Facts{Budget: *usd(5), Now: at("2036-01-01T00:00:00Z"), Problem: noMeter(), Status: blind(pausedAt(5.1, 5))},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "PrometheusUnreachable"},
		},
		"PeriodEditedToDaily": {
			reason: "A person who makes a lifetime a daily budget begins a new period.",
			facts:  daily(Facts{Budget: *usd(5), Now: at(noon), Spend: measuredIn("2026-11-23", 1), Status: pausedAt(5.1, 5)}),
			want:   outcome{Cause: "running", Spent: usd(1), Within: "WithinBudget", Meter: "Measured", Events: "Resumed", Period: "2026-11-23"},
		},
		"PeriodEditedToLifetimeWhileBlind": {
			reason: "A lifetime contains today: what was spent today is the least that it can be.",
			facts:  Facts{Budget: *usd(5), Now: at(noon), Problem: noMeter(), Status: blind(statusAt("2026-11-23", 5.1, 5, true))},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5.1), Within: "BudgetExhausted", Meter: "PrometheusUnreachable"},
		},

		// Warnings.
		"CrossesAWarning": {
			reason: "One event when a threshold is crossed.",
			facts:  Facts{Budget: *usd(5), Spend: measured(4), Status: runningAt(3.9, 5)},
			want:   outcome{Cause: "running", Spent: usd(4), Within: "NearlySpent", Meter: "Measured", Events: "BudgetWarning"},
		},
		"PastAWarning": {
			reason: "And none afterwards.",
			facts:  Facts{Budget: *usd(5), Spend: measured(4.1), Status: runningAt(4, 5)},
			want:   outcome{Cause: "running", Spent: usd(4.1), Within: "NearlySpent", Meter: "Measured"},
		},
		"CrossesTwoWarnings": {
			reason: "One event per threshold, in their order, also if status lists them in another and twice.",
			facts:  Facts{Budget: *usd(5), WarnAtPercent: []int32{90, 50, 90, 0, 700}, Spend: measured(4.5), Status: runningAt(1, 5)},
			want:   outcome{Cause: "running", Spent: usd(4.5), Within: "NearlySpent", Meter: "Measured", Events: "BudgetWarning+BudgetWarning"},
		},
		"NoWarningsWanted": {
			reason: "An empty list is nobody's default.",
			facts:  Facts{Budget: *usd(5), WarnAtPercent: []int32{}, Spend: measured(4.5), Status: runningAt(1, 5)},
			want:   outcome{Cause: "running", Spent: usd(4.5), Within: "WithinBudget", Meter: "Measured"},
		},
		"WarnsAgainInANewPeriod": {
			reason: "Today's 80 percent are not yesterday's.",
			facts:  daily(Facts{Budget: *usd(5), Now: at("2026-11-24T09:00:00Z"), Spend: measuredIn("2026-11-24", 4.2), Status: statusAt("2026-11-23", 4.2, 5, false)}),
			want:   outcome{Cause: "running", Spent: usd(4.2), Within: "NearlySpent", Meter: "Measured", Events: "BudgetWarning", Period: "2026-11-24"},
		},

		// The Objects.
		"Unreachable": {
			reason: "After five minutes out of sync nobody knows whether the agent runs.",
			facts:  Facts{Budget: *usd(5), Now: at(noon), Spend: measured(1), Status: runningAt(1, 5), Objects: []Replicas{{}, {OutOfSyncSince: at("2026-11-23T11:55:00Z")}}},
			want:   outcome{Cause: "agent-unreachable", Spent: usd(1), Within: "WithinBudget", Meter: "Measured", Events: "AgentUnreachable"},
		},
		"NotYetUnreachable": {
			reason: "A new agent's Deployments take a minute or two to appear.",
			facts:  Facts{Budget: *usd(5), Now: at(noon), Spend: measured(1), Status: runningAt(1, 5), Objects: []Replicas{{OutOfSyncSince: at("2026-11-23T11:55:01Z")}}},
			want:   outcome{Cause: "running", Spent: usd(1), Within: "WithinBudget", Meter: "Measured"},
		},
		"StillUnreachable": {
			reason: "That it can't be reached is said once.",
			facts:  Facts{Budget: *usd(5), Now: at(noon), Spend: measured(1), Status: unreachable(runningAt(1, 5)), Objects: []Replicas{{OutOfSyncSince: at("2026-11-23T11:00:00Z")}}},
			want:   outcome{Cause: "agent-unreachable", Spent: usd(1), Within: "WithinBudget", Meter: "Measured"},
		},
		"ReachableAgain": {
			reason: "And that it can be reached again.",
			facts:  Facts{Budget: *usd(5), Now: at(noon), Spend: measured(1), Status: unreachable(runningAt(1, 5)), Objects: []Replicas{{}, {}}},
			want:   outcome{Cause: "running", Spent: usd(1), Within: "WithinBudget", Meter: "Measured", Events: "AgentReachable"},
		},
		"ExhaustedComesFirst": {
			reason: "Of two causes a reader is told the one about the money.",
			facts:  Facts{Budget: *usd(5), Now: at(noon), Spend: measured(5), Status: pausedAt(5, 5), Objects: []Replicas{{OutOfSyncSince: at("2026-11-23T11:00:00Z")}}},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(5), Within: "BudgetExhausted", Meter: "Measured"},
		},

		// A price that was missing.
		"MissingPriceAdded": {
			reason: "Only the dearest row had stopped it: with that the budget would still be spent, and with its own it isn't.",
			facts:  Facts{Budget: *usd(5), Spend: &Spend{USD: *usd(0.6), AtDearest: *usd(5.1), Period: "lifetime"}, Status: pausedAt(5.1, 5)},
			want:   outcome{Cause: "running", Spent: usd(0.6), Within: "WithinBudget", Meter: "Measured", Events: "Resumed"},
		},
		"MissingPriceAddedForAnother": {
			reason: "One model has a price now, and another, at the dearest row, does not spend the budget: when that has one, too, nobody knows any more why it was stopped.",
			facts:  Facts{Budget: *usd(5), Spend: &Spend{USD: *usd(0.6), AtDearest: *usd(5.1), Unpriced: []string{"m"}, Period: "lifetime"}, Status: pausedAt(5.1, 5)},
			want:   outcome{Cause: "running", Spent: usd(0.6), Within: "WithinBudget", Meter: "Measured", Events: "Resumed+ModelsWithoutPrice"},
		},
		"MissingPriceForAnother": {
			reason: "None was added, and the figure fell.",
			facts:  Facts{Budget: *usd(5), Spend: &Spend{USD: *usd(0.6), AtDearest: *usd(0.6), Unpriced: []string{"m"}, Period: "lifetime"}, Status: pausedAt(5.1, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(0.6), Within: "PausedUntilRaised", Meter: "Measured", Events: "ModelsWithoutPrice"},
		},
		"PriceLowered": {
			reason: "Every model had a price, and one was corrected: a figure that falls starts nobody.",
			facts:  Facts{Budget: *usd(5), Spend: &Spend{USD: *usd(0.6), Period: "lifetime"}, Status: pausedAt(5.1, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(0.6), Within: "PausedUntilRaised", Meter: "Measured"},
		},

		// The guard band.
		"GuardBandPauses": {
			reason: "At 36 USD an hour 60 s cost 60 cents: the agent stops before it is over.",
			facts:  Facts{Budget: *usd(5), GuardBand: time.Minute, Spend: &Spend{USD: *usd(4.4), Period: "lifetime", BurnPerHour: *usd(36)}, Status: runningAt(4.2, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(4.4), Within: "GuardBand", Meter: "Measured", Events: "Paused"},
		},
		"GuardBandDoesNot": {
			reason: "A slow agent loses nothing to the guard band.",
			facts:  Facts{Budget: *usd(5), GuardBand: time.Minute, Spend: &Spend{USD: *usd(4.4), Period: "lifetime", BurnPerHour: *usd(35)}, Status: runningAt(4.2, 5)},
			want:   outcome{Cause: "running", Spent: usd(4.4), Within: "NearlySpent", Meter: "Measured"},
		},
		"GuardBandOff": {
			reason: "It is off unless somebody turns it on.",
			facts:  Facts{Budget: *usd(5), Spend: &Spend{USD: *usd(4.999), Period: "lifetime", BurnPerHour: *usd(3600)}, Status: runningAt(4.2, 5)},
			want:   outcome{Cause: "running", Spent: usd(4.999), Within: "NearlySpent", Meter: "Measured"},
		},
		"GuardBandHolds": {
			reason: "A paused agent burns nothing, which is no reason to start it.",
			facts:  Facts{Budget: *usd(5), GuardBand: time.Minute, Spend: measured(4.4), Status: pausedAt(4.4, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(4.4), Within: "PausedUntilRaised", Meter: "Measured"},
		},
		"GuardBandRaisedWhileStillHot": {
			reason: "The burn of the last minutes is the paused agent's; starting it now would pause it again at the next look. The raise is remembered.",
			facts:  Facts{Budget: *usd(5.2), GuardBand: time.Minute, Spend: &Spend{USD: *usd(4.7), Period: "lifetime", BurnPerHour: *usd(36)}, Status: pausedAt(4.7, 5)},
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(4.7), Within: "GuardBand", Meter: "Measured", Decided: usd(5)},
		},
		"GuardBandRaisedAndCool": {
			reason: "Then the raise counts.",
			facts:  Facts{Budget: *usd(5.2), GuardBand: time.Minute, Spend: measured(4.7), Status: pausedAt(4.7, 5)},
			want:   outcome{Cause: "running", Spent: usd(4.7), Within: "NearlySpent", Meter: "Measured", Events: "Resumed"},
		},
		"GuardBandNewDayWhileStillHot": {
			reason: "A new day is remembered likewise, and doesn't latch for the whole day.",
			facts:  daily(Facts{Budget: *usd(0.5), GuardBand: time.Minute, Now: at("2026-11-24T00:01:00Z"), Spend: &Spend{Period: "2026-11-24", BurnPerHour: *usd(36)}, Status: statusAt("2026-11-23", 0.5, 0.5, true)}),
			want:   outcome{Paused: true, Cause: "budget-exhausted", Spent: usd(0), Within: "GuardBand", Meter: "Measured", Period: "2026-11-24", Decided: usd(0)},
		},
		"GuardBandNewDayAndCool": {
			reason: "When the burn has calmed down the new day counts.",
			facts:  daily(Facts{Budget: *usd(0.5), GuardBand: time.Minute, Now: at("2026-11-24T00:06:00Z"), Spend: measuredIn("2026-11-24", 0), Status: Status{Paused: new(true), Period: "2026-11-24", DecidedBudget: usd(0), Spent: usd(0), Conditions: runningAt(0, 1).Conditions}}),
			want:   outcome{Cause: "running", Spent: usd(0), Within: "WithinBudget", Meter: "Measured", Events: "Resumed", Period: "2026-11-24"},
		},
	}
	met := map[string]bool{}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := tc.facts
			if f.Period == "" {
				f.Period = v1alpha1.PeriodLifetime
			}
			if f.Now.IsZero() {
				f.Now = at(noon)
			}
			if f.WarnAtPercent == nil {
				f.WarnAtPercent = []int32{80}
			}
			want := tc.want
			if want.Period == "" {
				want.Period = "lifetime"
			}
			if want.Decided == nil {
				want.Decided = &f.Budget
			}
			met[decided(situate(f)).name] = true
			v := Decide(f)
			got := outcome{Paused: v.Paused, Cause: v.Cause, Spent: v.Spent, Period: v.Period, Decided: &v.DecidedBudget}
			for _, c := range v.Conditions {
				switch c.Type {
				case v1alpha1.ConditionWithinBudget:
					got.Within = c.Reason
				case v1alpha1.ConditionSpendMeasured:
					got.Meter = c.Reason
				}
			}
			for i, e := range v.Events {
				if i > 0 {
					got.Events += "+"
				}
				got.Events += e.Reason
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
	for _, r := range rules {
		if !met[r.name] {
			t.Errorf("no row of this table meets the rule %s", r.name)
		}
	}
}
