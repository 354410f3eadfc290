package mind

import (
	"slices"
	"strconv"
	"strings"
)

// use marks words as explained.
func (r *reader) use(texts ...string) {
	for i, w := range r.q {
		if slices.Contains(texts, w.text) {
			r.q[i].used = true
		}
	}
}

// mistyped mends words that ask for a job and have a letter wrong.
func (r *reader) mistyped() {
	for i, w := range r.q {
		if w.used || w.quoted || len(w.text) < 5 || jobOf[w.text] != "" || plain[w.stem] {
			continue
		}
		for _, known := range jobNames {
			if len(known) >= 5 && distance(known, w.text) == 1 {
				r.q[i].text, r.q[i].stem = known, stem(known)
				break
			}
		}
	}
}

// A place in the question where a value of some columns stands.
type place struct {
	from, to int
	in       []Value
}

// values marks the words that are values in the table, the longest first.
func (r *reader) values(found []Value) []place {
	var places []place
	for _, v := range found {
		i := slices.IndexFunc(places, func(p place) bool { return p.from == v.From && p.to == v.To })
		if i < 0 {
			places = append(places, place{from: v.From, to: v.To})
			i = len(places) - 1
		}
		places[i].in = append(places[i].in, v)
	}
	slices.SortStableFunc(places, func(a, b place) int {
		if d := (b.to - b.from) - (a.to - a.from); d != 0 {
			return d
		}
		return a.from - b.from
	})
	var kept []place
	for _, p := range places {
		if p.to >= len(r.q) || slices.ContainsFunc(r.q[p.from:p.to+1], func(w word) bool { return w.used }) {
			continue
		}
		for i := p.from; i <= p.to; i++ {
			r.q[i].used = true
		}
		kept = append(kept, p)
	}
	slices.SortFunc(kept, func(a, b place) int { return a.from - b.from })
	return kept
}

// entities marks the words for what a row is, as the number of the rows is called:
// "orders" where there is an order_id. A word that another column has is that one's.
func (r *reader) entities() {
	for _, c := range r.columns {
		for _, name := range entity(c) {
			other := slices.ContainsFunc(r.columns, func(o Column) bool { return o.Kind != ID && o.Kind != Date && slices.Contains(nameWords(o.Name), name) })
			if !other && (c.Kind == ID || c.Kind == Date && len(nameWords(c.Name)) > 1) {
				r.rows(name)
			}
		}
	}
}

// anyRows marks what people call the rows of any table.
func (r *reader) anyRows() {
	r.rows("row", "record", "line", "entry", "case", "observation", "sample", "item", "people", "person")
}

func (r *reader) rows(names ...string) {
	for i, w := range r.q {
		if !w.used && !w.quoted && slices.Contains(names, w.stem) {
			r.q[i].used, r.q[i].entity = true, true
		}
	}
}

// entity is what a number counts, or a day is of: order_id, Member No, Visit Date.
func entity(c Column) []string {
	return slices.DeleteFunc(nameWords(c.Name), func(w string) bool {
		return slices.Contains([]string{"id", "no", "nr", "number", "code", "key", "index", "row", "date", "time", "day", "timestamp", "datetime", "at", "on", "month", "year"}, w)
	})
}

// group finds "by X", "per X", "for each X", and "which X has the highest".
func (r *reader) group() {
	for i, m := range r.mentions {
		if slices.Contains(groupers, r.before(m.from)) {
			// "top 5 cities by population", "rank by", "sorted by" name the measure.
			if r.before(m.from) == "by" && m.column.Kind == Number && (r.asks("max") || r.asks("min")) && !r.asks("mean") {
				continue
			}
			r.plan.Group, r.taken[i] = m.column, true
			return
		}
	}
	for i, m := range r.mentions {
		if b := r.before(m.from); (b == "which" || b == "what") && (m.column.Kind != Number || m.column == r.year()) && (r.asks("max") || r.asks("min") || r.asks("mode")) {
			r.plan.Group, r.taken[i] = m.column, true
			return
		}
	}
	if person := r.person(); person.Name != "" {
		r.plan.Group = person
		return
	}
	for i, w := range r.q { // "per month" where no column is called so
		period := periods[w.stem]
		b := r.before(i)
		if w.used || period == "" || !(slices.Contains(groupers, b) || b == "which" || b == "what" || jobOf[w.text] == "trend") {
			continue
		}
		if period == "D" && r.says("day of the week", "days of the week") {
			period = weekday
			r.use("week")
		}
		if r.date().Name != "" {
			r.plan.Period, r.q[i].used = period, jobOf[w.text] != "trend"
		}
		return
	}
}

// person is the column whose values "who" asks for: one that names people, several rows
// each, where the question names none itself.
func (r *reader) person() Column {
	if !r.says("who") || !r.asks("max") && !r.asks("min") && !r.asks("mode") {
		return Column{}
	}
	for _, c := range r.columns {
		if c.Kind == Text && !c.Many && slices.ContainsFunc(nameWords(c.Name), func(w string) bool { return people[w] }) {
			return c
		}
	}
	return Column{}
}

// cells makes filters of the values that stand in the question.
func (r *reader) cells(places []place) {
	for _, p := range places {
		column := p.in[0].Column
		for i, m := range r.mentions { // "the toys category", "snow = yes", "embarked at C"
			is := slices.IndexFunc(p.in, func(v Value) bool { return v.Column == m.column })
			if is < 0 || m.to < p.from-3 || m.from > p.to+2 {
				continue
			}
			column = m.column
			if m.column != r.plan.Group {
				r.taken[i] = true
			}
		}
		is := slices.IndexFunc(p.in, func(v Value) bool { return v.Column == column })
		f := Filter{Column: column, Op: "in", Values: []string{p.in[is].Text}, at: p.from}
		if r.negated(p.from) {
			f.Op = "out"
		}
		for i := max(0, p.from-2); i < p.from; i++ { // "= yes", "is Austria"
			if slices.Contains([]string{"=", "==", "equals", "exactly"}, r.q[i].text) {
				r.q[i].used = true
			}
		}
		same := slices.IndexFunc(r.plan.Filters, func(g Filter) bool { return g.Column == f.Column && g.Op == f.Op })
		if same >= 0 {
			r.plan.Filters[same].Values = append(r.plan.Filters[same].Values, f.Values...)
			r.use("or", "either")
			continue
		}
		r.plan.Filters = append(r.plan.Filters, f)
	}
}

// negated says whether a "not" stands before a place, and explains it.
func (r *reader) negated(at int) bool {
	for i := at - 1; i >= 0 && i >= at-3; i-- {
		if slices.Contains([]string{"not", "except", "excluding", "without", "outside", "no", "isn't", "aren't", "wasn't", "weren't"}, r.q[i].text) {
			r.q[i].used = true
			return true
		}
		if r.q[i].used {
			return false
		}
	}
	return false
}

var comparisons = []struct {
	words string
	op    string
	about []string // what the column is called, where the words say it
}{
	{"greater than or equal to", ">=", nil}, {"less than or equal to", "<=", nil},
	{"more than", ">", nil}, {"greater than", ">", nil}, {"larger than", ">", nil}, {"higher than", ">", nil}, {"bigger than", ">", nil},
	{"less than", "<", nil}, {"fewer than", "<", nil}, {"smaller than", "<", nil}, {"lower than", "<", nil},
	{"older than", ">", []string{"age"}}, {"younger than", "<", []string{"age"}}, {"over the age of", ">", []string{"age"}}, {"under the age of", "<", []string{"age"}},
	{"longer than", ">", []string{"length", "duration"}}, {"shorter than", "<", []string{"length", "duration", "height"}},
	{"taller than", ">", []string{"height"}}, {"heavier than", ">", []string{"weight", "mass"}}, {"lighter than", "<", []string{"weight", "mass"}},
	{"cheaper than", "<", []string{"price", "cost", "fare", "value"}}, {"warmer than", ">", []string{"temperature", "temp"}}, {"colder than", "<", []string{"temperature", "temp"}},
	{"at least", ">=", nil}, {"at most", "<=", nil}, {"above", ">", nil}, {"over", ">", nil}, {"exceeding", ">", nil}, {"exceeds", ">", nil}, {"exceed", ">", nil}, {"below", "<", nil}, {"under", "<", nil},
	{"between", "between", nil}, {"equal to", "==", nil}, {"equals", "==", nil}, {"exactly", "==", nil},
	{">=", ">=", nil}, {"<=", "<=", nil}, {">", ">", nil}, {"<", "<", nil}, {"==", "==", nil}, {"=", "==", nil}, {"is not", "!=", nil}, {"is", "==", nil}, {"are", "==", nil}, {"was", "==", nil}, {"of", "==", nil},
}

// comparisons finds comparisons with a number.
func (r *reader) comparisons() {
	for at := range r.q {
		if r.q[at].used || r.q[at].quoted {
			continue
		}
		if op := map[string]string{"negative": "<", "positive": ">"}[r.q[at].text]; op != "" {
			r.sign(at, op)
		}
		for _, c := range comparisons {
			parts := strings.Fields(c.words)
			if at+len(parts) >= len(r.q) || !slices.EqualFunc(parts, r.q[at:at+len(parts)], func(p string, w word) bool { return p == w.text && !w.used }) {
				continue
			}
			if r.compared(at, at+len(parts), c.op, c.about) {
				break
			}
		}
	}
}

// said finds a number right behind its column: "floor 3".
func (r *reader) said() {
	for i, m := range r.mentions {
		at := m.to + 1
		if r.taken[i] || m.column.Kind != Number || at >= len(r.q) || r.q[at].used || r.q[at].quoted || !isNumber(r.q[at]) || isYear(r.q[at].text) {
			continue
		}
		r.q[at].used, r.taken[i] = true, true
		r.plan.Filters = append(r.plan.Filters, Filter{Column: m.column, Op: "==", Value: figure(r.q[at].text), at: m.from})
	}
}

// compared tries to read a comparison whose value begins at a place.
func (r *reader) compared(at, value int, op string, about []string) bool {
	v := r.q[value]
	if v.used || !isNumber(v) {
		return false
	}
	f, end := Filter{Op: op, Value: figure(v.text), at: at}, value
	if op == "between" {
		if value+2 >= len(r.q) || !isNumber(r.q[value+2]) {
			return false
		}
		f.Value2, end = figure(r.q[value+2].text), value+2
	}
	switch i := r.near(at, end); {
	case about != nil:
		c := slices.IndexFunc(r.columns, func(c Column) bool {
			return c.Kind == Number && slices.ContainsFunc(nameWords(c.Name), func(n string) bool { return slices.Contains(about, n) })
		})
		if c < 0 {
			return false
		}
		f.Column = r.columns[c]
		for i, m := range r.mentions {
			r.taken[i] = r.taken[i] || m.column == f.Column && m.from > end && m.from-end <= 2
		}
	case i < 0:
		if f.Column = r.only(); f.Column.Name == "" {
			return false
		}
	default:
		f.Column, r.taken[i] = r.mentions[i].column, true
	}
	r.plan.Filters = append(r.plan.Filters, f)
	for j := at; j <= end; j++ {
		r.q[j].used = true
	}
	if end+1 < len(r.q) && slices.Contains([]string{"years", "usd", "eur", "dollars", "euros"}, r.q[end+1].text) {
		r.q[end+1].used = true
	}
	return true
}

// sign reads "negative" and "positive" as comparisons with zero.
func (r *reader) sign(at int, op string) {
	f := Filter{Column: r.only(), Op: op, Value: "0", at: at}
	if i := r.near(at, at); i >= 0 {
		f.Column, r.taken[i] = r.mentions[i].column, true
	}
	if f.Column.Name != "" {
		r.plan.Filters, r.q[at].used = append(r.plan.Filters, f), true
	}
}

// near is the mention of numbers that a comparison is about: the one right before it
// or, for "more than 3 bedrooms", right behind. -1 if there is none.
func (r *reader) near(at, end int) int {
	numeric := func(i int) bool {
		k := r.mentions[i].column.Kind
		return k == Number || k == Flag || k == ID
	}
	best := -1
	for i, m := range r.mentions {
		if m.to < at && at-m.to <= 3 && numeric(i) {
			best = i
		}
	}
	if best >= 0 && at-r.mentions[best].to <= 2 {
		return best
	}
	for i, m := range r.mentions {
		if m.from > end && m.from-end <= 2 && numeric(i) {
			return i
		}
	}
	return best
}

var months = []string{"january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"}

// dates finds "in 2024", "in March 2024", "before 2020", "since 1990".
func (r *reader) dates() { //nolint:gocognit // the rules of one language
	d := r.date()
	for i, w := range r.q {
		if w.used {
			continue
		}
		if m := slices.Index(months, w.text); m >= 0 && d.Name != "" && (w.text != "may" || i > 0 && r.q[i-1].text == "in") {
			if i > 0 && !slices.Contains([]string{"in", "during", "of"}, r.q[i-1].text) {
				continue // a range of months: its words stay unexplained
			}
			r.q[i].used = true
			r.plan.Filters = append(r.plan.Filters, Filter{Column: d, Op: "month", Value: strconv.Itoa(m + 1), at: i})
			if i+1 < len(r.q) && isYear(r.q[i+1].text) {
				r.q[i+1].used = true
				r.plan.Filters = append(r.plan.Filters, Filter{Column: d, Op: "year", Value: r.q[i+1].text, at: i})
			}
			continue
		}
		if !isYear(w.text) || i == 0 {
			continue
		}
		ops := map[string]string{"in": "year", "during": "year", "of": "year", "for": "year", "year": "year", "before": "before", "after": "after", "since": "since", "from": "year", "until": ""}
		op := ops[r.q[i-1].text]
		if op == "" {
			continue
		}
		f := Filter{Column: d, Op: op, Value: w.text, at: i}
		if d.Name == "" {
			f.Column, f.Op = r.year(), map[string]string{"year": "==", "before": "<", "after": ">", "since": ">="}[op]
		}
		if f.Column.Name == "" {
			continue
		}
		for j, m := range r.mentions { // "in the year 2007", "joined in 2023"
			if m.column == f.Column && m.to <= i && i-m.to <= 2 && m.column != r.plan.Group {
				r.taken[j] = true
			}
		}
		r.q[i].used, r.q[i-1].used = true, true
		r.plan.Filters = append(r.plan.Filters, f)
	}
}

func isYear(s string) bool {
	return len(s) == 4 && number.MatchString(s) && (s[:2] == "19" || s[:2] == "20")
}

// absent finds "no comment" and "without a comment", and of texts "have a comment".
func (r *reader) absent() {
	for i, m := range r.mentions {
		if r.taken[i] || m.column == r.plan.Group || boolean(m.column) {
			continue
		}
		at := m.from - 1
		if at >= 0 && slices.Contains([]string{"a", "an", "any"}, r.q[at].text) {
			at--
		}
		if at < 0 {
			continue
		}
		op := ""
		switch r.q[at].text {
		case "no", "without":
			op = "missing"
			if m.column.Kind == Number && len(r.hows()) > 0 {
				continue // the total without tax is no total of rows that have none
			}
		case "have", "has", "had", "with":
			if m.column.Kind == Text && !m.column.Code && (r.howMany() || r.asks("share")) {
				op = "present"
			}
		}
		if op == "" {
			continue
		}
		r.q[at].used, r.taken[i] = true, true
		r.plan.Filters = append(r.plan.Filters, Filter{Column: m.column, Op: op, at: at})
	}
}

func boolean(c Column) bool { return c.Kind == Bool || c.Kind == Flag }

// flags makes filters of columns that say yes or no: "express orders", "who survived".
// Where nothing else is asked for they are what the question is about.
func (r *reader) flags() {
	about := r.howMany() || r.asks("share") || r.plan.N > 0 || len(r.free(Number)) > 0 || r.asks("mode")
	if !about || r.asks("missing") || r.asks("correlate") || r.asks("distinct") {
		return
	}
	for i, m := range r.mentions {
		if r.taken[i] || !boolean(m.column) || m.column == r.plan.Group {
			continue
		}
		f := Filter{Column: m.column, Op: "true", at: m.from}
		if r.negated(m.from) {
			f.Op = "false"
		}
		r.taken[i] = true
		r.plan.Filters = append(r.plan.Filters, f)
	}
}

// date is the column that holds the time: a date, or what is called so.
func (r *reader) date() Column {
	for _, m := range r.mentions {
		if m.column.Kind == Date {
			return m.column
		}
	}
	for _, c := range r.columns {
		if c.Kind == Date {
			return c
		}
	}
	return Column{}
}

// year is the column of numbers that are years.
func (r *reader) year() Column {
	for _, c := range r.columns {
		if c.Kind == Number && slices.Contains(nameWords(c.Name), "year") {
			return c
		}
	}
	return Column{}
}

// count reads "top 5" and "the three largest".
func (r *reader) count() {
	for i, w := range r.q {
		if w.used {
			continue
		}
		n, isWord := smallN[w.text]
		if !isWord {
			v, err := strconv.Atoi(w.text)
			if err != nil || v < 1 || v > 1000 {
				continue
			}
			n = v
		}
		near := func(at int) bool {
			return at >= 0 && at < len(r.q) && (jobOf[r.q[at].text] == "max" || jobOf[r.q[at].text] == "min" || jobOf[r.q[at].text] == "mode")
		}
		if near(i-1) || near(i+1) || near(i-2) || near(i+2) {
			r.plan.N, r.q[i].used = n, true
			return
		}
	}
}
