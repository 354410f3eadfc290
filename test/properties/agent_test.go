package properties

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/util/validation"
	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/pipeline"
)

var loaded = sync.OnceValues(func() ([]crossplane.Step, error) { return pipeline.Agent(pipeline.All()) })

func agentSteps(t interface{ Fatal(args ...any) }) []crossplane.Step {
	steps, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(steps)
}

func run(t interface{ Fatal(args ...any) }, steps []crossplane.Step, observed *fnv1.State, cluster []map[string]any) *crossplane.Result {
	r, err := crossplane.Run(context.Background(), steps, observed, cluster, nil)
	if err != nil {
		t.Fatal("a gRPC error makes Crossplane drop the response: ", err)
	}
	return r
}

var healthy = []map[string]any{
	dataset("california-housing", "gs://acme-datasets/california-housing.csv", "California Housing", 2e6),
	dataset("titanic", "gs://acme-datasets/titanic.csv", "Titanic", 6e4),
}

// settle runs the pipeline on what it has rendered until nothing changes, as a
// cluster in which everything becomes ready would. It returns the observed state
// and the last outcome.
func settle(t interface{ Fatal(args ...any) }, steps []crossplane.Step, order map[string]any, cluster []map[string]any) (*fnv1.State, *crossplane.Result) {
	xr := maps.Clone(order)
	observed := &fnv1.State{Composite: &fnv1.Resource{Resource: mustStruct(xr)}}
	last := ""
	for range 10 {
		r := run(t, steps, observed, cluster)
		if r.Fatal != "" {
			t.Fatal("a healthy order is fatal: ", r.Fatal)
		}
		if now := bytesOf(r); now == last {
			return observed, r
		} else { //nolint:revive // last must not outlive the loop
			last = now
		}
		xr["status"] = status(r)
		observed = &fnv1.State{Composite: &fnv1.Resource{Resource: mustStruct(xr)}, Resources: map[string]*fnv1.Resource{}}
		for name, d := range r.Desired.GetResources() {
			observed.Resources[name] = live(name, d, "True")
		}
	}
	t.Fatal("the order does not settle")
	return nil, nil
}

// everything returns the outcome with all gates open: the second pass over a
// cluster in which all of the first has become ready.
func everything(t interface{ Fatal(args ...any) }, steps []crossplane.Step, order map[string]any) *crossplane.Result {
	observed := &fnv1.State{Composite: &fnv1.Resource{Resource: mustStruct(order)}, Resources: map[string]*fnv1.Resource{}}
	r := run(t, steps, observed, healthy)
	for name, d := range r.Desired.GetResources() {
		observed.Resources[name] = live(name, d, "True")
	}
	r = run(t, steps, observed, healthy)
	if r.Fatal != "" || len(r.Desired.GetResources()) != len(v1alpha1.AgentParts()) {
		t.Fatal("a healthy order is not rendered whole: ", len(r.Desired.GetResources()), " parts ", r.Fatal)
	}
	return r
}

// status is what Crossplane would write: the desired status and the conditions.
func status(r *crossplane.Result) map[string]any {
	s := map[string]any{}
	if d := r.Desired.GetComposite().GetResource().GetFields()["status"].GetStructValue(); d != nil {
		s = d.AsMap()
	}
	var conditions []any
	for _, c := range r.Conditions {
		st := map[fnv1.Status]string{fnv1.Status_STATUS_CONDITION_TRUE: "True", fnv1.Status_STATUS_CONDITION_FALSE: "False"}[c.GetStatus()]
		if st == "" {
			st = "Unknown"
		}
		conditions = append(conditions, map[string]any{"type": c.GetType(), "status": st, "reason": c.GetReason(), "message": c.GetMessage(), "lastTransitionTime": "2026-11-23T08:00:00Z"})
	}
	if conditions != nil {
		s["conditions"] = conditions
	}
	return s
}

// world is one generated state of a cluster in which an order lives.
type world struct {
	observed *fnv1.State
	cluster  []map[string]any
}

func worlds() *rapid.Generator[world] {
	return rapid.Custom(func(t *rapid.T) world {
		steps := agentSteps(t)
		order := orders().Draw(t, "order")
		settled := everything(t, steps, order)
		parts := observedParts(t, settled.Desired.GetResources())

		switch rapid.SampledFrom([]string{"kept", "kept", "lost", "other dataset", "junk", "mutated"}).Draw(t, "status") {
		case "kept":
			order["status"] = status(settled)
		case "other dataset":
			order["status"] = status(settled)
			order["status"].(map[string]any)["dataset"] = map[string]any{"name": "old", "gcsPath": "gs://" + rapid.SampledFrom([]string{"acme-datasets", "older-datasets"}).Draw(t, "bucket") + "/old.csv", "sizeBytes": 7.0, "displayName": "Old"}
		case "junk":
			order["status"] = junk(3).Draw(t, "status")
		case "mutated":
			order["status"] = status(settled)
			mutate(t, order["status"].(map[string]any))
		}
		switch rapid.SampledFrom([]string{"legal", "legal", "legal", "junk spec", "mutated", "junk"}).Draw(t, "form") {
		case "junk spec":
			order["spec"] = junk(3).Draw(t, "spec")
		case "mutated":
			mutate(t, order)
		case "junk":
			order = junkMap().Draw(t, "xr")
		}
		return world{
			observed: &fnv1.State{Composite: &fnv1.Resource{Resource: mustStruct(order)}, Resources: parts},
			cluster:  clusters().Draw(t, "cluster"),
		}
	})
}

// saboteurs are stations as somebody else might write them: they break the
// context in some way and touch nothing else.
func saboteurs() *rapid.Generator[fnv1.FunctionRunnerServiceServer] {
	return rapid.Custom(func(t *rapid.T) fnv1.FunctionRunnerServiceServer {
		key := rapid.SampledFrom([]string{"dataset", "tuning", "held_back", "spend_usd", "ledger", "should_pause"}).Draw(t, "key")
		value := junk(3).Draw(t, "value")
		drop := rapid.SampledFrom([]string{"nothing", "key", "all"}).Draw(t, "drop")
		return &foreign{run: func(req *fnv1.RunFunctionRequest) *fnv1.RunFunctionResponse {
			rsp := &fnv1.RunFunctionResponse{Desired: req.GetDesired(), Context: req.GetContext()}
			switch drop {
			case "all":
				rsp.Context = nil
			case "key":
				delete(rsp.GetContext().GetFields(), key)
			default:
				if rsp.GetContext().GetFields() == nil {
					rsp.Context = &structpb.Struct{Fields: map[string]*structpb.Value{}}
				}
				v, err := structpb.NewValue(value)
				if err == nil {
					rsp.Context.Fields[key] = v
				}
			}
			return rsp
		}}
	})
}

// foreign is a function as somebody else might write it.
type foreign struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	run func(*fnv1.RunFunctionRequest) *fnv1.RunFunctionResponse
}

func (f *foreign) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	return f.run(req), nil
}

// Leaving out is deleting: what is observed is rendered again, or the run is
// fatal. For any order, observed state, dataset, status and context, and with any
// station's context broken by another.
func TestNothingObservedIsEverDropped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := worlds().Draw(t, "world")
		steps := agentSteps(t)
		if rapid.Bool().Draw(t, "sabotage") {
			at := rapid.IntRange(0, len(steps)).Draw(t, "at")
			steps = slices.Insert(steps, at, crossplane.Step{Name: "saboteur", Function: saboteurs().Draw(t, "saboteur")})
		}
		r := run(t, steps, w.observed, w.cluster)
		if r.Fatal != "" {
			return // Crossplane applies nothing and deletes nothing
		}
		if l := lost(w.observed.GetResources(), r.Desired.GetResources(), v1alpha1.AgentParts()); len(l) > 0 {
			t.Fatalf("the run would delete %v", l)
		}
	})
}

// What is legal is never fatal: a part that is missing, not ready or being
// deleted, in any combination, is no reason to stop. (Without this, a station that
// always fails would lose nothing either.)
func TestLegalWorldsAreNeverFatal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps, order := agentSteps(t), orders().Draw(t, "order")
		rendered := everything(t, steps, order)
		parts := map[string]*fnv1.Resource{}
		for _, name := range v1alpha1.AgentParts() {
			switch rapid.SampledFrom([]string{"absent", "live", "not ready", "deleting"}).Draw(t, name) {
			case "live":
				parts[name] = live(name, rendered.Desired.GetResources()[name], "True")
			case "not ready":
				parts[name] = live(name, rendered.Desired.GetResources()[name], "False")
			case "deleting":
				parts[name] = live(name, rendered.Desired.GetResources()[name], "True")
				parts[name].Resource.Fields["metadata"].GetStructValue().Fields["deletionTimestamp"] = structpb.NewStringValue("2026-11-23T08:00:00Z")
			}
		}
		if rapid.Bool().Draw(t, "status kept") {
			order["status"] = status(rendered)
		}
		r := run(t, steps, &fnv1.State{Composite: &fnv1.Resource{Resource: mustStruct(order)}, Resources: parts}, healthy)
		if r.Fatal != "" {
			t.Fatal("a legal world is fatal: ", r.Fatal)
		}
		if l := lost(parts, r.Desired.GetResources(), v1alpha1.AgentParts()); len(l) > 0 {
			t.Fatalf("the run would delete %v", l)
		}
	})
}

// The same world twice gives the same bytes, and needs no second look to say so.
func TestSameWorldSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := worlds().Draw(t, "world")
		a, b := run(t, agentSteps(t), w.observed, w.cluster), run(t, agentSteps(t), w.observed, w.cluster)
		if bytesOf(a) != bytesOf(b) {
			t.Fatalf("the same request twice differs:\n%v\n%v", a, b)
		}
	})
}

// Rendering on top of what was rendered changes nothing, and the order settles
// with all 22 parts.
func TestRenderingOnTopChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		order, steps := orders().Draw(t, "order"), agentSteps(t)
		observed, last := settle(t, steps, order, healthy)
		if got := len(last.Desired.GetResources()); got != 22 {
			t.Fatalf("an order settles with %d parts: %v", got, slices.Sorted(maps.Keys(last.Desired.GetResources())))
		}
		if got := last.Desired.GetComposite().GetResource().GetFields()["status"].GetStructValue().GetFields()["phase"].GetStringValue(); got != "Ready" {
			t.Fatalf("an order settles in phase %q", got)
		}
		for _, name := range v1alpha1.AgentParts() {
			// What was rendered is, but for what others added, what is observed.
			want, got := last.Desired.GetResources()[name].GetResource(), observed.GetResources()[name].GetResource()
			if text(last.Desired.GetResources()[name], "kind") != text(observed.GetResources()[name], "kind") || !contains(got.AsMap(), without(want.AsMap(), "managementPolicies")) {
				t.Fatalf("part %s changes although nothing happened:\n%v\n%v", name, got, want)
			}
		}
	})
}

// without returns o without the spec field that live replaces.
func without(o map[string]any, field string) map[string]any {
	if spec, ok := o["spec"].(map[string]any); ok {
		delete(spec, field)
	}
	return o
}

// contains says whether all of want is in got.
func contains(got, want any) bool {
	w, ok := want.(map[string]any)
	if !ok {
		a, errA := json.Marshal(got)
		b, errB := json.Marshal(want)
		return errA == nil && errB == nil && bytes.Equal(a, b)
	}
	g, ok := got.(map[string]any)
	if !ok {
		return false
	}
	for k, v := range w {
		if !contains(g[k], v) {
			return false
		}
	}
	return true
}

// owns are the status fields and context keys that each station may write.
var owns = map[string][]string{
	"validate-dataset": {"phase", "dataset"},
	"compute-tuning":   {"sandboxMemMi", "tuning"},
	"render-iam":       {"held_back"},
	"render-workloads": {"held_back"},
	"render-dashboard": {},
	"emit-budget":      {"url", "budget", "held_back"},
	"fetch-spend":      {"spend_usd", "window_sec", "ledger", "spend_problem", "measurement"},
	"decide":           nil, // its status is the whole status; see TestBudgetStationsKeepWhatIsNotTheirs
	"render":           {},
	"ready":            {},
}

// A station adds to the desired status, the desired resources and the context;
// it never drops or changes what an earlier one left.
func TestStationsKeepWhatEarlierOnesLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := worlds().Draw(t, "world")
		for _, s := range agentSteps(t) {
			before := map[string]any{"phase": "p", "dataset": "d", "sandboxMemMi": 1.0, "url": "u", "budget": "b", "foreign": "f"}
			ctx := map[string]any{"foreign": junk(2).Draw(t, "foreign"), "tuning": map[string]any{"sandboxMemMi": 1024.0},
				"dataset": map[string]any{"name": "d", "gcsPath": "gs://acme-datasets/d.csv", "sizeBytes": 5.0, "displayName": "D"}}
			req := &fnv1.RunFunctionRequest{
				Observed: w.observed, Context: mustStruct(ctx), Input: inputOf(s),
				Desired: &fnv1.State{
					Composite: &fnv1.Resource{Resource: mustStruct(map[string]any{"status": before})},
					Resources: map[string]*fnv1.Resource{"foreign": {Resource: mustStruct(junkMap().Draw(t, "resource")), Ready: fnv1.Ready_READY_TRUE}},
				},
			}
			sent := proto.CloneOf(req)
			rsp, _, err := crossplane.Call(context.Background(), s.Function, req, w.cluster)
			if err != nil {
				t.Fatal(err)
			}
			if crossplane.Fatal(rsp) != "" {
				continue
			}
			after := rsp.GetDesired().GetComposite().GetResource().GetFields()["status"].GetStructValue().AsMap()
			for k, v := range before {
				if !slices.Contains(owns[s.Name], k) && !contains(after[k], v) {
					t.Fatalf("%s changes status field %q from %v to %v", s.Name, k, v, after[k])
				}
			}
			for k, v := range sent.GetContext().GetFields() {
				if !slices.Contains(owns[s.Name], k) && k != "dataset" && !proto.Equal(v, rsp.GetContext().GetFields()[k]) {
					t.Fatalf("%s changes context key %q", s.Name, k)
				}
			}
			if s.Name != "validate-dataset" && !proto.Equal(sent.GetContext().GetFields()["dataset"], rsp.GetContext().GetFields()["dataset"]) {
				t.Fatalf("%s changes the dataset", s.Name)
			}
			if !proto.Equal(sent.GetDesired().GetResources()["foreign"], rsp.GetDesired().GetResources()["foreign"]) {
				t.Fatalf("%s changes a resource of somebody else", s.Name)
			}
		}
	})
}

func inputOf(s crossplane.Step) *structpb.Struct {
	if s.Input == nil {
		return nil
	}
	return mustStruct(s.Input)
}

// Every name is within its limit for every legal order, and no two parts of any
// two agents are the same object.
func TestNamesAreLegalAndUnique(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := orders().Draw(t, "order"), orders().Draw(t, "other order")
		ra, rb := everything(t, agentSteps(t), a), everything(t, agentSteps(t), b)
		seen := map[string]string{}
		for _, name := range v1alpha1.AgentParts() {
			checkNames(t, name, ra.Desired.GetResources()[name].GetResource().AsMap())
			for id, what := range identities(name, ra.Desired.GetResources()[name]) {
				if other := seen[id]; other != "" {
					t.Fatalf("%s and %s are one object: %s", what, other, id)
				}
				seen[id] = what
			}
		}
		agentA, agentB := specString(a, "agentName"), specString(b, "agentName")
		if agentA == agentB {
			return
		}
		for _, name := range v1alpha1.AgentParts() {
			for id, what := range identities(name, rb.Desired.GetResources()[name]) {
				if other := seen[id]; other != "" {
					t.Fatalf("%s of agent %s and %s of agent %s are one object: %s", what, agentB, other, agentA, id)
				}
			}
		}
	})
}

func specString(order map[string]any, key string) string {
	s, _ := order["spec"].(map[string]any)[key].(string)
	return s
}

// identities are all that a part may share with another part only by mistake.
func identities(name string, r *fnv1.Resource) map[string]string {
	o := r.GetResource().AsMap()
	out := map[string]string{}
	id := func(o map[string]any) string {
		meta, _ := o["metadata"].(map[string]any)
		return fmt.Sprint(o["apiVersion"], "/", o["kind"], "/", meta["namespace"], "/", meta["name"])
	}
	out[id(o)] = name
	meta, _ := o["metadata"].(map[string]any)
	if o["kind"] == "Object" {
		out["field manager of "+fmt.Sprint(meta["name"])] = name
	}
	if m := wrapped(o); m != nil {
		out[id(m)] = name + "'s manifest"
		if data, ok := m["data"].(map[string]any); ok && name == v1alpha1.PartDashboard {
			for k := range data {
				out["dashboard file "+k] = name
			}
		}
	}
	return out
}

var (
	accountID  = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])$`)
	bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$`)
	gcpLabel   = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)
	gcpValue   = regexp.MustCompile(`^[a-z0-9_-]{0,63}$`)
	braces     = regexp.MustCompile(`\{\s*[\p{L}_][\p{L}\p{N}_.:]*\??\s*\}`)
)

func checkNames(t *rapid.T, name string, o map[string]any) {
	meta, _ := o["metadata"].(map[string]any)
	n, _ := meta["name"].(string)
	if len(n) > 108 || len(validation.IsDNS1123Subdomain(n)) > 0 {
		t.Fatalf("%s: name %q", name, n)
	}
	annotations, _ := meta["annotations"].(map[string]any)
	external, _ := annotations["crossplane.io/external-name"].(string)
	spec, _ := o["spec"].(map[string]any)
	fp, _ := spec["forProvider"].(map[string]any)
	switch name {
	case v1alpha1.PartBucket:
		if !bucketName.MatchString(external) || strings.Contains(external, "google") || strings.HasPrefix(external, "goog") {
			t.Fatalf("bucket %q", external)
		}
		labels, _ := fp["labels"].(map[string]any)
		for k, v := range labels {
			if !gcpLabel.MatchString(k) || !gcpValue.MatchString(fmt.Sprint(v)) {
				t.Fatalf("bucket label %s=%v", k, v)
			}
		}
	case v1alpha1.PartServiceAccount:
		if len(external) < 6 || len(external) > 30 || !accountID.MatchString(external) {
			t.Fatalf("account id %q", external)
		}
		for field, limit := range map[string]int{"displayName": 100, "description": 256} {
			s, _ := fp[field].(string)
			if len(s) > limit || !utf8.ValidString(s) {
				t.Fatalf("%s of the account has %d bytes: %q", field, len(s), s)
			}
		}
	case v1alpha1.PartXAgentBudget:
		if len(n) > 63 {
			t.Fatalf("budget name %q", n)
		}
	}
	m := wrapped(o)
	if m == nil {
		return
	}
	checkManifest(t, name, m)
}

func checkManifest(t *rapid.T, name string, m map[string]any) {
	meta, _ := m["metadata"].(map[string]any)
	n, _ := meta["name"].(string)
	ns, _ := meta["namespace"].(string)
	if name == v1alpha1.PartNamespace {
		if len(n) > 52 || len(validation.IsDNS1035Label(n)) > 0 {
			t.Fatalf("namespace %q", n)
		}
	} else if len(validation.IsDNS1123Label(ns)) > 0 {
		t.Fatalf("%s: manifest in namespace %q", name, ns)
	}
	if len(validation.IsDNS1123Subdomain(n)) > 0 {
		t.Fatalf("%s: manifest named %q", name, n)
	}
	if m["kind"] == "Service" && len(validation.IsDNS1035Label(n)) > 0 {
		t.Fatalf("service %q", n)
	}
	labels, _ := meta["labels"].(map[string]any)
	for k, v := range labels {
		if len(validation.IsQualifiedName(k)) > 0 || len(validation.IsValidLabelValue(fmt.Sprint(v))) > 0 {
			t.Fatalf("%s: label %s=%v", name, k, v)
		}
	}
	switch name {
	case v1alpha1.PartPrompts:
		data, _ := m["data"].(map[string]any)
		for k, v := range data {
			if s, _ := v.(string); s == "" || braces.MatchString(s) {
				t.Fatalf("prompt %s holds a session variable: %v", k, braces.FindString(s))
			}
		}
	case v1alpha1.PartDashboard:
		data, _ := m["data"].(map[string]any)
		for k, v := range data {
			if len(validation.IsConfigMapKey(k)) > 0 {
				t.Fatalf("dashboard key %q", k)
			}
			var d struct {
				UID    string `json:"uid"`
				Title  string `json:"title"`
				Panels []any  `json:"panels"`
			}
			text, _ := v.(string)
			if err := json.Unmarshal([]byte(text), &d); err != nil || d.UID == "" || len(d.UID) > 40 || d.Title == "" || len(d.Panels) < 5 {
				t.Fatalf("dashboard: %v, uid %q, title %q, %d panels", err, d.UID, d.Title, len(d.Panels))
			}
		}
	case v1alpha1.PartChatIngress:
		spec, _ := m["spec"].(map[string]any)
		rules, _ := spec["rules"].([]any)
		for _, r := range rules {
			rule, _ := r.(map[string]any)
			if h, _ := rule["host"].(string); len(validation.IsDNS1123Subdomain(h)) > 0 {
				t.Fatalf("host %q", h)
			}
		}
	}
}

// The two grants open exactly one bucket each, listing included, and none whose
// name only begins the same way.
func TestGrantsOpenExactlyOneBucket(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		order := orders().Draw(t, "order")
		steps := agentSteps(t)
		if rapid.Bool().Draw(t, "BucketIAMMember") {
			for i := range steps {
				if steps[i].Name == "render-iam" {
					steps[i].Input = map[string]any{"apiVersion": "fn.whisperops.io/v1alpha1", "kind": "RenderIAMInput", "grants": "BucketIAMMember"}
				}
			}
		}
		r := everything(t, steps, order)
		own := specString(order, "projectId") + "-agent-" + specString(order, "agentName")
		for name, bucket := range map[string]string{v1alpha1.PartIAMDatasetsViewer: "acme-datasets", v1alpha1.PartIAMBucketAdmin: own} {
			opens := opener(t, r.Desired.GetResources()[name])
			suffix := rapid.StringMatching(`[a-z0-9._-]{1,20}`).Draw(t, "suffix")
			for resource, want := range map[string]bool{
				"projects/_/buckets/" + bucket:                        true, // listing is checked on the bucket
				"projects/_/buckets/" + bucket + "/objects/a/b.csv":   true,
				"projects/_/buckets/" + bucket + suffix:               false,
				"projects/_/buckets/" + bucket + suffix + "/objects/": false,
				"projects/_/buckets/" + suffix + bucket:               false,
				"projects/_/buckets/x/objects/" + bucket:              false,
				"projects/_/buckets/":                                 false,
			} {
				if got := opens(resource); got != want {
					t.Fatalf("%s opens %s: %v, want %v", name, resource, got, want)
				}
			}
		}
	})
}

var grantExpression = regexp.MustCompile(`^resource\.name == "([^"\\]*)" \|\| resource\.name\.startsWith\("([^"\\]*)"\)$`)

// opener evaluates a grant on a resource name.
func opener(t *rapid.T, r *fnv1.Resource) func(string) bool {
	o := r.GetResource().AsMap()
	spec, _ := o["spec"].(map[string]any)
	fp, _ := spec["forProvider"].(map[string]any)
	if o["kind"] == "BucketIAMMember" {
		b, _ := fp["bucket"].(string)
		return func(s string) bool {
			return s == "projects/_/buckets/"+b || strings.HasPrefix(s, "projects/_/buckets/"+b+"/")
		}
	}
	c, _ := fp["condition"].(map[string]any)
	e, _ := c["expression"].(string)
	m := grantExpression.FindStringSubmatch(e)
	if m == nil {
		t.Fatalf("an expression of another form than the one that is understood here: %s", e)
	}
	return func(s string) bool { return s == m[1] || strings.HasPrefix(s, m[2]) }
}
