package wire

import (
	"errors"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// Errors say as little as protobuf's do: Crossplane is what wrote the bytes.
var (
	errParse     = errors.New("cannot parse invalid wire-format data")
	errUTF8      = errors.New("string field contains invalid UTF-8")
	errRecursion = errors.New("exceeded maximum recursion depth")
)

// A field of a message that check looks into.
type field struct {
	kind kind
	in   *message // of kinds nested, mapped and listed
}

type kind uint8

const (
	other      kind = iota // a number, or no field that anybody knows
	text                   // a string, which is UTF-8
	nested                 // a message
	mapped                 // a map of messages by strings
	mappedData             // a map of bytes by strings
)

// A message is its fields by number.
type message [7]field

// The messages of which a request is made, as in run_function.proto and struct.proto.
var state, resource, resources, structure, value, list message

func init() { //nolint:gochecknoinits // they refer to each other
	state[compositeNum] = field{nested, &resource}
	state[resourcesNum] = field{mapped, &resource}
	resource[resourceNum] = field{nested, &structure}
	resource[connectionNum] = field{kind: mappedData}
	resources[itemsNum] = field{nested, &resource}
	structure[fieldsNum] = field{mapped, &value}
	value[stringNum] = field{kind: text}
	value[structNum] = field{nested, &structure}
	value[listNum] = field{nested, &list}
	list[valuesNum] = field{nested, &value}
}

// check says whether protobuf's decoder takes b as the given message, and why not. It
// allocates nothing, and goes no deeper than that.
func check(b []byte, is *message, depth int) error {
	if depth--; depth < 0 {
		return errRecursion
	}
	for len(b) > 0 {
		num, typ, n := tag(b)
		if n < 0 || typ == protowire.EndGroupType {
			return errParse
		}
		b = b[n:]
		var f field
		if int(num) < len(is) {
			f = is[num]
		}
		if f.kind == other || typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return errParse
			}
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return errParse
		}
		b = b[n:]
		if err := f.check(v, depth); err != nil {
			return err
		}
	}
	return nil
}

func (f field) check(v []byte, depth int) error {
	switch f.kind {
	case text:
		if !utf8.Valid(v) {
			return errUTF8
		}
	case nested:
		return check(v, f.in, depth)
	case mapped, mappedData:
		return f.checkEntry(v, depth-1)
	case other:
	}
	return nil
}

// checkEntry checks one entry of a map: a message of a key and a value.
func (f field) checkEntry(b []byte, depth int) error {
	if depth < 0 {
		return errRecursion
	}
	for len(b) > 0 {
		num, typ, n := tag(b)
		if n < 0 {
			return errParse
		}
		b = b[n:]
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return errParse
		}
		if typ == protowire.BytesType && (num == keyNum || num == valueNum) {
			v, _ := protowire.ConsumeBytes(b)
			if num == keyNum && !utf8.Valid(v) {
				return errUTF8
			}
			if num == valueNum && f.kind == mapped {
				if err := check(v, f.in, depth); err != nil {
					return err
				}
			}
		}
		b = b[n:]
	}
	return nil
}

// tag is protowire.ConsumeTag, which refuses fewer numbers than protobuf's decoder does.
func tag(b []byte) (protowire.Number, protowire.Type, int) {
	num, typ, n := protowire.ConsumeTag(b)
	if num > protowire.MaxValidNumber {
		return 0, 0, -1
	}
	return num, typ, n
}
