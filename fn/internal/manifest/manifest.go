// Package manifest lets builders be written in the shape of the YAML they
// produce, and turns them into the protobuf that Crossplane speaks.
package manifest

import (
	"sort"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"whisperops.io/functions/internal/errors"
)

// An Object is a manifest, or a part of one, in the shape of its YAML. Values are
// nested Objects, strings, bools, numbers, and slices and string-keyed maps of
// them; a nil is refused, because a field that is null is not a field that is
// absent.
type Object = map[string]any

// Append appends an Object to b, encoded as the protobuf Struct of a composed resource. It
// refuses what a function must not write (status), and what isn't a manifest.
func Append(b []byte, o Object) ([]byte, error) {
	if _, ok := o["status"]; ok {
		return nil, errors.New("cannot convert manifest: it has a status, but a function says what should be, not what is")
	}
	for _, k := range []string{"apiVersion", "kind"} {
		if s, ok := o[k].(string); !ok || s == "" {
			return nil, errors.Errorf("cannot convert manifest: it has no %s", k)
		}
	}
	return appendStruct(b, o)
}

// Composed is Append for who reads it at once: tests.
func Composed(o Object) (*structpb.Struct, error) {
	b, err := Append(nil, o)
	if err != nil {
		return nil, err
	}
	return decode(b)
}

// Struct converts an Object to a protobuf Struct. Unlike structpb.NewStruct it
// takes every slice, map and number type, so that builders can use []string.
func Struct(o Object) (*structpb.Struct, error) {
	b, err := appendStruct(nil, o)
	if err != nil {
		return nil, err
	}
	return decode(b)
}

func decode(b []byte) (*structpb.Struct, error) {
	s := &structpb.Struct{}
	if err := proto.Unmarshal(b, s); err != nil {
		return nil, errors.Wrap(err, "cannot convert manifest")
	}
	if s.Fields == nil {
		s.Fields = map[string]*structpb.Value{}
	}
	return s, nil
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

// Constant encodes a part of manifests that is the same for everybody, once and
// for all, so that no call pays for it. It stands in an Object as a value. It panics
// on what Append refuses, and is for package variables only.
func Constant(v any) any {
	b, err := appendValue(nil, v)
	if err != nil {
		panic("cannot convert constant: " + err.Error())
	}
	return constant(b)
}

// A constant is an encoded Value.
type constant []byte
