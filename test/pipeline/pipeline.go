// Package pipeline runs a Composition in process: its steps come from its YAML,
// and every functionRef is the real function. Examples, properties and foreign
// stations are tested on it.
package pipeline

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"

	"whisperops.io/functions/fn/budget/decide"
	"whisperops.io/functions/fn/budget/fetchspend"
	"whisperops.io/functions/fn/budget/render"
	"whisperops.io/functions/fn/xda/computetuning"
	"whisperops.io/functions/fn/xda/emitbudget"
	"whisperops.io/functions/fn/xda/renderdashboard"
	"whisperops.io/functions/fn/xda/renderiam"
	"whisperops.io/functions/fn/xda/renderworkloads"
	"whisperops.io/functions/fn/xda/validatedataset"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/standins/autoready/ready"
	"whisperops.io/functions/test/standins/steps/steps"
)

// Functions are functions by the name under which a Composition refers to them.
type Functions map[string]fnv1.FunctionRunnerServiceServer

// All returns the nine functions of the suite, and the stand-ins for
// function-auto-ready and for other people's functions.
func All() Functions {
	log := logging.NewNopLogger()
	all := Functions{
		"function-xda-validate-dataset": validatedataset.New(log),
		"function-xda-compute-tuning":   computetuning.New(log),
		"function-xda-render-iam":       renderiam.New(log),
		"function-xda-render-workloads": renderworkloads.New(log),
		"function-xda-render-dashboard": renderdashboard.New(log),
		"function-xda-emit-budget":      emitbudget.New(log),
		"function-budget-fetch-spend":   fetchspend.New(log),
		"function-budget-decide":        decide.New(log),
		"function-budget-render":        render.New(log),
		"function-auto-ready":           ready.New(log),
	}
	maps.Copy(all, steps.All())
	return all
}

// With returns a copy of f in which name is replaced.
func (f Functions) With(name string, fn fnv1.FunctionRunnerServiceServer) Functions {
	out := maps.Clone(f)
	out[name] = fn
	return out
}

// Root is the folder of the repository that the program runs in: not the one it
// was built in, which a binary built with -trimpath doesn't know.
func Root() string {
	dir, err := os.Getwd()
	for err == nil && dir != filepath.Dir(dir) {
		if _, missing := os.Stat(filepath.Join(dir, "package", "compositions")); missing == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "."
}

// A Composition is what of a Composition's YAML its pipeline needs.
type Composition struct {
	Spec struct {
		Pipeline []struct {
			Step        string `json:"step"`
			FunctionRef struct {
				Name string `json:"name"`
			} `json:"functionRef"`
			Input map[string]any `json:"input,omitempty"`
		} `json:"pipeline"`
	} `json:"spec"`
}

// Load returns the steps of a Composition's file, each with its function.
func Load(file string, functions Functions) ([]crossplane.Step, error) {
	docs, err := crossplane.ReadDocuments(file)
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 {
		return nil, errors.Errorf("%s holds %d documents, not one Composition", file, len(docs))
	}
	c := &Composition{}
	if err := crossplane.Convert(docs[0], c); err != nil {
		return nil, errors.Wrapf(err, "cannot read Composition %s", file)
	}
	var out []crossplane.Step
	for _, p := range c.Spec.Pipeline {
		fn := functions[p.FunctionRef.Name]
		if fn == nil {
			return nil, errors.Errorf("step %q of %s refers to %q, which is none of %s", p.Step, file, p.FunctionRef.Name, strings.Join(slices.Sorted(maps.Keys(functions)), ", "))
		}
		out = append(out, crossplane.Step{Name: p.Step, Function: fn, Input: p.Input})
	}
	return out, nil
}

// Agent returns the steps of package/compositions/xdatasetagent.yaml.
func Agent(functions Functions) ([]crossplane.Step, error) {
	return Load(filepath.Join(Root(), "package", "compositions", "xdatasetagent.yaml"), functions)
}

// Budget returns the steps of package/compositions/xagentbudget.yaml.
func Budget(functions Functions) ([]crossplane.Step, error) {
	return Load(filepath.Join(Root(), "package", "compositions", "xagentbudget.yaml"), functions)
}
