package edge

import (
	"encoding/json"
	"math"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"whisperops.io/functions/internal/errors"
)

// IsNull says whether a value is null or absent.
func IsNull(v *structpb.Value) bool {
	_, null := v.GetKind().(*structpb.Value_NullValue)
	return null || v.GetKind() == nil
}

// Number reads a finite number; false when a value is none.
func Number(v *structpb.Value) (float64, bool) {
	n, ok := v.GetKind().(*structpb.Value_NumberValue)
	if !ok || math.IsNaN(n.NumberValue) || math.IsInf(n.NumberValue, 0) {
		return 0, false
	}
	return n.NumberValue, true
}

// Bool reads true or false; nil when a value is neither.
func Bool(v *structpb.Value) *bool {
	b, ok := v.GetKind().(*structpb.Value_BoolValue)
	if !ok {
		return nil
	}
	return &b.BoolValue
}

// Strings reads a list of strings and leaves out what is none. An empty string is
// one, too.
func Strings(v *structpb.Value) []string {
	var out []string
	for _, e := range v.GetListValue().GetValues() {
		if s, ok := e.GetKind().(*structpb.Value_StringValue); ok {
			out = append(out, s.StringValue)
		}
	}
	return out
}

// decode converts what JSON would hold into a Go value, with errors for people.
func decode(from, into any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	err = json.Unmarshal(b, into)
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) && te.Field == "" {
		return errors.Errorf("it must be a %s, not a %s", jsonType(te.Type.Kind().String()), te.Value)
	}
	if errors.As(err, &te) {
		return errors.Errorf("field %q must be a %s, not a %s", te.Field, jsonType(te.Type.Kind().String()), te.Value)
	}
	return err
}

// jsonType names a Go kind as readers of YAML know it.
func jsonType(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "whole number"
	case strings.HasPrefix(kind, "float"):
		return "number"
	case kind == "slice":
		return "list"
	case kind == "struct", kind == "map", kind == "ptr":
		return "map"
	}
	return kind
}

// encode converts a typed value through its JSON form.
func encode(value any) (*structpb.Value, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	// Protobuf's own reader of JSON reflects on every value: this takes a third of its time.
	var plain any
	if err := json.Unmarshal(b, &plain); err != nil {
		return nil, err
	}
	return structpb.NewValue(plain)
}
