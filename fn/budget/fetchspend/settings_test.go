package fetchspend

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/price"
	"whisperops.io/functions/internal/money"
)

func TestReadSettings(t *testing.T) {
	d := func(d time.Duration) *metav1.Duration { return &metav1.Duration{Duration: d} }
	apart := false
	cases := map[string]struct {
		reason string
		in     func(*input.FetchSpendInput)
		want   func(*Settings)
		err    string
	}{
		"Nothing": {
			reason: "Everything has a default that works.",
			in:     func(*input.FetchSpendInput) {},
			want:   func(*Settings) {},
		},
		"Defaulted": {
			reason: "What the function's edge fills in is what an absent field means.",
			in:     func(in *input.FetchSpendInput) { in.Default() },
			want:   func(*Settings) {},
		},
		"All": {
			reason: "A platform team says otherwise.",
			in: func(in *input.FetchSpendInput) {
				in.Prometheus = input.Prometheus{URL: "http://mimir/prometheus", Tenant: "acme", Timeout: d(time.Second)}
				in.Metrics = input.TokenMetrics{Input: "a", Output: "b", CachedInput: "c", AgentLabel: "agent", ModelLabel: "llm"}
				in.ReplicaLabels, in.InputContainsCached, in.MaxResetsPerHour = []string{"z", "b"}, &apart, 7
				in.Grid, in.IngestDelay, in.SettleAfter, in.Heartbeat = d(time.Second), d(0), d(2*time.Minute), d(time.Minute)
				in.MinLook, in.MaxLook = d(time.Second), d(time.Hour)
			},
			want: func(s *Settings) {
				*s = Settings{
					URL: "http://mimir/prometheus", Tenant: "acme", Timeout: time.Second,
					Rules: count.Rules{
						Metrics: count.Mapping{
							Names:      map[string]v1alpha1.TokenClass{"a": v1alpha1.TokenInput, "b": v1alpha1.TokenOutput, "c": v1alpha1.TokenCachedInput},
							AgentLabel: "agent", NamespaceLabel: "namespace", ModelLabels: []string{"llm"}, ReplicaLabels: []string{"b", "z"},
						},
						MaxResets: 7, Grid: time.Second, SettleAfter: 2 * time.Minute, Heartbeat: time.Minute,
					},
					MinLook: time.Second, MaxLook: time.Hour, Namespaces: []string{},
				}
			},
		},
		"NoReplicaLabels": {
			reason: "An empty list is a statement: nothing is merged.",
			in:     func(in *input.FetchSpendInput) { in.ReplicaLabels = []string{} },
			want:   func(s *Settings) { s.Rules.Metrics.ReplicaLabels = nil },
		},
		"SameMetricTwice": {
			reason: "Its tokens would be counted twice.",
			in:     func(in *input.FetchSpendInput) { in.Metrics.Input, in.Metrics.Output = "tokens", "tokens" },
			err:    `metrics: input and metrics.output are both "tokens"`,
		},
		"SameMetricOfTheConventions": {
			reason: "OpenTelemetry's one metric was named for each class: its label tells them apart, and no token counts twice.",
			in: func(in *input.FetchSpendInput) {
				in.Metrics.Input, in.Metrics.Output, in.Metrics.CachedInput = "gen_ai.client.token.usage_sum", "gen_ai.client.token.usage_sum", "none_total"
			},
			want: func(s *Settings) {
				m, err := input.TokenMetrics{Tokens: "gen_ai.client.token.usage_sum", ClassLabel: "gen_ai.token.type"}.Resolve(true)
				if err != nil {
					t.Fatal(err)
				}
				s.Rules.Metrics.Names = map[string]v1alpha1.TokenClass{"gen_ai.client.token.usage_sum": "", "none_total": ""}
				s.Rules.Metrics.ClassLabel, s.Rules.Metrics.Classes = "gen_ai.token.type", m.Classes
				s.Rules.Metrics.PartLabels, s.Contained = m.PartLabels, price.Contained{InInput: m.InInput, InOutput: m.InOutput}
			},
		},
		"SameMetricWithoutDots": {
			reason: "As above, where a server writes names as Prometheus had to before its version 3: of its labels, too.",
			in: func(in *input.FetchSpendInput) {
				in.Metrics.Input, in.Metrics.Output, in.Metrics.CachedInput = "gen_ai_client_token_usage_sum", "gen_ai_client_token_usage_sum", "none_total"
			},
			want: func(s *Settings) {
				m, err := input.TokenMetrics{Tokens: "gen_ai_client_token_usage_sum", ClassLabel: "gen_ai_token_type"}.Resolve(true)
				if err != nil {
					t.Fatal(err)
				}
				s.Rules.Metrics.Names = map[string]v1alpha1.TokenClass{"gen_ai_client_token_usage_sum": "", "none_total": ""}
				s.Rules.Metrics.ClassLabel, s.Rules.Metrics.Classes = "gen_ai_token_type", m.Classes
				s.Rules.Metrics.PartLabels, s.Contained = m.PartLabels, price.Contained{InInput: m.InInput, InOutput: m.InOutput}
			},
		},
		"Bucket": {reason: "A bucket counts requests, and each holds those before it.", in: func(in *input.FetchSpendInput) { in.Metrics.Input = "llm_tokens_bucket" }, err: `input "llm_tokens_bucket" counts requests: the tokens of a histogram are in llm_tokens_sum`},
		"Count": {reason: "As above.", in: func(in *input.FetchSpendInput) {
			in.Metrics = input.TokenMetrics{Preset: "otel-genai", Tokens: "gen_ai_client_token_usage_count"}
		}, err: "the tokens of a histogram are in gen_ai_client_token_usage_sum"},
		"NoMetricName":     {reason: "It would end the selector.", in: func(in *input.FetchSpendInput) { in.Metrics.Output = `x"} or vector(1)` }, err: "is no metric name"},
		"NoLabelName":      {reason: "As above.", in: func(in *input.FetchSpendInput) { in.Metrics.AgentLabel = `a="",b` }, err: `agentLabel "a=\"\",b" must be a name`},
		"NoReplicaLabel":   {reason: "As above.", in: func(in *input.FetchSpendInput) { in.ReplicaLabels = []string{"a-b"} }, err: `"a-b" is no label name`},
		"GridBelowSecond":  {reason: "Status shows whole seconds.", in: func(in *input.FetchSpendInput) { in.Grid = d(100 * time.Millisecond) }, err: "grid 100ms must be whole seconds"},
		"GridBroken":       {reason: "As above.", in: func(in *input.FetchSpendInput) { in.Grid = d(1500 * time.Millisecond) }, err: "grid 1.5s must be whole seconds"},
		"GridZero":         {reason: "Nothing is divided by it.", in: func(in *input.FetchSpendInput) { in.Grid = d(0) }, err: "grid 0s must be whole seconds"},
		"GridTooLong":      {reason: "An agent would overspend for a step.", in: func(in *input.FetchSpendInput) { in.Grid = d(11 * time.Minute) }, err: "grid 11m0s must be at most 10m"},
		"DelayNegative":    {reason: "It would see the future.", in: func(in *input.FetchSpendInput) { in.IngestDelay = d(-1) }, err: "ingestDelay -1ns must not be negative"},
		"SettleTooEarly":   {reason: "Late samples would be lost.", in: func(in *input.FetchSpendInput) { in.SettleAfter = d(time.Minute) }, err: "settleAfter 1m0s must be from 2m to 24h"},
		"SettleTooLate":    {reason: "Every look reads so much.", in: func(in *input.FetchSpendInput) { in.SettleAfter = d(25 * time.Hour) }, err: "settleAfter 25h0m0s must be from 2m to 24h"},
		"SettleWithinGrid": {reason: "A twin's silence would be settled before it is noticed.", in: func(in *input.FetchSpendInput) { in.Grid, in.SettleAfter = d(time.Minute), d(3*time.Minute) }, err: "at least four steps of the grid"},
		"NoHeartbeat":      {reason: "The range would grow for ever.", in: func(in *input.FetchSpendInput) { in.Heartbeat = d(0) }, err: "heartbeat 0s must be from 1m to 24h"},
		"LookTooOften":     {reason: "A reconcile takes longer.", in: func(in *input.FetchSpendInput) { in.MinLook = d(time.Millisecond) }, err: "minLook 1ms must be at least 1s"},
		"BoundsCrossed":    {reason: "Nothing lies between them.", in: func(in *input.FetchSpendInput) { in.MinLook, in.MaxLook = d(time.Minute), d(time.Second) }, err: "maxLook 1s must not be shorter than minLook 1m0s"},
		"ResetsNegative":   {reason: "Nobody means the default by it.", in: func(in *input.FetchSpendInput) { in.MaxResetsPerHour = -1 }, err: "maxResetsPerHour -1 must be at least 1"},
		"ModelIsReplica":   {reason: "The models of an agent would be one counter, that counts as far as the furthest of them.", in: func(in *input.FetchSpendInput) { in.ReplicaLabels = []string{"model"} }, err: `replicaLabels must not hold "model"`},
		"AgentIsReplica":   {reason: "Every series of an agent has it: it tells nothing apart.", in: func(in *input.FetchSpendInput) { in.ReplicaLabels = []string{"agent_name"} }, err: `replicaLabels must not hold "agent_name"`},
		"NameIsReplica":    {reason: "Input and output would be one counter, of no class: a ledger that can't be written.", in: func(in *input.FetchSpendInput) { in.ReplicaLabels = []string{"__name__"} }, err: `replicaLabels must not hold "__name__"`},
		"NoTimeout":        {reason: "A query would fail before it is asked.", in: func(in *input.FetchSpendInput) { in.Prometheus.Timeout = d(0) }, err: "prometheus.timeout 0s must be more than 0"},
		"TimeoutTooLong":   {reason: "A whole reconcile has two minutes.", in: func(in *input.FetchSpendInput) { in.Prometheus.Timeout = d(2 * time.Minute) }, err: "at most 1m"},
	}
	usual := Settings{
		URL: "http://prometheus-operated.monitoring.svc:9090", Timeout: 10 * time.Second,
		Rules: count.Rules{
			Metrics: count.Mapping{
				Names: map[string]v1alpha1.TokenClass{
					"whisperops_tokens_input_total": v1alpha1.TokenInput, "whisperops_tokens_output_total": v1alpha1.TokenOutput,
					"whisperops_tokens_cached_input_total": v1alpha1.TokenCachedInput,
				},
				AgentLabel: "agent_name", NamespaceLabel: "namespace", ModelLabels: []string{"model"}, ReplicaLabels: []string{"__replica__", "prometheus_replica"},
			},
			Grid: 30 * time.Second, SettleAfter: time.Hour, Heartbeat: time.Hour, MaxResets: 20, CachedInInput: true,
		},
		Contained: price.Contained{InInput: []v1alpha1.TokenClass{v1alpha1.TokenCachedInput}}, IngestDelay: 15 * time.Second,
		MinLook: 10 * time.Second, MaxLook: 5 * time.Minute, Namespaces: []string{},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			in := &input.FetchSpendInput{}
			tc.in(in)
			got, err := ReadSettings(in)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want one that says %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := usual
			tc.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What makes other series of the same tokens changes the mapping; what says how
// they are priced or how often they are read does not, or every change of it
// would count anew.
func TestMapping(t *testing.T) {
	base := defaults(t)
	cases := map[string]struct {
		reason string
		change func(*Settings)
		other  bool
	}{
		"URL":           {"Another server may store other labels.", func(s *Settings) { s.URL += "x" }, true},
		"Tenant":        {"As above.", func(s *Settings) { s.Tenant = "acme" }, true},
		"AgentLabel":    {"Other series match.", func(s *Settings) { s.Rules.Metrics.AgentLabel = "agent" }, true},
		"ModelLabel":    {"The same tokens have another model.", func(s *Settings) { s.Rules.Metrics.ModelLabels = []string{"llm"} }, true},
		"ReplicaLabels": {"Other series are twins.", func(s *Settings) { s.Rules.Metrics.ReplicaLabels = []string{"replica"} }, true},
		"Metrics":       {"Other counters.", func(s *Settings) { s.Rules.Metrics.Names = map[string]v1alpha1.TokenClass{"x": v1alpha1.TokenInput} }, true},
		"Cached":        {"A setting that was wrong re-prices what was counted.", func(s *Settings) { s.Contained = price.Contained{} }, false},
		"Looks":         {"How often it is looked says nothing about samples.", func(s *Settings) { s.MinLook, s.MaxLook = time.Minute, time.Hour }, false},
		"MaxResets":     {"It says what is trusted from now on.", func(s *Settings) { s.Rules.MaxResets = 5 }, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			s := base
			tc.change(&s)
			if other := s.Mapping("bot") != base.Mapping("bot"); other != tc.other {
				t.Errorf("another mapping: %v, want %v", other, tc.other)
			}
		})
	}
	if base.Mapping("bot") == base.Mapping("another") {
		t.Error("two agents have one mapping")
	}
}

func TestNextLook(t *testing.T) {
	const hour = 3_600_000_000_000 // picodollars per hour that are one USD per second
	cases := map[string]struct {
		reason string
		budget float64
		mode   v1alpha1.Enforcement
		spent  float64
		burn   int64 // picodollars per hour
		min    time.Duration
		max    time.Duration
		want   time.Duration
	}{
		"Idle":         {reason: "Nothing is at risk.", budget: 5, want: 5 * time.Minute},
		"Slow":         {reason: "Five dollars at a cent a second last longer than any look.", budget: 5000, burn: hour * 1000 / 100_000, want: 5 * time.Minute},
		"Quarter":      {reason: "A quarter of the time in which the rest is gone: 400 s.", budget: 5, spent: 1, burn: hour * 10, want: 100 * time.Second},
		"NearTheCap":   {reason: "Never oftener than MinLook.", budget: 5, spent: 4.9, burn: hour * 10, want: 10 * time.Second},
		"LongGrid":     {reason: "Bounds are inputs.", budget: 5, spent: 4.9, burn: hour * 10, min: 20 * time.Second, want: 20 * time.Second},
		"ShortMaximum": {reason: "As above.", budget: 5, burn: 1, max: time.Minute, want: time.Minute},
		"Exhausted":    {reason: "It is stopped: there is nothing left to be saved.", budget: 5, spent: 5, burn: hour * 10, want: time.Minute},
		"Overspent":    {reason: "As above.", budget: 5, spent: 7, burn: hour * 10, want: time.Minute},
		"MonitorOnly":  {reason: "Nobody is cut, so nobody has to be cut in time.", budget: 5, mode: v1alpha1.EnforcementMonitorOnly, spent: 4.9, burn: hour * 10, want: time.Minute},
		"Absurd":       {reason: "No time overflows.", budget: 10_000, burn: 1, want: 5 * time.Minute},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			s := defaults(t)
			if tc.min > 0 {
				s.MinLook = tc.min
			}
			if tc.max > 0 {
				s.MaxLook = tc.max
			}
			b := v1alpha1.XAgentBudgetSpec{BudgetUSD: tc.budget, Enforcement: tc.mode}
			spent, _ := money.Of(tc.spent)
			if got := nextLook(b, s, spent, money.USD(tc.burn)); got != tc.want {
				t.Errorf("looks again in %s, want %s", got, tc.want)
			}
		})
	}
}
