// Package computetuning is the step "compute-tuning" of the agent pipeline. From
// the size of the dataset it derives how much memory the agent's Python sandbox
// gets, and leaves it in the context for render-workloads.
package computetuning

import (
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
)

// New returns the step.
func New(log logging.Logger) *edge.Function { return edge.New(log, run) }

// run sets context tuning, status sandboxMemMi and condition
// DatasetFitsSandbox.
func run(c *edge.Call) error {
	in := &input.ComputeTuningInput{}
	if err := c.Input(in); err != nil {
		return err
	}
	dataset, err := c.Dataset()
	if err != nil {
		return err
	}
	if dataset == nil {
		c.Condition(NoDataset())
		if mem, ok := edge.Number(c.Composite().Value("status", "sandboxMemMi")); ok && mem != 0 {
			return c.SetStatus(map[string]any{"sandboxMemMi": mem})
		}
		return nil
	}

	need := NeedOf(*dataset)
	if in.IgnoreMemoryEstimate {
		need.Factor = 0
	}
	v := Tune(need, in.MaxSandboxGi)
	c.Log.Debug("Computed tuning", "sandbox-mem-mi", v.SandboxMemMi, "needed-gi", v.NeededGi)
	c.Condition(v.Condition())
	if err := c.SetContext(v1alpha1.ContextTuning, v.Tuning); err != nil {
		return err
	}
	return c.SetStatus(map[string]any{"sandboxMemMi": v.SandboxMemMi})
}
