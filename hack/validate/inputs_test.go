package main

import (
	"encoding/json"
	"reflect"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apimachinery/pkg/runtime/schema"

	input "whisperops.io/functions/apis/input/v1alpha1"
	workloads "whisperops.io/functions/apis/input/workloads/v1alpha1"
)

// A defaulter is an input with defaults.
type defaulter interface{ Default() }

// TestInputDefaults proves that what a function fills in is what the schema of
// its input promises: no API server ever defaults an input, so nothing else
// keeps the two together.
func TestInputDefaults(t *testing.T) {
	ks, err := loadOurs(pkg)
	if err != nil {
		t.Fatal(err)
	}
	inputs := []any{
		&input.ValidateDatasetInput{}, &input.ComputeTuningInput{}, &input.RenderIAMInput{},
		&workloads.RenderWorkloadsInput{}, &input.RenderDashboardInput{}, &input.EmitBudgetInput{},
		&input.FetchSpendInput{}, &input.DecideInput{}, &input.RenderReplicasInput{},
	}
	seen := 0
	for gk := range ks {
		if gk.Group == "fn.whisperops.io" {
			seen++
		}
	}
	if seen != len(inputs) {
		t.Errorf("%d inputs have a schema, %d are compared", seen, len(inputs))
	}
	for _, in := range inputs {
		name := reflect.TypeOf(in).Elem().Name()
		t.Run(name, func(t *testing.T) {
			k, err := ks.find(schema.GroupVersionKind{Group: "fn.whisperops.io", Version: "v1alpha1", Kind: name})
			if err != nil {
				t.Fatal(err)
			}
			defaults := map[string]any{}
			defaulting.Default(defaults, k.structural)
			// Through the Go type, so that 60s and 1m0s are the same duration.
			typed := reflect.New(reflect.TypeOf(in).Elem()).Interface()
			fromSchema := roundTrip(t, defaults, typed)

			if d, ok := in.(defaulter); ok {
				d.Default()
			}
			fromCode := roundTrip(t, map[string]any{}, in)
			for _, o := range []map[string]any{fromCode, fromSchema} {
				delete(o, "metadata")
				withoutEmpty(o)
			}
			if d := diff(fromSchema, fromCode); d != "" {
				t.Errorf("-schema, +Default():\n%s", d)
			}
		})
	}
}

// roundTrip decodes from into a Go value and returns what that value encodes to.
func roundTrip(t *testing.T, from map[string]any, through any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, through); err != nil {
		t.Fatal(err)
	}
	if raw, err = json.Marshal(through); err != nil {
		t.Fatal(err)
	}
	out, err := decode(raw)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// withoutEmpty drops what says nothing: required fields that Go writes empty,
// and objects that hold only such.
func withoutEmpty(o map[string]any) {
	for k, v := range o {
		if m, ok := v.(map[string]any); ok {
			withoutEmpty(m)
			if len(m) == 0 {
				delete(o, k)
			}
		}
		if v == "" || v == nil {
			delete(o, k)
		}
	}
}
