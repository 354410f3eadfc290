package registry

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/csvfile"
)

var (
	noon     = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	settings = Settings{
		Bucket: "data", Name: "dataset-watcher", RemoveAfter: 2, MaxFall: 0.5,
		StatusObject: "-n whisperops-system configmap dataset-watcher",
	}
)

// a cluster holds XDatasets as an API server does, and carries out plans.
type cluster struct {
	datasets map[string]v1alpha1.XDataset
	made     int
	writes   int
}

func (c *cluster) list() []v1alpha1.XDataset {
	l := []v1alpha1.XDataset{}
	for _, n := range sortedKeys(c.datasets) {
		d := c.datasets[n]
		l = append(l, *d.DeepCopy())
	}
	return l
}

// carryOut does the plan's first writes, and says whether that was all.
func (c *cluster) carryOut(p Plan, writes int) bool {
	spend := func() bool {
		if writes == 0 {
			return false
		}
		writes--
		c.writes++
		return true
	}
	status := func(d v1alpha1.XDataset) bool {
		if !spend() {
			return false
		}
		at := c.datasets[d.Name]
		at.Status = d.Status
		c.datasets[d.Name] = at
		return true
	}
	spec := func(d v1alpha1.XDataset) bool {
		if !spend() {
			return false
		}
		at := c.datasets[d.Name]
		at.Labels, at.Annotations, at.Spec = d.Labels, d.Annotations, d.Spec
		c.datasets[d.Name] = at
		return true
	}
	for _, u := range p.Updates {
		steps := []func(v1alpha1.XDataset) bool{spec, status}
		if u.StatusFirst() {
			steps = []func(v1alpha1.XDataset) bool{status, spec}
		}
		for i, do := range steps {
			isSpec := (i == 0) != u.StatusFirst()
			if isSpec && !u.Spec || !isSpec && !u.Status {
				continue
			}
			if !do(*u.Dataset.DeepCopy()) {
				return false
			}
		}
	}
	for _, d := range p.Creates {
		if !spend() {
			return false
		}
		if _, taken := c.datasets[d.Name]; taken {
			panic("a plan made a dataset whose name is taken: " + d.Name)
		}
		c.made++
		bare := *d.DeepCopy()
		bare.UID, bare.Status = types.UID(fmt.Sprint("uid-", c.made)), v1alpha1.XDatasetStatus{}
		c.datasets[d.Name] = bare
		if !status(*d.DeepCopy()) {
			return false
		}
	}
	for _, d := range p.Removes {
		if !spend() {
			return false
		}
		delete(c.datasets, d.Name)
	}
	return true
}

// readAll answers every read with a good verdict.
func readAll(objects []Object) map[string]Read {
	reads := map[string]Read{}
	for _, o := range objects {
		reads[o.Name] = Read{Verdict: goodVerdict}
	}
	return reads
}

func objects(names ...string) []Object {
	l := []Object{}
	for i, n := range names {
		l = append(l, Object{Name: n, Size: 2_000_000, Generation: int64(1000 + i), CRC32C: 0xdeadbeef})
	}
	return l
}

// pass runs one pass and carries it out.
func (c *cluster) pass(m *Memory, objects []Object, usage Usage, accept int) Plan {
	p := Make(settings, *m, World{Objects: objects, Datasets: c.list(), Reads: readAll(objects), Usage: usage, AcceptFall: accept}, noon)
	c.carryOut(p, -1)
	*m = p.Memory
	return p
}

func (c *cluster) names() string { return strings.Join(sortedKeys(c.datasets), " ") }

// say returns a dataset's conditions in one line.
func (c *cluster) say(name string) string {
	d, ok := c.datasets[name]
	if !ok {
		return "none"
	}
	s := fmt.Sprintf("ready=%t", d.Status.Ready)
	for _, c := range d.Status.Conditions {
		s += fmt.Sprintf(" %s=%s/%s", c.Type, c.Status, c.Reason)
	}
	return s
}

const fine = "ready=true Ready=True/Available Verified=True/Listed NameUnique=True/Unique"

func TestFirstPass(t *testing.T) {
	c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, &Memory{}
	c.pass(m, objects("Athlete_Recovery.csv"), Usage{}, 0)
	at := metav1.NewTime(noon)
	want := v1alpha1.XDataset{
		ObjectMeta: metav1.ObjectMeta{Name: "athlete-recovery", UID: "uid-1",
			Labels: map[string]string{v1alpha1.LabelManagedBy: "dataset-watcher"}, Annotations: map[string]string{v1alpha1.AnnotationRecorded: "gs://data/Athlete_Recovery.csv"}},
		Spec: v1alpha1.XDatasetSpec{GCSPath: "gs://data/Athlete_Recovery.csv", SizeBytes: 2_000_000, DisplayName: "Athlete Recovery"},
		Status: v1alpha1.XDatasetStatus{
			Ready: true, SizeHuman: "1.9 MiB", LastSeen: &at, Generation: "1000", CRC32C: "3q2+7w==",
			Shape: &v1alpha1.DatasetShape{}, // it was read, and nothing could be told
			Conditions: []metav1.Condition{
				{Type: "Ready", Status: "True", Reason: "Available", Message: "the dataset can be used", LastTransitionTime: at},
				{Type: "Verified", Status: "True", Reason: "Listed", Message: "the last complete listing of the bucket holds the object", LastTransitionTime: at},
				{Type: "NameUnique", Status: "True", Reason: "Unique", Message: "no other object of the bucket would have this name", LastTransitionTime: at},
			},
		},
	}
	if diff := cmp.Diff(want, c.datasets["athlete-recovery"]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if p := c.pass(m, objects("Athlete_Recovery.csv"), Usage{}, 0); len(p.Updates)+len(p.Creates)+len(p.Removes) > 0 {
		t.Errorf("want an idle pass to write nothing, got %+v", p)
	}
}

func TestRemoval(t *testing.T) {
	all := objects("a.csv", "b.csv", "c.csv", "d.csv")
	less := all[:3]
	none := Usage{Known: true}
	used := Usage{Known: true, Agents: map[string][]string{"d": {"housing-bot"}}}
	const missing = "ready=false Ready=False/ObjectMissing Verified=False/ObjectMissing NameUnique=True/Unique"
	type pass struct {
		objects []Object
		usage   Usage
		accept  int
		restart bool
		want    string // what d is like afterwards
	}
	fell := strings.Replace(fine, "True/Listed", "Unknown/RegistryFell", 1)
	cases := map[string]struct {
		reason string
		passes []pass
	}{
		"AfterTwo": {
			"One listing without an object is a moment between deletion and upload; two are a removal.",
			[]pass{{less, none, 0, false, missing}, {less, none, 0, false, "none"}},
		},
		"InARow": {
			"An object that comes back starts the count anew.",
			[]pass{{less, none, 0, false, missing}, {all, none, 0, false, fine}, {less, none, 0, false, missing}, {less, none, 0, false, "none"}},
		},
		"InUse": {
			"A dataset that an agent uses is kept until the last agent lets go, and goes then.",
			[]pass{{less, used, 0, false, missing}, {less, used, 0, false, missing}, {less, used, 0, false, missing}, {less, none, 0, false, "none"}},
		},
		"UsageUnknown": {
			"Agents that can't be listed may use it.",
			[]pass{{less, none, 0, false, missing}, {less, Usage{}, 0, false, missing}, {less, none, 0, false, "none"}},
		},
		"Restart": {
			"A new process knows nothing of earlier listings.",
			[]pass{{less, none, 0, false, missing}, {less, none, 0, true, missing}, {less, none, 0, false, "none"}},
		},
		"Fall": {
			"Three of four are gone at once: the listing is not believed however often it comes.",
			[]pass{{all[:1], none, 0, false, fell}, {all[:1], none, 0, false, fell}, {all[:1], none, 0, true, fell}, {all, none, 0, false, fine}},
		},
		"FallIsHalf": {
			"Half is not more than half.",
			[]pass{{all[:2], none, 0, false, missing}, {all[:2], none, 0, false, "none"}},
		},
		"FallInTwoSteps": {
			"What went missing in the last listings counts together, or a slow failure would pass.",
			[]pass{{all[1:3], used, 0, false, missing}, {all[1:2], none, 0, false, strings.Replace(missing, "False/ObjectMissing NameUnique", "Unknown/RegistryFell NameUnique", 1)}},
		},
		"FallAccepted": {
			"A person has said that three are right to go; they still go by the rule of two listings.",
			[]pass{{all[:1], none, 0, false, fell}, {all[:1], none, 3, false, missing}, {all[:1], none, 3, false, "none"}},
		},
		"FallAcceptedTooFew": {
			"A person has said two; three are missing.",
			[]pass{{all[:1], none, 2, false, fell}},
		},
		"FallPartlyBack": {
			"What is still missing is little enough to be believed.",
			[]pass{{all[:1], none, 0, false, fell}, {less, none, 0, false, missing}, {less, none, 0, false, "none"}},
		},
		"FallHiddenByNewcomers": {
			"Many new objects must not make a fall look small; the old names are still in doubt.",
			[]pass{
				{all[:0], none, 0, false, fell},
				{objects("e.csv", "f.csv", "g.csv", "h.csv", "i.csv"), none, 0, false, fell},
				{objects("e.csv", "f.csv", "g.csv", "h.csv", "i.csv"), none, 0, true, fell},
				{objects("e.csv", "f.csv", "g.csv", "h.csv", "i.csv"), none, 0, false, fell},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, &Memory{}
			c.pass(m, all, none, 0)
			for i, p := range tc.passes {
				if p.restart {
					*m = Memory{}
				}
				c.pass(m, p.objects, p.usage, p.accept)
				if got := c.say("d"); got != p.want {
					t.Fatalf("%s\npass %d: want d %s\ngot %s", tc.reason, i+1, p.want, got)
				}
			}
		})
	}
}

// A crash after any write of the pass that finds a fall leaves a registry in
// which the fall is still seen, although new datasets came with it.
func TestCrashDuringFall(t *testing.T) {
	for crash := range 40 {
		c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, &Memory{}
		c.pass(m, objects("a.csv", "b.csv", "c.csv", "d.csv"), Usage{Known: true}, 0)
		after := objects("d.csv", "e.csv", "f.csv", "g.csv", "h.csv", "i.csv", "j.csv")
		p := Make(settings, *m, World{Objects: after, Datasets: c.list(), Reads: readAll(after), Usage: Usage{Known: true}}, noon)
		done := c.carryOut(p, crash)
		*m = Memory{}
		for range 4 {
			if p := c.pass(m, after, Usage{Known: true}, 0); p.Fall == nil || len(p.Removes) > 0 {
				t.Fatalf("crash after %d writes: want the fall to be seen and nothing to be removed, got %+v", crash, p)
			}
		}
		if done {
			return
		}
	}
	t.Fatal("the pass needed more than 40 writes: the test did not reach its end")
}

func TestNameCollisions(t *testing.T) {
	one, two := objects("A_b.csv")[0], objects("x", "a-b.csv")[1]
	u1, u2 := uniqueName(one.Name, 0), uniqueName(two.Name, 0)
	const taken = "ready=true Ready=True/Available Verified=True/Listed NameUnique=False/NameTaken"
	t.Run("Together", func(t *testing.T) {
		for _, listing := range [][]Object{{one, two}, {two, one}} {
			c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, &Memory{}
			c.pass(m, listing, Usage{}, 0)
			if c.names() != u1+" "+u2 && c.names() != u2+" "+u1 {
				t.Errorf("want neither to get the plain name: after the registry was lost it could name the other one's data; got %s", c.names())
			}
			if c.say(u1) != taken || c.say(u2) != taken {
				t.Errorf("want a condition to say so on both, got\n%s\n%s", c.say(u1), c.say(u2))
			}
			if got := c.datasets[u1].Spec.GCSPath; got != "gs://data/A_b.csv" {
				t.Errorf("want the path to keep the object's own name, got %s", got)
			}
			want := `object "A_b.csv" and "a-b.csv" would all be called "a-b"; this one is called "` + u1 + `": rename objects so that their names differ in letters and digits`
			if got := meta.FindStatusCondition(c.datasets[u1].Status.Conditions, "NameUnique").Message; got != want {
				t.Errorf("want message\n%s\ngot\n%s", want, got)
			}
		}
	})
	t.Run("OneAfterTheOther", func(t *testing.T) {
		c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, &Memory{}
		c.pass(m, []Object{one}, Usage{}, 0)
		c.pass(m, []Object{one, two}, Usage{}, 0)
		if got, want := c.names(), "a-b "+u2; got != want {
			t.Errorf("want a name, once given, to stay: %s, got %s", want, got)
		}
		if c.say("a-b") != taken || c.say(u2) != taken {
			t.Errorf("want a condition to say so on both, got\n%s\n%s", c.say("a-b"), c.say(u2))
		}
		for range 3 {
			c.pass(m, []Object{two}, Usage{Known: true}, 0)
		}
		if got, want := c.names(), u2; got != want {
			t.Errorf("want %s, got %s", want, got)
		}
		if c.say(u2) != fine {
			t.Errorf("want the collision to be over, got %s", c.say(u2))
		}
	})
	t.Run("WithAForeignDataset", func(t *testing.T) {
		foreign := v1alpha1.XDataset{ObjectMeta: metav1.ObjectMeta{Name: "a-b"}, Spec: v1alpha1.XDatasetSpec{GCSPath: "gs://elsewhere/x.csv", DisplayName: "X"}}
		c, m := &cluster{datasets: map[string]v1alpha1.XDataset{"a-b": foreign}}, &Memory{}
		for range 4 {
			c.pass(m, []Object{two}, Usage{Known: true}, 0)
		}
		if got, want := c.names(), "a-b "+u2; got != want {
			t.Errorf("want %s, got %s", want, got)
		}
		if diff := cmp.Diff(foreign, c.datasets["a-b"]); diff != "" {
			t.Errorf("want another bucket's dataset to be left alone:\n%s", diff)
		}
	})
	t.Run("ADatasetIsCalledLikeAHash", func(t *testing.T) {
		third := Object{Name: u1 + ".csv", Size: 1, Generation: 1}
		c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, &Memory{}
		c.pass(m, []Object{one, two, third}, Usage{}, 0)
		if len(c.datasets) != 3 {
			t.Errorf("want three datasets, got %s", c.names())
		}
		if got := c.datasets[u1].Spec.GCSPath; got != "gs://data/"+third.Name {
			t.Errorf("want the plain name to go to who plainly has it, got %s", got)
		}
	})
}

func TestContent(t *testing.T) {
	bad := Read{Verdict: Verdict{v1alpha1.ReasonMarkup, "the file is a web page"}}
	good := Read{Verdict: goodVerdict}
	problem := Read{Problem: "permission denied"}
	first := Object{Name: "a.csv", Size: 10, Generation: 1, CRC32C: 1}
	second := Object{Name: "a.csv", Size: 20, Generation: 2, CRC32C: 2}
	empty := Object{Name: "a.csv", Size: 0, Generation: 3}
	type pass struct {
		object Object
		read   Read
		asks   bool   // whether the first bytes are asked for
		want   string // condition Ready
		gen    string
		first  bool // whether the status is written first
	}
	cases := map[string]struct {
		reason string
		passes []pass
	}{
		"Good":         {"Read once per generation.", []pass{{first, good, true, "True/Available", "1", false}, {first, bad, false, "True/Available", "1", false}}},
		"Bad":          {"A verdict stands until the next upload.", []pass{{first, bad, true, "False/Markup", "1", false}, {first, good, false, "False/Markup", "1", false}}},
		"Repaired":     {"A new upload is judged anew.", []pass{{first, bad, true, "False/Markup", "1", false}, {second, good, true, "True/Available", "2", false}}},
		"Spoilt":       {"A new upload is judged anew; the status says so before the spec changes.", []pass{{first, good, true, "True/Available", "1", false}, {second, bad, true, "False/Markup", "2", true}}},
		"Emptied":      {"The API server refuses a ready dataset of 0 bytes.", []pass{{first, good, true, "True/Available", "1", false}, {empty, good, false, "False/Empty", "3", true}}},
		"Filled":       {"The API server refuses a ready dataset of 0 bytes.", []pass{{empty, good, false, "False/Empty", "3", false}, {first, good, true, "True/Available", "1", false}}},
		"Unread":       {"Nothing is known: not ready, and asked again.", []pass{{first, problem, true, "False/NotReadYet", "1", false}, {first, good, true, "True/Available", "1", false}}},
		"NewUnread":    {"A failed read is no bad file: the last verdict stands, and it is asked again.", []pass{{first, good, true, "True/Available", "1", false}, {second, problem, true, "True/Available", "1", false}, {second, bad, true, "False/Markup", "2", true}}},
		"FilledUnread": {"That it was empty says nothing of the next upload.", []pass{{empty, good, false, "False/Empty", "3", false}, {first, problem, true, "False/NotReadYet", "1", true}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, Memory{}
			for i, step := range tc.passes {
				listing := []Object{step.object}
				if asks := len(Unread(settings, listing, c.list())) > 0; asks != step.asks {
					t.Errorf("%s\npass %d: want first bytes asked for: %t", tc.reason, i+1, step.asks)
				}
				p := Make(settings, m, World{Objects: listing, Datasets: c.list(), Reads: map[string]Read{"a.csv": step.read}}, noon)
				for _, u := range p.Updates {
					if u.StatusFirst() != step.first {
						t.Errorf("%s\npass %d: want status first: %t", tc.reason, i+1, step.first)
					}
				}
				c.carryOut(p, -1)
				d := c.datasets["a"]
				r := meta.FindStatusCondition(d.Status.Conditions, "Ready")
				if got := string(r.Status) + "/" + r.Reason; got != step.want || d.Status.Ready != (r.Status == "True") || d.Status.Generation != step.gen {
					t.Errorf("%s\npass %d: want %s of generation %s, got %s of generation %s (ready: %t)", tc.reason, i+1, step.want, step.gen, got, d.Status.Generation, d.Status.Ready)
				}
				if d.Spec.SizeBytes != step.object.Size || d.Status.SizeHuman != sizeHuman(step.object.Size) {
					t.Errorf("%s\npass %d: want the size of the listing, got %d, %s", tc.reason, i+1, d.Spec.SizeBytes, d.Status.SizeHuman)
				}
			}
		})
	}
}

func TestHands(t *testing.T) {
	all := objects("a.csv", "b.csv", "c.csv")
	known := Usage{Known: true}
	setup := func() (*cluster, *Memory) {
		c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, &Memory{}
		c.pass(m, all, known, 0)
		return c, m
	}
	t.Run("SpecEdited", func(t *testing.T) {
		c, m := setup()
		d := c.datasets["a"]
		d.Spec.SizeBytes, d.Spec.DisplayName, d.Status.Ready = 5, "mine", false
		c.datasets["a"] = d
		c.pass(m, all, known, 0)
		if d := c.datasets["a"]; d.Spec.SizeBytes != 2_000_000 || d.Spec.DisplayName != "A" || !d.Status.Ready {
			t.Errorf("want the edit undone, got %+v", d)
		}
	})
	t.Run("Deleted", func(t *testing.T) {
		c, m := setup()
		delete(c.datasets, "a")
		c.pass(m, all, known, 0)
		if c.say("a") != fine {
			t.Errorf("want a made anew, got %s", c.say("a"))
		}
	})
	t.Run("ForeignConditions", func(t *testing.T) {
		c, m := setup()
		d := c.datasets["a"]
		d.Status.Conditions = append(d.Status.Conditions, metav1.Condition{Type: "Mine", Status: "True", Reason: "X"})
		c.datasets["a"] = d
		c.pass(m, all, known, 0)
		if c.say("a") != fine {
			t.Errorf("want a status that is ours alone, got %s", c.say("a"))
		}
	})
	t.Run("OtherLabelsStay", func(t *testing.T) {
		c, m := setup()
		d := c.datasets["a"]
		d.Labels = map[string]string{"team": "x"}
		c.datasets["a"] = d
		c.pass(m, all, known, 0)
		if diff := cmp.Diff(map[string]string{"team": "x", v1alpha1.LabelManagedBy: "dataset-watcher"}, c.datasets["a"].Labels); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
	t.Run("HandMade", func(t *testing.T) {
		c, m := setup()
		c.datasets["mine"] = v1alpha1.XDataset{ObjectMeta: metav1.ObjectMeta{Name: "mine", UID: "m"}, Spec: v1alpha1.XDatasetSpec{GCSPath: "gs://data/later.csv", SizeBytes: 1, DisplayName: "L"}}
		for range 4 {
			c.pass(m, all, known, 0)
		}
		if want := "ready=false Ready=False/ObjectMissing Verified=False/ObjectMissing NameUnique=True/Unique"; c.say("mine") != want {
			t.Errorf("want a record that a person made kept and not ready, got %s", c.say("mine"))
		}
		c.pass(m, append(objects("later.csv"), all...), known, 0)
		if c.say("mine") != fine || len(c.datasets) != 4 {
			t.Errorf("want the record adopted when its object comes, got %s in %s", c.say("mine"), c.names())
		}
	})
	t.Run("Copied", func(t *testing.T) {
		c, m := setup()
		a := c.datasets["a"]
		d := *a.DeepCopy()
		d.Name, d.UID, d.CreationTimestamp = "copy", "c", metav1.NewTime(noon)
		c.datasets["copy"] = d
		used := Usage{Known: true, Agents: map[string][]string{"copy": {"bot"}}}
		for range 3 {
			c.pass(m, all, used, 0)
		}
		if c.say("a") != fine || !strings.HasPrefix(c.say("copy"), "ready=false Ready=False/Duplicate Verified=True/Listed") {
			t.Errorf("want the copy marked and kept while it is used, got a %s, copy %s", c.say("a"), c.say("copy"))
		}
		c.pass(m, all, known, 0)
		if c.names() != "a b c" {
			t.Errorf("want the copy removed, got %s", c.names())
		}
	})
	t.Run("Terminating", func(t *testing.T) {
		c, m := setup()
		d, gone := c.datasets["a"], metav1.NewTime(noon)
		d.DeletionTimestamp = &gone
		d.Spec.SizeBytes = 7
		c.datasets["a"] = d
		if p := c.pass(m, all, known, 0); len(p.Updates)+len(p.Creates)+len(p.Removes) > 0 {
			t.Errorf("want a dataset on its way out to be left alone, got %+v", p)
		}
	})
}

func TestClocks(t *testing.T) {
	c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, Memory{}
	at := func(now time.Time) (time.Time, int) {
		before := c.writes
		o := objects("a.csv")
		c.carryOut(Make(settings, m, World{Objects: o, Datasets: c.list(), Reads: readAll(o)}, now), -1)
		return c.datasets["a"].Status.LastSeen.Time, c.writes - before
	}
	if first, _ := at(noon); !first.Equal(noon) {
		t.Errorf("want a new dataset seen when it is made, got %s", first)
	}
	first, _ := at(noon.Add(time.Hour)) // on its grid from now on
	if seen, writes := at(noon.Add(time.Hour + time.Minute/2)); !seen.Equal(first) || writes != 0 {
		t.Errorf("want no write for half a minute, got %d, %s", writes, seen)
	}
	second, writes := at(noon.Add(2 * time.Hour))
	if second.Sub(first) != time.Hour || writes != 1 {
		t.Errorf("want one write an hour later, got %d, %s", writes, second)
	}
	if seen, writes := at(noon.Add(time.Hour + time.Minute)); !seen.Equal(second) || writes != 0 {
		t.Errorf("want a clock that is an hour slow to move nothing back, got %d writes, %s", writes, seen)
	}
	if seen, writes := at(noon.AddDate(1, 0, 0)); writes != 1 || seen.Year() != 2027 {
		t.Errorf("want a clock a year ahead to be believed, for nothing better is known; got %d, %s", writes, seen)
	}
	if seen, writes := at(noon.Add(3 * time.Hour)); writes != 1 || seen.After(noon.Add(3*time.Hour)) {
		t.Errorf("want what a wrong clock wrote to be repaired, got %d, %s", writes, seen)
	}
}

func TestIgnored(t *testing.T) {
	c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, &Memory{}
	l := objects("a.csv", "b.CSV", "readme.txt", "folder.csv/", "two\nlines.csv", "bad\xff.csv", strings.Repeat("x", 1024)+".csv", "deep/b.csv",
		"q2.Csv", "data.csv.gz", "data.CSV.ZIP", "bad.csv ", "._a.csv", "deep/.b.csv", "__MACOSX/a.csv", "out/_temporary/0/part-0.csv", "a.csv.part", "_SUCCESS", ".part", "a.csv.md5", "_b.csv")
	p := c.pass(m, l, Usage{}, 0)
	if got, want := c.names(), "a b deep-b"; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	got := map[string]string{}
	for _, i := range p.Ignored {
		got[i.Object] = i.Reason
		if i.Advice == "" {
			t.Errorf("%q is ignored without a way out", i.Object)
		}
	}
	want := map[string]string{
		"b.CSV": csvfile.IgnoredSpelling, "q2.Csv": csvfile.IgnoredSpelling, "bad.csv ": csvfile.IgnoredSpelling, //nolint:gocritic // the blank is what is wrong with it
		"two\nlines.csv": csvfile.IgnoredName, "bad\xff.csv": csvfile.IgnoredName, strings.Repeat("x", 1024) + ".csv": csvfile.IgnoredName,
		"data.csv.gz": csvfile.IgnoredCompressed, "data.CSV.ZIP": csvfile.IgnoredCompressed, "a.csv.part": csvfile.IgnoredUnfinished,
		"._a.csv": csvfile.IgnoredHidden, "deep/.b.csv": csvfile.IgnoredHidden, "__MACOSX/a.csv": csvfile.IgnoredHidden, "out/_temporary/0/part-0.csv": csvfile.IgnoredHidden,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

// A hidden file takes no part in a fight for names, and one that was recorded before it
// was called hidden stays: an agent may use it.
func TestHidden(t *testing.T) {
	c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, &Memory{}
	c.pass(m, objects("data.csv", "._data.csv"), Usage{}, 0)
	if got, want := c.names(), "data"; got != want {
		t.Errorf("want %s, got %s", want, got)
	}
	c = &cluster{datasets: map[string]v1alpha1.XDataset{}}
	c.pass(m, objects("data.csv"), Usage{}, 0)
	d := c.datasets["data"]
	d.Spec.GCSPath = strings.Replace(d.Spec.GCSPath, "data.csv", ".data.csv", 1)
	c.datasets["data"] = d
	for range 3 {
		c.pass(m, objects(".data.csv"), Usage{Known: true}, 0)
	}
	if got, want := c.names(), "data"; got != want {
		t.Errorf("want what is known to stay, got %s", got)
	}
}

// An object with Content-Encoding gzip is as large as what readers get.
func TestPacked(t *testing.T) {
	c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, Memory{}
	o := objects("a.csv")
	o[0].Encoding, o[0].Size = "gzip", 1000
	pass := func(reads map[string]Read) v1alpha1.XDataset {
		c.carryOut(Make(settings, m, World{Objects: o, Datasets: c.list(), Reads: reads}, noon), -1)
		return c.datasets["a"]
	}
	unread := func() int { return len(Unread(settings, o, c.list())) }
	large := int64(50 << 20)
	if d := pass(map[string]Read{"a.csv": {Problem: "no answer"}}); d.Spec.SizeBytes != 1000 || d.Status.Ready || unread() != 1 {
		t.Errorf("what can't be counted isn't ready: %+v", d)
	}
	if d := pass(map[string]Read{"a.csv": {Verdict: goodVerdict, Unpacked: &large}}); d.Spec.SizeBytes != large || d.Status.SizeHuman != "50.0 MiB" || !d.Status.Ready {
		t.Errorf("want 50 MiB, got %+v", d)
	}
	if unread() != 0 {
		t.Error("what was counted is counted again")
	}
	if d := pass(nil); d.Spec.SizeBytes != large {
		t.Errorf("what was counted is forgotten: %+v", d)
	}
	// One that an older version judged has no count: it is read once more.
	d := c.datasets["a"]
	d.Status.UnpackedBytes = nil
	c.datasets["a"] = d
	if unread() != 1 {
		t.Error("an older version's size, as stored, is believed")
	}
	c.datasets["a"] = pass(map[string]Read{"a.csv": {Verdict: goodVerdict, Unpacked: &large}})
	o[0].Generation++
	if unread() != 1 {
		t.Error("a new upload is not counted")
	}
}

func TestListedTwice(t *testing.T) {
	c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, &Memory{}
	old, young := objects("a.csv")[0], objects("a.csv")[0]
	young.Generation, young.Size = 2000, 1
	for _, l := range [][]Object{{old, young}, {young, old}} {
		c.pass(m, l, Usage{}, 0)
		if d := c.datasets["a"]; d.Status.Generation != "2000" || d.Spec.SizeBytes != 1 {
			t.Errorf("want the younger one, got %+v", d)
		}
	}
}
