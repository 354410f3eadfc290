// Package query asks a server that speaks Prometheus' query API. It is the only
// place of all functions that talks to a network.
package query

import (
	"cmp"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
)

// A Querier answers one instant query: a range selector with raw samples, an
// instant vector with one sample for each series. It answers in full or fails.
type Querier interface {
	Query(ctx context.Context, promQL string, at time.Time) (Answer, error)
}

// An Answer is what a server said, all of it.
type Answer struct {
	Series []count.Series

	// Date is the server's clock. Zero: it did not say.
	Date time.Time
}

// A Problem is an error that says why spend could not be measured, in words that
// don't change from look to look. What an error that isn't one says is not shown.
type Problem v1alpha1.SpendProblem //nolint:errname // as the context key spend_problem, which it becomes

func (p Problem) Error() string { return p.Reason + ": " + p.Message }

// Samples selects the raw samples of all token counters of an agent. Exact: one
// query for each metric, for servers that take no regular expression on names.
func Samples(m count.Mapping, agent string, span time.Duration, exact bool) []string {
	var out []string
	for _, names := range split(m.MetricNames(), exact) {
		out = append(out, counters(m, []string{agent}, names)+within(span))
	}
	return out
}

// Still asks for the last value that each token counter of an agent had in a span of
// time up to one, and beside them, without any label, how often one of them changed in
// it. An answer without samples: where a counter stands still, that is all there is to
// know of it. The time is part of the query, because VictoriaMetrics moves that of a query
// that isn't for raw samples into the past.
func Still(m count.Mapping, agent string, span time.Duration, at time.Time, exact bool) []string {
	when := within(span) + " @ " + strconv.FormatInt(at.Unix(), 10)
	var out []string
	for _, names := range split(m.MetricNames(), exact) {
		var changes []string
		for _, n := range names { // one by one: changes() drops the name, in which alone they may differ
			changes = append(changes, "(sum(changes("+counters(m, []string{agent}, []string{n})+when+")) or vector(0))")
		}
		out = append(out, "last_over_time("+counters(m, []string{agent}, names)+when+") or ("+strings.Join(changes, " + ")+")")
	}
	return out
}

// Rest asks for one number of each of some agents that has token counters in a span of
// time up to one: the sum of their last values, and one more for each of them; or, if any of
// them changed in it, a negative number. Beside them, without any label, a zero ends the
// answer. Each name is asked by itself, and exactly, because changes() and arithmetic drop it.
func Rest(m count.Mapping, agents []string, span time.Duration, at time.Time) string {
	when := within(span) + " @ " + strconv.FormatInt(at.Unix(), 10)
	by := "sum by (" + label(m.AgentLabel) + ") ("
	var moved, sums []string
	for i, n := range m.MetricNames() {
		all := counters(m, agents, []string{n}) + when
		moved = append(moved, by+"changes("+all+") > 0)")
		// What differs in its name alone must differ in something else.
		sums = append(sums, "label_replace("+by+"last_over_time("+all+") + 1), \"nth\", \""+strconv.Itoa(i)+"\", \"\", \"\")")
	}
	return "0 - (" + strings.Join(moved, " or ") + ") or " + by + strings.Join(sums, " or ") + ") or vector(0)"
}

// RestFits says whether Rest of agents whose names have so many bytes is no longer than a
// server takes.
func RestFits(m count.Mapping, bytes int) bool {
	few := len(Rest(m, []string{""}, 0, time.Time{}))
	return few+bytes*2*len(m.Names) <= maxQuery
}

// counters select the token counters of agents that have some names.
func counters(m count.Mapping, agents, names []string) string {
	return selector(append([]string{matchAny("__name__", names)}, agentMatchers(m, agents...)...))
}

// split is what one query asks for: all names, or each by itself.
func split(names []string, exact bool) [][]string {
	if !exact {
		return [][]string{names}
	}
	return slices.Collect(slices.Chunk(names, 1))
}

// agentMatchers select agents' counters, and of those only what is counted.
func agentMatchers(m count.Mapping, agents ...string) []string {
	values := make([]string, 0, len(agents))
	for _, a := range agents {
		values = append(values, m.Agent(a))
	}
	out := []string{matchAny(m.AgentLabel, values)}
	if m.ClassLabel == "" {
		return out
	}
	// Sums of other classes are most of what some exporters have. What is called
	// otherwise is asked for all the same, to be named.
	var none []string
	for value, class := range m.Classes {
		if class == count.ClassOfNone {
			none = append(none, value)
		}
	}
	slices.Sort(none)
	switch len(none) {
	case 0:
	case 1:
		out = append(out, label(m.ClassLabel)+"!="+quote(none[0]))
	default:
		out = append(out, label(m.ClassLabel)+"!~"+quote(alternatives(none)))
	}
	return out
}

// Past asks for the last values that counters had in the day before. Its selector
// may match others too: it names the processes, or where nothing names a process
// label by label the values that any of them has. New pods have new names, so that
// it commonly matches nothing and is cheap.
func Past(m count.Mapping, agent string, counters []count.Counter, exact bool) []string {
	var out []string
	for _, names := range split(m.MetricNames(), exact) {
		var of []count.Counter
		for _, c := range counters {
			if slices.Contains(names, c.Labels["__name__"]) {
				of = append(of, c)
			}
		}
		if len(of) == 0 {
			continue
		}
		matchers := append(agentMatchers(m, agent), nameMatcher(of))
		matchers = append(matchers, processMatchers(m, of)...)
		out = append(out, "last_over_time("+selector(matchers)+within(count.Lookback)+")")
	}
	return out
}

func nameMatcher(cs []count.Counter) string {
	names := map[string]bool{}
	for _, c := range cs {
		names[c.Labels["__name__"]] = true
	}
	return matchAny("__name__", sortedKeys(names))
}

// processMatchers narrow a query down to the processes of some counters, as far as
// that is short.
func processMatchers(m count.Mapping, cs []count.Counter) []string {
	size := 0
	labels := sortedKeys(cs[0].Labels)
	if l := count.ProcessLabel(cs[0].Labels); l != "" && !slices.ContainsFunc(cs, func(c count.Counter) bool { return count.ProcessLabel(c.Labels) != l }) {
		labels = []string{l}
	}
	var out []string
	for _, l := range labels {
		if l == m.AgentLabel || l == "__name__" {
			continue
		}
		values := map[string]bool{}
		for _, c := range cs {
			v, ok := c.Labels[l]
			if !ok {
				values = nil // not a label of all of them
				break
			}
			values[v] = true
		}
		if len(values) == 0 {
			continue
		}
		matcher := matchAny(l, sortedKeys(values))
		if size+len(matcher) > maxMatchers {
			continue
		}
		size += len(matcher)
		out = append(out, matcher)
	}
	return out
}

// Last asks for the last value that a metric of an agent had within a span of time.
func Last(metric string, m count.Mapping, agent string, span time.Duration) string {
	return "last_over_time(" + selector([]string{matchAny("__name__", []string{metric}), label(m.AgentLabel) + "=" + quote(m.Agent(agent))}) + within(span) + ")"
}

// Beats asks which of some agents had a metric within a span of time: a row for each that
// had.
func Beats(metric string, m count.Mapping, agents []string, span time.Duration) string {
	values := make([]string, 0, len(agents))
	for _, a := range agents {
		values = append(values, m.Agent(a))
	}
	return "count by (" + label(m.AgentLabel) + ") (last_over_time(" + selector([]string{matchAny("__name__", []string{metric}), matchAny(m.AgentLabel, values)}) + within(span) + "))"
}

// Starts asks when the processes of some counters started, in a span of time.
func Starts(m count.Mapping, counters []count.Counter, span time.Duration, exact bool) []string {
	labels := map[string][]count.Counter{}
	for _, c := range counters {
		l := count.ProcessLabel(c.Labels)
		labels[l] = append(labels[l], c)
	}
	var out []string
	for _, l := range sortedKeys(labels) {
		names := map[string]bool{count.StartMetric: true}
		for _, c := range labels[l] {
			names[count.CreatedMetric(c.Labels["__name__"])] = true
		}
		delete(names, "")
		process := processMatchers(m, labels[l])
		if len(process) == 0 {
			continue
		}
		for _, n := range split(sortedKeys(names), exact) {
			out = append(out, selector(append([]string{matchAny("__name__", n)}, process...))+within(span))
		}
	}
	return out
}

// VictoriaMetrics takes queries of at most 16 KiB. maxMatchers bounds what narrows one
// down.
const (
	maxQuery    = 15 << 10
	maxMatchers = 12 << 10
)

func selector(matchers []string) string { return "{" + strings.Join(matchers, ",") + "}" }

// plainLabel is a label's name as PromQL knows it without quotes.
var plainLabel = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// label writes a label's name. Prometheus 3 takes any UTF-8 in quotes.
func label(name string) string {
	if plainLabel.MatchString(name) {
		return name
	}
	return quote(name)
}

func matchAny(name string, values []string) string {
	if len(values) == 1 {
		return label(name) + "=" + quote(values[0])
	}
	return label(name) + "=~" + quote(alternatives(values))
}

func alternatives(values []string) string {
	out := make([]string, 0, len(values))
	for _, v := range values {
		out = append(out, regexp.QuoteMeta(v))
	}
	return strings.Join(slices.Compact(out), "|")
}

func within(d time.Duration) string {
	return "[" + strconv.FormatInt(int64(d/time.Second), 10) + "s]"
}

// quote writes a string as PromQL and Go both read it.
func quote(s string) string { return strconv.Quote(s) }

func sortedKeys[V any](m map[string]V) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	slices.SortFunc(ks, cmp.Compare)
	return ks
}
