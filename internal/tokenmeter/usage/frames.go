package usage

import (
	"bytes"
	"strings"

	"github.com/tidwall/gjson"
)

// frames cuts an answer into documents: the events of a stream of server-sent
// events, the elements of a JSON array, or one JSON document. Which it is, the
// first byte says: providers have been seen to send each with the wrong
// Content-Type.
type frames struct {
	emit    func(doc []byte)
	dropped int // documents that were too large

	kind   kind
	json   jsonFrames
	events eventFrames
}

type kind int

const (
	unknown kind = iota
	isJSON
	isEvents
)

func (f *frames) write(p []byte) {
	if f.kind == unknown {
		for len(p) > 0 && strings.IndexByte(" \t\r\n\xef\xbb\xbf", p[0]) >= 0 {
			p = p[1:] // white space, and the bytes of a byte order mark
		}
		if len(p) == 0 {
			return
		}
		f.kind = isEvents
		if p[0] == '{' || p[0] == '[' {
			f.kind, f.json.array = isJSON, p[0] == '['
			if f.json.array {
				p = p[1:]
			}
		}
	}
	if f.kind == isJSON {
		f.json.write(f, p)
	} else {
		f.events.write(f, p)
	}
}

func (f *frames) close() {
	if f.kind == isEvents {
		f.events.line(f)
		f.events.dispatch(f)
	}
	if f.json.depth > 0 && f.json.size > 0 {
		f.dropped++ // a document that was cut off
	}
}

// jsonFrames finds where the objects of an array, or of a plain answer, begin
// and end. It looks at no more than braces and strings.
type jsonFrames struct {
	array    bool
	depth    int
	inString bool
	escaped  bool
	size     int
	buf      []byte
}

func (j *jsonFrames) write(f *frames, p []byte) {
	start := -1
	if j.depth > 0 {
		start = 0
	}
	for i := 0; i < len(p); i++ {
		c := p[i]
		switch {
		case j.escaped:
			j.escaped = false
		case j.inString:
			switch c {
			case '"':
				j.inString = false
			case '\\':
				j.escaped = true
			default:
				i += plain(p[i:]) - 1
			}
		case c == '"':
			j.inString = j.depth > 0
		case c == '{' || c == '[':
			if j.depth == 0 {
				start = i
			}
			j.depth++
		case c == '}' || c == ']':
			if j.depth == 0 {
				continue // the end of the array
			}
			j.depth--
			if j.depth > 0 {
				continue
			}
			if j.size == 0 && len(j.buf) == 0 {
				f.emit(p[start : i+1]) // all in one piece
			} else {
				j.keep(p[start : i+1])
				j.flush(f)
			}
			start = -1
		}
	}
	if start >= 0 && j.depth > 0 {
		j.keep(p[start:])
	}
}

// plain is how many bytes of a string are sure to be nothing but text, at least one
// where the first is. It looks no further than what is quick to look at twice.
func plain(p []byte) int {
	p = p[:min(len(p), 128)]
	if n := bytes.IndexByte(p, '"'); n >= 0 {
		p = p[:n]
	}
	if n := bytes.IndexByte(p, '\\'); n >= 0 {
		return n
	}
	return len(p)
}

func (j *jsonFrames) keep(p []byte) {
	j.size += len(p)
	if j.size <= MaxDocument {
		j.buf = append(j.buf, p...)
	} else {
		j.buf = nil
	}
}

func (j *jsonFrames) flush(f *frames) {
	if j.size > MaxDocument {
		f.dropped++
	} else {
		f.emit(j.buf)
	}
	j.size = 0
	if cap(j.buf) > keepBuffer {
		j.buf = nil
	}
	j.buf = j.buf[:0]
}

// keepBuffer is how large a buffer may be that waits for the next event of a
// stream: thousands of streams may be open at once.
const keepBuffer = 16 << 10

// eventFrames reads server-sent events, byte by byte where it must: lines end
// with LF, CRLF or CR, are cut anywhere, and may lack the blank after "data:".
type eventFrames struct {
	buf     []byte // a line that isn't over
	size    int    // of it; more than len(buf) if it is too long
	data    []byte // of an event that isn't over
	lines   int    // of data in it
	lost    bool   // the event is too large
	afterCR bool
}

func (e *eventFrames) write(f *frames, p []byte) {
	for len(p) > 0 {
		if e.afterCR {
			e.afterCR = false
			if p[0] == '\n' {
				p = p[1:]
				continue
			}
		}
		i := bytes.IndexByte(p, '\n')
		// CR alone ends a line too; JSON has none that isn't escaped.
		if j := bytes.IndexByte(p[:max(i, 0)], '\r'); i >= 0 && j >= 0 {
			i = j
		} else if i < 0 {
			i = bytes.IndexByte(p, '\r')
		}
		if i < 0 {
			e.keep(p)
			return
		}
		e.afterCR = p[i] == '\r'
		if e.size == 0 {
			e.take(f, p[:i])
		} else {
			e.keep(p[:i])
			e.line(f)
		}
		p = p[i+1:]
	}
}

func (e *eventFrames) keep(p []byte) {
	e.size += len(p)
	if e.size <= MaxDocument {
		e.buf = append(e.buf, p...)
	} else {
		e.buf = nil
	}
}

// line ends the line that was kept.
func (e *eventFrames) line(f *frames) {
	if e.size == 0 {
		return
	}
	if e.size > MaxDocument {
		f.dropped++
		e.lost = true
	} else {
		e.take(f, e.buf)
	}
	e.size = 0
	if cap(e.buf) > keepBuffer {
		e.buf = nil
	}
	e.buf = e.buf[:0]
}

// take is told one whole line.
func (e *eventFrames) take(f *frames, line []byte) {
	if len(line) == 0 {
		e.dispatch(f)
		return
	}
	data, ok := bytes.CutPrefix(line, []byte("data:"))
	if !ok {
		return // a comment, or a field that isn't data
	}
	data = bytes.TrimPrefix(data, []byte(" "))
	// A server that never ends an event: what is a document by itself is one.
	if e.lines > 0 && gjson.ValidBytes(e.data) {
		e.dispatch(f)
	}
	if e.lines > 0 {
		e.data = append(e.data, '\n')
	}
	e.lines++
	if len(e.data)+len(data) > MaxDocument {
		e.lost, e.data = true, nil
		return
	}
	e.data = append(e.data, data...)
}

func (e *eventFrames) dispatch(f *frames) {
	switch {
	case e.lost:
		if e.lines > 0 {
			f.dropped++
		}
	case e.lines > 0 && len(e.data) > 0:
		f.emit(e.data)
	}
	e.lines, e.lost = 0, false
	if cap(e.data) > keepBuffer {
		e.data = nil
	}
	e.data = e.data[:0]
}
