package csvfile

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func inspect(t testing.TB, text string) *Profile {
	t.Helper()
	p, err := Inspect(strings.NewReader(text), true)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// files are CSVs as people have them, and what is to be found in them.
var files = map[string]struct {
	reason    string
	text      string
	rows      int64
	kinds     string // first letters
	missing   []int64
	separator rune
}{
	"Plain":     {reason: "As most are.", text: "a,b,c\n1,x,2.5\n2,y,\n", rows: 2, kinds: "itf", missing: []int64{0, 0, 1}, separator: ','},
	"Gaps":      {reason: "Integers with gaps are floats for pandas.", text: "a,b\n1,\n,2\n", rows: 2, kinds: "ff", missing: []int64{1, 1}, separator: ','},
	"Semicolon": {reason: "As spreadsheets write it in half of the world.", text: "a;b\n1;2\n3;4\n", rows: 2, kinds: "ii", missing: []int64{0, 0}, separator: ';'},
	"Tab":       {reason: "So do databases.", text: "a\tb\n1\t2,5\n3\t4,5\n", rows: 2, kinds: "it", missing: []int64{0, 0}, separator: '\t'},
	"Quoted":    {reason: "Separators and line ends in quotation marks are text.", text: "a,b\n\"x, y\",\"line\nline\"\nz,w\n", rows: 2, kinds: "tt", missing: []int64{0, 0}, separator: ','},
	"CRLF":      {reason: "Windows.", text: "a,b\r\n1,2\r\n", rows: 1, kinds: "ii", missing: []int64{0, 0}, separator: ','},
	"BOM":       {reason: "The mark is no part of a name.", text: "\ufeffa,b\n1,2\n", rows: 1, kinds: "ii", missing: []int64{0, 0}, separator: ','},
	"Booleans":  {reason: "Words that pandas knows.", text: "a,b,c\nTrue,true,true\nFalse,FALSE,\n", rows: 2, kinds: "bbt", missing: []int64{0, 0, 1}, separator: ','},
	"NA":        {reason: "Words that pandas takes for nothing.", text: "a,b,c\nNA,null,NaN\n1,2,N/A\n", rows: 2, kinds: "ffe", missing: []int64{1, 1, 2}, separator: ','},
	"Dates":     {reason: "Dates are text until pandas is told.", text: "a,b\n2024-01-02,2024-01-02 03:04:05\n2024-02-03,2024-01-02T03:04:05Z\n", rows: 2, kinds: "dd", missing: []int64{0, 0}, separator: ','},
	"Exponents": {reason: "Numbers are written in many ways.", text: "a,b,c,d\n1e5,-.5,+3,inf\n2E-3,5.,-4,-Infinity\n", rows: 2, kinds: "ffif", missing: []int64{0, 0, 0, 0}, separator: ','},
	"NoNumbers": {reason: "Go takes these for numbers, pandas does not.", text: "a,b,c\n0x10,1_000,1e\n0x11,2_000,2e\n", rows: 2, kinds: "ttt", missing: []int64{0, 0, 0}, separator: ','},
	"Huge":      {reason: "More than 64 bits is no integer.", text: "a\n123456789012345678901234567890\n1\n", rows: 2, kinds: "t", missing: []int64{0}, separator: ','},
	"Blank":     {reason: "Blank lines are no rows.", text: "a,b\n1,2\n\n3,4\n", rows: 2, kinds: "ii", missing: []int64{0, 0}, separator: ','},
	"Short":     {reason: "What a row lacks is missing.", text: "a,b,c\n1,2,3\n4,5\n", rows: 2, kinds: "iif", missing: []int64{0, 0, 1}, separator: ','},
	"One":       {reason: "One column has no separator.", text: "v\n1\n2\n", rows: 2, kinds: "i", missing: []int64{0}, separator: ','},
	"Mixed":     {reason: "One word makes a column text.", text: "a\n1\n2\nthree\n", rows: 3, kinds: "t", missing: []int64{0}, separator: ','},
	"Twice":     {reason: "Names that stand there more than once get a number, one that is free.", text: "a,a,a.1,a,,b,b\n1,2,3,4,5,6,7\n", rows: 1, kinds: "iiiiiii", missing: []int64{0, 0, 0, 0, 0, 0, 0}, separator: ','},
	"RowNames":  {reason: "A header that lacks the first column's name.", text: "a,b\nx,1,2.5\ny,3,4.5\n", rows: 2, kinds: "if", missing: []int64{0, 0}, separator: ','},
	"Spaces":    {reason: "Blanks around numbers don't count.", text: "a,b\n 1, 2.5\n2 ,3.5 \n", rows: 2, kinds: "if", missing: []int64{0, 0}, separator: ','},
}

func kinds(p *Profile) (s string) {
	for _, c := range p.Columns {
		s += string(c.Kind[0])
	}
	return s
}

func TestInspect(t *testing.T) {
	for name, tc := range files {
		t.Run(name, func(t *testing.T) {
			p := inspect(t, tc.text)
			if p.Rows != tc.rows || kinds(p) != tc.kinds || p.Separator != tc.separator {
				t.Errorf("%s\nwant %d rows of %s, separated by %q; got %d of %s, %q", tc.reason, tc.rows, tc.kinds, tc.separator, p.Rows, kinds(p), p.Separator)
			}
			for i, c := range p.Columns {
				if c.Missing != tc.missing[i] {
					t.Errorf("%s\nwant %d missing in %s, got %d", tc.reason, tc.missing[i], c.Name, c.Missing)
				}
			}
		})
	}
}

// pandas is asked what it makes of the same files.
const ask = `
import json, sys, pandas as pd
for line in sys.stdin:
    q = json.loads(line)
    df = pd.read_csv(q["path"], sep=q["sep"])
    kinds = "".join({"i": "i", "u": "i", "f": "f", "b": "b", "O": "t"}.get(d.kind, "?") for d in df.dtypes)
    print(json.dumps({"rows": len(df), "kinds": kinds, "missing": [int(n) for n in df.isna().sum()], "columns": list(map(str, df.columns))}))
`

func TestPandasAgrees(t *testing.T) {
	python := "/usr/bin/python3"
	if p := os.Getenv("PYTHON"); p != "" {
		python = p
	}
	if out, err := exec.Command(python, "-c", "import pandas").CombinedOutput(); err != nil {
		if os.Getenv("SANDBOX_TEST_PANDAS") == "required" {
			t.Fatalf("%s has no pandas: %s", python, out)
		}
		t.Skipf("%s has no pandas: apt-get install python3-pandas, or set PYTHON to an interpreter that has it", python)
	}
	dir := t.TempDir()
	var questions bytes.Buffer
	var names []string
	for name, tc := range files {
		path := filepath.Join(dir, name+".csv")
		if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
		_ = json.NewEncoder(&questions).Encode(map[string]string{"path": path, "sep": string(tc.separator)})
	}
	cmd := exec.Command(python, "-c", ask)
	cmd.Stdin = &questions
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	answers := json.NewDecoder(bytes.NewReader(out))
	for _, name := range names {
		var a struct {
			Rows    int64    `json:"rows"`
			Kinds   string   `json:"kinds"`
			Missing []int64  `json:"missing"`
			Columns []string `json:"columns"`
		}
		if err := answers.Decode(&a); err != nil {
			t.Fatal(err)
		}
		p := inspect(t, files[name].text)
		// For pandas a date is text, and an empty column is floats.
		ours := strings.NewReplacer("d", "t", "e", "f").Replace(kinds(p))
		if a.Rows != p.Rows || a.Kinds != ours || fmt.Sprint(a.Columns) != fmt.Sprint(p.Names(100)) {
			t.Errorf("%s: pandas says %d rows of %s, %v; we %d of %s, %v", name, a.Rows, a.Kinds, a.Columns, p.Rows, ours, p.Names(100))
		}
		for i, c := range p.Columns {
			if a.Missing[i] != c.Missing {
				t.Errorf("%s: pandas misses %d in %s, we %d", name, a.Missing[i], c.Name, c.Missing)
			}
		}
	}
}

// Whatever was written as CSV is found again, row by row and column by column.
func TestInspectCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		columns := rapid.IntRange(2, 6).Draw(t, "columns")
		rows := rapid.IntRange(0, 40).Draw(t, "rows")
		cell := rapid.SampledFrom([]string{"1", "-2.5", "x", "", "NA", "a,b", "say \"hi\"", "line\nline", "2024-01-01", "ä"}) //nolint:dupword // a cell of two lines
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		header := make([]string, columns)
		for i := range header {
			header[i] = fmt.Sprintf("c%d", i)
		}
		_ = w.Write(header)
		gaps := make([]int64, columns)
		for range rows {
			record := make([]string, columns)
			for i := range record {
				record[i] = cell.Draw(t, "cell")
				if record[i] == "" || record[i] == "NA" {
					gaps[i]++
				}
			}
			_ = w.Write(record)
		}
		w.Flush()
		p, err := Inspect(&b, true)
		if err != nil {
			t.Fatal(err)
		}
		if p.Rows != int64(rows) || p.ColumnCount != columns {
			t.Fatalf("want %d rows of %d columns, got %d of %d", rows, columns, p.Rows, p.ColumnCount)
		}
		for i, c := range p.Columns {
			if c.Missing != gaps[i] {
				t.Fatalf("want %d missing in column %d, got %d", gaps[i], i, c.Missing)
			}
		}
	})
}

func FuzzInspect(f *testing.F) {
	for _, tc := range files {
		f.Add([]byte(tc.text), true)
	}
	f.Add([]byte("\x00\xff\xfe\n\"\"\"\n"), false)
	f.Fuzz(func(t *testing.T, b []byte, whole bool) {
		p, err := Inspect(bytes.NewReader(b), whole)
		if err != nil {
			return
		}
		if p.Rows < 0 || p.ColumnCount < 1 || len(p.Columns) > MaxColumns {
			t.Errorf("%+v", p)
		}
		if f := p.Factor(int64(len(b))); math.IsNaN(f) || math.IsInf(f, 0) || f < 0 {
			t.Errorf("a factor of %v", f)
		}
		if p.ChunkRows(1<<20) < 1 {
			t.Errorf("pieces of %d rows", p.ChunkRows(1<<20))
		}
	})
}

func TestRubbish(t *testing.T) {
	cases := map[string]struct {
		reason, text string
		whole        bool
		want         error
	}{
		"Empty":      {reason: "Nothing is no table.", whole: true, want: ErrEmpty},
		"LongHeader": {reason: "A part without a line end teaches nothing.", text: strings.Repeat("x,", 1<<20), want: ErrHeader},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := Inspect(strings.NewReader(tc.text), tc.whole); !errors.Is(err, tc.want) {
				t.Errorf("%s\nwant %v, got %v", tc.reason, tc.want, err)
			}
		})
	}
	wide, err := Inspect(strings.NewReader(strings.Repeat("column,", 5<<20/7)+"\n"), true)
	if err != nil || len(wide.Columns) != MaxColumns || wide.ColumnCount != 5<<20/7+1 {
		t.Errorf("a header of 5 MB: %v", err)
	}
}
