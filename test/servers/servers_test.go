package servers

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/internal/money"
	"whisperops.io/functions/internal/pricing"
	"whisperops.io/functions/test/process"
)

var (
	prometheusBinary = flag.String("prometheus", "", "path of a prometheus binary")
	newerBinary      = flag.String("newer-prometheus", "", "path of a prometheus binary of a later version; may be empty")
	victoriaBinary   = flag.String("victoriametrics", "", "path of a victoria-metrics binary")
)

// prices in which each class can be told from the others.
const prices = `models: {model-a: {input: "1.25", cachedInput: "0.125", output: "10"}}`

// usd is what a life's tokens cost.
func (l *life) usd() money.USD {
	return money.USD(1_250_000).Times(l.used["input"]).Plus(money.USD(125_000).Times(l.used["cachedInput"])).Plus(money.USD(10_000_000).Times(l.used["output"]))
}

// A budget looks at one agent through one server.
type budget struct {
	querier query.Querier
	facts   fetchspend.Facts
}

// newBudget returns one that was made at a time. over is the rest of its input.
func newBudget(t *testing.T, s *server, agent string, created time.Time, over map[string]any) *budget {
	t.Helper()
	in := &input.FetchSpendInput{}
	in.Default()
	raw, err := json.Marshal(over)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, in); err != nil {
		t.Fatal(err)
	}
	in.Prometheus.URL = s.url
	settings, err := fetchspend.ReadSettings(in)
	if err != nil {
		t.Fatal(err)
	}
	table, err := pricing.Read(prices)
	if err != nil {
		t.Fatal(err)
	}
	q, err := (&query.Connections{}).Connect(query.Server{URL: s.url, Tenant: s.tenant, Timeout: settings.Timeout})
	if err != nil {
		t.Fatal(err)
	}
	return &budget{querier: q, facts: fetchspend.Facts{
		Settings: settings, Created: created, Prices: table,
		Budget:  v1alpha1.XAgentBudgetSpec{AgentName: agent, BudgetUSD: 1000, Period: v1alpha1.PeriodLifetime},
		Resting: &fetchspend.Resting{}, Server: s.url,
	}}
}

// look looks at a time, and remembers as a status does.
func (b *budget) look(t *testing.T, at time.Time) fetchspend.Outcome {
	t.Helper()
	b.facts.Now = at
	o := fetchspend.Measure(t.Context(), b.querier, b.facts)
	if o.Ledger != nil {
		b.facts.Ledger = o.Ledger
	}
	if len(o.Measurement.Bill) > 0 {
		b.facts.Bill = o.Measurement.Bill
	}
	return o
}

// asked counts the queries of a budget for samples, those whether it moved, and those
// whether any of many did.
type asked struct {
	query.Querier

	samples, still, many int
}

func (a *asked) Query(ctx context.Context, promQL string, at time.Time) (query.Answer, error) {
	switch {
	case strings.HasPrefix(promQL, "0 - ("):
		a.many++
	case strings.Contains(promQL, "changes("):
		a.still++
	default:
		a.samples++
	}
	return a.Querier.Query(ctx, promQL, at)
}

func needServers(t *testing.T) {
	t.Helper()
	if *prometheusBinary == "" || *victoriaBinary == "" {
		t.Skip("needs a Prometheus and a VictoriaMetrics: make test-servers")
	}
}

// exactNames is what Google's managed Prometheus needs.
func exactNames(metrics map[string]any) map[string]any {
	return map[string]any{"metrics": metrics, "prometheus": map[string]any{"exactNames": true}}
}

func TestSameFigure(t *testing.T) {
	needServers(t)
	servers := []*server{usual(t), startVictoriaMetrics(t)}
	if *newerBinary != "" {
		servers = append(servers, startPrometheus(t, "the newer Prometheus", *newerBinary))
	}
	sameFigure(t, servers...)
}

// usual is the Prometheus of make check.
func usual(t *testing.T) *server {
	t.Helper()
	return startPrometheus(t, "Prometheus", *prometheusBinary)
}

// sameFigure lets all lives be looked at through some servers.
func sameFigure(t *testing.T, servers ...*server) {
	t.Helper()
	from := time.Now().Add(-hours - time.Minute).Truncate(time.Minute)
	all := lives(from)
	for _, s := range servers {
		var written []series
		for _, l := range all {
			written = append(written, l.series...)
		}
		s.store(t, written)
	}
	for _, agent := range slices.Sorted(maps.Keys(all)) {
		t.Run(agent, func(t *testing.T) { all[agent].seen(t, agent, from, servers) })
	}
}

// seen looks at one life through all servers at once, and compares at every look.
func (l *life) seen(t *testing.T, agent string, from time.Time, servers []*server) {
	t.Helper()
	ways := map[string]*budget{}
	for _, s := range servers {
		ways[s.name] = newBudget(t, s, agent, from, map[string]any{"metrics": l.metrics})
		ways[s.name+" by exact names"] = newBudget(t, s, agent, from, exactNames(l.metrics))
	}
	for _, b := range ways {
		if l.rests {
			b.querier = &asked{Querier: b.querier}
		}
	}
	var last string
	for at := from.Add(2 * time.Minute); !at.After(from.Add(hours)); at = at.Add(4 * time.Minute) {
		figures := map[string][]string{}
		for _, name := range slices.Sorted(maps.Keys(ways)) {
			o := ways[name].look(t, at)
			if o.Problem != nil {
				t.Fatalf("%s at %s: %s: %s\n%s", name, at.Sub(from), o.Problem.Reason, o.Problem.Message, l.why)
			}
			if *o.Spent > l.usd() {
				t.Fatalf("%s at %s: %s USD were counted, and only %s used\n%s", name, at.Sub(from), o.Spent, l.usd(), l.why)
			}
			if l.least == 0 && len(o.Measurement.Distrusted) > 0 {
				t.Fatalf("%s at %s: distrusts %s\n%s", name, at.Sub(from), strings.Join(o.Measurement.Distrusted, "; "), l.why)
			}
			if silent := o.Measurement.Flaw != nil; !l.quiet.IsZero() && at.Sub(l.quiet).Abs() > 5*time.Minute && silent != at.After(l.quiet) {
				t.Fatalf("%s at %s: the meter is silent: %t; it is since %s\n%s", name, at.Sub(from), silent, l.quiet.Sub(from), l.why)
			}
			last = fmt.Sprintf("%s USD, in doubt %g", o.Spent, o.Measurement.DoubtfulUSD)
			figures[last] = append(figures[last], name)
		}
		if len(figures) > 1 {
			t.Fatalf("at %s they disagree: %v\n%s", at.Sub(from), figures, l.why)
		}
	}
	for name, b := range ways {
		if a, ok := b.querier.(*asked); ok {
			// Who was found at rest is asked about with others, until more is settled. A server that
			// shows late what was just written (VictoriaMetrics, up to ten seconds) is asked
			// about the agent alone meanwhile: 8 times of 21 were seen.
			if t.Logf("%s was asked %d times for samples, %d times whether the agent moved, and %d times whether any did", name, a.samples, a.still, a.many); a.many < 5 {
				t.Error("that is no rest")
			}
		}
	}
	counted, err := money.Parse(strings.Fields(last)[0])
	if err != nil {
		t.Fatal(err)
	}
	if least := l.usd().Scaled(int64(l.least), 100); l.least > 0 && counted < least || l.least == 0 && counted != l.usd() {
		t.Errorf("%s; %s USD were used\n%s", last, l.usd(), l.why)
	}
	t.Logf("%s; used %s USD", last, l.usd())
}

// A new series is shown by VictoriaMetrics up to ten seconds after it was written, if
// somebody asked before. The usual ingestDelay is longer: both say the same at every
// look, and nothing is lost.
func TestNewSeriesShownLate(t *testing.T) {
	needServers(t)
	servers := []*server{usual(t), startVictoriaMetrics(t)}
	created := time.Now().Add(-5 * time.Minute)
	l := &life{}
	p := l.pod("late", "worker-0")
	var budgets []*budget
	for _, s := range servers {
		b := newBudget(t, s, "late", created, map[string]any{"grid": "1s"})
		if o := b.look(t, time.Now()); o.Problem != nil || *o.Spent != 0 {
			t.Fatalf("%s: before anything was used: %v", s.name, o)
		}
		budgets = append(budgets, b)
	}
	l.uses(1000, 0, 100)
	p.input, p.output = 1000, 100
	p.scrape(time.Now())
	for _, s := range servers {
		if err := s.call(t.Context(), s.write, snappy(writeRequest(l.series))); err != nil {
			t.Fatal(err)
		}
	}
	process.Until(t, "both to count it", func() error {
		now := time.Now()
		var figures []money.USD
		for i, b := range budgets {
			o := b.look(t, now)
			if o.Problem != nil {
				t.Fatalf("%s: %s: %s", servers[i].name, o.Problem.Reason, o.Problem.Message)
			}
			figures = append(figures, *o.Spent)
		}
		if figures[0] != figures[1] {
			t.Fatalf("%s after the sample: Prometheus %s, VictoriaMetrics %s USD", now.Sub(time.UnixMilli(l.series[0].samples[0].at)), figures[0], figures[1])
		}
		if figures[0] != l.usd() {
			return fmt.Errorf("counted %s of %s USD", figures[0], l.usd())
		}
		return nil
	})
}

// What VictoriaMetrics refuses is named rightly and in the same words at every look,
// whether it notices before it answers or in the middle of it.
func TestVictoriaMetricsLimits(t *testing.T) {
	needServers(t)
	from := time.Now().Add(-2 * time.Hour).Truncate(time.Minute)
	few, many := crowded(from, 60, 100, 100), crowded(from, 60, 1500, 3000)
	for _, tc := range []struct {
		flag   string
		why    string
		series []series
		want   string
	}{
		{"-search.maxSamplesPerQuery=1000", "It is noticed before the answer (F3).", few, v1alpha1.ReasonTooManySamples},
		{"-search.maxSamplesPerSeries=50", "Each series is too long (F3).", few, v1alpha1.ReasonTooManySamples},
		{"-search.maxExportSeries=10", "Samples are read as an export is.", few, v1alpha1.ReasonTooManySamples},
		{"-search.maxSamplesPerSeries=2000", "One of many is too long: the answer has often begun, and has status 200 (F7).", many, v1alpha1.ReasonTooManySamples},
		{"-search.maxUniqueTimeseries=10", "It bounds other queries, so that all is counted.", few, "counted 0.07425"},
	} {
		t.Run(tc.flag, func(t *testing.T) {
			s := startVictoriaMetrics(t, tc.flag)
			s.store(t, tc.series)
			b := newBudget(t, s, "many", from, nil)
			said := map[string]int{}
			for range 20 {
				o := b.look(t, from.Add(time.Hour))
				if o.Spent != nil {
					said["counted "+o.Spent.String()]++
					continue
				}
				said[o.Problem.Reason+": "+o.Problem.Message]++
			}
			for what := range said {
				if reason, _, _ := strings.Cut(what, ": "); reason != tc.want {
					t.Errorf("20 looks, want %s: %v\n%s", tc.want, said, tc.why)
				}
			}
			if len(said) != 1 {
				t.Errorf("20 looks have %d words for it: %v\n%s", len(said), said, tc.why)
			}
		})
	}
}

// crowded are series of as many pods, with so many samples in their first 50 minutes,
// and one of the last pod with more.
func crowded(from time.Time, pods, samples, last int) []series {
	var out []series
	for i := range pods {
		s := series{labels: map[string]string{"__name__": "whisperops_tokens_input_total", "agent_name": "many", "model": "model-a", "pod": fmt.Sprintf("worker-%d", i)}}
		if i == pods-1 {
			samples = last
		}
		for k := range samples {
			s.samples = append(s.samples, sample{from.UnixMilli() + int64(50*60_000*(k+1)/samples), float64(990 * (k + 1) / samples)})
		}
		out = append(out, s)
	}
	return out
}
