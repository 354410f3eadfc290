package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"hash/fnv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"whisperops.io/functions/internal/csvfile"
)

const (
	// maxName is the length of an RFC 1123 label. XDatasets could have longer
	// names, but theirs are used as labels and as entity names in the catalog.
	maxName = 63

	// suffixLength is the number of hexadecimal digits that tell datasets apart
	// which would have the same name.
	suffixLength = 8

	// maxDisplayName is what the schema of spec.displayName allows, in characters.
	maxDisplayName = 200
)

// isDataset says whether an object can be a dataset of its own: a CSV, or a folder of
// them. Everything else in the bucket is none of our business.
func isDataset(object string) bool { return csvfile.IsFolder(object) || csvfile.IsCSV(object) }

// baseName returns the name that an object's dataset gets when nothing else
// wants it: an RFC 1123 label made from the whole object name, folders included.
// "Athlete_Recovery.csv" becomes "athlete-recovery". It is empty when nothing
// of the object's name can stand in a label.
func baseName(object string) string {
	b := strings.Builder{}
	dash := false
	// Decomposed, "é" is an "e" that a mark follows; the mark is dropped.
	for _, r := range norm.NFKD.String(strings.TrimSuffix(object, csvfile.Extension)) {
		r = unicode.ToLower(r)
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			if dash && b.Len() > 0 {
				b.WriteByte('-')
			}
			dash = false
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r):
		default:
			dash = true
		}
	}
	return b.String()
}

// plainName returns the object's name as a label, or "" when the name is too
// long or has nothing to make a label of, so that only uniqueName can serve.
func plainName(object string) string {
	if n := baseName(object); len(n) <= maxName {
		return n
	}
	return ""
}

// uniqueName returns a name that no other object gets: the plain one, shortened
// where it must be, with the beginning of a hash of the object's own name. Round
// is 0 except in the case of two hashes that begin alike.
func uniqueName(object string, round int) string {
	sum := sha256.Sum256([]byte(strings.Repeat("\x00", round) + object))
	suffix := hex.EncodeToString(sum[:])[:suffixLength]
	stem := baseName(object)
	if stem == "" {
		stem = "dataset"
	}
	if limit := maxName - 1 - suffixLength; len(stem) > limit {
		stem = stem[:limit]
	}
	return strings.TrimRight(stem, "-") + "-" + suffix
}

// displayName returns how people call a dataset: what the object's metadata
// say under display-name (in any spelling of it), otherwise its name in words:
// "california_housing.csv" is "California Housing".
func displayName(o Object) string {
	if n := shorten(words(metadata(o, "displayname"), false)); n != "" {
		return n
	}
	parts := []string{}
	for p := range strings.SplitSeq(strings.TrimSuffix(o.Name, csvfile.Extension), "/") {
		if w := words(p, true); w != "" {
			parts = append(parts, w)
		}
	}
	if len(parts) == 0 {
		return o.Name
	}
	return shorten(strings.Join(parts, " / "))
}

// metadata returns the value of an object's metadata under a key in any spelling, with the
// key in small letters and without dashes. Of two spellings the first that says something
// counts.
func metadata(o Object, key string) string {
	for _, k := range sortedKeys(o.Metadata) {
		v := strings.TrimSpace(o.Metadata[k])
		if v != "" && strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(k)) == key {
			return v
		}
	}
	return ""
}

// words makes one line of a text. With title, what separates words in file names
// counts as a space, and each word gets a capital.
func words(s string, title bool) string {
	fields := strings.FieldsFunc(strings.ToValidUTF8(s, ""), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || title && strings.ContainsRune("_-.+", r)
	})
	if title {
		for i, f := range fields {
			r, size := utf8.DecodeRuneInString(f)
			fields[i] = string(unicode.ToUpper(r)) + f[size:]
		}
	}
	return strings.Join(fields, " ")
}

func shorten(s string) string {
	if r := []rune(s); len(r) > maxDisplayName {
		return string(r[:maxDisplayName-1]) + "…"
	}
	return s
}

// sizeHuman returns a number of bytes as a person reads it: "512 B", "1.9 MiB".
func sizeHuman(bytes int64) string {
	const units = "KMGTPE"
	if bytes < 1024 {
		return itoa(bytes) + " B"
	}
	// In tenths of the unit, rounded half up, with the figure before the point
	// below 1024 also after rounding: 1048575 bytes are 1.0 MiB and not 1024.0 KiB.
	unit := 0
	size := float64(bytes) / 1024
	for size >= 1023.95 && unit < len(units)-1 {
		size /= 1024
		unit++
	}
	tenths := int64(size*10 + 0.5)
	return itoa(tenths/10) + "." + itoa(tenths%10) + " " + units[unit:unit+1] + "iB"
}

// seenGrid is how often lastSeen may move: every write of an XDataset wakes
// every agent that uses it.
const seenGrid = time.Hour

// seenAt returns the last instant of the dataset's grid that is not after now.
// Each dataset's grid has its own offset, so that a thousand datasets are not
// written in the same pass.
func seenAt(name string, now time.Time) time.Time {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // a hash.Hash never returns an error
	offset := time.Duration(h.Sum32()%uint32(seenGrid/time.Second)) * time.Second
	return now.UTC().Add(-offset).Truncate(seenGrid).Add(offset)
}
