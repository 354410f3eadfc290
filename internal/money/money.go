// Package money is the one money type, from the price of a token to what status
// shows: an exact number of picodollars.
package money

import (
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"

	"whisperops.io/functions/internal/errors"
)

// USD is an amount of US dollars in units of 10^-12: one token at one micro-dollar
// per million tokens. Every price of at most six decimals is a whole number of
// them, so that sums are exact to the last digit.
//
// What does not fit counts as Max, some nine million dollars: more than any budget
// can be, and no garbled counter turns a huge sum into a small one.
type USD int64

// Max is the largest amount.
const Max USD = math.MaxInt64

// Dollar is one US dollar.
const Dollar USD = 1_000_000_000_000

// Times is what n tokens cost at a price per token.
func (u USD) Times(n uint64) USD {
	if u < 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(u), n)
	if hi != 0 || lo > uint64(Max) {
		return Max
	}
	return USD(lo)
}

// Plus is the sum of two amounts.
func (u USD) Plus(o USD) USD {
	if o > 0 && u > Max-o {
		return Max
	}
	return u + o
}

// Scaled is the amount times num/den, rounded half away from zero. den is more
// than 0.
func (u USD) Scaled(num, den int64) USD {
	n := new(big.Int).Mul(big.NewInt(int64(u)), big.NewInt(num))
	return rounded(n, big.NewInt(den))
}

func rounded(n, den *big.Int) USD {
	half := new(big.Int).Rsh(den, 1)
	if n.Sign() < 0 {
		half.Neg(half)
	}
	n = new(big.Int).Quo(n.Add(n, half), den)
	switch {
	case n.IsInt64():
		return USD(n.Int64())
	case n.Sign() < 0:
		return -Max
	}
	return Max
}

// Of converts a number of US dollars by its shortest decimal text, rounded to
// twelve decimals: 0.1 is a tenth, and what sums of floats get wrong goes. It is
// false for what is no amount that anybody can have spent.
func Of(usd float64) (USD, bool) {
	if math.IsNaN(usd) || math.IsInf(usd, 0) || usd < 0 {
		return 0, false
	}
	r, ok := new(big.Rat).SetString(strconv.FormatFloat(usd, 'f', -1, 64))
	if !ok {
		return 0, false
	}
	r.Mul(r, new(big.Rat).SetInt64(int64(Dollar)))
	return rounded(new(big.Int).Set(r.Num()), r.Denom()), true
}

// Parse reads a decimal text of at most twelve decimals, as String writes it.
func Parse(text string) (USD, error) {
	whole, frac, _ := strings.Cut(text, ".")
	if len(frac) > 12 || whole == "" || strings.Trim(whole+frac, "0123456789") != "" {
		return 0, errors.Errorf("%q is no amount of US dollars", text)
	}
	n, err := strconv.ParseInt(whole+(frac + "000000000000")[:12], 10, 64)
	return USD(n), errors.Wrapf(err, "%q is no amount of US dollars", text)
}

// Float is the number nearest to the amount: for JSON, and for people.
func (u USD) Float() float64 {
	f, _ := new(big.Rat).SetFrac64(int64(u), int64(Dollar)).Float64()
	return f
}

// String is the amount to its last digit, without zeros at the end: "0.0231".
func (u USD) String() string {
	sign, n := "", u
	if n < 0 {
		sign, n = "-", -n
	}
	whole, frac := n/Dollar, n%Dollar
	if frac == 0 {
		return sign + strconv.FormatInt(int64(whole), 10)
	}
	digits := strconv.FormatInt(int64(Dollar+frac), 10)[1:]
	return sign + strconv.FormatInt(int64(whole), 10) + "." + strings.TrimRight(digits, "0")
}

// Shown rounds what was spent to four decimals, as status shows it, but never across
// the budget: it must not show a budget as spent that isn't, nor the other way round.
func Shown(spent, budget USD) USD {
	const unit = Dollar / 10_000
	r := spent / unit * unit
	if spent-r >= unit/2 && r <= Max-unit {
		r += unit
	}
	switch {
	case spent < budget && r >= budget:
		return r - unit
	case spent >= budget && r < budget:
		return r + unit
	}
	return r
}
