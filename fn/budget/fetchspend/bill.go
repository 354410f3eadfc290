package fetchspend

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/price"
	"whisperops.io/functions/internal/money"
	"whisperops.io/functions/internal/pricing"
)

// announceBefore is how long before a price changes status says so, and for how
// long afterwards.
const announceBefore = 7 * 24 * time.Hour

// announced are the prices of some models that change soon, or just did.
func announced(t *pricing.Table, models []string, at time.Time) []string {
	var out []string
	for _, c := range t.Changes(models, at.Add(-announceBefore), at.Add(announceBefore)) {
		is, was := c.Words()
		if is == was {
			continue
		}
		verb := "costs"
		if c.From.After(at) {
			verb = "will cost"
		}
		out = append(out, fmt.Sprintf("from %s on %s %s %s (before: %s)", c.From.Format(time.RFC3339), short(c.Model), verb, is, was))
	}
	return out[:min(len(out), maxAnnounced)]
}

const maxAnnounced = 5

// repriced compares the prices that were applied at the last look with those of now,
// for what was counted: a table that was corrected, or has a row more. atDearest is
// what it would be if the models that lacked a price still did.
func (f Facts) repriced(t *pricing.Table, tokens map[count.Meter]uint64, b price.Bill, spent money.USD) (*v1alpha1.Repriced, float64) {
	was := map[lineKey]v1alpha1.BillLine{}
	lacked := map[string]bool{}
	for _, l := range f.Bill {
		was[keyOf(l)] = l
		if l.Unpriced {
			lacked[l.Model] = true
		}
	}
	before, changed := spent-b.Total, []string{}
	for _, l := range b.Lines {
		w := lineOf(l, b)
		old, ok := was[keyOf(w)]
		rate, err := rateOf(old)
		if !ok || err != nil || old.USDPerMillion == w.USDPerMillion {
			before = before.Plus(l.USD)
			continue
		}
		before = before.Plus(rate.Times(l.Tokens))
		changed = append(changed, fmt.Sprintf("%s %s %s, before %s", short(w.Model), w.Class, w.USDPerMillion, old.USDPerMillion))
	}
	more, moved := f.moved(t, was, b)
	before, changed = before-more, append(changed, moved...)
	var r *v1alpha1.Repriced
	if len(changed) > 0 && before != spent {
		if len(changed) > maxAnnounced {
			changed = append(changed[:maxAnnounced], "and more")
		}
		r = &v1alpha1.Repriced{FromUSD: before.String(), ToUSD: spent.String(), Why: strings.Join(changed, "; ")}
	}
	models := lacked
	switch {
	case f.Ledger == nil || len(f.Bill) > 0 && len(lacked) == 0:
		return r, 0
	case len(f.Bill) == 0 && len(b.Unpriced) > 0:
		return r, 0 // nobody knows whether it lacked one more
	case len(f.Bill) == 0:
		models = nil // nobody knows which
	}
	atDearest := (spent - b.Total).Plus(price.AtDearest(t, tokens, f.Settings.Contained, models))
	return r, max(atDearest, f.asLacked(t, b, spent)).Float()
}

// asLacked is what it would be if models that lacked a price at the last look, and have one
// now, still cost what they did then: the row that was the dearest may be another by now.
func (f Facts) asLacked(t *pricing.Table, b price.Bill, spent money.USD) money.USD {
	has := func(model string) bool { return t.Find(model) != nil }
	at, some := spent, map[string]bool{}
	for _, l := range f.Bill {
		usd, err := money.Parse(l.USD)
		if l.Unpriced && err == nil && has(l.Model) {
			at, some[l.Model] = at.Plus(usd), true
		}
	}
	for _, l := range b.Lines {
		if some[l.Meter.Model] {
			at -= l.USD
		}
	}
	return at
}

// A lineKey is what a line of a bill is about.
type lineKey struct {
	model         string
	class         v1alpha1.TokenClass
	context, tier string
	from          string
}

func keyOf(l v1alpha1.BillLine) lineKey {
	return lineKey{l.Model, l.Class, l.Context, l.Tier, l.From}
}

// rateOf is what one token of a line cost.
func rateOf(l v1alpha1.BillLine) (money.USD, error) {
	rate, err := money.Parse(l.USDPerMillion)
	return rate / 1_000_000, err
}

// moved is how much more tokens cost that lie in another price span than at the last look:
// the row of one came late, or a row was taken back that had begun.
func (f Facts) moved(t *pricing.Table, was map[lineKey]v1alpha1.BillLine, b price.Bill) (more money.USD, changed []string) {
	if f.Ledger == nil {
		return 0, nil
	}
	now := map[lineKey]price.Line{}
	for _, l := range b.Lines {
		now[keyOf(lineOf(l, b))] = l
	}
	for _, old := range f.Bill {
		k := keyOf(old)
		tokens, err := strconv.ParseUint(old.Tokens, 10, 64)
		rate, unread := rateOf(old)
		if err != nil || unread != nil || tokens <= now[k].Tokens {
			continue
		}
		rest := tokens - now[k].Tokens
		for _, to := range f.movedTo(t, was, now, k) {
			l := now[to]
			had, _ := strconv.ParseUint(was[to].Tokens, 10, 64) // 0: it is new
			n := min(rest, l.Tokens-min(had, l.Tokens))
			if n == 0 || l.Price.Rate == rate {
				continue
			}
			rest -= n
			more = more.Plus(l.Price.Rate.Times(n)) - rate.Times(n)
			changed = append(changed, fmt.Sprintf("%s %s %s, before %s", short(k.model), k.class, (l.Price.Rate*1_000_000).String(), old.USDPerMillion))
		}
	}
	return more, changed
}

// movedTo are the lines in which tokens of one may lie now, the likeliest first.
func (f Facts) movedTo(t *pricing.Table, was map[lineKey]v1alpha1.BillLine, now map[lineKey]price.Line, k lineKey) []lineKey {
	began, err := time.Parse(time.RFC3339, k.from)
	takenBack := err == nil && !t.Began(k.model, began).Equal(began)
	var late, earlier []lineKey
	for o := range now {
		same := o
		if same.from = k.from; same != k || o == k {
			continue
		}
		// All times are written alike.
		switch _, there := was[o]; {
		case o.from < k.from:
			earlier = append(earlier, o)
		case !there && o.from < f.Ledger.AsOf:
			late = append(late, o)
		}
	}
	from := func(a, b lineKey) int { return strings.Compare(a.from, b.from) }
	if takenBack {
		slices.SortFunc(earlier, func(a, b lineKey) int { return from(b, a) })
		return earlier
	}
	slices.SortFunc(late, from)
	return late
}

// maxLines are as many lines as a bill has; the rest is one.
const maxLines = 24

// lines are a bill as status shows it: what costs most is there.
func lines(b price.Bill, doubts map[count.Meter]uint64) []v1alpha1.BillLine {
	all := slices.Clone(b.Lines)
	var rest money.USD
	if len(all) > maxLines {
		slices.SortStableFunc(all, func(x, y price.Line) int { return int(min(1, max(-1, y.USD-x.USD))) })
		for _, l := range all[maxLines-1:] {
			rest = rest.Plus(l.USD)
		}
		all = all[:maxLines-1]
		keep := map[count.Meter]bool{}
		for _, l := range all {
			keep[l.Meter] = true
		}
		all = slices.DeleteFunc(slices.Clone(b.Lines), func(l price.Line) bool { return !keep[l.Meter] })
	}
	out := make([]v1alpha1.BillLine, 0, len(all)+1)
	for _, l := range all {
		w := lineOf(l, b)
		if n := doubts[l.Meter]; n > 0 {
			w.Doubtful = strconv.FormatUint(n, 10)
		}
		out = append(out, w)
	}
	if rest > 0 {
		out = append(out, v1alpha1.BillLine{Model: "(all others)", USD: rest.String()})
	}
	return out
}

func lineOf(l price.Line, b price.Bill) v1alpha1.BillLine {
	w := v1alpha1.BillLine{
		Model: l.Meter.Model, Class: l.Meter.Class, Context: l.Meter.Context, Tier: l.Meter.Tier,
		Tokens: strconv.FormatUint(l.Tokens, 10), USDPerMillion: (l.Price.Rate * 1_000_000).String(), USD: l.USD.String(),
	}
	if l.Meter.From != 0 {
		w.From = count.RFC3339(l.Meter.From)
	}
	if l.Price.Model != l.Meter.Model {
		w.Row = short(l.Price.Model)
	}
	w.Unpriced = slices.Contains(b.Unpriced, l.Meter.Model)
	return w
}
