package mind

import (
	"slices"
	"strconv"
	"strings"
)

// A reader has read a question.
type reader struct {
	q        []word
	columns  []Column
	mentions []mention
	plan     Plan
	taken    map[int]bool // mentions that a filter or a group took
}

// Understand makes a plan of a question about a table with the given columns, in
// which the given words of the question were found. A plan takes account of every
// word: an answer to another question than the one that was asked is worse than none.
func Understand(question string, columns []Column, found []Value) Plan {
	r := &reader{q: words(question), columns: columns, taken: map[int]bool{}}
	if len(r.q) == 0 {
		return Plan{Job: Unclear, Why: "You asked nothing."}
	}
	if why := r.cannot(); why != "" {
		return Plan{Job: Unclear, Why: why}
	}
	r.wholeNames()
	r.mistyped()
	values := r.values(found)
	r.entities()
	r.partNames()
	r.anyRows()
	r.group()
	r.cells(values)
	r.comparisons()
	r.said()
	r.dates()
	r.absent()
	r.plan.Chart = r.asks("chart") || r.asks("histogram") || r.asks("scatter")
	r.count()
	r.flags()
	r.decide()
	if why := r.unexplained(); why != "" {
		return Plan{Job: Unclear, Why: why}
	}
	return r.plan
}

// asks says whether a word that names no column asks for a job.
func (r *reader) asks(job string) bool {
	for _, w := range r.q {
		if (!w.used || w.alike) && jobOf[w.text] == job {
			return true
		}
	}
	return false
}

func (r *reader) says(texts ...string) bool {
	var b strings.Builder
	for _, w := range r.q {
		b.WriteString(" " + w.text)
	}
	return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(b.String()+" ", " "+t+" ") })
}

// before is the nearest word before a place that says something.
func (r *reader) before(at int) string {
	for i := at - 1; i >= 0; i-- {
		if !slices.Contains([]string{"the", "a", "an", "of", "their", "its", "column", "different", "distinct", "unique"}, r.q[i].text) {
			return r.q[i].text
		}
	}
	return ""
}

// free returns the mentions that nothing took, of a kind; of any kind if empty.
func (r *reader) free(kinds ...string) []Column {
	var out []Column
	for i, m := range r.mentions {
		if !r.taken[i] && (len(kinds) == 0 || slices.Contains(kinds, m.column.Kind)) && !slices.Contains(out, m.column) && m.column != r.plan.Group {
			out = append(out, m.column)
		}
	}
	return out
}

// measure is the column that a figure is asked of: numbers first, then text that
// may hold numbers in disguise.
func (r *reader) measure() Column {
	for _, kinds := range [][]string{{Number}, {Flag, Bool}, {Text}} {
		if n := r.free(kinds...); len(n) > 0 {
			return n[0]
		}
	}
	if c := r.only(); c.Name != "" && len(r.mentions) == 0 && (r.asks("histogram") || len(r.columns) == 1 && (len(r.hows()) > 0 || r.asks("max") || r.asks("min"))) {
		return c
	}
	for _, m := range r.mentions { // the one that a filter has, too
		if m.column.Kind == Number && m.column != r.plan.Group {
			return m.column
		}
	}
	return Column{}
}

// only is the column of numbers of a table that has one alone.
func (r *reader) only() Column {
	var out Column
	for _, c := range r.columns {
		if c.Kind == Number {
			if out.Name != "" {
				return Column{}
			}
			out = c
		}
	}
	return out
}

// hows are the ways to sum a column up that a question asks for.
func (r *reader) hows() []string {
	var out []string
	for _, h := range []string{"mean", "median", "std", "quantile", "sum"} {
		if r.asks(h) {
			out = append(out, h)
		}
	}
	return out
}

func (r *reader) how() string {
	if h := r.hows(); len(h) > 0 {
		return h[0]
	}
	return ""
}

func (r *reader) howMany() bool { return r.says("how many", "how often") || r.asks("count") }

// decide chooses the job: the first whose words are there.
func (r *reader) decide() {
	p := &r.plan
	p.Measure = r.measure()
	if r.says("how much") && p.Measure.Kind == Number && r.how() == "" && !r.asks("max") && !r.asks("min") {
		p.Job, p.How = Aggregate, "sum"
		return
	}
	for _, try := range []func() bool{r.compares, r.pairs, r.modes, r.shapes, r.moments, r.whichValues, r.ranks, r.counts, r.figures} {
		if try() {
			return
		}
	}
	switch all := r.free(); {
	case len(all) > 0:
		p.Job, p.Measure = Describe, all[0]
	case p.Group.Name != "":
		p.Job, p.How = Aggregate, "count"
	case r.asks("overview") || r.says("what is in", "what's in", "about"):
		p.Job = Overview
	case len(p.Filters) > 0:
		p.Job = Count
	default:
		p.Job, p.Why = Unclear, "I can't tell what to calculate."
	}
}

// compares puts a figure of two or more values beside each other.
func (r *reader) compares() bool {
	p := &r.plan
	if !r.asks("compare") || p.Chart && len(r.free(Number)) > 1 {
		return false
	}
	for _, f := range p.Filters {
		if f.Op == "in" && len(f.Values) > 1 && p.Group.Name == "" {
			p.Group = f.Column
		}
	}
	if p.Group.Name == "" || len(r.free(Number)) > 1 {
		p.Job, p.Why = Unclear, "I can't compare that. Ask for one figure by a column, or for each of the two."
		return true
	}
	p.Job, p.How, p.Compared = Aggregate, r.how(), true
	r.use("between")
	switch {
	case p.Measure.Kind != Number:
		p.How = "count"
	case p.How == "":
		p.How = "mean"
	}
	return true
}

// pairs are jobs with two columns.
func (r *reader) pairs() bool {
	p := &r.plan
	n := r.free(Number, Flag)
	switch {
	case r.asks("correlate") && len(n) > 0:
		p.Job, p.Measure = Correlate, n[0]
		r.use("between")
		if len(n) > 1 {
			p.Other = n[1]
		}
		return true
	case r.asks("scatter") && len(n) > 1, p.Chart && (r.says("against") || r.asks("compare")) && len(n) > 1:
		p.Job, p.Measure, p.Other = Scatter, n[0], n[1]
		return true
	}
	return false
}

// modes are "the most common city".
func (r *reader) modes() bool {
	p := &r.plan
	if !r.asks("mode") || r.says("how often") {
		return false
	}
	if p.Group.Name == "" {
		if p.Measure.Name == "" {
			return false
		}
		p.Group = p.Measure
	}
	p.Job, p.Measure, p.How, p.Least = Top, Column{}, "count", r.says("least")
	if p.N == 0 {
		p.N = 1
	}
	return true
}

// shapes are distributions and what happens over time.
func (r *reader) shapes() bool {
	p := &r.plan
	if r.asks("histogram") && p.Measure.Name != "" {
		p.Job = Histogram
		return true
	}
	over := r.asks("trend") || r.says("over time", "over the years", "over the months")
	if !over && p.Period == "" {
		return false
	}
	d := r.date()
	if year := r.year(); d.Name == "" && year.Name != "" && over {
		p.Group, p.Chart = year, true
		r.use("over", "time", "years")
		return false
	}
	if d.Name == "" {
		return false
	}
	r.use("over", "time", "years", "months")
	p.Other, p.How = d, r.how()
	if p.Measure == d || p.Measure.Kind != Number {
		p.Measure = Column{}
	}
	switch {
	case p.Measure.Name == "":
		p.How = "count"
	case p.How == "" && r.says("sales", "revenue", "amount", "quantity", "units", "most", "least"):
		p.How = "sum"
	case p.How == "":
		p.How = "mean"
	}
	if r.asks("max") || r.asks("min") { // which month has the most
		p.Job, p.Group, p.Least = Top, d, r.asks("min") && !r.asks("max")
		if p.N == 0 {
			p.N = 1
		}
		return true
	}
	p.Job, p.Chart = Trend, true
	if p.Period == "" {
		p.Period = "M"
	}
	return true
}

// moments are "when was the first".
func (r *reader) moments() bool {
	p := &r.plan
	d := r.date()
	first, last := r.asks("min"), r.asks("max")
	if d.Name == "" || first == last || !(r.says("when") || r.says("date") && len(r.free(Number)) == 0) || p.N > 0 {
		return false
	}
	p.Job, p.Measure, p.Group, p.How = Aggregate, d, Column{}, map[bool]string{true: "min", false: "max"}[first]
	return true
}

// ranks are "top 5" and "which ... has the highest".
func (r *reader) ranks() bool {
	p := &r.plan
	most, least := r.asks("max"), r.asks("min")
	if !most && !least {
		return false
	}
	p.Least = least && !most
	texts := r.free(Text, Bool, Flag)
	which := r.says("which", "who", "where", "what is the most expensive", "what is the cheapest")
	switch {
	case p.N > 0:
		p.Job = Top
		if p.Group.Name == "" && len(texts) > 0 {
			p.Group = texts[0]
		}
	case p.Group.Name != "" && which:
		p.Job, p.N = Top, 1
	case p.Group.Name == "" && (which || p.Hedge != "" || r.rowAsked()) && p.Measure.Kind == Number:
		p.Job = Row
		return true
	default:
		return false
	}
	p.How = r.how()
	if p.Job == Row && p.How != "" {
		p.Job, p.Why = Unclear, "I can't tell of what the "+names[p.How]+" is meant: name the column whose values have one each."
		return true
	}
	if p.Group.Name != "" && len(r.free(Number)) == 0 {
		p.Measure, p.How = Column{}, "count"
		for _, c := range texts { // the continent with the most countries
			if c != p.Group && c.Kind == Text && r.how() == "" {
				p.Measure, p.How = c, "nunique"
			}
		}
		return true
	}
	switch {
	case p.Measure.Name == "":
		p.Job, p.Why = Unclear, "I can't tell by which column to rank."
	case p.How == "" && p.Group.Name != "" && (p.N > 1 || r.says("most", "sales", "revenue", "quantity", "units", "least", "fewest")):
		p.How = "sum"
	case p.How == "" && p.Group.Name != "":
		p.How = map[bool]string{false: "max", true: "min"}[p.Least]
	}
	return true
}

// rowAsked says whether a superlative belongs to what a row is: "the oldest member".
func (r *reader) rowAsked() bool {
	for i, w := range r.q {
		if (w.entity || periods[w.stem] == "D") && i > 0 && (jobOf[r.q[i-1].text] == "max" || jobOf[r.q[i-1].text] == "min") {
			return true
		}
	}
	return false
}

// counts are "how many".
func (r *reader) counts() bool {
	p := &r.plan
	if !r.howMany() {
		return false
	}
	n := r.free(Number)
	if len(n) == 0 && r.says("sell", "sold", "bought") {
		for _, c := range r.columns { // three cups in one row are three that were sold
			if c.Kind == Number && slices.ContainsFunc(nameWords(c.Name), func(w string) bool { return slices.Contains([]string{"quantity", "qty", "unit", "piece"}, w) }) && !slices.Contains(nameWords(c.Name), "price") {
				p.Job, p.Measure, p.How = Aggregate, c, "sum"
				return true
			}
		}
	}
	switch {
	case p.Group.Name != "" && len(n) == 0:
		p.Job, p.How = Aggregate, "count"
		for _, c := range r.free(Text) { // how many products per city
			if r.counted(c) {
				p.Measure, p.How = c, "nunique"
			}
		}
	case len(n) > 0 && !r.head(n[0]):
		p.Job, p.Why = Unclear, "I can't tell what to count: the column is "+n[0].Name+"."
	case len(n) > 0 && (len(p.Filters) == 0 || r.asks("sum") || r.says("sold")) && !r.says("rows", "records", "entries", "lines"):
		p.Job, p.Measure, p.How = Aggregate, n[0], "sum"
	case len(n) > 0:
		p.Job, p.Why = Unclear, "I can't tell whether to count rows or to add up "+n[0].Name+"."
	default:
		p.Job, p.Measure = Count, Column{}
	}
	return true
}

// head says whether a question names what a column holds, and not only whose it is:
// "ratings" of customer_rating, and not "customers". A unit at the end is no name.
func (r *reader) head(c Column) bool {
	words := nameWords(c.Name)
	for len(words) > 1 && len(words[len(words)-1]) <= 3 {
		words = words[:len(words)-1]
	}
	last := words[len(words)-1]
	for _, m := range r.mentions {
		for i := m.from; m.column == c && i <= m.to; i++ {
			if m.whole || r.q[i].alike || r.q[i].stem == last {
				return true
			}
		}
	}
	return false
}

// figures are one number of a column, perhaps per group.
func (r *reader) figures() bool {
	p := &r.plan
	if p.Measure.Name == "" {
		return false
	}
	all := r.hows()
	if p.Measure.Code && len(all) > 0 {
		p.Job, p.Why = Unclear, "I can't calculate with "+p.Measure.Name+": its digits are names and no numbers, as they begin with zeros."
		return true
	}
	if r.asks("range") && len(all) == 0 && p.Group.Name == "" {
		p.Job = Describe
		return true
	}
	for _, h := range []string{"max", "min"} {
		if r.asks(h) {
			all = append(all, h)
		}
	}
	if len(all) > 1 { // the average and the largest
		if p.Group.Name != "" || p.Measure.Kind != Number {
			p.Job, p.Why = Unclear, "I can't answer two questions at once. Ask for one figure at a time."
			return true
		}
		p.Job = Describe
		return true
	}
	if len(all) == 1 {
		p.How = all[0]
	}
	if p.How == "quantile" {
		p.Quantile = r.percentile()
	}
	if p.How == "" && p.Group.Name != "" && p.Measure.Kind == Number {
		p.How = "mean"
		if r.says("sales", "revenue", "turnover") {
			p.How = "sum"
		}
	}
	if p.How == "" {
		return false
	}
	p.Job = Aggregate
	return true
}

func (r *reader) percentile() float64 {
	for i, w := range r.q {
		n := strings.TrimRight(w.text, "stndrh%")
		if v, err := strconv.ParseFloat(n, 64); err == nil && v > 0 && v < 100 && !w.used {
			r.q[i].used = true
			return v / 100
		}
	}
	return 0.9
}
