package world

import (
	"io"
	"net"
	"sync"
)

// A Wire lies between browser and page, and can be cut.
type Wire struct {
	l  net.Listener
	to string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newWire(l net.Listener, to string) *Wire {
	w := &Wire{l: l, to: to, conns: map[net.Conn]bool{}}
	go w.serve()
	return w
}

// Cut breaks all connections, and lets none through until Mend.
func (w *Wire) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.conns {
		_ = c.Close()
	}
}

// Mend ends a cut.
func (w *Wire) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

func (w *Wire) serve() {
	for {
		c, err := w.l.Accept()
		if err != nil {
			return
		}
		go w.carry(c)
	}
}

func (w *Wire) carry(a net.Conn) {
	defer a.Close() //nolint:errcheck // it is over
	b, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer b.Close() //nolint:errcheck // it is over
	w.mu.Lock()
	if w.cut {
		w.mu.Unlock()
		return
	}
	w.conns[a], w.conns[b] = true, true
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.conns, a)
		delete(w.conns, b)
	}()
	done := make(chan struct{}, 2)
	for _, p := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			_, _ = io.Copy(p[0], p[1])
			done <- struct{}{}
		}()
	}
	<-done
}
