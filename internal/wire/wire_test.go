package wire

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"
)

// failer is what rapid's and fuzzing's tests have in common.
type failer interface {
	Helper()
	Fatalf(format string, a ...any)
}

// compare proves of some bytes that this package reads, passes on and changes them as
// protobuf's own decoder would have it. It returns whether they are a request.
func compare(t failer, b []byte) bool {
	t.Helper()
	full, lazy := &fnv1.RunFunctionRequest{}, &fnv1.RunFunctionRequest{}
	before := bytes.Clone(b)
	refused, err := proto.Unmarshal(b, full), Unmarshal(b, lazy)
	if (refused == nil) != (err == nil) {
		t.Fatalf("protobuf says %v, we say %v", refused, err)
	}
	if err != nil {
		return false
	}
	same(t, "request", full, again(t, lazy))
	for _, s := range []struct{ full, lazy *fnv1.State }{{full.GetObserved(), lazy.GetObserved()}, {full.GetDesired(), lazy.GetDesired()}} {
		reads(t, s.full, s.lazy)
	}
	for _, k := range keys {
		want, there := full.GetContext().GetFields()[k]
		got, found := Field(lazy.GetContext(), k)
		if there != found {
			t.Fatalf("context key %q: there is one: %v, found %v", k, there, found)
		}
		same(t, "context "+k, want, got)
	}
	for _, k := range keys {
		want, there := full.GetRequiredResources()[k]
		got, answered := Required(lazy, k)
		if there != answered || len(want.GetItems()) != len(got) {
			t.Fatalf("requirement %q: answered %v with %d, found %v with %d", k, there, len(want.GetItems()), answered, len(got))
		}
		for i, r := range got {
			readsOne(t, want.GetItems()[i], r)
		}
	}
	same(t, "input", full.GetInput(), Whole(lazy.GetInput()))
	sames(t, full.GetInput(), kept(lazy.GetInput()), full.GetContext(), kept(lazy.GetContext()))
	writes(t, full, lazy)
	if !bytes.Equal(before, b) {
		t.Fatalf("the request's own bytes were written into")
	}
	return true
}

// sames compares two Structs with themselves, with each other, and with what protobuf makes
// of them, which writes maps in any order.
func sames(t failer, a *structpb.Struct, encodedA []byte, b *structpb.Struct, encodedB []byte) {
	t.Helper()
	if a == nil || b == nil {
		return
	}
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	forget(a.ProtoReflect())
	forget(b.ProtoReflect())
	if Same(encodedA, encodedB) != Same(encodedB, encodedA) {
		t.Fatalf("Same depends on which comes first")
	}
	if Same(encodedA, encodedB) && !proto.Equal(a, b) {
		t.Fatalf("not the same: -one, +other:\n%s", cmp.Diff(a, b, protocmp.Transform()))
	}
	one, err := proto.Marshal(a)
	if err != nil {
		t.Fatalf("%v", err)
	}
	other, err := proto.Marshal(a)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if !Same(one, other) {
		t.Fatalf("Same doesn't know itself: %x and %x", one, other)
	}
}

// forget drops the unknown fields of a message and of all in it: nobody reads them.
func forget(m protoreflect.Message) {
	m.SetUnknown(nil)
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap():
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				forget(v.Message())
				return true
			})
		case f.IsList():
			for i := range v.List().Len() {
				forget(v.List().Get(i).Message())
			}
		case f.Message() != nil:
			forget(v.Message())
		}
		return true
	})
}

// sameEncoded compares an encoded Value with what protobuf makes of it.
func sameEncoded(t failer, want *structpb.Value, encoded []byte) {
	t.Helper()
	if want == nil {
		if !SameValue(nil, encoded) || SameValue([]byte{}, nil) {
			t.Fatalf("none is the same as one")
		}
		return
	}
	b, err := proto.Marshal(want)
	if err != nil {
		t.Fatalf("%v", err)
	}
	same(t, "encoded", want, decoded(encoded))
	if changed := structpb.NewStringValue("another"); !proto.Equal(want, changed) {
		other, err := proto.Marshal(changed)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if SameValue(encoded, other) || SameValue(other, b) {
			t.Fatalf("%v is the same as another", want)
		}
	}
}

// reads compares all that can be read of a state.
func reads(t failer, full, lazy *fnv1.State) {
	t.Helper()
	if want, got := len(full.GetResources()) > 0, AnyComposed(lazy); want != got {
		t.Fatalf("AnyComposed(...) = %v", got)
	}
	readsOne(t, full.GetComposite(), Composite(lazy))
	all := All(lazy)
	if want, got := slices.Sorted(maps.Keys(full.GetResources())), slices.Sorted(maps.Keys(all)); !slices.Equal(want, got) {
		t.Fatalf("All(...) has %q, want %q", got, want)
	}
	for _, k := range keys {
		readsOne(t, full.GetResources()[k], Composed(lazy, k))
		if one := Composed(lazy, k); one.decoded != all[k].decoded || !bytes.Equal(one.raw, all[k].raw) {
			t.Fatalf("%q is another resource among all", k)
		}
	}
}

func readsOne(t failer, full *fnv1.Resource, lazy Resource) {
	t.Helper()
	if (full != nil) != lazy.Exists() {
		t.Fatalf("there is one: %v, found %v", full != nil, lazy.Exists())
	}
	decoded := Decoded(full)
	for _, a := range keys {
		same(t, a, decoded.Value(a), lazy.Value(a))
		if want, got := decoded.ConnectionDetail(a), lazy.ConnectionDetail(a); !bytes.Equal(want, got) {
			t.Fatalf("connection detail %q: want %q, got %q", a, want, got)
		}
		if v, ok := lazy.Encoded(a); lazy.raw != nil {
			if !ok || (v == nil) != (decoded.Value(a) == nil) {
				t.Fatalf("encoded %q: %x, %v", a, v, ok)
			}
			sameEncoded(t, decoded.Value(a), v)
		}
		if want, got := decoded.Text(a), lazy.Text(a); want != got {
			t.Fatalf("text %q: want %q, got %q", a, want, got)
		}
		for _, b := range keys {
			if want, got := decoded.Text(a, b), lazy.Text(a, b); want != got {
				t.Fatalf("text %q.%q: want %q, got %q", a, b, want, got)
			}
			same(t, "element", decoded.Element(b, "bucket", a), lazy.Element(b, "bucket", a))
			same(t, "element", decoded.Element(b, "", a), lazy.Element(b, "", a))
			if want, got := decoded.ElementText(b, "bucket", "a", a), lazy.ElementText(b, "bucket", "a", a); want != got {
				t.Fatalf("element's text: want %q, got %q", want, got)
			}
			same(t, a+"."+b, decoded.Value(a, b), lazy.Value(a, b))
			same(t, a+"."+b+".status", decoded.Value(a, b, "status"), lazy.Value(a, b, "status"))
		}
	}
	if full.GetResource() == nil {
		if s := lazy.Struct(); s != nil {
			t.Fatalf("nothing is read as %v", s)
		}
		return
	}
	for _, unread := range [][]Unread{
		nil,
		{{"metadata", "managedFields"}},
		{{"metadata", "managedFields"}, {"", "status"}, {"spec", "crossplane"}, {"metadata", "labels"}},
		{{"", "metadata"}, {"metadata", "labels"}},
		{{"metadata", "labels"}, {"", "metadata"}},
	} {
		want, got := proto.CloneOf(full.GetResource()), proto.CloneOf(lazy.Struct(unread...))
		for _, s := range []*structpb.Struct{want, got} {
			for _, f := range unread {
				if s == got && lazy.raw != nil {
					continue // only one that came decoded keeps it
				}
				of := s
				if f.Of != "" {
					of = s.GetFields()[f.Of].GetStructValue()
				}
				delete(of.GetFields(), f.Key)
			}
			known(s)
		}
		same(t, fmt.Sprint("all without ", unread), want, got)
	}
}

// known forgets the unknown fields of a Struct's own levels: nobody reads them.
func known(s *structpb.Struct) {
	if s == nil {
		return
	}
	keep(s, nil)
	for _, key := range []string{"metadata", "spec"} {
		if m := s.GetFields()[key]; m != nil {
			keep(m, nil)
			known(m.GetStructValue())
		}
	}
}

// writes compares what becomes of a response after the same changes.
func writes(t failer, full, lazy *fnv1.RunFunctionRequest) {
	t.Helper()
	want := &fnv1.RunFunctionResponse{Desired: full.GetDesired(), Context: full.GetContext()}
	got := &fnv1.RunFunctionResponse{Desired: lazy.GetDesired(), Context: lazy.GetContext()}
	manifest := &structpb.Struct{Fields: map[string]*structpb.Value{"kind": structpb.NewStringValue("Bucket")}}
	b, err := proto.Marshal(manifest)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if want.GetDesired() != nil {
		SetComposed(got.GetDesired(), Part{"bucket", b}, Part{"", nil})
		SetComposed(got.GetDesired(), Part{"a", b})
		if want.GetDesired().GetResources() == nil {
			want.Desired.Resources = map[string]*fnv1.Resource{}
		}
		want.Desired.Resources["bucket"] = &fnv1.Resource{Resource: manifest}
		want.Desired.Resources["a"] = &fnv1.Resource{Resource: manifest}
		want.Desired.Resources[""] = &fnv1.Resource{Resource: &structpb.Struct{}}
		reads(t, want.GetDesired(), got.GetDesired())

		xr, err := DecodeComposite(got.GetDesired())
		if err != nil {
			t.Fatalf("%v", err)
		}
		if want.GetDesired().GetComposite() == nil {
			want.Desired.Composite = &fnv1.Resource{}
		}
		xr.Ready, want.Desired.Composite.Ready = fnv1.Ready_READY_FALSE, fnv1.Ready_READY_FALSE
	}
	if want.GetContext() != nil {
		m := structpb.NewStructValue(manifest)
		encoded, err := proto.Marshal(m)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if want.GetContext().GetFields() == nil {
			want.Context.Fields = map[string]*structpb.Value{}
		}
		for _, k := range []string{"bucket", "", "dataset"} {
			SetEncoded(got.GetContext(), k, encoded)
			want.Context.Fields[k] = m
		}
		v := structpb.NewBoolValue(true)
		SetField(got.GetContext(), "dataset", v)
		DeleteField(got.GetContext(), "a")
		if want.GetContext().GetFields() == nil {
			want.Context.Fields = map[string]*structpb.Value{}
		}
		want.Context.Fields["dataset"] = v
		delete(want.GetContext().GetFields(), "a")
	}
	out, err := proto.Marshal(got)
	if err != nil {
		t.Fatalf("%v", err)
	}
	sent := &fnv1.RunFunctionResponse{}
	if err := proto.Unmarshal(out, sent); err != nil {
		t.Fatalf("%v", err)
	}
	same(t, "response", want, sent)
	if err := Decode(got); err != nil {
		t.Fatalf("%v", err)
	}
	same(t, "decoded response", want, got)
}

// again is what a receiver makes of a request that is passed on.
func again(t failer, req *fnv1.RunFunctionRequest) *fnv1.RunFunctionRequest {
	t.Helper()
	b, err := proto.Marshal(req)
	if err != nil {
		t.Fatalf("what was read can't be written: %v", err)
	}
	out := &fnv1.RunFunctionRequest{}
	if err := proto.Unmarshal(b, out); err != nil {
		t.Fatalf("what was written can't be read: %v", err)
	}
	return out
}

func same(t failer, what string, want, got proto.Message) {
	t.Helper()
	if !proto.Equal(want, got) {
		t.Fatalf("%s: -protobuf's decoder, +ours:\n%s", what, cmp.Diff(want, got, protocmp.Transform()))
	}
}

// What is passed through as bytes is what the full decoder would have passed, however
// strangely it is encoded; and what that refuses is refused.
func TestReadsAsProtobufDoes(t *testing.T) {
	if !flag.Parsed() {
		flag.Parse()
	}
	good, bad := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		if compare(t, wildRequest(t)) {
			good++
		} else {
			bad++
		}
	})
	if good < 30 || bad == 0 {
		t.Errorf("%d requests and %d that are none were tried: the generator proves nothing", good, bad)
	}
}

func FuzzUnmarshal(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { compare(t, b) })
}

func seeds() map[string][]byte {
	s := func(m map[string]any) *structpb.Struct { return &structpb.Struct{Fields: fields(m)} }
	req := &fnv1.RunFunctionRequest{
		Meta:    &fnv1.RequestMeta{Tag: "tag"},
		Input:   s(map[string]any{"a": "b"}),
		Context: s(map[string]any{"dataset": map[string]any{"a": 1.0}, "a": nil}),
		Observed: &fnv1.State{
			Composite: &fnv1.Resource{Resource: s(map[string]any{"metadata": map[string]any{"a": "b", "managedFields": []any{"x"}}, "spec": map[string]any{"a": 1.0}})},
			Resources: map[string]*fnv1.Resource{"bucket": {Resource: s(map[string]any{"status": map[string]any{"a": []any{true, nil}}}), ConnectionDetails: map[string][]byte{"a": {1, 0xff}}}, "a": {}},
		},
		Desired: &fnv1.State{
			Composite: &fnv1.Resource{Ready: fnv1.Ready_READY_TRUE, Resource: s(map[string]any{"status": map[string]any{"a": "b"}})},
			Resources: map[string]*fnv1.Resource{"bucket": {Resource: s(map[string]any{"spec": "x"})}, "": {}},
		},
		RequiredResources: map[string]*fnv1.Resources{"a": {Items: []*fnv1.Resource{{Resource: s(map[string]any{"a": "b"})}}}},
		Credentials:       map[string]*fnv1.Credentials{"a": {Source: &fnv1.Credentials_CredentialData{CredentialData: &fnv1.CredentialData{Data: map[string][]byte{"a": {1}}}}}},
	}
	b, _ := proto.MarshalOptions{Deterministic: true}.Marshal(req)
	return map[string][]byte{"Usual": b, "Twice": slices.Concat(b, b), "Empty": nil, "Cut": b[:len(b)/2], "Desired": tagged(desiredNum, nil), "Context": tagged(contextNum, nil)}
}

func fields(m map[string]any) map[string]*structpb.Value {
	v, err := structpb.NewStruct(m)
	if err != nil {
		panic(err)
	}
	return maps.Clone(v.GetFields())
}

func tagged(num protowire.Number, held []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), held)
}

// Protobuf goes 10,000 messages deep, and a map's entry is one. Neither more nor less is
// taken here, and nothing ends the process.
func TestDepth(t *testing.T) {
	for _, deep := range []int{1, 100, 4994, 4995, 4996, 4997, 4998, 4999, 5000, 6000} {
		v := protowire.AppendVarint(protowire.AppendTag(nil, boolNum, protowire.VarintType), 1)
		for range deep {
			v = tagged(listNum, tagged(valuesNum, v))
		}
		object := tagged(fieldsNum, slices.Concat(tagged(keyNum, []byte("a")), tagged(valueNum, v)))
		b := tagged(requiredNum, slices.Concat(tagged(keyNum, []byte("a")), tagged(valueNum, tagged(itemsNum, tagged(resourceNum, object)))))
		refused, err := proto.Unmarshal(b, &fnv1.RunFunctionRequest{}), Unmarshal(b, &fnv1.RunFunctionRequest{})
		if (refused == nil) != (err == nil) {
			t.Errorf("%d lists in lists of a required resource: protobuf says %v, we say %v", deep, refused, err)
		}
	}
	nest := func(deep int) []byte { // lists in lists: two messages each
		v := protowire.AppendVarint(protowire.AppendTag(nil, boolNum, protowire.VarintType), 1)
		for range deep {
			v = tagged(listNum, tagged(valuesNum, v))
		}
		return tagged(contextNum, tagged(fieldsNum, slices.Concat(tagged(keyNum, []byte("a")), tagged(valueNum, v))))
	}
	var taken []int
	for _, deep := range []int{1, 100, 4996, 4997, 4998, 4999, 5000, 5001, 6000} {
		b := nest(deep)
		full, lazy := &fnv1.RunFunctionRequest{}, &fnv1.RunFunctionRequest{}
		refused, err := proto.Unmarshal(b, full), Unmarshal(b, lazy)
		if (refused == nil) != (err == nil) {
			t.Errorf("%d lists in lists: protobuf says %v, we say %v", deep, refused, err)
		}
		if err == nil {
			taken = append(taken, deep)
			v, _ := Field(lazy.GetContext(), "a")
			if !proto.Equal(full.GetContext().GetFields()["a"], v) {
				t.Errorf("%d lists in lists are read otherwise", deep)
			}
		}
	}
	if len(taken) < 3 || len(taken) == 9 {
		t.Errorf("only %v were taken", taken)
	}
}

// As much as a function takes, in the shapes that cost most: time must not grow faster than
// the bytes, or one request stops a function.
func TestLargest(t *testing.T) {
	const most = 16 << 20
	many := func(one []byte) []byte { return bytes.Repeat(one, most/8/len(one)) } // protobuf's own decoder takes seconds for all
	for name, b := range map[string][]byte{
		"OneString":      tagged(contextNum, tagged(fieldsNum, slices.Concat(tagged(keyNum, []byte("a")), tagged(valueNum, tagged(stringNum, []byte(strings.Repeat("ä", most/2))))))),
		"ManyStates":     many(tagged(desiredNum, tagged(compositeNum, tagged(resourceNum, nil)))),
		"ManyComposites": tagged(desiredNum, many(tagged(compositeNum, tagged(connectionNum, tagged(keyNum, []byte("a")))))),
		"OneKey":         tagged(desiredNum, many(tagged(resourcesNum, tagged(keyNum, []byte("a"))))),
		"ManyMetas":      many(tagged(1, tagged(1, []byte("a")))),
		"ManyKeys":       tagged(contextNum, many(tagged(fieldsNum, tagged(valueNum, nil)))),
	} {
		t.Run(name, func(t *testing.T) {
			full, lazy := &fnv1.RunFunctionRequest{}, &fnv1.RunFunctionRequest{}
			if err := proto.Unmarshal(b, full); err != nil {
				t.Fatal(err)
			}
			if err := Unmarshal(b, lazy); err != nil {
				t.Fatal(err)
			}
			if lazy.GetDesired() != nil {
				SetComposed(lazy.GetDesired(), Part{"bucket", nil})
				full.Desired.Resources = maps.Clone(full.GetDesired().GetResources())
				if full.GetDesired().GetResources() == nil {
					full.Desired.Resources = map[string]*fnv1.Resource{}
				}
				full.Desired.Resources["bucket"] = &fnv1.Resource{Resource: &structpb.Struct{}}
				if _, err := DecodeComposite(lazy.GetDesired()); err != nil {
					t.Fatal(err)
				}
				if full.GetDesired().GetComposite() == nil {
					full.Desired.Composite = &fnv1.Resource{}
				}
			}
			if !proto.Equal(full, again(t, lazy)) {
				t.Error("it isn't what protobuf's decoder makes of it")
			}
		})
	}
}
