// Package fuzz feeds raw protobuf bytes to every station, and raw answers of a
// server to the one that asks one: no panic, no gRPC error, always a response that
// can be sent, and nothing lost. `make fuzz` runs each for a while; `go test` runs
// the seeds.
package fuzz

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/decide"
	"whisperops.io/functions/fn/budget/render"
	"whisperops.io/functions/fn/xda/computetuning"
	"whisperops.io/functions/fn/xda/emitbudget"
	"whisperops.io/functions/fn/xda/renderdashboard"
	"whisperops.io/functions/fn/xda/renderiam"
	"whisperops.io/functions/fn/xda/renderworkloads"
	"whisperops.io/functions/fn/xda/validatedataset"
	"whisperops.io/functions/internal/wire"
	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/golden"
	"whisperops.io/functions/test/pipeline"
)

// station fuzzes one station. Its stories are the seeds; parts are the composed
// resources that it renders, and must not lose.
func station(f *testing.F, fn fnv1.FunctionRunnerServiceServer, folder string, parts ...string) {
	f.Helper()
	dir := filepath.Join(pipeline.Root(), "fn", folder, "testdata")
	stories, err := os.ReadDir(dir)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	for _, s := range stories {
		if _, err := os.Stat(filepath.Join(dir, s.Name(), "xr.yaml")); err != nil {
			continue
		}
		req, cluster := golden.Request(f, filepath.Join(dir, s.Name()))
		if len(cluster) > 0 {
			items, err := crossplane.Select(cluster, &fnv1.ResourceSelector{
				ApiVersion: "whisperops.io/v1alpha1", Kind: "XDataset",
				Match: &fnv1.ResourceSelector_MatchLabels{MatchLabels: &fnv1.MatchLabels{}},
			})
			if err != nil {
				f.Fatal(err)
			}
			req.RequiredResources = map[string]*fnv1.Resources{"dataset": items}
		}
		b, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		req := &fnv1.RunFunctionRequest{}
		if proto.Unmarshal(b, req) != nil {
			return // gRPC refuses it before the station sees it
		}
		sent := proto.CloneOf(req)
		sameDecoded(t, fn, b, proto.CloneOf(req))
		rsp, err := fn.RunFunction(context.Background(), req)
		if err != nil {
			t.Fatalf("a gRPC error makes Crossplane drop the response: %v", err)
		}
		if _, err := proto.Marshal(rsp); err != nil {
			t.Fatalf("the response can't be sent: %v", err)
		}
		if crossplane.Fatal(rsp) != "" {
			return
		}
		for _, p := range parts {
			if _, observed := sent.GetObserved().GetResources()[p]; observed && rsp.GetDesired().GetResources()[p] == nil {
				t.Fatalf("part %s is observed and would be deleted", p)
			}
		}
		for name := range sent.GetDesired().GetResources() {
			if _, kept := rsp.GetDesired().GetResources()[name]; !kept {
				t.Fatalf("resource %q of an earlier step is gone", name)
			}
		}
	})
}

// sameDecoded proves that a station answers what came as bytes as it answers the same
// request with all of it decoded by protobuf.
func sameDecoded(t *testing.T, fn fnv1.FunctionRunnerServiceServer, b []byte, req *fnv1.RunFunctionRequest) {
	t.Helper()
	a, ok := fn.(interface {
		Answer(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error)
	})
	if !ok {
		t.Fatalf("%T has no Answer: it would be served the slow way", fn)
	}
	lazy := &fnv1.RunFunctionRequest{}
	if err := wire.Unmarshal(b, lazy); err != nil {
		t.Fatalf("protobuf takes what we refuse: %v", err)
	}
	want, err := a.Answer(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Answer(context.Background(), lazy)
	if err != nil {
		t.Fatal(err)
	}
	for _, rsp := range []*fnv1.RunFunctionResponse{want, got} {
		if err := wire.Decode(rsp); err != nil {
			t.Fatalf("the response can't be sent: %v", err)
		}
	}
	if !proto.Equal(want, got) {
		t.Fatalf("-decoded, +as bytes:\n%s", cmp.Diff(want, got, protocmp.Transform()))
	}
}

// now is a clock that stands: one request is answered twice.
func now() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

func log() logging.Logger { return logging.NewNopLogger() }

func FuzzValidateDataset(f *testing.F) {
	station(f, validatedataset.NewAt(log(), now), "xda/validatedataset")
}

func FuzzComputeTuning(f *testing.F) { station(f, computetuning.New(log()), "xda/computetuning") }

func FuzzRenderIAM(f *testing.F) {
	station(f, renderiam.NewAt(log(), now), "xda/renderiam", v1alpha1.AgentParts()[:5]...)
}

func FuzzRenderWorkloads(f *testing.F) {
	station(f, renderworkloads.New(log()), "xda/renderworkloads", v1alpha1.AgentParts()[5:20]...)
}

func FuzzRenderDashboard(f *testing.F) {
	station(f, renderdashboard.New(log()), "xda/renderdashboard", v1alpha1.PartDashboard)
}

func FuzzEmitBudget(f *testing.F) {
	station(f, emitbudget.New(log()), "xda/emitbudget", v1alpha1.PartXAgentBudget)
}

func FuzzDecide(f *testing.F) { station(f, decide.NewAt(log(), now), "budget/decide") }

func FuzzRender(f *testing.F) {
	station(f, render.New(log()), "budget/render", v1alpha1.PartPlannerReplicas, v1alpha1.PartWorkerReplicas)
}
