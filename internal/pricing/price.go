package pricing

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/internal/money"
)

// cheapest is less than any provider takes for a million tokens of a class, in
// micro-dollars: what is below it was written per token, or per thousand. (The
// cheapest of November 2026: input 0.02, cached input 0.0025 USD.)
var cheapest = map[v1alpha1.TokenClass]money.USD{
	v1alpha1.TokenInput:       5_000,
	v1alpha1.TokenToolUse:     5_000,
	v1alpha1.TokenOutput:      5_000,
	v1alpha1.TokenThoughts:    5_000,
	v1alpha1.TokenCachedInput: 1_000,
	v1alpha1.TokenCacheWrite:  1_000, // or nothing: writes of an implicit cache cost nothing extra
}

var decimal = regexp.MustCompile(`^(0|[1-9][0-9]{0,5})(\.[0-9]{1,6})?$`)

// price reads US dollars per million tokens exactly. A number that somebody forgot
// to quote is taken by its shortest text.
func price(n *yaml.Node, class v1alpha1.TokenClass, unchecked bool) (money.USD, string) {
	text := number(n)
	micros, err := micro(text)
	if n.Kind == yaml.ScalarNode && (tiny.MatchString(text) || tinyExponent.MatchString(text)) {
		return 0, tooCheap(text, class)
	}
	if err != nil {
		return 0, "it must be a decimal string such as \"0.30\", in US dollars per million tokens, with at most six decimals"
	}
	if free := micros == 0 && class == v1alpha1.TokenCacheWrite; !unchecked && !free && money.USD(micros) < cheapest[class] {
		return 0, tooCheap(text, class)
	}
	return money.USD(micros), ""
}

// tiny is a price with so many zeros that it has more than six decimals, or that is written
// as catalogs write prices per token.
var (
	tiny         = regexp.MustCompile(`^0\.000[0-9]{4,30}$`)
	tinyExponent = regexp.MustCompile(`^[0-9](\.[0-9]{1,30})?[eE]-0?[4-9]$`)
)

func tooCheap(text string, class v1alpha1.TokenClass) string {
	why := fmt.Sprintf("%s US dollars for a million %s tokens is below any market price", short(text), class)
	if f, err := strconv.ParseFloat(text, 64); err == nil && f > 0 {
		why += fmt.Sprintf(": per token it would be %s for a million", strconv.FormatFloat(round(f*1e6), 'f', -1, 64))
	}
	return why + "; if it is right, say unchecked: true in the row"
}

func round(f float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', 4, 64), 64)
	if err != nil {
		return f
	}
	return r
}

// octal is a number of which YAML's readers don't agree what it is.
var octal = regexp.MustCompile(`^[-+]?0[0-9_]+$`)

// number is the text of a scalar; that of a number is written without an exponent.
func number(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	if (n.Tag == "!!float" || n.Tag == "!!int") && !octal.MatchString(n.Value) {
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil {
			return strconv.FormatFloat(f, 'f', -1, 64)
		}
	}
	return n.Value
}

func micro(text string) (int64, error) {
	if !decimal.MatchString(text) {
		return 0, errors.New("not a price")
	}
	whole, frac, _ := strings.Cut(text, ".")
	return strconv.ParseInt(whole+(frac + "000000")[:6], 10, 64)
}

// factor reads a multiplier, in millionths.
func factor(n *yaml.Node) (int64, string) {
	f, err := micro(number(n))
	if err != nil || f <= 0 || f > 100*one {
		return 0, "it must be a multiplier such as \"1.1\", more than 0 and at most 100"
	}
	return f, ""
}
