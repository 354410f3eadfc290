// Package render is the step "render" of the budget's pipeline. It renders two
// sparse Objects, planner-replicas and worker-replicas, which own spec.replicas of
// the Deployments that call the model and nothing else: they observe while the
// agent runs, hold it at 0 while it is paused, and start it again from 0.
package render

import (
	"slices"
	"strconv"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	"google.golang.org/protobuf/types/known/structpb"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/internal/errors"
)

// New returns the step.
func New(log logging.Logger) *edge.Function { return edge.New(log, run) }

// run renders.
func run(c *edge.Call) error {
	in := &input.RenderReplicasInput{}
	if err := c.Input(in); err != nil {
		return err
	}
	// Of the XR only its name tags: whatever else it holds, it must not keep an
	// exhausted agent running.
	xr := &struct {
		Metadata struct {
			Namespace string `json:"namespace"`
		} `json:"metadata"`
		Spec struct {
			AgentName   string `json:"agentName"`
			Enforcement any    `json:"enforcement"`
		} `json:"spec"`
	}{}
	if err := c.CompositeInto(xr); err != nil {
		return err
	}
	if xr.Spec.AgentName == "" || xr.Metadata.Namespace == "" {
		return errors.New("cannot render replicas: the observed XR has no spec.agentName or no metadata.namespace; an XAgentBudget is namespaced and lives beside its agent's Deployments")
	}

	facts := Facts{
		AgentName:       xr.Spec.AgentName,
		Namespace:       xr.Metadata.Namespace,
		ProviderConfig:  in.ObjectProviderConfig,
		RunningReplicas: in.RunningReplicas,
		Pause:           edge.Bool(c.ContextValue(v1alpha1.ContextShouldPause)),
		Unknown:         xr.Spec.Enforcement != string(v1alpha1.EnforcementMonitorOnly) && c.DesiredComposite().String("status", "cause") == string(v1alpha1.CauseUnknown),
		Why:             readWhy(c),
		Planner:         readObject(c, v1alpha1.PartPlannerReplicas),
		Worker:          readObject(c, v1alpha1.PartWorkerReplicas),
	}
	if err := c.AddComposed(Render(facts)); err != nil {
		return err
	}
	c.Log.Debug("Rendered replicas", "verdict", facts.Pause)
	return c.NothingLost("both Objects are always rendered", v1alpha1.PartPlannerReplicas, v1alpha1.PartWorkerReplicas)
}

// readWhy reads what decide wrote into the desired status; of a step in its place,
// it may be nothing.
func readWhy(c *edge.Call) Why {
	xr := c.DesiredComposite()
	w := Why{Period: xr.String("status", "period")}
	if n, ok := edge.Number(xr.Value("status", "decidedBudgetUsd")); ok {
		w.Budget = strconv.FormatFloat(n, 'f', -1, 64)
	}
	return w
}

func readObject(c *edge.Call, name string) Observed {
	p := c.Observed(name)
	o := Observed{
		Wants:   readCount(p.Value("spec", "forProvider", "manifest", "spec", "replicas")),
		Has:     readCount(p.Value("status", "atProvider", "manifest", "spec", "replicas")),
		Updates: slices.Contains(p.Strings("spec", "managementPolicies"), "Update"),
		Why: Why{
			Period: p.String("metadata", "annotations", v1alpha1.AnnotationPausedPeriod),
			Budget: p.String("metadata", "annotations", v1alpha1.AnnotationPausedBudget),
		},
	}
	// Whoever edits it to what can't be a number of replicas gets the input's.
	if n, err := strconv.ParseInt(p.String("metadata", "annotations", v1alpha1.AnnotationReplicasBefore), 10, 32); err == nil && n > 0 {
		o.Before = n
	}
	// provider-kubernetes applies with a field manager named after the Object. A 0
	// that was written by way of the subresource scale (an autoscaler, kubectl scale)
	// is nobody's in a real API server, because a Scale leaves out a 0.
	managers := p.Value("status", "atProvider", "manifest", "metadata", "managedFields").GetListValue().GetValues()
	o.SetByOther = len(managers) > 0
	for _, v := range managers {
		m := v.GetStructValue().GetFields()
		_, sets := m["fieldsV1"].GetStructValue().GetFields()["f:spec"].GetStructValue().GetFields()["f:replicas"]
		// Another budget's Object is no other hand: that budget is not the agent's, and
		// when it is gone nobody else undoes what it did.
		if manager, is := strings.CutPrefix(m["manager"].GetStringValue(), "provider-kubernetes/"); sets && is && strings.HasSuffix(manager, "-"+name) {
			o.SetByOther = false
		}
	}
	return o
}

// readCount reads a number of replicas; nil when there is none.
func readCount(v *structpb.Value) *int64 {
	n, ok := edge.Number(v)
	if !ok {
		return nil
	}
	i := int64(n)
	return &i
}
