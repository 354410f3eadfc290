package errors

import (
	"io"
	"testing"

	runtime "github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// People have read these words since the first version: they are those of Crossplane's runtime.
func TestSaysWhatCrossplanesDoes(t *testing.T) {
	a, b := New("a"), Errorf("b of %d: %w", 1, io.EOF)
	text := func(err error) string {
		if err == nil {
			return "<nil>"
		}
		return err.Error()
	}
	for name, tc := range map[string]struct{ got, want error }{
		"Wrap":      {Wrap(a, "cannot go"), runtime.Wrap(a, "cannot go")},
		"WrapNil":   {Wrap(nil, "cannot go"), runtime.Wrap(nil, "cannot go")},
		"Wrapf":     {Wrapf(b, "field %q", "x"), runtime.Wrapf(b, "field %q", "x")},
		"WrapfNil":  {Wrapf(nil, "field %q", "x"), runtime.Wrapf(nil, "field %q", "x")},
		"JoinNone":  {Join(), nil},
		"JoinNils":  {Join(nil, nil), nil},
		"JoinOne":   {Join(nil, a), runtime.Join(nil, a)},
		"JoinTwo":   {Join(b, nil, a), runtime.Join(b, nil, a)},
		"JoinTwice": {Join(a, New("a")), runtime.Join(a, New("a"))},
		"JoinMore":  {Join(a, b, a), runtime.Join(a, b, a)},
	} {
		if text(tc.got) != text(tc.want) || (tc.got == nil) != (tc.want == nil) {
			t.Errorf("%s says %q, want %q", name, text(tc.got), text(tc.want))
		}
	}
	if j := Join(a, Wrap(b, "x")); !Is(j, a) || !Is(j, io.EOF) {
		t.Error("what is joined can't be found")
	}
}
