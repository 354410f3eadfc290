package prometheus

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/process"
)

// A Function is a function's own program, called over gRPC.
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer
	*process.Process

	client fnv1.FunctionRunnerServiceClient
}

func startFunction(t *testing.T, binary, name string) *Function {
	t.Helper()
	address := process.FreeAddress(t)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the process behind it is gone by then
	return &Function{
		Process: process.Run(t, name, binary, "--insecure", "--address", address, "--metrics-address", ""),
		client:  fnv1.NewFunctionRunnerServiceClient(conn),
	}
}

// RunFunction calls the program; one that is just starting is waited for.
func (f *Function) RunFunction(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	return f.client.RunFunction(ctx, req, grpc.WaitForReady(true))
}

// A Budget is an XAgentBudget, and what Crossplane does about it: it runs the two
// steps that measure and decide, and writes status. One write in three is lost,
// and one look in four starts from a status up to three versions old.
type Budget struct {
	Name    string
	USD     float64
	Created time.Time
	Input   map[string]any   // of fetch-spend
	Prices  []map[string]any // the cluster's price tables
	Faults  *rand.Rand       // nil: none

	fetch, decide fnv1.FunctionRunnerServiceServer
	written       []map[string]any // statuses, the newest last
	Lost, Stale   int
	Looks         int
}

// A Look is what came out of one pass.
type Look struct {
	Spent    *float64 // what was measured; nil: it was not
	Problem  string   // reason
	Measured string   // reason of SpendMeasured
	Pause    bool
	Status   string // as JSON
	Events   []string
}

// Status is the newest status that was written.
func (b *Budget) Status() map[string]any {
	if len(b.written) == 0 {
		return nil
	}
	return b.written[len(b.written)-1]
}

// Look runs the pipeline once.
func (b *Budget) Look(ctx context.Context) (Look, error) {
	b.Looks++
	xr := map[string]any{
		"apiVersion": "whisperops.io/v1alpha1", "kind": "XAgentBudget",
		"metadata": map[string]any{
			"name": b.Name, "namespace": "agent-" + b.Name, "creationTimestamp": b.Created.UTC().Format(time.RFC3339),
		},
		"spec": map[string]any{"agentName": b.Name, "budgetUsd": b.USD},
	}
	if n := len(b.written); n > 0 {
		i := n - 1
		if b.Faults != nil && b.Faults.IntN(4) == 0 {
			i = max(0, i-b.Faults.IntN(4))
			if i < n-1 {
				b.Stale++
			}
		}
		xr["status"] = b.written[i]
	}
	observed, err := crossplane.Observed(xr, nil, nil)
	if err != nil {
		return Look{}, err
	}
	res, err := crossplane.Run(ctx, []crossplane.Step{
		{Name: "fetch-spend", Function: b.fetch, Input: b.Input},
		{Name: "decide", Function: b.decide},
	}, observed, b.Prices, nil)
	if err != nil {
		return Look{}, err
	}
	if res.Fatal != "" {
		return Look{}, fmt.Errorf("fatal: %s", res.Fatal)
	}
	return b.read(res)
}

func (b *Budget) read(res *crossplane.Result) (Look, error) {
	status, _ := res.Desired.GetComposite().GetResource().AsMap()["status"].(map[string]any)
	ctx := res.Context.AsMap()
	l := Look{}
	l.Pause, _ = ctx["should_pause"].(bool)
	if usd, ok := ctx["spend_usd"].(float64); ok {
		l.Spent = &usd
	}
	if p, ok := ctx["spend_problem"].(map[string]any); ok {
		l.Problem, _ = p["reason"].(string)
	}
	var conditions []any
	for _, c := range res.Conditions {
		if c.GetType() == "SpendMeasured" {
			l.Measured = c.GetReason()
		}
		conditions = append(conditions, map[string]any{
			"type": c.GetType(), "status": map[fnv1.Status]string{fnv1.Status_STATUS_CONDITION_TRUE: "True", fnv1.Status_STATUS_CONDITION_FALSE: "False"}[c.GetStatus()],
			"reason": c.GetReason(), "message": c.GetMessage(),
		})
	}
	status["conditions"] = conditions
	text, err := json.Marshal(status)
	if err != nil {
		return l, err
	}
	l.Status = string(text)
	for _, r := range res.Results {
		l.Events = append(l.Events, r.GetReason())
	}
	if b.Faults != nil && b.Faults.IntN(3) == 0 {
		b.Lost++
		return l, nil
	}
	b.written = append(b.written, status)
	return l, nil
}
