package csvfile

import (
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

// packed and unfinished are what names of CSVs end in while they are none yet.
var (
	packed     = []string{".gz", ".bgz", ".bz2", ".xz", ".zst", ".zip", ".7z", ".lz4", ".br"}
	unfinished = []string{".part", ".partial", ".filepart", ".crdownload", ".tmp", ".download"}
)

// WhyNot says why an object that looks like a dataset is none, and is zero for datasets
// and for what nobody takes for one.
func WhyNot(object string) Ignored {
	because := func(reason, advice string) Ignored { return Ignored{Object: object, Reason: reason, Advice: advice} }
	trimmed := strings.TrimRightFunc(object, func(r rune) bool { return unicode.IsSpace(r) || r == '\u200b' || r == '\ufeff' })
	lower := strings.ToLower(trimmed)
	stem := lower
	ends := func(list []string) bool {
		for _, e := range list {
			if s, ok := strings.CutSuffix(lower, e); ok {
				stem = s
				return true
			}
		}
		return false
	}
	compressed := ends(packed)
	partial := !compressed && ends(unfinished)
	switch {
	case !strings.HasSuffix(stem, Extension):
		return Ignored{}
	case len(object) > maxObjectName, !utf8.ValidString(object), strings.ContainsAny(object, "\r\n"):
		return because(IgnoredName, "its name is too long, is no UTF-8 or holds a line end: rename it")
	case hidden(object):
		return because(IgnoredHidden, "a part of its name begins with a dot, or its folder is a tool's own: such files are left alone; rename it if it is a dataset")
	case compressed:
		return because(IgnoredCompressed, "it is compressed: upload it unpacked, or with Content-Encoding gzip under a name that ends in .csv")
	case partial:
		return because(IgnoredUnfinished, "it looks like an upload that has not ended: upload it again")
	case !strings.HasSuffix(object, Extension):
		return because(IgnoredSpelling, "its name must end in .csv, in small letters and with nothing behind it: rename it")
	}
	return Ignored{}
}

// hidden says whether an object belongs to a tool: macOS' ._data.csv, editors' and
// uploaders' dot files, and what Spark, Delta and archives keep for themselves.
func hidden(object string) bool {
	for part := range strings.SplitSeq(object, "/") {
		switch {
		case strings.HasPrefix(part, "."), part == "__MACOSX", part == "_temporary", part == "_delta_log", part == "_spark_metadata":
			return true
		}
	}
	return false
}
