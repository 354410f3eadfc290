// Package manifest lets builders be written in the shape of the YAML they
// produce, and turns them into the protobuf that Crossplane speaks.
package manifest

import (
	"math"
	"reflect"
	"sort"

	"google.golang.org/protobuf/types/known/structpb"

	"whisperops.io/functions/internal/errors"
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
	s := &structpb.Struct{}
	return s, fill(s, o)
}

func fill(s *structpb.Struct, o Object) error {
	s.Fields = make(map[string]*structpb.Value, len(o))
	for k, v := range o {
		pv, err := Value(v)
		if err != nil {
			return errors.Wrapf(err, "%s", k)
		}
		s.Fields[k] = pv
	}
	return nil
}

// Value converts one value of an Object. Errors start with the path to it.
func Value(v any) (*structpb.Value, error) {
	switch t := v.(type) {
	case string:
		return text(t), nil
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
		n := newStructNode()
		return &n.value, fill(&n.fields, t)
	case map[string]string:
		n := newStructNode()
		n.fields.Fields = make(map[string]*structpb.Value, len(t))
		for k, e := range t {
			n.fields.Fields[k] = text(e)
		}
		return &n.value, nil
	case []string:
		return list(t, func(e string) (*structpb.Value, error) { return text(e), nil })
	case []map[string]any:
		return list(t, func(e map[string]any) (*structpb.Value, error) { return Value(e) })
	case []any:
		return list(t, Value)
	case *structpb.Value:
		return t, nil
	}

	rv := reflect.ValueOf(v)
	switch rv.Kind() { //nolint:exhaustive // every other kind is refused below
	case reflect.Slice:
		l := make([]any, 0, rv.Len())
		for i := range rv.Len() {
			l = append(l, rv.Index(i).Interface())
		}
		return list(l, Value)
	case reflect.String:
		return text(rv.String()), nil
	}
	return nil, errors.Errorf("a %T has no place in a manifest", v)
}

// A protobuf value is two or three objects that live and die together. Each kind
// of which a manifest holds hundreds is allocated as one.
type (
	textNode struct {
		value structpb.Value
		kind  structpb.Value_StringValue
	}
	structNode struct {
		value  structpb.Value
		kind   structpb.Value_StructValue
		fields structpb.Struct
	}
	listNode struct {
		value structpb.Value
		kind  structpb.Value_ListValue
		list  structpb.ListValue
	}
)

func text(s string) *structpb.Value {
	n := &textNode{kind: structpb.Value_StringValue{StringValue: s}}
	n.value.Kind = &n.kind
	return &n.value
}

func newStructNode() *structNode {
	n := &structNode{}
	n.kind.StructValue = &n.fields
	n.value.Kind = &n.kind
	return n
}

func list[E any](elements []E, convert func(E) (*structpb.Value, error)) (*structpb.Value, error) {
	n := &listNode{}
	n.kind.ListValue = &n.list
	n.value.Kind = &n.kind
	n.list.Values = make([]*structpb.Value, 0, len(elements))
	for i, e := range elements {
		v, err := convert(e)
		if err != nil {
			return nil, errors.Wrapf(err, "[%d]", i)
		}
		n.list.Values = append(n.list.Values, v)
	}
	return &n.value, nil
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
