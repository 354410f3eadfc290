package serve

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"golang.org/x/net/netutil"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/proto" // registers the codec that is bounded here
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"whisperops.io/functions/internal/wire"
)

// What one process takes on at once. Whoever holds a certificate of Crossplane's could
// end it otherwise: a request is decoded to some thirty times its size, and as many came
// at once as somebody cared to send. Who has to wait waits, and is answered.
const (
	// maxConnections is many more than the replicas of Crossplane.
	maxConnections = 16

	// maxStreams of one connection are as many as Crossplane reconciles at once by
	// default. A client's library makes the next one wait.
	maxStreams = 100

	// streamWorkers answer calls on stacks that have grown to what a call needs; who comes
	// when both are busy has one of its own. A twentieth of a small call is growing it.
	streamWorkers = 2

	// pingAfter and pingTimeout let go of the streams of a peer that is gone.
	pingAfter   = time.Minute
	pingTimeout = 20 * time.Second

	// minPing is what a client may ping at most.
	minPing = 30 * time.Second

	// maxReceived are the requests that come in at once, of any size that is allowed: a
	// usual one is here within a millisecond. Of others there is a window.
	maxReceived = 4
	window      = 64 * 1024

	// stalled is how long one may take.
	stalled = 30 * time.Second
)

// bounded returns the options of a server of fn that holds requests of at most so many
// bytes at once, and l with a bound to its connections.
func bounded(l net.Listener, bytes int, fn fnv1.FunctionRunnerServiceServer) (net.Listener, []grpc.ServerOption) {
	return boundedFor(l, bytes, fn, stalled)
}

func boundedFor(l net.Listener, bytes int, fn fnv1.FunctionRunnerServiceServer, stall time.Duration) (net.Listener, []grpc.ServerOption) {
	_, lazy := fn.(answerer)
	room := &room{free: semaphore.NewWeighted(int64(bytes)), size: int64(bytes)}
	gate := newGate(maxReceived, stall, room.full)
	return watched{netutil.LimitListener(l, maxConnections), gate}, []grpc.ServerOption{
		grpc.StatsHandler(gate),
		grpc.NumStreamWorkers(streamWorkers),
		grpc.StaticStreamWindowSize(window),
		grpc.MaxRecvMsgSize(bytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: minPing, PermitWithoutStream: true}),
		grpc.ForceServerCodecV2(codec{CodecV2: encoding.GetCodecV2("proto"), room: room, lazy: lazy}),
		grpc.ChainUnaryInterceptor(room.leave),
	}
}

// A room holds the requests that are being answered, up to so many bytes.
type room struct {
	free    *semaphore.Weighted
	size    int64
	held    sync.Map // *fnv1.RunFunctionRequest: the bytes it came in
	waiting atomic.Int64
}

// full says whether a request may be waiting.
func (r *room) full() bool { return r.waiting.Load() > 0 }

// enter waits until a request of so many bytes has room.
func (r *room) enter(req *fnv1.RunFunctionRequest, bytes int64) error {
	bytes = min(bytes, r.size)
	r.waiting.Add(1)
	defer r.waiting.Add(-1)
	if err := r.free.Acquire(context.Background(), bytes); err != nil { // only a context ends it
		return err
	}
	r.held.Store(req, bytes)
	return nil
}

func (r *room) exit(req *fnv1.RunFunctionRequest) {
	if bytes, is := r.held.LoadAndDelete(req); is {
		r.free.Release(bytes.(int64)) //nolint:forcetypeassert // enter stores no other
	}
}

// leave makes room when a request is answered.
func (r *room) leave(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if q, is := req.(*fnv1.RunFunctionRequest); is {
		defer r.exit(q)
	}
	return next(ctx, req)
}

// A codec decodes a request once there is room for it. Messages of other services,
// which are small, don't wait.
type codec struct {
	encoding.CodecV2

	room *room
	lazy bool // decode no more of a request than the function wants
}

// Marshal encodes a response into a buffer of its size. gRPC's own pool has nothing between
// 32 KiB and 1 MiB, which it clears for each response of an order with all its parts, and keeps.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	rsp, is := v.(*fnv1.RunFunctionResponse)
	if !is {
		return c.CodecV2.Marshal(v)
	}
	b, err := proto.Marshal(rsp)
	if err != nil {
		return nil, err
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	req, is := v.(*fnv1.RunFunctionRequest)
	if !is {
		return c.CodecV2.Unmarshal(data, v)
	}
	if err := c.room.enter(req, int64(data.Len())); err != nil {
		return err
	}
	if err := c.decode(data, req); err != nil {
		c.room.exit(req)
		return err
	}
	return nil
}

func (c codec) decode(data mem.BufferSlice, req *fnv1.RunFunctionRequest) error {
	if c.lazy {
		return wire.Unmarshal(data.Materialize(), req)
	}
	return c.CodecV2.Unmarshal(data, req)
}
