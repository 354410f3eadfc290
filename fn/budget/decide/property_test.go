package decide

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/money"
)

// Any world at all, the impossible ones included.

func anyPeriodKey(t *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", "lifetime", "2026-11-22", "2026-11-23", "2026-11-24", "2027-11-23", "2026-W47", "2026-W48", "2026-11", "2026-10", "banana"}),
		rapid.String(),
	).Draw(t, label)
}

func anyMoney() *rapid.Generator[*money.USD] {
	return rapid.Custom(func(t *rapid.T) *money.USD {
		return new(money.USD(rapid.OneOf(
			rapid.Int64Range(0, int64(12*money.Dollar)),
			rapid.Int64Range(0, int64(money.Max)),
			rapid.SampledFrom([]int64{0, 1, int64(5*money.Dollar) - 1, int64(5 * money.Dollar), int64(5*money.Dollar) + 1}),
		).Draw(t, "usd")))
	})
}

func maybe[T any](t *rapid.T, g *rapid.Generator[*T], label string) *T {
	if rapid.Bool().Draw(t, "has "+label) {
		return g.Draw(t, label)
	}
	return nil
}

func anyFacts(t *rapid.T) Facts {
	f := Facts{
		Budget:        micro * money.USD(rapid.OneOf(rapid.Int64Range(0, 10_000_000_000), rapid.SampledFrom([]int64{0, 1, 5_000_000})).Draw(t, "budget")),
		MonitorOnly:   rapid.Bool().Draw(t, "monitor-only"),
		Period:        rapid.SampledFrom([]v1alpha1.Period{"lifetime", "daily", "weekly", "monthly"}).Draw(t, "period"),
		WarnAtPercent: rapid.SliceOfN(rapid.Int32(), 0, 5).Draw(t, "warnAtPercent"),
		GuardBand:     time.Duration(rapid.SampledFrom([]int{0, 60, 3600}).Draw(t, "guardBand")) * time.Second,
		Now:           noon().Add(time.Duration(rapid.Int64Range(-3*86400, 3*86400).Draw(t, "now")) * time.Second),
	}
	if rapid.Bool().Draw(t, "measured") {
		f.Spend = &Spend{
			USD: *anyMoney().Draw(t, "spent"), Period: anyPeriodKey(t, "measured period"), NeverSeen: rapid.Bool().Draw(t, "neverSeen"),
			Unpriced: rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "unpriced"), Distrusted: rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "distrusted"),
			BurnPerHour: *anyMoney().Draw(t, "burn"),
		}
	} else if rapid.Bool().Draw(t, "says why") {
		f.Problem = noMeter()
	}
	f.Status = Status{
		Spent: maybe(t, anyMoney(), "spentUsd"), Paused: maybe(t, rapid.Custom(func(t *rapid.T) *bool { return new(rapid.Bool().Draw(t, "b")) }), "paused"),
		Ratio: maybe(t, rapid.Custom(func(t *rapid.T) *tenThousandths {
			return new(tenThousandths(rapid.Int64Range(0, 1_000_000_000).Draw(t, "r")))
		}), "ratio"),
		Cause: v1alpha1.Cause(rapid.SampledFrom([]string{"", "running", "budget-exhausted", "agent-unreachable", "odd"}).Draw(t, "cause")), Period: anyPeriodKey(t, "status period"),
		DecidedBudget: maybe(t, anyMoney(), "decidedBudgetUsd"),
		Conditions: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) metav1.Condition {
			return metav1.Condition{Type: rapid.SampledFrom([]string{v1alpha1.ConditionSpendMeasured, v1alpha1.ConditionPricingComplete, "Other"}).Draw(t, "type"), Status: metav1.ConditionStatus(rapid.SampledFrom([]string{"True", "False", "Unknown", ""}).Draw(t, "status")), Reason: "R"}
		}), 0, 3).Draw(t, "conditions"),
	}
	for range rapid.IntRange(0, 2).Draw(t, "objects") {
		f.Objects = append(f.Objects, Replicas{Stopped: rapid.Bool().Draw(t, "stopped"), Period: anyPeriodKey(t, "object period"), Budget: maybe(t, anyMoney(), "object budget")})
	}
	return f
}

func TestEveryWorldHasAVerdict(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFacts(t)
		v := Decide(f)
		if diff := cmp.Diff(v, Decide(f)); diff != "" {
			t.Fatalf("the same facts have two verdicts: %s", diff)
		}
		if len(v.Conditions) != 3 {
			t.Fatalf("%d conditions, always three are sent", len(v.Conditions))
		}
		for _, c := range v.Conditions {
			if c.Reason == "" {
				t.Fatalf("condition %q has no reason, which the API server refuses", c.Type)
			}
		}
		if v.Paused && v.Cause != v1alpha1.CauseBudgetExhausted {
			t.Fatalf("paused, but the cause is %q: readers answer 402 for budget-exhausted only", v.Cause)
		}
		if f.MonitorOnly && v.Paused {
			t.Fatal("monitor-only cuts")
		}
		if kindOf(v.Period) != f.Period {
			t.Fatalf("period %q of a %s budget", v.Period, f.Period)
		}
		if v.Spent != nil && f.Budget > 0 {
			is, all := money.Shown(*v.Spent, f.Budget), *v.Spent >= f.Budget
			if (is >= f.Budget) != all || (ratio(*v.Spent, f.Budget) >= 10_000) != all {
				t.Fatalf("%s of %s is shown as %v, %s", v.Spent, f.Budget, is, ratio(*v.Spent, f.Budget).percent())
			}
		}
	})
}

// The meter goes down over an unchanged budget: status keeps every figure.
func TestAnOutageMovesNoFigure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFacts(t)
		f.Spend, f.GuardBand, f.Objects = &Spend{USD: *anyMoney().Draw(t, "spent")}, 0, nil
		v := Decide(f)
		f.Status, f.Spend, f.Problem = asRead(v, f.Budget), nil, noMeter()
		blind := Decide(f)
		figures := func(v Verdict) string {
			return fmt.Sprint(money.Shown(*v.Spent, f.Budget), v.ratio(f.Budget).percent(), v.Paused, v.Cause, v.Period, v.DecidedBudget)
		}
		if a, b := figures(v), figures(blind); a != b {
			t.Fatalf("an outage turned %s into %s", a, b)
		}
	})
}

func TestOverTheCapIsAlwaysPaused(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFacts(t)
		f.MonitorOnly = false
		f.Spend = &Spend{USD: f.Budget.Plus(*anyMoney().Draw(t, "over"))}
		if !Decide(f).Paused {
			t.Fatal("the measured spend is at or over the budget, and the agent runs")
		}
	})
}

func TestOnlyAPersonOrANewPeriodUnpauses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFacts(t)
		f.MonitorOnly = false
		f.Status.Paused = new(true)
		f.Status.DecidedBudget = new(f.Budget.Plus(*anyMoney().Draw(t, "lowered by")))
		f.Status.Period = v1alpha1.PeriodKey(f.Period, f.Now)
		// A meter that is minutes ahead of us begins the period for us.
		if f.Spend != nil && kindOf(f.Spend.Period) == f.Period && f.Spend.Period > f.Status.Period {
			f.Spend.Period = f.Status.Period
		}
		if v := Decide(f); !v.Paused {
			t.Fatal("nobody raised the budget, the period is the same, enforcement is on, and the agent runs again")
		}
	})
}

func TestOnlyMoneyPauses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFacts(t)
		f.GuardBand = 0
		f.Status.Paused = new(false)
		for i := range f.Objects {
			f.Objects[i].Budget = nil
		}
		v := Decide(f)
		if v.Paused && f.Budget > 0 && (v.Spent == nil || *v.Spent < f.Budget) {
			t.Fatal("a running agent was paused without having spent its budget")
		}
	})
}

func TestAQuietPassHasNoEvents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFacts(t)
		v := Decide(f)
		for pass := 2; pass <= 10; pass++ {
			f.Status = asRead(v, f.Budget)
			f.Objects = nil
			next := Decide(f)
			if len(next.Events) > 0 {
				t.Fatalf("pass %d over the same world: %v", pass, next.Events)
			}
			v.Events = nil
			if diff := cmp.Diff(v, next); pass > 2 && diff != "" {
				t.Fatalf("pass %d over the same world writes another status: %s", pass, diff)
			}
			v = next
		}
	})
}

// asRead is how the next pass reads what this one wrote.
func asRead(v Verdict, budget money.USD) Status {
	s := Status{Paused: &v.Paused, Cause: v.Cause, Period: v.Period, DecidedBudget: &v.DecidedBudget, Conditions: v.Conditions, Ratio: v.ratio(budget)}
	if v.Spent != nil {
		m, _ := money.Of(money.Shown(*v.Spent, budget).Float())
		s.Spent = &m
	}
	return s
}

func TestMoney(t *testing.T) {
	for _, tc := range []struct {
		reason        string
		spent, budget float64
		shown, ratio  float64
		percent       string
	}{
		{"A third is rounded.", 1, 3, 1, 0.3333, "33.33%"},
		{"Two thirds are rounded.", 2, 3, 2, 0.6667, "66.67%"},
		{"The story that people know.", 1.46, 5, 1.46, 0.292, "29.20%"},
		{"Not all of it is never shown as all of it.", 4.99999, 5, 4.9999, 0.9999, "99.99%"},
		{"All of it.", 5, 5, 5, 1, "100.00%"},
		{"All of nothing.", 0, 0, 0, 1, "100.00%"},
		{"More than all of nothing.", 3, 0, 3, 1, "100.00%"},
		{"A cent of the largest budget.", 0.01, 10000, 0.01, 0, "0.00%"},
		{"More than anybody has.", 1e300, 10000, 9223372.0368, 922.3372, "92233.72%"},
		{"A fraction of a millionth is the agent's.", 0.9999999, 1, 0.9999, 0.9999, "99.99%"},
	} {
		s, ok := money.Of(tc.spent)
		if !ok {
			t.Fatalf("%v is no amount", tc.spent)
		}
		b := budgetOf(tc.budget)
		if got := money.Shown(s, b).Float(); got != tc.shown {
			t.Errorf("%s shown(%v of %v) = %v, want %v", tc.reason, tc.spent, tc.budget, got, tc.shown)
		}
		if got := ratio(s, b); got.float() != tc.ratio || got.percent() != tc.percent {
			t.Errorf("%s ratio(%v of %v) = %v %s, want %v %s", tc.reason, tc.spent, tc.budget, got.float(), got.percent(), tc.ratio, tc.percent)
		}
	}
	for _, small := range []float64{1e-7, 1e-13, 1e-300} {
		if b := budgetOf(small); b != micro {
			t.Errorf("a budget of %v is %s, want a millionth: only 0 is no money at all", small, b)
		}
	}
	// What was converted and written is read as the same amount.
	rapid.Check(t, func(t *rapid.T) {
		b := micro * money.USD(rapid.Int64Range(0, 10_000_000_000).Draw(t, "budget"))
		if got := budgetOf(b.Float()); got != b {
			t.Fatalf("%s became %s", b, got)
		}
		if got, _ := money.Of(b.Float()); got != b {
			t.Fatalf("%s became %s", b, got)
		}
	})
}

// A budget that is read back from another function's spentUsd and ratio is never
// below the one it was written for: that would look like a raise.
func TestImpliedBudgetIsNoRaise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		budget := micro * money.USD(rapid.OneOf(rapid.Int64Range(1, 10_000_000_000), rapid.Int64Range(1, 20_000)).Draw(t, "budget"))
		spent := micro * money.USD(rapid.OneOf(rapid.Int64Range(0, int64(2*budget/micro)), rapid.Int64Range(0, min(int64(1000*(budget/micro)), int64(money.Max/micro/2)))).Draw(t, "spent"))
		s := Status{
			Spent: new((spent + unit/2) / unit * unit),
			Ratio: new(tenThousandths(spent.Scaled(10_000, int64(budget)))), // of what was spent, not of what is shown
		}
		b := impliedBudget(s)
		if *s.Ratio == 0 {
			if b != nil {
				t.Fatalf("a ratio of 0 tells no budget, not %s", b)
			}
			return
		}
		if *b+micro < budget {
			t.Fatalf("%s, read back as %s: a raise that nobody made", budget, b)
		}
		if *s.Ratio >= 10_000 && budget >= 10_000*micro && *b > budget+budget/40 {
			t.Fatalf("%s, read back as %s: a raise of more would not be seen", budget, b)
		}
	})
}

func TestMessagesHoldNoFigures(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := anyFacts(t)
		f.WarnAtPercent = nil
		for _, c := range Decide(f).Conditions {
			said := c.Message
			if f.Status.Period != "" {
				said = strings.ReplaceAll(said, f.Status.Period, "") // which names a pause, and doesn't move
			}
			if f.Spend == nil && strings.ContainsAny(said, "123456789") {
				t.Fatalf("message of %s moves: %q", c.Type, c.Message)
			}
		}
	})
}
