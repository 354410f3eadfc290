package wire

import (
	"bytes"

	"google.golang.org/protobuf/encoding/protowire"
)

// Same says whether two encoded Structs are proved to hold the same: protobuf writes a map's
// entries in another order each time. What holds a key twice is never proved.
func Same(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	same, entries := true, 0
	each(a, func(num protowire.Number, e []byte, _, to int) bool {
		if num != fieldsNum {
			return true
		}
		entries++
		key := string(keyOf(e))
		_, twice := lastEntry(a[to:], fieldsNum, key)
		other, ok := entry(b, fieldsNum, key)
		same = ok && !twice && sameValue(valueOf(e), other)
		return same
	})
	if !same {
		return false
	}
	each(b, func(num protowire.Number, _ []byte, _, _ int) bool {
		if num == fieldsNum {
			entries--
		}
		return true
	})
	return entries == 0
}

// SameValue says the same of two encoded Values; nil is none.
func SameValue(a, b []byte) bool { return (a == nil) == (b == nil) && sameValue(a, b) }

func sameValue(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if sa, ok := in(a, structNum); ok {
		sb, ok := in(b, structNum)
		return ok && Same(sa, sb)
	}
	la, ok := in(a, listNum)
	if !ok {
		return false
	}
	lb, ok := in(b, listNum)
	return ok && sameList(la, lb)
}

// sameList compares two encoded ListValues.
func sameList(a, b []byte) bool {
	var other [][]byte
	each(b, func(num protowire.Number, v []byte, _, _ int) bool {
		if num == valuesNum {
			other = append(other, v)
		}
		return true
	})
	same := true
	each(a, func(num protowire.Number, v []byte, _, _ int) bool {
		if num != valuesNum {
			return true
		}
		same = len(other) > 0 && sameValue(v, other[0])
		if same {
			other = other[1:]
		}
		return same
	})
	return same && len(other) == 0
}
