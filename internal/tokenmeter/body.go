package tokenmeter

import (
	"errors"
	"io"
	"sync"
	"time"
)

// body is an answer on its way through. It hands every byte on as it came, and
// before that a copy to the call's reader: who sees the end of an answer can
// rely on it being counted. When nobody reads it any more, it is drained.
type body struct {
	io.ReadCloser

	call   *call
	tee    tee   // nil: it can't be decoded, or needn't be
	left   int64 // bytes to come, -1 if nobody said
	status int
	ended  bool
	began  bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.take(p[:n])
	}
	switch {
	case b.ended:
	case err == io.EOF, err == nil && b.left == 0:
		b.end(nil)
	case err != nil:
		b.end(err)
	default:
		b.call.progress()
	}
	return n, err
}

func (b *body) take(p []byte) {
	if !b.began {
		b.began = true
		b.call.firstByte()
	}
	if b.left > 0 {
		b.left -= min(b.left, int64(len(p)))
	}
	if b.tee != nil && !b.tee.write(p) {
		b.call.unreadable()
		b.tee = nil
	}
}

// end is the end of the answer, by an error or not.
func (b *body) end(err error) {
	b.ended = true
	if b.tee != nil && !b.tee.close() && err == nil {
		b.call.unreadable()
	}
	b.call.end(err, b.status)
}

// Close is called when the answer was handed on, or when nobody wants the rest.
func (b *body) Close() error {
	if b.ended {
		return b.ReadCloser.Close()
	}
	b.call.leave()
	b.call.meter.drains.background(func() { b.drain() })
	return nil
}

// drain reads the rest. The bounds on calls and time end the context of the
// provider's answer; the bound on bytes is here.
func (b *body) drain() {
	defer b.ReadCloser.Close() //nolint:errcheck // nobody is left who could do anything
	m := b.call.meter
	buf := make([]byte, 16<<10)
	for left := m.limits.DrainBytes; !b.ended; {
		n, err := b.Read(buf)
		m.metrics.drained.Add(float64(n))
		if left -= int64(n); left <= 0 && err == nil && !b.ended {
			b.call.cut("bytes")
		}
	}
}

// errLeft ends the reading of an answer whose caller left.
var errLeft = errors.New("the caller left, and a bound ended the reading of the answer")

// drains bounds how many answers are read for nobody.
type drains struct {
	slots   chan struct{}
	timeout time.Duration

	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

func newDrains(calls int, timeout time.Duration) *drains {
	return &drains{slots: make(chan struct{}, calls), timeout: timeout}
}

// enter takes a place, false if there is none.
func (d *drains) enter() bool {
	select {
	case d.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

func (d *drains) exit() { <-d.slots }

// background runs something that a graceful end waits for.
func (d *drains) background(f func()) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		f() // in the handler, which is waited for too
		return
	}
	d.group.Add(1)
	d.mu.Unlock()
	go func() {
		defer d.group.Done()
		f()
	}()
}

// wait returns when nothing is drained any more.
func (d *drains) wait() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.group.Wait()
}
