package manifest

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
)

type color string

func TestComposed(t *testing.T) {
	cases := map[string]struct {
		reason string
		in     Object
		want   string // JSON
		err    string
	}{
		"EveryType": {
			reason: "Builders write whatever Go type is natural, and the YAML must come out the same.",
			in: Object{
				"apiVersion": "v1", "kind": "X",
				"s": "text", "b": true, "i": 1, "i32": int32(2), "i64": int64(3), "f": 0.5,
				"strings": []string{"a"}, "labels": map[string]string{"k": "v"},
				"list": []any{"a", 1}, "objects": []Object{{"n": 1}}, "named": color("red"), "empty": []string{}, "none": Object{},
			},
			want: `{"apiVersion":"v1","b":true,"empty":[],"f":0.5,"i":1,"i32":2,"i64":3,"kind":"X","labels":{"k":"v"},"list":["a",1],"named":"red","none":{},"objects":[{"n":1}],"s":"text","strings":["a"]}`,
		},
		"Status": {
			reason: "A function says what should be, not what is; server-side apply would claim the status.",
			in:     Object{"apiVersion": "v1", "kind": "X", "status": Object{}},
			err:    "cannot convert manifest: it has a status, but a function says what should be, not what is",
		},
		"NoKind": {
			reason: "Crossplane can't apply it, and the API server's message would not name the builder.",
			in:     Object{"apiVersion": "v1"},
			err:    "cannot convert manifest: it has no kind",
		},
		"Nil": {
			reason: "A field that is null is not a field that is absent.",
			in:     Object{"apiVersion": "v1", "kind": "X", "spec": Object{"list": []any{nil}}},
			err:    "spec: list: [0]: a <nil> has no place in a manifest",
		},
		"NaN": {
			reason: "JSON has no NaN: it would fail far away, in Crossplane.",
			in:     Object{"apiVersion": "v1", "kind": "X", "n": math.NaN()},
			err:    "n: NaN is not a number that JSON has",
		},
		"Struct": {
			reason: "A typed struct sends zeros nobody wrote.",
			in:     Object{"apiVersion": "v1", "kind": "X", "s": struct{}{}},
			err:    "s: a struct {} has no place in a manifest",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, err := Composed(tc.in)
			if got := errString(err); got != tc.err {
				t.Fatalf("%s\nComposed(...): want error %q, got %q", tc.reason, tc.err, got)
			}
			if err != nil {
				return
			}
			got, err := json.Marshal(s.AsMap())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("%s\nComposed(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestWrappedObject(t *testing.T) {
	wrapped := Object{"apiVersion": "v1", "kind": "ConfigMap"}
	cases := map[string]struct {
		reason string
		in     Wrapped
		want   Object // of spec
	}{
		"Plain": {
			reason: "What has no readiness of its own is ready as soon as it exists.",
			in:     Wrapped{Name: "n", Namespace: "ns", ProviderConfig: "pc", Manifest: wrapped},
			want: Object{
				"providerConfigRef": Object{"kind": "ClusterProviderConfig", "name": "pc"},
				"watch":             true,
				"readiness":         Object{"policy": "SuccessfulCreate"},
				"forProvider":       Object{"manifest": wrapped},
			},
		},
		"ReadyAndPolicies": {
			reason: "A sparse Object must say that it may not create, and readiness may need a query.",
			in:     Wrapped{Name: "n", Namespace: "ns", ProviderConfig: "pc", Manifest: wrapped, Ready: "q", ManagementPolicies: []string{"Observe"}},
			want: Object{
				"providerConfigRef":  Object{"kind": "ClusterProviderConfig", "name": "pc"},
				"watch":              true,
				"readiness":          Object{"policy": "DeriveFromCelQuery", "celQuery": "q"},
				"forProvider":        Object{"manifest": wrapped},
				"managementPolicies": []string{"Observe"},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Struct(tc.in.Object())
			if err != nil {
				t.Fatal(err)
			}
			want, err := Struct(tc.want)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.AsMap(), got.AsMap()["spec"]); diff != "" {
				t.Errorf("%s\nObject(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func errString(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
