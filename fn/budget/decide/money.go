package decide

import (
	"fmt"
	"math"
	"strconv"
)

// MicroUSD is money in millionths of a US dollar. A token costs far less than a
// cent, and sums of float64 drift.
type MicroUSD int64

// maxSpend is more than any budget can be, and little enough for int64 to hold
// twenty thousand times as much. What is more counts as this much.
const maxSpend MicroUSD = 100_000_000 * 1_000_000

// spentUSD converts US dollars that were spent. Fractions of a millionth are the
// agent's: nobody is cut off for them. It returns false for what isn't an
// amount: NaN, infinity, less than nothing.
func spentUSD(usd float64) (MicroUSD, bool) {
	if math.IsNaN(usd) || math.IsInf(usd, 0) || usd < 0 {
		return 0, false
	}
	if usd >= maxSpend.USD() {
		return maxSpend, true
	}
	return MicroUSD(math.Floor(usd*1e6 + floatNoise)), true
}

// budgetUSD converts US dollars that may be spent; a fraction of a millionth counts
// as a whole one, so that only 0 is no money at all. Budgets have been validated.
func budgetUSD(usd float64) MicroUSD { return MicroUSD(math.Ceil(usd*1e6 - floatNoise)) }

// floatNoise, in millionths of a dollar, is more than what float64 gets wrong of
// the largest budget, and less than anything that costs money.
const floatNoise = 1e-3

// USD returns the amount in US dollars, for people.
func (m MicroUSD) USD() float64 { return float64(m) / 1e6 }

// String returns the amount as people write it: "5 USD", "0.0231 USD".
func (m MicroUSD) String() string { return m.digits() + " USD" }

func (m MicroUSD) digits() string { return strconv.FormatFloat(m.USD(), 'f', -1, 64) }

// tenThousandths is a number with 4 decimals, as status shows it.
type tenThousandths int64

func (t tenThousandths) float() float64 { return float64(t) / 10_000 }

func (t tenThousandths) percent() string { return fmt.Sprintf("%d.%02d%%", t/100, t%100) }

// shown rounds what was spent to 4 decimals, but never across the budget: status
// must not show a budget as spent that isn't, nor the other way round.
func shown(spent, budget MicroUSD) tenThousandths {
	r := tenThousandths((spent + 50) / 100)
	switch rounded := MicroUSD(r) * 100; {
	case spent < budget && rounded >= budget:
		return r - 1
	case spent >= budget && rounded < budget:
		return r + 1
	}
	return r
}

// ratio of what was spent to the budget, rounded likewise. All of nothing is 1. It
// is that of the figure that status shows, so that a pass that has only that
// figure shows the same.
func ratio(spent, budget MicroUSD) tenThousandths {
	if budget == 0 {
		return 10_000
	}
	spent = MicroUSD(shown(spent, budget)) * 100
	r := tenThousandths((spent*10_000 + budget/2) / budget)
	if spent < budget && r >= 10_000 {
		return 9_999
	}
	return r
}
