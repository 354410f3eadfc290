// Package manifest lets builders be written in the shape of the YAML they
// produce, and turns them into the protobuf that Crossplane speaks.
package manifest

import (
	"math"
	"reflect"
	"sort"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"google.golang.org/protobuf/types/known/structpb"
)

// An Object is a manifest, or a part of one, in the shape of its YAML. Values are
// nested Objects, strings, bools, numbers, and slices and string-keyed maps of
// them; a nil is refused, because a field that is null is not a field that is
// absent.
type Object = map[string]any

// Composed converts an Object to the form of a composed resource. It refuses
// what a function must not write (status), and what isn't a manifest.
func Composed(o Object) (*structpb.Struct, error) {
	if _, ok := o["status"]; ok {
		return nil, errors.New("cannot convert manifest: it has a status, but a function says what should be, not what is")
	}
	for _, k := range []string{"apiVersion", "kind"} {
		if s, ok := o[k].(string); !ok || s == "" {
			return nil, errors.Errorf("cannot convert manifest: it has no %s", k)
		}
	}
	return Struct(o)
}

// Struct converts an Object to a protobuf Struct. Unlike structpb.NewStruct it
// takes every slice, map and number type, so that builders can use []string.
func Struct(o Object) (*structpb.Struct, error) {
	s := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(o))}
	for k, v := range o {
		pv, err := Value(v)
		if err != nil {
			return nil, errors.Wrapf(err, "%s", k)
		}
		s.Fields[k] = pv
	}
	return s, nil
}

// Value converts one value of an Object. Errors start with the path to it.
func Value(v any) (*structpb.Value, error) { //nolint:gocyclo // one case per type is as simple as it gets
	switch t := v.(type) {
	case string:
		return structpb.NewStringValue(t), nil
	case bool:
		return structpb.NewBoolValue(t), nil
	case int:
		return structpb.NewNumberValue(float64(t)), nil
	case int32:
		return structpb.NewNumberValue(float64(t)), nil
	case int64:
		return structpb.NewNumberValue(float64(t)), nil
	case float64:
		if math.IsNaN(t) || math.IsInf(t, 0) {
			return nil, errors.Errorf("%v is not a number that JSON has", t)
		}
		return structpb.NewNumberValue(t), nil
	case map[string]any:
		s, err := Struct(t)
		return structpb.NewStructValue(s), err
	case map[string]string:
		s := &structpb.Struct{Fields: make(map[string]*structpb.Value, len(t))}
		for k, e := range t {
			s.Fields[k] = structpb.NewStringValue(e)
		}
		return structpb.NewStructValue(s), nil
	case []string:
		l := &structpb.ListValue{Values: make([]*structpb.Value, 0, len(t))}
		for _, e := range t {
			l.Values = append(l.Values, structpb.NewStringValue(e))
		}
		return structpb.NewListValue(l), nil
	case *structpb.Value:
		return t, nil
	}

	rv := reflect.ValueOf(v)
	switch rv.Kind() { //nolint:exhaustive // every other kind is refused below
	case reflect.Slice:
		l := &structpb.ListValue{Values: make([]*structpb.Value, 0, rv.Len())}
		for i := range rv.Len() {
			e, err := Value(rv.Index(i).Interface())
			if err != nil {
				return nil, errors.Wrapf(err, "[%d]", i)
			}
			l.Values = append(l.Values, e)
		}
		return structpb.NewListValue(l), nil
	case reflect.String:
		return structpb.NewStringValue(rv.String()), nil
	}
	return nil, errors.Errorf("a %T has no place in a manifest", v)
}

// Keys returns the keys of m in sorted order: a map range that reaches the output
// makes resources flap.
func Keys[V any](m map[string]V) []string {
	ks := make([]string, 0, len(m))
	for k := range m {
		ks = append(ks, k)
	}
	sort.Strings(ks)
	return ks
}

// Constant converts a part of manifests that is the same for everybody, once and
// for all, so that no call pays for it. It stands in an Object as a value. All
// responses share it, so nobody may change it. It panics on what Value refuses,
// and is for package variables only.
func Constant(v any) any {
	pv, err := Value(v)
	if err != nil {
		panic("cannot convert constant: " + err.Error())
	}
	return pv
}
