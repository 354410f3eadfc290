// Package validatedataset is the step "validate-dataset" of the agent pipeline. It
// asks Crossplane for the XDataset that the order names, judges it, and leaves
// the dataset that the agent works on in the context: null when the order can't
// be filled now.
package validatedataset

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/internal/errors"
)

// requirement is the key under which Crossplane hands over the XDataset. A
// Composition that names it too spares one call per order.
const requirement = "dataset"

// New returns the step.
func New(log logging.Logger) *edge.Function { return NewAt(log, time.Now) }

// NewAt returns the step with a clock of its own, for tests.
func NewAt(log logging.Logger, now func() time.Time) *edge.Function {
	return edge.New(log, func(c *edge.Call) error { return run(c, now()) })
}

// run sets context dataset, status phase and dataset, and condition DatasetValid.
func run(c *edge.Call, now time.Time) error {
	in := &input.ValidateDatasetInput{}
	if err := c.Input(in); err != nil {
		return err
	}
	xr, err := c.Order(v1alpha1.UsesDatasetRef, v1alpha1.UsesStatus)
	if err != nil {
		return err
	}
	ordered := xr.Spec.DatasetRef.Name
	c.Require(requirement, &fnv1.ResourceSelector{
		ApiVersion: v1alpha1.GroupVersion.String(),
		Kind:       v1alpha1.KindXDataset,
		Match:      &fnv1.ResourceSelector_MatchName{MatchName: ordered},
	})

	facts := Facts{
		Ordered:  ordered,
		Known:    []*v1alpha1.Dataset{xr.Status.Dataset, backup(c)},
		Live:     c.AnyObserved(),
		AllReady: allReady(c),
		Granted:  edge.OpenedBucket(c.Observed(v1alpha1.PartIAMDatasetsViewer)),
	}
	found, answered := c.Required(requirement)
	if answered {
		facts.Answer, facts.Dataset, facts.Problem = answer(ordered, found)
	}
	v := Validate(facts)
	c.Condition(v.Condition)
	if !facts.Live {
		// A part that is observed is the order's own; nothing is yet.
		taken, err := c.NamesTaken(names(xr.Spec.AgentName, in.ObjectNamespace, in.DashboardsNamespace), twins(c, xr)...)
		if err != nil {
			return err
		}
		if taken {
			v.refuse()
		}
	}
	permit := Allow(reach(c, xr, facts, v), in.Allow)
	c.Condition(permit.Condition)
	if permit.Condition.Status == metav1.ConditionFalse {
		tell(c, xr.Status.Conditions, permit.Condition)
	}
	switch {
	case permit.Refused:
		v.refuse()
	case permit.Stop:
		return errors.Errorf("cannot use order: %s", permit.Condition.Message)
	case permit.Domain != "":
		if err := c.SetContext(v1alpha1.ContextBaseDomain, permit.Domain); err != nil {
			return err
		}
	}
	c.Log.Debug("Validated dataset", "dataset", ordered, "reason", v.Condition.Reason, "phase", v.Phase)
	if v.Stop {
		return errors.Errorf("cannot use dataset: %s", v.Condition.Message)
	}
	tell(c, xr.Status.Conditions, v.Condition)
	planner := c.Observed(v1alpha1.PartAgentPlanner)
	if d := nextLook(v, in.RetryAfter.Duration, readiness(xr, planner.Created(), now), responsive(xr.Status.Conditions, now)); d > 0 {
		c.LookAgain(d)
	}
	if v.Dataset == nil {
		// Later steps render nothing then, and an XR that desires nothing is ready.
		if err := c.NotReady(); err != nil {
			return err
		}
	}
	if err := c.SetContext(v1alpha1.ContextDataset, v.Dataset); err != nil {
		return err
	}
	status := map[string]any{"phase": v.Phase}
	if v.LastValid != nil {
		status["dataset"] = v.LastValid
	}
	return c.SetStatus(status)
}

// reach reads what the order reaches for, and what its living agent has.
func reach(c *edge.Call, xr *v1alpha1.XDatasetAgent, facts Facts, v Verdict) Reach {
	r := Reach{Domain: xr.Spec.BaseDomain, Project: xr.Spec.ProjectID, Live: facts.Live}
	if v.Dataset != nil {
		r.Bucket = v.Dataset.Bucket()
	} else if facts.Answer == Found {
		r.Bucket = facts.Dataset.Bucket()
	}
	rules := c.Observed(v1alpha1.PartChatIngress).Value("spec", "forProvider", "manifest", "spec", "rules").GetListValue().GetValues()
	if len(rules) > 0 {
		if d, is := strings.CutPrefix(rules[0].GetStructValue().GetFields()["host"].GetStringValue(), v1alpha1.AgentHost(xr.Spec.AgentName, "")); is {
			r.LiveDomain = d
		}
	}
	return r
}

// twins asks for the orders whose bucket would have the same name, and returns those that
// have it before this one: the older of two that nothing was made for.
func twins(c *edge.Call, xr *v1alpha1.XDatasetAgent) (taken []v1alpha1.TakenName) {
	for _, t := range v1alpha1.Twins(xr.Spec.ProjectID, xr.Spec.AgentName) {
		name := edge.Name{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.KindXDatasetAgent, Name: t.AgentName}
		for _, p := range c.LookUp("twin/"+t.AgentName, name) {
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
func backup(c *edge.Call) *v1alpha1.Dataset {
	d := &v1alpha1.Dataset{}
	note := c.Observed(v1alpha1.PartPrompts).String("metadata", "annotations", v1alpha1.AnnotationDataset)
	if err := json.Unmarshal([]byte(note), d); err != nil {
		return nil // a note that can't be read is no note
	}
	return d
}

func allReady(c *edge.Call) bool {
	for _, name := range v1alpha1.AgentParts() {
		if name == v1alpha1.PartServiceAccountKey && c.Observed(v1alpha1.PartSandboxServiceAccount).Exists() {
			name = v1alpha1.PartSandboxServiceAccount
		}
		if !c.Observed(name).Ready() {
			return false
		}
	}
	return true
}

// tell writes one event when the condition is about to change. Unknown is no
// news: it stands only until Crossplane has looked.
func tell(c *edge.Call, before []metav1.Condition, now metav1.Condition) {
	for _, b := range before {
		if b.Type == now.Type && b.Status == now.Status && b.Reason == now.Reason {
			return
		}
	}
	switch now.Status {
	case metav1.ConditionTrue:
		c.Tell(now.Reason, now.Message)
	case metav1.ConditionFalse:
		c.Warn(now.Reason, now.Message)
	case metav1.ConditionUnknown:
	}
}
