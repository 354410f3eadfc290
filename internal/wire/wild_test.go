package wire

import (
	"google.golang.org/protobuf/encoding/protowire"
	"pgregory.net/rapid"
)

// Keys that collide, and with what stations read.
var keys = []string{"", "a", "bucket", "metadata", "managedFields", "status", "dataset", "spec"}

// what a field holds in the wild encodings below.
type holds struct {
	num  protowire.Number
	what func(t *rapid.T, deep int) []byte // of fields that hold bytes
	typ  protowire.Type
}

// The messages again, this time to write them: what check.go says and this doesn't know, or
// the other way round, turns the comparison with protobuf's decoder red.
func wildState(t *rapid.T, deep int) []byte {
	return wild(t, deep, []holds{{num: 1, what: wildResource, typ: protowire.BytesType}, {num: 2, what: wildMap(wildResource), typ: protowire.BytesType}})
}

func wildResource(t *rapid.T, deep int) []byte {
	return wild(t, deep, []holds{
		{num: 1, what: wildStruct, typ: protowire.BytesType},
		{num: 2, what: wildMap(wildText), typ: protowire.BytesType},
		{num: 3, typ: protowire.VarintType},
	})
}

func wildStruct(t *rapid.T, deep int) []byte {
	return wild(t, deep, []holds{{num: 1, what: wildMap(wildValue), typ: protowire.BytesType}})
}

func wildList(t *rapid.T, deep int) []byte {
	return wild(t, deep, []holds{{num: 1, what: wildValue, typ: protowire.BytesType}})
}

func wildValue(t *rapid.T, deep int) []byte {
	return wild(t, deep, []holds{
		{num: 1, typ: protowire.VarintType},
		{num: 2, typ: protowire.Fixed64Type},
		{num: 3, what: wildText, typ: protowire.BytesType},
		{num: 4, typ: protowire.VarintType},
		{num: 5, what: wildStruct, typ: protowire.BytesType},
		{num: 6, what: wildList, typ: protowire.BytesType},
	})
}

func wildResources(t *rapid.T, deep int) []byte {
	return wild(t, deep, []holds{{num: 1, what: wildResource, typ: protowire.BytesType}})
}

func wildRequest(t *rapid.T) []byte {
	const deep = 9
	return wild(t, deep, []holds{
		{num: 1, what: func(t *rapid.T, deep int) []byte {
			return wild(t, deep, []holds{{num: 1, what: wildText, typ: protowire.BytesType}, {num: 2, typ: protowire.VarintType}})
		}, typ: protowire.BytesType},
		{num: 2, what: wildState, typ: protowire.BytesType},
		{num: 3, what: wildState, typ: protowire.BytesType},
		{num: 4, what: wildStruct, typ: protowire.BytesType},
		{num: 5, what: wildStruct, typ: protowire.BytesType},
		{num: 6, what: wildMap(wildResources), typ: protowire.BytesType},
		{num: 7, what: wildMap(wildText), typ: protowire.BytesType},
		{num: 8, what: wildMap(wildResources), typ: protowire.BytesType},
	})
}

func wildText(t *rapid.T, _ int) []byte {
	if rapid.IntRange(0, 300).Draw(t, "broken") == 0 {
		return []byte{0xff, 0xfe}
	}
	return []byte(rapid.SampledFrom(keys).Draw(t, "text"))
}

func wildMap(value func(*rapid.T, int) []byte) func(*rapid.T, int) []byte {
	return func(t *rapid.T, deep int) []byte {
		return wild(t, deep, []holds{{num: 1, what: wildText, typ: protowire.BytesType}, {num: 2, what: value, typ: protowire.BytesType}})
	}
}

// wild encodes a message as no encoder does and every decoder has to understand: fields in
// any order and number, unknown ones and such of another type among them, numbers longer
// than they need be; and now and then what no decoder may take.
func wild(t *rapid.T, deep int, known []holds) (b []byte) {
	if deep == 0 {
		return nil
	}
	for range rapid.IntRange(0, 4).Draw(t, "fields") {
		f := rapid.SampledFrom(known).Draw(t, "field")
		num, typ := f.num, f.typ
		switch rapid.IntRange(0, 40).Draw(t, "odd") {
		case 0:
			num, f.what = rapid.SampledFrom([]protowire.Number{7, 12, 200, protowire.MaxValidNumber}).Draw(t, "unknown"), nil
		case 1:
			typ, f.what = rapid.SampledFrom([]protowire.Type{0, 1, 2, 3, 5}).Draw(t, "type"), nil
		case 2:
			if rapid.IntRange(0, 20).Draw(t, "worse") == 0 {
				typ = rapid.SampledFrom([]protowire.Type{4, 6, 7}).Draw(t, "no type")
			}
		}
		b = long(t, b, protowire.EncodeTag(num, typ))
		switch typ {
		case protowire.VarintType:
			b = long(t, b, rapid.Uint64Range(0, 3).Draw(t, "varint"))
		case protowire.Fixed64Type:
			b = protowire.AppendFixed64(b, rapid.Uint64().Draw(t, "fixed"))
		case protowire.Fixed32Type:
			b = protowire.AppendFixed32(b, rapid.Uint32().Draw(t, "fixed"))
		case protowire.StartGroupType:
			b = protowire.AppendTag(protowire.AppendVarint(protowire.AppendTag(b, 9, protowire.VarintType), 1), num, protowire.EndGroupType)
		case protowire.BytesType:
			var held []byte
			if f.what != nil {
				held = f.what(t, deep-1)
			} else {
				held = rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "bytes")
			}
			b = append(long(t, b, uint64(len(held))), held...)
		case protowire.EndGroupType: // of none that began
		}
	}
	if len(b) > 0 && rapid.IntRange(0, 300).Draw(t, "cut") == 0 {
		return b[:len(b)-1]
	}
	return b
}

// long appends a varint, sometimes with zeros that it needn't have.
func long(t *rapid.T, b []byte, v uint64) []byte {
	b = protowire.AppendVarint(b, v)
	if v < 1<<50 && rapid.IntRange(0, 30).Draw(t, "long") == 0 {
		b[len(b)-1] |= 0x80
		b = append(b, 0x80, 0)
	}
	return b
}
