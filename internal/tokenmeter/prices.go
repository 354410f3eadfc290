package tokenmeter

import (
	"whisperops.io/functions/fn/budget/fetchspend"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

// Picos are 10^-12 US dollars, as in the package fetchspend: sums are exact. An
// int64 holds nine million dollars.
type Picos int64

// picosPerUSD are the Picos of a US dollar.
const picosPerUSD = 1_000_000_000_000

// USD is the number of US dollars nearest to an amount.
func (p Picos) USD() float64 { return float64(p) / picosPerUSD }

// Prices are what tokens cost.
type Prices interface {
	// Known says whether a model has prices of its own.
	Known(model string) bool
	// Context is the value of the label context: "long" for a prompt of so many
	// tokens that the model costs more, else "standard".
	Context(model string, prompt uint64) string
	// Cost of tokens. A model without a price costs as the dearest one.
	Cost(model, context, tier string, t usage.Tokens) Picos
	// Ceiling is the most that so many tokens of a model can cost, at the standard
	// tier, whatever their class. It is 0 if there are no prices.
	Ceiling(model string, input, output uint64) Picos
}

// The values of the label context.
const (
	contextStandard = "standard"
	contextLong     = "long"
)

// noPrices is what is known before the first price table was read.
type noPrices struct{}

func (noPrices) Known(string) bool                               { return false }
func (noPrices) Context(string, uint64) string                   { return contextStandard }
func (noPrices) Cost(string, string, string, usage.Tokens) Picos { return 0 }

func (noPrices) Ceiling(string, uint64, uint64) Picos { return 0 }

// table is a price table.
type table struct{ rows fetchspend.PriceTable }

// readPrices reads the key prices.yaml of a price table's ConfigMap.
func readPrices(text string) (Prices, error) {
	t, err := fetchspend.ReadPriceTable(text)
	if err != nil {
		return nil, err
	}
	return table{t}, nil
}

func (t table) Known(model string) bool { _, ok := t.rows[model]; return ok }

func (t table) Context(string, uint64) string { return contextStandard }

func (t table) Cost(model, _, _ string, n usage.Tokens) Picos {
	if row, ok := t.rows[model]; ok {
		return rowCost(row, n)
	}
	var dearest Picos
	for _, row := range t.rows {
		dearest = max(dearest, rowCost(row, n))
	}
	return dearest
}

func (t table) Ceiling(model string, input, output uint64) Picos {
	return t.Cost(model, "", "", usage.Tokens{usage.Input: input, usage.Output: output})
}

func rowCost(r fetchspend.Row, n usage.Tokens) Picos {
	return Picos((n[usage.Input]+n[usage.CacheWrite]+n[usage.ToolUse])*r.Input + n[usage.CachedInput]*r.CachedInput + (n[usage.Output]+n[usage.Thoughts])*r.Output)
}
