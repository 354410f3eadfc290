package decide

import (
	"fmt"

	"whisperops.io/functions/internal/money"
)

// unit is the last decimal of status.spentUsd.
const unit = money.Dollar / 10_000

// micro is the least that a budget is told apart by.
const micro = money.Dollar / 1_000_000

// budgetOf converts US dollars that may be spent; a fraction of a millionth counts as a
// whole one, so that only 0 is no money at all. Budgets have been validated.
func budgetOf(usd float64) money.USD {
	b, ok := money.Of(usd)
	if !ok {
		return 0 // less than nothing is no money
	}
	if b == 0 && usd > 0 {
		return micro
	}
	return (b + micro - 1) / micro * micro
}

// digits are an amount as people write it, to a millionth of a dollar: "0.0231". What
// is finer is left out: nobody was charged for it who reads less.
func digits(u money.USD) string {
	return (u / micro * micro).String()
}

// inUSD is an amount for people: "5 USD".
func inUSD(u money.USD) string { return digits(u) + " USD" }

// tenThousandths is a number with 4 decimals, as status shows it.
type tenThousandths int64

func (t tenThousandths) float() float64 { return float64(t) / 10_000 }

func (t tenThousandths) percent() string { return fmt.Sprintf("%d.%02d%%", t/100, t%100) }

// ratio of what was spent to the budget, rounded to 4 decimals but never across 1. All
// of nothing is 1. It is that of the figure that status shows, so that a pass that has
// only that figure shows the same.
func ratio(spent, budget money.USD) tenThousandths {
	if budget == 0 {
		return 10_000
	}
	r := tenThousandths(money.Shown(spent, budget).Scaled(10_000, int64(budget)))
	if spent < budget && r >= 10_000 {
		return 9_999
	}
	return r
}
