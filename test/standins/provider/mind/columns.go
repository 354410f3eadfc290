package mind

import (
	"slices"
	"strings"
)

// Kinds of what a column holds.
const (
	Number = "number"
	Text   = "text"
	Date   = "date"
	Bool   = "bool" // yes and no, in words
	Flag   = "flag" // 0 and 1
	ID     = "id"   // numbers the rows
)

// A Column as the worker was told of it.
type Column struct {
	Name, Kind string
	Many       bool // it has more different values than a table of groups can show
	Code       bool // text of digits that begin with zeros: a name and no number
}

// A mention of a column in a question: the words from..to name it.
type mention struct {
	column   Column
	from, to int // to is the last one
	whole    bool
}

// wholeNames finds the columns that a question calls by their whole names, the longest
// before shorter ones, and marks the words that do.
func (r *reader) wholeNames() {
	for _, n := range r.names() {
		for at := 0; at+len(n.words) <= len(r.q); at++ {
			if isNamed(r.q[at:at+len(n.words)], n.words, n.column, at > 0 && r.q[at-1].stem == "column") {
				r.mention(n.column, at, at+len(n.words)-1, true)
			}
		}
		for at := range r.q { // typed as it stands in the file: median_house_value
			if !r.q[at].used && strings.EqualFold(r.q[at].raw, n.column.Name) && len(n.words) > 1 {
				r.mention(n.column, at, at, true)
			}
		}
	}
}

type name struct {
	column Column
	words  []string
}

func (r *reader) names() []name {
	var names []name
	for _, c := range r.columns {
		if w := nameWords(c.Name); len(w) > 0 {
			names = append(names, name{c, w})
		}
	}
	slices.SortStableFunc(names, func(a, b name) int { return len(b.words) - len(a.words) })
	return names
}

func (r *reader) mention(c Column, from, to int, whole bool) {
	r.mentions = append(r.mentions, mention{c, from, to, whole})
	for i := from; i <= to; i++ {
		r.q[i].used = true
	}
}

// partNames finds the columns of whose names a question has a part, or one with a
// letter wrong, or another word for it.
func (r *reader) partNames() {
	q, names := r.q, r.names()
	for at := range q {
		if q[at].used || q[at].quoted || plain[q[at].stem] || jobWord(q, at) || len(q[at].text) < 3 {
			continue
		}
		best, score := Column{}, 0
		for _, n := range names {
			if n.column.Kind == ID {
				continue // "orders" are not the sum of their numbers
			}
			if s := overlap(q, at, n.words); s > score || s == score && s > 0 && best.Kind != Number && n.column.Kind == Number {
				best, score = n.column, s
			}
		}
		if score == 0 {
			continue
		}
		q[at].alike = !slices.Contains(nameWords(best.Name), q[at].stem)
		r.mention(best, at, at, false)
	}
	slices.SortFunc(r.mentions, func(a, b mention) int { return a.from - b.from })
	// Words beside each other that name the same column are one mention.
	var out []mention
	for _, m := range r.mentions {
		if len(out) > 0 && out[len(out)-1].column == m.column && m.from-out[len(out)-1].to <= 2 && !m.whole {
			out[len(out)-1].to = m.to
			continue
		}
		out = append(out, m)
	}
	r.mentions = out
}

func isNamed(q []word, name []string, column Column, afterColumn bool) bool {
	for i := range name {
		if q[i].used || q[i].stem != name[i] {
			return false
		}
	}
	// A column may be called "a": so are many other things. And orders are no sum of
	// the column "order", if that numbers the rows.
	return len(name) > 1 || afterColumn || q[0].quoted || column.Kind != ID && len([]rune(column.Name)) > 1 && !plain[q[0].stem]
}

// overlap scores how well the word at a place, with those around it, fits a name:
// 0 if it doesn't.
func overlap(q []word, at int, name []string) int {
	fits := func(w word) int {
		switch {
		case slices.Contains(name, w.stem):
			return 4
		case strings.ContainsAny(w.text, "0123456789"):
			return 0 // sensor_25 is not short for sensor_1
		case slices.ContainsFunc(alike[w.stem], func(a string) bool { return slices.Contains(name, a) }):
			return 2
		case len(w.text) >= 5 && slices.ContainsFunc(name, func(n string) bool { return len(n) >= 5 && n[0] == w.stem[0] && distance(n, w.stem) == 1 }):
			return 2
		case slices.ContainsFunc(name, func(n string) bool {
			return isShort(n, w.stem) || len(w.text) > 3 && (n == w.stem+"ed" || n == w.stem+"d")
		}):
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

// isShort says whether a part of a name is short for a word: pop, exp, temp, class of
// Pclass.
func isShort(part, w string) bool {
	return len(part) >= 3 && len(w) >= 6 && strings.HasPrefix(w, part) || len(w) >= 5 && len(part) == len(w)+1 && strings.HasSuffix(part, w)
}
