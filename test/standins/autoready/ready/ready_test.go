package ready

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
)

func request(t *testing.T, js string) *fnv1.RunFunctionRequest {
	t.Helper()
	req := &fnv1.RunFunctionRequest{}
	if err := protojson.Unmarshal([]byte(js), req); err != nil {
		t.Fatalf("cannot decode the test's request: %v", err)
	}
	return req
}

func run(t *testing.T, req *fnv1.RunFunctionRequest) *fnv1.RunFunctionResponse {
	t.Helper()
	rsp, err := (&Function{log: logging.NewNopLogger()}).RunFunction(context.Background(), req)
	if err != nil {
		t.Fatalf("RunFunction returned an error, which makes Crossplane drop the response: %v", err)
	}
	return rsp
}

func TestReadiness(t *testing.T) {
	observed := func(conditions string) string {
		return `{"resource": {"status": {"conditions": ` + conditions + `}}}`
	}
	cases := map[string]struct {
		reason   string
		desired  string
		observed string
		want     fnv1.Ready
	}{
		"ObservedReady": {
			reason:  "An observed part whose Ready condition is True is ready.",
			desired: `{}`, observed: observed(`[{"type": "Synced", "status": "True"}, {"type": "Ready", "status": "True"}]`),
			want: fnv1.Ready_READY_TRUE,
		},
		"ObservedNotReady": {
			reason:  "A false Ready condition leaves the part without an opinion, as the real function does.",
			desired: `{}`, observed: observed(`[{"type": "Ready", "status": "False"}]`),
			want: fnv1.Ready_READY_UNSPECIFIED,
		},
		"OtherConditionTrue": {
			reason:  "Only Ready counts.",
			desired: `{}`, observed: observed(`[{"type": "Synced", "status": "True"}]`),
			want: fnv1.Ready_READY_UNSPECIFIED,
		},
		"NotObserved": {
			reason:  "A part that does not exist yet is not ready.",
			desired: `{}`, observed: `{}`,
			want: fnv1.Ready_READY_UNSPECIFIED,
		},
		"SaidFalse": {
			reason:  "What an earlier step said stands.",
			desired: `{"ready": "READY_FALSE"}`, observed: observed(`[{"type": "Ready", "status": "True"}]`),
			want: fnv1.Ready_READY_FALSE,
		},
		"Garbage": {
			reason:  "An observed object of the wrong shape is not ready, and no reason to panic.",
			desired: `{}`, observed: `{"resource": {"status": {"conditions": ["Ready", {"type": 7}]}}}`,
			want: fnv1.Ready_READY_UNSPECIFIED,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rsp := run(t, request(t, `{"desired": {"resources": {"part": `+tc.desired+`}}, "observed": {"resources": {"part": `+tc.observed+`}}}`))
			if got := rsp.GetDesired().GetResources()["part"].GetReady(); got != tc.want {
				t.Errorf("%s\nwant %s, got %s", tc.reason, tc.want, got)
			}
		})
	}
}

func TestTTL(t *testing.T) {
	cases := map[string]struct {
		input string
		want  time.Duration
		fatal string
	}{
		"NoInput": {input: `{}`, want: time.Minute},
		"NoTTL":   {input: `{"apiVersion": "autoready.fn.crossplane.io/v1beta1", "kind": "Input"}`, want: time.Minute},
		"Set":     {input: `{"apiVersion": "autoready.fn.crossplane.io/v1beta1", "kind": "Input", "ttl": "10m"}`, want: 10 * time.Minute},
		"Zero":    {input: `{"apiVersion": "autoready.fn.crossplane.io/v1beta1", "kind": "Input", "ttl": "0s"}`},
		"Typo":    {input: `{"apiVersion": "autoready.fn.crossplane.io/v1beta1", "kind": "Input", "tll": "10m"}`, fatal: `"tll"`},
		"NoUnit":  {input: `{"apiVersion": "autoready.fn.crossplane.io/v1beta1", "kind": "Input", "ttl": "10"}`, fatal: "ttl"},
		"Foreign": {input: `{"apiVersion": "example.org/v1", "kind": "Input"}`, fatal: "example.org/v1"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rsp := run(t, request(t, `{"input": `+tc.input+`}`))
			if tc.fatal != "" {
				if r := rsp.GetResults(); len(r) != 1 || r[0].GetSeverity() != fnv1.Severity_SEVERITY_FATAL || !strings.Contains(r[0].GetMessage(), tc.fatal) {
					t.Fatalf("want one fatal result that names %s, got %v", tc.fatal, r)
				}
				return
			}
			if len(rsp.GetResults()) > 0 {
				t.Fatalf("want no results, got %v", rsp.GetResults())
			}
			if got := rsp.GetMeta().GetTtl().AsDuration(); got != tc.want {
				t.Errorf("want TTL %s, got %s", tc.want, got)
			}
		})
	}
}

// Everything an earlier step wrote comes out as it went in.
func TestPassesOn(t *testing.T) {
	req := request(t, `{
		"context": {"dataset": {"name": "housing"}},
		"desired": {
			"composite": {"resource": {"status": {"phase": "Ready"}}, "ready": "READY_FALSE"},
			"resources": {"a": {"resource": {"spec": {"x": 1}}, "ready": "READY_TRUE"}, "b": {"resource": {"spec": {"y": [1, "z"]}}}}}}`)
	rsp := run(t, proto.CloneOf(req)) // the SDK's response shares memory with its request
	if diff := cmp.Diff(req.GetDesired(), rsp.GetDesired(), protocmp.Transform()); diff != "" {
		t.Errorf("desired state changed (-in +out):\n%s", diff)
	}
	if diff := cmp.Diff(req.GetContext(), rsp.GetContext(), protocmp.Transform()); diff != "" {
		t.Errorf("context changed (-in +out):\n%s", diff)
	}
}
