package tokenmeter

import (
	"io"
	"net/http"
	"sync"
)

// A kept body of a request can be sent again. A provider that closes a connection
// just as a call takes it has read nothing of the call; net/http then takes another
// connection, but only for a body that it can get once more. Without that the caller
// would see an error that it would never have seen without a meter.
type kept struct {
	mu    sync.Mutex
	bytes []byte
	sent  bool // all of it, at least once
}

// keepUpTo is how large a body may be that the meter needn't look into and yet
// keeps. A larger one passes through, and can't be sent again.
const keepUpTo = 1 << 20

// attach makes r send the body. A key that makes calls repeatable would have net/http
// send one again of which nobody knows whether it arrived: that is the caller's to
// decide, who may be billed twice, and has a budget for one.
func (k *kept) attach(r *http.Request) {
	r.Body, r.ContentLength = k.reader(), int64(len(k.bytes))
	if r.Header.Get("Idempotency-Key") == "" && r.Header.Get("X-Idempotency-Key") == "" {
		r.GetBody = func() (io.ReadCloser, error) { return k.reader(), nil }
	}
}

// forget the bytes, if all of them were sent: a stream may go on for many minutes,
// and thousands may be open.
func (k *kept) forget() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.sent {
		k.bytes = nil
	}
}

func (k *kept) reader() io.ReadCloser { return &keptReader{kept: k} }

type keptReader struct {
	kept *kept
	at   int
}

func (r *keptReader) Read(p []byte) (int, error) {
	r.kept.mu.Lock()
	defer r.kept.mu.Unlock()
	if r.at >= len(r.kept.bytes) {
		r.kept.sent = true
		return 0, io.EOF
	}
	n := copy(p, r.kept.bytes[r.at:])
	r.at += n
	return n, nil
}

func (r *keptReader) Close() error { return nil }
