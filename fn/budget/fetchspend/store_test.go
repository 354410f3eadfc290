package fetchspend

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/internal/pricing"
)

// A store is as much of a Prometheus as fetch-spend asks for: the raw samples of a
// range, or the last one in it. Every series matches.
type store struct {
	now     time.Time // what came in later isn't there yet
	series  []stored
	failure error

	asked []string
}

// stored is a series in a store.
type stored struct {
	labels  map[string]string
	samples []arrival
}

// An arrival is a sample, and when it came in.
type arrival struct {
	count.Sample

	came int64
}

var selectorRange = regexp.MustCompile(`\[([0-9]+)s\]`)

func (s *store) Query(_ context.Context, promQL string, at time.Time) (query.Answer, error) {
	s.asked = append(s.asked, promQL)
	if s.failure != nil {
		return query.Answer{}, s.failure
	}
	seconds, err := strconv.Atoi(selectorRange.FindStringSubmatch(promQL)[1])
	if err != nil {
		return query.Answer{}, err
	}
	from := at.Add(-time.Duration(seconds) * time.Second)
	var out []count.Series
	still, changes := strings.Contains(promQL, "changes("), 0
	for _, sr := range s.series {
		found := count.Series{Labels: sr.labels}
		for _, a := range sr.samples {
			if a.came <= s.now.UnixMilli() && a.At > from.UnixMilli() && a.At <= at.UnixMilli() {
				found.Samples = append(found.Samples, a.Sample)
			}
		}
		for i := range found.Samples {
			if i > 0 && found.Samples[i].Value != found.Samples[i-1].Value {
				changes++
			}
		}
		switch {
		case len(found.Samples) == 0, strings.Contains(promQL, count.StartMetric) != (sr.labels["__name__"] == count.StartMetric):
			continue
		case strings.HasPrefix(promQL, "last_over_time("):
			found.Samples = []count.Sample{{At: at.UnixMilli(), Value: found.Samples[len(found.Samples)-1].Value}}
		}
		out = append(out, found)
	}
	if still {
		out = append(out, count.Series{Labels: map[string]string{}, Samples: []count.Sample{{At: at.UnixMilli(), Value: float64(changes)}}})
	}
	return query.Answer{Series: out}, nil
}

// when reads a time of 23 November 2026, "10:00:20", or of another day of that
// month, "24T10:00:20".
func when(t testing.TB, clock string) time.Time {
	t.Helper()
	day, rest, other := strings.Cut(clock, "T")
	if !other {
		day, rest = "23", clock
	}
	at, err := time.Parse(time.RFC3339, "2026-11-"+day+"T"+rest+"Z")
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// samples reads "10:00:00=5 10:00:30=7": values by time. "10:00:00=5@10:20:00" came
// in at 10:20, the others at once. "10:00:00=5 .. 10:10:00=25" has one every 30
// seconds that adds as much as the others.
func samples(t testing.TB, text string) []arrival {
	t.Helper()
	var out []arrival
	fields := strings.Fields(text)
	for i, f := range fields {
		if f == ".." {
			continue
		}
		clock, value, _ := strings.Cut(f, "=")
		value, came, late := strings.Cut(value, "@")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatal(err)
		}
		at := when(t, clock)
		if i > 0 && fields[i-1] == ".." {
			from := out[len(out)-1]
			steps := int64(at.Sub(time.UnixMilli(from.At)) / (30 * time.Second))
			for k := range steps - 1 {
				between := from.At + (k+1)*30_000
				out = append(out, arrival{count.Sample{At: between, Value: from.Value + (v-from.Value)/float64(steps)*float64(k+1)}, between})
			}
		}
		a := arrival{count.Sample{At: at.UnixMilli(), Value: v}, at.UnixMilli()}
		if late {
			a.came = when(t, came).UnixMilli()
		}
		out = append(out, a)
	}
	return out
}

// series names one by what its labels say beside the agent: "output pod=a
// model=gemini" is of the counter of output tokens.
func series(t testing.TB, name, text string) stored {
	t.Helper()
	words := strings.Fields(name)
	labels := map[string]string{
		"__name__":   map[string]string{"input": "whisperops_tokens_input_total", "output": "whisperops_tokens_output_total", "cached": "whisperops_tokens_cached_input_total", "start": count.StartMetric}[words[0]],
		"agent_name": "bot",
		"model":      "m",
	}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		labels[k] = v
	}
	return stored{labels: labels, samples: samples(t, text)}
}

func storeOf(t testing.TB, all map[string]string) *store {
	t.Helper()
	s := &store{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		s.series = append(s.series, series(t, name, all[name]))
	}
	return s
}

// forget drops what is older than a time, as retention does.
func (s *store) forget(before time.Time) {
	for i := range s.series {
		s.series[i].samples = slices.DeleteFunc(slices.Clone(s.series[i].samples), func(a arrival) bool { return a.At < before.UnixMilli() })
	}
}

func defaults(t testing.TB) Settings {
	t.Helper()
	s, err := ReadSettings(&input.FetchSpendInput{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pennies price every token of model m at one picodollar, so that what was spent
// is a number of tokens.
var pennies = table(`models: {m: {input: "0.000001", output: "0.000001", unchecked: true}}`)

func table(text string) *pricing.Table {
	t, err := pricing.Read(text)
	if err != nil || len(t.Flaws) > 0 {
		panic(fmt.Sprint(err, t))
	}
	return t
}

// facts of a budget that was made at ten, of 1,000,000 tokens of pennies.
func facts(t testing.TB, now string, l *v1alpha1.Ledger) Facts {
	t.Helper()
	return Facts{
		Now: when(t, now), Settings: defaults(t), Created: when(t, "10:00:00"), Ledger: l, Prices: pennies,
		Budget: v1alpha1.XAgentBudgetSpec{AgentName: "bot", BudgetUSD: 0.000001, Period: v1alpha1.PeriodLifetime},
	}
}

// tokens that an outcome counted; -1 when it could not.
func tokens(o Outcome) int64 {
	if o.Spent == nil {
		return -1
	}
	return int64(*o.Spent)
}

func reason(o Outcome) string {
	if o.Problem == nil {
		return ""
	}
	return o.Problem.Reason
}

// dated answers with nothing but its clock.
type dated struct{ at time.Time }

func (d dated) Query(context.Context, string, time.Time) (query.Answer, error) {
	return query.Answer{Date: d.at}, nil
}
