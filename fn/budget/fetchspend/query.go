package fetchspend

import (
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
)

// A Querier answers one instant query: a range selector with raw samples, an
// instant vector with one sample for each series. It answers in full or fails.
type Querier interface {
	Query(ctx context.Context, promQL string, at time.Time) (Answer, error)
}

// An Answer is what a server said, all of it.
type Answer struct {
	Series []Series

	// Date is the server's clock. Zero: it did not say.
	Date time.Time
}

// A Problem is an error that says why spend could not be measured, in words that
// don't change from look to look. What an error that isn't one says is not shown.
type Problem v1alpha1.SpendProblem //nolint:errname // as the context key spend_problem, which it becomes

func (p Problem) Error() string { return p.Reason + ": " + p.Message }

// samplesQuery selects the raw samples of all token counters of an agent.
func samplesQuery(s Settings, agent string, span time.Duration) string {
	names := s.metricNames()
	return "{" + matchAny("__name__", names) + "," + s.AgentLabel + "=" + quote(agent) + "}" + span2(span)
}

// pastQuery asks for the last value of counters in the day before. Its selector
// may match others too: it names, label by label, the values that any of them
// has. New pods have new names, so that it commonly matches nothing and is cheap.
func pastQuery(s Settings, agent string, counters []counter) string {
	matchers := []string{s.AgentLabel + "=" + quote(agent)}
	for _, l := range sortedKeys(counters[0].labels) {
		if l == s.AgentLabel {
			continue
		}
		values, size := map[string]bool{}, 0
		for _, c := range counters {
			v, ok := c.labels[l]
			if !ok {
				size = maxMatcher + 1 // not a label of all of them
				break
			}
			if !values[v] {
				values[v] = true
				size += len(v)
			}
		}
		if size > maxMatcher {
			if l == "__name__" {
				matchers = append(matchers, matchAny(l, s.metricNames()))
			}
			continue
		}
		matchers = append(matchers, matchAny(l, sortedKeys(values)))
	}
	return "last_over_time({" + strings.Join(matchers, ",") + "}" + span2(lookback) + ")"
}

// maxMatcher bounds one matcher of a query, in bytes.
const maxMatcher = 8 << 10

func matchAny(label string, values []string) string {
	if !labelName.MatchString(label) {
		label = quote(label) // Prometheus 3 takes any UTF-8
	}
	if len(values) == 1 {
		return label + "=" + quote(values[0])
	}
	alternatives := make([]string, 0, len(values))
	for _, v := range values {
		alternatives = append(alternatives, regexp.QuoteMeta(v))
	}
	return label + "=~" + quote(strings.Join(slices.Compact(alternatives), "|"))
}

func span2(d time.Duration) string {
	return "[" + strconv.FormatInt(int64(d/time.Second), 10) + "s]"
}

// quote writes a string as PromQL and Go both read it.
func quote(s string) string { return strconv.Quote(s) }
