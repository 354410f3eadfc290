// Package price says what tokens cost that were counted. It is pure: prices come
// from a table, tokens from a ledger, and money is never kept.
package price

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/internal/money"
	"whisperops.io/functions/internal/pricing"
)

// Contained are the classes that another class' counter counts too.
type Contained struct {
	InInput  []v1alpha1.TokenClass
	InOutput []v1alpha1.TokenClass
}

// A Line is what tokens of one kind cost.
type Line struct {
	Meter  count.Meter
	Tokens uint64 // of this class alone
	Price  pricing.Price
	USD    money.USD
}

// A Bill is what tokens cost.
type Bill struct {
	Total    money.USD
	Lines    []Line   // of what was used; by meter
	Unpriced []string // models without a row that have tokens; sorted
	Tierless []string // models with tokens of a tier that their row doesn't know; sorted
	Negative []string // models with more of a contained class than of what contains it; sorted
}

// A span is what is priced by one row.
type span struct {
	model string
	from  int64
}

// Cost prices tokens. A model without a row is charged at the dearest one: never
// free. Tokens that two counters count are charged once.
func Cost(t *pricing.Table, tokens map[count.Meter]uint64, c Contained) Bill {
	apart, negative := disjoint(tokens, c)
	b := Bill{Negative: negative}
	spans := map[span]map[pricing.Use]uint64{}
	for m, n := range apart {
		s := span{m.Model, m.From}
		if spans[s] == nil {
			spans[s] = map[pricing.Use]uint64{}
		}
		spans[s][use(m)] += n
	}
	for s, uses := range spans {
		sum, prices, priced := t.Cost(s.model, uses, at(s.from))
		b.Total = b.Total.Plus(sum)
		var used uint64
		for u, n := range uses {
			if used |= n; n == 0 {
				continue
			}
			m := count.Meter{Model: s.model, Class: u.Class, Context: u.Context, Tier: u.Tier, From: s.from}
			b.Lines = append(b.Lines, Line{Meter: m, Tokens: n, Price: prices[u], USD: prices[u].Rate.Times(n)})
			if prices[u].Tierless && priced {
				b.Tierless = append(b.Tierless, s.model+" ("+u.Tier+")")
			}
		}
		if !priced && used > 0 {
			b.Unpriced = append(b.Unpriced, s.model)
		}
	}
	slices.SortFunc(b.Lines, func(x, y Line) int {
		return cmp.Or(strings.Compare(x.Meter.Model, y.Meter.Model), cmp.Compare(x.Meter.From, y.Meter.From),
			cmp.Compare(slices.Index(pricing.Classes, x.Meter.Class), slices.Index(pricing.Classes, y.Meter.Class)),
			strings.Compare(x.Meter.Context, y.Meter.Context), strings.Compare(x.Meter.Tier, y.Meter.Tier))
	})
	b.Unpriced, b.Tierless = sorted(b.Unpriced), sorted(b.Tierless)
	return b
}

func sorted(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}

func use(m count.Meter) pricing.Use {
	return pricing.Use{Class: m.Class, Context: m.Context, Tier: m.Tier}
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// disjoint takes what is contained out of what contains it. negative are the
// models where there is more of it.
func disjoint(tokens map[count.Meter]uint64, c Contained) (apart map[count.Meter]uint64, negative []string) {
	apart = make(map[count.Meter]uint64, len(tokens))
	for m, n := range tokens {
		apart[m] += n
	}
	over := map[string]int64{} // by model, of all its spans together
	take := func(inner []v1alpha1.TokenClass, outer v1alpha1.TokenClass) {
		for m := range tokens {
			if m.Class == outer || !slices.Contains(inner, m.Class) {
				continue
			}
			of := m
			of.Class = outer
			if _, ok := apart[of]; !ok {
				apart[of] = 0
			}
		}
		for m := range apart {
			if m.Class != outer {
				continue
			}
			var inside uint64
			for _, class := range inner {
				of := m
				of.Class = class
				inside += tokens[of]
			}
			over[m.Model] += int64(min(inside, 1<<62)) - int64(min(apart[m], 1<<62))
			apart[m] -= min(apart[m], inside)
		}
	}
	take(c.InInput, v1alpha1.TokenInput)
	for m, n := range over {
		if n > 0 {
			negative = append(negative, m)
		}
	}
	clear(over)
	take(c.InOutput, v1alpha1.TokenOutput)
	for m, n := range over {
		if n > 0 {
			negative = append(negative, m)
		}
	}
	return apart, sorted(negative)
}

// Doubtful is what tokens may cost that may have been used beside those that count.
func Doubtful(t *pricing.Table, tokens, doubts map[count.Meter]uint64, c Contained) money.USD {
	if len(doubts) == 0 {
		return 0
	}
	all := make(map[count.Meter]uint64, len(tokens))
	maps.Copy(all, tokens)
	for m, n := range doubts {
		all[m] += n
	}
	return max(0, Cost(t, all, c).Total-Cost(t, tokens, c).Total)
}

// AtDearest is what tokens cost if some models had no price: at the dearest of the
// other rows. Nil: if none had one, each by itself.
func AtDearest(t *pricing.Table, tokens map[count.Meter]uint64, c Contained, models map[string]bool) money.USD {
	apart, _ := disjoint(tokens, c) // Cost has named the models that have more inside than around it
	spans := map[span]map[pricing.Use]uint64{}
	for m, n := range apart {
		s := span{m.Model, m.From}
		if spans[s] == nil {
			spans[s] = map[pricing.Use]uint64{}
		}
		spans[s][use(m)] += n
	}
	var sum money.USD
	for s, uses := range spans {
		cost, _, _ := t.Cost(s.model, uses, at(s.from))
		if m := t.Find(s.model); m != nil && (models == nil || models[s.model]) {
			cost, _ = t.Dearest(uses, at(s.from), m)
		}
		sum = sum.Plus(cost)
	}
	return sum
}

// Burn is the steepest minute of the last five before a time, per hour. Tokens are
// taken as used when they were sampled.
func Burn(t *pricing.Table, gains map[count.Meter][]count.Gain, c Contained, at int64, r count.Rules) money.USD {
	width := max(time.Minute, r.Quiet())
	steps := map[int64]map[count.Meter]uint64{} // by the end of their step of the grid
	for m, gs := range gains {
		for _, g := range gs {
			if g.At <= at-max(burnWindow, width).Milliseconds() || g.At > at {
				continue
			}
			end := count.Ceil(g.At, r.Grid)
			if steps[end] == nil {
				steps[end] = map[count.Meter]uint64{}
			}
			steps[end][m] += g.Tokens
		}
	}
	// At most what each token costs by itself: to price all windows takes as long as to count.
	alone := make(map[count.Meter]money.USD, len(gains))
	for m := range gains {
		alone[m] = Cost(t, map[count.Meter]uint64{m: 1}, c).Total
	}
	type window struct {
		tokens map[count.Meter]uint64
		most   money.USD
	}
	windows := make([]window, 0, len(steps))
	for end := range steps {
		w := window{tokens: map[count.Meter]uint64{}}
		for e := end; e > end-width.Milliseconds(); e -= r.Grid.Milliseconds() {
			for m, n := range steps[e] {
				w.tokens[m] += n
			}
		}
		for m, n := range w.tokens {
			w.most = w.most.Plus(alone[m].Times(n))
		}
		windows = append(windows, w)
	}
	slices.SortFunc(windows, func(a, b window) int { return cmp.Compare(b.most, a.most) })
	var steepest money.USD
	for _, w := range windows {
		if w.most <= steepest {
			break
		}
		steepest = max(steepest, Cost(t, w.tokens, c).Total)
	}
	return steepest.Scaled(time.Hour.Milliseconds(), width.Milliseconds())
}

const burnWindow = 5 * time.Minute // the burn is the steepest minute in it
