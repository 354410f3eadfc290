package edge

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	strict "sigs.k8s.io/json"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

const inputAPIVersion = input.APIVersion

// kindOf returns the kind of an input: the name of its Go type.
func kindOf(o any) string {
	n := fmt.Sprintf("%T", o)
	return n[strings.LastIndex(n, ".")+1:]
}

// decodeStrict is decode that refuses fields it doesn't know, and names all of
// them. Names are case-sensitive, as everywhere in Kubernetes.
func decodeStrict(from map[string]any, into any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	known := reflect.New(reflect.TypeOf(into).Elem()).Interface()
	unknown, err := strict.UnmarshalStrict(b, known, strict.DisallowUnknownFields)
	if err != nil {
		var typed *json.UnmarshalTypeError
		if err := json.Unmarshal(b, known); err != nil && !errors.As(err, &typed) {
			return errors.Wrapf(err, "field %q", culprit(from, func(v any) error { return decode(v, known) }))
		}
		return decode(from, known) // the same failure, said better
	}
	if err := errors.Join(unknown...); err != nil {
		return err
	}
	return decode(withoutNulls(from), into)
}

// culprit finds the field that can't be decoded, for errors that don't say it: those
// of durations.
func culprit(from map[string]any, decode func(any) error) string {
	for _, k := range manifest.Keys(from) {
		alone := func(v any) error { return decode(map[string]any{k: v}) }
		if alone(from[k]) == nil {
			continue
		}
		if m, ok := from[k].(map[string]any); ok {
			return k + "." + culprit(m, alone)
		}
		return k
	}
	return ""
}

// withoutNulls leaves out fields that hold nothing, as the API server does before
// it fills in defaults: a list whose lines were commented out isn't an empty list.
func withoutNulls(from map[string]any) map[string]any {
	out := make(map[string]any, len(from))
	for k, v := range from {
		switch v := v.(type) {
		case nil:
		case map[string]any:
			out[k] = withoutNulls(v)
		default:
			out[k] = v
		}
	}
	return out
}
