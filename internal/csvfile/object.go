package csvfile

import (
	"cmp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// Extension of the objects that are datasets. It is compared as it stands, as
	// the schema of spec.gcsPath does.
	Extension = ".csv"

	// maxObjectName is Google's limit on an object's name, in bytes.
	maxObjectName = 1024
)

// An Ignored object is one that somebody may miss among the datasets.
type Ignored struct {
	Object string
	Reason string // a word for metrics and logs
	Advice string // what to do
}

// IsCSV says whether an object is a CSV by its name.
func IsCSV(object string) bool {
	return strings.HasSuffix(object, Extension) && WhyNot(object) == (Ignored{})
}

// Reasons for which an object that looks like a dataset is none.
const (
	IgnoredName       = "Name"       // can't stand in JSON, or Google refuses it itself
	IgnoredHidden     = "Hidden"     // belongs to a tool
	IgnoredSpelling   = "Spelling"   // .CSV, or a blank behind it
	IgnoredCompressed = "Compressed" // .csv.gz
	IgnoredUnfinished = "Unfinished" // .csv.part
)

// IgnoredReasons are all of them.
func IgnoredReasons() []string {
	return []string{IgnoredName, IgnoredHidden, IgnoredSpelling, IgnoredCompressed, IgnoredUnfinished}
}

// packed, encrypted and unfinished are what names of CSVs end in while they are none yet;
// appended is what others put behind the name of a CSV that is one.
var (
	packed     = []string{".tar", ".gz", ".gzip", ".tgz", ".bgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".rar", ".lz4", ".lz", ".lzma", ".lzo", ".br", ".snappy", ".z"}
	encrypted  = []string{".gpg", ".pgp", ".enc", ".age", ".aes"}
	appended   = []string{".txt", "."}
	unfinished = []string{".part", ".partial", ".filepart", ".crdownload", ".opdownload", ".tmp", ".download", "_.gstmp"}
)

// WhyNot says why an object that looks like a dataset is none, and is zero for datasets
// and for what nobody takes for one.
func WhyNot(object string) Ignored {
	because := func(reason, advice string) Ignored { return Ignored{Object: object, Reason: reason, Advice: advice} }
	stem, kind := strings.ToLower(trimmed(object)), ""
	for cut := true; cut; {
		cut = false
		for _, list := range []struct {
			kind  string
			names []string
		}{{"packed", packed}, {"encrypted", encrypted}, {"unfinished", unfinished}, {"appended", appended}} {
			for _, e := range list.names {
				if rest, ok := strings.CutSuffix(stem, e); ok {
					stem, cut = trimmed(rest), true
					kind = cmp.Or(kind, list.kind) // what is outermost is undone first
				}
			}
		}
	}
	switch {
	case !strings.HasSuffix(stem, Extension):
		return Ignored{}
	case len(object) > maxObjectName, !utf8.ValidString(object), strings.ContainsAny(object, "\r\n"):
		return because(IgnoredName, "its name is too long, is no UTF-8 or holds a line end: rename it")
	case hidden(object):
		return because(IgnoredHidden, "a part of its name begins with a dot, or its folder is a tool's own: such files are left alone; rename it if it is a dataset")
	case kind == "packed":
		return because(IgnoredCompressed, "it is compressed: upload it unpacked, or with Content-Encoding gzip under a name that ends in .csv")
	case kind == "encrypted":
		return because(IgnoredCompressed, "it is encrypted: upload it decrypted, and let the bucket encrypt it")
	case kind == "unfinished":
		return because(IgnoredUnfinished, "it looks like an upload that has not ended: upload it again")
	case !strings.HasSuffix(object, Extension):
		return because(IgnoredSpelling, "its name must end in .csv, in small letters and with nothing behind it: rename it")
	}
	return Ignored{}
}

// trimmed is a name without blanks at its end, those that nobody sees among them.
func trimmed(name string) string {
	return strings.TrimRightFunc(name, func(r rune) bool { return unicode.IsSpace(r) || unicode.In(r, unicode.Cf, unicode.Cc) })
}

// hidden says whether an object belongs to a tool: macOS' ._data.csv, the ~$data.csv of
// an Office program that has it open, editors' and uploaders' dot files, and what Spark,
// Delta, archives, Windows' bin and storage boxes keep for themselves.
func hidden(object string) bool {
	for part := range strings.SplitSeq(object, "/") {
		switch {
		case strings.HasPrefix(part, "."), strings.HasPrefix(part, "~$"), part == "$RECYCLE.BIN", part == "@eaDir", part == "__MACOSX", part == "_temporary", part == "_delta_log", part == "_spark_metadata":
			return true
		}
	}
	return false
}
