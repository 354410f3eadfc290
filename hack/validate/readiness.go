package main

import (
	"embed"
	"fmt"
	"path"
	"reflect"
	"slices"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

// samples holds, by kind, what the status of an object looks like before and
// when it is ready, as the controllers write it.
//
//go:embed samples
var samples embed.FS

// A sampleSet is a file of samples.
type sampleSet struct {
	// Group of the kind.
	Group string `json:"group"`
	// NotReady and Ready are states of one object.
	NotReady []sample `json:"notReady"`
	Ready    []sample `json:"ready"`
}

// A sample is a state of an object.
type sample struct {
	// What the state is.
	What string `json:"what"`
	// Generation of the object; 0 stands for 1.
	Generation int64 `json:"generation,omitempty"`
	// Status of the object; absent in one that no controller has seen yet.
	Status map[string]any `json:"status,omitempty"`
}

// readSamples returns the samples of a kind.
func readSamples(kind string) (*sampleSet, error) {
	b, err := samples.ReadFile(path.Join("samples", kind+".yaml"))
	if err != nil {
		return nil, fmt.Errorf("nobody knows when a %s is ready, add samples/%s.yaml with states of both kinds: %w", kind, kind, err)
	}
	s := &sampleSet{}
	if err := yaml.UnmarshalStrict(b, s); err != nil {
		return nil, fmt.Errorf("cannot decode the samples of %s: %w", kind, err)
	}
	if len(s.NotReady) == 0 || len(s.Ready) == 0 {
		return nil, fmt.Errorf("the samples of %s must have both states, notReady and ready", kind)
	}
	return s, nil
}

// in returns the object that a sample describes.
func (s sample) in(manifest *unstructured.Unstructured) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(manifest.Object)}
	o.SetGeneration(max(s.Generation, 1))
	if s.Status != nil {
		// Through JSON, so that numbers are what the API machinery reads.
		b, err := yaml.Marshal(s.Status)
		if err != nil {
			panic(fmt.Sprintf("cannot encode a sample that was decoded before: %v", err))
		}
		status, err := decode(b)
		if err != nil {
			panic(fmt.Sprintf("cannot decode a sample that was decoded before: %v", err))
		}
		o.Object["status"] = status
	}
	return o
}

// checkReadiness says whether an Object is ready exactly when what it wraps is,
// judged as provider-kubernetes judges.
func checkReadiness(object, manifest *unstructured.Unstructured) error {
	policy, _, err := unstructured.NestedString(object.Object, "spec", "readiness", "policy")
	if err != nil {
		return fmt.Errorf("cannot read the policy: %w", err)
	}
	query, _, err := unstructured.NestedString(object.Object, "spec", "readiness", "celQuery")
	if err != nil {
		return fmt.Errorf("cannot read celQuery: %w", err)
	}
	var judge func(*unstructured.Unstructured) (bool, error)
	switch policy {
	case "", "SuccessfulCreate":
		if query != "" {
			return fmt.Errorf("celQuery has no effect with the policy SuccessfulCreate")
		}
		return nil
	case "DeriveFromObject":
		judge = readyCondition
	case "AllTrue":
		judge = allTrue
	case "DeriveFromCelQuery":
		if judge, err = celQuery(query); err != nil {
			return err
		}
	default:
		return fmt.Errorf("the provider knows no policy %q", policy)
	}

	set, err := readSamples(manifest.GetKind())
	if err != nil {
		return err
	}
	if g := manifest.GroupVersionKind().Group; set.Group != g {
		return fmt.Errorf("nobody knows when a %s of group %q is ready: the samples are of group %q", manifest.GetKind(), g, set.Group)
	}
	notReady := append([]sample{{What: "nothing reported yet"}}, set.NotReady...)
	for _, s := range notReady {
		got, err := judge(s.in(manifest))
		if err != nil {
			return fmt.Errorf("a %s of which is known %q can't be judged: %w", manifest.GetKind(), s.What, err)
		}
		if got {
			return fmt.Errorf("a %s of which is known %q counts as ready", manifest.GetKind(), s.What)
		}
	}
	for _, s := range set.Ready {
		got, err := judge(s.in(manifest))
		if err != nil {
			return fmt.Errorf("a %s of which is known %q can't be judged: %w", manifest.GetKind(), s.What, err)
		}
		if !got {
			return fmt.Errorf("a %s of which is known %q never counts as ready", manifest.GetKind(), s.What)
		}
	}
	return nil
}

// celQuery compiles a query in the environment that provider-kubernetes v1.3
// gives it: one variable, no optional syntax.
func celQuery(query string) (func(*unstructured.Unstructured) (bool, error), error) {
	env, err := cel.NewEnv(cel.Variable("object", cel.AnyType))
	if err != nil {
		return nil, fmt.Errorf("cannot make a CEL environment: %w", err)
	}
	ast, issues := env.Compile(query)
	if issues.Err() != nil {
		return nil, fmt.Errorf("celQuery does not compile: %w", issues.Err())
	}
	if !reflect.DeepEqual(ast.OutputType(), cel.BoolType) {
		return nil, fmt.Errorf("celQuery is of type %s, not bool: the provider calls the Object unavailable and does not say why; compare with == true", ast.OutputType())
	}
	program, err := env.Program(ast)
	if err != nil {
		return nil, fmt.Errorf("cannot make a program of celQuery: %w", err)
	}
	return func(o *unstructured.Unstructured) (bool, error) {
		v, _, err := program.Eval(map[string]any{"object": o.Object})
		if err != nil {
			return false, fmt.Errorf("celQuery fails: %w", err)
		}
		return v == types.True, nil
	}, nil
}

// readyCondition is the policy DeriveFromObject.
func readyCondition(o *unstructured.Unstructured) (bool, error) {
	return slices.ContainsFunc(conditions(o), func(c map[string]any) bool {
		return c["type"] == "Ready" && c["status"] == "True"
	}), nil
}

// allTrue is the policy AllTrue.
func allTrue(o *unstructured.Unstructured) (bool, error) {
	cs := conditions(o)
	return len(cs) > 0 && !slices.ContainsFunc(cs, func(c map[string]any) bool { return c["status"] != "True" }), nil
}

func conditions(o *unstructured.Unstructured) []map[string]any {
	list, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return nil // as the provider: what it can't read is not ready
	}
	var out []map[string]any
	for _, c := range list {
		if m, ok := c.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}
