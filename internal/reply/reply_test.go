package reply

import (
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"

	"whisperops.io/functions/internal/errors"
)

// Whatever is asked, the SDK's helpers would have said the same.
func TestSaysWhatTheSDKDoes(t *testing.T) {
	left := &structpb.Struct{Fields: map[string]*structpb.Value{"dataset": structpb.NewNullValue()}}
	desired := &fnv1.State{Resources: map[string]*fnv1.Resource{"bucket": {}}}
	for name, req := range map[string]*fnv1.RunFunctionRequest{
		"Nothing": {},
		"All":     {Meta: &fnv1.RequestMeta{Tag: "tag"}, Desired: desired, Context: left},
		"Empty":   {Meta: &fnv1.RequestMeta{}, Desired: &fnv1.State{}, Context: &structpb.Struct{}},
	} {
		theirs, ours := proto.CloneOf(req), proto.CloneOf(req)
		want, got := response.To(theirs, 0), To(ours)
		for range 2 {
			response.ConditionTrue(want, "A", "B").WithMessage("c")
			Condition(got, "A", fnv1.Status_STATUS_CONDITION_TRUE, "B", "c")
			response.ConditionUnknown(want, "A", "B").WithMessage("")
			Condition(got, "A", fnv1.Status_STATUS_CONDITION_UNKNOWN, "B", "")
			response.Warning(want, errors.New("w")).WithReason("R")
			Event(got, fnv1.Severity_SEVERITY_WARNING, "R", "w")
			response.Normal(want, "n").WithReason("R")
			Event(got, fnv1.Severity_SEVERITY_NORMAL, "R", "n")
			response.Fatal(want, errors.New("f"))
			Fatal(got, errors.New("f"))
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s: -the SDK's, +ours:\n%s", name, diff)
		}
	}
}
