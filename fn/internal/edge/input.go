package edge

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	strict "sigs.k8s.io/json"

	input "whisperops.io/functions/apis/input/v1alpha1"
)

const inputAPIVersion = input.APIVersion

// kindOf returns the kind of an input: the name of its Go type.
func kindOf(o any) string {
	n := fmt.Sprintf("%T", o)
	return n[strings.LastIndex(n, ".")+1:]
}

// decodeStrict is decode that refuses fields it doesn't know, and names all of
// them. Names are case-sensitive, as everywhere in Kubernetes.
func decodeStrict(from, into any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	unknown, err := strict.UnmarshalStrict(b, into, strict.DisallowUnknownFields)
	if err != nil {
		return decode(from, into) // the same failure, said better
	}
	return errors.Join(unknown...)
}
