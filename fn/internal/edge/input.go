package edge

import (
	"fmt"
	"strings"

	input "whisperops.io/functions/apis/input/v1alpha1"
)

const inputAPIVersion = input.APIVersion

// kindOf returns the kind of an input: the name of its Go type.
func kindOf(o any) string {
	n := fmt.Sprintf("%T", o)
	return n[strings.LastIndex(n, ".")+1:]
}

// cause strips what the SDK says about Go types from a decoding error, because
// readers know none.
func cause(err error) error {
	if err == nil {
		return nil
	}
	msg := err.Error()
	if i := strings.LastIndex(msg, "cannot unmarshal JSON from "); i >= 0 {
		if _, rest, ok := strings.Cut(msg[i:], ": "); ok {
			msg = rest
		}
	}
	return fmt.Errorf("%s", msg)
}
