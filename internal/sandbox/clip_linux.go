package sandbox

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// A tail keeps the last bytes that were written to it.
type tail struct {
	limit int

	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - t.limit; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.kept), "\uFFFD")
}

// A clip keeps the beginning and the end of an output, and counts what it leaves
// out.
type clip struct {
	head, tail int // bytes to keep
	total      int64

	first []byte
	last  []byte // a ring of the size tail, written at next
	next  int
}

func newClip(head, tail int) *clip { return &clip{head: head, tail: tail} }

func (c *clip) Write(b []byte) (int, error) {
	n := len(b)
	c.total += int64(n)
	if room := c.head - len(c.first); room > 0 {
		k := min(room, len(b))
		c.first = append(c.first, b[:k]...)
		b = b[k:]
	}
	if len(b) > c.tail {
		b = b[len(b)-c.tail:]
	}
	for len(b) > 0 {
		if len(c.last) < c.tail {
			k := min(c.tail-len(c.last), len(b))
			c.last = append(c.last, b[:k]...)
			b = b[k:]
			continue
		}
		k := copy(c.last[c.next:], b)
		c.next = (c.next + k) % c.tail
		b = b[k:]
	}
	return n, nil
}

// String is the output as a person reads it: valid UTF-8 without control
// characters, cut at lines where it is cut.
func (c *clip) String() string {
	ring := slicesConcat(c.last[c.next:], c.last[:c.next])
	left := c.total - int64(len(c.first)) - int64(len(ring))
	if left <= 0 {
		return readable(slicesConcat(c.first, ring))
	}
	first, last := c.first, ring
	if i := bytes.LastIndexByte(first, '\n'); i > len(first)/2 {
		first = first[:i+1]
	}
	if i := bytes.IndexByte(last, '\n'); i >= 0 && i < len(last)/2 {
		last = last[i+1:]
	}
	left = c.total - int64(len(first)) - int64(len(last))
	return readable(first) + fmt.Sprintf("\n[... %d bytes left out ...]\n", left) + readable(last)
}

func slicesConcat(a, b []byte) []byte {
	return append(append(make([]byte, 0, len(a)+len(b)), a...), b...)
}

// readable makes text of bytes. Escape sequences and the like would do harm in a
// terminal and help nobody.
func readable(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			out.WriteRune(utf8.RuneError)
		case r == '\n' || r == '\t':
			out.WriteRune(r)
		case r == '\r': // progress bars and Windows line ends
			if len(b) == 1 || b[1] != '\n' {
				out.WriteByte('\n')
			}
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0:
			out.WriteRune(utf8.RuneError)
		default:
			out.WriteRune(r)
		}
		b = b[n:]
	}
	return out.String()
}

// pour copies everything from r and ends the run when it is more than limit bytes.
func pour(to *clip, r io.Reader, limit int64, over func()) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.Read(buffer)
		if n > 0 {
			_, _ = to.Write(buffer[:n]) // it takes everything
			if to.total > limit {
				over()
			}
		}
		if err != nil {
			return
		}
	}
}
