package pricing

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"whisperops.io/functions/internal/money"
)

// Broken says whether the table has rows of models that can't be used.
func (t *Table) Broken() bool { return len(t.broken) > 0 }

// With is the table with the prices that an earlier one had of models of which a row can't
// be used now: who breaks a row changes no price by it. Its Flaws say so.
func (t *Table) With(earlier *Table) *Table {
	out := *t
	out.Models, out.Flaws, out.exact, out.patterns = slices.Clone(t.Models), slices.Clone(t.Flaws), maps.Clone(t.exact), slices.Clone(t.patterns)
	for _, name := range slices.Sorted(maps.Keys(t.broken)) {
		others := slices.Clone(t.broken[name])
		i := slices.IndexFunc(earlier.Models, func(m *Model) bool { return m.Name == name })
		if i < 0 || out.isOfAnother(name) {
			continue
		}
		m := earlier.Models[i]
		out.Models = slices.DeleteFunc(out.Models, func(o *Model) bool { return o.Name == name })
		out.Models = append(out.Models, m)
		for alias, of := range t.exact {
			if of.Name == name {
				out.exact[alias] = m
			}
		}
		for alias, of := range earlier.exact {
			if of == m {
				others = append(others, alias)
			}
		}
		for _, n := range append(others, name) {
			out.call(n, m)
		}
		for i, p := range out.patterns {
			if p.model.Name == name {
				out.patterns[i].model = m
			}
		}
		for i, f := range out.Flaws {
			if f.Model == name {
				out.Flaws[i].Text += " (until it is mended, the last good prices of the model count)"
			}
		}
	}
	slices.SortFunc(out.Models, func(a, b *Model) int { return strings.Compare(a.Name, b.Name) })
	out.index()
	return &out
}

// isOfAnother says whether a model's name is another one's alias.
func (t *Table) isOfAnother(name string) bool {
	if m, ok := t.exact[name]; ok {
		return m.Name != name
	}
	return slices.ContainsFunc(t.patterns, func(p pattern) bool { return p.text == name && p.model.Name != name })
}

// call lets a model be found by a name or a pattern that nobody has.
func (t *Table) call(name string, m *Model) {
	_, taken := t.exact[name]
	switch {
	case taken, slices.ContainsFunc(t.patterns, func(p pattern) bool { return p.text == name }):
	case strings.Contains(name, "*"):
		t.patterns = append(t.patterns, pattern{text: name, model: m})
		slices.SortFunc(t.patterns, comparePatterns)
	default:
		t.exact[name] = m
	}
}

// Excerpt is the part of a table that prices some models, as a table: what is left of
// it is read by Read, and prices those models the same, used or not. It is at most
// limit bytes long, or empty. Of a table that is too large to keep whole, a model that has no
// price is charged as the dearest of each class.
func (t *Table) Excerpt(names []string, limit int) string {
	aliases := map[*Model][]string{}
	keep := map[*Model]bool{}
	unpriced := false
	for _, n := range names {
		m := t.Find(n)
		if m == nil {
			unpriced = true
			continue
		}
		keep[m] = true
		if n != m.Name {
			aliases[m] = append(aliases[m], n)
		}
	}
	if !unpriced {
		return t.excerpt(keep, aliases, limit)
	}
	all := map[*Model]bool{}
	for _, m := range t.Models {
		all[m] = true // the dearest row is among these, whatever was used
	}
	if whole := t.excerpt(all, aliases, limit); whole != "" {
		return whole
	}
	for _, m := range t.dearestOfEach() {
		keep[m] = true
	}
	return t.excerpt(keep, aliases, limit)
}

// dearestOfEach are the models that are the dearest for one class, in a context, at some time.
func (t *Table) dearestOfEach() []*Model {
	var out []*Model
	for _, context := range []string{ContextStandard, ContextLong} {
		for _, c := range Classes {
			var most money.USD
			var dearest *Model
			for _, m := range t.Models {
				for _, r := range m.Rows {
					if rate, _ := r.Rate(Use{Class: c, Context: context}, t.Regional); dearest == nil || rate > most {
						most, dearest = rate, m
					}
				}
			}
			out = append(out, dearest)
		}
	}
	return out
}

// excerpt writes some models, which are called by other names, too.
func (t *Table) excerpt(keep map[*Model]bool, aliases map[*Model][]string, limit int) string {
	type model struct {
		Aliases []string `json:"aliases,omitempty"`
		Rows    []any    `json:"rows"`
	}
	models := map[string]model{}
	for _, m := range t.Models {
		if !keep[m] {
			continue
		}
		e := model{Aliases: slices.Sorted(slices.Values(aliases[m]))}
		for _, r := range m.Rows {
			e.Rows = append(e.Rows, r.write())
		}
		models[m.Name] = e
	}
	doc := map[string]any{"version": 2, "models": models}
	if t.Regional {
		doc["endpoint"] = "regional"
	}
	b, err := json.Marshal(doc)
	if err != nil || len(b) > limit || len(models) == 0 {
		return ""
	}
	return string(b)
}

// write is a row as Read reads it.
func (r Row) write() map[string]any {
	out := map[string]any{"unchecked": true}
	perMillion := func(u money.USD) string { return (u * one).String() }
	for _, c := range Classes {
		if i, follows := insteadOf[c]; !follows || r.Rates[c] != r.Rates[i] {
			out[string(c)] = perMillion(r.Rates[c])
		}
	}
	if !r.From.IsZero() {
		out["from"] = r.From.Format(time.RFC3339)
	}
	if r.Above > 0 {
		long := map[string]any{"above": r.Above}
		for _, c := range Classes {
			long[string(c)] = perMillion(r.Long[c])
		}
		out["longContext"] = long
	}
	factor := func(f int64) string { return (money.USD(f) * one).String() }
	if len(r.Tiers) > 0 {
		tiers := map[string]any{}
		for t, f := range r.Tiers {
			tiers[t] = factor(f)
		}
		out["tiers"] = tiers
	}
	if r.Regional > 0 {
		out["regional"] = factor(r.Regional)
	}
	return out
}
