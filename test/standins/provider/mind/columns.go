package mind

import (
	"encoding/json"
	"slices"
	"strings"
)

// Kinds of what a column holds.
const (
	Number = "number"
	Text   = "text"
	Date   = "date"
	Bool   = "bool"
)

// A Column as the worker was told of it.
type Column struct{ Name, Kind string }

// Columns finds the columns in what a tool said: the longest list of objects, each
// with a name, anywhere in a JSON document, or in one behind the word COLUMNS.
func Columns(said string) []Column {
	var best []Column
	for from := range said {
		if said[from] != '{' && said[from] != '[' {
			continue
		}
		var v any
		if json.NewDecoder(strings.NewReader(said[from:])).Decode(&v) != nil {
			continue
		}
		if found := columnsIn(v); len(found) > len(best) {
			best = found
		}
		if len(best) > 0 {
			break // what follows is inside of it, or is about something else
		}
	}
	return best
}

func columnsIn(v any) []Column {
	var best []Column
	longer := func(c []Column) {
		if len(c) > len(best) {
			best = c
		}
	}
	switch v := v.(type) {
	case string:
		longer(Columns(v)) // JSON within JSON
	case map[string]any:
		for _, k := range slices.Sorted(keys(v)) {
			longer(columnsIn(v[k]))
		}
	case []any:
		var own []Column
		for _, e := range v {
			m, isObject := e.(map[string]any)
			name, hasName := m["name"].(string)
			if !isObject || !hasName {
				own = nil
				break
			}
			kind := ""
			for _, k := range []string{"type", "kind", "dtype"} {
				if s, isText := m[k].(string); isText && kind == "" {
					kind = s
				}
			}
			if kind == "" {
				own = nil
				break
			}
			own = append(own, Column{Name: name, Kind: kindOf(kind)})
		}
		longer(own)
		if len(own) == 0 {
			for _, e := range v {
				longer(columnsIn(e))
			}
		}
	}
	return best
}

func keys(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func kindOf(s string) string {
	s = strings.ToLower(s)
	has := func(parts ...string) bool {
		return slices.ContainsFunc(parts, func(p string) bool { return strings.Contains(s, p) })
	}
	switch {
	case has("bool"):
		return Bool
	case has("date", "time"):
		return Date
	case has("int", "float", "num", "decimal", "double", "real"):
		return Number
	}
	return Text
}

// A mention of a column in a question: the words from..to name it.
type mention struct {
	column   Column
	from, to int // to is the last one
	whole    bool
}

// mentions finds the columns that a question names, and marks the words that do.
// Whole names come first, the longest before shorter ones, then parts of names, then
// names with a letter wrong.
func mentions(q []word, columns []Column) []mention {
	var found []mention
	type name struct {
		column Column
		words  []string
	}
	var names []name
	for _, c := range columns {
		if w := nameWords(c.Name); len(w) > 0 {
			names = append(names, name{c, w})
		}
	}
	slices.SortStableFunc(names, func(a, b name) int { return len(b.words) - len(a.words) })
	for _, n := range names {
		for at := 0; at+len(n.words) <= len(q); at++ {
			if isNamed(q[at:at+len(n.words)], n.words, n.column.Name, at > 0 && q[at-1].stem == "column") {
				found = append(found, mention{n.column, at, at + len(n.words) - 1, true})
				for i := range n.words {
					q[at+i].used = true
				}
			}
		}
		for at := range q { // typed as it stands in the file: median_house_value
			if !q[at].used && strings.EqualFold(q[at].raw, n.column.Name) && len(n.words) > 1 {
				found = append(found, mention{n.column, at, at, true})
				q[at].used = true
			}
		}
	}
	for at := range q {
		if q[at].used || q[at].quoted || plain[q[at].stem] || jobWord(q, at) || len(q[at].text) < 3 {
			continue
		}
		best, score := Column{}, 0
		for _, n := range names {
			if slices.Contains(n.words, "id") {
				continue // "orders" are not the sum of their numbers
			}
			if s := overlap(q, at, n.words); s > score || s == score && s > 0 && best.Kind != Number && n.column.Kind == Number {
				best, score = n.column, s
			}
		}
		if score == 0 {
			continue
		}
		q[at].used, q[at].alike = true, !slices.Contains(nameWords(best.Name), q[at].stem)
		found = append(found, mention{best, at, at, false})
	}
	slices.SortFunc(found, func(a, b mention) int { return a.from - b.from })
	// Words beside each other that name the same column are one mention.
	var out []mention
	for _, m := range found {
		if len(out) > 0 && out[len(out)-1].column == m.column && m.from-out[len(out)-1].to <= 2 && !m.whole {
			out[len(out)-1].to = m.to
			continue
		}
		out = append(out, m)
	}
	return out
}

func isNamed(q []word, name []string, raw string, afterColumn bool) bool {
	for i := range name {
		if q[i].used || q[i].stem != name[i] {
			return false
		}
	}
	// A column may be called "a": so are many other things.
	return len(name) > 1 || afterColumn || q[0].quoted || (len([]rune(raw)) > 1 && !plain[q[0].stem])
}

// overlap scores how well the word at a place, with those around it, fits a name:
// 0 if it doesn't.
func overlap(q []word, at int, name []string) int {
	fits := func(w word) int {
		switch {
		case slices.Contains(name, w.stem):
			return 4
		case slices.ContainsFunc(alike[w.stem], func(a string) bool { return slices.Contains(name, a) }):
			return 2
		case len(w.text) >= 5 && slices.ContainsFunc(name, func(n string) bool { return len(n) >= 5 && distance(n, w.stem) == 1 }):
			return 2
		}
		return 0
	}
	here := fits(q[at])
	if here == 0 {
		return 0
	}
	for i := max(0, at-2); i <= min(len(q)-1, at+2); i++ {
		if i != at && !plain[q[i].stem] && fits(q[i]) == 4 {
			here++
		}
	}
	return 4*here - len(name)
}
