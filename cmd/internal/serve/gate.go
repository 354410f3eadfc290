package serve

import (
	"context"
	"net"
	"sync"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/grpc/stats"
)

// A gate lets few requests come in at once. gRPC reads a whole message before a function is
// asked, and as many of them as there are streams; who waits at the gate has sent no more of
// one than a window. A peer that begins a message and doesn't end it would close the gate
// for all others: its connection is closed.
type gate struct {
	places chan struct{}
	stall  time.Duration
	busy   func() bool // whether requests wait for room, which is nobody's fault
	conns  sync.Map    // net.Conn by remote address
}

func newGate(places int, stall time.Duration, busy func() bool) *gate {
	return &gate{places: make(chan struct{}, places), stall: stall, busy: busy}
}

type (
	connKey  struct{}
	entryKey struct{}
)

// An entry is one request on its way in.
type entry struct {
	timer *time.Timer
	once  sync.Once
	leave func()
}

// TagConn finds the connection of a peer.
func (g *gate) TagConn(ctx context.Context, info *stats.ConnTagInfo) context.Context {
	if c, is := g.conns.Load(info.RemoteAddr.String()); is {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// HandleConn is for what needs no gate.
func (g *gate) HandleConn(context.Context, stats.ConnStats) {}

// TagRPC waits until there is a place. It is called before a stream's message is read, and
// in a goroutine of that stream's.
func (g *gate) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	if info.FullMethodName != fnv1.FunctionRunnerService_RunFunction_FullMethodName {
		return ctx
	}
	select {
	case g.places <- struct{}{}:
	case <-ctx.Done(): // who called has left
		return ctx
	}
	e := &entry{leave: func() { <-g.places }}
	if c, is := ctx.Value(connKey{}).(net.Conn); is {
		e.timer = time.AfterFunc(g.stall, func() {
			if g.busy() {
				e.timer.Reset(g.stall)
				return
			}
			_ = c.Close() // it may be closed already
		})
	}
	return context.WithValue(ctx, entryKey{}, e)
}

// HandleRPC gives the place back when a message is read and decoded, or never will be.
func (g *gate) HandleRPC(ctx context.Context, s stats.RPCStats) {
	switch s.(type) {
	case *stats.InPayload, *stats.End:
	default:
		return
	}
	e, is := ctx.Value(entryKey{}).(*entry)
	if !is {
		return
	}
	e.once.Do(func() {
		if e.timer != nil {
			e.timer.Stop()
		}
		e.leave()
	})
}

// watched notes who connects.
type watched struct {
	net.Listener

	gate *gate
}

func (l watched) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if _, isTCP := c.RemoteAddr().(*net.TCPAddr); !isTCP {
		return c, nil // all peers of a Unix socket have one address
	}
	address := c.RemoteAddr().String()
	l.gate.conns.Store(address, c)
	return gone{c, func() { l.gate.conns.CompareAndDelete(address, c) }}, nil
}

// gone is a connection that is forgotten when it is closed.
type gone struct {
	net.Conn

	forget func()
}

func (c gone) Close() error {
	c.forget()
	return c.Conn.Close()
}
