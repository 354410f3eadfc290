package simulation

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
)

// A Meter is what tokens are counted by.
type Meter struct {
	Model string
	Class v1alpha1.TokenClass
}

// Tokens are so many of each meter.
type Tokens map[Meter]uint64

func (t Tokens) add(o Tokens) {
	for m, n := range o {
		t[m] += n
	}
}

// plus is the sum of two.
func (t Tokens) plus(o Tokens) Tokens {
	sum := Tokens{}
	sum.add(t)
	sum.add(o)
	return sum
}

// above says which meters exceed those of o, or "".
func (t Tokens) above(o Tokens) string {
	var out []string
	for _, m := range sortedMeters(t) {
		if t[m] > o[m] {
			out = append(out, fmt.Sprintf("%s %s: %d > %d", m.Model, m.Class, t[m], o[m]))
		}
	}
	return strings.Join(out, ", ")
}

// differs says in which meters two differ, or "".
func (t Tokens) differs(o Tokens) string {
	more, less := t.above(o), o.above(t)
	if more != "" && less != "" {
		more += "; "
	}
	if less != "" {
		less = "the other way round " + less
	}
	return more + less
}

// counted reads the settled totals of a status.
func counted(status map[string]any) (Tokens, error) {
	ledger, _ := status["ledger"].(map[string]any)
	rows, _ := ledger["totals"].([]any)
	out := Tokens{}
	for _, v := range rows {
		row, _ := v.(map[string]any)
		model, _ := row["model"].(string)
		class, _ := row["class"].(string)
		tokens, _ := row["tokens"].(string)
		n, err := strconv.ParseUint(tokens, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("the ledger counts %q tokens of %s", tokens, model)
		}
		out[Meter{model, v1alpha1.TokenClass(class)}] += n
	}
	return out, nil
}

// perMillion repeats Prices in micro-dollars, so that the truth is priced by
// other code.
var perMillion = map[Meter]int64{
	{"gemini-2.5-flash", v1alpha1.TokenInput}: 300_000, {"gemini-2.5-flash", v1alpha1.TokenOutput}: 2_500_000, {"gemini-2.5-flash", v1alpha1.TokenCachedInput}: 30_000,
	{"gemini-2.5-pro", v1alpha1.TokenInput}: 1_250_000, {"gemini-2.5-pro", v1alpha1.TokenOutput}: 10_000_000, {"gemini-2.5-pro", v1alpha1.TokenCachedInput}: 125_000,
	{"gemini-2.0-flash-lite", v1alpha1.TokenInput}: 75_000, {"gemini-2.0-flash-lite", v1alpha1.TokenOutput}: 300_000, {"gemini-2.0-flash-lite", v1alpha1.TokenCachedInput}: 75_000,
}

// USD prices tokens, exactly but for the rounding to a float64 at the end; the
// input contains the cached input.
func (t Tokens) USD() float64 {
	sum := new(big.Int)
	for m, n := range t {
		price := perMillion[m]
		if m.Class == v1alpha1.TokenCachedInput {
			price -= perMillion[Meter{m.Model, v1alpha1.TokenInput}]
		}
		sum.Add(sum, new(big.Int).Mul(new(big.Int).SetUint64(n), big.NewInt(price)))
	}
	usd, _ := new(big.Rat).SetFrac(sum, big.NewInt(1_000_000_000_000)).Float64()
	return usd
}
