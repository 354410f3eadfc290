package registry

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"regexp"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
)

// SniffBytes is how much of an object is read to tell a CSV from what is none.
const SniffBytes = 4096

// A Verdict says whether an object's first bytes can be a CSV's.
type Verdict struct {
	Reason  string // one of the reasons of isVerdict
	Message string // a sentence, with the way out
}

// Ready says whether a dataset with this verdict may be used.
func (v Verdict) Ready() bool { return v.Reason == v1alpha1.ReasonAvailable }

var (
	emptyVerdict = Verdict{v1alpha1.ReasonEmpty, "the file is empty: upload it again with its content"}
	blankVerdict = Verdict{v1alpha1.ReasonBlank, "the file begins with nothing but blanks and line ends: upload it again with its content"}
	goodVerdict  = Verdict{v1alpha1.ReasonAvailable, "the dataset can be used"}
)

// formats whose first bytes no table begins with, with a word for people. Parquet,
// bzip2 and others begin with plain letters; the bytes after them give them away.
var formats = []struct{ magic, what string }{
	{"PK\x03\x04", "a ZIP archive, as an Excel workbook is one"},
	{"PK\x05\x06", "an empty ZIP archive"},
	{"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office document"},
	{"\x1f\x8b", "a gzip archive"},
	{"\xfd7zXZ\x00", "an xz archive"},
	{"\x28\xb5\x2f\xfd", "a zstd archive"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive"},
	{"Obj\x01", "an Avro file"},
	{"\x89HDF\r\n\x1a\n", "an HDF5 file"},
	{"SQLite format 3\x00", "an SQLite database"},
	{"%PDF-", "a PDF document"},
	{"{\\rtf", "a rich text document"},
	{"\x89PNG\r\n\x1a\n", "a picture"},
	{"\xff\xd8\xff", "a picture"},
	{"\xff\xfe", "text in UTF-16"},
	{"\xfe\xff", "text in UTF-16"},
}

// markup is how web pages and the error documents of web servers and of Google
// Cloud Storage begin, in lower case.
var markup = []string{"<!doctype", "<html", "<head", "<body", "<title", "<script", "<meta", "<!--", "<?xml", "<error", "<listbucketresult", "<svg"}

// bracketed is the beginning of a header whose first name stands in angle brackets, as
// some exports write it; in its line nothing is closed, as in a page's.
var (
	bracketed = regexp.MustCompile(`^<[^<>/!?\n]*> *[,;|\t]`)
	closed    = regexp.MustCompile(`^[^\n]*</`)
)

// Sniff judges an object by its first bytes, at most SniffBytes of them, and its
// size. The encoding is the object's Content-Encoding; "gzip" is undone, as
// Google Cloud Storage does it for readers.
//
// It calls a file something else only if that is plain to see. Whether the lines
// of a text make a good table is for the agent to find out: "name\nAda" is a CSV.
func Sniff(first []byte, size int64, encoding string) Verdict {
	if size == 0 || len(first) == 0 {
		return emptyVerdict
	}
	if isPacked(first, encoding) {
		plain, err := gunzip(first)
		if err != nil {
			return Verdict{v1alpha1.ReasonBinary, "the file says it is compressed with gzip and can't be unpacked: upload it again"}
		}
		if len(plain) == 0 && int64(len(first)) == size {
			return emptyVerdict
		}
		first = plain
	}
	for _, f := range formats {
		if bytes.HasPrefix(first, []byte(f.magic)) {
			return Verdict{v1alpha1.ReasonBinary, "the file is no CSV but begins like " + f.what + ": export it as CSV in UTF-8 and upload that"}
		}
	}
	first = bytes.TrimPrefix(first, []byte("\xef\xbb\xbf"))
	if !isText(first) {
		return Verdict{v1alpha1.ReasonBinary, "the file is no CSV: it begins with bytes that are no text; export it as CSV in UTF-8 and upload that"}
	}
	text := bytes.TrimSpace(first)
	if len(text) == 0 {
		return blankVerdict
	}
	lower := strings.ToLower(string(text))
	for _, m := range markup {
		if strings.HasPrefix(lower, m) && (!bracketed.MatchString(lower) || closed.MatchString(lower)) {
			return Verdict{v1alpha1.ReasonMarkup, "the file is no CSV but begins like a web page or an XML document, perhaps the error page of a failed download: upload the data itself"}
		}
	}
	if strings.HasPrefix(lower, "version https://git-lfs.github.com/spec/") {
		return Verdict{v1alpha1.ReasonNotCSV, "the file is a Git LFS pointer and not the data: run git lfs pull and upload the file again"}
	}
	if isJSON(text) {
		return Verdict{v1alpha1.ReasonNotCSV, "the file is no CSV but begins like JSON, perhaps the error message of a failed download: upload the data as CSV"}
	}
	return goodVerdict
}

// gunzip unpacks as much as a torn archive yields, at most SniffBytes.
func gunzip(first []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(first))
	if err != nil {
		return nil, err
	}
	plain := make([]byte, SniffBytes)
	n, err := io.ReadFull(r, plain)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	return plain[:n], nil
}

// isText accepts UTF-8 and the encodings that spreadsheets and databases still write:
// Windows-1252, windows-1251, Shift_JIS, GBK and their kin. They have one thing in
// common that archives and pictures lack: no NUL, and hardly any control character,
// which are an eighth of what is compressed.
func isText(b []byte) bool {
	control := 0
	for i, c := range b {
		switch {
		case c == 0x1b && i+1 < len(b) && strings.IndexByte("$(&", b[i+1]) >= 0: // ISO-2022 changes its alphabet so
		case c == 0:
			return false
		case c < 0x20 && !strings.ContainsRune("\t\n\v\f\r\x1a", rune(c)) || c == 0x7f:
			control++
		}
	}
	return control*50 <= len(b)
}

// isJSON says whether a trimmed text begins like a JSON object, or like an array
// of objects or strings. "[Order Id],[Total]" does not: some databases write
// their header like that.
func isJSON(text []byte) bool {
	rest := bytes.TrimLeft(text[1:], " \t\r\n")
	switch text[0] {
	case '{':
		return len(rest) == 0 || rest[0] == '"' || rest[0] == '}'
	case '[':
		return len(rest) == 0 || rest[0] == '{' || rest[0] == '"' || rest[0] == ']'
	default:
		return false
	}
}
