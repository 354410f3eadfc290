package serve

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
)

const mib = 1 << 20

// large is a request of about so many bytes.
func large(bytes int) *fnv1.RunFunctionRequest {
	return &fnv1.RunFunctionRequest{Input: &structpb.Struct{Fields: map[string]*structpb.Value{"x": structpb.NewStringValue(string(make([]byte, bytes)))}}}
}

// A counting listener knows how much came from all of its connections.
type counting struct {
	net.Listener

	bytes *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return counted{c, l.bytes}, nil
}

type counted struct {
	net.Conn

	bytes *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.bytes.Add(int64(n))
	return n, err
}

// gated serves s as run does, with room for so many bytes. It returns its address and
// how much came.
func gated(t *testing.T, room int, s slow, stall time.Duration) (address string, came *atomic.Int64) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came = &atomic.Int64{}
	listener, options := boundedFor(counting{l, came}, room, s, stall)
	srv := grpc.NewServer(options...)
	fnv1.RegisterFunctionRunnerServiceServer(srv, s)
	t.Cleanup(srv.Stop)
	go srv.Serve(listener) //nolint:errcheck // it ends with the test
	return l.Addr().String(), came
}

func client(t *testing.T, address string, more ...grpc.DialOption) fnv1.FunctionRunnerServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(address, append(more, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return fnv1.NewFunctionRunnerServiceClient(conn)
}

// TestWhatHasComeIsBounded: sixty requests of a mebibyte at once, none of which is answered
// for now, are not held: the peers hold them.
func TestWhatHasComeIsBounded(t *testing.T) {
	const calls, room = 60, 2 * mib
	s := slow{asked: make(chan struct{}, calls), let: make(chan struct{})}
	address, came := gated(t, room, s, time.Minute)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all sync.WaitGroup
	var answered atomic.Int64
	clients := []fnv1.FunctionRunnerServiceClient{client(t, address), client(t, address)}
	for i := range calls {
		all.Go(func() {
			if _, err := clients[i%2].RunFunction(ctx, large(mib)); err != nil {
				t.Error(err)
				return
			}
			answered.Add(1)
		})
	}
	<-s.asked
	// Nothing more comes once what may come has.
	settled := func() int64 {
		for last := int64(-1); ; {
			select {
			case <-ctx.Done():
				t.Fatal("it comes and comes")
			case <-time.After(300 * time.Millisecond):
			}
			now := came.Load()
			if now == last {
				return now
			}
			last = now
		}
	}()
	// In room, on their way in, and a window of each; and what frames need.
	if most := int64(room + (maxReceived+1)*mib + calls*window + mib); settled > most {
		t.Errorf("%d bytes have come, want %d at most", settled, most)
	}
	close(s.let)
	go func() {
		for range s.asked { // whoever asks is let
		}
	}()
	all.Wait()
	if answered.Load() != calls {
		t.Errorf("%d of %d were answered: who waits is answered", answered.Load(), calls)
	}
}

// A stalling connection sends so many bytes and no more.
type stalling struct {
	net.Conn

	left *atomic.Int64
	shut chan struct{}
	once *sync.Once
}

func (c stalling) Write(b []byte) (int, error) {
	if c.left.Add(-int64(len(b))) < 0 {
		<-c.shut
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

func (c stalling) Close() error {
	c.once.Do(func() { close(c.shut) })
	return c.Conn.Close()
}

// TestWhoStallsIsCutOff: peers that begin messages and don't end them take all places at
// the gate, and honest calls go on all the same.
func TestWhoStallsIsCutOff(t *testing.T) {
	s := slow{asked: make(chan struct{}, 10), let: make(chan struct{}, 10)}
	address, _ := gated(t, 2*mib, s, time.Second)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	broken := make(chan error, maxReceived)
	for range maxReceived {
		staller := client(t, address, grpc.WithContextDialer(func(ctx context.Context, a string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, "tcp", a)
			if err != nil {
				return nil, err
			}
			left := &atomic.Int64{}
			left.Store(300 * 1024)
			return stalling{c, left, make(chan struct{}), &sync.Once{}}, nil
		}))
		go func() {
			_, err := staller.RunFunction(ctx, large(mib))
			broken <- err
		}()
	}
	for range maxReceived {
		if err := <-broken; status.Code(err) != codes.Unavailable {
			t.Errorf("want who stalls cut off, got %v", err)
		}
	}
	s.let <- struct{}{}
	if _, err := client(t, address).RunFunction(ctx, large(mib)); err != nil {
		t.Errorf("an honest call: %v", err)
	}
}

// TestConnectionsAreBounded: one more than there may be waits until another is closed.
func TestConnectionsAreBounded(t *testing.T) {
	s := slow{asked: make(chan struct{}, 10), let: make(chan struct{}, 10)}
	address, _ := gated(t, mib, s, time.Minute)
	var open []net.Conn
	for range maxConnections {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := c.Read(make([]byte, 9)); err != nil { // the server's settings: it was accepted
			t.Fatal(err)
		}
		open = append(open, c)
	}
	s.let <- struct{}{}
	short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	c := client(t, address)
	if _, err := c.RunFunction(short, &fnv1.RunFunctionRequest{}, grpc.WaitForReady(true)); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("want one connection too many to wait, got %v", err)
	}
	_ = open[0].Close()
	long, end := context.WithTimeout(t.Context(), 30*time.Second)
	defer end()
	if _, err := c.RunFunction(long, &fnv1.RunFunctionRequest{}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("want it to be served when another is closed, got %v", err)
	}
}
