package manifest

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A constant must become what it would have become where it stands.
func TestConstant(t *testing.T) {
	part := func() Object {
		return Object{
			"a": []string{"x", "y"}, "b": []Object{{"c": 1}, {"d": true}}, "e": []any{"f", 2.5},
			"g": map[string]string{"h": "i"}, "j": Object{},
		}
	}
	constant := Constant(part())
	for range 2 { // it survives its use
		got, err := Struct(Object{"here": constant, "there": []any{constant}})
		if err != nil {
			t.Fatal(err)
		}
		want, err := Struct(Object{"here": part(), "there": []any{part()}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.AsMap(), got.AsMap()); diff != "" {
			t.Errorf("-want, +got:\n%s", diff)
		}
	}
}

func TestConstantRefusesWhatValueRefuses(t *testing.T) {
	defer func() {
		if got, want := recover(), "cannot convert constant: a: [1]: NaN is not a number that JSON has"; got != want {
			t.Errorf("Constant panicked with %v, want %q", got, want)
		}
	}()
	Constant(Object{"a": []any{1, math.NaN()}})
}

func TestWrappedAnnotations(t *testing.T) {
	w := Wrapped{Name: "n", Namespace: "ns", ProviderConfig: "pc", Manifest: Object{}}
	if diff := cmp.Diff(Object{"name": "n", "namespace": "ns"}, w.Object()["metadata"]); diff != "" {
		t.Errorf("without annotations: -want, +got:\n%s", diff)
	}
	w.Annotations = map[string]string{"k": "v"}
	want := Object{"name": "n", "namespace": "ns", "annotations": map[string]string{"k": "v"}}
	if diff := cmp.Diff(want, w.Object()["metadata"]); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}
