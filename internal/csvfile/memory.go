package csvfile

import "math"

// What pandas.read_csv takes at its peak, in bytes per cell, measured with pandas
// 1.5.3 and 2.2.3 over fourteen kinds of files (make bench-csv): a cell is held
// twice while columns are put together, and a bit more lies about. See
// docs/sandbox.md.
const (
	numberBytes  = 20
	booleanBytes = 5
	pointerBytes = 19
	// manyColumns makes the parser's pieces so small that they leave gaps.
	manyColumns = 64
	gaps        = 1.35
	// tokenizer is how much of a piece's text lies in the parser's buffers.
	tokenizer = 1.2
)

// pieceCells is how many cells the parser takes in one piece, give or take a
// factor of two.
const pieceCells = 1 << 20

// CellBytes is what one cell of the column takes at the peak, in a file with this
// many columns.
func (p *Profile) CellBytes(c *Column) float64 {
	wide := 1.0
	if p.ColumnCount > manyColumns {
		wide = gaps
	}
	switch c.Kind {
	case Integer, Float, Empty:
		return numberBytes * wide
	case Boolean:
		return booleanBytes * wide
	case Date, Text:
	}
	if c.values == 0 {
		return pointerBytes * wide
	}
	share := float64(c.values) / float64(c.values+c.Missing)
	return pointerBytes*wide + share*c.unique(p)*c.stringBytes()
}

// stringBytes is the size of one value as a Python string: a head, and one, two or
// four bytes a character.
func (c *Column) stringBytes() float64 {
	head, width := 49.0, 1.0
	if c.wide {
		head, width = 74, 2
	}
	return math.Ceil((head+1+width*float64(c.textBytes)/float64(c.values))/16) * 16
}

// unique is the share of values that get a string of their own: the parser makes
// one for each different value of a piece. How many different values there are is
// told from how many were seen among how many.
func (c *Column) unique(p *Profile) float64 {
	n, d := float64(c.values), float64(len(c.seen))
	if c.unseenAfter > 0 {
		n = float64(c.unseenAfter)
	}
	piece := float64(pieceCells/max(p.ColumnCount, 1)) * 0.75
	if d >= 0.95*n {
		return 1
	}
	// Values drawn from D different ones: D (1 - (1-1/D)^n) of them are seen.
	seen := func(D, n float64) float64 { return D * -math.Expm1(n*math.Log1p(-1/D)) }
	low, high := math.Max(d, 1.000001), 1e12
	for range 200 {
		if mid := math.Sqrt(low * high); seen(mid, n) < d {
			low = mid
		} else {
			high = mid
		}
	}
	return math.Min(seen(low, piece)/piece, d/n)
}

// FileRows is how many rows a file of this many bytes has, as far as the part that
// was read tells.
func (p *Profile) FileRows(bytes int64) int64 {
	if p.Whole || p.Bytes == 0 {
		return p.Rows
	}
	return int64(math.Round(float64(p.Rows) * float64(bytes) / float64(p.Bytes)))
}

// ReadBytes is what pandas.read_csv takes at its peak for some columns of a file of
// this many bytes, beside what pandas itself takes. Without a choice of columns it
// is for all of them.
func (p *Profile) ReadBytes(bytes int64, columns ...int) int64 {
	rows := float64(p.FileRows(bytes))
	perRow := 0.0
	if len(columns) == 0 {
		for i := range p.Columns {
			perRow += p.CellBytes(&p.Columns[i])
		}
		if n := len(p.Columns); n > 0 { // those that were not looked at are like the others
			perRow *= float64(p.ColumnCount) / float64(n)
		}
	}
	for _, i := range columns {
		perRow += p.CellBytes(&p.Columns[i])
	}
	piece := math.Min(float64(bytes), float64(pieceCells/max(p.ColumnCount, 1))*0.75*p.rowBytes())
	return int64(rows*perRow + tokenizer*piece)
}

func (p *Profile) rowBytes() float64 {
	if p.Rows == 0 {
		return float64(p.Bytes)
	}
	return float64(p.Bytes) / float64(p.Rows)
}

// Factor is ReadBytes of the whole file as a multiple of its size, rounded up to a
// tenth.
func (p *Profile) Factor(bytes int64) float64 {
	if bytes <= 0 {
		return 0
	}
	return math.Ceil(float64(p.ReadBytes(bytes))/float64(bytes)*10) / 10
}

// ChunkRows is a chunksize with which a piece takes no more than this many bytes:
// whole thousands where there are that many.
func (p *Profile) ChunkRows(memory int64) int64 {
	perRow := p.rowBytes() * tokenizer
	for i := range p.Columns {
		perRow += p.CellBytes(&p.Columns[i])
	}
	rows := int64(float64(memory) / perRow)
	switch {
	case rows > 1_000_000:
		return 1_000_000
	case rows > 1000:
		return rows / 1000 * 1000
	default:
		return max(rows, 1)
	}
}

// Whole numbers that fit, smallest first.
var integerTypes = []struct {
	name     string
	min, max float64
}{
	{"int8", math.MinInt8, math.MaxInt8},
	{"int16", math.MinInt16, math.MaxInt16},
	{"int32", math.MinInt32, math.MaxInt32},
}

// categories is the most different values for which a category pays.
const categories = 1000

// Dtype is a type that takes less memory than what pandas takes of itself, or "".
func (c *Column) Dtype() string {
	switch c.Kind {
	case Integer:
		for _, t := range integerTypes {
			if c.min >= t.min && c.max <= t.max {
				return t.name
			}
		}
	case Float:
		return "float32"
	case Text, Date:
		if c.Distinct > 0 && c.Distinct <= categories && int64(c.Distinct)*10 <= c.values {
			return "category"
		}
	case Boolean, Empty:
	}
	return ""
}

// ReadShare is how much of a run's memory a whole read may be estimated to take, so
// that something is left to calculate with, and for what the estimate misses.
const ReadShare = 0.7

// sandboxOverhead is what a sandbox takes beside a run's data: its server, the
// interpreter that waits, what a run copies of it.
const sandboxOverhead = 300 << 20

// SandboxBytes is the memory limit of a sandbox that reads a CSV as a whole, which
// takes pandas this many bytes.
func SandboxBytes(read float64) float64 { return read/ReadShare + sandboxOverhead }
