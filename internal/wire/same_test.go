package wire

import (
	"slices"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

func TestSame(t *testing.T) {
	under := func(key string, v []byte) []byte {
		return tagged(fieldsNum, slices.Concat(tagged(keyNum, []byte(key)), tagged(valueNum, v)))
	}
	text := func(s string) []byte { return tagged(stringNum, []byte(s)) }
	list := func(vs ...[]byte) []byte {
		var all []byte
		for _, v := range vs {
			all = append(all, tagged(valuesNum, v)...)
		}
		return tagged(listNum, all)
	}
	a, b := under("a", text("1")), under("b", text("2"))
	for name, tc := range map[string]struct {
		reason   string
		one, two []byte
		want     bool
	}{
		"Empty":       {"Nothing is nothing.", nil, nil, true},
		"Order":       {"Maps are written in any order.", slices.Concat(a, b), slices.Concat(b, a), true},
		"Within":      {"Deeper ones, too.", under("m", tagged(structNum, slices.Concat(a, b))), under("m", tagged(structNum, slices.Concat(b, a))), true},
		"InList":      {"And those in lists.", under("l", list(tagged(structNum, slices.Concat(a, b)))), under("l", list(tagged(structNum, slices.Concat(b, a)))), true},
		"Value":       {"Another value under a key.", a, under("a", text("2")), false},
		"Kind":        {"A string is no list.", a, under("a", list(text("1"))), false},
		"More":        {"What holds all of the other and more.", a, slices.Concat(a, b), false},
		"Fewer":       {"The other way round.", slices.Concat(a, b), a, false},
		"Twice":       {"Two entries of one key are not two keys.", slices.Concat(a, a), slices.Concat(a, b), false},
		"TwiceSecond": {"Nor in the other one.", slices.Concat(a, b), slices.Concat(a, a), false},
		"ListOrder":   {"A list's order counts.", under("l", list(text("1"), text("2"))), under("l", list(text("2"), text("1"))), false},
		"ListLonger":  {"So does its length.", under("l", list(text("1"))), under("l", list(text("1"), text("2"))), false},
		"ListShorter": {"The other way round.", under("l", list(text("1"), text("2"))), under("l", list(text("1"))), false},
		"Unknown":     {"A field that nobody knows says nothing.", a, slices.Concat(protowire.AppendVarint(protowire.AppendTag(nil, 9, protowire.VarintType), 1), a), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Same(tc.one, tc.two); got != tc.want {
				t.Errorf("%s Same(...) = %v", tc.reason, got)
			}
		})
	}
}
