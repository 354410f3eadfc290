package csvfile

import (
	"strings"
	"testing"
)

func TestFigures(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		cells  string // of one column, a bar between them
		want   Figures
	}{
		"Dollars":   {reason: "A currency makes text of a number.", cells: "$1,234.50|$3.00", want: PointFigures},
		"Euros":     {reason: "The same, as half of the world writes it.", cells: "1.234,50 €|3,00 €", want: CommaFigures},
		"Code":      {reason: "A currency may be three letters.", cells: "USD 1,200|USD 7", want: PointFigures},
		"Thousands": {reason: "Digits apart are thousands where nothing else is said.", cells: "1,234|7", want: PointFigures},
		"Percent":   {reason: "So is a share.", cells: "10%|2.5%", want: PointFigures},
		"Brackets":  {reason: "As accountants write what is below zero.", cells: "(1,234.50)|12", want: PointFigures},
		"Blanks":    {reason: "Blanks are between thousands in some countries.", cells: "1 234,56|1,5", want: CommaFigures},
		"Both":      {reason: "Nobody can tell how such a column is meant.", cells: "1.234,50|1,234.50", want: NoFigures},
		"Words":     {reason: "One word, and it is no column of numbers.", cells: "$5|free", want: NoFigures},
		"Names":     {reason: "Text is text.", cells: "Ada|Bob", want: NoFigures},
		"Numbers":   {reason: "What pandas reads as numbers needs no advice.", cells: "1|2.5", want: NoFigures},
		"Dates":     {reason: "A date is no number.", cells: "01.02.2024|02.02.2024", want: NoFigures},
	} {
		t.Run(name, func(t *testing.T) {
			p := inspect(t, "id\tv\n1\t"+strings.ReplaceAll(tc.cells, "|", "\n2\t")+"\n")
			if got := p.Columns[1].Figures; got != tc.want {
				t.Errorf("%s\nwant %q, got %q (%s)", tc.reason, tc.want, got, p.Columns[1].Kind)
			}
		})
	}
}

func TestHeaderAndRows(t *testing.T) {
	for name, tc := range map[string]struct {
		reason         string
		text           string
		trailing       bool
		rowNames       int
		ragged         int64
		first, encoded string
	}{
		"Same":     {reason: "As most are.", text: "a;b\n1;2\n", first: "a", encoded: "utf-8"},
		"Trailing": {reason: "Pandas would shift all columns by one.", text: "a;b\n1;2;\n3;4;\n", trailing: true, first: "a", encoded: "utf-8"},
		"RowNames": {reason: "Rows have names, and pandas makes an index of them.", text: "a;b\nx;1;2\ny;3;4\n", rowNames: 1, first: "a", encoded: "utf-8"},
		"Later":    {reason: "Pandas refuses the file for a later row.", text: "a;b\n1;2\n3;4;5\n", ragged: 1, first: "a", encoded: "utf-8"},
		"Windows":  {reason: "A name in Windows-1252 is told as pandas reads it.", text: "Preis \x80;b\n1;2\n", first: "Preis €", encoded: "cp1252"},
	} {
		t.Run(name, func(t *testing.T) {
			p := inspect(t, tc.text)
			if p.Trailing != tc.trailing || p.RowNames != tc.rowNames || p.Ragged != tc.ragged || p.Columns[0].Name != tc.first || p.Encoding != tc.encoded {
				t.Errorf("%s\ngot %+v", tc.reason, p)
			}
			if k := p.Columns[0].Kind; k != Integer {
				t.Errorf("the first column is %s: its cells are another's", k)
			}
		})
	}
}
