package tokenmeter

import (
	"bufio"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"

	"github.com/andybalholm/brotli"

	"whisperops.io/functions/internal/tokenmeter/usage"
)

// A tee hands a decoded copy of an answer to a reader of usage; the bytes
// themselves go on as they came.
type tee interface {
	// write is told the next bytes; it reports false if they can't be decoded.
	write(p []byte) bool
	// close is told that there are no more, and returns when all is read.
	close() bool
}

// encodings that the meter can decode: what it lets through in Accept-Encoding.
var encodings = map[string]func(io.Reader) (io.Reader, error){
	"gzip":   func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	"x-gzip": func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	"br":     func(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil },
	"deflate": func(r io.Reader) (io.Reader, error) {
		return zlib.NewReader(r)
	},
}

// newTee returns a tee for a Content-Encoding, nil for one that can't be decoded.
func newTee(encoding string, r *usage.Reader) tee { //nolint:ireturn // a plain one or one that unpacks
	encoding = strings.ToLower(strings.TrimSpace(encoding))
	if encoding == "" || encoding == "identity" {
		return plainTee{r}
	}
	decode, ok := encodings[encoding]
	if !ok {
		return nil
	}
	pr, pw := io.Pipe()
	t := &packedTee{w: pw, done: make(chan bool, 1)}
	go func() {
		good := false
		defer func() {
			_ = pr.CloseWithError(io.ErrClosedPipe) // whoever still writes is not held up
			t.done <- good
		}()
		d, err := decode(bufio.NewReader(pr))
		if err != nil {
			return
		}
		_, err = io.Copy(r, d)
		good = err == nil
	}()
	return t
}

// acceptable keeps what the meter can decode of an Accept-Encoding.
func acceptable(header string) string {
	var keep []string
	for part := range strings.SplitSeq(header, ",") {
		name, _, _ := strings.Cut(part, ";")
		name = strings.ToLower(strings.TrimSpace(name))
		if _, ok := encodings[name]; ok || name == "identity" {
			keep = append(keep, strings.TrimSpace(part))
		}
	}
	return strings.Join(keep, ", ")
}

type plainTee struct{ r *usage.Reader }

func (t plainTee) write(p []byte) bool {
	t.r.Write(p) //nolint:errcheck,gosec // it never fails
	return true
}

func (t plainTee) close() bool { return true }

// packedTee decodes in a goroutine: a decoder asks for bytes, an answer brings
// them.
type packedTee struct {
	w    *io.PipeWriter
	done chan bool
}

func (t *packedTee) write(p []byte) bool {
	_, err := t.w.Write(p)
	return err == nil
}

func (t *packedTee) close() bool {
	t.w.Close() //nolint:errcheck,gosec // it never fails
	return <-t.done
}
