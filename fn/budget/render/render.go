package render

import (
	"strconv"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

// Facts are everything that the two Objects depend on.
type Facts struct {
	AgentName       string
	Namespace       string // the budget's, and the agent's
	ProviderConfig  string
	RunningReplicas int32 // to start with from 0

	// Pause is decide's verdict; nil when it left none.
	Pause *bool

	// Unknown: decide has no figure at all to decide by.
	Unknown bool

	// Why is written on an Object that stops its Deployment; empty when decide
	// doesn't say it.
	Why Why

	Planner, Worker Observed
}

// Why an agent is paused, in the words of status.
type Why struct {
	Period string // status.period
	Budget string // status.decidedBudgetUsd
}

// Observed is what there is of one sparse Object. Of nothing everything is zero.
type Observed struct {
	Updates bool   // it may write its Deployment
	Wants   *int64 // the replicas it is for; nil when it doesn't say
	Why     Why

	// Has is how many replicas the Deployment is to have, as the Object saw it last;
	// nil when it never saw it.
	Has *int64

	// Before is how many replicas the Deployment had before the pause, as the Object
	// remembers it; 0 when it doesn't.
	Before int64

	// SetByOther: the Deployment tells who set what, and it wasn't this Object, nor that
	// of another budget, that set its replicas last.
	SetByOther bool
}

// A stance is what an Object does about its Deployment's replicas.
type stance int

const (
	observe stance = iota // nothing: an autoscaler may scale
	stop                  // holds them at 0
	start                 // brings them up from 0
)

// stanceOf says what an Object is to do next.
//
// A Deployment at 0 is started, also by a budget that was deleted while it was
// paused and made again, as soon as that knows what was spent. Only if somebody else
// has scaled a running agent to 0, an autoscaler or a person, then that is theirs to
// undo: two hands on one field would never rest.
func stanceOf(pause *bool, unknown bool, o Observed) stance {
	switch {
	case pause == nil && o.stops():
		return stop
	case pause == nil && !o.starts():
		// No verdict neither pauses nor unpauses anybody.
		return observe
	case pause != nil && *pause:
		return stop
	case o.Has != nil && *o.Has > 0:
		return observe
	case o.stops(), o.starts(), !unknown && o.Has != nil && !o.SetByOther:
		return start
	}
	return observe
}

func (o Observed) stops() bool  { return o.Updates && o.Wants != nil && *o.Wants == 0 }
func (o Observed) starts() bool { return o.Updates && o.Wants != nil && *o.Wants > 0 }

// Render returns the two sparse Objects, always both: planner and worker both call
// the model, so a pause with one of them up would be none.
func Render(f Facts) map[string]manifest.Object {
	return map[string]manifest.Object{
		v1alpha1.PartPlannerReplicas: replicas(f, v1alpha1.PartPlannerReplicas, v1alpha1.Planner, f.Planner),
		v1alpha1.PartWorkerReplicas:  replicas(f, v1alpha1.PartWorkerReplicas, v1alpha1.Worker, f.Worker),
	}
}

// replicas owns one field of one Deployment, and none of a Deployment that doesn't
// exist: alone it is no Deployment that an API server would create.
//
// While it only observes, the manifest still says how many replicas a start would
// bring: the field is there in every stance, so a change of stance changes values
// and not shapes, and a provider without management policies would do no harm.
func replicas(f Facts, part, deployment string, o Observed) manifest.Object {
	s := stanceOf(f.Pause, f.Unknown, o)
	wants, policies := int64(f.RunningReplicas), []string{"Observe"}
	before := o.before(s)
	switch s {
	case stop:
		wants, policies = 0, []string{"Observe", "Update"}
	case start:
		policies = []string{"Observe", "Update"}
		if before > 0 {
			wants = before
		}
	case observe:
		before = 0 // nothing is to be brought back
	}
	object := manifest.Wrapped{
		Name:           v1alpha1.PartName(f.AgentName, part),
		Namespace:      f.Namespace,
		ProviderConfig: f.ProviderConfig,
		// Neither Create nor Delete: the Deployment is kagent's.
		ManagementPolicies: policies,
		Manifest: manifest.Object{
			"apiVersion": "apps/v1",
			"kind":       "Deployment",
			"metadata":   manifest.Object{"name": deployment, "namespace": f.Namespace},
			"spec":       manifest.Object{"replicas": wants},
		},
	}.Object()
	notes := manifest.Object{}
	if w := f.Why.or(f.Pause, o.Why); s == stop && w.Period != "" && w.Budget != "" {
		notes[v1alpha1.AnnotationPausedPeriod] = w.Period
		notes[v1alpha1.AnnotationPausedBudget] = w.Budget
	}
	if before > 0 {
		notes[v1alpha1.AnnotationReplicasBefore] = strconv.FormatInt(before, 10)
	}
	if len(notes) > 0 {
		meta, _ := object["metadata"].(manifest.Object)
		meta["annotations"] = notes
	}
	return object
}

// before is what a pause must remember: how many replicas there were when it began.
// Later ones are somebody's hand, which the pause undoes.
func (o Observed) before(s stance) int64 {
	if s == stop && !o.stops() && o.Has != nil && *o.Has > 0 {
		return *o.Has
	}
	return o.Before
}

// or repeats the observed words when there is no verdict.
func (w Why) or(pause *bool, observed Why) Why {
	if pause == nil {
		return observed
	}
	return w
}
