package fetchspend

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/internal/wire"
)

// A resting agent's call: what most calls are. Its server is asked nothing.
//
//	go test -run '^$' -bench RestingCall -cpuprofile cpu.prof ./fn/budget/fetchspend
func BenchmarkRestingCall(b *testing.B) {
	s := storeOf(b, map[string]string{
		"input pod=a": "10:00:30=5 .. 10:10:00=15 .. 15:00:00=15", "output pod=a": "10:00:30=5 .. 10:10:00=15 .. 15:00:00=15", "cached pod=a": "10:00:30=5 .. 10:10:00=15 .. 15:00:00=15",
		"input pod=b": "10:00:30=5 .. 10:10:00=15 .. 15:00:00=15", "output pod=b": "10:00:30=5 .. 10:10:00=15 .. 15:00:00=15", "cached pod=b": "10:00:30=5 .. 10:10:00=15 .. 15:00:00=15",
	})
	f := &fleet{agents: map[string]*store{"bot": s}, who: "bot"}
	f.now = when(b, "14:00:20")
	fn := NewWith(logging.NewNopLogger(), func() time.Time { return f.now }, func(query.Server) (query.Querier, error) { return f, nil })
	w := world{
		metadata: map[string]any{"name": "bot", "namespace": "agent-bot", "creationTimestamp": "2026-11-23T10:00:00Z"},
		spec:     map[string]any{"agentName": "bot", "budgetUsd": 10000.0},
		input:    map[string]any{"apiVersion": "fn.whisperops.io/v1alpha1", "kind": "FetchSpendInput", "prometheus": map[string]any{"url": "http://x", "timeout": "30s"}},
		table: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "whisperops-pricing", "namespace": "crossplane-system"},
			"data": map[string]any{"prices.yaml": `models: {m: {input: "0.30", output: "2.50", cachedInput: "0.03"}, gemini-2.5-pro: {input: "1.25", output: "10.00", cachedInput: "0.125"}}`},
		},
	}
	var status map[string]any
	answer := func(bytes []byte) *fnv1.RunFunctionResponse {
		req := &fnv1.RunFunctionRequest{}
		if err := wire.Unmarshal(bytes, req); err != nil {
			b.Fatal(err)
		}
		rsp, err := fn.Answer(context.Background(), req)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := proto.Marshal(rsp); err != nil {
			b.Fatal(err)
		}
		return rsp
	}
	for range 3 {
		rsp := answer(w.request(b, status))
		if err := wire.Decode(rsp); err != nil {
			b.Fatal(err)
		}
		v := rsp.GetContext().GetFields()[v1alpha1.ContextLedger]
		text, err := json.Marshal(v.AsInterface())
		if err != nil {
			b.Fatal(err)
		}
		var ledger map[string]any
		if err := json.Unmarshal(text, &ledger); err != nil {
			b.Fatal(err)
		}
		status = map[string]any{"ledger": ledger}
	}
	bytes, asked := w.request(b, status), len(f.asked)
	b.ReportAllocs()
	for b.Loop() {
		answer(bytes)
	}
	if n := len(f.asked) - asked; n > 1 {
		b.Fatalf("the server was asked %d times", n)
	}
}
