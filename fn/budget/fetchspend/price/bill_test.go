package price

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/internal/money"
	"whisperops.io/functions/internal/pricing"
)

func read(t *testing.T, text string) *pricing.Table {
	t.Helper()
	tab, err := pricing.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// pennies price every token at one picodollar.
func pennies(t *testing.T) *pricing.Table {
	t.Helper()
	return read(t, `models: {m: {input: "0.000001", output: "0.000001", unchecked: true}}`)
}

func TestCost(t *testing.T) {
	table := read(t, `version: 2
models:
  cheap: {input: "0.0001", output: "0.001", cachedInput: "0.00001", cacheWrite: "0.0002", unchecked: true}
  listens: {input: "0.0009", output: "0.001", cachedInput: "0.00001", unchecked: true}
  talks: {input: "0.0001", output: "0.005", cachedInput: "0.00002", unchecked: true}
  thinks: {input: "0.0001", output: "0.001", thoughts: "0.002", unchecked: true}
`)
	type tokens map[v1alpha1.TokenClass]uint64
	gemini := Contained{InInput: []v1alpha1.TokenClass{v1alpha1.TokenCachedInput}}
	openAI := Contained{InInput: []v1alpha1.TokenClass{v1alpha1.TokenCachedInput, v1alpha1.TokenCacheWrite}, InOutput: []v1alpha1.TokenClass{v1alpha1.TokenThoughts}}
	const in, out, cached, write, thoughts, tool = v1alpha1.TokenInput, v1alpha1.TokenOutput, v1alpha1.TokenCachedInput, v1alpha1.TokenCacheWrite, v1alpha1.TokenThoughts, v1alpha1.TokenToolUse
	cases := map[string]struct {
		reason   string
		model    string
		tokens   tokens
		inside   Contained
		want     int64
		unpriced []string
		negative []string
	}{
		"Nothing":      {reason: "An agent that used nothing owes nothing.", inside: gemini},
		"CachedInside": {reason: "Gemini's input contains what was cached: 60 of 100 at the full price.", model: "cheap", tokens: tokens{in: 100, out: 1, cached: 40}, inside: gemini, want: 7400},
		"CachedApart":  {reason: "Others count it apart: 100 at the full price.", model: "cheap", tokens: tokens{in: 100, out: 1, cached: 40}, want: 11400},
		"MoreCached":   {reason: "More cached than all input can't be; it is charged once, as cached, and said.", model: "cheap", tokens: tokens{in: 100, cached: 140}, inside: gemini, want: 1400, negative: []string{"cheap"}},
		"Writes":       {reason: "Written to the cache and read from it, inside the input.", model: "cheap", tokens: tokens{in: 100, cached: 40, write: 10}, inside: openAI, want: 50*100 + 40*10 + 10*200},
		"Thoughts":     {reason: "Inside the output, at a price of their own.", model: "thinks", tokens: tokens{out: 100, thoughts: 60}, inside: openAI, want: 40*1000 + 60*2000},
		"MoreThoughts": {reason: "As MoreCached.", model: "thinks", tokens: tokens{out: 50, thoughts: 60}, inside: openAI, want: 60 * 2000, negative: []string{"thinks"}},
		"OnlyThoughts": {reason: "An answer may have no output at all.", model: "cheap", tokens: tokens{thoughts: 60}, want: 60 * 1000},
		"ToolUse":      {reason: "What tools said costs as input.", model: "cheap", tokens: tokens{tool: 60}, want: 60 * 100},
		"NoRow":        {reason: "A model without a price is charged at the row that is dearest for what it used: never free.", model: "new", tokens: tokens{in: 100, out: 1}, inside: gemini, want: 91_000, unpriced: []string{"new"}},
		"NoRowOutput":  {reason: "As above: for another use another row is.", model: "new", tokens: tokens{in: 1, out: 100}, inside: gemini, want: 500_100, unpriced: []string{"new"}},
		"NoRowUnused":  {reason: "A model that used nothing needs no price.", model: "new", tokens: tokens{in: 0}, inside: gemini},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			all := map[count.Meter]uint64{}
			for class, n := range tc.tokens {
				all[count.Meter{Model: tc.model, Class: class}] = n
			}
			b := Cost(table, all, tc.inside)
			if int64(b.Total) != tc.want {
				t.Errorf("costs %d, want %d", b.Total, tc.want)
			}
			var sum int64
			for _, l := range b.Lines {
				sum += int64(l.USD)
			}
			if sum != tc.want {
				t.Errorf("the lines of the bill are %d together, want %d", sum, tc.want)
			}
			if diff := cmp.Diff([][]string{tc.unpriced, tc.negative}, [][]string{b.Unpriced, b.Negative}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever is used when, of models with and without a price, and whatever contains what: the
// burn is that of the dearest minute, each of which is priced here.
func TestBurnIsOfTheDearestMinute(t *testing.T) {
	table := read(t, `models: {m: {input: "0.30", cachedInput: "0.03", output: "2.50"}, n: {input: "1.25", cachedInput: "0.125", output: "1.50"}}`)
	at := time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC).UnixMilli()
	contained := Contained{InInput: []v1alpha1.TokenClass{v1alpha1.TokenCachedInput}, InOutput: []v1alpha1.TokenClass{v1alpha1.TokenThoughts}}
	rapid.Check(t, func(rt *rapid.T) {
		gains := map[count.Meter][]count.Gain{}
		for range rapid.IntRange(0, 12).Draw(rt, "gains") {
			m := count.Meter{
				Model: rapid.SampledFrom([]string{"m", "n", "unpriced"}).Draw(rt, "model"),
				Class: rapid.SampledFrom([]v1alpha1.TokenClass{v1alpha1.TokenInput, v1alpha1.TokenCachedInput, v1alpha1.TokenOutput, v1alpha1.TokenThoughts}).Draw(rt, "class"),
			}
			gains[m] = append(gains[m], count.Gain{At: at - int64(rapid.IntRange(0, 310).Draw(rt, "ago"))*1000, Tokens: uint64(rapid.IntRange(1, 1000).Draw(rt, "tokens"))})
		}
		var want money.USD
		for end := at - 5*60_000; end <= at; end += 30_000 {
			minute, last := map[count.Meter]uint64{}, false
			for m, gs := range gains {
				for _, g := range gs {
					if g.At > max(end-60_000, at-5*60_000) && g.At <= end {
						minute[m] += g.Tokens
						last = last || g.At > end-30_000
					}
				}
			}
			if !last {
				continue // a minute ends with what was used last in it
			}
			want = max(want, Cost(table, minute, contained).Total)
		}
		if got := Burn(table, gains, contained, at, count.Rules{Grid: 30 * time.Second}); got != want*60 {
			rt.Fatalf("burns %s an hour, want %s", got, want*60)
		}
	})
}

// The burn is the steepest minute of the last five.
func TestBurn(t *testing.T) {
	out := count.Meter{Model: "m", Class: v1alpha1.TokenOutput}
	at := time.Date(2026, 11, 23, 10, 30, 0, 0, time.UTC).UnixMilli()
	cases := map[string]struct {
		reason string
		gains  []count.Gain
		want   int64 // picodollars per hour at one per token
	}{
		"Nothing":  {reason: "An idle agent burns nothing."},
		"Steady":   {reason: "100 tokens each half minute are 200 a minute.", gains: []count.Gain{{At: at - 60_000, Tokens: 100}, {At: at - 30_000, Tokens: 100}, {At: at, Tokens: 100}}, want: 12_000},
		"Burst":    {reason: "A burst three minutes ago may come again.", gains: []count.Gain{{At: at - 180_000, Tokens: 1000}, {At: at, Tokens: 1}}, want: 60_000},
		"LongAgo":  {reason: "One that is older than five minutes is over.", gains: []count.Gain{{At: at - 301_000, Tokens: 1000}}},
		"Boundary": {reason: "Two halves of a burst lie in one minute, wherever it begins.", gains: []count.Gain{{At: at - 89_000, Tokens: 500}, {At: at - 61_000, Tokens: 500}}, want: 60_000},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			if got := int64(Burn(pennies(t), map[count.Meter][]count.Gain{out: tc.gains}, Contained{}, at, count.Rules{Grid: 30 * time.Second})); got != tc.want {
				t.Errorf("burns %d an hour, want %d", got, tc.want)
			}
		})
	}
}
