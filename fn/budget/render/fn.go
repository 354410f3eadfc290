// Package render is the step "render" of the budget's pipeline. It renders two
// sparse Objects, planner-replicas and worker-replicas, which own spec.replicas of
// the Deployments that call the model and nothing else: they observe while the
// agent runs, hold it at 0 while it is paused, and start it again from 0.
package render

import (
	"context"
	"strconv"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
)

// Function renders the Objects that pause and start an agent.
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log logging.Logger
}

// New returns the function.
func New(log logging.Logger) *Function { return &Function{log: log} }

// RunFunction renders.
func (f *Function) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	return edge.Run(f.log, req, func(rsp *fnv1.RunFunctionResponse) error { return f.run(req, rsp) }), nil
}

func (f *Function) run(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) error {
	in := &input.RenderReplicasInput{}
	if err := edge.Input(req, in); err != nil {
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
	if err := edge.CompositeInto(req, xr); err != nil {
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
		Pause:           readPause(req),
		Unknown:         xr.Spec.Enforcement != string(v1alpha1.EnforcementMonitorOnly) && desiredStatus(req)["cause"].GetStringValue() == string(v1alpha1.CauseUnknown),
		Why:             readWhy(req),
		Planner:         readObject(req, v1alpha1.PartPlannerReplicas),
		Worker:          readObject(req, v1alpha1.PartWorkerReplicas),
	}
	if err := edge.AddComposed(req, rsp, Render(facts)); err != nil {
		return err
	}
	f.log.Debug("Rendered replicas", "verdict", facts.Pause)
	return edge.NothingLost(req, rsp, "both Objects are always rendered", v1alpha1.PartPlannerReplicas, v1alpha1.PartWorkerReplicas)
}

// readPause reads decide's verdict. What isn't a bool is no verdict.
func readPause(req *fnv1.RunFunctionRequest) *bool {
	b, ok := req.GetContext().GetFields()[v1alpha1.ContextShouldPause].GetKind().(*structpb.Value_BoolValue)
	if !ok {
		return nil
	}
	return &b.BoolValue
}

// desiredStatus is what decide wrote; of a step in its place, it may be nothing.
func desiredStatus(req *fnv1.RunFunctionRequest) map[string]*structpb.Value {
	return req.GetDesired().GetComposite().GetResource().GetFields()["status"].GetStructValue().GetFields()
}

// readWhy reads what decide wrote into the desired status.
func readWhy(req *fnv1.RunFunctionRequest) Why {
	s := desiredStatus(req)
	w := Why{Period: s["period"].GetStringValue()}
	if n, ok := s["decidedBudgetUsd"].GetKind().(*structpb.Value_NumberValue); ok {
		w.Budget = strconv.FormatFloat(n.NumberValue, 'f', -1, 64)
	}
	return w
}

func readObject(req *fnv1.RunFunctionRequest, name string) Observed {
	p := edge.Observed(req, name)
	o := Observed{
		Wants: readCount(p.Value("spec", "forProvider", "manifest", "spec", "replicas")),
		Has:   readCount(p.Value("status", "atProvider", "manifest", "spec", "replicas")),
		Why: Why{
			Period: p.String("metadata", "annotations", v1alpha1.AnnotationPausedPeriod),
			Budget: p.String("metadata", "annotations", v1alpha1.AnnotationPausedBudget),
		},
	}
	// Whoever edits it to what can't be a number of replicas gets the input's.
	if n, err := strconv.ParseInt(p.String("metadata", "annotations", v1alpha1.AnnotationReplicasBefore), 10, 32); err == nil && n > 0 {
		o.Before = n
	}
	for _, v := range p.Value("spec", "managementPolicies").GetListValue().GetValues() {
		o.Updates = o.Updates || v.GetStringValue() == "Update"
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
	n, ok := v.GetKind().(*structpb.Value_NumberValue)
	if !ok {
		return nil
	}
	i := int64(n.NumberValue)
	return &i
}
