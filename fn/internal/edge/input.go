package edge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	strict "sigs.k8s.io/json"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/internal/wire"
)

// inputs remembers the inputs that a function was given last, which are its Compositions' and
// thus the same from call to call: reading one strictly costs more than rendering does.
type inputs struct {
	mu   sync.Mutex
	read []*inputRead // the latest first
}

// maxInputs is more Compositions than use a step at a time.
const maxInputs = 4

// An inputRead is a good input: what came, and what it was read as.
type inputRead struct {
	came []byte         // encoded
	is   runtime.Object // nobody may change it
}

// of returns the reading of an input that holds the same; nil: there is none.
func (m *inputs) of(came []byte) *inputRead {
	if m == nil || came == nil {
		return nil
	}
	m.mu.Lock()
	read := m.read
	m.mu.Unlock()
	for _, r := range read {
		if wire.Same(r.came, came) {
			return r
		}
	}
	return nil
}

// recall fills into with what an input that holds the same was read as. It says whether there
// was one.
func (m *inputs) recall(came []byte, into runtime.Object) bool {
	r := m.of(came)
	if r == nil || reflect.TypeOf(r.is) != reflect.TypeOf(into) {
		return false
	}
	reflect.ValueOf(into).Elem().Set(reflect.ValueOf(r.is.DeepCopyObject()).Elem())
	return true
}

// A ReadInput tells inputs apart that the calls of a function had.
type ReadInput struct{ read *inputRead }

// ReadInput returns the step's input as an earlier call of the function read it; ok is false if
// none that is remembered did.
func (c *Call) ReadInput() (in ReadInput, ok bool) {
	r := c.inputs.of(wire.Encoded(c.Req.GetInput()))
	return ReadInput{r}, r != nil
}

func (m *inputs) remember(came []byte, is runtime.Object) {
	if m == nil || came == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	// Who reads the list holds no lock: it is made anew.
	read := append([]*inputRead{{bytes.Clone(came), is.DeepCopyObject()}}, m.read...)
	m.read = read[:min(len(read), maxInputs)]
}

// Input decodes the step's input over its defaults, strictly: a typo fails early.
// An absent input leaves the defaults.
func (c *Call) Input(into runtime.Object) error {
	came := wire.Encoded(c.Req.GetInput())
	if c.inputs.recall(came, into) {
		return nil
	}
	if err := c.readInput(into); err != nil {
		return errors.Wrap(err, "cannot use input")
	}
	c.inputs.remember(came, into)
	return nil
}

func (c *Call) readInput(into runtime.Object) error {
	if d, ok := into.(interface{ Default() }); ok {
		d.Default()
	}
	if in := wire.Whole(c.Req.GetInput()); in != nil {
		want := inputKind(into)
		if got := in.GetFields()["kind"].GetStringValue(); got != want {
			return errors.Errorf("its kind is %q, this step takes %q", got, want)
		}
		if got := in.GetFields()["apiVersion"].GetStringValue(); got != input.APIVersion {
			return errors.Errorf("its apiVersion is %q, this step takes %q", got, input.APIVersion)
		}
		fields := in.AsMap()
		if err := decodeStrict(fields, into); err != nil {
			return err
		}
		if s, ok := into.(interface{ Said(fields map[string]any) }); ok {
			s.Said(fields)
		}
	}
	if v, ok := into.(interface{ Validate() error }); ok {
		return v.Validate()
	}
	return nil
}

// inputKind returns the kind of an input: the name of its Go type.
func inputKind(o any) string {
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
	for i, err := range unknown {
		unknown[i] = withHint(err, reflect.TypeOf(into).Elem())
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
