package tokenmeter

import (
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/money"
	"whisperops.io/functions/internal/pricing"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

// USD is money, in 10^-12 US dollars: sums are exact.
type USD = money.USD

// Prices are what tokens cost, by the price table that fetch-spend reads too. The
// zero value is what is known before it was first read.
type Prices struct {
	table *pricing.Table
	now   func() time.Time
	ahead time.Duration // how long a call may take: its price may change under way
}

// classes are the price table's names of the classes.
var classes = [usage.Classes]v1alpha1.TokenClass{
	usage.Input: v1alpha1.TokenInput, usage.CachedInput: v1alpha1.TokenCachedInput, usage.CacheWrite: v1alpha1.TokenCacheWrite,
	usage.Output: v1alpha1.TokenOutput, usage.Thoughts: v1alpha1.TokenThoughts, usage.ToolUse: v1alpha1.TokenToolUse,
}

// Known says whether a model has prices of its own.
func (p Prices) Known(model string) bool { return p.table != nil && p.table.Find(model) != nil }

// Context is the value of the label context: "long" for a prompt of so many tokens
// that the model costs more, else "standard".
func (p Prices) Context(model string, prompt uint64) string {
	if p.table == nil {
		return pricing.ContextStandard
	}
	return p.table.Context(model, prompt, p.now())
}

// Cost of tokens. A model without a price costs as the dearest one.
func (p Prices) Cost(model, context, tier string, t usage.Tokens) USD {
	if p.table == nil {
		return 0
	}
	uses := make(map[pricing.Use]uint64, len(t))
	for c, n := range t {
		if n > 0 {
			uses[pricing.Use{Class: classes[c], Context: context, Tier: tier}] = n
		}
	}
	sum, _, _ := p.table.Cost(model, uses, p.now())
	return sum
}

// Ceiling is the most that so many tokens of a model can cost at the usual tier,
// whatever their class, and also if a dearer row begins while the call is under
// way. It is 0 if there are no prices.
func (p Prices) Ceiling(model string, input, output uint64) USD {
	if p.table == nil {
		return 0
	}
	models := p.table.Models
	if m := p.table.Find(model); m != nil {
		models = []*pricing.Model{m}
	}
	var most USD
	for _, m := range models {
		for _, at := range []time.Time{p.now(), p.now().Add(p.ahead)} {
			row := m.At(at)
			var in, out USD
			for _, context := range []string{pricing.ContextStandard, pricing.ContextLong} {
				if context == pricing.ContextLong && (row.Above == 0 || input <= row.Above) {
					continue
				}
				rate := func(c usage.Class) USD {
					r, _ := row.Rate(pricing.Use{Class: classes[c], Context: context}, p.table.Regional)
					return r
				}
				in = max(in, rate(usage.Input), rate(usage.CachedInput), rate(usage.CacheWrite), rate(usage.ToolUse))
				out = max(out, rate(usage.Output), rate(usage.Thoughts))
			}
			most = max(most, in.Times(input).Plus(out.Times(output)))
		}
	}
	return most
}
