package csvfile

import "testing"

// Bucket contents as people have them: a CSV is seen, and what somebody may miss is named
// with a reason.
func TestWhyNot(t *testing.T) {
	cases := map[string]struct {
		why  string
		want string // reason; "": a dataset, "-": nobody takes it for one
	}{
		"a.csv":                {"The usual one.", ""},
		" a.csv":               {"A blank in front harms nobody.", ""},
		"a.csv.csv":            {"It ends as it should.", ""},
		"data.v2.csv":          {"Dots are letters.", ""},
		"a.gz.csv":             {"What stands before the end is a name.", ""},
		"A.CSV":                {"Another system's habit.", IgnoredSpelling},
		"a.CSV.GZ":             {"Both at once: it is packed.", IgnoredCompressed},
		"a.csv.gz ":            {"A blank behind it.", IgnoredCompressed},
		"a.csv .gz":            {"A blank within.", IgnoredCompressed},
		"a.csv.tar.gz":         {"Two programs, one after the other.", IgnoredCompressed},
		"a.csv.gz.part":        {"An upload of a packed one.", IgnoredUnfinished},
		"a.csv.part.gz":        {"What is outermost is undone first.", IgnoredCompressed},
		"a.csv.gz.gpg":         {"Packed, then encrypted.", IgnoredCompressed},
		"a.csv.pgp":            {"Encrypted.", IgnoredCompressed},
		"a.csv.txt":            {"Windows hides the second one.", IgnoredSpelling},
		"a.csv.":               {"A dot too many.", IgnoredSpelling},
		"a.csv\t":              {"A tab from a script.", IgnoredSpelling},
		"a.csv\u00a0":          {"A blank from a web page.", IgnoredSpelling},
		"a.csv\u200b":          {"A blank that nobody sees.", IgnoredSpelling},
		"a.csv\u200e":          {"A mark of another direction of writing.", IgnoredSpelling},
		"a.csv\u2060":          {"A joiner that nobody sees.", IgnoredSpelling},
		"a.csv\n":              {"A line end from a script.", IgnoredName},
		".a.csv.gz":            {"A tool's own, packed.", IgnoredHidden},
		"x/.tmp/a.csv":         {"A tool's own folder.", IgnoredHidden},
		"~$a.csv":              {"Who has it open in Excel.", IgnoredHidden},
		"x/$RECYCLE.BIN/a.csv": {"What was thrown away on Windows.", IgnoredHidden},
		"@eaDir/a.csv":         {"What a storage box keeps beside files.", IgnoredHidden},
		"a.csv.rar":            {"Packed in another way.", IgnoredCompressed},
		"a.CSV.lzma":           {"And in another one.", IgnoredCompressed},
		"a.csv.opdownload":     {"Another browser's.", IgnoredUnfinished},
		"a.csv_.gstmp":         {"gsutil's, while it downloads.", IgnoredUnfinished},
		"a.csv\u3000":          {"Japan's blank.", IgnoredSpelling},
		"a.csv\ufeff":          {"A byte order mark that came along.", IgnoredSpelling},
		"a.csv/part-0.csv":     {"Spark's folder is called as the file it should be.", ""},
		"_committed_1.csv":     {"An underscore is a letter: some export so.", ""},
		"a.csv.bak":            {"A copy, by who made it.", "-"},
		"a.csv.md5":            {"A checksum.", "-"},
		"a.csv/b.txt":          {"A folder of that name.", "-"},
		"a.csv/":               {"What stands for a folder.", "-"},
		"csv":                  {"A word.", "-"},
		"a.tsv":                {"Another format.", "-"},
		"gz":                   {"A word.", "-"},
		".gz":                  {"Nothing before it.", "-"},
		"":                     {"No name.", "-"},
		"._SUCCESS.csv.crc":    {"A checksum of a tool.", "-"},
		"a.csv.gz.gz.gz.gz.gz": {"However often.", IgnoredCompressed},
	}
	for object, tc := range cases {
		got := WhyNot(object)
		reason := got.Reason
		if reason == "" && !IsCSV(object) {
			reason = "-"
		}
		if reason != tc.want {
			t.Errorf("%q: %s Want %q, got %q", object, tc.why, tc.want, reason)
		}
		if got.Reason != "" && (got.Advice == "" || got.Object != object) {
			t.Errorf("%q is ignored without a way out: %+v", object, got)
		}
	}
}
