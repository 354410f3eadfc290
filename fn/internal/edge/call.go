// Package edge is where protobuf comes in and goes out: it decodes a
// RunFunctionRequest into plain Go, and writes what a core decided into the
// response. It never converts what merely passes through a step: package wire hands
// that on as it came.
//
// call.go has the Call that every station is handed, in.go what it reads, input.go its
// step's input, out.go what it writes, part.go one observed resource, values.go single values.
package edge

import (
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"

	"whisperops.io/functions/internal/reply"
	"whisperops.io/functions/internal/wire"
)

// A Call is one call of a station: what came in and what goes out. Stations use
// its methods; Req and Rsp are for what no other station needs. Their states and
// contexts are for package wire alone, which knows what of them is decoded.
type Call struct {
	Ctx context.Context //nolint:containedctx // a Call ends with its context
	Req *fnv1.RunFunctionRequest
	Rsp *fnv1.RunFunctionResponse
	Log logging.Logger

	inputs   *inputs                  // of the function; nil: nothing is remembered
	observed map[string]wire.Resource // by name; nil until somebody asks
}

// A Function serves one step of a pipeline.
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log    logging.Logger
	run    func(*Call) error
	inputs inputs
}

// New returns the function that runs a step.
func New(log logging.Logger, run func(*Call) error) *Function {
	return &Function{log: log, run: run}
}

// RunFunction runs the step for a caller in the same process, who has all decoded and
// wants it so.
func (f *Function) RunFunction(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	rsp, err := f.Answer(ctx, req)
	if err != nil {
		return nil, err
	}
	return rsp, wire.Decode(rsp)
}

// Answer runs the step on a request that wire.Unmarshal read, or one that is decoded; what
// came encoded stays so in the response. A failure is a fatal result and never a gRPC error, because
// Crossplane discards the response that comes with one.
func (f *Function) Answer(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	// Earlier steps' desired state comes along; no opinion on the TTL.
	c := &Call{Ctx: ctx, Req: req, Rsp: reply.To(req), Log: f.log, inputs: &f.inputs}
	err := f.run(c)
	if err == nil {
		err = c.sayAgain()
	}
	if err != nil {
		f.log.Info("Step failed", "error", err)
		reply.Fatal(c.Rsp, err)
	}
	return c.Rsp, nil
}
