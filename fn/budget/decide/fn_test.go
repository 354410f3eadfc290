package decide

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"whisperops.io/functions/test/golden"
)

// noon of 23 November 2026, a Monday, is when the stories play.
func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) }

func TestGolden(t *testing.T) {
	golden.Run(t, NewAt(logging.NewNopLogger(), noon), "testdata")
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
	fn := NewAt(logging.NewNopLogger(), noon)
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
		if _, ok := rsp.GetContext().GetFields()["should_pause"].GetKind().(*structpb.Value_BoolValue); !ok {
			t.Fatal("no verdict in the context")
		}
		if _, err := proto.Marshal(rsp); err != nil {
			t.Fatalf("the response can't be sent: %v", err)
		}
	})
}
