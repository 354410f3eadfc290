package registry

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"whisperops.io/functions/apis/v1alpha1"
)

func table(rows int, row func(i int) string) string {
	return "a,b,c\n" + strings.Join(lines(rows, row), "")
}

func lines(rows int, row func(i int) string) []string {
	out := make([]string, rows)
	for i := range out {
		out[i] = row(i) + "\n"
	}
	return out
}

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestMeasure(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	small := table(3, func(i int) string { return fmt.Sprintf("%d,x,", i) })
	large := table(200_000, func(int) string { return fmt.Sprintf("%d,%d,%d", r.IntN(1e9), r.IntN(1e9), r.IntN(1e9)) })
	digits := table(800_000, func(int) string { return fmt.Sprintf("%d,%d,%d", r.IntN(10), r.IntN(10), r.IntN(10)) })
	cases := map[string]struct {
		reason, content, encoding string
		rows, columns             int64
		low, high                 float64 // of the factor
	}{
		"Small":       {reason: "All of it is read.", content: small, rows: 3, columns: 3, low: 1, high: 20},
		"Large":       {reason: "Rows are told from the first megabyte.", content: large, rows: 200_000, columns: 3, low: 1.5, high: 4},
		"Digits":      {reason: "Short cells take ten times their size.", content: digits, rows: 800_000, columns: 3, low: 8, high: 13},
		"Packed":      {reason: "Factor and rows are of the unpacked file.", content: gzipped(t, digits), encoding: "gzip", rows: 800_000, columns: 3, low: 8, high: 13},
		"PackedSmall": {reason: "A packed file that is read to its end is known.", content: gzipped(t, small), encoding: "gzip", rows: 3, columns: 3, low: 1, high: 20},
		"Torn":        {reason: "What can't be unpacked can't be told.", content: "\x1f\x8bnothing", encoding: "gzip"},
		"HeaderOnly":  {reason: "No row, no factor.", content: "a,b,c\n"},
		"LongHeader":  {reason: "A header of 5 MB has no row within the first.", content: strings.Repeat("column,", 5<<20/7) + "\n1\n"},
		"Empty":       {reason: "Nothing.", content: ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			first := []byte(tc.content)
			got := Measure(first[:min(len(first), SampleBytes)], int64(len(first)), tc.encoding, nil)
			if off := float64(got.Rows-tc.rows) / float64(max(tc.rows, 1)); off > 0.02 || off < -0.02 || got.Columns != tc.columns || got.MemoryFactor < tc.low || got.MemoryFactor > tc.high {
				t.Errorf("%s\nwant %d rows, %d columns, a factor from %g to %g, got %+v", tc.reason, tc.rows, tc.columns, tc.low, tc.high, got)
			}
		})
	}
}

// A dataset that an earlier version has judged is read once more, for its shape,
// and then no more.
func TestShapeIsReadOnce(t *testing.T) {
	o := Object{Name: "a.csv", Size: 10, Generation: 1}
	s := v1alpha1.XDatasetStatus{Ready: true, Generation: "1", CRC32C: crc32c(0)}
	s.Conditions = settle(nil, append(s.Conditions, condition(v1alpha1.ConditionDatasetReady, true, v1alpha1.ReasonAvailable, "")), noon)
	if judged(s, o) {
		t.Error("a status without a shape counts as judged")
	}
	s.Shape = &v1alpha1.DatasetShape{}
	if !judged(s, o) {
		t.Error("a status with an unknown shape is read for ever")
	}
}
