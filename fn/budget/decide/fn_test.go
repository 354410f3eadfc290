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

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
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

func TestOpenedAnew(t *testing.T) {
	cases := map[string]struct {
		reason  string
		opening *v1alpha1.Opening
		want    bool
	}{
		"Never":       {reason: "A budget that stands alone has no opening."},
		"AsCounted":   {reason: "The usual budget counts from its opening on.", opening: &v1alpha1.Opening{AsOf: "2026-11-20T09:00:00Z"}},
		"FullSeconds": {reason: "A ledger knows no less; else this budget would be opened anew for ever.", opening: &v1alpha1.Opening{AsOf: "2026-11-20T09:00:00.5Z"}},
		"Later":       {reason: "What is in the status was counted for somebody else.", opening: &v1alpha1.Opening{AsOf: "2026-11-20T11:00:01+02:00"}, want: true},
		"Earlier":     {reason: "A new period began after the opening.", opening: &v1alpha1.Opening{AsOf: "2026-11-01T00:00:00Z"}},
		"InTheFuture": {reason: "It opens nothing before its time.", opening: &v1alpha1.Opening{AsOf: "2026-11-23T12:00:01Z"}},
		"NoTime":      {reason: "What can't be read says nothing.", opening: &v1alpha1.Opening{AsOf: "yesterday"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status, err := structpb.NewStruct(map[string]any{"status": map[string]any{"ledger": map[string]any{"from": "2026-11-20T09:00:00Z"}}})
			if err != nil {
				t.Fatal(err)
			}
			req := &fnv1.RunFunctionRequest{Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: status}}}
			if got := openedAnew(&edge.Call{Req: req}, tc.opening, noon()); got != tc.want {
				t.Errorf("%s\nwant %v, got %v", tc.reason, tc.want, got)
			}
		})
	}
}
