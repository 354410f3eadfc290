// Package validatedataset is the step "validate-dataset" of the agent pipeline. It
// asks Crossplane for the XDataset that the order names, judges it, and leaves
// the dataset that the agent works on in the context: null when the order can't
// be filled now.
package validatedataset

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/types/known/durationpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
)

// requirement is the key under which Crossplane hands over the XDataset. A
// Composition that names it too spares one call per order.
const requirement = "dataset"

// Function is the step "validate-dataset".
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log logging.Logger
	now func() time.Time
}

// New returns the step.
func New(log logging.Logger) *Function { return &Function{log: log, now: time.Now} }

// RunFunction sets context dataset, status phase and dataset, and condition
// DatasetValid.
func (f *Function) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	return edge.Run(f.log, req, func(rsp *fnv1.RunFunctionResponse) error { return f.run(req, rsp) }), nil
}

func (f *Function) run(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) error {
	in := &input.ValidateDatasetInput{}
	if err := edge.Input(req, in); err != nil {
		return err
	}
	xr, err := edge.Agent(req)
	if err != nil {
		return err
	}
	ordered := xr.Spec.DatasetRef.Name
	edge.Require(rsp, requirement, &fnv1.ResourceSelector{
		ApiVersion: v1alpha1.GroupVersion.String(),
		Kind:       v1alpha1.KindXDataset,
		Match:      &fnv1.ResourceSelector_MatchName{MatchName: ordered},
	})

	facts := Facts{
		Ordered:  ordered,
		Known:    []*v1alpha1.Dataset{xr.Status.Dataset, backup(req)},
		Live:     edge.AnyObserved(req),
		AllReady: allReady(req),
		Granted:  edge.OpenedBucket(edge.Observed(req, v1alpha1.PartIAMDatasetsViewer)),
	}
	found, answered := edge.Required(req, requirement)
	if answered {
		facts.Answer, facts.Dataset, facts.Problem = answer(ordered, found)
	}
	v := Validate(facts)
	edge.Condition(rsp, v.Condition)
	if !facts.Live {
		// A part that is observed is the order's own; nothing is yet.
		taken, err := edge.NamesTaken(req, rsp, names(xr.Spec.AgentName, in.ObjectNamespace, in.DashboardsNamespace), twins(req, rsp, xr)...)
		if err != nil {
			return err
		}
		if taken {
			v.refuse()
		}
	}
	permit := Allow(reach(req, xr, facts, v), in.Allow)
	edge.Condition(rsp, permit.Condition)
	if permit.Condition.Status == metav1.ConditionFalse {
		tell(rsp, xr.Status.Conditions, permit.Condition)
	}
	switch {
	case permit.Refused:
		v.refuse()
	case permit.Stop:
		return errors.Errorf("cannot use order: %s", permit.Condition.Message)
	case permit.Domain != "":
		if err := edge.SetContext(rsp, v1alpha1.ContextBaseDomain, permit.Domain); err != nil {
			return err
		}
	}
	f.log.Debug("Validated dataset", "dataset", ordered, "reason", v.Condition.Reason, "phase", v.Phase)
	if v.Stop {
		return errors.Errorf("cannot use dataset: %s", v.Condition.Message)
	}
	tell(rsp, xr.Status.Conditions, v.Condition)
	now, planner := f.now(), edge.Observed(req, v1alpha1.PartAgentPlanner)
	if d := nextLook(v, in.RetryAfter.Duration, readiness(xr, planner.Created(), now), responsive(xr.Status.Conditions, now)); d > 0 {
		rsp.Meta.Ttl = durationpb.New(d)
	}
	if v.Dataset == nil {
		// Later steps render nothing then, and an XR that desires nothing is ready.
		if err := edge.NotReady(req, rsp); err != nil {
			return err
		}
	}
	if err := edge.SetContext(rsp, v1alpha1.ContextDataset, v.Dataset); err != nil {
		return err
	}
	status := map[string]any{"phase": v.Phase}
	if v.LastValid != nil {
		status["dataset"] = v.LastValid
	}
	return edge.SetStatus(req, rsp, status)
}

// reach reads what the order reaches for, and what its living agent has.
func reach(req *fnv1.RunFunctionRequest, xr *v1alpha1.XDatasetAgent, facts Facts, v Verdict) Reach {
	r := Reach{Domain: xr.Spec.BaseDomain, Project: xr.Spec.ProjectID, Live: facts.Live}
	if v.Dataset != nil {
		r.Bucket = v.Dataset.Bucket()
	} else if facts.Answer == Found {
		r.Bucket = facts.Dataset.Bucket()
	}
	rules := edge.Observed(req, v1alpha1.PartChatIngress).Value("spec", "forProvider", "manifest", "spec", "rules").GetListValue().GetValues()
	if len(rules) > 0 {
		if d, is := strings.CutPrefix(rules[0].GetStructValue().GetFields()["host"].GetStringValue(), v1alpha1.AgentHost(xr.Spec.AgentName, "")); is {
			r.LiveDomain = d
		}
	}
	return r
}

// twins asks for the orders whose bucket would have the same name, and returns those that
// have it before this one: the older of two that nothing was made for.
func twins(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, xr *v1alpha1.XDatasetAgent) (taken []v1alpha1.TakenName) {
	for _, t := range v1alpha1.Twins(xr.Spec.ProjectID, xr.Spec.AgentName) {
		name := edge.Name{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindXDatasetAgent, Name: t.AgentName}
		for _, p := range edge.Ask(req, rsp, "twin/"+t.AgentName, name) {
			lives := p.String("status", "url") != ""
			older := p.Created().Before(xr.CreationTimestamp.Time) ||
				p.Created().Equal(xr.CreationTimestamp.Time) && p.String("metadata", "uid") < string(xr.GetUID())
			if p.String("spec", "projectId") == t.ProjectID && (lives || older) {
				taken = append(taken, v1alpha1.TakenName{Part: v1alpha1.PartBucket, By: "Bucket " + v1alpha1.AgentBucket(xr.Spec.ProjectID, xr.Spec.AgentName) +
					" is that of XDatasetAgent " + t.AgentName + " in project " + t.ProjectID + ": choose another agentName"})
			}
		}
	}
	return taken
}

// How soon an order is looked at again: while its parts are made, and when they
// are but Crossplane drops its events. A look applies all 22 parts anew, so it is
// most of what a new order costs an API server. What takes long is therefore looked
// at less often: the looks of hundreds of orders at once would cost an API server
// more time than it has, and be why they take long.
const (
	settling = 15 * time.Second
	// The ready step has every order looked at so often anyway.
	longestSettling = 10 * time.Minute

	resting        = 30 * time.Second
	longestResting = breakerOpen / 2
)

// nextLook says when an order is looked at again without an event; 0 is never.
// 22 new parts make more events than Crossplane's circuit breaker lets through. It
// then drops them for five minutes, all but one every half minute, so that only
// the clock tells what became of the parts, and what a person changed shortly
// after something else had changed.
func nextLook(v Verdict, retry time.Duration, r history, responsive bool) time.Duration {
	switch {
	case v.Phase == v1alpha1.PhaseProvisioning:
		return min(max(r.unready/2, min(settling, retry)), longestSettling)
	case !responsive:
		return min(max(r.took/2, min(resting, retry)), longestResting)
	case v.Waits:
		return retry
	}
	return 0
}

// A history says how long things take on this cluster, as far as an order tells.
type history struct {
	unready time.Duration // Crossplane calls the order not Ready; 0 while it calls it Ready
	took    time.Duration // for the order to become Ready; 0 until it is
}

// readiness reads the history of an order. Ready's time is that of its last change:
// of an order that lost a part after an hour, or of which one function was upgraded,
// it says nothing about how long it took. The planner is the last part to be made,
// shortly before the order is Ready for the first time, and says when as long as it lives.
func readiness(xr *v1alpha1.XDatasetAgent, planner, now time.Time) history {
	i := slices.IndexFunc(xr.Status.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionReady })
	if i < 0 || xr.Status.Conditions[i].LastTransitionTime.IsZero() {
		return history{}
	}
	ready := xr.Status.Conditions[i].LastTransitionTime.Time
	switch {
	case xr.Status.Conditions[i].Status != metav1.ConditionTrue:
		return history{unready: max(0, now.Sub(ready))}
	case xr.CreationTimestamp.IsZero():
		return history{}
	case !planner.IsZero() && planner.Before(ready):
		ready = planner
	}
	return history{took: max(0, ready.Sub(xr.CreationTimestamp.Time))}
}

// breakerOpen is how long Crossplane's circuit breaker is open by default, and a
// little more.
const breakerOpen = 5*time.Minute + 30*time.Second

// responsive says whether Crossplane lets the XR's events through. Before it calls
// a function it writes so into the XR. A breaker whose time is over lets the next
// event through and closes with it, but not before: of an order at rest it says
// False for ever, and to look at it till then would never end.
func responsive(conditions []metav1.Condition, now time.Time) bool {
	return !slices.ContainsFunc(conditions, func(c metav1.Condition) bool {
		return c.Type == v1alpha1.ConditionResponsive && c.Status == metav1.ConditionFalse && now.Sub(c.LastTransitionTime.Time) < breakerOpen
	})
}

// answer reads what Crossplane found. An XDataset of another name is the answer
// to what the previous pass asked for: it says nothing about this order.
func answer(ordered string, found []edge.Part) (Answer, v1alpha1.Dataset, string) {
	if len(found) == 0 {
		return NotFound, v1alpha1.Dataset{}, ""
	}
	found = slices.DeleteFunc(found, func(p edge.Part) bool {
		return p.Kind() != v1alpha1.KindXDataset || p.Group() != v1alpha1.GroupVersion.Group
	})
	if len(found) == 0 {
		return Invalid, v1alpha1.Dataset{}, "what was found under its name is no XDataset (whisperops.io)"
	}
	i := slices.IndexFunc(found, func(p edge.Part) bool { return p.String("metadata", "name") == ordered })
	if i < 0 {
		return Unresolved, v1alpha1.Dataset{}, ""
	}
	o := found[i]
	if !o.Value("status", "ready").GetBoolValue() {
		return NotReady, v1alpha1.Dataset{}, ""
	}
	var spec v1alpha1.XDatasetSpec
	if err := o.Into(&spec, "spec"); err != nil {
		return Invalid, v1alpha1.Dataset{}, "its spec can't be read: " + err.Error()
	}
	d := v1alpha1.Dataset{Name: ordered, GCSPath: spec.GCSPath, SizeBytes: spec.SizeBytes, DisplayName: spec.DisplayName}
	d.MemoryFactor = memoryFactor(o)
	if err := d.Validate(); err != nil {
		return Invalid, v1alpha1.Dataset{}, err.Error()
	}
	return Found, d, ""
}

// memoryFactor returns what the dataset watcher estimates of a CSV, or 0. Watchers of
// earlier versions say nothing, and what can't be read says nothing either.
func memoryFactor(o edge.Part) float64 {
	var s v1alpha1.DatasetShape
	if err := o.Into(&s, "status", "shape"); err != nil {
		return 0
	}
	return max(s.MemoryFactor, 0)
}

// backup returns the dataset that render-workloads notes on a part, or nil. It is
// what is left of the last valid dataset when a restore has brought no status.
func backup(req *fnv1.RunFunctionRequest) *v1alpha1.Dataset {
	d := &v1alpha1.Dataset{}
	note := edge.Observed(req, v1alpha1.PartPrompts).String("metadata", "annotations", v1alpha1.AnnotationDataset)
	if err := json.Unmarshal([]byte(note), d); err != nil {
		return nil // a note that can't be read is no note
	}
	return d
}

func allReady(req *fnv1.RunFunctionRequest) bool {
	for _, name := range v1alpha1.AgentParts() {
		if name == v1alpha1.PartServiceAccountKey && edge.Observed(req, v1alpha1.PartSandboxServiceAccount).Exists() {
			name = v1alpha1.PartSandboxServiceAccount
		}
		if !edge.Observed(req, name).Ready() {
			return false
		}
	}
	return true
}

// tell writes one event when the condition is about to change. Unknown is no
// news: it stands only until Crossplane has looked.
func tell(rsp *fnv1.RunFunctionResponse, before []metav1.Condition, now metav1.Condition) {
	for _, b := range before {
		if b.Type == now.Type && b.Status == now.Status && b.Reason == now.Reason {
			return
		}
	}
	switch now.Status {
	case metav1.ConditionTrue:
		response.Normal(rsp, now.Message).WithReason(now.Reason)
	case metav1.ConditionFalse:
		response.Warning(rsp, errors.New(now.Message)).WithReason(now.Reason)
	case metav1.ConditionUnknown:
	}
}
