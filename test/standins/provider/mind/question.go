package mind

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Job is what a question wants done.
type Job string

// The jobs that the worker can do.
const (
	Count     Job = "count"     // rows
	Distinct  Job = "distinct"  // different values
	Aggregate Job = "aggregate" // one figure of a column, perhaps per group
	Correlate Job = "correlate"
	Top       Job = "top" // rows or groups with most or least
	Row       Job = "row" // the one row with most or least
	Missing   Job = "missing"
	Share     Job = "share" // of rows for which something holds
	Histogram Job = "histogram"
	Scatter   Job = "scatter"
	Trend     Job = "trend"
	Overview  Job = "overview" // which columns there are
	Describe  Job = "describe" // one column
	Unclear   Job = "unclear"
)

// A Filter keeps rows: those whose column compares so with the value. Without a
// column it is a value that some text column holds; if it is only a guess that the
// word is one, it says nothing where no column does.
type Filter struct {
	Column, Op, Value, Value2 string
	Guess                     bool
}

// A Plan is what the worker makes of a question.
type Plan struct {
	Job      Job
	Measure  Column   // of Aggregate, Top, Row, Histogram, Trend, Describe, Distinct, Missing
	Other    Column   // of Correlate and Scatter
	Group    Column   // "per", "by", "for each"; zero without
	How      string   // mean, sum, min, max, median, std, count, or quantile
	Quantile float64  // 0 to 1
	N        int      // of Top
	Least    bool     // of Top and Row: the smallest
	Period   string   // of Trend: Y, Q, M, W or D
	Filters  []Filter // all must hold
	Chart    bool
}

var number = regexp.MustCompile(`^\d+(?:[.,]\d+)*%?$`)

func isNumber(w word) bool { return number.MatchString(w.text) }

// figure reads a number as people type it: 1,000 and 2.5 and 10%, 50k.
func figure(s string) string {
	s = strings.TrimSuffix(s, "%")
	if i := strings.LastIndex(s, ","); i >= 0 && len(s)-i != 4 {
		return strings.ReplaceAll(s, ",", ".")
	}
	return strings.ReplaceAll(s, ",", "")
}

// jobs by the stems that ask for them.
var jobs = map[string][]string{
	"mean":      {"average", "mean", "avg", "averaged", "typical", "typically"},
	"sum":       {"total", "sum", "altogether", "combined", "summed"},
	"max":       {"maximum", "max", "highest", "largest", "biggest", "greatest", "most", "top", "best", "oldest", "longest", "latest", "heaviest", "tallest", "richest", "hottest", "warmest", "expensive", "newest", "maximal", "busiest"},
	"min":       {"minimum", "min", "lowest", "smallest", "least", "cheapest", "youngest", "shortest", "earliest", "lightest", "poorest", "coldest", "fewest", "worst", "bottom", "minimal"},
	"median":    {"median"},
	"std":       {"deviation", "std", "stdev"},
	"quantile":  {"percentile", "quantile"},
	"correlate": {"correlation", "correlate", "correlated", "relationship", "related", "relation", "associated", "association"},
	"distinct":  {"distinct", "different", "unique"},
	"missing":   {"missing", "null", "empty", "blank", "nan", "incomplete"},
	"share":     {"percentage", "percent", "share", "fraction", "proportion"},
	"histogram": {"histogram", "distribution", "distributed", "spread"},
	"scatter":   {"scatter", "scatterplot"},
	"trend":     {"trend", "monthly", "yearly", "annual", "annually", "weekly", "daily", "quarterly", "evolve", "evolved", "develop", "developed"},
	"chart":     {"chart", "plot", "graph", "draw", "diagram", "visualize", "visualise", "visualization", "picture", "bar"},
	"count":     {"count", "number"},
	"overview":  {"columns", "column", "fields", "variables", "overview", "summary", "summarize", "describe", "features", "contain", "contains"},
}

var (
	jobOf    = map[string]string{}
	periods  = map[string]string{"year": "Y", "yearly": "Y", "annual": "Y", "annually": "Y", "quarter": "Q", "quarterly": "Q", "month": "M", "monthly": "M", "week": "W", "weekly": "W", "day": "D", "daily": "D"}
	groupers = []string{"by", "per", "each", "every", "across", "within"}
	smallN   = map[string]int{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twenty": 20}
)

func init() { //nolint:gochecknoinits // the table above, the other way round
	for job, stems := range jobs {
		for _, s := range stems {
			jobOf[s] = job
			jobOf[stem(s)] = job
		}
	}
}

func jobWord(q []word, at int) bool {
	_, is := jobOf[q[at].text]
	_, period := periods[q[at].stem]
	return is && len(alike[q[at].stem]) == 0 || period
}

// A reader has read a question.
type reader struct {
	q        []word
	columns  []Column
	mentions []mention
	plan     Plan
	taken    map[int]bool // mentions that a filter or a group took
}

// Understand makes a plan of a question about a table with the given columns.
func Understand(question string, columns []Column) Plan {
	r := &reader{q: words(question), columns: columns, taken: map[int]bool{}}
	r.mentions = mentions(r.q, columns)
	r.group()
	r.filters()
	r.phrases()
	r.plan.Chart = r.asks("chart") || r.asks("histogram") || r.asks("scatter")
	r.count()
	r.decide()
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
		if !slices.Contains([]string{"the", "a", "an", "of", "their", "its", "column", "different"}, r.q[i].text) {
			return r.q[i].text
		}
	}
	return ""
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
		if b := r.before(m.from); (b == "which" || b == "what") && m.column.Kind != Number && len(r.mentions) >= 1 && (r.asks("max") || r.asks("min")) {
			r.plan.Group, r.taken[i] = m.column, true
			return
		}
	}
}

var comparisons = []struct {
	words string
	op    string
}{
	{"greater than or equal to", ">="}, {"less than or equal to", "<="},
	{"more than", ">"}, {"greater than", ">"}, {"larger than", ">"}, {"higher than", ">"}, {"bigger than", ">"}, {"older than", ">"}, {"longer than", ">"},
	{"less than", "<"}, {"fewer than", "<"}, {"smaller than", "<"}, {"lower than", "<"}, {"younger than", "<"}, {"shorter than", "<"}, {"cheaper than", "<"},
	{"at least", ">="}, {"at most", "<="}, {"above", ">"}, {"over", ">"}, {"exceeding", ">"}, {"exceeds", ">"}, {"exceed", ">"}, {"below", "<"}, {"under", "<"},
	{"between", "between"}, {"equal to", "=="}, {"equals", "=="}, {"exactly", "=="},
	{">=", ">="}, {"<=", "<="}, {">", ">"}, {"<", "<"}, {"==", "=="}, {"=", "=="}, {"is not", "!="}, {"is", "=="}, {"are", "=="}, {"was", "=="}, {"of", "=="},
}

// filters finds comparisons with a number, and "X is value".
func (r *reader) filters() {
	for at := range r.q {
		if r.q[at].used || r.q[at].quoted {
			continue
		}
		for _, c := range comparisons {
			parts := strings.Fields(c.words)
			if at+len(parts) >= len(r.q) || !slices.EqualFunc(parts, r.q[at:at+len(parts)], func(p string, w word) bool { return p == w.text && !w.used }) {
				continue
			}
			if r.filter(at, at+len(parts), c.op) {
				break
			}
		}
	}
}

// filter tries to read a comparison whose value begins at a place.
func (r *reader) filter(at, value int, op string) bool {
	v := r.q[value]
	if v.used {
		return false
	}
	f := Filter{Op: op, Value: figure(v.text)}
	end := value
	switch {
	case isNumber(v):
		if op == "between" {
			if value+2 >= len(r.q) || !isNumber(r.q[value+2]) {
				return false
			}
			f.Value2, end = figure(r.q[value+2].text), value+2
		}
	case op != "==" && op != "!=":
		return false
	case r.q[at].text == "of" || plain[v.stem] || jobOf[v.text] != "":
		return false
	default:
		f.Value = v.raw
	}
	i := r.near(at, end, isNumber(v))
	if i < 0 {
		return false
	}
	m := r.mentions[i]
	if isNumber(v) != (m.column.Kind == Number) && !(isNumber(v) && m.column.Kind == Date) {
		if isNumber(v) || m.column.Kind == Number {
			return false
		}
	}
	if !isNumber(v) { // a value may have several words
		for end+1 < len(r.q) && !r.q[end+1].used && !v.quoted && !plain[r.q[end+1].stem] && jobOf[r.q[end+1].text] == "" && r.q[end+1].text != "?" {
			end++
			f.Value += " " + r.q[end].raw
		}
	}
	f.Column, r.taken[i] = m.column.Name, true
	r.plan.Filters = append(r.plan.Filters, f)
	for j := at; j <= end; j++ {
		r.q[j].used = true
	}
	return true
}

// near is the mention that a comparison is about: the one right before it or, for
// "more than 3 bedrooms", right behind. -1 if there is none.
func (r *reader) near(at, end int, behind bool) int {
	best := -1
	for i, m := range r.mentions {
		if m.to < at && at-m.to <= 3 && (m.column.Kind != Text || !behind) {
			best = i
		}
	}
	if best >= 0 && at-r.mentions[best].to <= 2 {
		return best
	}
	if behind {
		for i, m := range r.mentions {
			if m.from > end && m.from-end <= 2 && m.column.Kind != Text {
				return i
			}
		}
	}
	return best
}

// phrases finds values of some text column: what is quoted, and what stands behind
// "in", "for", "where" or "from" and names nothing else.
func (r *reader) phrases() {
	for at := 0; at < len(r.q); at++ {
		w := r.q[at]
		if w.used {
			continue
		}
		if at > 1 && r.q[at-1].text == "many" && r.q[at-2].text == "how" && !plain[w.stem] && jobOf[w.text] == "" {
			r.plan.Filters = append(r.plan.Filters, Filter{Op: "==", Value: w.raw, Guess: true})
			r.q[at].used = true
			continue
		}
		if w.quoted {
			r.plan.Filters = append(r.plan.Filters, Filter{Op: "==", Value: w.raw})
			r.q[at].used = true
			continue
		}
		if !slices.Contains([]string{"in", "for", "from", "at", "near", "on", "of", "among", "with"}, w.text) {
			continue
		}
		from := at + 1
		for from < len(r.q) && slices.Contains([]string{"the", "a", "an"}, r.q[from].text) {
			from++
		}
		to := from
		for to < len(r.q) && !r.q[to].used && !plain[r.q[to].stem] && jobOf[r.q[to].text] == "" && periods[r.q[to].stem] == "" && !slices.Contains(groupers, r.q[to].text) {
			to++
		}
		if to == from {
			continue
		}
		var raw []string
		for i := from; i < to; i++ {
			raw = append(raw, r.q[i].raw)
			r.q[i].used = true
		}
		f := Filter{Op: "==", Value: strings.Join(raw, " ")}
		if len(raw) == 1 && len(raw[0]) == 4 && isNumber(r.q[from]) { // a year
			if d := r.date(); d.Name != "" {
				f = Filter{Column: d.Name, Op: "year", Value: raw[0]}
			}
		}
		r.plan.Filters = append(r.plan.Filters, f)
		at = to - 1
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
	for _, c := range r.columns {
		n := nameWords(c.Name)
		for _, w := range []string{"date", "day", "month", "time", "timestamp", "when"} {
			if slices.Contains(n, w) && c.Kind != Number {
				return c
			}
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
			return at >= 0 && at < len(r.q) && (jobOf[r.q[at].text] == "max" || jobOf[r.q[at].text] == "min" || r.q[at].text == "first")
		}
		if near(i-1) || near(i+1) || near(i-2) || near(i+2) {
			r.plan.N = n
			return
		}
	}
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
	if n := r.free(Number); len(n) > 0 {
		return n[0]
	}
	if n := r.free(Text, Bool); len(n) > 0 {
		return n[0]
	}
	for _, m := range r.mentions { // the one that a filter has, too
		if m.column.Kind == Number {
			return m.column
		}
	}
	return Column{}
}

func (r *reader) how() string {
	for _, h := range []string{"mean", "median", "std", "quantile", "sum"} {
		if r.asks(h) {
			return h
		}
	}
	return ""
}

// decide chooses the job: the first whose words are there.
func (r *reader) decide() {
	p := &r.plan
	p.Measure = r.measure()
	for i, w := range r.q[1:] {
		if r.q[i].text == "how" && w.text == "much" && p.Measure.Kind == Number && r.how() == "" && !r.asks("max") && !r.asks("min") {
			p.Job, p.How = Aggregate, "sum"
			return
		}
	}
	howMany := r.says("how many") || r.asks("count")
	for _, try := range []func(howMany bool) bool{r.pairs, r.shapes, r.values, r.ranks, r.counts, r.figures} {
		if try(howMany) {
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
	case len(p.Filters) > 0 && p.Filters[0].Column != "":
		p.Job = Count
	default:
		p.Job = Unclear
	}
}

// pairs are jobs with two columns.
func (r *reader) pairs(bool) bool {
	p := &r.plan
	n := r.free(Number)
	switch {
	case r.asks("correlate") && len(n) > 0:
		p.Job, p.Measure = Correlate, n[0]
		if len(n) > 1 {
			p.Other = n[1]
		}
		return true
	case r.asks("scatter") && len(n) > 1, p.Chart && r.says("against", "versus", "vs") && len(n) > 1:
		p.Job, p.Measure, p.Other = Scatter, n[0], n[1]
		return true
	}
	return false
}

// shapes are distributions and what happens over time.
func (r *reader) shapes(howMany bool) bool {
	p := &r.plan
	if r.asks("histogram") && p.Measure.Name != "" {
		p.Job = Histogram
		return true
	}
	period := ""
	for _, w := range r.q {
		if s, is := periods[w.stem]; is && !w.used {
			period = s
		}
	}
	if over := r.asks("trend") || r.says("over time", "over the years", "over the months"); !over && (period == "" || !r.says("by year", "per year", "each year", "by month", "per month", "each month", "by week", "per week", "each week", "by day", "per day", "each day", "by quarter", "per quarter", "each quarter", "which year", "which month", "which day")) {
		return false
	}
	d := r.date()
	if d.Name == "" {
		return false
	}
	p.Job, p.Other, p.Period, p.How = Trend, d, period, r.how()
	if p.Period == "" {
		p.Period = "M"
	}
	if p.Measure == d || p.Measure.Kind == Date {
		p.Measure = Column{}
	}
	if p.Measure.Name == "" || (howMany && p.Measure.Kind != Number) {
		p.How, p.Measure = "count", Column{}
	} else if p.How == "" {
		p.How = "mean"
		if r.says("sales", "revenue", "amount", "quantity", "units") {
			p.How = "sum"
		}
	}
	p.Chart = true
	return true
}

// values are questions about which values there are.
func (r *reader) values(howMany bool) bool {
	p := &r.plan
	all := r.free()
	switch {
	case r.asks("missing"):
		p.Job, p.Measure = Missing, Column{}
		if len(all) > 0 {
			p.Measure = all[0]
		}
	case r.asks("distinct") && len(all) > 0:
		p.Job, p.Measure = Distinct, all[0]
	case r.asks("share") && len(p.Filters) > 0:
		p.Job = Share
	case howMany && len(all) > 0 && all[0].Kind != Number && p.Group.Name == "" && len(r.free(Number)) == 0 && r.certain() == 0:
		p.Job, p.Measure = Distinct, all[0]
	case r.asks("overview") && len(all) == 0 && p.Group.Name == "":
		p.Job = Overview
	default:
		return false
	}
	return true
}

// ranks are "top 5" and "which ... has the highest".
func (r *reader) ranks(bool) bool {
	p := &r.plan
	most, least := r.asks("max"), r.asks("min")
	if !most && !least {
		return false
	}
	p.Least = least && !most
	texts := r.free(Text, Bool)
	which := r.says("which", "who", "where is", "what is the most expensive", "what is the cheapest") || r.q[0].text == "which" || r.q[0].text == "who"
	switch {
	case p.N > 0:
		p.Job = Top
		if p.Group.Name == "" && len(texts) > 0 && texts[0] != p.Measure {
			p.Group = texts[0]
		}
		if p.Group.Name != "" && len(r.free(Number)) == 0 {
			p.Measure = Column{}
		}
	case p.Group.Name != "" && (which || p.N > 0):
		p.Job, p.N = Top, 1
		if len(r.free(Number)) == 0 {
			p.Measure = Column{}
		}
	case which && p.Measure.Name != "":
		p.Job = Row
		return true
	default:
		return false
	}
	p.How = r.how()
	switch {
	case p.Measure.Name == "":
		p.How = "count"
		if p.Group.Name == "" {
			return false
		}
	case p.How == "" && p.Group.Name != "" && (p.N > 1 || r.says("most", "sales", "revenue", "quantity", "units", "least", "fewest")):
		p.How = "sum"
	case p.How == "" && p.Group.Name != "":
		p.How = "max"
		if p.Least {
			p.How = "min"
		}
	}
	return true
}

// certain counts the filters that are no guesses.
func (r *reader) certain() int {
	n := 0
	for _, f := range r.plan.Filters {
		if !f.Guess {
			n++
		}
	}
	return n
}

// counts are "how many".
func (r *reader) counts(howMany bool) bool {
	p := &r.plan
	if !howMany {
		return false
	}
	switch n := r.free(Number); {
	case p.Group.Name != "" && len(n) == 0:
		p.Job, p.How = Aggregate, "count"
	case len(n) > 0 && (r.certain() == 0 || r.asks("sum") || r.says("sold")) && !r.says("rows", "records", "entries", "lines"):
		p.Job, p.Measure, p.How = Aggregate, n[0], "sum"
	default:
		p.Job = Count
	}
	return true
}

// figures are one number of a column, perhaps per group.
func (r *reader) figures(bool) bool {
	p := &r.plan
	if p.Measure.Name == "" {
		return false
	}
	p.How = r.how()
	if p.How == "" && r.asks("max") {
		p.How = "max"
	}
	if p.How == "" && r.asks("min") {
		p.How = "min"
	}
	if p.How == "quantile" {
		for _, w := range r.q {
			n := strings.TrimRight(w.text, "stndrh%")
			if v, err := strconv.ParseFloat(n, 64); err == nil && v > 0 && v < 100 {
				p.Quantile = v / 100
			}
		}
		if p.Quantile == 0 {
			p.Quantile = 0.9
		}
	}
	if p.How == "" && p.Group.Name != "" && p.Measure.Kind == Number {
		p.How = "mean"
	}
	if p.How == "" {
		return false
	}
	p.Job = Aggregate
	return true
}
