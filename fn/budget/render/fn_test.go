package render

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"whisperops.io/functions/test/golden"
)

func TestGolden(t *testing.T) {
	golden.Run(t, New(logging.NewNopLogger()), "testdata")
}

func FuzzRunFunction(f *testing.F) {
	stories, err := os.ReadDir("testdata")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range stories {
		if _, err := os.Stat(filepath.Join("testdata", s.Name(), "xr.yaml")); err != nil {
			continue
		}
		req, _ := golden.Request(f, filepath.Join("testdata", s.Name()))
		b, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	fn := New(logging.NewNopLogger())
	f.Fuzz(func(t *testing.T, b []byte) {
		req := &fnv1.RunFunctionRequest{}
		if proto.Unmarshal(b, req) != nil {
			return
		}
		rsp, err := fn.RunFunction(t.Context(), req)
		if err != nil {
			t.Fatalf("a gRPC error, which Crossplane discards the response for: %v", err)
		}
		for name := range req.GetDesired().GetResources() {
			if rsp.GetDesired().GetResources()[name] == nil {
				t.Fatalf("composed resource %q of an earlier step is lost", name)
			}
		}
		for _, r := range rsp.GetResults() {
			if r.GetSeverity() == fnv1.Severity_SEVERITY_FATAL {
				return
			}
		}
		for _, name := range []string{"planner-replicas", "worker-replicas"} {
			replicas := rsp.GetDesired().GetResources()[name].GetResource().GetFields()["spec"].GetStructValue().
				GetFields()["forProvider"].GetStructValue().GetFields()["manifest"].GetStructValue().
				GetFields()["spec"].GetStructValue().GetFields()["replicas"]
			n, ok := replicas.GetKind().(*structpb.Value_NumberValue)
			if !ok {
				t.Fatalf("%s is not rendered", name)
			}
			if req.GetContext().GetFields()["should_pause"].GetBoolValue() && n.NumberValue != 0 {
				t.Fatalf("%s is at %v, and the agent is paused", name, n.NumberValue)
			}
		}
		if _, err := proto.Marshal(rsp); err != nil {
			t.Fatalf("the response can't be sent: %v", err)
		}
	})
}
