package csvfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// A folder of CSVs with the same columns may be one dataset: its files, put behind each
// other below one header. Its path ends in a slash, which that of a single CSV never does.

const (
	// MaxFiles is how many CSVs a folder may hold that is one dataset: each is a request
	// to the store, for whoever reads it.
	MaxFiles = 1000

	// MaxHeader is how long the first line of a file in a folder may be, in bytes.
	MaxHeader = 64 << 10
)

// IsFolder says whether an object's name is that of a folder.
func IsFolder(object string) bool { return strings.HasSuffix(object, "/") }

// FolderOf returns the folder that an object lies in, or that it is, with the slash that
// ends it. It is empty for an object beside all folders.
func FolderOf(object string) string { return object[:strings.LastIndexByte(object, '/')+1] }

// A File is one CSV of a folder.
type File struct {
	Name       string
	Generation int64
}

// Generation makes one number of all files of a folder: another one whenever a file comes,
// goes or is replaced, in whatever order they are listed. It is never negative.
func Generation(files []File) int64 {
	files = slices.SortedFunc(slices.Values(files), func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	sum := sha256.New()
	for _, f := range files {
		_, _ = fmt.Fprintf(sum, "%q %d\n", f.Name, f.Generation) // a hash never fails
	}
	return int64(binary.BigEndian.Uint64(sum.Sum(nil)) & math.MaxInt64)
}

// FolderProblem says why a folder with these objects in it can't be one dataset, with the
// way out, or "". One CSV that nobody could read would be missed in every figure.
func FolderProblem(objects []string) string {
	files := 0
	for _, o := range slices.Sorted(slices.Values(objects)) {
		switch why := WhyNot(o); why.Reason {
		case "":
			if strings.HasSuffix(o, Extension) {
				files++
			}
		case IgnoredHidden, IgnoredUnfinished: // no part of any dataset
		default:
			return fmt.Sprintf("its file %q would be missing: %s, or take it out of the folder", o, why.Advice)
		}
	}
	if files > MaxFiles {
		return fmt.Sprintf("it has %d files, and a folder that is one dataset has at most %d: join them to fewer", files, MaxFiles)
	}
	return ""
}

// A Header is the first line of a CSV.
type Header struct {
	Names     []string // as they are written, without quotation marks
	Separator rune
}

// ReadHeader takes the first line of a CSV from its beginning, and says how many bytes it
// has with all that stands before it and its line end. ErrHeader: head, which is not the
// whole file, ends before the line does. ErrEmpty: the file has no line.
func ReadHeader(head []byte, whole bool) (Header, int, error) {
	text := bytes.TrimPrefix(head, []byte("\xef\xbb\xbf"))
	before := len(head) - len(text)
	if bytes.IndexByte(text, 0) >= 0 {
		return Header{}, 0, ErrBinary
	}
	if whole && len(bytes.TrimSpace(text)) == 0 {
		return Header{}, 0, ErrEmpty
	}
	h := Header{Separator: separator(text)}
	c := csv.NewReader(bytes.NewReader(text))
	c.Comma, c.LazyQuotes, c.FieldsPerRecord = h.Separator, true, -1
	names, err := c.Read()
	end := int(c.InputOffset())
	cut := !whole && (end == 0 || end >= len(text) && !bytes.HasSuffix(text, []byte("\n")))
	switch {
	case cut || errors.Is(err, io.EOF) && !whole:
		return Header{}, 0, ErrHeader
	case errors.Is(err, io.EOF):
		return Header{}, 0, ErrEmpty
	case err != nil:
		return Header{}, 0, fmt.Errorf("cannot read the first line: %w", err)
	}
	h.Names = names
	return h, before + end, nil
}

// Differs says what of a header is not as in another one, or "". Files put behind each
// other must have the same columns in the same order.
func (h Header) Differs(from Header) string {
	if len(h.Names) != len(from.Names) {
		return fmt.Sprintf("it has %d columns there and %d here", len(from.Names), len(h.Names))
	}
	for i, n := range h.Names {
		if n != from.Names[i] {
			return fmt.Sprintf("column %d is called %q there and %q here", i+1, shorten(from.Names[i]), shorten(n))
		}
	}
	if h.Separator != from.Separator && len(h.Names) > 1 {
		return fmt.Sprintf("%q stands between the columns there and %q here", string(from.Separator), string(h.Separator))
	}
	return ""
}

// ColumnsDiffer is the sentence about a file of a folder whose first line is another one
// than that of the folder's first file.
func ColumnsDiffer(file, first, differs string) string {
	return fmt.Sprintf("its file %q has other columns than %q: %s; the first line of all files must be the same, with the columns' names: export it again, or take it out of the folder", file, first, differs)
}
