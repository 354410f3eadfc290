package examples

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	input "whisperops.io/functions/apis/input/v1alpha1"
	workloads "whisperops.io/functions/apis/input/workloads/v1alpha1"
	"whisperops.io/functions/test/pipeline"
)

// beside are inputs that can't stand in one order with those that agent-all-inputs has,
// and where else they are rendered and checked.
var beside = map[string]string{
	"render-workloads.images.sandbox":                 "the Composition sets it",
	"render-workloads.images.chatFrontend":            "as above",
	"render-workloads.model.meter.enabled":            "as above",
	"render-workloads.model.baseUrl":                  "not beside model.meter; agent-claude has another provider",
	"render-workloads.model.credentialSecret.name":    "not beside model.meter; agent-claude has one",
	"render-workloads.model.credentialSecret.key":     "as above",
	"render-workloads.podTemplate.caBundle.pem":       "not beside configMap",
	"render-workloads.kagentVersion":                  "the CRDs of v0.9 don't have what v0.10 gets; TestSessionsAreKeptApart",
	"render-dashboard.metrics.tokens":                 "not beside a metric for each class",
	"render-dashboard.metrics.classLabel":             "as above",
	"render-dashboard.metrics.classes":                "as above",
	"render-dashboard.metrics.preset":                 "it gives the names that stand here",
	"render-dashboard.metrics.inputContains":          "not beside inputContainsCached",
	"render-dashboard.metrics.outputContainsThoughts": "read by fetch-spend",
}

// TestAllInputs: agent-all-inputs sets every input of the order's steps, so that the real
// schemas see what comes of each (make validate). A new input that isn't set there is
// named here.
func TestAllInputs(t *testing.T) {
	s, err := Read(filepath.Join(pipeline.Root(), "examples", "agent-all-inputs"))
	if err != nil {
		t.Fatal(err)
	}
	for step, in := range map[string]any{
		"validate-dataset": input.ValidateDatasetInput{}, "compute-tuning": input.ComputeTuningInput{}, "render-iam": input.RenderIAMInput{},
		"render-workloads": workloads.RenderWorkloadsInput{}, "render-dashboard": input.RenderDashboardInput{}, "emit-budget": input.EmitBudgetInput{},
	} {
		leaves(step, reflect.TypeOf(in), func(path string) {
			_, excused := beside[path]
			if set := isSet(s.Inputs[step], strings.Split(path, ".")[1:]); !set && !excused {
				t.Errorf("examples/agent-all-inputs doesn't set %s: set it there, and add what comes of it to the schemas' check", path)
			} else if set && excused {
				t.Errorf("%s is excused, and set", path)
			}
		})
	}
}

// leaves calls visit with every field of an input that isn't a struct of ours. The blocks
// of single pods hold what podTemplate holds, so one field of each is enough.
func leaves(path string, of reflect.Type, visit func(string)) {
	for of.Kind() == reflect.Pointer {
		of = of.Elem()
	}
	if of.Kind() != reflect.Struct || !strings.HasPrefix(of.PkgPath(), "whisperops.io/functions/apis/") {
		visit(path)
		return
	}
	if of == reflect.TypeFor[workloads.PodTemplate]() && !strings.HasSuffix(path, ".podTemplate") {
		visit(path)
		return
	}
	for f := range of.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous { // kind and metadata
			continue
		}
		leaves(path+"."+name, f.Type, visit)
	}
}

func isSet(in map[string]any, path []string) bool {
	v, has := in[path[0]]
	if !has || len(path) == 1 {
		return has
	}
	below, _ := v.(map[string]any)
	return isSet(below, path[1:])
}
