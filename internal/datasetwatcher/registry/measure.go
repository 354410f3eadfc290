package registry

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/csvfile"
)

// SampleBytes is how much of an object is read to tell what reading all of it costs.
const SampleBytes = csvfile.SampleBytes

// Measure tells the shape of a CSV from its first bytes as they are stored, at most
// SampleBytes of them, and its size as it is stored and, where it is packed and that
// is known, unpacked. What can't be told is 0.
func Measure(first []byte, stored int64, encoding string, unpacked *int64) v1alpha1.DatasetShape {
	whole, size := int64(len(first)) >= stored, stored
	if isPacked(first, encoding) {
		plain, packed, done, err := unpack(first)
		if err != nil || packed == 0 {
			return v1alpha1.DatasetShape{}
		}
		whole = whole && done
		switch {
		case unpacked != nil:
			size = *unpacked
		case whole:
			size = int64(len(plain))
		default:
			size = int64(float64(stored) / float64(packed) * float64(len(plain)))
		}
		first = plain
	}
	p, err := csvfile.Inspect(bytes.NewReader(first), whole)
	if err != nil || p.Rows == 0 {
		return v1alpha1.DatasetShape{}
	}
	return v1alpha1.DatasetShape{Rows: p.FileRows(size), Columns: int64(p.ColumnCount), MemoryFactor: p.Factor(size)}
}

// isPacked says whether what is stored is a gzip archive that readers get unpacked.
func isPacked(first []byte, encoding string) bool {
	return strings.EqualFold(encoding, "gzip") && bytes.HasPrefix(first, []byte("\x1f\x8b"))
}

// unpackedSample is how much of a packed object is looked at.
const unpackedSample = 4 * SampleBytes

// unpack returns what the beginning of a gzip archive holds, at most unpackedSample
// of it, how many of its bytes that took, and whether it came to the archive's end.
func unpack(first []byte) (plain []byte, packed int, done bool, err error) {
	in := bytes.NewReader(first) // gzip reads single bytes of it, and no more than it needs
	r, err := gzip.NewReader(in)
	if err != nil {
		return nil, 0, false, err
	}
	plain, err = io.ReadAll(io.LimitReader(r, unpackedSample))
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, 0, false, err
	}
	return plain, len(first) - in.Len(), err == nil && len(plain) < unpackedSample, nil
}
