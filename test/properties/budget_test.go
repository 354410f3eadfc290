package properties

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/decide"
	"whisperops.io/functions/fn/budget/fetchspend"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/pipeline"
)

var budgetParts = []string{v1alpha1.PartPlannerReplicas, v1alpha1.PartWorkerReplicas}

// meter is a Prometheus that answers the same to every question.
type meter struct {
	series []count.Series
	err    error
}

func (m meter) Query(context.Context, string, time.Time) (query.Answer, error) {
	return query.Answer{Series: m.series}, m.err
}

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// meters answer with samples, with nothing, with rubbish, or not at all.
func meters() *rapid.Generator[meter] {
	return rapid.Custom(func(t *rapid.T) meter {
		switch rapid.SampledFrom([]string{"samples", "samples", "empty", "down", "rubbish"}).Draw(t, "meter") {
		case "empty":
			return meter{}
		case "down":
			return meter{err: errors.New("connection refused")}
		case "rubbish":
			return meter{series: []count.Series{{
				Labels:  map[string]string{rapid.String().Draw(t, "label"): rapid.String().Draw(t, "value")},
				Samples: []count.Sample{{At: rapid.Int64().Draw(t, "at"), Value: rapid.Float64().Draw(t, "value")}},
			}}}
		}
		tokens := rapid.SampledFrom([]float64{0, 1, 1e5, 3e6, 1e12}).Draw(t, "tokens")
		return meter{series: []count.Series{{
			Labels: map[string]string{"__name__": "whisperops_tokens_output_total", "agent_name": "bot", "model": rapid.SampledFrom([]string{"gemini-2.5-pro", "unpriced"}).Draw(t, "model"), "pod": "p"},
			Samples: []count.Sample{
				{At: now.Add(-3 * time.Minute).UnixMilli(), Value: tokens / 2},
				{At: now.Add(-2 * time.Minute).UnixMilli(), Value: tokens},
			},
		}}}
	})
}

func budgetSteps(t interface{ Fatal(args ...any) }, m query.Querier, clock func() time.Time) []crossplane.Step {
	steps, err := pipeline.Budget(pipeline.All().
		With("function-budget-fetch-spend", fetchspend.NewWith(logging.NewNopLogger(), clock, func(query.Server) (query.Querier, error) { return m, nil })).
		With("function-budget-decide", decide.NewAt(logging.NewNopLogger(), clock)))
	if err != nil {
		t.Fatal(err)
	}
	return steps
}

func budgets() *rapid.Generator[map[string]any] {
	return rapid.Custom(func(t *rapid.T) map[string]any {
		return map[string]any{
			"apiVersion": "whisperops.io/v1alpha1", "kind": "XAgentBudget",
			"metadata": map[string]any{"name": "bot", "namespace": "agent-bot", "creationTimestamp": "2026-11-23T11:00:00Z"},
			"spec": map[string]any{
				"agentName":     "bot",
				"budgetUsd":     rapid.SampledFrom([]float64{0, 0.01, 5, 10000}).Draw(t, "budgetUsd"),
				"enforcement":   rapid.SampledFrom([]string{"enabled", "enabled", "monitor-only"}).Draw(t, "enforcement"),
				"period":        rapid.SampledFrom([]string{"lifetime", "daily", "weekly", "monthly"}).Draw(t, "period"),
				"pricingRef":    map[string]any{"name": "whisperops-pricing", "namespace": "crossplane-system"},
				"warnAtPercent": []any{80.0},
			},
		}
	})
}

func pricing(t *rapid.T) []map[string]any {
	table := "models:\n  gemini-2.5-pro: {input: \"1.25\", output: \"10.00\", cachedInput: \"0.31\"}\n"
	switch rapid.SampledFrom([]string{"good", "good", "missing", "broken"}).Draw(t, "pricing") {
	case "missing":
		return nil
	case "broken":
		table = rapid.String().Draw(t, "table")
	}
	return []map[string]any{{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "whisperops-pricing", "namespace": "crossplane-system"},
		"data": map[string]any{"prices.yaml": table},
	}}
}

// Whatever the meter, the price table, the status, the observed Objects and a
// broken station say: the budget's two Objects are rendered again, or the run is
// fatal.
func TestNoReplicasObjectIsEverDropped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps, xr := budgetSteps(t, meters().Draw(t, "meter"), at(now)), budgets().Draw(t, "budget")
		prices := pricing(t)
		first := run(t, steps, &fnv1.State{Composite: &fnv1.Resource{Resource: mustStruct(xr)}}, prices)
		if first.Fatal != "" {
			t.Fatal("a legal budget is fatal: ", first.Fatal)
		}
		parts := observedParts(t, first.Desired.GetResources())
		switch rapid.SampledFrom([]string{"kept", "lost", "junk", "mutated"}).Draw(t, "status") {
		case "kept":
			xr["status"] = status(first)
		case "junk":
			xr["status"] = junk(3).Draw(t, "status")
		case "mutated":
			xr["status"] = status(first)
			mutate(t, xr)
		}
		if rapid.Bool().Draw(t, "sabotage") {
			steps = slices.Insert(steps, rapid.IntRange(0, len(steps)).Draw(t, "at"), crossplane.Step{Name: "saboteur", Function: saboteurs().Draw(t, "saboteur")})
		}
		r := run(t, steps, &fnv1.State{Composite: &fnv1.Resource{Resource: mustStruct(xr)}, Resources: parts}, prices)
		if r.Fatal != "" {
			return
		}
		if l := lost(parts, r.Desired.GetResources(), budgetParts); len(l) > 0 {
			t.Fatalf("the run would delete %v", l)
		}
	})
}

// Ten passes over a world where nothing is spent and nothing changes, one every few
// minutes: after the first, the bytes are the same. Nothing moves, nothing is
// written.
func TestQuietBudgetsWriteNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := now
		steps := budgetSteps(t, meters().Draw(t, "meter"), func() time.Time { return clock })
		xr, prices := budgets().Draw(t, "budget"), pricing(t)
		observed := &fnv1.State{Resources: map[string]*fnv1.Resource{}}
		var seen []string
		for range 10 {
			observed.Composite = &fnv1.Resource{Resource: mustStruct(xr)}
			r := run(t, steps, observed, prices)
			if r.Fatal != "" {
				t.Fatal(r.Fatal)
			}
			seen = append(seen, bytesOf(&crossplane.Result{Desired: r.Desired, Conditions: r.Conditions, Results: r.Results}))
			xr["status"] = status(r)
			for name, d := range r.Desired.GetResources() {
				observed.Resources[name] = live(name, d, "True")
			}
			clock = clock.Add(time.Duration(rapid.IntRange(10, 300).Draw(t, "next look")) * time.Second)
		}
		// The second pass may still see the Objects appear, and say the events of
		// the first no more.
		for i := 3; i < len(seen); i++ {
			if seen[i] != seen[2] {
				t.Fatalf("pass %d differs from pass 3: %s", i+1, fmt.Sprint(len(seen[i]), " and ", len(seen[2]), " bytes"))
			}
		}
	})
}

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

// maxStatus is what a status may take of an object, in bytes: etcd takes 1.5 MiB,
// but every write of it is kept, sent to all who watch, and decoded by them.
const maxStatus = 36 << 10

// Whatever 256 live series are called, count and do, the status has an end.
func TestStatusHasAnEnd(t *testing.T) {
	var crowds []crowd
	for _, name := range []string{strings.Repeat("a", 150), strings.Repeat("<", 150), strings.Repeat(`"é\`, 40)} {
		for _, models := range []int{1, 3, 40} {
			for _, odd := range []crowd{{}, {resets: true}, {broken: true}, {resets: true, broken: true}} {
				crowds = append(crowds, crowd{models: models, name: name, resets: odd.resets, broken: odd.broken})
			}
		}
	}
	prices := []map[string]any{{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "whisperops-pricing", "namespace": "crossplane-system"},
		"data": map[string]any{"prices.yaml": `models: {other: {input: "1.25", output: "10.00"}}`},
	}}
	largest := 0
	for _, m := range crowds {
		xr := map[string]any{
			"apiVersion": "whisperops.io/v1alpha1", "kind": "XAgentBudget",
			"metadata": map[string]any{"name": "bot", "namespace": "agent-bot", "creationTimestamp": "2026-11-23T10:00:00Z"},
			"spec":     map[string]any{"agentName": "bot", "budgetUsd": 10000.0},
		}
		r := run(t, budgetSteps(t, m, at(now)), &fnv1.State{Composite: &fnv1.Resource{Resource: mustStruct(xr)}}, prices)
		if r.Fatal != "" {
			t.Fatal(r.Fatal)
		}
		s := status(r)
		var conditions []any
		for _, c := range r.Conditions {
			conditions = append(conditions, map[string]any{"type": c.GetType(), "status": "Unknown", "reason": c.GetReason(), "message": c.GetMessage(), "lastTransitionTime": "2026-11-23T10:00:00Z"})
		}
		s["conditions"] = conditions
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(b))
		cursors, _ := s["ledger"].(map[string]any)["cursors"].([]any)
		honest := !m.resets && m.models < 40
		if len(b) >= maxStatus || honest && len(cursors) != 256 || len(cursors) < 64 {
			t.Errorf("%d bytes of status with %d cursors: %+v", len(b), len(cursors), m)
		}
	}
	t.Logf("the largest status has %d bytes", largest)
}

// crowd is a Prometheus with 256 series of one agent.
type crowd struct {
	models         int
	name           string // of a model, and of a pod
	broken, resets bool
}

func (c crowd) Query(_ context.Context, promQL string, at time.Time) (query.Answer, error) {
	var a query.Answer
	if strings.HasPrefix(promQL, "last_over_time(") {
		return a, nil // nothing is older than the budget
	}
	for i := range 256 {
		s := count.Series{Labels: map[string]string{
			"__name__": []string{"whisperops_tokens_input_total", "whisperops_tokens_output_total", "whisperops_tokens_cached_input_total"}[i%3], "agent_name": "bot",
			"model": fmt.Sprintf("%.80s-%d", c.name, i%c.models), "pod": fmt.Sprint(c.name, i),
		}}
		for k := range 60 {
			v := float64(1<<52 + k)
			if c.resets && k%2 > 0 {
				v -= 1 << 51
			}
			s.Samples = append(s.Samples, count.Sample{At: now.Add(time.Duration(k-220)*30*time.Second + time.Duration(i)*time.Millisecond).UnixMilli(), Value: v})
		}
		if c.broken {
			s.Samples = append(s.Samples, count.Sample{At: at.UnixMilli(), Value: -1})
		}
		a.Series = append(a.Series, s)
	}
	return a, nil
}
