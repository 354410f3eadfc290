// Package ready is the function behind the stand-in for function-auto-ready,
// apart from its main so that tests can run it in process.
package ready

import (
	"context"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/types/known/structpb"

	"whisperops.io/functions/internal/errors"
)

// The input of the real function, as published in its package.
const (
	inputAPIVersion = "autoready.fn.crossplane.io/v1beta1"
	inputKind       = "Input"
)

// Function is the "ready" step.
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log logging.Logger
}

// New returns the "ready" step.
func New(log logging.Logger) *Function { return &Function{log: log} }

// RunFunction marks as ready what is observed with a true Ready condition and
// about which no earlier step has an opinion.
func (f *Function) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	ttl, err := ttl(req.GetInput())
	if err != nil {
		rsp := response.To(req, response.DefaultTTL)
		response.Fatal(rsp, err)
		return rsp, nil
	}
	rsp := response.To(req, ttl)
	for name, want := range rsp.GetDesired().GetResources() {
		if want.GetReady() != fnv1.Ready_READY_UNSPECIFIED {
			continue
		}
		if isReady(req.GetObserved().GetResources()[name].GetResource()) {
			want.Ready = fnv1.Ready_READY_TRUE
			f.log.Debug("Part is ready", "name", name)
		}
	}
	return rsp, nil
}

// ttl reads field ttl of the input, a Go duration such as 10m. Without it the
// SDK's default holds, one minute.
func ttl(input *structpb.Struct) (time.Duration, error) {
	if len(input.GetFields()) == 0 {
		return response.DefaultTTL, nil
	}
	if v, k := text(input, "apiVersion"), text(input, "kind"); v != inputAPIVersion || k != inputKind {
		return 0, errors.Errorf("cannot read function input: it is a %s %q, but this step takes a %s %q", v, k, inputAPIVersion, inputKind)
	}
	for field := range input.GetFields() {
		switch field {
		case "apiVersion", "kind", "metadata", "ttl":
		default:
			// The real function's other inputs are health checks in CEL. Passing
			// over one in silence would make a part look unready for no reason.
			return 0, errors.Errorf("cannot read function input: this stand-in knows no field %q, only ttl", field)
		}
	}
	s := text(input, "ttl")
	if s == "" {
		return response.DefaultTTL, nil
	}
	d, err := time.ParseDuration(s)
	return d, errors.Wrap(err, "cannot read field ttl of function input")
}

// isReady says whether an observed resource's Ready condition is True.
func isReady(observed *structpb.Struct) bool {
	status := observed.GetFields()["status"].GetStructValue()
	for _, c := range status.GetFields()["conditions"].GetListValue().GetValues() {
		if text(c.GetStructValue(), "type") == "Ready" {
			return text(c.GetStructValue(), "status") == "True"
		}
	}
	return false
}

func text(s *structpb.Struct, field string) string {
	return s.GetFields()[field].GetStringValue()
}
