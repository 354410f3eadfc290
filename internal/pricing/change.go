package pricing

import (
	"fmt"
	"maps"
	"slices"

	"whisperops.io/functions/internal/money"
)

// Words are the prices after and before a change, for people: those of usual requests, and
// what else differs. They are the same if nothing does.
func (c Change) Words() (is, was string) {
	is, was = c.New.Words(), c.Old.Words()
	add := func(now, before string) {
		if now != before {
			is, was = is+now, was+before
		}
	}
	add(c.New.longWords(), c.Old.longWords())
	for _, tier := range slices.Sorted(maps.Keys(both(c.New.Tiers, c.Old.Tiers))) {
		add("; "+tier+" "+timesWords(c.New.Tiers[tier]), "; "+tier+" "+timesWords(c.Old.Tiers[tier]))
	}
	add("; regional "+timesWords(c.New.Regional), "; regional "+timesWords(c.Old.Regional))
	return is, was
}

// longWords are the prices of long requests.
func (r Row) longWords() string {
	if r.Above == 0 {
		return "; long prompts as usual"
	}
	return fmt.Sprintf("; above %d tokens %s", r.Above, Row{Rates: r.Long}.Words())
}

func both(a, b map[string]int64) map[string]int64 {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]int64{}
	}
	maps.Copy(out, b)
	return out
}

// timesWords are a multiplier; of none, the usual price counts.
func timesWords(factor int64) string {
	if factor == 0 {
		factor = one
	}
	return "times " + (money.USD(factor) * one).String()
}
