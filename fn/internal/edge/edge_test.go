package edge

import (
	"context"
	"maps"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	input "whisperops.io/functions/apis/input/v1alpha1"
	workloads "whisperops.io/functions/apis/input/workloads/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/internal/wire"
)

func object(t *testing.T, m map[string]any) *structpb.Struct {
	t.Helper()
	s, err := structpb.NewStruct(m)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// decoded returns what a response desires.
func decoded(t *testing.T, rsp *fnv1.RunFunctionResponse) map[string]*fnv1.Resource {
	t.Helper()
	if err := wire.Decode(rsp); err != nil {
		t.Fatal(err)
	}
	return rsp.GetDesired().GetResources()
}

func order(spec map[string]any) map[string]any {
	return map[string]any{"apiVersion": "whisperops.io/v1alpha1", "kind": "XDatasetAgent", "metadata": map[string]any{"name": "bot"}, "spec": spec}
}

func goodSpec() map[string]any {
	return map[string]any{
		"agentName": "bot", "datasetRef": map[string]any{"name": "d"}, "budgetUsd": 5.0,
		"baseDomain": "example.org", "projectId": "acme-data", "crossplane": map[string]any{"x": "of a later version"},
	}
}

func withSpec(k string, v any) map[string]any {
	s := goodSpec()
	s[k] = v
	return order(s)
}

func requestOf(t *testing.T, xr map[string]any) *fnv1.RunFunctionRequest {
	t.Helper()
	return &fnv1.RunFunctionRequest{Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: object(t, xr)}}}
}

func says(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("want no error, got %v", err)
	case want != "" && err == nil:
		t.Errorf("want an error that says %q, got none", want)
	case want != "" && !strings.Contains(err.Error(), want):
		t.Errorf("want an error that says %q, got %q", want, err)
	}
}

func TestOrder(t *testing.T) {
	cases := map[string]struct {
		reason string
		xr     map[string]any
		err    string
	}{
		"Good":         {reason: "Fields that Crossplane adds must not make an order unreadable.", xr: order(goodSpec())},
		"WrongType":    {reason: "Readers know no Go types, but they know their field.", xr: withSpec("budgetUsd", "five"), err: `cannot decode observed XR: field "spec.budgetUsd" must be a number, not a string`},
		"NotAMap":      {reason: "As above, for a field that should hold others.", xr: withSpec("datasetRef", "d"), err: `field "spec.datasetRef" must be a map, not a string`},
		"Infinity":     {reason: "Protobuf has it, JSON has not.", xr: withSpec("budgetUsd", math.Inf(1)), err: `field "spec.budgetUsd" must be a number`},
		"Name":         {reason: "The name reaches a CEL string and a Google id.", xr: withSpec("agentName", `a" || true`), err: "spec.agentName"},
		"OtherName":    {reason: "Two orders of one agent would fight over every part.", xr: withSpec("agentName", "robot"), err: `metadata.name "bot" and spec.agentName "robot" must be equal`},
		"NameGoogle":   {reason: "Google refuses the bucket, long after admission.", xr: withSpec("agentName", "my-google-bot"), err: `must not contain "google"`},
		"NameTooLong":  {reason: "agent-<name> is a Google account id of at most 30.", xr: withSpec("agentName", strings.Repeat("a", 25)), err: "3 to 24"},
		"Project":      {reason: "The bucket carries it.", xr: withSpec("projectId", "Acme"), err: "spec.projectId"},
		"ProjectGoog":  {reason: "Google refuses the bucket.", xr: withSpec("projectId", "goog-data"), err: "spec.projectId"},
		"Domain":       {reason: "It becomes a host name.", xr: withSpec("baseDomain", "Example.org/x"), err: "spec.baseDomain"},
		"NoDataset":    {reason: "The first thing to know.", xr: withSpec("datasetRef", map[string]any{}), err: "spec.datasetRef.name is empty"},
		"Budget":       {reason: "Money is never negative.", xr: withSpec("budgetUsd", -1.0), err: "spec.budgetUsd"},
		"BudgetTooBig": {reason: "The API's bound.", xr: withSpec("budgetUsd", 10001.0), err: "spec.budgetUsd"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			_, err := (&Call{Req: requestOf(t, tc.xr)}).Order(v1alpha1.OrderFields()...)
			says(t, err, tc.err)
		})
	}
	_, err := (&Call{Req: &fnv1.RunFunctionRequest{}}).Order()
	says(t, err, "the request holds none")
}

// A status that holds what it can't harms only who reads it.
func TestOrderStatus(t *testing.T) {
	xr := order(goodSpec())
	xr["status"] = map[string]any{"conditions": "none"}
	c := &Call{Req: requestOf(t, xr)}
	_, err := c.Order(v1alpha1.OrderFields()...)
	says(t, err, "")
	_, err = c.Order(v1alpha1.UsesStatus)
	says(t, err, `field "status.conditions" must be a list, not a string`)
}

func TestInput(t *testing.T) {
	const group, kind = "fn.whisperops.io/v1alpha1", "ValidateDatasetInput"
	cases := map[string]struct {
		reason string
		in     map[string]any
		err    string
	}{
		"None":         {reason: "Every input has a default."},
		"Good":         {reason: "The usual one.", in: map[string]any{"apiVersion": group, "kind": kind, "retryAfter": "30s"}},
		"Typo":         {reason: "A typo that is ignored is found months later.", in: map[string]any{"apiVersion": group, "kind": kind, "retryafter": "30s"}, err: `cannot use input: unknown field "retryafter"`},
		"TypoOfNull":   {reason: "A typo that holds nothing is one all the same.", in: map[string]any{"apiVersion": group, "kind": kind, "retryafter": nil}, err: `cannot use input: unknown field "retryafter"`},
		"WrongType":    {reason: "As a typo.", in: map[string]any{"apiVersion": group, "kind": kind, "retryAfter": 30.0}, err: "cannot use input: "},
		"NoUnit":       {reason: "A step has many durations: which of them is it?", in: map[string]any{"apiVersion": group, "kind": kind, "retryAfter": "30"}, err: `cannot use input: field "retryAfter": time: missing unit in duration "30"`},
		"TooOften":     {reason: "60m are easily typed as 60ms.", in: map[string]any{"apiVersion": group, "kind": kind, "retryAfter": "60ms"}, err: "retryAfter must be a duration of at least 1s"},
		"OtherStep":    {reason: "Inputs are easily pasted to the wrong step.", in: map[string]any{"apiVersion": group, "kind": "RenderIAMInput"}, err: `its kind is "RenderIAMInput", this step takes "ValidateDatasetInput"`},
		"OtherVersion": {reason: "A later version's input may mean something else.", in: map[string]any{"apiVersion": "fn.whisperops.io/v9", "kind": kind}, err: `its apiVersion is "fn.whisperops.io/v9"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			req := &fnv1.RunFunctionRequest{}
			if tc.in != nil {
				req.Input = object(t, tc.in)
			}
			err := (&Call{Req: req}).Input(&input.ValidateDatasetInput{})
			says(t, err, tc.err)
			if err != nil && (strings.Contains(err.Error(), "structpb") || strings.Contains(err.Error(), "v1alpha1.Val")) {
				t.Errorf("readers know no Go types: %v", err)
			}
		})
	}
}

// People know names from pods: where one stands with us is said.
func TestUnknownFieldHasAHint(t *testing.T) {
	type level struct {
		NodeSelector map[string]string `json:"nodeSelector"`
	}
	type top struct {
		metav1.TypeMeta `json:",inline"`

		PodTemplate *level             `json:"podTemplate"`
		Sandbox     level              `json:"sandbox"`
		Affinity    *metav1.ObjectMeta `json:"affinity"`
	}
	for name, tc := range map[string]struct{ field, want string }{
		"AtTheTop":  {"nodeSelector", `unknown field "nodeSelector"; there is "podTemplate.nodeSelector"`},
		"Spelling":  {"podTemplate.nodeselector", `unknown field "podTemplate.nodeselector"; there is "podTemplate.nodeSelector"`},
		"Capital":   {"Sandbox", `unknown field "Sandbox"; there is "sandbox"`},
		"NotTheirs": {"finalizers", `unknown field "finalizers"`},
		"Nowhere":   {"colour", `unknown field "colour"`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := withHint(errors.Errorf("unknown field %q", tc.field), reflect.TypeFor[top]()).Error(); got != tc.want {
				t.Errorf("want %s, got %s", tc.want, got)
			}
		})
	}
}

// null is what is left in YAML of a field whose lines are commented out, and what
// the API server fills a default into.
// A duration's own error does not say where it stands.
func TestInputNamesTheField(t *testing.T) {
	for _, tc := range []struct {
		in  map[string]any
		err string
	}{
		{map[string]any{"prometheus": map[string]any{"url": "http://x", "timeout": "10"}}, `field "prometheus.timeout": time: missing unit in duration "10"`},
		{map[string]any{"grid": "30s", "minLook": "1 minute"}, `field "minLook": time: unknown unit`},
		{map[string]any{"grid": "30s", "prometheus": map[string]any{"timeout": 10.0}}, `field "prometheus.timeout" must be a string, not a number`},
	} {
		tc.in["apiVersion"], tc.in["kind"] = "fn.whisperops.io/v1alpha1", "FetchSpendInput"
		says(t, (&Call{Req: &fnv1.RunFunctionRequest{Input: object(t, tc.in)}}).Input(&input.FetchSpendInput{}), tc.err)
	}
}

func TestInputOfNullIsTheDefault(t *testing.T) {
	in, want := &workloads.RenderWorkloadsInput{}, &workloads.RenderWorkloadsInput{}
	want.Default()
	want.APIVersion, want.Kind = "fn.whisperops.io/v1alpha1", "RenderWorkloadsInput"
	want.Images = workloads.Images{Sandbox: "sandbox:v1", ChatFrontend: "chat:v1"}
	err := (&Call{Req: &fnv1.RunFunctionRequest{Input: object(t, map[string]any{
		"apiVersion": "fn.whisperops.io/v1alpha1", "kind": "RenderWorkloadsInput",
		"images":  map[string]any{"sandbox": "sandbox:v1", "chatFrontend": "chat:v1"},
		"model":   nil,
		"network": map[string]any{"privateCIDRs": nil, "apiServerCIDRs": nil, "kagentLabel": nil},
	})}}).Input(in)
	says(t, err, "")
	if diff := cmp.Diff(want, in); diff != "" {
		t.Errorf("-default, +null (no private network would be closed):\n%s", diff)
	}
}

func TestDataset(t *testing.T) {
	good := map[string]any{"name": "d", "gcsPath": "gs://bucket/d.csv", "sizeBytes": 7.0, "displayName": "D"}
	with := func(k string, v any) map[string]any {
		m := maps.Clone(good)
		m[k] = v
		return m
	}
	cases := map[string]struct {
		reason  string
		context map[string]any
		want    *v1alpha1.Dataset
		err     string
	}{
		"Good":     {reason: "The contract.", context: map[string]any{"dataset": good}, want: &v1alpha1.Dataset{Name: "d", GCSPath: "gs://bucket/d.csv", SizeBytes: 7, DisplayName: "D"}},
		"Null":     {reason: "null means that the order can't be filled now.", context: map[string]any{"dataset": nil}},
		"Absent":   {reason: "A station that drops the context must not look like an order that can't be filled.", context: map[string]any{}, err: `context key "dataset" is absent`},
		"NoMap":    {reason: "A foreign station may leave anything.", context: map[string]any{"dataset": "d"}, err: `cannot decode context key "dataset"`},
		"BadPath":  {reason: "The path reaches prompts and grants.", context: map[string]any{"dataset": with("gcsPath", "s3://b/d.csv")}, err: "must be gs://<bucket>/<object>.csv"},
		"BadQuote": {reason: "The bucket's name stands in a CEL string.", context: map[string]any{"dataset": with("gcsPath", `gs://b"||true||"/d.csv`)}, err: "names no bucket"},
		"Negative": {reason: "Sizes are never negative.", context: map[string]any{"dataset": with("sizeBytes", -1.0)}, err: "must not be negative"},
		"Half":     {reason: "Bytes are whole.", context: map[string]any{"dataset": with("sizeBytes", 0.5)}, err: "must be a whole number"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			got, err := (&Call{Req: &fnv1.RunFunctionRequest{Context: object(t, tc.context)}}).Dataset()
			says(t, err, tc.err)
			if err == nil {
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("Dataset(...): -want, +got:\n%s", diff)
				}
			}
		})
	}
}

func TestSetStatusKeepsWhatEarlierStepsWrote(t *testing.T) {
	req := requestOf(t, order(goodSpec()))
	req.Desired = &fnv1.State{Composite: &fnv1.Resource{Resource: object(t, map[string]any{"status": map[string]any{"phase": "Ready", "url": "old"}})}}
	rsp := &fnv1.RunFunctionResponse{Desired: req.GetDesired()}
	if err := (&Call{Req: req, Rsp: rsp}).SetStatus(map[string]any{"url": "new"}); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"apiVersion": "whisperops.io/v1alpha1", "kind": "XDatasetAgent", "status": map[string]any{"phase": "Ready", "url": "new"}}
	if diff := cmp.Diff(want, rsp.GetDesired().GetComposite().GetResource().AsMap()); diff != "" {
		t.Errorf("SetStatus(...): -want, +got:\n%s", diff)
	}

	rsp.Desired.Composite.Resource = object(t, map[string]any{"status": "rubbish"})
	says(t, (&Call{Req: req, Rsp: rsp}).SetStatus(map[string]any{"url": "new"}), "a desired status that is not a map")
}

func TestHoldBack(t *testing.T) {
	run := func(context map[string]any, parts ...v1alpha1.HeldBack) (*fnv1.RunFunctionResponse, error) {
		req := requestOf(t, order(goodSpec()))
		req.Context = object(t, context)
		rsp := &fnv1.RunFunctionResponse{Context: req.GetContext()}
		return rsp, (&Call{Req: req, Rsp: rsp}).HoldBack(parts...)
	}

	rsp, err := run(map[string]any{})
	says(t, err, "")
	if c := rsp.GetConditions(); len(c) != 1 || c[0].GetStatus() != fnv1.Status_STATUS_CONDITION_FALSE {
		t.Errorf("open gates must say so, or the condition of an earlier pass stands for ever: %v", c)
	}
	if rsp.GetDesired().GetComposite().GetReady() != fnv1.Ready_READY_UNSPECIFIED {
		t.Error("open gates have no opinion on the XR's readiness")
	}

	earlier := map[string]any{"held_back": []any{map[string]any{"part": "sa-key", "waitsFor": "the namespace"}}}
	rsp, err = run(earlier, v1alpha1.HeldBack{Part: "agent-planner", WaitsFor: "agent-worker"})
	says(t, err, "")
	if got, want := rsp.GetConditions()[0].GetMessage(), "sa-key waits for the namespace; agent-planner waits for agent-worker"; got != want {
		t.Errorf("the last step's condition must name all that waits: want %q, got %q", want, got)
	}
	if rsp.GetDesired().GetComposite().GetReady() != fnv1.Ready_READY_FALSE {
		t.Error("an order with parts held back is not ready, even if all that is rendered is")
	}

	rsp, err = run(earlier)
	says(t, err, "")
	if rsp.GetConditions()[0].GetStatus() != fnv1.Status_STATUS_CONDITION_TRUE {
		t.Error("a step without gates of its own must not deny what an earlier one holds back")
	}
}

func TestAddComposed(t *testing.T) {
	cases := map[string]struct {
		reason   string
		observed map[string]any
		err      string
	}{
		"New":          {reason: "Nothing stands in the way."},
		"Same":         {reason: "The usual pass."},
		"OtherVersion": {reason: "A stored version may differ from the rendered one.", observed: map[string]any{"apiVersion": "storage.gcp.upbound.io/v1beta1", "kind": "Bucket"}},
		"OtherGroup":   {reason: "The namespaced flavour under the same name leaves two buckets alive.", observed: map[string]any{"apiVersion": "storage.gcp.m.upbound.io/v1beta2", "kind": "Bucket"}, err: "delete that by hand first"},
		"OtherKind":    {reason: "As above.", observed: map[string]any{"apiVersion": "storage.gcp.upbound.io/v1beta2", "kind": "Object"}, err: "which would live on unseen"},
		"Garbage":      {reason: "What can't be recognised can't be kept either.", observed: map[string]any{"kind": 7.0}, err: "which would live on unseen"},
	}
	bucket := manifest.Object{"apiVersion": "storage.gcp.upbound.io/v1beta2", "kind": "Bucket"}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			req := requestOf(t, order(goodSpec()))
			if tc.observed != nil {
				req.Observed.Resources = map[string]*fnv1.Resource{"bucket": {Resource: object(t, tc.observed)}}
			}
			rsp := &fnv1.RunFunctionResponse{}
			err := (&Call{Req: req, Rsp: rsp}).AddComposed(map[string]manifest.Object{"bucket": bucket})
			says(t, err, tc.err)
			if err == nil && decoded(t, rsp)["bucket"] == nil {
				t.Error("the bucket is not desired")
			}
		})
	}
}

func TestNothingLost(t *testing.T) {
	req := requestOf(t, order(goodSpec()))
	req.Observed.Resources = map[string]*fnv1.Resource{"bucket": {}, "sa": {}, "prompts": {}}
	rsp := &fnv1.RunFunctionResponse{Desired: &fnv1.State{Resources: map[string]*fnv1.Resource{"sa": {}}}}
	says(t, (&Call{Req: req, Rsp: rsp}).NothingLost("no dataset", "bucket", "sa"), "no dataset (not rendered: bucket)")
	says(t, (&Call{Req: req, Rsp: rsp}).NothingLost("no dataset", "sa"), "")
	says(t, (&Call{Req: req, Rsp: rsp}).NothingLost("no dataset", "iam-bucket-admin"), "")
}

func TestPart(t *testing.T) {
	req := &fnv1.RunFunctionRequest{Observed: &fnv1.State{Resources: map[string]*fnv1.Resource{
		"good": {
			Resource: object(t, map[string]any{
				"apiVersion": "a.b/v1", "kind": "K",
				"metadata": map[string]any{"deletionTimestamp": "2026-11-23T00:00:00Z"},
				"status": map[string]any{"conditions": []any{
					"rubbish",
					map[string]any{"type": "Synced", "status": "False", "lastTransitionTime": "rubbish"},
					map[string]any{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-23T08:00:00Z"},
				}},
			}),
			ConnectionDetails: map[string][]byte{"private_key": []byte("x"), "empty": {}},
		},
		"nothing": nil,
		"rubbish": {Resource: object(t, map[string]any{"metadata": 1.0, "status": []any{}})},
	}}}
	good := (&Call{Req: req}).Observed("good")
	status, since := good.Condition("Ready")
	if !good.Exists() || !good.Ready() || !good.Deleting() || good.Kind() != "K" || good.Group() != "a.b" || status != "True" || !since.Equal(time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)) {
		t.Errorf("a good part is misread: %v, Ready %q since %v", good, status, since)
	}
	if status, since := good.Condition("Synced"); status != "False" || !since.IsZero() {
		t.Errorf("an unreadable time is no time: %q since %v", status, since)
	}
	if !good.HasConnectionDetail("private_key") || good.HasConnectionDetail("empty") || good.HasConnectionDetail("absent") {
		t.Error("a connection detail counts when it holds something")
	}
	for _, name := range []string{"nothing", "rubbish", "absent"} {
		p := (&Call{Req: req}).Observed(name)
		if p.Ready() || p.Deleting() || p.Kind() != "" || p.String("a", "b", "c") != "" || p.HasConnectionDetail("private_key") {
			t.Errorf("%s is read as something", name)
		}
	}
}

func TestRun(t *testing.T) {
	req := &fnv1.RunFunctionRequest{Meta: &fnv1.RequestMeta{Tag: "t"}}
	rsp, err := New(logging.NewNopLogger(), func(*Call) error { return errors.New("no") }).RunFunction(context.Background(), req)
	if err != nil || len(rsp.GetResults()) != 1 || rsp.GetResults()[0].GetSeverity() != fnv1.Severity_SEVERITY_FATAL || rsp.GetMeta().GetTtl().AsDuration() != 0 {
		t.Errorf("a failure is one fatal result, with no opinion on the TTL: %v", rsp)
	}
}

// An input whose bytes hold the same isn't read again, and what one call does to it reaches
// no other. A bad one is refused each time.
func TestInputIsRemembered(t *testing.T) {
	remembered := &inputs{}
	with := func(label map[string]any) *input.RenderDashboardInput {
		t.Helper()
		b, err := proto.Marshal(&fnv1.RunFunctionRequest{Input: object(t, map[string]any{
			"apiVersion": input.APIVersion, "kind": "RenderDashboardInput", "folder": "F", "datasourceUid": "d", "sidecarLabel": label,
		})})
		if err != nil {
			t.Fatal(err)
		}
		req := &fnv1.RunFunctionRequest{}
		if err := wire.Unmarshal(b, req); err != nil {
			t.Fatal(err)
		}
		got, want := &input.RenderDashboardInput{}, &input.RenderDashboardInput{}
		err, wantErr := (&Call{Req: req, inputs: remembered}).Input(got), (&Call{Req: req}).Input(want)
		if errString(err) != errString(wantErr) {
			t.Errorf("remembering says %v, reading %v", err, wantErr)
		}
		if diff := cmp.Diff(want, got); err == nil && diff != "" {
			t.Errorf("-read, +remembered:\n%s", diff)
		}
		return got
	}
	ab := map[string]any{"a": "1", "b": "2", "c": "3"}
	with(ab).SidecarLabel["a"] = "changed"
	for range 20 { // protobuf writes maps in another order each time
		with(ab)
	}
	if n := len(remembered.read); n != 1 {
		t.Errorf("the same input was read %d times", n)
	}
	for range 3 { // two Compositions use the step in turn
		with(map[string]any{"a": "1", "b": "2", "c": "4"})
		with(ab)
	}
	if n := len(remembered.read); n != 2 {
		t.Errorf("two inputs were read %d times", n)
	}
	for i := range 20 {
		with(map[string]any{"a": strconv.Itoa(i)})
	}
	if n := len(remembered.read); n != maxInputs {
		t.Errorf("%d inputs are remembered, want %d", n, maxInputs)
	}
	for range 2 {
		with(map[string]any{"a": "not a label!"})
	}
	with(ab)
}

func errString(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
