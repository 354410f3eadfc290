package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend"
	"whisperops.io/functions/test/crossplane"
)

// An agent is looked at again and again, as Crossplane does.
type agent struct {
	name   string
	born   time.Time
	ledger *structpb.Value // as written last; nil: never
}

var prices = map[string]any{
	"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "whisperops-pricing", "namespace": "crossplane-system"},
	"data": map[string]any{"prices.yaml": `models: {gemini-2.5-flash: {input: "0.30", output: "2.50", cachedInput: "0.03"}, gemini-2.5-pro: {input: "1.25", output: "10.00", cachedInput: "0.125"}}`},
}

// look measures the agent once.
func (a *agent) look(ctx context.Context, fn fnv1.FunctionRunnerServiceServer, prometheus string) (problem string, err error) {
	xr := map[string]any{
		"apiVersion": "whisperops.io/v1alpha1", "kind": "XAgentBudget",
		"metadata": map[string]any{"name": a.name, "namespace": "agent-" + a.name, "creationTimestamp": a.born.UTC().Format(time.RFC3339)},
		"spec":     map[string]any{"agentName": a.name, "budgetUsd": 10000.0},
	}
	if a.ledger != nil {
		xr["status"] = map[string]any{"ledger": a.ledger.AsInterface()}
	}
	observed, err := crossplane.Observed(xr, nil, nil)
	if err != nil {
		return "", err
	}
	table, err := structpb.NewStruct(prices)
	if err != nil {
		return "", err
	}
	in, err := structpb.NewStruct(inputOf(prometheus))
	if err != nil {
		return "", err
	}
	rsp, err := fn.RunFunction(ctx, &fnv1.RunFunctionRequest{
		Observed: observed, Input: in,
		RequiredResources: map[string]*fnv1.Resources{"pricing": {Items: []*fnv1.Resource{{Resource: table}}}},
	})
	if err != nil {
		return "", err
	}
	if m := crossplane.Fatal(rsp); m != "" {
		return "", errors.New(m)
	}
	fields := rsp.GetContext().GetFields()
	if l := fields[v1alpha1.ContextLedger]; l != nil {
		a.ledger = l
	}
	p := fields[v1alpha1.ContextSpendProblem].GetStructValue().GetFields()
	if p == nil && fields[v1alpha1.ContextSpendUSD].GetNumberValue() <= 0 {
		return "", errors.Errorf("agent %s spent nothing", a.name)
	}
	return p["reason"].GetStringValue(), nil
}

// inputOf is the step's input.
func inputOf(prometheus string) map[string]any {
	return map[string]any{
		"apiVersion": "fn.whisperops.io/v1alpha1", "kind": "FetchSpendInput", "prometheus": map[string]any{"url": prometheus, "timeout": "30s"},
	}
}

// A reading is what a measurement of one agent cost, look by look.
type reading struct {
	age          age
	ours, naives []cost
}

// flatness measures agents of all ages, and fails when age matters.
func flatness(ctx context.Context, s *server, p *population) error {
	t := newTap(s)
	defer t.Close()
	var all []reading
	for _, of := range ages {
		r, err := read(ctx, t, p, of)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	fmt.Printf("| One measurement, agent of 6 series | Samples read, mean | most | Query time, median | `sum(increase(x[age]))` of 3 metrics: samples | Query time, median |\n|---|---|---|---|---|---|\n")
	for _, r := range all {
		fmt.Printf("| %s old | %d | %d | %.2f ms | %d | %.2f ms |\n", r.age.words, mean(r.ours), most(r.ours), median(r.ours), mean(r.naives), median(r.naives))
	}
	fmt.Printf("\nMean of %d looks a minute apart (time: of evaluation, as the server says it).\n\n", looks)
	young := most(all[0].ours)
	for _, r := range all[1:] {
		if n := most(r.ours); n > young+young/10 {
			return errors.Errorf("a measurement reads %d samples of an agent that is %s old and %d of one that is an hour old: it is not flat", n, r.age.words, young)
		}
	}
	return nil
}

func read(ctx context.Context, t *tap, p *population, of age) (reading, error) {
	r := reading{age: of}
	a := &agent{name: of.agent()}
	a.born = p.born[a.name]
	var now time.Time
	fn := fetchspend.NewAt(logging.NewNopLogger(), func() time.Time { return now }, func() string { return t.URL })
	// Until the first look it is caught up with, as it would have been while it grew.
	now = p.first.Add(-time.Minute)
	for range 100 {
		problem, err := a.look(ctx, fn, t.URL)
		if err != nil {
			return r, err
		}
		if problem == "" {
			break
		}
		if problem != "CatchingUp" {
			return r, errors.Errorf("cannot measure %s: %s", a.name, problem)
		}
	}
	t.take()
	for i := range looks {
		now = p.first.Add(time.Duration(i) * time.Minute)
		if problem, err := a.look(ctx, fn, t.URL); err != nil || problem != "" {
			return r, errors.Errorf("cannot measure %s: %v %s", a.name, err, problem)
		}
		r.ours = append(r.ours, t.take())
		if i%6 > 0 {
			continue // ten are enough of what is always the same
		}
		for _, q := range naive(a.name, now.Sub(a.born)) {
			if _, err := t.ask(ctx, url.Values{"query": {q}, "time": {strconv.FormatInt(now.Unix(), 10)}}); err != nil {
				return r, err
			}
		}
		r.naives = append(r.naives, t.take())
	}
	return r, nil
}

// naive is what one would ask without a ledger.
func naive(agent string, age time.Duration) []string {
	var out []string
	for _, name := range counters {
		out = append(out, fmt.Sprintf("sum(increase(%s{agent_name=%q}[%ds]))", name, agent, int(age.Seconds())))
	}
	return out
}

func mean(all []cost) int {
	sum := 0
	for _, c := range all {
		sum += c.samples
	}
	return sum / len(all)
}

func most(all []cost) int {
	n := 0
	for _, c := range all {
		n = max(n, c.samples)
	}
	return n
}

// median of the time, in milliseconds.
func median(all []cost) float64 {
	var ts []float64
	for _, c := range all {
		ts = append(ts, c.seconds*1000)
	}
	slices.Sort(ts)
	return ts[len(ts)/2]
}
