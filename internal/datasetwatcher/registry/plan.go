package registry

import (
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
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
