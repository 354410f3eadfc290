package fetchspend

import (
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"sigs.k8s.io/yaml"

	"whisperops.io/functions/apis/v1alpha1"
)

// Picos are 10^-12 US dollars: one token at one micro-dollar per million tokens.
// Every price of at most six decimals is a whole number of them, so that sums
// are exact to the last digit.
type Picos = *big.Int

const picosPerUSD = 1_000_000_000_000

// A Row holds the prices of one model, in Picos per token, which is the same
// number as micro-dollars per million tokens.
type Row struct{ Input, Output, CachedInput uint64 }

// A PriceTable holds the prices of models. It has at least one row.
type PriceTable map[string]Row

var decimal = regexp.MustCompile(`^(0|[1-9][0-9]{0,5})(\.[0-9]{1,6})?$`)

// ReadPriceTable reads the key prices.yaml of a price table's ConfigMap:
//
//	models:
//	  gemini-2.5-flash: {input: "0.30", output: "2.50", cachedInput: "0.03"}
//
// US dollars per million tokens, as decimal strings with at most six decimals. A
// row without cachedInput charges cached input as input.
func ReadPriceTable(text string) (PriceTable, error) {
	if documents(text) > 1 {
		return nil, errors.New("it must be one YAML document, without a second one after a line ---")
	}
	var doc map[string]map[string]map[string]any
	unread := yaml.UnmarshalStrict([]byte(text), &doc)
	models, ok := doc["models"]
	switch {
	case unread != nil, len(doc) > 1, len(doc) == 1 && !ok:
		return nil, errors.New("it must hold models: {<model>: {input, output, cachedInput}} and nothing else")
	case len(models) == 0:
		return nil, errors.New("it has no models")
	}
	t := PriceTable{}
	for _, m := range sortedKeys(models) {
		row := Row{}
		for _, k := range sortedKeys(models[m]) {
			p, err := price(models[m][k])
			if err != nil {
				return nil, errors.Errorf("the %s price of model %q must be a decimal string such as \"0.30\", in US dollars per million tokens, with at most six decimals", short(k, 40), short(m, maxModelLen))
			}
			switch k {
			case string(v1alpha1.TokenInput):
				row.Input = p
			case string(v1alpha1.TokenOutput):
				row.Output = p
			case string(v1alpha1.TokenCachedInput):
				row.CachedInput = p
			default:
				return nil, errors.Errorf("model %q has a price for %q, but tokens are input, output or cachedInput", short(m, maxModelLen), short(k, 40))
			}
		}
		for _, k := range []string{"input", "output"} {
			if _, ok := models[m][k]; !ok {
				return nil, errors.Errorf("model %q has no %s price", short(m, maxModelLen), k)
			}
		}
		if _, ok := models[m]["cachedInput"]; !ok {
			row.CachedInput = row.Input
		}
		t[m] = row
	}
	return t, nil
}

// documents counts those that hold anything, if there may be more than one.
func documents(text string) int {
	parts := strings.Split(text, "\n---")
	n := 0
	for _, p := range parts {
		var v any
		if len(parts) > 1 && (yaml.Unmarshal([]byte(p), &v) != nil || v != nil) {
			n++
		}
	}
	return n
}

// price reads a decimal string exactly. A number that somebody forgot to quote
// is taken by its shortest text.
func price(v any) (uint64, error) {
	text, ok := v.(string)
	if f, isNumber := v.(float64); isNumber {
		text, ok = strconv.FormatFloat(f, 'f', -1, 64), true
	}
	if !ok || !decimal.MatchString(text) {
		return 0, errors.New("not a price")
	}
	whole, frac, _ := strings.Cut(text, ".")
	return strconv.ParseUint(whole+(frac + "000000")[:6], 10, 64)
}

// A bill is what tokens cost.
type bill struct {
	total    Picos
	unpriced []string // models without a row that have tokens; sorted
	negative []string // models with more cached input than input; sorted
}

// cost prices tokens. A model without a row is charged at the dearest one: never
// free. Input tokens that were served from a cache are charged once.
func (t PriceTable) cost(tokens map[meter]uint64, inputContainsCached bool) bill {
	b := bill{total: new(big.Int)}
	models := map[string]bool{}
	for m := range tokens {
		models[m.model] = true
	}
	for _, m := range sortedKeys(models) {
		in := tokens[meter{m, v1alpha1.TokenInput}]
		cached := tokens[meter{m, v1alpha1.TokenCachedInput}]
		out := tokens[meter{m, v1alpha1.TokenOutput}]
		if inputContainsCached {
			if cached > in {
				b.negative = append(b.negative, m)
				in = cached
			}
			in -= cached
		}
		row, ok := t[m]
		if ok {
			b.total.Add(b.total, row.cost(in, out, cached))
			continue
		}
		dearest := new(big.Int)
		for _, row := range t {
			if c := row.cost(in, out, cached); c.Cmp(dearest) > 0 {
				dearest = c
			}
		}
		b.total.Add(b.total, dearest)
		if in+out+cached > 0 {
			b.unpriced = append(b.unpriced, m)
		}
	}
	return b
}

func (r Row) cost(in, out, cached uint64) Picos {
	sum := new(big.Int)
	for _, p := range [][2]uint64{{in, r.Input}, {out, r.Output}, {cached, r.CachedInput}} {
		sum.Add(sum, new(big.Int).Mul(new(big.Int).SetUint64(p[0]), new(big.Int).SetUint64(p[1])))
	}
	return sum
}

// picos converts US dollars by their shortest decimal text, cut after 12 decimals.
func picos(usd float64) Picos {
	whole, frac, _ := strings.Cut(strconv.FormatFloat(usd, 'f', -1, 64), ".")
	n, ok := new(big.Int).SetString(whole+(frac + strings.Repeat("0", 12))[:12], 10)
	if !ok || n.Sign() < 0 {
		return new(big.Int) // not a number, or negative: the schema refuses both
	}
	return n
}

// usd is the number of US dollars nearest to an amount.
func usd(p Picos) float64 {
	f, _ := new(big.Rat).SetFrac(p, big.NewInt(picosPerUSD)).Float64()
	return f
}

// burn is the steepest minute of the last five before a time, in Picos per hour.
// Tokens are taken as used when they were sampled.
func (t PriceTable) burn(gains map[meter][]gain, inputContainsCached bool, at int64, s Settings) Picos {
	span := max(time.Minute, s.quiet())
	steps := map[int64]map[meter]uint64{} // by the end of their step of the grid
	for m, gs := range gains {
		for _, g := range gs {
			if g.at <= at-max(burnWindow, span).Milliseconds() || g.at > at {
				continue
			}
			end := ceil(g.at, s.Grid)
			if steps[end] == nil {
				steps[end] = map[meter]uint64{}
			}
			steps[end][m] = add(steps[end][m], g.tokens)
		}
	}
	steepest := new(big.Int)
	for end := range steps {
		tokens := map[meter]uint64{}
		for e := end; e > end-span.Milliseconds(); e -= s.Grid.Milliseconds() {
			for m, n := range steps[e] {
				tokens[m] = add(tokens[m], n)
			}
		}
		if c := t.cost(tokens, inputContainsCached).total; c.Cmp(steepest) > 0 {
			steepest = c
		}
	}
	return steepest.Div(steepest.Mul(steepest, big.NewInt(time.Hour.Milliseconds())), big.NewInt(span.Milliseconds()))
}
