package pricing

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/money"
)

func rates(in, cached, write, out money.USD) Rates {
	return Rates{
		v1alpha1.TokenInput: in, v1alpha1.TokenCachedInput: cached, v1alpha1.TokenCacheWrite: write, v1alpha1.TokenToolUse: in,
		v1alpha1.TokenOutput: out, v1alpha1.TokenThoughts: out,
	}
}

func TestRead(t *testing.T) {
	cases := map[string]struct {
		reason string
		text   string
		want   map[string]Rates // of the first row of each model
		flaws  []string
		err    string // contained in it
	}{
		"AllPrices": {
			reason: "US dollars per million tokens are picodollars per token, exactly.",
			text:   `models: {m: {input: "0.30", output: "2.50", cachedInput: "0.03"}}`,
			want:   map[string]Rates{"m": rates(300_000, 30_000, 300_000, 2_500_000)},
		},
		"SixDecimals": {
			reason: "The smallest price is one picodollar per token, if a person says that it is right.",
			text:   `models: {m: {input: "0.000001", output: "999999.999999", unchecked: true}}`,
			want:   map[string]Rates{"m": rates(1, 1, 1, 999_999_999_999)},
		},
		"NoCachedInput": {
			reason: "A model without a discount charges cached input as input, not at nothing.",
			text:   `models: {m: {input: "0.30", output: "2.50"}}`,
			want:   map[string]Rates{"m": rates(300_000, 300_000, 300_000, 2_500_000)},
		},
		"Free": {
			reason: "A model may cost nothing, if somebody says so.",
			text:   `models: {m: {input: "0", output: "0", unchecked: true}}`,
			want:   map[string]Rates{"m": rates(0, 0, 0, 0)},
		},
		"AllClasses": {
			reason: "What a provider prices apart has a price of its own, in the old form too.",
			text:   `models: {m: {input: "2", cachedInput: "0.10", cacheWrite: "2.50", toolUse: "3", output: "10", thoughts: "12"}}`,
			want: map[string]Rates{"m": {
				v1alpha1.TokenInput: 2_000_000, v1alpha1.TokenCachedInput: 100_000, v1alpha1.TokenCacheWrite: 2_500_000,
				v1alpha1.TokenToolUse: 3_000_000, v1alpha1.TokenOutput: 10_000_000, v1alpha1.TokenThoughts: 12_000_000,
			}},
		},
		"Numbers": {
			reason: "However a number is written, it says the same; and True is true.",
			text:   "version: 2\nmodels:\n  m: {input: 1_000, output: 2e+1, unchecked: True}\n  n: {input: +1, output: .5, longContext: {above: 200_000, input: 4}}\n  o: {input: 1.0, output: 0.50, longContext: {above: 2e5, input: 4}}\n",
			want: map[string]Rates{
				"m": rates(1_000_000_000, 1_000_000_000, 1_000_000_000, 20_000_000), "n": rates(1_000_000, 1_000_000, 1_000_000, 500_000), "o": rates(1_000_000, 1_000_000, 1_000_000, 500_000),
			},
		},
		"WithoutQuotes": {
			reason: "People forget them, and the number says the same.",
			text:   `models: {m: {input: 0.3, output: 2.5}}`,
			want:   map[string]Rates{"m": rates(300_000, 300_000, 300_000, 2_500_000)},
		},
		"OneDocument": {
			reason: "Marks around it, a comment before it, and a byte order mark are nothing.",
			text:   "\ufeff# prices\n---\nmodels: {m: {input: \"1\", output: \"1\"}}\n---\n# end\n",
			want:   map[string]Rates{"m": rates(1_000_000, 1_000_000, 1_000_000, 1_000_000)},
		},
		"Empty":        {reason: "A table without rows has no dearest one.", text: `models: {}`, err: "it has no models"},
		"NoDocument":   {reason: "As above.", text: ``, err: "it has no models"},
		"Tab":          {reason: "Who sees nothing in the line is told.", text: "models:\n\tm: {input: \"1\", output: \"1\"}\n", err: "it is no YAML (line 2: it begins with a tab, where YAML takes only blanks)"},
		"NoYAML":       {reason: "The message does not quote it: it may be anything.", text: "models: {", err: "it is no YAML (line 1)"},
		"OtherKey":     {reason: "A misspelled key would be a table without rows.", text: `model: {m: {input: "1", output: "1"}}`, err: "line 1: it must hold models"},
		"OtherCase":    {reason: "Names are case-sensitive, as everywhere in Kubernetes.", text: `Models: {m: {input: "1", output: "1"}}`, err: "it must hold models"},
		"BothCases":    {reason: "Which of the two counts?", text: "models: {m: {input: \"1\", output: \"1\"}}\nModels: {m: {input: \"2\", output: \"2\"}}", err: "line 2: it must hold models"},
		"Twice":        {reason: "As above.", text: "models: {m: {input: \"1\", output: \"1\"}}\nmodels: {m: {input: \"2\", output: \"2\"}}", err: "line 2: it holds models twice"},
		"TwiceSaid":    {reason: "As above, of what all prices are multiplied by.", text: "version: 2\nendpoint: global\nendpoint: regional\nmodels: {m: {input: \"1\", output: \"1\"}}", err: "line 3: it holds endpoint twice"},
		"OtherVersion": {reason: "A later one may mean something else by the same words.", text: "version: 3\nmodels: {m: {input: \"1\", output: \"1\"}}", err: "line 1: version must be 1 or 2"},
		"List":         {reason: "It is no table.", text: "- a\n", err: "it must hold models"},
		"Text":         {reason: "As above.", text: "prices", err: "it must hold models"},
		"Recursive":    {reason: "An anchor that holds itself has no end.", text: "models: &a {x: *a}", err: "line 1: anchors and aliases of YAML come to more than a price table may hold"},
		"Billion":      {reason: "Nor has one that is doubled again and again, to whoever reads it.", text: bomb(40), err: "come to more than a price table may hold"},
		"NoAnchor":     {reason: "An alias of nothing.", text: "models: {m: *a}", err: "it is no YAML"},
		"Tagged":       {reason: "Nobody's program is run for a price.", text: "models: {m: !row {input: \"1\", output: \"1\"}}", err: "line 1: it must not hold tags"},
		"MergedText":   {reason: "There is nothing in it to merge.", text: "models: {m: {<<: x, input: \"1\", output: \"1\"}}", err: "line 1: only rows can be merged"},
		"TwoDocuments": {reason: "The models of the second one would be charged at the dearest row of the first.", text: "models: {m: {input: \"1\", output: \"1\"}}\n---\nmodels: {n: {input: \"2\", output: \"2\"}}", err: "it must be one YAML document"},
		"NoneGood":     {reason: "A table of which nothing is left is none; it says why.", text: "models:\n  m: {input: \"1\"}\n", err: `none of its rows can be used; line 2: model "m": output: there is no output price`},

		"Anchors": {
			reason: "Two names of one price are written so, and merges keep what the row says by itself: the old form took both.",
			text:   "models:\n  m: &a {input: \"1\", output: \"1\"}\n  n: *a\n  o: {<<: *a, output: \"3\"}\n  p: {<<: [*a], cachedInput: \"0.5\"}\n  q: {output: \"3\", <<: *a}\n",
			want: map[string]Rates{
				"m": rates(1_000_000, 1_000_000, 1_000_000, 1_000_000), "n": rates(1_000_000, 1_000_000, 1_000_000, 1_000_000),
				"o": rates(1_000_000, 1_000_000, 1_000_000, 3_000_000), "p": rates(1_000_000, 500_000, 1_000_000, 1_000_000),
				"q": rates(1_000_000, 1_000_000, 1_000_000, 3_000_000), // whatever stands first
			},
		},
		"BadAlias": {
			reason: "A flaw leads to the row that is one, not only to where its anchor is.",
			text:   "models:\n  m: {input: &price \"1\", output: \"1\"}\n  n:\n    input: *price\n",
			want:   map[string]Rates{"m": rates(1_000_000, 1_000_000, 1_000_000, 1_000_000)},
			flaws:  []string{`line 4: model "n": output: there is no output price`},
		},
		"OneBad": {
			reason: "A bad row harms that row: the others have prices, and the message leads to it.",
			text:   "models:\n  good: {input: \"1\", output: \"1\"}\n  imagen-4.0: {perImage: \"0.04\"}\n",
			want:   map[string]Rates{"good": rates(1_000_000, 1_000_000, 1_000_000, 1_000_000)},
			flaws: []string{
				`line 3: model "imagen-4.0": perImage: no price is called so: tokens are input, output, cachedInput, cacheWrite, thoughts or toolUse (and from, longContext, tiers, regional, aliases need version: 2)`,
				`line 3: model "imagen-4.0": input: there is no input price`,
				`line 3: model "imagen-4.0": output: there is no output price`,
			},
		},
		"ModelTwice": {
			reason: "The first counts; whoever pasted the second reads where both are.",
			text:   "models:\n  m: {input: \"1\", output: \"1\"}\n  m: {input: \"2\", output: \"2\"}",
			want:   map[string]Rates{"m": rates(1_000_000, 1_000_000, 1_000_000, 1_000_000)},
			flaws:  []string{`line 3: model "m": "m" stands in line 2 already, and that counts`},
		},
		"PriceTwice": {
			reason: "Which of the two counts? Neither.",
			text:   "models:\n  m: {input: \"1\", output: \"1\", input: \"2\"}\n  n: {input: \"1\", output: \"1\"}",
			want:   map[string]Rates{"n": rates(1_000_000, 1_000_000, 1_000_000, 1_000_000)},
			flaws:  []string{`line 2: model "m": input: it stands there twice`},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			got, err := Read(tc.text)
			switch {
			case tc.err == "" && err != nil:
				t.Fatal(err)
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Fatalf("error %v, want one that says %q", err, tc.err)
			case err != nil:
				if len(err.Error()) > 1000 {
					t.Errorf("the error is %d bytes long", len(err.Error()))
				}
				return
			}
			have := map[string]Rates{}
			for _, m := range got.Models {
				have[m.Name] = m.Rows[0].Rates
			}
			var flaws []string
			for _, f := range got.Flaws {
				flaws = append(flaws, f.String())
			}
			if diff := cmp.Diff(tc.want, have); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tc.flaws, flaws); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// bomb is a document of a few lines that comes to 2^n nodes.
func bomb(n int) string {
	text := "models:\n  m0: &a0 [x, x]\n"
	for i := range n {
		text += fmt.Sprintf("  m%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	return text
}

// A row that can't be used is named by model, field and line, and says the way out.
func TestFlaws(t *testing.T) {
	cases := map[string]struct {
		reason string
		row    string
		want   string // contained in the only flaw
	}{
		"OtherClass":      {"The way out is in the message.", `{input: "1", output: "1", thinking: "1"}`, "thinking: no price is called so: tokens are input, output"},
		"NoOutput":        {"An absent price is no price of 0.", `{input: "1"}`, "output: there is no output price"},
		"NoInput":         {"As above.", `{output: "1"}`, "input: there is no input price"},
		"NoRow":           {"As above.", ``, "it has no price"},
		"NoRows":          {"As above.", `[]`, "it has no row"},
		"NoRowsInside":    {"As above.", `{rows: []}`, "it has no row"},
		"Negative":        {"Nobody earns money by using tokens.", `{input: "-1", output: "1"}`, "input: it must be a decimal string"},
		"SevenDecimals":   {"It is a price per token.", `{input: "1", output: "0.0000025"}`, "output: 0.0000025 US dollars for a million output tokens is below any market price: per token it would be 2.5 for a million; if it is right, say unchecked: true in the row"},
		"PerToken":        {"As above, without quotes.", `{input: 3e-06, output: "1"}`, "input: 0.000003 US dollars for a million input tokens is below any market price: per token it would be 3 for a million"},
		"PerTokenQuoted":  {"As a catalog of models writes it.", `{input: "1.25e-06", output: "1"}`, "input: 1.25e-06 US dollars for a million input tokens is below any market price: per token it would be 1.25 for a million"},
		"PerThousand":     {"0.00125 for a thousand.", `{input: "0.00125", output: "1"}`, "input: 0.00125 US dollars for a million input tokens is below any market price"},
		"CachedPerToken":  {"As above.", `{input: "1", cachedInput: "0.0000001", output: "1"}`, "cachedInput: 0.0000001 US dollars"},
		"LongPerToken":    {"As above, where only long requests are written so.", `{input: "1", output: "1", longContext: {above: 200000, input: "0.000004"}}`, "longContext.input: 0.000004 US dollars"},
		"WritePerToken":   {"A write that costs nothing is one of an implicit cache; this is 5 USD for a million.", `{input: "1", cacheWrite: "0.000005", output: "1"}`, "cacheWrite: 0.000005 US dollars for a million cacheWrite tokens is below any market price"},
		"Free":            {"Nobody gives tokens away by an oversight.", `{input: "0", output: "1"}`, "input: 0 US dollars for a million input tokens is below any market price; if it is right, say unchecked: true"},
		"SmallUnchecked":  {"Seven decimals can't be counted exactly even so.", `{input: "1", output: "0.0000025", unchecked: true}`, "output: "},
		"TooDear":         {"A million dollars is a typing error.", `{input: "1000000", output: "1"}`, "input: it must be a decimal string"},
		"Exponent":        {"Nobody reads 3e-1 right.", `{input: "3e-1", output: "1"}`, "input: it must be a decimal string"},
		"Currency":        {"Other currencies aren't converted.", `{input: "$0.30", output: "1"}`, "input: it must be a decimal string"},
		"Comma":           {"It may mean a thousand.", `{input: "0,30", output: "1"}`, "input: it must be a decimal string"},
		"Null":            {"A price that is being edited.", `{input: null, output: "1"}`, "input: it must be a decimal string"},
		"List":            {"As above.", `{input: ["1"], output: "1"}`, "input: it must be a decimal string"},
		"NoDate":          {"Days are written in one way.", `{from: 1.1.2027, input: "1", output: "1"}`, "from: it must be a day, such as 2027-01-01"},
		"NoAbove":         {"A tier that begins nowhere.", `{input: "1", output: "1", longContext: {input: "2"}}`, "longContext: it must say above how many tokens"},
		"AboveNothing":    {"As above.", `{input: "1", output: "1", longContext: {above: 0, input: "2"}}`, "longContext.above: it must be the number"},
		"AboveTwice":      {"Which of the two counts? Neither.", `{input: "1", output: "1", longContext: {above: 200000, above: 100000, input: "2"}}`, "longContext.above: it stands there twice"},
		"LongTwice":       {"As above.", `{input: "1", output: "1", longContext: {above: 200000, input: "2", input: "3"}}`, "longContext.input: it stands there twice"},
		"TierTwice":       {"As above: a provider's other name for it.", `{input: "1", output: "1", tiers: {flex: "0.5", ON_DEMAND_FLEX: "0.6"}}`, "tiers.ON_DEMAND_FLEX: it stands there twice"},
		"RowsTwice":       {"As above.", `{rows: [{input: "1", output: "1"}], rows: [{input: "2", output: "2"}]}`, "rows: it stands there twice"},
		"OtherLong":       {"A misspelled price would be the usual one.", `{input: "1", output: "1", longContext: {above: 200000, inptu: "2"}}`, "longContext.inptu: no price is called so"},
		"AboveOctal":      {"Readers of YAML differ whether it is 200000.", `{input: "1", output: "1", longContext: {above: 0200000, input: "2"}}`, "longContext.above: it must be the number"},
		"LongAtUsual":     {"Somebody forgot the prices: long requests would cost the usual ones.", `{input: "1", output: "1", longContext: {above: 200000}}`, "longContext: it must hold above, and prices of its own"},
		"Octal":           {"Readers of YAML differ whether it is 8 or 10.", `{input: 010, output: "1"}`, "input: it must be a decimal string"},
		"TwoLong":         {"A counter says whether a prompt was long, and not how long.", `{input: "1", output: "1", longContext: [{above: 200000, input: "2"}, {above: 400000, input: "3"}]}`, "longContext: it must hold above, and prices of its own: a counter says of a prompt that it is long"},
		"TierForNothing":  {"A factor that makes a price nobody's is a mistake, as such a price is.", `{input: "1", output: "1", tiers: {flex: "0.0005"}}`, "tiers.flex: 0.0005 times 1 US dollars for a million input tokens is below any market price; if it is right, say unchecked: true in the row"},
		"TierOfLong":      {"As above, of long prompts alone.", `{input: "1", output: "1", longContext: {above: 200000, cachedInput: "0.002"}, tiers: {flex: "0.1"}}`, "tiers.flex: 0.1 times 0.002 US dollars for a million cachedInput tokens is below any market price"},
		"RegionalTenth":   {"Somebody who means a tenth more.", `{input: "1", output: "1", regional: "0.1"}`, "regional: nobody's regions cost less than the global endpoint, and a tenth more is \"1.1\""},
		"AliasNull":       {"It is no name, and not \"null\" either.", `{input: "1", output: "1", aliases: [null]}`, "aliases: an alias must be a name"},
		"AliasText":       {"The way out is in the message.", `{input: "1", output: "1", aliases: x}`, "aliases: it must be a list"},
		"NoFactor":        {"A tier is a part of the price.", `{input: "1", output: "1", tiers: {flex: half}}`, `tiers.flex: it must be a multiplier such as "1.1"`},
		"UsualTier":       {"It has no price beside the row's.", `{input: "1", output: "1", tiers: {standard: "2"}}`, "tiers.standard: it is the usual tier"},
		"RegionalNothing": {"A region is dearer, not free.", `{input: "1", output: "1", regional: "0"}`, "regional: it must be a multiplier"},
		"Unchecked":       {"It is a statement.", `{input: "1", output: "1", unchecked: yes please}`, "unchecked: it must be true or false"},
		"SameDayTwice":    {"Two rows begin at once: the first counts, and the second is named.", `[{input: "1", output: "1"}, {input: "2", output: "2"}]`, "begins at the same time, and counts"},
		"AliasOfAnother":  {"A row's own name wins.", `{input: "1", output: "1", aliases: [other]}`, `"other" stands in line 4 already, and that counts`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			got, err := Read("version: 2\nmodels:\n  m: " + tc.row + "\n  other: {input: \"1\", output: \"1\"}\n")
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Flaws) != 1 || !strings.Contains(got.Flaws[0].String(), tc.want) || got.Flaws[0].Line != 3 && got.Flaws[0].Model == "m" && tc.want[0] != '"' {
				t.Errorf("flaws %v, want one that says %q", got.Flaws, tc.want)
			}
			if got.Find("other") == nil {
				t.Error("the other row is harmed")
			}
		})
	}
}

// table is the price table of these tests: it has one of each kind.
const table = `version: 2
models:
  gemini-3.8-flash:
    aliases: ["gemini-3.8-flash@*", gemini-3.8-flash-001]
    rows:
    - {input: "0.75", cachedInput: "0.075", output: "3.75", regional: "1.1"}
    - {from: 2027-01-01, input: "1.50", cachedInput: "0.15", output: "7.50", regional: "1.1"}
  gemini-3.8-flash@002: {input: "9", output: "9"}
  "gemini-3.8-*": {input: "8", output: "8"}
  "google/*": {input: "7", output: "7"}
  pro:
    input: "2"
    cachedInput: "0.20"
    output: "12"
    longContext: {above: 200000, input: "4", cachedInput: "0.40", output: "18"}
    tiers: {flex: "0.5", priority: "1.8"}
  half: {input: "2", output: "10", longContext: {above: 100000, input: "4"}}
`

func read(t *testing.T, text string) *Table {
	t.Helper()
	got, err := Read(text)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Flaws) > 0 {
		t.Fatal(got.Flaws)
	}
	return got
}

func TestFind(t *testing.T) {
	cases := map[string]struct{ reason, name, want string }{
		"Exact":       {"A name is a name.", "gemini-3.8-flash", "gemini-3.8-flash"},
		"ExactAlias":  {"So is an alias.", "gemini-3.8-flash-001", "gemini-3.8-flash"},
		"Pattern":     {"A version of it.", "gemini-3.8-flash@001", "gemini-3.8-flash"},
		"ExactWins":   {"This version has a row of its own.", "gemini-3.8-flash@002", "gemini-3.8-flash@002"},
		"Particular":  {"The pattern with the most of its own characters wins.", "gemini-3.8-pro", "gemini-3.8-*"},
		"Publisher":   {"OpenAI's dialect of Vertex: an exact row wins, whatever pattern there is for the publisher.", "google/gemini-3.8-flash", "gemini-3.8-flash"},
		"Path":        {"A whole resource name.", "publishers/google/models/gemini-3.8-flash@001", "gemini-3.8-flash"},
		"PathPattern": {"An exact row wins over a publisher's pattern, and that over another model's.", "google/gemini-3.8-pro", "google/*"},
		"Longer":      {"A name that only begins so is another.", "pro-2", ""},
		"Empty":       {"Tokens without a model have no price.", "", ""},
		"Slash":       {"As above.", "openai/", ""},
	}
	tab := read(t, table)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ""
			if m := tab.Find(tc.name); m != nil {
				got = m.Name
			}
			if got != tc.want {
				t.Errorf("%s\n%q is %q, want %q", tc.reason, tc.name, got, tc.want)
			}
		})
	}
}

// A table is written from one dialect, and counters speak another: what is one model for
// certain is found, and what may be two is not.
func TestFindInOtherDialects(t *testing.T) {
	tab := read(t, `version: 2
models:
  google/gemini-9-pro: {input: "1", output: "1"}
  publishers/google/models/gemini-9-flash: {input: "2", output: "2", aliases: ["gemini-9-flash@*"]}
  azure/gpt-9: {input: "3", output: "3"}
  openai/gpt-9: {input: "4", output: "4"}
  gemini-9: {input: "5", output: "5"}
  Llama-9: {input: "6", output: "6"}
  llama-9: {input: "7", output: "7"}
  "gpt-*": {input: "8", output: "8"}
  "anthropic/*": {input: "9", output: "9"}
`)
	for name, want := range map[string]string{
		"gemini-9-pro":                          "google/gemini-9-pro",
		"models/gemini-9-pro":                   "google/gemini-9-pro",
		"publishers/google/models/gemini-9-pro": "google/gemini-9-pro",
		"Gemini-9-Pro":                          "google/gemini-9-pro",
		"other/gemini-9-pro":                    "", // another publisher's may have another price
		"gemini-9-flash":                        "publishers/google/models/gemini-9-flash",
		"google/gemini-9-flash":                 "publishers/google/models/gemini-9-flash",
		"google/gemini-9-flash@001":             "publishers/google/models/gemini-9-flash",
		"projects/p/locations/global/publishers/google/models/gemini-9-flash": "publishers/google/models/gemini-9-flash",
		"models/gemini-9":                   "gemini-9",
		"vertex_ai/GEMINI-9":                "gemini-9",
		"gpt-9":                             "gpt-*", // of two publishers: neither
		"openai/gpt-9":                      "openai/gpt-9",
		"OpenAI/GPT-9":                      "openai/gpt-9",
		"LLAMA-9":                           "", // of two rows: neither
		"Llama-9":                           "Llama-9",
		"publishers/anthropic/models/opus":  "anthropic/*",
		"publishers/anthropic/models/opus/": "",
		"models/":                           "",
	} {
		got := ""
		if m := tab.Find(name); m != nil {
			got = m.Name
		}
		if got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
		if got == "" {
			continue
		}
		// What is kept of the table finds it, too, and so does a table with a broken row.
		kept := read(t, tab.Excerpt([]string{name}, 4<<10))
		if m := kept.Find(name); m == nil || m.Name != want {
			t.Errorf("%q is %v in what is kept, want %q", name, m, want)
		}
		broken, err := Read("version: 2\nmodels: {zero: {input: \"1\", output: \"1\"}, " + fmt.Sprintf("%q", want) + ": {input: \"1\"}}")
		if err != nil {
			t.Fatal(err)
		}
		if m := broken.With(kept).Find(name); m == nil || m.Name != want {
			t.Errorf("%q is %v once its row is broken, want %q", name, m, want)
		}
	}
}

func TestTimes(t *testing.T) {
	for text, want := range map[string]string{
		"2027-01-01":                  "2027-01-01T00:00:00Z",
		"2027-01-01T08:00:00Z":        "2027-01-01T08:00:00Z",
		`"2027-01-01T08:00:00+02:00"`: "2027-01-01T06:00:00Z",
		"2027-01-01T08:00:00-0800":    "2027-01-01T16:00:00Z",
		"2027-01-01 08:00:00Z":        "2027-01-01T08:00:00Z",
		"2027-01-01 08:00 +02:00":     "2027-01-01T06:00:00Z",
		"2027-01-01 08:00:00 UTC":     "2027-01-01T08:00:00Z",
		"2027-01-01T08:00Z":           "2027-01-01T08:00:00Z",
		"2027-01-01t08:00:00.000z":    "2027-01-01T08:00:00Z",
		`" 2027-01-01 "`:              "2027-01-01T00:00:00Z",
		"2027-01-01T08:00:00":         "", // whose eight o'clock?
		"2027-01-01 08:00:00 CET":     "", // there are several
		"2027-01-01T08:00:00.5Z":      "",
		"2027-02-30":                  "",
		"2027-1-1":                    "",
		"01/02/2027":                  "",
		"1027-01-01":                  "",
		"1798761600":                  "",
		"null":                        "",
	} {
		got, err := Read("version: 2\nmodels: {m: [{input: \"1\", output: \"1\"}, {from: " + text + ", input: \"2\", output: \"2\"}]}")
		if err != nil {
			t.Fatal(err)
		}
		from := ""
		if rows := got.Models[0].Rows; len(rows) == 2 {
			from = rows[1].From.Format(time.RFC3339)
		}
		if from != want || (want == "") != (len(got.Flaws) == 1) {
			t.Errorf("from: %s is %q, want %q; flaws %v", text, from, want, got.Flaws)
		}
	}
}

func TestCost(t *testing.T) {
	old, after := time.Date(2026, 12, 31, 23, 59, 59, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	in := func(n uint64) map[Use]uint64 { return map[Use]uint64{{Class: v1alpha1.TokenInput}: n} }
	use := func(class v1alpha1.TokenClass, context, tier string) map[Use]uint64 {
		return map[Use]uint64{{class, context, tier}: 1_000_000}
	}
	cases := map[string]struct {
		reason   string
		model    string
		tokens   map[Use]uint64
		at       time.Time
		regional bool
		want     string
		unpriced bool
		tierless bool
	}{
		"BeforeTheRise": {reason: "The last second costs the old price.", model: "gemini-3.8-flash", tokens: in(1_000_000), at: old, want: "0.75"},
		"AfterTheRise":  {reason: "From is inclusive, and UTC.", model: "gemini-3.8-flash", tokens: in(1_000_000), at: after, want: "1.5"},
		"FirstSpan":     {reason: "The zero time is in the first row.", model: "gemini-3.8-flash", tokens: in(1_000_000), want: "0.75"},
		"Regional":      {reason: "A region costs a tenth more.", model: "gemini-3.8-flash", tokens: in(1_000_000), at: old, regional: true, want: "0.825"},
		"Thoughts":      {reason: "Thinking costs as output.", model: "pro", tokens: use(v1alpha1.TokenThoughts, "", ""), want: "12"},
		"ToolUse":       {reason: "What tools say costs as input.", model: "pro", tokens: use(v1alpha1.TokenToolUse, "", ""), want: "2"},
		"Long":          {reason: "The whole request costs more.", model: "pro", tokens: use(v1alpha1.TokenOutput, "long", ""), want: "18"},
		"LongThoughts":  {reason: "What costs as output does so there too.", model: "pro", tokens: use(v1alpha1.TokenThoughts, "long", ""), want: "18"},
		"LongHalf":      {reason: "Half a tier doubles what it names, and what follows that.", model: "half", tokens: use(v1alpha1.TokenCachedInput, "long", ""), want: "4"},
		"LongOtherHalf": {reason: "As above: the rest costs as usual.", model: "half", tokens: use(v1alpha1.TokenOutput, "long", ""), want: "10"},
		"LongFlat":      {reason: "Others cost the same however long.", model: "gemini-3.8-flash", tokens: use(v1alpha1.TokenInput, "long", ""), want: "0.75"},
		"Flex":          {reason: "Vertex says it in capitals.", model: "pro", tokens: use(v1alpha1.TokenInput, "", "ON_DEMAND_FLEX"), want: "1"},
		"Priority":      {reason: "A long request of a dear tier.", model: "pro", tokens: use(v1alpha1.TokenInput, "long", "priority"), want: "7.2"},
		"Standard":      {reason: "All names of the usual tier.", model: "pro", tokens: use(v1alpha1.TokenInput, "standard", "ON_DEMAND"), want: "2"},
		"OtherTier":     {reason: "A tier that the row does not know counts as the usual one, and is said.", model: "pro", tokens: use(v1alpha1.TokenInput, "", "ultrafast"), want: "2", tierless: true},
		"NoPrice":       {reason: "Never free: the dearest row for what was used.", model: "new", tokens: in(1_000_000), want: "9", unpriced: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			tab := read(t, table)
			tab.Regional = tc.regional
			got, by, priced := tab.Cost(tc.model, tc.tokens, tc.at)
			tierless := false
			for _, p := range by {
				tierless = tierless || p.Tierless
			}
			if got.String() != tc.want || priced == tc.unpriced || tierless != tc.tierless {
				t.Errorf("costs %s (priced %v, without a tier %v), want %s", got, priced, tierless, tc.want)
			}
		})
	}
}

// A row that is added later changes no price before it: whatever the table, tokens
// that are kept by the beginning of their span cost then what they cost before.
func TestLaterRowsChangeNothingBefore(t *testing.T) {
	day := func(d int) time.Time { return time.Date(2026, 1, d, 0, 0, 0, 0, time.UTC) }
	rapid.Check(t, func(rt *rapid.T) {
		text := "version: 2\nmodels:\n"
		until := rapid.IntRange(1, 300).Draw(rt, "until")
		for _, m := range []string{"a", "b"} {
			text += "  " + m + ":\n"
			days := map[int]bool{0: true}
			for range rapid.IntRange(0, 4).Draw(rt, "rows") {
				days[rapid.IntRange(1, until).Draw(rt, "day")] = true
			}
			for d := range days {
				from := ""
				if d > 0 {
					from = "from: " + day(d).Format(time.DateOnly) + ", "
				}
				text += "  - {" + from + "input: " + money.USD(int64(rapid.IntRange(1, 900).Draw(rt, "input"))*int64(money.Dollar)).String() + ", output: 1}\n"
			}
		}
		before := read(t, text)
		later := day(rapid.IntRange(until+1, 400).Draw(rt, "later"))
		after := read(t, strings.Replace(text, "  b:\n", "  - {from: "+later.Format(time.DateOnly)+", input: 999, output: 999}\n  b:\n", 1))
		for _, model := range []string{"a", "b", "unknown"} {
			at := day(rapid.IntRange(0, until).Draw(rt, "used"))
			tokens := map[Use]uint64{{Class: v1alpha1.TokenInput}: 7}
			want, _, _ := before.Cost(model, tokens, at)
			kept := before.Began(model, at)
			if again := after.Began(model, at); !again.Equal(kept) {
				rt.Fatalf("%s on %s is kept at %s, then at %s", model, at, kept, again)
			}
			if got, _, _ := after.Cost(model, tokens, kept); got != want {
				rt.Fatalf("%s on %s cost %s, and %s once a later row was there\n%s", model, at, want, got, text)
			}
		}
	})
}

func TestChanges(t *testing.T) {
	tab := read(t, table)
	got := tab.Changes([]string{"gemini-3.8-flash@001", "gemini-3.8-flash", "pro", "new"}, time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	if len(got) != 1 || got[0].Model != "gemini-3.8-flash" || got[0].New.Rates[v1alpha1.TokenInput] != 1_500_000 {
		t.Errorf("changes: %+v", got)
	}
	if got := tab.Changes([]string{"gemini-3.8-flash"}, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2028, 1, 1, 0, 0, 0, 0, time.UTC)); len(got) != 0 {
		t.Errorf("changes after the last: %+v", got)
	}
}

// A change is told by what changes, whatever that is, and one of nothing is none.
func TestChangeWords(t *testing.T) {
	for name, tc := range map[string]struct{ before, after, is, was string }{
		"Prices":   {`input: "1", output: "2"`, `input: "2", output: "4"`, "input 2, output 4", "input 1, output 2"},
		"Long":     {`input: "1", output: "2", longContext: {above: 200000, input: "2"}`, `input: "1", output: "2", longContext: {above: 200000, input: "3"}`, "input 1, output 2; above 200000 tokens input 3, output 2", "input 1, output 2; above 200000 tokens input 2, output 2"},
		"LongEnds": {`input: "1", output: "2", longContext: {above: 200000, input: "2"}`, `input: "1", output: "2"`, "input 1, output 2; long prompts as usual", "input 1, output 2; above 200000 tokens input 2, output 2"},
		"Tier":     {`input: "1", output: "2", tiers: {flex: "0.5", priority: "1.8"}`, `input: "1", output: "2", tiers: {priority: "1.8"}`, "input 1, output 2; flex times 1", "input 1, output 2; flex times 0.5"},
		"Regional": {`input: "1", output: "2"`, `input: "1", output: "2", regional: "1.1"`, "input 1, output 2; regional times 1.1", "input 1, output 2; regional times 1"},
		"Nothing":  {`input: "1", output: "2", cachedInput: "1"`, `input: "1", output: "2"`, "input 1, output 2", "input 1, output 2"},
	} {
		t.Run(name, func(t *testing.T) {
			tab := read(t, "version: 2\nmodels: {m: [{"+tc.before+"}, {from: 2027-01-01, "+tc.after+"}]}")
			is, was := Change{Old: tab.Models[0].Rows[0], New: tab.Models[0].Rows[1]}.Words()
			if is != tc.is || was != tc.was {
				t.Errorf("%q, before %q; want %q, before %q", is, was, tc.is, tc.was)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add(table)
	f.Add("models: {m: {input: \"0.30\", output: 2.5}}")
	f.Add("version: 2\nmodels: {m: {rows: [{from: x}], aliases: {}}}")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := Read(text)
		if err != nil {
			return
		}
		if len(got.Models) == 0 {
			t.Fatal("a table without a model")
		}
		for _, m := range got.Models {
			for _, r := range m.Rows {
				for _, c := range Classes {
					if rate, _ := r.Rate(Use{Class: c, Context: "long", Tier: "flex"}, true); rate < 0 {
						t.Fatalf("%s of %s costs %s", c, m.Name, rate)
					}
				}
			}
		}
	})
}

// A tier served from a region has two multipliers, and one price: it is rounded once, as whoever
// checks a bill would.
func TestRateIsRoundedOnce(t *testing.T) {
	r := Row{Rates: map[v1alpha1.TokenClass]money.USD{v1alpha1.TokenInput: 1}, Tiers: map[string]int64{Tier("flex"): one / 2}, Regional: one * 3 / 2}
	if got, known := r.Rate(Use{Class: v1alpha1.TokenInput, Tier: "flex"}, true); got != 1 || !known {
		t.Errorf("half of one picodollar, times 1.5, is %d (known: %v), want 1", got, known)
	}
}
