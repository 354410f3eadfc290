package main

import (
	"context"
	"path/filepath"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"

	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/pipeline"
)

// A call is what a station is asked and what it answers.
type call struct {
	step, function string
	fn             fnv1.FunctionRunnerServiceServer
	req            *fnv1.RunFunctionRequest
	rsp            *fnv1.RunFunctionResponse
}

// record runs a story through its pipeline and keeps each step's last request
// and response.
func record(dir string) ([]*call, error) {
	var xr map[string]any
	if ok, err := crossplane.ReadYAML(filepath.Join(dir, "xr.yaml"), &xr); err != nil || !ok {
		return nil, errors.Errorf("%s holds no story (%v)", dir, err)
	}
	composed, err := crossplane.ReadDocuments(filepath.Join(dir, "observed.yaml"))
	if err != nil {
		return nil, err
	}
	cluster, err := crossplane.ReadDocuments(filepath.Join(dir, "required.yaml"))
	if err != nil {
		return nil, err
	}
	observed, err := crossplane.Observed(xr, composed, nil)
	if err != nil {
		return nil, err
	}
	steps, err := pipeline.Agent(pipeline.All())
	if err != nil {
		return nil, err
	}
	var out []*call
	for i := range steps {
		if steps[i].Name == "ready" {
			continue
		}
		c := &call{step: steps[i].Name, function: "function-xda-" + steps[i].Name, fn: steps[i].Function}
		steps[i].Function = &recorder{call: c}
		out = append(out, c)
	}
	r, err := crossplane.Run(context.Background(), steps, observed, cluster, nil)
	if err != nil {
		return nil, err
	}
	if r.Fatal != "" {
		return nil, errors.New(r.Fatal)
	}
	return out, nil
}

type recorder struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	call *call
}

// RunFunction calls the station and keeps what was said.
func (r *recorder) RunFunction(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	r.call.req = proto.CloneOf(req)
	rsp, err := r.call.fn.RunFunction(ctx, req)
	r.call.rsp = proto.CloneOf(rsp)
	return rsp, err
}
