package spend

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whisperops.io/functions/internal/pricing"
)

// Tables that come out, for people to review. The catalogs are small ones in the form
// of LiteLLM 1.92.0 and of models.dev of July 2026.
func TestPricesGolden(t *testing.T) {
	for file, models := range map[string]string{
		"litellm":    "gemini-3.5-flash,gemini-3.1-pro-preview,claude-sonnet-5,deepseek-chat",
		"models-dev": "gemini-3.5-flash,google/gemini-3.1-pro-preview,anthropic/claude-sonnet-5-20260801",
	} {
		t.Run(file, func(t *testing.T) {
			var out, errOut bytes.Buffer
			err := Run(t.Context(), []string{"prices", "--from", filepath.Join("testdata", "prices", file+".json"), "--models", models}, nil, &out, &errOut)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "prices", file+".want.yaml"), out.String())
			if table, err := pricing.Read(out.String()); err != nil || len(table.Flaws) > 0 || len(table.Models) != strings.Count(models, ",")+1 {
				t.Errorf("the table can't be used: %v %v", err, table)
			}
		})
	}
}

// What a catalog says and a table can't is refused: a price that is nearly right is
// wrong in every bill.
func TestPricesRefuse(t *testing.T) {
	for name, tc := range map[string]struct{ why, file, models, want string }{
		"AliasByName":     {"It moved four times in 2026, and every catalog was weeks late.", "litellm", "gemini-flash-latest", "gemini-flash-latest is an alias"},
		"AliasOfAnother":  {"As above, with its provider.", "litellm", "gemini/gemini-flash-latest", "is an alias"},
		"AliasByTitle":    {"models.dev names aliases in their titles.", "models-dev", "claude-sonnet-5", `is an alias ("Claude Sonnet 5 (latest)")`},
		"Pattern":         {"A pattern has no price.", "litellm", "gemini-*", "is an alias"},
		"Unknown":         {"A name with a typo must not vanish from the table.", "litellm", "gemini-3.5-flahs", "it has no such key"},
		"UnknownDev":      {"As above.", "models-dev", "gemini-3.5-flahs", "it has no such model"},
		"TwoPrices":       {"Which of them is yours only you know.", "litellm", "twice", "a/twice, b/twice, at different prices"},
		"TwoPricesDev":    {"A reseller's price is not the provider's.", "models-dev", "claude-sonnet-5-20260801", "anthropic/claude-sonnet-5-20260801, reseller/claude-sonnet-5-20260801"},
		"TwoThresholds":   {"A row has one.", "litellm", "two-tiers", "above 128000 and above 256000"},
		"Stepwise":        {"As above, in the form that some rows have.", "litellm", "stepwise", "its prices go by steps (tiered_pricing)"},
		"TwoCaches":       {"Which of the two counts?", "litellm", "two-caches", "two prices of cachedInput, 0.1 and 0.2"},
		"UnevenTier":      {"A row has one multiplier.", "litellm", "uneven-tier", "priority costs"},
		"TooFine":         {"Rounding would be another price.", "litellm", "finer-than-a-table", "more than six decimals"},
		"Free":            {"A price of 0 is said by a person, in a row with unchecked.", "litellm", "free", "below any market price"},
		"NoOutput":        {"Half a row prices nothing.", "litellm", "embedding-only", "there is no output price"},
		"NoCost":          {"As above.", "models-dev", "no-price", "has no cost"},
		"SampleOfItsForm": {"It is no model.", "litellm", "sample_spec", "below any market price"},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", "prices", tc.file+".json"))
			if err != nil {
				t.Fatal(err)
			}
			table, err := TableOf(string(text), tc.file, strings.Split(tc.models, ","))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want it to say %q\n%s\n%s", err, tc.want, tc.why, table)
			}
		})
	}
}

// What a catalog leaves in doubt of one model.
func TestPricesOfOneModel(t *testing.T) {
	const usual = `"input_cost_per_token":1e-6,"output_cost_per_token":2e-6`
	dev := func(cost, more string) string {
		return `{"google":{"models":{"m":{"name":"M",` + more + `"cost":{"input":1,"output":2` + cost + `}}}}}`
	}
	for name, tc := range map[string]struct{ why, catalog, want string }{
		"Noise":          {"What a program's floats leave of 0.0000003 is that.", `{"m":{"input_cost_per_token":3.0000000000000004e-07,"output_cost_per_token":2e-6}}`, `input: "0.3"`},
		"HalfATier":      {"The multiplier would halve the output, of which nobody said so.", `{"m":{` + usual + `,"input_cost_per_token_flex":5e-7}}`, "it has no output price of flex, which a row's multiplier would make up: write it by hand"},
		"TierOfNothing":  {"It is no factor of a price that isn't there.", `{"m":{` + usual + `,"cache_read_input_token_cost_flex":1e-8}}`, "# left out: cache_read_input_token_cost_flex, a row has no such price"},
		"TierOfLong":     {"The row's multiplier says it.", `{"m":{` + usual + `,"input_cost_per_token_priority":1.8e-6,"output_cost_per_token_priority":3.6e-6,"input_cost_per_token_above_272k_tokens":2e-6,"input_cost_per_token_above_272k_tokens_priority":3.6e-6}}`, "\n  \"m\": # LiteLLM, key m\n    input:"},
		"TierOfLongOnly": {"It doesn't.", `{"m":{` + usual + `,"input_cost_per_token_priority":1.8e-6,"output_cost_per_token_priority":3.6e-6,"input_cost_per_token_above_272k_tokens":2e-6,"input_cost_per_token_above_272k_tokens_priority":9e-6}}`, "# left out: input_cost_per_token_above_272k_tokens_priority"},
		"Nested":         {"Prices that are no number are prices.", `{"m":{` + usual + `,"provider_specific_entry":{"us":1.1}}}`, "# left out: provider_specific_entry, a row has no such price"},
		"OtherAlias":     {"In whatever case.", `{"Gemini-Flash-Latest":{` + usual + `}}`, ""},
		"DevLongNull":    {"Nothing is said of long prompts.", dev(`,"context_over_200k":null`, ""), "\n    output: \"2\"\n"},
		"DevLongAudio":   {"As above, but of sounds.", dev(`,"context_over_200k":{"input_audio":3}`, ""), "# left out: input_audio above 200000 tokens"},
		"DevLongTwice":   {"Both forms are there, and agree.", dev(`,"context_over_200k":{"input":2},"tiers":[{"input":2,"tier":{"type":"context","size":200000}}]`, ""), "above: 200000\n      input: \"2\""},
		"DevLongTwo":     {"Which of the two counts?", dev(`,"context_over_200k":{"input":2},"tiers":[{"input":4,"tier":{"type":"context","size":200000}}]`, ""), "two prices of input above 200000 tokens, 2 and 4"},
		"DevModes":       {"What a fast answer costs.", dev("", `"experimental":{"modes":{"fast":{"cost":{"input":2,"output":4}}}},`), "# left out: experimental.modes"},
	} {
		t.Run(name, func(t *testing.T) {
			model, want := "m", tc.want
			if want == "" {
				model, want = "Gemini-Flash-Latest", "is an alias"
			}
			table, err := TableOf(tc.catalog, "catalog.json", []string{model})
			if err != nil {
				table = err.Error()
			}
			if !strings.Contains(table, want) {
				t.Errorf("%s\nit should say %q: %s", table, want, tc.why)
			}
		})
	}
}
