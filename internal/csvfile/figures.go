package csvfile

import (
	"regexp"
	"slices"
)

// Figures is how numbers are written that pandas takes for text: with a currency or a
// unit, thousands apart, in brackets where they are below zero.
type Figures string

// The ways to write numbers.
const (
	NoFigures    Figures = ""        // other text
	PointFigures Figures = "1,234.5" // what is no digit, point or sign says nothing
	CommaFigures Figures = "1.234,5" // the comma is what a point is elsewhere
)

// A currency or a unit, digits that may be apart, a currency or a unit.
var figures = regexp.MustCompile(`^[ \x{a0}]*\(?[-+]?(?:[$€£¥]|[A-Z]{3} )?[ \x{a0}]*[-+]?(\d{1,3}(?:([., \x{a0}'’])\d{3})*|\d+)([.,]\d+)?[ \x{a0}]*(?:[$€£¥%]|[A-Za-z]{1,4})?\)?[ \x{a0}]*$`)

// maxFigure is how long such a number may be, in bytes.
const maxFigure = 32

// writtenFigures counts cells that are such numbers, and what tells how they are meant.
type writtenFigures struct{ n, points, commas int64 }

func (w *writtenFigures) see(cell string) {
	if len(cell) > maxFigure {
		return
	}
	m := figures.FindStringSubmatch(cell)
	if m == nil {
		return
	}
	w.n++
	apart, decimals := m[2], m[3]
	switch {
	case apart == "," && decimals != "" || decimals != "" && decimals[0] == '.' && (apart != "" || len(decimals) != 4):
		w.points++
	case apart == "." && decimals != "" || decimals != "" && decimals[0] == ',' && (apart != "" || len(decimals) != 4):
		w.commas++
	}
}

// figures says how the numbers of a column are written of which pandas takes some for
// text: text is how many. Where 1,234 may be either, the file's other numbers say.
func (w *writtenFigures) figures(text int64, comma bool) Figures {
	switch {
	case text == 0 || w.n != text || w.points > 0 && w.commas > 0:
		return NoFigures
	case w.commas > 0 || w.points == 0 && comma:
		return CommaFigures
	}
	return PointFigures
}

// beyond looks at what the first row has more than the header. Pandas makes an index of as
// many columns, the first ones: right for rows with names, and wrong by a column for rows
// that end in a separator.
func (p *Profile) beyond(first []string) {
	switch more := len(first) - p.ColumnCount; {
	case more <= 0:
	case p.endsEmpty(first):
		p.Trailing = true
	default:
		p.RowNames = more
	}
}

// endsEmpty says whether what a row has more than the header is nothing.
func (p *Profile) endsEmpty(record []string) bool {
	for _, cell := range record[min(p.ColumnCount, len(record)):] {
		if cell != "" {
			return false
		}
	}
	return true
}

// Names returns the columns' names, at most n.
func (p *Profile) Names(n int) []string {
	names := make([]string, 0, min(n, len(p.Columns)))
	for _, c := range p.Columns[:min(n, len(p.Columns))] {
		names = append(names, c.Name)
	}
	return slices.Clip(names)
}
