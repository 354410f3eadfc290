package registry

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
)

func TestSniff(t *testing.T) {
	zipped := func(s string) string {
		b := &bytes.Buffer{}
		w := gzip.NewWriter(b)
		if _, err := w.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	wide := func(s string) string {
		b := []byte{}
		for _, u := range utf16.Encode([]rune(s)) {
			b = append(b, byte(u), byte(u>>8))
		}
		return string(b)
	}
	cases := map[string]struct {
		reason   string
		content  string
		encoding string
		want     string
	}{
		"CSV":           {"The plain case.", "longitude,latitude\n-122.23,37.88\n", "", v1alpha1.ReasonAvailable},
		"OneColumn":     {"A table may have one column.", "name\nAda\n", "", v1alpha1.ReasonAvailable},
		"OneLine":       {"A header is a table without rows.", "a,b", "", v1alpha1.ReasonAvailable},
		"Semicolons":    {"Half of Europe separates with semicolons.", "a;b\n1,5;2\n", "", v1alpha1.ReasonAvailable},
		"Tabs":          {"Tabs separate too.", "a\tb\n", "", v1alpha1.ReasonAvailable},
		"BOM":           {"Excel writes a byte order mark.", "\xef\xbb\xbfa,b\n", "", v1alpha1.ReasonAvailable},
		"Latin1":        {"Old exports are not UTF-8, and readers have an option for it.", "Stra\xdfe,Ort\nM\xfchlweg,K\xf6ln\n", "", v1alpha1.ReasonAvailable},
		"ShiftJIS":      {"Excel in Japan writes it; readers have an option for it.", strings.Repeat("\x93\x8c\x8b\x9e,\x91\xe5\x8d\xe3\r\n", 700), "", v1alpha1.ReasonAvailable},
		"GBK":           {"Excel in China writes it.", strings.Repeat("\xb1\xb1\xbe\xa9,\xc9\xcf\xba\xa3\n", 700), "", v1alpha1.ReasonAvailable},
		"EUCKR":         {"Excel in Korea writes it.", strings.Repeat("\xbc\xad\xbf\xef,\xba\xce\xbb\xea\r\n", 700), "", v1alpha1.ReasonAvailable},
		"Big5":          {"Excel in Taiwan writes it.", strings.Repeat("\xa5x\xa5_,\xb0\xaa\xb6\xaf\r\n", 700), "", v1alpha1.ReasonAvailable},
		"EUCJP":         {"Databases in Japan write it.", strings.Repeat("\xc5\xec\xb5\xfe,\xc2\xe7\xba\xe5\n", 700), "", v1alpha1.ReasonAvailable},
		"ISO2022JP":     {"Mail in Japan carries it.", strings.Repeat("\x1b$BEl5~\x1b(B,\x1b$BBg:e\x1b(B\n", 100), "", v1alpha1.ReasonAvailable},
		"KOI8R":         {"Older systems in Russia write it.", strings.Repeat("\xed\xcf\xd3\xcb\xd7\xc1;\xf4\xcf\xcd\xd3\xcb\n", 700), "", v1alpha1.ReasonAvailable},
		"Turkish":       {"windows-1254.", strings.Repeat("\xdd\xfeil;\xde\xfd\xf0d\xfdr\n", 700), "", v1alpha1.ReasonAvailable},
		"Hebrew":        {"windows-1255.", strings.Repeat("\xe9\xf8\xe5\xf9\xec\xe9\xed;\xe7\xe9\xf4\xe4\n", 700), "", v1alpha1.ReasonAvailable},
		"Arabic":        {"windows-1256.", strings.Repeat("\xc7\xe1\xde\xc7\xe5\xd1\xc9;\xcf\xe3\xd4\xde\n", 700), "", v1alpha1.ReasonAvailable},
		"Baltic":        {"windows-1257.", strings.Repeat("R\xeega;Vi\xeb\xf2a\n", 700), "", v1alpha1.ReasonAvailable},
		"UTF32":         {"Readers would see NULs.", "\xff\xfe\x00\x00a\x00\x00\x00", "", v1alpha1.ReasonBinary},
		"UTF16Big":      {"Nor the other order.", "\xfe\xff\x00a\x00,\x00b", "", v1alpha1.ReasonBinary},
		"MarkAlone":     {"Nothing stands behind the byte order mark.", "\xef\xbb\xbf", "", v1alpha1.ReasonBlank},
		"Terminal":      {"What a program painted on a terminal is no table.", strings.Repeat("\x1b[1m\x1b[31ma\x1b[0m\n", 100), "", v1alpha1.ReasonBinary},
		"Cyrillic":      {"windows-1251 is to Cyrillic what Windows-1252 is to Latin.", strings.Repeat("\xcc\xee\xf1\xea\xe2\xe0;\xd2\xee\xec\xf1\xea\n", 700), "", v1alpha1.ReasonAvailable},
		"Greek":         {"Nearly all bytes are outside ASCII.", "\xc1\xe8\xde\xed\xe1\xd0\xdc\xf4\xf1\xe1", "", v1alpha1.ReasonAvailable},
		"Angles":        {"Some exports put names in angle brackets.", "<Title>,<Author>\nFaust,Goethe\n", "", v1alpha1.ReasonAvailable},
		"AnglesHTML":    {"Even where one is a tag of HTML.", "<html>;<head>;<body>\r\n1;2;3\r\n", "", v1alpha1.ReasonAvailable},
		"AnglesBlanks":  {"People put blanks behind their commas.", "<Title>, <Author>\nFaust, Goethe\n", "", v1alpha1.ReasonAvailable},
		"AnglesOne":     {"Only the key may stand in brackets.", "<Title>,Author,Year\nFaust,Goethe,1808\n", "", v1alpha1.ReasonAvailable},
		"AnglesEnd":     {"Some exports end each line with a separator.", "<Title>;<Author>;\nFaust;Goethe;\n", "", v1alpha1.ReasonAvailable},
		"AnglesBOM":     {"Excel writes a byte order mark.", "\xef\xbb\xbf<Title>\t<Author>\r\nFaust\tGoethe\r\n", "", v1alpha1.ReasonAvailable},
		"AnglesTitle":   {"A page's title may hold a comma.", "<title>A, B</title>\n", "", v1alpha1.ReasonMarkup},
		"AnglesComment": {"A page may begin with a comment.", "<!-- export, 1 -->\n<html>\n", "", v1alpha1.ReasonMarkup},
		"AnglesTorn":    {"A page may begin with two tags in a line.", "<html><head><title>a,b</title>", "", v1alpha1.ReasonMarkup},
		"AnglesComma":   {"A comma in a page is no header.", "<html>, world</html>\n", "", v1alpha1.ReasonMarkup},
		"Japanese":      {"UTF-8 is text in any language.", strings.Repeat("日本,東京\n", 700), "", v1alpha1.ReasonAvailable},
		"Brackets":      {"Some databases write headers like that.", "[Order Id],[Total]\n1,2\n", "", v1alpha1.ReasonAvailable},
		"QuotedMarkup":  {"A table may hold markup.", "html\n\"<html></html>\"\n", "", v1alpha1.ReasonAvailable},
		"LessThan":      {"A column may be named so.", "<5,5-10,>10\n1,2,3\n", "", v1alpha1.ReasonAvailable},
		"OrcColumn":     {"Only the bytes after it make it an ORC file.", "ORC,Elf\n1,2\n", "", v1alpha1.ReasonAvailable},
		"Zipped":        {"Google undoes this encoding for readers.", zipped("a,b\n1,2\n"), "gzip", v1alpha1.ReasonAvailable},
		"ZippedLong":    {"Only the first bytes of the archive are there.", zipped(randomText(50_000)), "gzip", v1alpha1.ReasonAvailable},
		"ZippedWebPage": {"An error page may be compressed.", zipped("<!DOCTYPE html>"), "gzip", v1alpha1.ReasonMarkup},
		"ZippedNothing": {"Nothing, compressed, has a few bytes.", zipped(""), "gzip", v1alpha1.ReasonEmpty},
		"ZippedLie":     {"It can't be unpacked by readers either.", "\x1f\x8b\xff\xff\xff", "gzip", v1alpha1.ReasonBinary},
		"NotZipped":     {"The metadata lie, the content is fine.", "a,b\n", "gzip", v1alpha1.ReasonAvailable},
		"Empty":         {"Nothing is in it.", "", "", v1alpha1.ReasonEmpty},
		"Blank":         {"Blanks are nothing.", " \r\n\t\n", "", v1alpha1.ReasonBlank},
		"Excel":         {"A workbook with the wrong extension is the most frequent mistake.", "PK\x03\x04\x14\x00\x06\x00", "", v1alpha1.ReasonBinary},
		"OldExcel":      {"Likewise.", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "", v1alpha1.ReasonBinary},
		"GzipUndeclared": {
			"Readers would have to guess the compression; pandas does not for this extension.", zipped("a,b\n"), "", v1alpha1.ReasonBinary,
		},
		"Parquet":    {"A binary format.", "PAR1\x15\x00\x15\x00", "", v1alpha1.ReasonBinary},
		"PDF":        {"A binary format whose beginning is text.", "%PDF-1.7\n", "", v1alpha1.ReasonBinary},
		"UTF16":      {"Readers would see NULs.", "\xff\xfea\x00,\x00b\x00", "", v1alpha1.ReasonBinary},
		"UTF16NoBOM": {"Readers would see NULs.", wide("a,b\n1,2\n"), "", v1alpha1.ReasonBinary},
		"Noise":      {"Bytes that are no text in any usual encoding.", "\x8f\xe1\x03\x93\xfa\x11\xbe\x9c\xd4", "", v1alpha1.ReasonBinary},
		"Cut":        {"What is compressed without a header has control characters in plenty.", "\x4b\xd4\x49\xe2\x32\xd4\x31\xe2\x02\x00\x0f\x12", "", v1alpha1.ReasonBinary},
		"Controls":   {"Texts have no control characters.", "a\x01\x02\x03,b\n", "", v1alpha1.ReasonBinary},
		"HTML":       {"The error page of a failed download.", "\n<!DOCTYPE html><html><body>404</body></html>", "", v1alpha1.ReasonMarkup},
		"GCSError":   {"Google Cloud Storage answers errors in XML.", "<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "", v1alpha1.ReasonMarkup},
		"JSON":       {"An API's error message.", `{"error": {"code": 403}}`, "", v1alpha1.ReasonNotCSV},
		"JSONLines":  {"Data, but no CSV.", "[\n {\"a\": 1}]", "", v1alpha1.ReasonNotCSV},
		"LFS":        {"The file was uploaded from a checkout without its content.", "version https://git-lfs.github.com/spec/v1\noid sha256:abc\n", "", v1alpha1.ReasonNotCSV},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			first := []byte(tc.content)
			if len(first) > SniffBytes {
				first = first[:SniffBytes]
			}
			got := Sniff(first, int64(len(tc.content)), tc.encoding)
			if got.Reason != tc.want || got.Message == "" || got.Ready() != (tc.want == v1alpha1.ReasonAvailable) {
				t.Errorf("%s\nwant %s, got %+v", tc.reason, tc.want, got)
			}
		})
	}
}

// A prefix torn anywhere must not turn good text into bad.
func TestSniffTornText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := "name,town\n" + rapid.StringOf(rapid.RuneFrom([]rune("aé日😀,;\n\" "))).Draw(t, "text")
		n := rapid.IntRange(1, len(text)).Draw(t, "read")
		if v := Sniff([]byte(text[:n]), int64(len(text)), ""); !v.Ready() {
			t.Fatalf("%q of %d bytes: %+v", text[:n], len(text), v)
		}
	})
}

func TestSniffAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "bytes")
		v := Sniff(b, rapid.Int64Range(0, 1<<40).Draw(t, "size"), rapid.SampledFrom([]string{"", "gzip"}).Draw(t, "encoding"))
		if !isVerdict(v.Reason) || v.Message == "" {
			t.Fatalf("%q: %+v", b, v)
		}
	})
}

// randomText is text that does not compress well, the same at each call.
func randomText(n int) string {
	b := strings.Builder{}
	x := uint32(1)
	for b.Len() < n {
		x = x*1664525 + 1013904223
		b.WriteString(itoa(int64(x)))
		b.WriteByte(",\n"[x>>31])
	}
	return b.String()
}
