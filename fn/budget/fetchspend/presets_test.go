package fetchspend

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/internal/pricing"
)

// Prices in which every class, context and tier can be told from the others.
const distinct = `
version: 2
models:
  gemini-3.5-flash:
    input: "1"
    cachedInput: "0.1"
    cacheWrite: "1.25"
    toolUse: "1.5"
    output: "10"
    thoughts: "8"
    longContext: {above: 200000, input: "2", output: "15"}
    tiers: {flex: "0.5"}
`

// Each preset reads the exposition of what it is for: of everything that is there it
// counts each token once, in its class. presets/ has them, with their source.
func TestPresets(t *testing.T) {
	for preset, tc := range map[string]struct {
		why  string
		want []string // of the bill
	}{
		"token-meter": {
			why: "Classes are disjoint. Parts of calls that ended otherwise count, too; long prompts and tiers have prices of their own; the three sums of old don't count again.",
			want: []string{
				"70000 input at 1 = 0.07", "5000 input flex at 0.5 = 0.0025", "300000 input long at 2 = 0.6", "40000 cachedInput at 0.1 = 0.004",
				"2000 cacheWrite at 1.25 = 0.0025", "700 toolUse at 1.5 = 0.00105", "9000 output at 10 = 0.09", "3000 thoughts at 8 = 0.024",
			},
		},
		"otel-genai": {
			why:  "A histogram's sum; by the model that answered, not by the one that was asked for. The conventions know input and output.",
			want: []string{"105000 input at 1 = 0.105", "9000 output at 10 = 0.09"},
		},
		"otel-genai-inference": {
			why: "Counters for each class, apart by modality, whose values may be the same; the parts are in the whole, and the histograms of single operations are no totals.",
			want: []string{
				"58000 input at 1 = 0.058", "40000 cachedInput at 0.1 = 0.004", "2000 cacheWrite at 1.25 = 0.0025", "6000 output at 10 = 0.06", "3000 thoughts at 8 = 0.024",
			},
		},
		"agentgateway": {
			why: "What was read from a cache, or written to it, is in the input, and reasoning in the output.",
			want: []string{
				"58000 input at 1 = 0.058", "40000 cachedInput at 0.1 = 0.004", "2000 cacheWrite at 1.25 = 0.0025", "6000 output at 10 = 0.06", "3000 thoughts at 8 = 0.024",
			},
		},
		"envoy-ai-gateway": {
			why: "As above; the total is what the others have counted.",
			want: []string{
				"58000 input at 1 = 0.058", "40000 cachedInput at 0.1 = 0.004", "2000 cacheWrite at 1.25 = 0.0025", "6000 output at 10 = 0.06", "3000 thoughts at 8 = 0.024",
			},
		},
		"litellm": {
			why: "A counter for each class, with those of the parts inside those of the whole; _created and the spend of LiteLLM's own are no tokens.",
			want: []string{
				"58000 input at 1 = 0.058", "40000 cachedInput at 0.1 = 0.004", "2000 cacheWrite at 1.25 = 0.0025", "6000 output at 10 = 0.06", "3000 thoughts at 8 = 0.024",
			},
		},
	} {
		t.Run(preset, func(t *testing.T) {
			in := &input.FetchSpendInput{}
			in.Default()
			in.Metrics = input.TokenMetrics{Preset: preset}
			file := filepath.Join("presets", preset+".prom")
			got, distrusted := billOf(t, in, file, nil)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want, +got:\n%s\n%s", diff, tc.why)
			}
			if len(distrusted) > 0 {
				t.Errorf("distrusted: %v", distrusted)
			}
			// A server that takes no regular expression on names answers the same.
			managed := &managed{t: t, refusal: `{"status":"error","errorType":"bad_data","error":"a matcher on __name__ must be an equality"}`}
			in.Prometheus.ExactNames = true
			if by, distrusted := billOf(t, in, file, managed); !slices.Equal(by, got) || len(distrusted) > 0 || managed.patterns() > 0 {
				t.Errorf("by exact names: %v, distrusted %v, asked %q", by, distrusted, managed.asked)
			}
		})
	}
}

// What an earlier version of an exporter calls its metric counts all the same: who updates a
// gateway must not lose sight of its agents, nor who doesn't.
func TestOlderNames(t *testing.T) {
	for name, p := range input.Presets() {
		text, err := os.ReadFile(filepath.Join("presets", name+".prom"))
		if err != nil {
			t.Fatal(err)
		}
		for _, older := range p.Older {
			in := &input.FetchSpendInput{}
			in.Default()
			in.Metrics = input.TokenMetrics{Preset: name}
			want, _ := billOf(t, in, filepath.Join("presets", name+".prom"), nil)
			file := filepath.Join(t.TempDir(), "older.prom")
			family := func(sum string) string { return strings.TrimSuffix(sum, "_sum") }
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), family(p.Metrics.Tokens), family(older))), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, distrusted := billOf(t, in, file, nil); !slices.Equal(got, want) || len(want) == 0 || len(distrusted) > 0 {
				t.Errorf("%s: %v (distrusted %v), and as it is called now %v", older, got, distrusted, want)
			}
		}
	}
}

// Every preset has an exposition, and stands in docs/metrics.md with its metric.
func TestPresetsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range input.Presets() {
		if _, err := os.Stat(filepath.Join("presets", name+".prom")); err != nil {
			t.Error(err)
		}
		row := "| `" + name + "` | `" + p.Metrics.Tokens + p.Metrics.Input + "`"
		if !strings.Contains(string(doc), row) {
			t.Errorf("docs/metrics.md has no row that begins with %s", row)
		}
	}
}

// billOf counts an exposition that was scraped once, from processes that began since; by
// way of a server, if one is given.
func billOf(t *testing.T, in *input.FetchSpendInput, file string, by *managed) (bill, distrusted []string) {
	t.Helper()
	settings, err := ReadSettings(in)
	if err != nil {
		t.Fatal(err)
	}
	table, err := pricing.Read(distinct)
	if err != nil {
		t.Fatal(err)
	}
	now := when(t, "10:00:00")
	s := &store{now: now, series: exposition(t, file, now.Add(-time.Minute), settings.Rules.Metrics)}
	var q query.Querier = s
	if by != nil {
		by.store = s
		srv := httptest.NewServer(by)
		defer srv.Close()
		if q, err = (&query.Connections{}).Connect(query.Server{URL: srv.URL, Timeout: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	o := Measure(t.Context(), q, Facts{
		Now: now, Settings: settings, Created: now.Add(-time.Hour), Prices: table,
		Budget: v1alpha1.XAgentBudgetSpec{AgentName: "housing-bot", BudgetUSD: 5, Period: v1alpha1.PeriodLifetime},
	})
	if o.Problem != nil {
		t.Fatalf("%s: %s", o.Problem.Reason, o.Problem.Message)
	}
	for _, l := range o.Measurement.Bill {
		what := []string{l.Tokens, string(l.Class), l.Context, l.Tier, "at", l.USDPerMillion, "=", l.USD}
		bill = append(bill, strings.Join(slices.DeleteFunc(what, func(s string) bool { return s == "" }), " "))
	}
	return bill, o.Measurement.Distrusted
}

// exposition reads a page of metrics as a scraper does, and of it what a query for the
// mapping's names and agent selects.
func exposition(t *testing.T, file string, at time.Time, m count.Mapping) []stored {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []stored
	for _, family := range families {
		samples, err := expfmt.ExtractSamples(&expfmt.DecodeOptions{Timestamp: model.TimeFromUnixNano(at.UnixNano())}, family)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			labels := map[string]string{"job": "scraped", "instance": "10.0.0.1:9090"}
			for k, v := range s.Metric {
				labels[string(k)] = string(v)
			}
			if _, ours := m.Names[labels["__name__"]]; !ours || labels[m.AgentLabel] != m.Agent("housing-bot") {
				continue
			}
			out = append(out, stored{labels: labels, samples: []arrival{{count.Sample{At: at.UnixMilli(), Value: float64(s.Value)}, at.UnixMilli()}}})
		}
	}
	return out
}
