package mind

import (
	"regexp"
	"slices"
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
	Top       Job = "top"  // rows or groups with most or least
	Row       Job = "row"  // the one row with most or least
	Head      Job = "head" // the rows that the file begins or, if Least, ends with
	Missing   Job = "missing"
	// Duplicates are rows, or values of a column, that stand there before.
	Duplicates Job = "duplicates"
	Share      Job = "share" // of rows for which something holds
	Histogram  Job = "histogram"
	Scatter    Job = "scatter"
	Trend      Job = "trend"
	Overview   Job = "overview" // which columns there are
	Describe   Job = "describe" // one column
	Unclear    Job = "unclear"
)

// A Filter keeps rows: those whose column compares so with the value.
type Filter struct {
	Column Column
	// Op is a comparison of numbers (>, between), in and out (of the texts in Values),
	// true and false, missing, or for dates year, month, before, after and since.
	Op, Value, Value2 string
	Values            []string // of in and out, as they stand in the file
	at                int      // where in the question it begins
}

// A Plan is what the worker makes of a question.
type Plan struct {
	Job      Job
	Measure  Column   // of Aggregate, Top, Row, Histogram, Trend, Describe, Distinct, Missing
	Other    Column   // of Correlate and Scatter
	Group    Column   // "per", "by", "for each"; zero without
	How      string   // mean, sum, min, max, median, std, count, or quantile; of Overview: count, or nothing
	Quantile float64  // 0 to 1
	N        int      // of Top
	Least    bool     // of Top and Row: the smallest
	Period   string   // of Trend, and of a Group that is a date: Y, Q, M, W, D or weekday
	Filters  []Filter // all must hold
	Base     []Filter // of Share: the rows that it is a share of
	Chart    bool
	Compared bool   // the groups are few, and their difference is asked for
	Hedge    string // what was taken for granted; an answer begins with it
	Why      string // of Unclear: why there is no plan, for the person who asked
}

// weekday is the Period that says on which day of the week.
const weekday = "weekday"

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
	"mean":       {"average", "mean", "avg", "averaged", "typical", "typically"},
	"sum":        {"total", "sum", "altogether", "combined", "summed"},
	"max":        {"maximum", "max", "highest", "largest", "biggest", "greatest", "most", "top", "last", "best", "oldest", "longest", "latest", "heaviest", "tallest", "richest", "hottest", "warmest", "newest", "maximal", "busiest"},
	"min":        {"minimum", "min", "lowest", "smallest", "least", "first", "cheapest", "youngest", "shortest", "earliest", "lightest", "poorest", "coldest", "fewest", "worst", "bottom", "minimal"},
	"median":     {"median"},
	"std":        {"deviation", "std", "stdev"},
	"quantile":   {"percentile", "quantile"},
	"correlate":  {"correlation", "correlate", "correlated", "relationship", "related", "relation", "associated", "association"},
	"distinct":   {"distinct", "different", "unique"},
	"missing":    {"missing", "null", "empty", "blank", "nan", "incomplete"},
	"share":      {"percentage", "percent", "share", "fraction", "proportion"},
	"histogram":  {"histogram", "distribution", "distributed", "spread"},
	"scatter":    {"scatter", "scatterplot"},
	"trend":      {"trend", "monthly", "yearly", "annual", "annually", "weekly", "daily", "quarterly", "evolve", "evolved", "develop", "developed"},
	"chart":      {"chart", "plot", "graph", "draw", "diagram", "visualize", "visualise", "visualization", "picture", "bar"},
	"count":      {"count", "number"},
	"mode":       {"common", "frequent", "frequently", "popular", "commonest", "often"},
	"duplicates": {"duplicate", "duplicates", "duplicated"},
	"range":      {"range"},
	"compare":    {"compare", "comparison", "difference", "differ", "versus", "vs"},
	"overview":   {"columns", "column", "fields", "variables", "overview", "summary", "summarize", "describe", "features", "contain", "contains"},
}

var (
	jobOf    = map[string]string{}
	periods  = map[string]string{"year": "Y", "yearly": "Y", "annual": "Y", "annually": "Y", "quarter": "Q", "quarterly": "Q", "month": "M", "monthly": "M", "week": "W", "weekly": "W", "day": "D", "daily": "D", "weekday": weekday}
	groupers = []string{"by", "per", "each", "every", "across", "within"}
	smallN   = map[string]int{"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "twenty": 20}
)

// jobNames are all words that ask for a job, in order.
var jobNames []string

func init() { //nolint:gochecknoinits // the table above, the other way round
	for job, stems := range jobs {
		for _, s := range stems {
			jobOf[s] = job
			jobOf[stem(s)] = job
			jobNames = append(jobNames, s)
		}
	}
	slices.Sort(jobNames)
}

func jobWord(q []word, at int) bool {
	_, is := jobOf[q[at].text]
	_, period := periods[q[at].stem]
	return is && len(alike[q[at].stem]) == 0 || period
}
