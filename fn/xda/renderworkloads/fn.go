// Package renderworkloads is the step "render-workloads" of the XDatasetAgent
// pipeline: it renders the agent's namespace and everything in it, fifteen parts,
// each in an Object of provider-kubernetes.
package renderworkloads

import (
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"k8s.io/apimachinery/pkg/util/validation"

	iam "whisperops.io/functions/apis/input/v1alpha1"
	input "whisperops.io/functions/apis/input/workloads/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/fn/xda/computetuning"
	"whisperops.io/functions/internal/errors"
)

// New returns the step.
func New(log logging.Logger) *edge.Function { return edge.New(log, run) }

func run(c *edge.Call) error {
	in := &input.RenderWorkloadsInput{}
	xr, dataset, err := c.Ask(in, v1alpha1.UsesAgentName, v1alpha1.UsesBaseDomain, v1alpha1.UsesProjectID)
	if err != nil {
		return err
	}

	var held []v1alpha1.HeldBack
	if dataset != nil {
		memory, err := sandboxMemory(c, *dataset)
		if err != nil {
			return err
		}
		planner, worker := c.Observed(v1alpha1.PartAgentPlanner), c.Observed(v1alpha1.PartAgentWorker)
		parts := Render(Agent{
			Name:         xr.Spec.AgentName,
			Description:  xr.Spec.Description,
			BaseDomain:   c.BaseDomain(xr.Spec.BaseDomain),
			ProjectID:    xr.Spec.ProjectID,
			Dataset:      *dataset,
			SandboxMemMi: memory,
			Keyless:      keyless(c),
			WorkerUID:    workerUID(planner, worker),
			HasNamespace: c.NamespaceActive(),
			Input:        *in,
		})
		// kagent never retries a planner that came before its worker. Only the
		// first creation waits: a planner that exists is rendered whatever the
		// worker does.
		if !planner.Exists() && (!worker.Ready() || worker.Deleting()) {
			delete(parts, v1alpha1.PartAgentPlanner)
			held = append(held, v1alpha1.HeldBack{Part: v1alpha1.PartAgentPlanner, WaitsFor: v1alpha1.PartAgentWorker + " to be ready"})
		}
		if err := c.AddComposed(parts); err != nil {
			return err
		}
	}
	if err := c.HoldBack(held...); err != nil {
		return err
	}
	return c.NothingLost("there is no dataset to render the agent's workloads for", append(Parts(), v1alpha1.PartSandboxServiceAccount)...)
}

// keyless says whether the sandbox has no key: render-iam says so, and what lives stays
// even where a step in render-iam's place doesn't.
func keyless(c *edge.Call) bool {
	said := c.ContextValue(v1alpha1.ContextSandboxIdentity).GetStringValue()
	return said == string(iam.CredentialsWorkloadIdentity) || c.Observed(v1alpha1.PartSandboxServiceAccount).Exists()
}

// maxSandboxMemMi is what compute-tuning's input allows at most, 1 TiB.
const maxSandboxMemMi = v1alpha1.MaxSandboxGi * 1024

// sandboxMemory returns the memory limit of the sandbox in MiB: compute-tuning's,
// or the same formula where that step is left out.
func sandboxMemory(c *edge.Call, d v1alpha1.Dataset) (int64, error) {
	var t v1alpha1.Tuning
	known, err := c.ContextInto(v1alpha1.ContextTuning, &t)
	if err != nil {
		return 0, err
	}
	if !known {
		return computetuning.Tune(computetuning.NeedOf(d), v1alpha1.DefaultMaxSandboxGi).SandboxMemMi, nil
	}
	if t.SandboxMemMi < 1 || t.SandboxMemMi > maxSandboxMemMi {
		return 0, errors.Errorf("cannot use context key %q: sandboxMemMi %d must be from 1 to %d", v1alpha1.ContextTuning, t.SandboxMemMi, maxSandboxMemMi)
	}
	return t.SandboxMemMi, nil
}

// workerUID is the uid of the worker that its Object saw last. While the Object
// sees none, the planner keeps the one it has: a label that comes and goes would
// be written each time.
func workerUID(planner, worker edge.Part) string {
	uid := worker.String("status", "atProvider", "manifest", "metadata", "uid")
	if uid == "" {
		uid = planner.String("spec", "forProvider", "manifest", "metadata", "labels", workerLabel)
	}
	if len(validation.IsValidLabelValue(uid)) > 0 {
		return "" // what is no label would be refused, for ever
	}
	return uid
}
