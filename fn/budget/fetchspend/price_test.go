package fetchspend

import (
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"whisperops.io/functions/apis/v1alpha1"
)

func TestReadPriceTable(t *testing.T) {
	cases := map[string]struct {
		reason string
		text   string
		want   PriceTable
		err    string // contained in it
	}{
		"AllPrices": {
			reason: "US dollars per million tokens are picodollars per token, exactly.",
			text:   `models: {m: {input: "0.30", output: "2.50", cachedInput: "0.03"}}`,
			want:   PriceTable{"m": {Input: 300_000, Output: 2_500_000, CachedInput: 30_000}},
		},
		"SixDecimals": {
			reason: "The smallest price is one picodollar per token.",
			text:   `models: {m: {input: "0.000001", output: "999999.999999"}}`,
			want:   PriceTable{"m": {Input: 1, Output: 999_999_999_999, CachedInput: 1}},
		},
		"NoCachedInput": {
			reason: "A model without a discount charges cached input as input, not at nothing.",
			text:   `models: {m: {input: "0.30", output: "2.50"}}`,
			want:   PriceTable{"m": {Input: 300_000, Output: 2_500_000, CachedInput: 300_000}},
		},
		"Free": {
			reason: "A model may cost nothing, if somebody says so.",
			text:   `models: {m: {input: "0", output: "0"}}`,
			want:   PriceTable{"m": {}},
		},
		"WithoutQuotes": {
			reason: "People forget them, and the number says the same.",
			text:   `models: {m: {input: 0.3, output: 2.5}}`,
			want:   PriceTable{"m": {Input: 300_000, Output: 2_500_000, CachedInput: 300_000}},
		},
		"OneDocument": {
			reason: "Marks around it, a comment before it, and a byte order mark are nothing.",
			text:   "\ufeff# prices\n---\nmodels: {m: {input: \"1\", output: \"1\"}}\n---\n# end\n",
			want:   PriceTable{"m": {Input: 1_000_000, Output: 1_000_000, CachedInput: 1_000_000}},
		},
		"Empty":         {reason: "A table without rows has no dearest one.", text: `models: {}`, err: "it has no models"},
		"NoDocument":    {reason: "As above.", text: ``, err: "it has no models"},
		"NoYAML":        {reason: "The message does not quote it: it may be anything.", text: "{", err: "it must hold models"},
		"OtherKey":      {reason: "A misspelled key would be a table without rows.", text: `model: {m: {input: "1", output: "1"}}`, err: "it must hold models"},
		"OtherCase":     {reason: "Names are case-sensitive, as everywhere in Kubernetes.", text: `Models: {m: {input: "1", output: "1"}}`, err: "it must hold models"},
		"BothCases":     {reason: "Which of the two counts?", text: "models: {m: {input: \"1\", output: \"1\"}}\nModels: {m: {input: \"2\", output: \"2\"}}", err: "it must hold models"},
		"TwoDocuments":  {reason: "The models of the second one would be charged at the dearest row of the first.", text: "models: {m: {input: \"1\", output: \"1\"}}\n---\nmodels: {n: {input: \"2\", output: \"2\"}}", err: "it must be one YAML document"},
		"PriceTwice":    {reason: "Which of the two counts?", text: `models: {m: {input: "1", output: "1", input: "2"}}`, err: "it must hold models"},
		"OtherClass":    {reason: "The way out is in the message.", text: `models: {m: {input: "1", output: "1", thinking: "1"}}`, err: `"m" has a price for "thinking", but tokens are input, output or cachedInput`},
		"NoOutput":      {reason: "An absent price is no price of 0.", text: `models: {m: {input: "1"}}`, err: `"m" has no output price`},
		"NoInput":       {reason: "As above.", text: `models: {m: {output: "1"}}`, err: `"m" has no input price`},
		"NoRow":         {reason: "As above.", text: `models: {m: }`, err: `"m" has no input price`},
		"Negative":      {reason: "Nobody earns money by using tokens.", text: `models: {m: {input: "-1", output: "1"}}`, err: `the input price of model "m" must be a decimal string`},
		"SevenDecimals": {reason: "It can't be counted exactly.", text: `models: {m: {input: "1", output: "0.0000001"}}`, err: `the output price`},
		"TooDear":       {reason: "A million dollars is a typing error.", text: `models: {m: {input: "1000000", output: "1"}}`, err: `the input price`},
		"Exponent":      {reason: "Nobody reads 3e-1 right.", text: `models: {m: {input: "3e-1", output: "1"}}`, err: `the input price`},
		"WithCurrency":  {reason: "Other currencies aren't converted.", text: `models: {m: {input: "$0.30", output: "1"}}`, err: `the input price`},
		"Comma":         {reason: "It may mean a thousand.", text: `models: {m: {input: "0,30", output: "1"}}`, err: `the input price`},
		"Null":          {reason: "A price that is being edited.", text: `models: {m: {input: null, output: "1"}}`, err: `the input price`},
		"List":          {reason: "As above.", text: `models: {m: {input: ["1"], output: "1"}}`, err: `the input price`},
		"ModelTwice":    {reason: "Which of the two counts?", text: "models:\n  m: {input: \"1\", output: \"1\"}\n  m: {input: \"2\", output: \"2\"}", err: "it must hold models"},
		"LongName":      {reason: "A status has an end.", text: `models: {` + strings.Repeat("x", 500) + `: {input: "1"}}`, err: "xxx..."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			got, err := ReadPriceTable(tc.text)
			switch {
			case tc.err == "" && err != nil:
				t.Fatal(err)
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Fatalf("error %v, want one that says %q", err, tc.err)
			case err != nil && len(err.Error()) > 400:
				t.Errorf("the error is %d bytes long", len(err.Error()))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCost(t *testing.T) {
	table := PriceTable{
		"cheap":   {Input: 100, Output: 1000, CachedInput: 10},
		"listens": {Input: 900, Output: 1000, CachedInput: 10},
		"talks":   {Input: 100, Output: 5000, CachedInput: 20},
	}
	use := func(model string, in, out, cached uint64) map[meter]uint64 {
		return map[meter]uint64{{model, v1alpha1.TokenInput}: in, {model, v1alpha1.TokenOutput}: out, {model, v1alpha1.TokenCachedInput}: cached}
	}
	cases := map[string]struct {
		reason   string
		tokens   map[meter]uint64
		apart    bool // the input does not contain the cached input
		want     string
		unpriced []string
		negative []string
	}{
		"Nothing":      {reason: "An agent that used nothing owes nothing.", want: "0"},
		"CachedInside": {reason: "Gemini's input contains what was cached: 60 of 100 at the full price.", tokens: use("cheap", 100, 1, 40), want: "7400"},
		"CachedApart":  {reason: "Others count it apart: 100 at the full price.", tokens: use("cheap", 100, 1, 40), apart: true, want: "11400"},
		"MoreCached":   {reason: "More cached than all input can't be; it is charged once, as cached, and said.", tokens: use("cheap", 100, 0, 140), want: "1400", negative: []string{"cheap"}},
		"NoRow":        {reason: "A model without a price is charged at the row that is dearest for what it used: never free.", tokens: use("new", 100, 1, 0), want: "91000", unpriced: []string{"new"}},
		"NoRowOutput":  {reason: "As above: for another use another row is.", tokens: use("new", 1, 100, 0), want: "500100", unpriced: []string{"new"}},
		"NoRowUnused":  {reason: "A model that used nothing needs no price.", tokens: use("new", 0, 0, 0), want: "0"},
		"Huge":         {reason: "No sum overflows: 18 exatokens at the dearest price.", tokens: use("talks", 0, ^uint64(0), 0), want: "92233720368547758075000"},
		"Two": {
			reason: "Each model has its own price.",
			tokens: map[meter]uint64{{"cheap", v1alpha1.TokenInput}: 10, {"talks", v1alpha1.TokenOutput}: 10},
			want:   "51000",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			b := table.cost(tc.tokens, !tc.apart)
			want, ok := new(big.Int).SetString(tc.want, 10)
			if !ok || b.total.Cmp(want) != 0 {
				t.Errorf("cost is %s, want %s", b.total, want)
			}
			if diff := cmp.Diff([][]string{tc.unpriced, tc.negative}, [][]string{b.unpriced, b.negative}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPicos(t *testing.T) {
	cases := map[string]struct {
		reason string
		usd    float64
		want   string
	}{
		"Cents":    {reason: "0.1 has no exact float64; its text has.", usd: 0.1, want: "100000000000"},
		"Drift":    {reason: "0.1 + 0.2 is what a sum of floats says, cut after twelve decimals.", usd: 0.30000000000000004, want: "300000000000"},
		"Smallest": {reason: "One picodollar.", usd: 1e-12, want: "1"},
		"Large":    {reason: "The largest budget.", usd: 10_000, want: "10000000000000000"},
		"Negative": {reason: "The schema refuses it; a budget rendered by hand has passed none.", usd: -5, want: "0"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			if got := picos(tc.usd).String(); got != tc.want {
				t.Errorf("%v US dollars are %s, want %s", tc.usd, got, tc.want)
			}
		})
	}
}

// A table that is corrected prices again what was counted: tokens are stored, not
// money. One that names a model at last does the same for it.
func TestPriceCorrected(t *testing.T) {
	s := storeOf(t, map[string]string{"output pod=a": "10:05:00=500 12:00:00=900", "output pod=a model=new": "10:05:00=7"})
	f := facts(t, "14:00:20", nil)
	s.now = f.Now
	for i, tc := range []struct {
		table    PriceTable
		want     int64
		unpriced []string
	}{
		{PriceTable{"m": {Output: 1000}, "other": {Output: 5}}, 907_000, []string{"new"}},
		{PriceTable{"m": {Output: 10}, "other": {Output: 50}}, 9_000 + 350, []string{"new"}},
		{PriceTable{"m": {Output: 10}, "new": {Output: 1}}, 9_007, nil},
	} {
		f.Prices = tc.table
		o := Measure(t.Context(), s, f)
		if got := tokens(o); got != tc.want {
			t.Errorf("look %d: spent %d, want %d", i+1, got, tc.want)
		}
		if diff := cmp.Diff(tc.unpriced, o.Measurement.UnpricedModels); diff != "" {
			t.Errorf("look %d: %s", i+1, diff)
		}
		f.Ledger = o.Ledger
	}
}
