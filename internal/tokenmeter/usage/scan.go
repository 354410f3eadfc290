package usage

import (
	"bytes"
	"encoding/binary"
)

// A wordSet finds out which of a few words stand in a document, in one pass that
// looks at three bytes in every so many: as far apart as the shortest word allows,
// so that each word has one of its own triples looked at wherever it stands.
// bytes.Contains once for each word took longer than the network: in JSON one byte
// in ten is a quote, and could be the beginning of any of them.
type wordSet struct {
	stride int
	places [][]place           // of the triples in the words; the first is empty
	slots  [1 << slotBits]byte // for each triple its places, 0 for almost all
}

// A place is where in a word a triple stands.
type place struct {
	word []byte
	at   int
	bit  uint32
}

const slotBits = 13

// slot of the first three of four bytes. Triples that share one only make for false
// alarms.
func slot(b []byte) uint32 {
	return (binary.LittleEndian.Uint32(b) << 8) * 0x9E3779B1 >> (32 - slotBits)
}

// newWordSet returns a set of at most 32 words, which should not be short.
func newWordSet(words ...string) *wordSet {
	s := &wordSet{stride: len(words[0]), places: make([][]place, 1)}
	for _, w := range words {
		s.stride = min(s.stride, len(w)-2)
	}
	for bit, w := range words {
		for at := range s.stride {
			k := &s.slots[slot([]byte(w[at:at+3]+"\x00"))]
			if *k == 0 {
				*k = byte(len(s.places)) //nolint:gosec // a set of more places would miss words, which the tests see
				s.places = append(s.places, nil)
			}
			s.places[*k] = append(s.places[*k], place{[]byte(w), at, 1 << bit})
		}
	}
	return s
}

// in returns the words that stand in a document, as bits in the order in which they
// were given. It ends at the first of those in enough. A word at the very end isn't
// looked for: a brace comes after it.
func (s *wordSet) in(doc []byte, enough uint32) uint32 {
	var found uint32
	for i := 0; i+4 <= len(doc); i += s.stride {
		k := s.slots[slot(doc[i:i+4])]
		if k == 0 {
			continue
		}
		for _, p := range s.places[k] {
			if from := i - p.at; from >= 0 && bytes.HasPrefix(doc[from:], p.word) {
				found |= p.bit
			}
		}
		if found&enough != 0 {
			break
		}
	}
	return found
}
