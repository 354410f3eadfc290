package pricing

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
)

// Who breaks a row changes no price by it: what the model cost before goes on, by all of its
// names, and the flaw says so.
func TestWith(t *testing.T) {
	const earlier = `version: 2
models:
  pro: {input: "2", output: "12", aliases: [pro-001]}
  flash: [{input: "1", output: "4"}, {from: 2026-11-01, input: "2", output: "8"}]
  "gemini-*": {input: "1", output: "7"}
`
	for name, tc := range map[string]struct {
		reason string
		text   string
		want   map[string]string // by name, the price of a million tokens of output now; "": it has none
	}{
		"Whole":      {"The row that was there counts.", `pro: {input: "2", output: "-12"}`, map[string]string{"pro": "12", "pro-001": "12"}},
		"Pattern":    {"An exact name wins over a pattern, also one that counts no more.", `pro: {input: "2"}, "pro-*": {input: "1", output: "1"}`, map[string]string{"pro": "12", "pro-001": "12", "pro-002": "1"}},
		"AliasGone":  {"What the table says now of a name is what counts.", `pro: {input: "2"}, other: {input: "1", output: "1", aliases: [pro-001]}`, map[string]string{"pro": "12", "pro-001": "1"}},
		"OfAnother":  {"As above, where the name itself is another one's.", `pro: {input: "2"}, other: {input: "1", output: "1", aliases: [pro]}`, map[string]string{"pro": "1"}},
		"OneRow":     {"A part of a model's rows is no price: the row that counts now may be the broken one.", `flash: [{input: "1", output: "4"}, {from: 2026-11-01, input: "2", output: "8,5"}], pro: {input: "2", output: "12"}`, map[string]string{"flash": "8", "pro": "12"}},
		"OnePattern": {"As above, for all that it prices.", `"flash-*": {input: "3", output: "3"}, flash: {aliases: ["flash@*"], rows: [{input: "1", output: "4"}, {from: yesterday, input: "2", output: "8"}]}`, map[string]string{"flash": "8", "flash@1": "8", "flash-1": "3"}},
		"AnyOfIt":    {"A model that is a pattern is one, too.", `"gemini-*": {input: "2"}`, map[string]string{"gemini-9": "7", "gemini-10": "7"}},
		"NewSince":   {"A name that was used by nobody before is its, too.", `pro: {aliases: [pro-003, "pro@*"], rows: [{input: "2"}]}`, map[string]string{"pro": "12", "pro-003": "12", "pro@1": "12", "pro-001": "12"}},
		"NewOfOther": {"As above, unless it is another's by now.", `pro: {aliases: [flash-1, "pro@*"], rows: [{input: "2"}]}, flash: {input: "1", output: "4", aliases: [flash-1, "pro@*"]}`, map[string]string{"flash-1": "4", "pro@1": "4"}},
		"Unknown":    {"What had no price before has none.", `new: {input: "2"}`, map[string]string{"new": ""}},
		"Deleted":    {"A row that was taken out is no broken one.", `flash: {input: "1"}`, map[string]string{"pro": "", "flash": "8"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			last, err := Read(earlier)
			if err != nil {
				t.Fatal(err)
			}
			now, err := Read("version: 2\nmodels: {zero: {input: \"9\", output: \"9\"}, " + tc.text + "}")
			if err != nil {
				t.Fatal(err)
			}
			flaws := len(now.Flaws)
			if last, err = Read(last.Excerpt([]string{"pro", "pro-001", "flash", "gemini-9"}, 4<<10)); err != nil {
				t.Fatal(err)
			}
			got := now.With(last)
			for model, want := range tc.want {
				price := ""
				if m := got.Find(model); m != nil {
					price = (m.At(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)).Rates[v1alpha1.TokenOutput] * one).String()
				}
				if price != want {
					t.Errorf("%s costs %q, want %q", model, price, want)
				}
			}
			if len(got.Flaws) != flaws || !now.Broken() || strings.Contains(now.Flaws[0].Text, "last good") {
				t.Errorf("flaws %v, then %v", now.Flaws, got.Flaws)
			}
		})
	}
}

// What a status keeps of a table prices what was used as the table does, however large that is.
func TestExcerpt(t *testing.T) {
	large := "version: 2\nendpoint: regional\nmodels:\n"
	for i := range 300 {
		large += fmt.Sprintf("  m%d: {input: \"%d\", output: \"%d\", regional: \"1.1\", aliases: [\"m%d@*\"]}\n", i, i%97+1, i%89+1, i)
	}
	large += "  n: [{input: \"1\", output: \"5\", tiers: {flex: \"0.5\"}, longContext: {above: 200000, input: \"200\"}}, {from: 2026-11-01, input: \"2\", output: \"500\", cacheWrite: \"0\"}]\n"
	at := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		reason string
		text   string
		names  []string
	}{
		"Small":    {"All of it is kept for one that has no price.", table, []string{"gemini-3.8-flash@001", "new"}},
		"Known":    {"Nothing else is kept than what was used.", large, []string{"m7@001", "n", "google/m8"}},
		"Unpriced": {"A model without a price must not cost all others theirs.", large, []string{"m7@001", "n", "new"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			whole := read(t, tc.text)
			text := whole.Excerpt(tc.names, 4<<10)
			if text == "" || len(text) > 4<<10 {
				t.Fatalf("%d bytes are kept", len(text))
			}
			kept := read(t, text)
			for _, n := range tc.names {
				for _, c := range Classes {
					for _, u := range []Use{{Class: c}, {Class: c, Context: ContextLong}, {Class: c, Tier: "flex"}} {
						want, _, priced := whole.Cost(n, map[Use]uint64{u: 7}, at)
						if got, _, is := kept.Cost(n, map[Use]uint64{u: 7}, at); is != priced || got != want && (priced || u.Tier == "") {
							t.Errorf("%s %v costs %s (priced: %v), and by what is kept %s (%v)", n, u, want, priced, got, is)
						}
					}
				}
			}
			if _, err := Read(whole.Excerpt(tc.names, 50)); err == nil {
				t.Error("50 bytes hold a table")
			}
		})
	}
}
