package wire

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of fields, in run_function.proto and struct.proto.
const (
	keyNum, valueNum = 1, 2 // of every map's entries

	observedNum, desiredNum, inputNum, contextNum, requiredNum = 2, 3, 4, 5, 8 // of a request

	itemsNum = 1 // of Resources

	compositeNum, resourcesNum = 1, 2 // of a State

	resourceNum, connectionNum = 1, 2 // of a Resource

	fieldsNum = 1 // of a Struct
	valuesNum = 1 // of a ListValue

	nullNum, numberNum, stringNum, boolNum, structNum, listNum = 1, 2, 3, 4, 5, 6 // of a Value
)

// each calls f with the fields of an encoded message that hold bytes, until f says stop:
// their number, what they hold, and where they stand. Everything here has been checked, or
// comes from protobuf; what can't be read ends it.
func each(b []byte, f func(num protowire.Number, held []byte, from, to int) (more bool)) {
	for at := 0; at < len(b); {
		num, typ, n := tag(b[at:])
		if n < 0 {
			return
		}
		from := at
		at += n
		n = protowire.ConsumeFieldValue(num, typ, b[at:])
		if n < 0 {
			return
		}
		held := b[at:]
		at += n
		if typ != protowire.BytesType {
			continue
		}
		v, _ := protowire.ConsumeBytes(held)
		if !f(num, v, from, at) {
			return
		}
	}
}

// joined returns what all fields of a number hold: a message that stands twice is one,
// merged. nil: there is none.
func joined(b []byte, want protowire.Number) []byte {
	var all pieces
	each(b, func(num protowire.Number, held []byte, _, _ int) bool {
		if num == want {
			all.add(held)
		}
		return true
	})
	return all.bytes()
}

// pieces are runs of bytes that are one. A single one, the usual case, isn't copied, and
// many are copied once.
type pieces struct {
	all   []byte // nil: there were none
	owned bool
}

func (p *pieces) add(b []byte) {
	switch {
	case p.all == nil:
		p.all = b
		return
	case !p.owned: // what is empty stays something that isn't nil
		p.all, p.owned = append(make([]byte, 0, 2*(len(p.all)+len(b))), p.all...), true
	}
	p.all = append(p.all, b...)
}

// bytes can be appended to without anybody noticing.
func (p *pieces) bytes() []byte { return slices.Clip(p.all) }

// keyOf returns the key of an encoded entry of a map: "" where none is written.
func keyOf(entry []byte) []byte { return last(entry, keyNum) }

// last returns what the last field of a number holds, as it counts for strings and bytes;
// nil where there is none.
func last(b []byte, want protowire.Number) (v []byte) {
	each(b, func(num protowire.Number, held []byte, _, _ int) bool {
		if num == want {
			v = held
		}
		return true
	})
	return v
}

// entry returns the message that a map, which is field in of an encoded message, holds under
// a key: of several the last.
func entry(b []byte, in protowire.Number, key string) (held []byte, ok bool) {
	e, ok := lastEntry(b, in, key)
	if !ok {
		return nil, false
	}
	return valueOf(e), true
}

// valueOf returns the message of an encoded entry of a map: an entry without a value holds an
// empty one.
func valueOf(entry []byte) []byte {
	if held := joined(entry, valueNum); held != nil {
		return held
	}
	return []byte{}
}

// lastEntry returns a map's last entry of a key: its key and its value.
func lastEntry(b []byte, in protowire.Number, key string) (found []byte, ok bool) {
	each(b, func(num protowire.Number, e []byte, _, _ int) bool {
		if num == in && string(keyOf(e)) == key {
			found, ok = e, true
		}
		return true
	})
	return found, ok
}

// without returns an encoded Struct without the entries of a key, or b itself where there is
// none.
func without(b []byte, key string) []byte {
	return cut(b, func(num protowire.Number, e []byte) bool { return num == fieldsNum && string(keyOf(e)) == key })
}

// cut returns an encoded message without some of its fields. It doesn't write into b.
func cut(b []byte, drop func(num protowire.Number, held []byte) bool) []byte {
	out, copied := b, 0 // b[:copied] is decided
	owned := false
	each(b, func(num protowire.Number, held []byte, from, to int) bool {
		switch {
		case !drop(num, held):
			return true
		case !owned && from == copied:
			copied = to // at the beginning: nothing to copy
			return true
		case !owned:
			out, owned = slices.Clone(b[copied:from]), true
		default:
			out = append(out, b[copied:from]...)
		}
		copied = to
		return true
	})
	if owned {
		return append(out, b[copied:]...)
	}
	return b[copied:len(b):len(b)]
}

// in returns what an encoded Value holds in a field, structNum, listNum or stringNum; false
// when it holds something else. A Value is a oneof: the last field counts, and a message
// that follows one of its kind is merged with it.
func in(v []byte, want protowire.Number) (s []byte, ok bool) {
	var now pieces
	for b := v; len(b) > 0; {
		num, typ, n := tag(b)
		if n < 0 {
			return nil, false
		}
		b = b[n:]
		n = protowire.ConsumeFieldValue(num, typ, b)
		if n < 0 {
			return nil, false
		}
		switch {
		case num == want && typ == protowire.BytesType:
			if num == stringNum {
				now = pieces{}
			}
			held, _ := protowire.ConsumeBytes(b)
			now.add(held)
		case counts(num, typ):
			now = pieces{}
		}
		b = b[n:]
	}
	return now.bytes(), now.all != nil
}

// counts says whether a field of a Value is one of its oneof.
func counts(num protowire.Number, typ protowire.Type) bool {
	switch num {
	case nullNum, boolNum:
		return typ == protowire.VarintType
	case numberNum:
		return typ == protowire.Fixed64Type
	case stringNum, structNum, listNum:
		return typ == protowire.BytesType
	default:
		return false
	}
}
