package validatedataset

import (
	"context"
	"fmt"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/encoding/protojson"
)

// TestTwinsOfOneSecond: of two orders whose buckets would have one name exactly one goes on,
// whichever is looked at first and however close to each other they came. The API server
// tells seconds.
func TestTwinsOfOneSecond(t *testing.T) {
	type twin struct{ project, agent, uid, at, status string }
	for name, tc := range map[string]struct {
		reason string
		a, b   twin
		wins   int // 0: the first
	}{
		"Older":      {"Who came first has the name.", twin{"acme-x1", "foo-agent-bar", "2", "08:00:00", ""}, twin{"acme-x1-agent-foo", "bar", "1", "08:00:01", ""}, 0},
		"Younger":    {"Likewise.", twin{"acme-x1", "foo-agent-bar", "1", "08:00:01", ""}, twin{"acme-x1-agent-foo", "bar", "2", "08:00:00", ""}, 1},
		"SameSecond": {"The uid decides, for both the same way.", twin{"acme-x1", "foo-agent-bar", "2", "08:00:00", ""}, twin{"acme-x1-agent-foo", "bar", "1", "08:00:00", ""}, 1},
		"SameOther":  {"Likewise.", twin{"acme-x1", "foo-agent-bar", "1", "08:00:00", ""}, twin{"acme-x1-agent-foo", "bar", "2", "08:00:00", ""}, 0},
		"Restored":   {"Who lives has its bucket, whenever its order was made anew.", twin{"acme-x1", "foo-agent-bar", "1", "08:00:01", `{"url": "https://agent-foo-agent-bar.example.org/"}`}, twin{"acme-x1-agent-foo", "bar", "2", "08:00:00", ""}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			order := func(x twin) string {
				status := x.status
				if status == "" {
					status = "{}"
				}
				return fmt.Sprintf(`{"apiVersion": "whisperops.io/v1alpha1", "kind": "XDatasetAgent", "metadata": {"name": %q, "uid": %q, "creationTimestamp": "2026-11-27T%sZ"},
					"spec": {"agentName": %q, "datasetRef": {"name": "housing"}, "budgetUsd": 5, "baseDomain": "example.org", "projectId": %q}, "status": %s}`, x.agent, x.uid, x.at, x.agent, x.project, status)
			}
			taken := func(me, other twin) bool {
				req := &fnv1.RunFunctionRequest{}
				text := fmt.Sprintf(`{"observed": {"composite": {"resource": %s}}, "requiredResources": {"dataset": {"items": [%s]}, "twin/%s": {"items": [{"resource": %s}]}}}`,
					order(me), xdataset("housing"), other.agent, order(other))
				if err := protojson.Unmarshal([]byte(text), req); err != nil {
					t.Fatal(err)
				}
				if me.status != "" { // it lives
					req.Observed.Resources = map[string]*fnv1.Resource{"bucket": {Resource: req.GetObserved().GetComposite().GetResource()}}
				}
				rsp, err := New(logging.NewNopLogger()).RunFunction(context.Background(), req)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range rsp.GetConditions() {
					if c.GetType() == "NamesFree" && c.GetStatus() == fnv1.Status_STATUS_CONDITION_FALSE {
						return true
					}
				}
				return false
			}
			if a, b := taken(tc.a, tc.b), taken(tc.b, tc.a); a != (tc.wins == 1) || b != (tc.wins == 0) {
				t.Errorf("%s\nthe first is refused: %v, the second: %v", tc.reason, a, b)
			}
		})
	}
}
