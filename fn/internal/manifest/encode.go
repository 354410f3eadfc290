package manifest

import (
	"encoding/binary"
	"math"
	"reflect"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"whisperops.io/functions/internal/errors"
)

// Manifests are written as protobuf's bytes at once, and never are the tree of small
// objects that structpb makes of them. These are the tags of struct.proto: a field's number
// and how it is written.
const (
	tagFields   = 1<<3 | byte(protowire.BytesType)   // of a Struct
	tagKey      = 1<<3 | byte(protowire.BytesType)   // of an entry of its map
	tagValue    = 2<<3 | byte(protowire.BytesType)   // likewise
	tagElements = 1<<3 | byte(protowire.BytesType)   // of a ListValue
	tagNumber   = 2<<3 | byte(protowire.Fixed64Type) // of a Value
	tagString   = 3<<3 | byte(protowire.BytesType)
	tagBool     = 4<<3 | byte(protowire.VarintType)
	tagStruct   = 5<<3 | byte(protowire.BytesType)
	tagList     = 6<<3 | byte(protowire.BytesType)
)

// open begins a message within a message, and closed ends it: its length stands before it.
func open(b []byte, tag byte) (_ []byte, begin int) {
	b = append(b, tag, 0) // most are shorter than 128 bytes
	return b, len(b)
}

func closed(b []byte, begin int) []byte {
	n := len(b) - begin
	if n < 0x80 {
		b[begin-1] = byte(n) //nolint:gosec // begin is within b
		return b
	}
	var length [binary.MaxVarintLen64]byte
	more := binary.PutUvarint(length[:], uint64(n)) - 1
	b = append(b, length[:more]...)
	copy(b[begin+more:], b[begin:begin+n])
	copy(b[begin-1:], length[:more+1])
	return b
}

func appendStruct(b []byte, o map[string]any) ([]byte, error) {
	for k, v := range o {
		e, entry, value, err := openEntry(b, k)
		if err != nil {
			return nil, err
		}
		if b, err = appendValue(e, v); err != nil {
			return nil, errors.Wrapf(err, "%s", k)
		}
		b = closed(closed(b, value), entry)
	}
	return b, nil
}

func openEntry(b []byte, key string) (_ []byte, entry, value int, err error) {
	b, entry = open(b, tagFields)
	if b, err = appendText(b, tagKey, key); err != nil {
		return nil, 0, 0, err
	}
	b, value = open(b, tagValue)
	return b, entry, value, nil
}

func appendText(b []byte, tag byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, errors.Errorf("%q is not UTF-8", s)
	}
	return protowire.AppendString(append(b, tag), s), nil
}

func appendNumber(b []byte, n float64) ([]byte, error) {
	if math.IsNaN(n) || math.IsInf(n, 0) {
		return nil, errors.Errorf("%v is not a number that JSON has", n)
	}
	return protowire.AppendFixed64(append(b, tagNumber), math.Float64bits(n)), nil
}

// appendValue appends one value of an Object as the fields of a Value. Errors start with the
// path to it.
func appendValue(b []byte, v any) ([]byte, error) {
	switch t := v.(type) {
	case string:
		return appendText(b, tagString, t)
	case bool:
		return protowire.AppendVarint(append(b, tagBool), protowire.EncodeBool(t)), nil
	case int:
		return appendNumber(b, float64(t))
	case int32:
		return appendNumber(b, float64(t))
	case int64:
		return appendNumber(b, float64(t))
	case float64:
		return appendNumber(b, t)
	case map[string]any:
		b, begin := open(b, tagStruct)
		b, err := appendStruct(b, t)
		if err != nil {
			return nil, err
		}
		return closed(b, begin), nil
	case map[string]string:
		return appendTexts(b, t)
	case []string:
		return appendList(b, t, func(b []byte, e string) ([]byte, error) { return appendText(b, tagString, e) })
	case []map[string]any:
		return appendList(b, t, func(b []byte, e map[string]any) ([]byte, error) { return appendValue(b, e) })
	case []any:
		return appendList(b, t, appendValue)
	case constant:
		return append(b, t...), nil
	case *structpb.Value:
		return proto.MarshalOptions{}.MarshalAppend(b, t)
	}

	rv := reflect.ValueOf(v)
	switch rv.Kind() { //nolint:exhaustive // every other kind is refused below
	case reflect.Slice:
		l := make([]any, 0, rv.Len())
		for i := range rv.Len() {
			l = append(l, rv.Index(i).Interface())
		}
		return appendList(b, l, appendValue)
	case reflect.String:
		return appendText(b, tagString, rv.String())
	}
	return nil, errors.Errorf("a %T has no place in a manifest", v)
}

func appendTexts(b []byte, m map[string]string) ([]byte, error) {
	b, begin := open(b, tagStruct)
	for k, v := range m {
		e, entry, value, err := openEntry(b, k)
		if err != nil {
			return nil, err
		}
		if b, err = appendText(e, tagString, v); err != nil {
			return nil, errors.Wrapf(err, "%s", k)
		}
		b = closed(closed(b, value), entry)
	}
	return closed(b, begin), nil
}

func appendList[E any](b []byte, elements []E, write func([]byte, E) ([]byte, error)) ([]byte, error) {
	b, begin := open(b, tagList)
	for i, e := range elements {
		at, value := open(b, tagElements)
		var err error
		if b, err = write(at, e); err != nil {
			return nil, errors.Wrapf(err, "[%d]", i)
		}
		b = closed(b, value)
	}
	return closed(b, begin), nil
}
