// Package pricing is the price table: what a person keeps in Git for years, read
// and applied. It is pure, and knows nothing of counters and budgets: whoever sees
// tokens prices them with it, after the fact or before.
//
// docs/prices.md describes the file for whoever keeps it.
package pricing

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/money"
)

// A Table holds the prices of models. It has at least one row.
type Table struct {
	// Models by name, sorted. A name, or one of its aliases, may hold * for any
	// characters.
	Models []*Model

	// Regional says that the models are served from a region, not globally: a row's
	// Regional multiplies its prices then.
	Regional bool

	// Flaws are the rows, or parts of rows, that can't be used, in the order of the
	// file. All others count.
	Flaws []Flaw

	exact    map[string]*Model
	alike    map[string]*Model // by other spellings of exact's names; nil: of several models
	patterns []pattern         // the most particular one first

	broken map[string][]string // models of which a row can't be used; if none can, with their other names
}

// A Model is what one model cost, costs and will cost.
type Model struct {
	Name string
	Rows []Row // in the order of From; at least one
}

// A Row holds what tokens of a model cost from a time on.
type Row struct {
	// From is the first moment at which the row counts (UTC). Zero: from the beginning.
	From time.Time

	Rates Rates

	// Long prices a whole request whose prompt is longer than Above tokens. Above 0:
	// there is no such tier.
	Above uint64
	Long  Rates

	// Tiers of service, by name in lower case, in millionths of the usual price.
	Tiers map[string]int64

	// Regional multiplies the prices at endpoints that aren't global, in millionths.
	// 0: they cost the same.
	Regional int64

	Line int // in the file, from 1; for messages
}

// Rates are prices of one token, by class. A micro-dollar per million tokens is a
// picodollar per token. All six classes are there.
type Rates map[v1alpha1.TokenClass]money.USD

// The values of a counter's context label: whether the prompt was longer than its
// model's Above. Anything but ContextLong means ContextStandard.
const (
	ContextStandard = "standard"
	ContextLong     = "long"
)

// A Use is everything but the time by which tokens are priced.
type Use struct {
	Class   v1alpha1.TokenClass
	Context string // ContextLong or anything else
	Tier    string // of service, as Tier writes it; "" is the usual one
}

// Tier returns the name under which a table holds a tier of service that a provider
// calls by another: ON_DEMAND_PRIORITY is "priority". The usual one is "".
func Tier(name string) string {
	t := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(name)), "on_demand_")
	if slices.Contains([]string{"standard", "default", "on_demand", "auto", "unspecified"}, t) {
		return ""
	}
	return t
}

// Rate is the price of one token. Regional: the models are served from a region.
// It is not known if the row says nothing about the tier, and is then the usual
// one, or nothing less.
func (r Row) Rate(u Use, regional bool) (rate money.USD, known bool) {
	rates, times := r.Rates, int64(one)
	if u.Context == ContextLong && r.Above > 0 {
		rates = r.Long
	}
	known = true
	if tier := Tier(u.Tier); tier != "" {
		var factor int64
		if factor, known = r.Tiers[tier]; known {
			times = factor
		}
	}
	if !regional || r.Regional == 0 {
		return rates[u.Class].Scaled(times, one), known
	}
	return rates[u.Class].Scaled(times*r.Regional, one*one), known // rounded once
}

// one is a factor of 1.
const one = 1_000_000

// At is the row that counts at a time: the last that has begun, and before the
// first of them that one.
func (m *Model) At(t time.Time) Row {
	at := m.Rows[0]
	for _, r := range m.Rows {
		if !r.From.After(t) {
			at = r
		}
	}
	return at
}

// Context says in which context a prompt of so many tokens, cached ones included,
// is priced at a time.
func (t *Table) Context(name string, prompt uint64, at time.Time) string {
	if m := t.Find(name); m != nil {
		if r := m.At(at); r.Above > 0 && prompt > r.Above {
			return ContextLong
		}
	}
	return ContextStandard
}

// Begins says whether a row of any model begins in a span of time, its ends included.
func (t *Table) Begins(from, to time.Time) bool {
	for _, m := range t.Models {
		for _, r := range m.Rows {
			if !r.From.Before(from) && !r.From.After(to) {
				return true
			}
		}
	}
	return false
}

// Began is the beginning of the price span that a time lies in: what is used in
// one span of a model has one price. Zero: the first. Tokens that are kept by it
// keep their price when a later row is added.
func (t *Table) Began(name string, at time.Time) time.Time {
	var began time.Time
	later := func(m *Model) {
		for _, r := range m.Rows {
			if !r.From.After(at) && r.From.After(began) {
				began = r.From
			}
		}
	}
	if m := t.Find(name); m != nil {
		later(m)
		return began
	}
	for _, m := range t.Models { // the dearest row of the time
		later(m)
	}
	return began
}

// A Price is what one token costs, and why.
type Price struct {
	Rate  money.USD
	Model string // the row's name in the table; "" when the model has none
	From  time.Time

	Tierless bool // the row says nothing about the tier: it counts as the usual one
}

// Cost prices tokens of one model that were used at a time. A model without a price
// is charged at the row that is dearest for what it used: never free, and priced
// is false.
func (t *Table) Cost(name string, tokens map[Use]uint64, at time.Time) (sum money.USD, by map[Use]Price, priced bool) {
	if m := t.Find(name); m != nil {
		sum, by = t.cost(m, tokens, at)
		return sum, by, true
	}
	sum, by = t.Dearest(tokens, at, nil)
	return sum, by, false
}

// Dearest is what tokens cost at the row that is dearest for them at a time, apart
// from one model.
func (t *Table) Dearest(tokens map[Use]uint64, at time.Time, but *Model) (sum money.USD, by map[Use]Price) {
	for _, m := range t.Models {
		if m == but && len(t.Models) > 1 {
			continue
		}
		if c, prices := t.cost(m, tokens, at); by == nil || c > sum {
			sum, by = c, prices
		}
	}
	return sum, by
}

func (t *Table) cost(m *Model, tokens map[Use]uint64, at time.Time) (sum money.USD, by map[Use]Price) {
	row := m.At(at)
	by = make(map[Use]Price, len(tokens))
	for u, n := range tokens {
		rate, known := row.Rate(u, t.Regional)
		by[u] = Price{Rate: rate, Model: m.Name, From: row.From, Tierless: !known}
		sum = sum.Plus(rate.Times(n))
	}
	return sum, by
}

// A Change is a price that will change soon, or just did.
type Change struct {
	Model    string
	From     time.Time
	Old, New Row
}

// Changes are those of some models between two times, by time and name.
func (t *Table) Changes(names []string, after, until time.Time) []Change {
	var out []Change
	seen := map[*Model]bool{}
	for _, n := range names {
		m := t.Find(n)
		if m == nil || seen[m] {
			continue
		}
		seen[m] = true
		for i := 1; i < len(m.Rows); i++ {
			if from := m.Rows[i].From; from.After(after) && !from.After(until) {
				out = append(out, Change{Model: m.Name, From: from, Old: m.Rows[i-1], New: m.Rows[i]})
			}
		}
	}
	slices.SortFunc(out, func(a, b Change) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		return strings.Compare(a.Model, b.Model)
	})
	return out
}

// A pattern is a name with * in it.
type pattern struct {
	text  string
	model *Model
}

// comparePatterns puts the most particular one first.
func comparePatterns(a, b pattern) int {
	own := func(p pattern) int { return len(strings.ReplaceAll(p.text, "*", "")) }
	return cmp.Or(cmp.Compare(own(b), own(a)), strings.Compare(a.text, b.text))
}

func (p pattern) matches(name string) bool {
	parts := strings.Split(p.text, "*")
	first, last := parts[0], parts[len(parts)-1]
	if !strings.HasPrefix(name, first) {
		return false
	}
	name = name[len(first):]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
	return strings.HasSuffix(name, last) && len(name) >= len(last)
}

// Words are a row's prices for people, in US dollars per million tokens: "input 0.75,
// cachedInput 0.075, output 3.75".
func (r Row) Words() string {
	var out []string
	for _, c := range Classes {
		if i, follows := insteadOf[c]; !follows || r.Rates[c] != r.Rates[i] {
			out = append(out, string(c)+" "+(r.Rates[c]*one).String())
		}
	}
	return strings.Join(out, ", ")
}
