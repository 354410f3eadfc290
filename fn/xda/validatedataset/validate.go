package validatedataset

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
)

// An Answer is what the look-up of the ordered XDataset came to.
type Answer int

// The answers.
const (
	Unresolved Answer = iota // nobody has looked yet
	NotFound                 // there is none of that name
	NotReady                 // the dataset watcher doesn't call it ready
	Invalid                  // what it says can't be used
	Found
)

// Facts are everything a verdict rests on.
type Facts struct {
	Ordered string // spec.datasetRef.name
	Answer  Answer
	Dataset v1alpha1.Dataset // set when the answer is Found
	Problem string           // why it can't be used; set when the answer is Invalid

	// Known are the places that may hold the last valid dataset, the best first;
	// each may be nil or garbage.
	Known []*v1alpha1.Dataset

	Live     bool   // whether any part of the agent is observed
	AllReady bool   // whether all 22 parts are observed Ready
	Granted  string // the bucket that the agent's observed grant opens; "" when there is none, or none can be read
}

// A Verdict says which dataset the agent works on, and what to tell its owner.
type Verdict struct {
	Dataset   *v1alpha1.Dataset // for the later steps; nil when the order can't be filled now
	LastValid *v1alpha1.Dataset // for status; nil when none is known
	Condition metav1.Condition  // DatasetValid
	Phase     v1alpha1.AgentPhase

	// Waits says that something is missing that may come by itself.
	Waits bool

	// Stop says that only a change of the order helps, and that nothing may be
	// rendered until then.
	Stop bool
}

// Validate says whether the ordered dataset can be used, and which dataset is
// used if it can't: a new agent gets none, a living one keeps its last valid one.
func Validate(f Facts) Verdict {
	last := lastValid(f)
	granted := f.Granted
	if granted == "" && f.Live && last != nil {
		granted = last.Bucket()
	}

	v := Verdict{LastValid: last}
	if f.Live {
		v.Dataset = last
	}
	switch answer := f.Answer; {
	case answer == Unresolved:
		v.Waits = true
		v.say(metav1.ConditionUnknown, v1alpha1.ReasonUnresolved, fmt.Sprintf("XDataset %q has been asked for", f.Ordered))
	case answer == NotFound:
		v.Waits = true
		v.say(metav1.ConditionFalse, v1alpha1.ReasonDatasetNotFound, fmt.Sprintf("XDataset %q does not exist: upload its CSV to the datasets bucket, or set spec.datasetRef.name to one that `kubectl get xds` lists", f.Ordered))
	case answer == NotReady:
		v.Waits = true
		v.say(metav1.ConditionFalse, v1alpha1.ReasonDatasetNotReady, fmt.Sprintf("XDataset %q is not ready: `kubectl describe xds %s` says why", f.Ordered, f.Ordered))
	case answer == Invalid:
		v.Waits = true
		v.say(metav1.ConditionFalse, v1alpha1.ReasonDatasetInvalid, fmt.Sprintf("XDataset %q can't be used: %s. Correct it, or set spec.datasetRef.name to one that `kubectl get xds` lists", f.Ordered, f.Problem))
	case granted != "" && f.Dataset.Bucket() != granted:
		// Every field of a grant is force-new: an edited one is refused by the
		// provider for ever, and the old one stays open.
		v.Stop = last == nil
		v.say(metav1.ConditionFalse, v1alpha1.ReasonBucketChanged, fmt.Sprintf("XDataset %q lies in bucket %q, but the grants of the living agent open bucket %q and can't be edited: set spec.datasetRef.name back to a dataset in bucket %q, or order another agent", f.Ordered, f.Dataset.Bucket(), granted, granted))
	default:
		v.Dataset, v.LastValid = &f.Dataset, &f.Dataset
		v.say(metav1.ConditionTrue, v1alpha1.ReasonDatasetFound, fmt.Sprintf("XDataset %q is ready", f.Ordered))
	}
	if v.Dataset != nil && v.Condition.Status == metav1.ConditionFalse {
		v.Condition.Message += fmt.Sprintf(". The agent keeps running on dataset %q", v.Dataset.Name)
	}
	v.Phase = phase(f, v)
	return v
}

// refuse takes the dataset back: nothing may be made, because a name is somebody else's, or
// the order reaches for what isn't allowed.
func (v *Verdict) refuse() { v.Dataset, v.Waits, v.Phase = nil, true, v1alpha1.PhaseFailed }

func (v *Verdict) say(s metav1.ConditionStatus, reason, message string) {
	v.Condition = metav1.Condition{Type: v1alpha1.ConditionDatasetValid, Status: s, Reason: reason, Message: message}
}

// lastValid returns the first known dataset that can be used. One that lies
// elsewhere than the agent's grant opens isn't what the agent works on.
func lastValid(f Facts) *v1alpha1.Dataset {
	for _, d := range f.Known {
		if d == nil || d.Validate() != nil || (f.Granted != "" && d.Bucket() != f.Granted) {
			continue
		}
		return d
	}
	return nil
}

func phase(f Facts, v Verdict) v1alpha1.AgentPhase {
	switch {
	case v.Dataset == nil && f.Answer == Unresolved:
		return v1alpha1.PhaseValidating
	case v.Dataset == nil:
		return v1alpha1.PhaseFailed
	case f.AllReady:
		return v1alpha1.PhaseReady
	}
	return v1alpha1.PhaseProvisioning
}
