// Package csvfile tells what a CSV holds and how much memory pandas takes to read
// it. The dataset watcher looks at the first megabyte, the sandbox at all of it.
package csvfile

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// SampleBytes is how much of a CSV is enough to tell what reading it costs.
const SampleBytes = 1 << 20

// A Kind is what the cells of a column are, as pandas.read_csv takes them.
type Kind string

// The kinds of columns.
const (
	Integer Kind = "integer"
	Float   Kind = "float"
	Boolean Kind = "boolean"
	Date    Kind = "date" // text for pandas, until it is told
	Text    Kind = "text"
	Empty   Kind = "empty" // no value at all: floats for pandas
)

// A Column is what was seen of one column.
type Column struct {
	Name     string
	Kind     Kind
	Missing  int64    // cells that pandas takes for missing
	Figures  Figures  // how the numbers of a Text are written, where all of it are numbers
	Distinct int      // different values; 0 if more than were counted
	Examples []string // the first few different values, shortened
	Min, Max string   // of numbers and dates, as they are written

	min, max    float64
	counts      [4]int64 // of integers, floats, booleans, dates among the values
	written     writtenFigures
	values      int64
	fractions   bool  // a float with something after the point
	textBytes   int64 // of values, in characters
	wide        bool  // a character beyond Latin-1
	seen        map[uint64]struct{}
	unseenAfter int64 // values after which counting stopped; 0 while it goes on
}

// A Profile is what was seen of a CSV.
type Profile struct {
	Bytes        int64 // read
	Rows         int64 // without the header
	Columns      []Column
	ColumnCount  int  // of the header; Columns holds the first MaxColumns
	Whole        bool // all of the file was read
	Separator    rune
	Encoding     string   // utf-8, or cp1252 where the bytes are no UTF-8
	DecimalComma bool     // numbers are written 1,5
	Ragged       int64    // rows with more cells than the header
	Repeated     []string // names that stand in the header more than once
	Trailing     bool     // rows end in a separator that the header lacks
	RowNames     int      // columns before those of the header, without a name there: for pandas an index
}

// Bounds of what is looked at.
const (
	// MaxColumns is how many columns are looked at one by one.
	MaxColumns = 2000
	// maxRecord is how long a row may be. A quotation mark that is never closed
	// makes one row of the rest of a file.
	maxRecord = 64 << 20
	// trackedValues is how many different values are remembered, over all columns.
	trackedValues    = 1 << 20
	trackedPerColumn = 1 << 16
	examples         = 4
	exampleRunes     = 40
)

// Errors of files that are no table.
var (
	ErrEmpty  = errors.New("the file has no line: upload it again with its content")
	ErrHeader = errors.New("the first line goes on and on: there is no row to learn from")
	ErrBinary = errors.New("it holds bytes that are no text: it is a picture, an archive or a spreadsheet, or text in UTF-16; save it as CSV in UTF-8 and upload that")
	ErrRecord = fmt.Errorf("a row has more than %d MiB: a quotation mark is not closed, or the file is no CSV", maxRecord>>20)
)

// missing is what pandas.read_csv takes for no value.
var missing = map[string]bool{
	"": true, "#N/A": true, "#N/A N/A": true, "#NA": true, "-1.#IND": true, "-1.#QNAN": true, "-NaN": true, "-nan": true, "1.#IND": true,
	"1.#QNAN": true, "<NA>": true, "N/A": true, "NA": true, "NULL": true, "NaN": true, "n/a": true, "nan": true, "null": true,
}

// Inspect reads a CSV to its end, or what there is of it: whole says whether that
// is all of it. A row that is cut off at the end of a part is left out.
func Inspect(r io.Reader, whole bool) (*Profile, error) {
	if !whole {
		part, err := lines(r)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(part)
	}
	in := bufio.NewReaderSize(r, SampleBytes)
	head, err := in.Peek(SampleBytes)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return nil, err
	}
	if bytes.IndexByte(head, 0) >= 0 {
		return nil, ErrBinary
	}
	p := &Profile{Whole: whole, Encoding: "utf-8", Separator: separator(head)}
	counted := &counter{r: in}
	if bytes.HasPrefix(head, []byte("\xef\xbb\xbf")) {
		_, _ = io.CopyN(io.Discard, counted, 3) // they are there
	}
	c := csv.NewReader(&bounded{counted: counted})
	c.Comma, c.LazyQuotes, c.FieldsPerRecord, c.ReuseRecord = p.Separator, true, -1, true
	header, err := c.Read()
	switch {
	case errors.Is(err, io.EOF):
		return nil, ErrEmpty
	case err != nil:
		return nil, explain(err)
	}
	p.header(header)
	err = p.rows(c, counted)
	p.Bytes = counted.n
	if err != nil {
		return nil, explain(err)
	}
	p.finish()
	return p, nil
}

// lines reads a part and leaves out the row that it cuts off.
func lines(r io.Reader) ([]byte, error) {
	part, err := io.ReadAll(io.LimitReader(r, 16*SampleBytes))
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(part)) == 0 {
		return nil, ErrEmpty
	}
	end := bytes.LastIndexByte(part, '\n')
	if end < 0 {
		return nil, ErrHeader
	}
	return part[:end+1], nil
}

func explain(err error) error {
	if errors.Is(err, ErrRecord) {
		return ErrRecord
	}
	return fmt.Errorf("cannot read the file as CSV: %w", err)
}

func (p *Profile) header(names []string) {
	p.ColumnCount = len(names)
	decoded := make([]string, len(names))
	taken, seen := map[string]bool{}, map[string]int{} // seen: how often, with the numbers tried
	for i, n := range names {
		if decoded[i] = strings.Clone(p.decode(n)); n == "" {
			decoded[i] = "Unnamed: " + strconv.Itoa(i) // as pandas does
		}
		taken[decoded[i]] = true
	}
	for i, n := range decoded {
		name := n
		for taken[n] && seen[name] > 0 { // pandas takes name.1, or the next that is free
			n = name + "." + strconv.Itoa(seen[name])
			seen[name]++
		}
		if n != name && len(p.Repeated) < examples && !slices.Contains(p.Repeated, name) {
			p.Repeated = append(p.Repeated, name)
		}
		taken[n] = true
		seen[n]++
		if i < MaxColumns {
			p.Columns = append(p.Columns, Column{Name: n, seen: map[uint64]struct{}{}, min: math.Inf(1), max: math.Inf(-1)})
		}
	}
}

// decode makes text of a cell.
func (p *Profile) decode(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	p.Encoding = "cp1252"
	var b strings.Builder
	for i := range len(s) {
		r := rune(s[i])
		if 0x80 <= r && r < 0xa0 {
			r = windows1252[r-0x80]
		}
		b.WriteRune(r)
	}
	return b.String()
}

// windows1252 are its characters from 0x80 to 0x9f; all others are Unicode's of the same
// number. Package charmap would be linked into every function with all its tables.
var windows1252 = []rune("€\ufffd‚ƒ„…†‡ˆ‰Š‹Œ\ufffdŽ\ufffd\ufffd‘’“”•–—˜™š›œ\ufffdžŸ")

func (p *Profile) rows(c *csv.Reader, counted *counter) error {
	limit := trackedPerColumn
	if n := len(p.Columns); n > 0 {
		limit = min(limit, trackedValues/n)
	}
	seed := maphash.MakeSeed()
	for {
		record, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		counted.since = counted.n
		if len(record) == 1 && record[0] == "" && p.ColumnCount > 1 {
			continue // a blank line
		}
		if p.Rows++; p.Rows == 1 {
			p.beyond(record)
		}
		if len(record) > p.ColumnCount+p.RowNames && !p.endsEmpty(record) {
			p.Ragged++
		}
		for i := range p.Columns {
			cell := ""
			if i+p.RowNames < len(record) {
				cell = record[i+p.RowNames]
			}
			p.Columns[i].see(p, cell, seed, limit)
		}
	}
}

var (
	// thousand may be meant so, or as 1.234: only spreadsheets that write semicolons tell.
	thousand = regexp.MustCompile(`^ *[+-]?[1-9][0-9]{0,2},[0-9]{3} *$`)

	comma = regexp.MustCompile(`^ *[+-]?[0-9]{1,3}(\.?[0-9]{3})*,[0-9]+ *$`)
	date  = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$|^\d{1,2}/\d{1,2}/\d{4}$|^\d{1,2}\.\d{1,2}\.\d{4}$|^\d{4}/\d{2}/\d{2}$`)
)

// number says whether a cell is a number for pandas, and whether it has a point or
// an exponent. Blanks around it don't count.
func number(cell string) (ok, fraction bool) {
	s := strings.Trim(cell, " ")
	if s != "" && (s[0] == '+' || s[0] == '-') {
		s = s[1:]
	}
	digits, i := 0, 0
	for ; i < len(s); i++ {
		switch {
		case s[i] >= '0' && s[i] <= '9':
			digits++
			continue
		case s[i] == '.' && !fraction:
			fraction = true
			continue
		}
		break
	}
	if digits == 0 {
		return false, false
	}
	if i == len(s) {
		return true, fraction
	}
	if s[i] != 'e' && s[i] != 'E' {
		return false, false
	}
	s = s[i+1:]
	if s != "" && (s[0] == '+' || s[0] == '-') {
		s = s[1:]
	}
	for j := range len(s) {
		if s[j] < '0' || s[j] > '9' {
			return false, false
		}
	}
	return s != "", true
}

func (c *Column) see(p *Profile, cell string, seed maphash.Seed, limit int) {
	if len(cell) < 9 && missing[cell] { // the longest has 8
		c.Missing++
		return
	}
	c.values++
	c.classify(p, cell)
	if c.unseenAfter > 0 {
		return
	}
	h := maphash.String(seed, cell)
	if _, ok := c.seen[h]; ok {
		return
	}
	if len(c.seen) >= limit {
		c.unseenAfter = c.values
		return
	}
	c.seen[h] = struct{}{}
	if len(c.Examples) < examples {
		c.Examples = append(c.Examples, shorten(p.decode(cell)))
	}
}

func (c *Column) classify(p *Profile, cell string) {
	first := strings.TrimLeft(cell, " ")
	digit := first != "" && (first[0] >= '0' && first[0] <= '9' || strings.IndexByte("+-.", first[0]) >= 0)
	if digit {
		if ok, fraction := number(cell); ok {
			if fraction {
				c.counts[1]++
			} else {
				c.counts[0]++
			}
			c.number(cell)
			c.textBytes += int64(len(cell))
			return
		}
	}
	switch {
	case digit && date.MatchString(cell):
		c.counts[3]++
		if c.Min == "" || cell < c.Min {
			c.Min = strings.Clone(cell)
		}
		if cell > c.Max {
			c.Max = strings.Clone(cell)
		}
	case digit && p.Separator != ',' && comma.MatchString(cell) && (p.Separator == ';' || !thousand.MatchString(cell)):
		p.DecimalComma = true
	default:
		switch strings.ToLower(cell) {
		case "true", "false":
			if cell != "tRUE" {
				c.counts[2]++
			}
		case "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity":
			c.counts[1]++
		}
	}
	c.written.see(cell)
	for _, r := range cell {
		c.textBytes++
		c.wide = c.wide || r > 0xff && r != utf8.RuneError
	}
}

func (c *Column) number(cell string) {
	v, err := strconv.ParseFloat(strings.TrimSpace(cell), 64)
	if err != nil {
		return // out of range: infinity for pandas
	}
	c.fractions = c.fractions || v != math.Trunc(v)
	if v < c.min {
		c.min, c.Min = v, strings.Clone(strings.TrimSpace(cell))
	}
	if v > c.max {
		c.max, c.Max = v, strings.Clone(strings.TrimSpace(cell))
	}
}

func shorten(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, strings.Clone(s))
	if r := []rune(s); len(r) > exampleRunes {
		return string(r[:exampleRunes]) + "..."
	}
	return s
}

// finish says what the columns are.
func (p *Profile) finish() {
	for i := range p.Columns {
		c := &p.Columns[i]
		c.Kind = c.kind()
		if c.Kind != Integer && c.Kind != Float && c.Kind != Date {
			c.Min, c.Max = "", ""
		}
		if c.Kind == Text {
			c.Figures = c.written.figures(c.values-c.counts[0]-c.counts[1], p.DecimalComma)
		}
		if c.unseenAfter == 0 {
			c.Distinct = len(c.seen)
		}
	}
}

func (c *Column) kind() Kind {
	n := c.values
	switch {
	case n == 0:
		return Empty
	case c.counts[0] == n && (c.min < math.MinInt64 || c.max >= math.MaxUint64):
		return Text // whole numbers that no type of pandas holds
	case c.counts[0] == n && c.Missing == 0:
		return Integer
	case c.counts[0]+c.counts[1] == n:
		return Float // integers with gaps are floats for pandas
	case c.counts[2] == n && c.Missing == 0:
		return Boolean
	case c.counts[3] == n:
		return Date
	default:
		return Text
	}
}

// separator finds what stands between the cells: what all lines have most, and as
// often as the header.
func separator(head []byte) rune {
	best, most := byte(','), 0
	for _, s := range []byte{',', ';', '\t', '|'} {
		if n := score(head, s); n > most {
			best, most = s, n
		}
	}
	return rune(best)
}

// score counts separators outside of quotation marks over the first lines, and
// nothing where lines differ much from the header.
func score(head []byte, sep byte) int {
	const lines = 50
	quoted := false
	var counts []int
	n := 0
	for _, b := range head {
		switch {
		case b == '"':
			quoted = !quoted
		case quoted:
		case b == sep:
			n++
		case b == '\n':
			counts = append(counts, n)
			n = 0
		}
		if len(counts) == lines {
			break
		}
	}
	if len(counts) == 0 {
		counts = []int{n}
	}
	same, like := 0, counts[0]
	if len(counts) > 1 && counts[1] == like+1 {
		like++ // rows that end in a separator, or begin with a name
	}
	for i, c := range counts {
		if c == like || i == 0 {
			same++
		}
	}
	if counts[0] == 0 || same*2 < len(counts) {
		return 0
	}
	return counts[0]*1000/len(counts)*same + same
}

// counter counts what is read, in all and since a row began.
type counter struct {
	r        io.Reader
	n, since int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// bounded ends the reading of a row that is too long.
type bounded struct{ counted *counter }

func (b *bounded) Read(p []byte) (int, error) {
	if b.counted.n-b.counted.since > maxRecord {
		return 0, ErrRecord
	}
	return b.counted.Read(p)
}
