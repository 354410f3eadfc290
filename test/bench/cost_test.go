package main

import (
	"context"
	"path/filepath"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"

	"whisperops.io/functions/internal/wire"
	"whisperops.io/functions/test/pipeline"
)

// mostAllocations is what a call may allocate beside a server that decodes the same request
// and encodes the same response, and does nothing: without network, clock or machine.
var mostAllocations = map[string]float64{
	"validate-dataset": 0.2, // seen: 0.16
	"compute-tuning":   0.1,
	"render-iam":       0.2,
	"render-workloads": 0.25,
	"render-dashboard": 0.1,
	"emit-budget":      0.1,
}

type answerer interface {
	Answer(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error)
}

// answer is what a station's server does with the bytes of a request.
func answer(tb testing.TB, c *call, b []byte) []byte {
	tb.Helper()
	req := &fnv1.RunFunctionRequest{}
	if err := wire.Unmarshal(b, req); err != nil {
		tb.Fatal(err)
	}
	rsp, err := c.fn.(answerer).Answer(context.Background(), req)
	if err != nil {
		tb.Fatal(err)
	}
	out, err := proto.Marshal(rsp)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func recorded(tb testing.TB) []*call {
	tb.Helper()
	calls, err := record(filepath.Join(pipeline.Root(), "examples", "agent-everything-ready"))
	if err != nil {
		tb.Fatal(err)
	}
	return calls
}

func TestAllocations(t *testing.T) {
	for _, c := range recorded(t) {
		b, err := proto.Marshal(c.req)
		if err != nil {
			t.Fatal(err)
		}
		ours := testing.AllocsPerRun(20, func() { answer(t, c, b) })
		nothing := testing.AllocsPerRun(20, func() {
			if err := proto.Unmarshal(b, &fnv1.RunFunctionRequest{}); err != nil {
				t.Fatal(err)
			}
			if _, err := proto.Marshal(c.rsp); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%s: %.0f of %.0f: %.2f", c.step, ours, nothing, ours/nothing)
		if most, known := mostAllocations[c.step]; !known || ours > most*nothing {
			t.Errorf("%s allocates %.0f objects, %.2f of doing nothing; at most %.2f are wanted", c.step, ours, ours/nothing, most)
		}
	}
}

func BenchmarkAnswer(b *testing.B) {
	for _, c := range recorded(b) {
		req, err := proto.Marshal(c.req)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(c.step, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				answer(b, c, req)
			}
		})
		b.Run(c.step+"/nothing", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := proto.Unmarshal(req, &fnv1.RunFunctionRequest{}); err != nil {
					b.Fatal(err)
				}
				if _, err := proto.Marshal(c.rsp); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
