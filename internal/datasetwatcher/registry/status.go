package registry

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/csvfile"
)

// listed returns a dataset as it should be while its object is in the bucket.
func (r *register) listed(d v1alpha1.XDataset, o Object, reads map[string]Read, fall *Fall, now time.Time) v1alpha1.XDataset {
	if d.DeletionTimestamp != nil {
		return d // on its way out by somebody else's hand; made anew once it is gone
	}
	d.Labels = maps.Clone(d.Labels)
	if d.Labels == nil {
		d.Labels = map[string]string{}
	}
	d.Labels[v1alpha1.LabelManagedBy] = r.Name
	path := "gs://" + r.Bucket + "/" + o.Name
	d.Annotations = maps.Clone(d.Annotations)
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	d.Annotations[v1alpha1.AnnotationRecorded] = path
	d.Spec = v1alpha1.XDatasetSpec{
		GCSPath:     path,
		SizeBytes:   o.Size,
		DisplayName: displayName(o),
	}

	old := d.Status
	if o.packed() {
		d.Spec.SizeBytes = r.unpacked(o, old, reads[o.Name])
	}
	d.Status = v1alpha1.XDatasetStatus{
		SizeHuman:  sizeHuman(d.Spec.SizeBytes),
		LastSeen:   lastSeen(d.Name, old.LastSeen, now),
		Generation: strconv.FormatInt(o.Generation, 10),
		CRC32C:     o.checksum(),
		Files:      int64(len(o.Files)),
		Conditions: old.Conditions,
	}
	if o.packed() {
		d.Status.UnpackedBytes = old.UnpackedBytes
		if u := reads[o.Name].Unpacked; u != nil {
			d.Status.UnpackedBytes = u
		}
	}
	before := meta.FindStatusCondition(old.Conditions, v1alpha1.ConditionDatasetReady)
	read, answered := reads[o.Name]
	var verdict Verdict
	switch {
	case o.Problem() != "":
		verdict = Verdict{v1alpha1.ReasonFolderUnusable, o.Problem()}
	case o.Size == 0:
		verdict = emptyVerdict
	case judged(old, o):
		verdict = Verdict{before.Reason, before.Message}
		d.Status.Shape = old.Shape
	case answered && read.Problem == "":
		verdict = read.Verdict
		if verdict.Ready() {
			d.Status.Shape = &read.Shape
		}
	case before != nil && isVerdict(before.Reason) && before.Reason != v1alpha1.ReasonEmpty:
		// A new upload that can't be read now: what was found out about the last
		// one stands until it can.
		verdict = Verdict{before.Reason, before.Message}
		d.Status.Generation, d.Status.CRC32C, d.Status.Shape, d.Status.Files = old.Generation, old.CRC32C, old.Shape, old.Files
	default:
		verdict = Verdict{v1alpha1.ReasonNotReadYet, notReadYet(read)}
	}
	d.Status.Ready = verdict.Ready()

	conditions := []metav1.Condition{
		condition(v1alpha1.ConditionDatasetReady, d.Status.Ready, verdict.Reason, verdict.Message),
		condition(v1alpha1.ConditionDatasetVerified, true, v1alpha1.ReasonListed, listedMessage(o.Name)),
		r.nameUnique(d.Name, o.Name),
	}
	// Everything known when the registry fell is marked. What came later is not,
	// so that it does not make the fall look small.
	if fall != nil && (!r.marked || verified(d) == v1alpha1.ReasonRegistryFell) {
		conditions[1] = r.fell()
	}
	d.Status.Conditions = settle(old.Conditions, conditions, now)
	return d
}

func listedMessage(object string) string {
	if csvfile.IsFolder(object) {
		return "the last complete listing of the bucket holds files of the folder"
	}
	return "the last complete listing of the bucket holds the object"
}

// elsewhere says which other dataset records what a dataset was made for, or "".
func (r *register) elsewhere(d v1alpha1.XDataset) string {
	object, here := r.objectOf(d)
	if _, listed := r.objects[object]; here && listed {
		return fmt.Sprintf("XDataset %q records the same object: use that one; this one is removed once no agent uses it", r.recorded[object].Name)
	}
	if folder := r.within[object]; here && folder != "" {
		name := r.newcomers[folder]
		if recorded, ok := r.recorded[folder]; ok {
			name = recorded.Name
		}
		return fmt.Sprintf("the folder %q is one dataset, XDataset %q, and holds this file: use that one; this one is removed once no agent uses it", folder, name)
	}
	return ""
}

// packed says whether readers get more than is stored.
func (o Object) packed() bool { return strings.EqualFold(o.Encoding, "gzip") && o.Size > 0 }

// unpacked is what readers get of a packed object, in bytes: what was just counted, or
// what was for the generation that is known. While neither is, it is what was known
// last, or what is stored.
func (r *register) unpacked(o Object, old v1alpha1.XDatasetStatus, read Read) int64 {
	switch {
	case read.Unpacked != nil:
		return *read.Unpacked
	case old.UnpackedBytes != nil:
		return *old.UnpackedBytes
	}
	return o.Size
}

// lacking returns a dataset as it should be while its object is missing.
func (r *register) lacking(d v1alpha1.XDataset, usage Usage, fall *Fall, now time.Time) v1alpha1.XDataset {
	if d.DeletionTimestamp != nil {
		return d
	}
	if path, recorded := r.recordedAs(d); recorded {
		d.Spec.GCSPath = path
	}
	object, here := r.objectOf(d)
	unique := condition(v1alpha1.ConditionDatasetNameUnique, true, v1alpha1.ReasonUnique, uniqueMessage)
	if here {
		unique = r.nameUnique(d.Name, object)
	}
	if message := r.elsewhere(d); message != "" {
		d.Status.Ready = false
		d.Status.Conditions = settle(d.Status.Conditions, []metav1.Condition{
			condition(v1alpha1.ConditionDatasetReady, false, v1alpha1.ReasonDuplicate, message),
			condition(v1alpha1.ConditionDatasetVerified, true, v1alpha1.ReasonListed, listedMessage(object)),
			unique,
		}, now)
		return d
	}
	if fall != nil {
		// Too much is missing to believe it: what was known stays, but for the mark.
		conditions := []metav1.Condition{r.fell(), unique}
		if c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDatasetReady); c != nil {
			conditions = append([]metav1.Condition{*c}, conditions...)
		}
		d.Status.Conditions = settle(d.Status.Conditions, conditions, now)
		return d
	}
	d.Status.Ready = false
	message := r.missingMessage(d, usage)
	d.Status.Conditions = settle(d.Status.Conditions, []metav1.Condition{
		condition(v1alpha1.ConditionDatasetReady, false, v1alpha1.ReasonObjectMissing, message),
		condition(v1alpha1.ConditionDatasetVerified, false, v1alpha1.ReasonObjectMissing, "the last complete listing of the bucket does not hold the object"),
		unique,
	}, now)
	return d
}

// namedAgents is how many agents a message names; more would be no help.
const namedAgents = 5

func (r *register) missingMessage(d v1alpha1.XDataset, usage Usage) string {
	message := "the object is not in the bucket: upload it again, or let it go"
	switch agents := usage.Agents[d.Name]; {
	case !usage.Known:
		// Nothing new is known about the agents: what was said before stands.
		if c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDatasetReady); c != nil && c.Reason == v1alpha1.ReasonObjectMissing {
			return c.Message
		}
	case len(agents) > 0:
		agents = slices.Sorted(slices.Values(agents))
		more := ""
		if len(agents) > namedAgents {
			agents, more = agents[:namedAgents], " and others"
		}
		return message + "; the dataset is kept until no agent uses it: " + strings.Join(agents, ", ") + more
	case !r.made(d):
		return message + "; the dataset was not made by the dataset watcher and is not removed by it: delete it with kubectl delete xds " + d.Name
	}
	return message + fmt.Sprintf("; the dataset is removed when %d complete listings in a row lack the object", r.RemoveAfter)
}

const uniqueMessage = "no other object of the bucket would have this name"

// rivalsNamed is how many objects a message names.
const rivalsNamed = 3

// nameUnique says whether an object shares the name it would have.
func (r *register) nameUnique(name, object string) metav1.Condition {
	plain := plainName(object)
	others := slices.DeleteFunc(slices.Clone(r.rivals[plain]), func(o string) bool { return o == object })
	if plain != "" && len(others) > 0 {
		more := ""
		if len(others) > rivalsNamed {
			others, more = others[:rivalsNamed], " and others"
		}
		for i := range others {
			others[i] = strconv.Quote(others[i])
		}
		return condition(v1alpha1.ConditionDatasetNameUnique, false, v1alpha1.ReasonNameTaken,
			fmt.Sprintf("object %q and %s%s would all be called %q; this one is called %q: rename objects so that their names differ in letters and digits", object, strings.Join(others, ", "), more, plain, name))
	}
	if plain != "" && plain != name && strings.HasPrefix(name, plain+"-") {
		return condition(v1alpha1.ConditionDatasetNameUnique, true, v1alpha1.ReasonUnique,
			"the name was given when another dataset had the shorter one; names, once given, stay")
	}
	return condition(v1alpha1.ConditionDatasetNameUnique, true, v1alpha1.ReasonUnique, uniqueMessage)
}

func (r *register) fell() metav1.Condition {
	return metav1.Condition{
		Type:   v1alpha1.ConditionDatasetVerified,
		Status: metav1.ConditionUnknown,
		Reason: v1alpha1.ReasonRegistryFell,
		Message: fmt.Sprintf("a complete listing lacked more of the registry than is believed at once (%g %%): nothing is removed; `kubectl get %s -o yaml` says how much is missing and what to do",
			r.MaxFall*100, r.StatusObject),
	}
}

// verified returns the reason of a dataset's condition Verified, or "".
func verified(d v1alpha1.XDataset) string {
	if c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDatasetVerified); c != nil {
		return c.Reason
	}
	return ""
}

// judged says whether a status holds the verdict on the object's generation.
func judged(s v1alpha1.XDatasetStatus, o Object) bool {
	c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionDatasetReady)
	return c != nil && isVerdict(c.Reason) &&
		s.Generation == strconv.FormatInt(o.Generation, 10) && s.CRC32C == o.checksum() &&
		(!o.packed() || s.UnpackedBytes != nil) &&
		// A status that contradicts itself proves nothing.
		s.Ready == (c.Reason == v1alpha1.ReasonAvailable) && (o.Size == 0) == (c.Reason == v1alpha1.ReasonEmpty) &&
		// An earlier version measured nothing.
		s.Ready == (s.Shape != nil)
}

func isVerdict(reason string) bool {
	switch reason {
	case v1alpha1.ReasonAvailable, v1alpha1.ReasonEmpty, v1alpha1.ReasonBlank, v1alpha1.ReasonBinary, v1alpha1.ReasonMarkup, v1alpha1.ReasonNotCSV, v1alpha1.ReasonColumnsDiffer:
		return true
	default:
		return false
	}
}

func notReadYet(r Read) string {
	message := "the first bytes of the object could not be read yet"
	if r.Problem != "" {
		message += ": " + r.Problem
	}
	return message + "; the dataset watcher tries again at every pass"
}

// lastSeen moves along the dataset's grid, and not back when a clock does. A
// time further ahead than a grid step was written by a clock that was wrong. A
// new dataset is seen now: nobody would understand a time before it existed.
func lastSeen(name string, before *metav1.Time, now time.Time) *metav1.Time {
	seen := metav1.NewTime(seenAt(name, now))
	if before == nil {
		seen = metav1.NewTime(now.UTC().Truncate(time.Second))
	}
	if before != nil && before.After(seen.Time) && before.Sub(now) <= seenGrid {
		return before
	}
	return &seen
}

func condition(kind string, ok bool, reason, message string) metav1.Condition {
	status := metav1.ConditionFalse
	if ok {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

// settle returns the wanted conditions, each with the time at which its status
// last changed. Conditions that aren't ours are dropped: nobody else writes here.
func settle(old, wanted []metav1.Condition, now time.Time) []metav1.Condition {
	for i := range wanted {
		wanted[i].LastTransitionTime = metav1.NewTime(now.UTC().Truncate(time.Second))
		if c := meta.FindStatusCondition(old, wanted[i].Type); c != nil && c.Status == wanted[i].Status && !c.LastTransitionTime.IsZero() {
			wanted[i].LastTransitionTime = c.LastTransitionTime
		}
	}
	return wanted
}

// checksum is what the status says of an object's, "" of a folder's.
func (o Object) checksum() string {
	if csvfile.IsFolder(o.Name) {
		return ""
	}
	return crc32c(o.CRC32C)
}

// crc32c writes a checksum as Google Cloud Storage does.
func crc32c(sum uint32) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
