package properties

import (
	"context"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"

	"whisperops.io/functions/fn/budget/decide"
	"whisperops.io/functions/fn/budget/fetchspend"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/pipeline"
)

// A spender is an agent that uses 2,000 output tokens every half minute while its
// Deployments are up: 0.02 USD. It gets a new pod each hour, and its counters are
// stored for three.
type spender struct {
	now    time.Time
	tokens float64
	stored []podSample
	down   bool
}

type podSample struct {
	count.Sample

	pod string
}

const tokenUSD = 10.0 / 1e6

func (s *spender) work(until time.Time, up bool) {
	for s.now.Before(until) {
		s.now = s.now.Add(30 * time.Second)
		if up {
			s.tokens += 2000
			p := podSample{count.Sample{At: s.now.UnixMilli(), Value: 2000}, "pod-" + strconv.Itoa(s.now.Hour())}
			if n := len(s.stored); n > 0 && s.stored[n-1].pod == p.pod {
				p.Value += s.stored[n-1].Value
			}
			s.stored = append(s.stored, p)
		}
	}
}

var ranged = regexp.MustCompile(`\[([0-9]+)s\]`)

func (s *spender) Query(_ context.Context, promQL string, at time.Time) (query.Answer, error) {
	if s.down {
		return query.Answer{}, query.Problem{Reason: "PrometheusUnreachable", Message: "The server refuses connections"}
	}
	seconds, err := strconv.Atoi(ranged.FindStringSubmatch(promQL)[1])
	if err != nil {
		return query.Answer{}, errors.Wrap(err, "cannot read the query's range")
	}
	from := max(at.Add(-time.Duration(seconds)*time.Second).UnixMilli(), s.now.Add(-3*time.Hour).UnixMilli())
	a := query.Answer{Date: s.now}
	for _, p := range s.stored {
		if p.At <= from || p.At > at.UnixMilli() {
			continue
		}
		if n := len(a.Series); n == 0 || a.Series[n-1].Labels["pod"] != p.pod {
			a.Series = append(a.Series, count.Series{Labels: map[string]string{"__name__": "whisperops_tokens_output_total", "agent_name": "bot", "model": "m", "pod": p.pod}})
		}
		last := &a.Series[len(a.Series)-1]
		if strings.HasPrefix(promQL, "last_over_time(") {
			last.Samples = nil
			p.At = at.UnixMilli()
		}
		last.Samples = append(last.Samples, p.Sample)
	}
	return a, nil
}

// cluster is what Crossplane and provider-kubernetes keep of a budget between two
// reconciles.
type cluster struct {
	status   map[string]any
	objects  map[string]*fnv1.Resource
	replicas map[string]float64 // of the two Deployments, by the part that scales them
}

func (c *cluster) up() bool {
	for _, part := range budgetParts {
		if c.replicas[part] == 0 {
			return false
		}
	}
	return true
}

func (c *cluster) observed(usd float64) *fnv1.State {
	xr := map[string]any{
		"apiVersion": "whisperops.io/v1alpha1", "kind": "XAgentBudget",
		"metadata": map[string]any{"name": "bot", "namespace": "agent-bot", "creationTimestamp": "2026-11-23T08:00:00Z"},
		"spec":     map[string]any{"agentName": "bot", "budgetUsd": usd},
	}
	if c.status != nil {
		xr["status"] = c.status
	}
	return &fnv1.State{Composite: &fnv1.Resource{Resource: mustStruct(xr)}, Resources: c.objects}
}

// apply applies the two Objects, and has them do what they are for.
func (c *cluster) apply(desired map[string]*fnv1.Resource) {
	c.objects = map[string]*fnv1.Resource{}
	for _, part := range budgetParts {
		o := desired[part].GetResource().AsMap()
		manifest := wrapped(o)
		spec, _ := o["spec"].(map[string]any)
		policies, _ := spec["managementPolicies"].([]any)
		wants, _ := manifest["spec"].(map[string]any)["replicas"].(float64)
		if slices.Contains(policies, any("Update")) {
			c.replicas[part] = wants
		}
		o["status"] = map[string]any{
			"atProvider": map[string]any{"manifest": map[string]any{"spec": map[string]any{"replicas": c.replicas[part]}}},
			"conditions": []any{map[string]any{"type": "Synced", "status": "True"}, map[string]any{"type": "Ready", "status": "True"}},
		}
		c.objects[part] = &fnv1.Resource{Resource: mustStruct(o)}
	}
}

// TestWhatAFailureLeaves runs the real Composition every five minutes from eight to
// one, with the functions, a Prometheus that keeps three hours, a status and two
// Deployments. In each row something fails from one time to another. An agent that
// has spent its dollar by half past eight stays paused, and one that will have spent
// 12 of 20 dollars runs on; in both the figure in status is never another than what
// was used.
func TestWhatAFailureLeaves(t *testing.T) {
	exhausted, running := 1.0, 20.0
	cases := map[string]struct {
		reason   string
		budget   float64
		from, to string
		fails    map[string]string // what fails, and from when if later
	}{
		"ExhaustedInAnOutage": {
			reason: "A meter that fails pardons nobody.",
			budget: exhausted, from: "09:00:00", to: "12:00:00", fails: map[string]string{"metrics": ""},
		},
		"RunningInAnOutage": {
			reason: "A meter that fails punishes nobody.",
			budget: running, from: "11:00:00", to: "12:00:00", fails: map[string]string{"metrics": ""},
		},
		"ExhaustedWhenFunctionsRestart": {
			reason: "Functions remember nothing: what was counted is in status, long after Prometheus has forgotten it.",
			budget: exhausted, from: "09:00:00", to: "13:00:00", fails: map[string]string{"functions": ""},
		},
		"RunningWhenFunctionsRestart": {
			reason: "As above; and it is counted on from there.",
			budget: running, from: "09:00:00", to: "13:00:00", fails: map[string]string{"functions": ""},
		},
		"ExhaustedWhenWritesAreLost": {
			reason: "The write that said it is paused never came, and then nothing can be measured: the Objects, which are written first, know.",
			budget: exhausted, from: "08:20:00", to: "09:30:00", fails: map[string]string{"writes": "", "metrics": "08:40:00"},
		},
		"RunningWhenWritesAreLost": {
			reason: "An older ledger, met with the same samples, becomes the same: nothing counts twice, or it would be cut.",
			budget: running, from: "11:00:00", to: "12:30:00", fails: map[string]string{"writes": ""},
		},
		"ExhaustedWithoutPrices": {
			reason: "A price table that is lost pardons nobody.",
			budget: exhausted, from: "09:00:00", to: "12:00:00", fails: map[string]string{"prices": ""},
		},
		"RunningWithoutPrices": {
			reason: "The last prices that could be read go on: a table that is lost makes nobody's tokens free.",
			budget: running, from: "09:00:00", to: "12:00:00", fails: map[string]string{"prices": ""},
		},
	}
	clock := func(text string) time.Time {
		at, err := time.Parse(time.RFC3339, "2026-11-23T"+text+"Z")
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	table := []map[string]any{{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "whisperops-pricing", "namespace": "crossplane-system"},
		"data": map[string]any{"prices.yaml": `models: {m: {input: "1.00", output: "10.00"}}`},
	}}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			agent := &spender{now: clock("08:00:00")}
			c := &cluster{replicas: map[string]float64{budgetParts[0]: 1, budgetParts[1]: 1}}
			fails := func(what string) bool {
				from, ok := tc.fails[what]
				return ok && !agent.now.Before(clock(tc.from)) && agent.now.Before(clock(tc.to)) && (from == "" || !agent.now.Before(clock(from)))
			}
			steps := spenderSteps(t, agent)
			for agent.now.Before(clock("13:00:00")) {
				agent.work(agent.now.Add(5*time.Minute), c.up())
				if fails("functions") {
					steps = spenderSteps(t, agent)
				}
				prices := table
				if fails("prices") {
					prices = nil
				}
				agent.down = fails("metrics")
				r := run(t, steps, c.observed(tc.budget), prices)
				if r.Fatal != "" {
					t.Fatalf("%s: %s", agent.now.Format(time.TimeOnly), r.Fatal)
				}
				c.apply(r.Desired.GetResources())
				checkPass(t, agent, c, status(r), tc.budget, agent.down)
				if !fails("writes") {
					c.status = status(r)
				}
			}
		})
	}
}

// checkPass compares what a pass came to with what the agent used.
func checkPass(t *testing.T, agent *spender, c *cluster, status map[string]any, budget float64, blind bool) {
	t.Helper()
	now := agent.now.Format(time.TimeOnly)
	used := agent.tokens * tokenUSD
	if out := used >= budget; c.up() == out || status["paused"] != out {
		t.Fatalf("%s: %.2f of %.0f USD are used, paused is %v and the Deployments have %v", now, used, budget, status["paused"], c.replicas)
	}
	spent, measured := status["spentUsd"].(float64)
	if blind && status["spentUsd"] != c.status["spentUsd"] {
		t.Fatalf("%s: without a measurement %v USD become %v", now, c.status["spentUsd"], status["spentUsd"])
	}
	if !blind && (!measured || math.Abs(spent-used) > 1e-9) {
		t.Fatalf("%s: status says that %v USD are spent, %.4f were used", now, status["spentUsd"], used)
	}
}

func spenderSteps(t *testing.T, agent *spender) []crossplane.Step {
	t.Helper()
	clock := func() time.Time { return agent.now.Add(20 * time.Second) }
	log := logging.NewNopLogger()
	steps, err := pipeline.Budget(pipeline.All().
		With("function-budget-fetch-spend", fetchspend.NewWith(log, clock, func(query.Server) (query.Querier, error) { return agent, nil })).
		With("function-budget-decide", decide.NewAt(log, clock)))
	if err != nil {
		t.Fatal(err)
	}
	return steps
}
