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

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/csvfile"
)

// Settings are what a person has chosen.
type Settings struct {
	Bucket string // name of the datasets bucket
	Prefix string // only objects below it are looked at; empty: all
	Name   string // of the watcher, the value of v1alpha1.LabelManagedBy

	// Folders are patterns, as path.Match takes them, of folders without the last slash
	// whose CSVs are one dataset: "exports/sales", "daily/*".
	Folders []string

	// RemoveAfter is how many complete listings in a row must lack an object
	// before its dataset is removed; at least 1.
	RemoveAfter int

	// MaxFall is the share of the registry, 0 to 1, that may go missing at once and
	// still be believed.
	MaxFall float64

	// StatusObject is where people read about a fall and accept it, as kubectl
	// names it: "-n whisperops-system configmap dataset-watcher".
	StatusObject string
}

// An Object is what a listing tells of an object, or of a folder that is one dataset.
type Object struct {
	Name       string // UTF-8, at most 1024 bytes
	Size       int64  // bytes, as stored
	Generation int64  // changes with every upload
	CRC32C     uint32
	Encoding   string // Content-Encoding; "" or "gzip"
	Metadata   map[string]string
	Encrypted  bool // with a key of its uploader's

	// Files are the CSVs of a folder, by name, and All the names of everything that lies
	// directly in it; nil for an object. A folder's Size is the sum of its files', and its
	// Generation is made of theirs.
	Files []Object
	All   []string
}

// A Read is the answer to the reading of an object's first bytes: the verdict
// on them, or Problem, a phrase that does not change while the cause does not.
type Read struct {
	Verdict Verdict
	Shape   v1alpha1.DatasetShape
	Problem string

	// Unpacked is what an object with Content-Encoding gzip unpacks to, in bytes; nil
	// for others.
	Unpacked *int64
}

// Usage says which agents hold on to which dataset.
type Usage struct {
	// Known is false when the agents could not be listed. Nothing is removed then.
	Known bool
	// Agents are the names of the XDatasetAgents of a dataset, by dataset.
	Agents map[string][]string
}

// World is everything a plan rests on.
type World struct {
	Objects  []Object            // a complete listing of the bucket
	Datasets []v1alpha1.XDataset // every XDataset of the cluster
	Reads    map[string]Read     // by object, of those that Unread named
	Later    map[string]bool     // objects that later passes read, and record
	Usage    Usage               // needed when Missing names a dataset

	// AcceptFall is how many missing datasets a person has declared to be right.
	AcceptFall int
}

// Memory is what one pass leaves for the next. The zero value is right for the
// first one: forgetting only delays removals.
type Memory struct {
	// Absences counts the complete listings in a row that lacked a dataset's object.
	Absences map[types.UID]int
}

// An Update brings an XDataset to what it should be.
type Update struct {
	Dataset v1alpha1.XDataset // as it should be, with the resource version that was read
	Spec    bool              // whether metadata or spec differ
	Status  bool              // whether the status differs

	// FilesBefore is how many files the dataset's folder held; 0 for a single CSV.
	FilesBefore int64
}

// StatusFirst says in which order to write the two. A dataset that stops being
// ready, or is not, says so before its spec changes; one that becomes ready does
// so afterwards. So nobody sees a dataset ready with a spec that isn't, and the
// API server accepts both writes (docs/design/0004-zero-byte-datasets.md).
func (u Update) StatusFirst() bool { return !u.Dataset.Status.Ready }

// A Fall is a listing that lacks too much to be believed.
type Fall struct {
	Missing []string // names of the datasets whose objects are missing
	Of      int      // how many datasets were expected
}

// A Plan is what to write, in the order of its fields: all updates, then all
// creations, then the removals. A crash anywhere leaves a registry from which the
// next pass goes on. When an update fails during a fall the creations must wait:
// a fall is marked before new datasets could hide it in a larger registry.
type Plan struct {
	Updates []Update            // by name
	Creates []v1alpha1.XDataset // with the status to write once they exist; by name
	Removes []v1alpha1.XDataset // by name

	// Keep are the XDatasets of this watcher as they are once the plan is carried out, by name.
	Keep []v1alpha1.XDataset

	Fall    *Fall             // nil: the listing is believed
	Pending int               // missing datasets that later passes remove if nothing changes
	Objects int               // CSVs in the listing, and folders that are one dataset
	Ignored []csvfile.Ignored // objects that somebody may miss, by name
	Foreign int               // XDatasets that are none of this watcher's business
	Memory  Memory
}

// Unread names the objects whose first bytes must be read: the CSVs with content
// whose generation has no verdict in the registry.
func Unread(s Settings, objects []Object, datasets []v1alpha1.XDataset) []Object {
	r := newRegister(s, objects, datasets)
	unread := []Object{}
	for _, name := range sortedKeys(r.objects) {
		o := r.objects[name]
		d, ok := r.recorded[name]
		if o.Size > 0 && o.Problem() == "" && !(ok && judged(d.Status, o)) {
			unread = append(unread, o)
		}
	}
	return unread
}

// Batch cuts what one pass reads out of what is unread: at most n, those after a name
// first. So every object has its turn, also where many can't be read; whoever fills a
// bucket with names keeps nobody's from being recorded. The rest is for later passes.
func Batch(unread []Object, after string, n int) (now []Object, later map[string]bool, last string) {
	later = map[string]bool{}
	from, found := slices.BinarySearchFunc(unread, after, func(o Object, name string) int { return strings.Compare(o.Name, name) })
	if found {
		from++
	}
	for i := range unread {
		o := unread[(from+i)%len(unread)]
		if i < n {
			now, last = append(now, o), o.Name
		} else {
			later[o.Name] = true
		}
	}
	return now, later, last
}

// Missing names the datasets that the listing lacks. Only for those does a plan
// look at World.Usage.
func Missing(s Settings, objects []Object, datasets []v1alpha1.XDataset) []string {
	return slices.Sorted(maps.Keys(newRegister(s, objects, datasets).missing))
}

// Make decides. Whatever the world looks like, there is a plan.
func Make(s Settings, m Memory, w World, now time.Time) Plan {
	r := newRegister(s, w.Objects, w.Datasets)
	p := Plan{Objects: len(r.objects), Ignored: r.ignored, Foreign: r.foreign, Memory: Memory{Absences: map[types.UID]int{}}}
	p.Fall = r.fall(m, w.AcceptFall)

	wanted := map[string]v1alpha1.XDataset{}
	for object, d := range r.recorded {
		wanted[d.Name] = r.listed(*d.DeepCopy(), r.objects[object], w.Reads, p.Fall, now)
	}
	for name, d := range r.missing {
		absences := 0
		if p.Fall == nil {
			absences = m.Absences[d.UID] + 1
			p.Memory.Absences[d.UID] = absences
		}
		agents := w.Usage.Agents[name]
		if absences >= s.RemoveAfter && w.Usage.Known && len(agents) == 0 && r.made(d) {
			p.Removes = append(p.Removes, d)
			continue
		}
		if r.made(d) && len(agents) == 0 {
			p.Pending++
		}
		wanted[name] = r.lacking(*d.DeepCopy(), w.Usage, p.Fall, now)
	}
	for _, name := range sortedKeys(wanted) {
		d, old := wanted[name], r.byName[name]
		u := Update{
			Dataset: d,
			Spec:    !equality.Semantic.DeepEqual(d.Spec, old.Spec) || !maps.Equal(d.Labels, old.Labels) || !maps.Equal(d.Annotations, old.Annotations),
			Status:  !equality.Semantic.DeepEqual(d.Status, old.Status),

			FilesBefore: old.Status.Files,
		}
		if u.Spec || u.Status {
			p.Updates = append(p.Updates, u)
		}
		p.Keep = append(p.Keep, d)
	}
	for _, object := range sortedKeys(r.newcomers) {
		if w.Later[object] {
			continue
		}
		d := v1alpha1.XDataset{ObjectMeta: metav1.ObjectMeta{Name: r.newcomers[object]}}
		d = r.listed(d, r.objects[object], w.Reads, nil, now)
		p.Creates = append(p.Creates, d)
		p.Keep = append(p.Keep, d)
	}
	byName := func(a, b v1alpha1.XDataset) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(p.Creates, byName)
	slices.SortFunc(p.Removes, byName)
	slices.SortFunc(p.Keep, byName)
	return p
}

// register is the registry laid beside the listing.
type register struct {
	Settings

	objects map[string]Object // the CSVs of the listing, by name, and folders that are one dataset
	within  map[string]string // the folder that is one dataset with a CSV, by the CSV's name
	ignored []csvfile.Ignored
	foreign int

	byName    map[string]v1alpha1.XDataset // every XDataset of the cluster
	recorded  map[string]v1alpha1.XDataset // by object: the one that records it
	missing   map[string]v1alpha1.XDataset // by name: ours, without an object of their own
	newcomers map[string]string            // name of the dataset to make, by object
	rivals    map[string][]string          // objects that want the same name, by that name
	marked    bool                         // whether some dataset carries the mark of a fall
}

func newRegister(s Settings, objects []Object, datasets []v1alpha1.XDataset) *register {
	r := &register{
		Settings:  s,
		objects:   map[string]Object{},
		within:    map[string]string{},
		byName:    map[string]v1alpha1.XDataset{},
		recorded:  map[string]v1alpha1.XDataset{},
		missing:   map[string]v1alpha1.XDataset{},
		newcomers: map[string]string{},
		rivals:    map[string][]string{},
	}
	// What was recorded before a rule came stays: an agent may use it.
	known := map[string]bool{}
	for _, d := range datasets {
		if object, here := r.objectOf(d); here && strings.HasSuffix(object, csvfile.Extension) {
			known[object] = true
		}
	}
	for _, o := range objects {
		why := csvfile.WhyNot(o.Name)
		switch seen, ok := r.objects[o.Name]; {
		case why.Reason == csvfile.IgnoredHidden && known[o.Name] && (!ok || o.Generation > seen.Generation):
			r.objects[o.Name] = o
		case why != (csvfile.Ignored{}):
			r.ignored = append(r.ignored, why)
		case !strings.HasSuffix(o.Name, csvfile.Extension):
		case !ok || o.Generation > seen.Generation: // an upload while the pages were read may show twice
			r.objects[o.Name] = o
		}
	}
	r.folders(objects, datasets)
	slices.SortFunc(r.ignored, func(a, b csvfile.Ignored) int { return strings.Compare(a.Object, b.Object) })
	r.ignored = slices.CompactFunc(r.ignored, func(a, b csvfile.Ignored) bool { return a.Object == b.Object })
	for _, d := range datasets {
		r.byName[d.Name] = d
		r.marked = r.marked || verified(d) == v1alpha1.ReasonRegistryFell
	}
	r.assign()
	r.name()
	return r
}

// assign finds the dataset that records each object. Who records what is told by
// spec.gcsPath alone, so that names, once given, stay.
func (r *register) assign() {
	for _, name := range sortedKeys(r.byName) {
		d := r.byName[name]
		object, here := r.objectOf(d)
		if _, recorded := r.recordedAs(d); !here && (recorded || !r.made(d)) {
			r.foreign++
			continue
		}
		_, listed := r.objects[object]
		if !here || !listed {
			r.missing[name] = d
			continue
		}
		rival, taken := r.recorded[object]
		switch {
		case !taken:
			r.recorded[object] = d
		case r.before(d, rival):
			r.recorded[object] = d
			r.missing[rival.Name] = rival
		default:
			r.missing[name] = d
		}
	}
}

// before says which of two records of one object counts: the watcher's own
// before a copy that a person made, then the older, then the first by name.
func (r *register) before(a, b v1alpha1.XDataset) bool {
	if r.made(a) != r.made(b) {
		return r.made(a)
	}
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}

// name gives names to the objects that have no dataset yet. A name belongs to an
// object only if no other object wants it and no dataset has it. When two that
// want one name arrive together, neither gets it: otherwise a registry that is
// built anew could hand an agent the other one's data under the name it knows.
func (r *register) name() {
	wants := map[string]map[string]bool{}
	want := func(object string) {
		if n := plainName(object); n != "" {
			if wants[n] == nil {
				wants[n] = map[string]bool{}
			}
			wants[n][object] = true
		}
	}
	for object := range r.objects {
		want(object)
	}
	for _, d := range r.missing {
		if object, here := r.objectOf(d); here && isDataset(object) {
			want(object)
		}
	}
	for n, objects := range wants {
		r.rivals[n] = sortedKeys(objects)
	}
	taken := map[string]bool{}
	for n := range r.byName {
		taken[n] = true
	}
	for _, object := range sortedKeys(r.objects) {
		if _, ok := r.recorded[object]; ok {
			continue
		}
		n := plainName(object)
		if n == "" || taken[n] || len(r.rivals[n]) > 1 {
			for round := 0; ; round++ {
				if n = uniqueName(object, round); !taken[n] && len(r.rivals[n]) == 0 {
					break
				}
			}
		}
		taken[n] = true
		r.newcomers[object] = n
	}
}

// objectOf returns the object that a dataset records, and whether it is one
// that this watcher looks at.
func (r *register) objectOf(d v1alpha1.XDataset) (string, bool) {
	path, recorded := r.recordedAs(d)
	if !recorded {
		path = d.Spec.GCSPath
	}
	object, ok := strings.CutPrefix(path, "gs://"+r.Bucket+"/")
	return object, ok && strings.HasPrefix(object, r.Prefix)
}

// recordedAs returns the path that a watcher of this name made a dataset for. Watchers of
// earlier versions did not note it.
func (s Settings) recordedAs(d v1alpha1.XDataset) (path string, recorded bool) {
	if d.Labels[v1alpha1.LabelManagedBy] != s.Name {
		return "", false
	}
	path = d.Annotations[v1alpha1.AnnotationRecorded]
	return path, path != ""
}

// Owns says whether this watcher made a dataset, and not one of its name for another
// bucket.
func (s Settings) Owns(d v1alpha1.XDataset) bool {
	path, recorded := s.recordedAs(d)
	return d.Labels[v1alpha1.LabelManagedBy] == s.Name && (!recorded || strings.HasPrefix(path, "gs://"+s.Bucket+"/"+s.Prefix))
}

// made says whether the watcher made a dataset, and may remove it.
func (r *register) made(d v1alpha1.XDataset) bool { return d.Labels[v1alpha1.LabelManagedBy] == r.Name }

// fall says whether the listing lacks too much of the registry at once, or nil.
//
// What counts is what is missing and has not been known to be missing for
// RemoveAfter listings. A fall, once marked in the datasets, lasts until the
// objects are back or a person accepts it: datasets that came later don't
// make it small.
func (r *register) fall(m Memory, accepted int) *Fall {
	fresh, marked := share{}, share{}
	suspects := []string{}
	count := func(d v1alpha1.XDataset, missing bool) {
		reason := verified(d)
		if reason == v1alpha1.ReasonRegistryFell {
			marked.add(missing)
		}
		// Known to be missing, and not only since the last listings: no news.
		if n := m.Absences[d.UID]; missing && reason == v1alpha1.ReasonObjectMissing && (n == 0 || n >= r.RemoveAfter) {
			return
		}
		fresh.add(missing)
		if missing {
			suspects = append(suspects, d.Name)
		}
	}
	for _, d := range r.recorded {
		count(d, false)
	}
	for _, d := range r.missing {
		if r.elsewhere(d) != "" {
			continue
		}
		count(d, true)
	}
	if !fresh.above(r.MaxFall) && !marked.above(r.MaxFall) || len(suspects) <= accepted {
		return nil
	}
	slices.Sort(suspects)
	return &Fall{Missing: suspects, Of: fresh.of}
}

type share struct{ missing, of int }

func (s *share) add(missing bool) {
	s.of++
	if missing {
		s.missing++
	}
}

func (s *share) above(limit float64) bool { return float64(s.missing) > limit*float64(s.of) }

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
