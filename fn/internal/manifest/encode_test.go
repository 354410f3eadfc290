package manifest

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"
)

// anything draws a value of a manifest, in the Go types that builders use.
func anything(t *rapid.T, deep int) any {
	key := rapid.StringMatching(`[a-zäö]{0,3}`)
	text := rapid.Custom(func(t *rapid.T) string {
		return strings.Repeat(rapid.String().Draw(t, "text"), rapid.SampledFrom([]int{1, 1, 40, 9000}).Draw(t, "times"))
	})
	kinds := 7
	if deep > 0 {
		kinds = 11
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return text.Draw(t, "string")
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.IntRange(-1<<53, 1<<53).Draw(t, "int")
	case 3:
		return rapid.Int64Range(-1<<53, 1<<53).Draw(t, "int64")
	case 4:
		return rapid.Float64Range(-1e300, 1e300).Draw(t, "float")
	case 5:
		return rapid.SliceOfN(text, 0, 3).Draw(t, "strings")
	case 6:
		return rapid.MapOfN(key, text, 0, 3).Draw(t, "labels")
	case 7:
		out := []Object{}
		for range rapid.IntRange(0, 3).Draw(t, "objects") {
			out = append(out, object(t, deep-1))
		}
		return out
	case 8:
		out := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "list") {
			out = append(out, anything(t, deep-1))
		}
		return out
	case 9:
		return Constant(anything(t, deep-1))
	}
	return object(t, deep-1)
}

func object(t *rapid.T, deep int) Object {
	out := Object{}
	for range rapid.IntRange(0, 4).Draw(t, "fields") {
		out[rapid.StringMatching(`[a-zäö]{0,3}`).Draw(t, "key")] = anything(t, deep)
	}
	return out
}

// plain is what JSON makes of a value.
func plain(t *rapid.T, v any) any {
	switch v := v.(type) {
	case Object:
		out := map[string]any{}
		for k, e := range v {
			out[k] = plain(t, e)
		}
		return out
	case []Object:
		out := []any{}
		for _, e := range v {
			out = append(out, plain(t, e))
		}
		return out
	case []any:
		out := []any{}
		for _, e := range v {
			out = append(out, plain(t, e))
		}
		return out
	case constant:
		s, err := Struct(Object{"it": v})
		if err != nil {
			t.Fatal(err)
		}
		return s.GetFields()["it"].AsInterface()
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// What is written as bytes is what structpb makes of the same JSON.
func TestEncodesAsProtobufDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := object(t, 5)
		want, err := structpb.NewStruct(plain(t, o).(map[string]any))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Struct(o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Errorf("-structpb, +ours:\n%s", diff)
		}
	})
}

// Crossplane would refuse the whole response, and say nothing of where.
func TestEncodeRefusesWhatIsNotUTF8(t *testing.T) {
	for _, o := range []Object{{"a": "\xff"}, {"\xff": 1}, {"a": []string{"\xff"}}, {"a": map[string]string{"b": "\xff"}}, {"a": map[string]string{"\xff": "b"}}} {
		if _, err := Struct(o); err == nil || !strings.Contains(err.Error(), "is not UTF-8") {
			t.Errorf("%q: %v", o, err)
		}
	}
}
