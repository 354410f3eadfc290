// Package computetuning is the step "compute-tuning" of the agent pipeline. From
// the size of the dataset it derives how much memory the agent's Python sandbox
// gets, and leaves it in the context for render-workloads.
package computetuning

import (
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
)

// Function is the step "compute-tuning".
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log logging.Logger
}

// New returns the step.
func New(log logging.Logger) *Function { return &Function{log: log} }

// RunFunction sets context tuning, status sandboxMemMi and condition
// DatasetFitsSandbox.
func (f *Function) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	return edge.Run(f.log, req, func(rsp *fnv1.RunFunctionResponse) error { return f.run(req, rsp) }), nil
}

func (f *Function) run(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) error {
	in := &input.ComputeTuningInput{}
	if err := edge.Input(req, in); err != nil {
		return err
	}
	xr, err := edge.Agent(req)
	if err != nil {
		return err
	}
	dataset, err := edge.Dataset(req)
	if err != nil {
		return err
	}
	if dataset == nil {
		edge.Condition(rsp, NoDataset())
		if xr.Status.SandboxMemMi == 0 {
			return nil
		}
		return edge.SetStatus(req, rsp, map[string]any{"sandboxMemMi": xr.Status.SandboxMemMi})
	}

	need := NeedOf(*dataset)
	if in.IgnoreMemoryEstimate {
		need.Factor = 0
	}
	v := Tune(need, in.MaxSandboxGi)
	f.log.Debug("Computed tuning", "sandbox-mem-mi", v.SandboxMemMi, "needed-gi", v.NeededGi)
	edge.Condition(rsp, v.Condition())
	if err := edge.SetContext(rsp, v1alpha1.ContextTuning, v.Tuning); err != nil {
		return err
	}
	return edge.SetStatus(req, rsp, map[string]any{"sandboxMemMi": v.SandboxMemMi})
}
