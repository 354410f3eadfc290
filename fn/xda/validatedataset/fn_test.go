package validatedataset

import (
	"context"
	"maps"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/test/golden"
)

func TestGolden(t *testing.T) {
	golden.Run(t, New(logging.NewNopLogger()), "testdata")
}

const order = `{"apiVersion": "whisperops.io/v1alpha1", "kind": "XDatasetAgent", "metadata": {"name": "housing-bot"}, "spec": {
	"agentName": "housing-bot", "datasetRef": {"name": "housing"}, "budgetUsd": 5, "baseDomain": "example.org", "projectId": "acme-data"}}`

func xdataset(name string) string {
	return `{"resource": {"apiVersion": "whisperops.io/v1alpha1", "kind": "XDataset", "metadata": {"name": "` + name + `"},
		"spec": {"gcsPath": "gs://acme-datasets/` + name + `.csv", "sizeBytes": 7, "displayName": "D"}, "status": {"ready": true}}}`
}

// The answer may be there at once, may be that of an earlier pass, and may be
// anything.
func TestAnswer(t *testing.T) {
	type outcome struct {
		Reason string
		Wants  string // the XDataset that is asked for
		TTL    time.Duration
		Ready  fnv1.Ready
		Events int
	}
	cases := map[string]struct {
		reason   string
		required string
		want     outcome
	}{
		"NotAskedYet": {
			reason:   "The first call asks and is neither fatal nor an event: what it says stands for a moment.",
			required: `{}`,
			want:     outcome{Reason: "Unresolved", Wants: "housing", TTL: time.Minute, Ready: fnv1.Ready_READY_FALSE},
		},
		"HandedOverAtOnce": {
			reason:   "One call is enough when Crossplane brings the answer along; it still says what it needs, or the watch ends.",
			required: `{"dataset": {"items": [` + xdataset("housing") + `]}}`,
			want:     outcome{Reason: "DatasetFound", Wants: "housing", TTL: 15 * time.Second, Events: 1},
		},
		"AnswerOfAnEarlierOrder": {
			reason:   "After an edit of datasetRef the first call gets what the pass before asked for. It says nothing about this order.",
			required: `{"dataset": {"items": [` + xdataset("titanic") + `]}}`,
			want:     outcome{Reason: "Unresolved", Wants: "housing", TTL: time.Minute, Ready: fnv1.Ready_READY_FALSE},
		},
		"AmongOthers": {
			reason:   "A Composition may ask for more than one under the same key.",
			required: `{"dataset": {"items": [` + xdataset("titanic") + `, ` + xdataset("housing") + `]}}`,
			want:     outcome{Reason: "DatasetFound", Wants: "housing", TTL: 15 * time.Second, Events: 1},
		},
		"NoItems": {
			reason:   "Looked for and not found.",
			required: `{"dataset": {}}`,
			want:     outcome{Reason: "DatasetNotFound", Wants: "housing", TTL: time.Minute, Ready: fnv1.Ready_READY_FALSE, Events: 1},
		},
		"OtherKind": {
			reason:   "An object of another kind is no dataset, whatever it is called.",
			required: `{"dataset": {"items": [{"resource": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "housing"}}}]}}`,
			want:     outcome{Reason: "DatasetInvalid", Wants: "housing", TTL: time.Minute, Ready: fnv1.Ready_READY_FALSE, Events: 1},
		},
		"OtherGroup": {
			reason:   "Somebody else's XDataset is not ours.",
			required: `{"dataset": {"items": [{"resource": {"apiVersion": "example.org/v1alpha1", "kind": "XDataset", "metadata": {"name": "housing"}}}]}}`,
			want:     outcome{Reason: "DatasetInvalid", Wants: "housing", TTL: time.Minute, Ready: fnv1.Ready_READY_FALSE, Events: 1},
		},
		"Nothing": {
			reason:   "An item that holds nothing.",
			required: `{"dataset": {"items": [{}]}}`,
			want:     outcome{Reason: "DatasetInvalid", Wants: "housing", TTL: time.Minute, Ready: fnv1.Ready_READY_FALSE, Events: 1},
		},
		"NoStatus": {
			reason:   "The watcher has recorded the CSV and not judged it.",
			required: `{"dataset": {"items": [{"resource": {"apiVersion": "whisperops.io/v1alpha1", "kind": "XDataset", "metadata": {"name": "housing"}, "spec": "x"}}]}}`,
			want:     outcome{Reason: "DatasetNotReady", Wants: "housing", TTL: time.Minute, Ready: fnv1.Ready_READY_FALSE, Events: 1},
		},
		"ReadyButEmpty": {
			reason:   "Ready is not enough: what is rendered needs a bucket.",
			required: `{"dataset": {"items": [{"resource": {"apiVersion": "whisperops.io/v1alpha1", "kind": "XDataset", "metadata": {"name": "housing"}, "spec": null, "status": {"ready": true}}}]}}`,
			want:     outcome{Reason: "DatasetInvalid", Wants: "housing", TTL: time.Minute, Ready: fnv1.Ready_READY_FALSE, Events: 1},
		},
		"HugeSize": {
			reason:   "A size that no int64 holds is no size.",
			required: `{"dataset": {"items": [{"resource": {"apiVersion": "whisperops.io/v1alpha1", "kind": "XDataset", "metadata": {"name": "housing"}, "spec": {"gcsPath": "gs://acme-datasets/x.csv", "sizeBytes": 1e300}, "status": {"ready": true}}}]}}`,
			want:     outcome{Reason: "DatasetInvalid", Wants: "housing", TTL: time.Minute, Ready: fnv1.Ready_READY_FALSE, Events: 1},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			req := &fnv1.RunFunctionRequest{}
			if err := protojson.Unmarshal([]byte(`{"observed": {"composite": {"resource": `+order+`}}, "requiredResources": `+tc.required+`}`), req); err != nil {
				t.Fatal(err)
			}
			rsp, err := New(logging.NewNopLogger()).RunFunction(context.Background(), req)
			if err != nil {
				t.Fatal(err)
			}
			got := outcome{
				Reason: rsp.GetConditions()[0].GetReason(),
				Wants:  rsp.GetRequirements().GetResources()["dataset"].GetMatchName(),
				TTL:    rsp.GetMeta().GetTtl().AsDuration(),
				Ready:  rsp.GetDesired().GetComposite().GetReady(),
				Events: len(rsp.GetResults()),
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// What a person changes while Crossplane drops events is seen after half a minute,
// also of an order that was made hours ago and has been Ready again for a minute.
func TestLooksAgainAsOnceMade(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	set := func(r *fnv1.Resource, field string, value map[string]any) {
		v, err := structpb.NewValue(value)
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(r.GetResource().GetFields()[field].GetStructValue().GetFields(), v.GetStructValue().GetFields())
	}
	at := func(d time.Duration) string { return now.Add(-d).Format(time.RFC3339) }
	req, _ := golden.Request(t, "testdata/everything-ready")
	set(req.GetObserved().GetComposite(), "metadata", map[string]any{"creationTimestamp": at(9 * time.Hour)})
	set(req.GetObserved().GetComposite(), "status", map[string]any{"conditions": []any{
		map[string]any{"type": "Ready", "status": "True", "reason": "Available", "lastTransitionTime": at(time.Minute)},
		map[string]any{"type": "Responsive", "status": "False", "reason": "WatchCircuitOpen", "lastTransitionTime": at(time.Minute)},
	}})
	for _, tc := range []struct {
		planner string
		want    time.Duration
	}{
		{planner: at(9*time.Hour - 40*time.Second), want: 30 * time.Second},
		{planner: "yesterday", want: longestResting},
	} {
		set(req.GetObserved().GetResources()[v1alpha1.PartAgentPlanner], "metadata", map[string]any{"creationTimestamp": tc.planner})
		f := NewAt(logging.NewNopLogger(), func() time.Time { return now })
		rsp, err := f.RunFunction(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		if got := rsp.GetMeta().GetTtl().AsDuration(); got != tc.want {
			t.Errorf("planner made at %s: want a look after %s, got %s: %v", tc.planner, tc.want, got, rsp.GetResults())
		}
	}
}

func TestNextLook(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	openSince := func(d time.Duration) []metav1.Condition {
		return []metav1.Condition{
			{Type: "Ready", Status: metav1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-d))},
			{Type: "Responsive", Status: metav1.ConditionFalse, Reason: "WatchCircuitOpen", LastTransitionTime: metav1.NewTime(now.Add(-d))},
		}
	}
	open := openSince(5 * time.Minute)
	closed := []metav1.Condition{{Type: "Responsive", Status: metav1.ConditionTrue, Reason: "WatchCircuitClosed"}}
	unreadySince := func(at time.Time) []metav1.Condition {
		return []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: "Creating", LastTransitionTime: metav1.NewTime(at)}}
	}
	cases := map[string]struct {
		reason     string
		verdict    Verdict
		conditions []metav1.Condition
		retry      time.Duration
		took       time.Duration // from the order to the time at which its conditions changed
		planner    time.Duration // from the order to its planner; 0: not observed
		want       time.Duration
	}{
		"Ready":                 {reason: "Watches tell when something changes.", verdict: Verdict{Phase: v1alpha1.PhaseReady}, conditions: closed, retry: time.Minute},
		"NothingSaidYet":        {reason: "Before the first pass nothing has been dropped.", verdict: Verdict{Phase: v1alpha1.PhaseReady}, retry: time.Minute},
		"Provisioning":          {reason: "The events of 22 new parts are dropped sooner than Crossplane says so.", verdict: Verdict{Phase: v1alpha1.PhaseProvisioning}, conditions: closed, retry: time.Minute, want: 15 * time.Second},
		"ReadyUnresponsive":     {reason: "A breaker that is open drops what a person changes, too, if something else changed within half a minute before.", verdict: Verdict{Phase: v1alpha1.PhaseReady}, conditions: open, retry: time.Minute, want: 30 * time.Second},
		"ReadyAfterLong":        {reason: "Where 500 orders at once took minutes, two looks at each are what the API server has time for.", verdict: Verdict{Phase: v1alpha1.PhaseReady}, conditions: open, retry: time.Minute, took: 4 * time.Minute, want: 2 * time.Minute},
		"ReadyAgainAfterHours":  {reason: "How long ago the order was made says little then; in the breaker's five minutes it is looked at twice.", verdict: Verdict{Phase: v1alpha1.PhaseReady}, conditions: open, retry: time.Minute, took: 9 * time.Hour, want: 165 * time.Second},
		"ReadyAgain":            {reason: "A function that was upgraded doesn't make a cluster slow: what counts is the first time.", verdict: Verdict{Phase: v1alpha1.PhaseReady}, conditions: open, retry: time.Minute, took: 9 * time.Hour, planner: 40 * time.Second, want: 30 * time.Second},
		"ReadyFirstAndSlow":     {reason: "The first time counts also where it was long.", verdict: Verdict{Phase: v1alpha1.PhaseReady}, conditions: open, retry: time.Minute, took: 9 * time.Hour, planner: 4 * time.Minute, want: 2 * time.Minute},
		"ReadyBeforePlanner":    {reason: "A planner that was made anew says nothing about the first time.", verdict: Verdict{Phase: v1alpha1.PhaseReady}, conditions: open, retry: time.Minute, took: 40 * time.Second, planner: 9 * time.Hour, want: 30 * time.Second},
		"RestoredPlanner":       {reason: "A planner older than its order, as a restore can leave it, is no reason to look all the time.", verdict: Verdict{Phase: v1alpha1.PhaseReady}, conditions: open, retry: time.Minute, took: 9 * time.Hour, planner: -time.Hour, want: 30 * time.Second},
		"AtRest":                {reason: "Without an event Crossplane never says that the breaker's time is over; an order at rest is not looked at for ever.", verdict: Verdict{Phase: v1alpha1.PhaseReady}, conditions: openSince(6 * time.Minute), retry: time.Minute},
		"Waits":                 {reason: "A watch tells when the dataset comes; the look is a safety net.", verdict: Verdict{Waits: true, Phase: v1alpha1.PhaseFailed}, conditions: closed, retry: time.Minute, want: time.Minute},
		"ProvisioningForLong":   {reason: "What takes long is looked at less often: the looks of 100 orders kept an API server so busy that none became Ready.", verdict: Verdict{Phase: v1alpha1.PhaseProvisioning}, conditions: unreadySince(now.Add(-3 * time.Minute)), retry: time.Minute, want: 90 * time.Second},
		"ProvisioningForHours":  {reason: "What is repaired by hand after hours is seen in minutes.", verdict: Verdict{Phase: v1alpha1.PhaseProvisioning}, conditions: unreadySince(now.Add(-9 * time.Hour)), retry: time.Minute, want: 10 * time.Minute},
		"ProvisioningAgain":     {reason: "A part that is lost and made again is seen as soon as one of a new order, however long that took once.", verdict: Verdict{Phase: v1alpha1.PhaseProvisioning}, conditions: open, retry: time.Minute, took: 4 * time.Minute, want: 15 * time.Second},
		"ProvisioningAtOnce":    {reason: "A clock that is behind looks no sooner than the first time.", verdict: Verdict{Phase: v1alpha1.PhaseProvisioning}, conditions: unreadySince(now.Add(time.Hour)), retry: time.Minute, want: 4 * time.Second},
		"ProvisioningNoTime":    {reason: "A condition without a time says nothing.", verdict: Verdict{Phase: v1alpha1.PhaseProvisioning}, conditions: unreadySince(time.Time{}), retry: time.Minute, want: 15 * time.Second},
		"ProvisioningAlone":     {reason: "An order alone on its cluster has its planner's worker ready after five seconds, and events are dropped by then.", verdict: Verdict{Phase: v1alpha1.PhaseProvisioning}, conditions: unreadySince(now.Add(-time.Second)), retry: time.Minute, took: 2 * time.Second, want: 4 * time.Second},
		"ProvisioningAmongMany": {reason: "What takes longer is looked at less often.", verdict: Verdict{Phase: v1alpha1.PhaseProvisioning}, conditions: unreadySince(now.Add(-time.Second)), retry: time.Minute, took: 39 * time.Second, want: 10 * time.Second},
		"ProvisioningPlanner":   {reason: "How fast its parts are made is known of an order that loses one.", verdict: Verdict{Phase: v1alpha1.PhaseProvisioning}, conditions: unreadySince(now), retry: time.Minute, took: 9 * time.Hour, planner: 8 * time.Second, want: 4 * time.Second},
		"ProvisioningAhead":     {reason: "An order of a clock that is ahead is no older than new.", verdict: Verdict{Phase: v1alpha1.PhaseProvisioning}, conditions: unreadySince(now.Add(time.Hour)), took: -time.Minute, retry: time.Minute, want: 4 * time.Second},
		"SoonerByInput":         {reason: "Who wants to look sooner may.", verdict: Verdict{Phase: v1alpha1.PhaseProvisioning}, retry: 5 * time.Second, want: 5 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			xr := &v1alpha1.XDatasetAgent{Status: v1alpha1.XDatasetAgentStatus{Conditions: tc.conditions}}
			if len(tc.conditions) > 0 {
				xr.CreationTimestamp = metav1.NewTime(tc.conditions[0].LastTransitionTime.Add(-tc.took))
			}
			planner := time.Time{}
			if tc.planner != 0 {
				planner = xr.CreationTimestamp.Add(tc.planner)
			}
			if got := nextLook(tc.verdict, tc.retry, readiness(xr, planner, now), responsive(tc.conditions, now)); got != tc.want {
				t.Errorf("%s\nwant %s, got %s", tc.reason, tc.want, got)
			}
		})
	}
}
