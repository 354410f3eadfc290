package pipeline

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/test/crossplane"
)

// foreign is a station as another team would write it, in another style: it
// knows nothing but the contract, and speaks raw protobuf.
type foreign struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	leaves  map[string]any            // context keys it sets
	drops   bool                      // it forgets the context of the steps before it
	forgets bool                      // it forgets whether the order was ready, as the SDK's helpers do
	renders map[string]map[string]any // composed resources it adds
}

func (f *foreign) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	rsp := &fnv1.RunFunctionResponse{Desired: req.GetDesired(), Context: req.GetContext()}
	if f.drops {
		rsp.Context = nil
	}
	if xr := rsp.GetDesired().GetComposite(); f.forgets && xr != nil {
		xr.Ready = fnv1.Ready_READY_UNSPECIFIED
	}
	for k, v := range f.leaves {
		if rsp.GetContext().GetFields() == nil {
			rsp.Context = &structpb.Struct{Fields: map[string]*structpb.Value{}}
		}
		value, err := structpb.NewValue(v)
		if err != nil {
			return nil, err
		}
		rsp.Context.Fields[k] = value
	}
	for name, o := range f.renders {
		s, err := structpb.NewStruct(o)
		if err != nil {
			return nil, err
		}
		if rsp.GetDesired().GetResources() == nil {
			rsp.Desired.Resources = map[string]*fnv1.Resource{}
		}
		rsp.Desired.Resources[name] = &fnv1.Resource{Resource: s, Ready: fnv1.Ready_READY_TRUE}
	}
	return rsp, nil
}

func xr(t *testing.T) *fnv1.Resource {
	t.Helper()
	s, err := structpb.NewStruct(map[string]any{
		"apiVersion": "whisperops.io/v1alpha1", "kind": "XDatasetAgent", "metadata": map[string]any{"name": "housing-bot"},
		"spec": map[string]any{
			"agentName": "housing-bot", "datasetRef": map[string]any{"name": "california-housing"}, "budgetUsd": 5.0,
			"baseDomain": "example.org", "projectId": "acme-data",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &fnv1.Resource{Resource: s}
}

var registry = []map[string]any{{
	"apiVersion": "whisperops.io/v1alpha1", "kind": "XDataset", "metadata": map[string]any{"name": "california-housing"},
	"spec":   map[string]any{"gcsPath": "gs://acme-datasets/california-housing.csv", "sizeBytes": 2e6, "displayName": "California Housing"},
	"status": map[string]any{"ready": true},
}}

// twoPasses runs the pipeline on nothing, and then on what that rendered, ready.
func twoPasses(t *testing.T, functions Functions) *crossplane.Result {
	t.Helper()
	steps, err := Agent(functions)
	if err != nil {
		t.Fatal(err)
	}
	observed := &fnv1.State{Composite: xr(t), Resources: map[string]*fnv1.Resource{}}
	r, err := crossplane.Run(context.Background(), steps, observed, registry, nil)
	if err != nil || r.Fatal != "" {
		t.Fatal("first pass: ", err, r.Fatal)
	}
	for name, d := range r.Desired.GetResources() {
		observed.Resources[name] = live(t, name, d)
	}
	r, err = crossplane.Run(context.Background(), steps, observed, registry, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func live(t *testing.T, name string, desired *fnv1.Resource) *fnv1.Resource {
	t.Helper()
	o := desired.GetResource().AsMap()
	at := map[string]any{}
	if name == v1alpha1.PartNamespace {
		at["manifest"] = map[string]any{"status": map[string]any{"phase": "Active"}}
	}
	o["status"] = map[string]any{"atProvider": at, "conditions": []any{map[string]any{"type": "Ready", "status": "True"}}}
	s, err := structpb.NewStruct(o)
	if err != nil {
		t.Fatal(err)
	}
	return &fnv1.Resource{Resource: s, ConnectionDetails: map[string][]byte{"private_key": []byte("{}")}}
}

var foreignDataset = map[string]any{"name": "theirs", "gcsPath": "gs://their-datasets/theirs.csv", "sizeBytes": 1e6, "displayName": "Theirs"}

// Each station can be swapped for a foreign one that honours the context keys: the
// rest of the pipeline neither notices nor stops.
func TestEachStationCanBeSwapped(t *testing.T) {
	other := map[string]any{"apiVersion": "example.org/v1", "kind": "Thing", "metadata": map[string]any{"name": "theirs"}}
	iam := v1alpha1.AgentParts()[:5]
	workloads := v1alpha1.AgentParts()[5:20]
	cases := map[string]struct {
		reason  string
		station *foreign
		missing []string // parts that only the swapped station would have rendered
	}{
		"function-xda-validate-dataset": {
			reason:  "A registry of another kind feeds the same pipeline.",
			station: &foreign{leaves: map[string]any{"dataset": foreignDataset}},
		},
		"function-xda-compute-tuning": {
			reason:  "Another formula.",
			station: &foreign{leaves: map[string]any{"tuning": map[string]any{"sandboxMemMi": 3072.0}}},
		},
		"function-xda-render-iam": {
			reason:  "Another cloud: its parts are other parts.",
			station: &foreign{renders: map[string]map[string]any{"theirs": other}},
			missing: iam,
		},
		"function-xda-render-workloads": {
			reason: "Another runtime. It renders the namespace, which gates others.",
			station: &foreign{renders: map[string]map[string]any{"theirs": other, "namespace": {
				"apiVersion": "kubernetes.crossplane.io/v1alpha2", "kind": "Object", "metadata": map[string]any{"name": "theirs"},
			}}},
			missing: workloads[1:],
		},
		"function-xda-render-dashboard": {
			reason:  "Another dashboard.",
			station: &foreign{renders: map[string]map[string]any{"theirs": other}},
			missing: []string{v1alpha1.PartDashboard},
		},
		"function-xda-emit-budget": {
			reason:  "Another meter.",
			station: &foreign{renders: map[string]map[string]any{"theirs": other}},
			missing: []string{v1alpha1.PartXAgentBudget},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			r := twoPasses(t, All().With(name, tc.station))
			if r.Fatal != "" {
				t.Fatal(r.Fatal)
			}
			for _, part := range v1alpha1.AgentParts() {
				_, rendered := r.Desired.GetResources()[part]
				if want := !slices.Contains(tc.missing, part); rendered != want {
					t.Errorf("part %s rendered: %v, want %v", part, rendered, want)
				}
			}
			for part := range tc.station.renders {
				if _, kept := r.Desired.GetResources()[part]; !kept {
					t.Errorf("what the foreign station rendered is gone: %s", part)
				}
			}
		})
	}
}

// What the foreign stations leave is what the rest works with.
func TestForeignContextIsUsed(t *testing.T) {
	r := twoPasses(t, All().With("function-xda-validate-dataset", &foreign{leaves: map[string]any{"dataset": foreignDataset}}).
		With("function-xda-compute-tuning", &foreign{leaves: map[string]any{"tuning": map[string]any{"sandboxMemMi": 3072.0}}}))
	sandbox := r.Desired.GetResources()[v1alpha1.PartSandboxDeployment].GetResource().String()
	grant := r.Desired.GetResources()[v1alpha1.PartIAMDatasetsViewer].GetResource().String()
	for where, want := range map[string]string{sandbox: "3072Mi", grant: "their-datasets"} {
		if !strings.Contains(where, want) {
			t.Errorf("want %q in %s", want, where)
		}
	}
}

// Without tuning in the context render-workloads applies the formula itself.
func TestTuningLeftOut(t *testing.T) {
	r := twoPasses(t, All().With("function-xda-compute-tuning", &foreign{}))
	if sandbox := r.Desired.GetResources()[v1alpha1.PartSandboxDeployment].GetResource().String(); !strings.Contains(sandbox, "1024Mi") {
		t.Errorf("the sandbox of a small dataset gets 1 GiB: %s", sandbox)
	}
}

// A foreign station that drops the context makes the next step that needs it
// fatal, and nothing is lost.
func TestDroppedContextIsFatal(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(All())) {
		for _, next := range []struct{ station, step string }{
			{"function-xda-validate-dataset", "compute-tuning"},
			{"function-xda-compute-tuning", "render-iam"},
			{"function-xda-render-iam", "render-workloads"},
			{"function-xda-render-workloads", "render-dashboard"},
			{"function-xda-render-dashboard", "emit-budget"},
		} {
			if next.station != name {
				continue
			}
			t.Run(name, func(t *testing.T) {
				steps, err := Agent(All().With(name, &foreign{drops: true}))
				if err != nil {
					t.Fatal(err)
				}
				r, err := crossplane.Run(context.Background(), steps, &fnv1.State{Composite: xr(t)}, registry, nil)
				if err != nil {
					t.Fatal(err)
				}
				if want := `pipeline step "` + next.step + `" returned a fatal result: `; !strings.Contains(r.Fatal, want) || !strings.Contains(r.Fatal, `context key "dataset" is absent`) {
					t.Errorf("want a fatal result of step %s that names the key, got %q", next.step, r.Fatal)
				}
			})
		}
	}
}

// The SDK's helpers read no readiness of the composite and write it back as unspecified;
// an order that desires nothing counts as ready then, and kubectl wait and Argo CD take it
// for done. Every station of ours says again what it knows. What comes behind the last of
// them can still spoil it (docs/replace-a-station.md).
func TestForeignStepForgetsReadiness(t *testing.T) {
	steps, err := Agent(All())
	if err != nil {
		t.Fatal(err)
	}
	last := slices.IndexFunc(steps, func(s crossplane.Step) bool { return s.Name == "emit-budget" })
	if last < 0 {
		t.Fatal("there is no step emit-budget")
	}
	waiting := []map[string]any{} // an order whose dataset isn't there
	for i := 1; i <= last+1; i++ {
		note := crossplane.Step{Name: "note", Function: &foreign{forgets: true}}
		with := slices.Insert(slices.Clone(steps), i, note)
		for what, cluster := range map[string][]map[string]any{"no dataset": waiting, "parts held back": registry} {
			r, err := crossplane.Run(context.Background(), with, &fnv1.State{Composite: xr(t)}, cluster, nil)
			if err != nil || r.Fatal != "" {
				t.Fatal(err, r.Fatal)
			}
			notReady := r.Desired.GetComposite().GetReady() == fnv1.Ready_READY_FALSE
			if behind := i == last+1; notReady == behind {
				t.Errorf("%s, a foreign step behind %s: the order is said not to be ready: %v, want %v", what, steps[i-1].Name, notReady, !behind)
			}
		}
	}
}
