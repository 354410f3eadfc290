package registry

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"whisperops.io/functions/apis/v1alpha1"
)

// TestTwoWatchersOfOneName: whoever forgets --name for the second bucket has two watchers
// that call themselves the same. Neither touches what the other made.
func TestTwoWatchersOfOneName(t *testing.T) {
	c := &cluster{datasets: map[string]v1alpha1.XDataset{}}
	here, there := objects("a.csv", "b.csv"), objects("a.csv", "z.csv")
	other := settings
	other.Bucket = "elsewhere"
	known := Usage{Known: true}
	memories := map[string]*Memory{"data": {}, "elsewhere": {}}
	pass := func(s Settings, all []Object) Plan {
		m := memories[s.Bucket]
		p := Make(s, *m, World{Objects: all, Datasets: c.list(), Reads: readAll(all), Usage: known}, noon)
		c.carryOut(p, -1)
		*m = p.Memory
		return p
	}
	pass(settings, here)
	pass(other, there)
	after := c.list()
	for i := range 4 {
		for _, p := range []Plan{pass(settings, here), pass(other, there)} {
			if p.Fall != nil || len(p.Updates)+len(p.Creates)+len(p.Removes) > 0 || p.Foreign != 2 {
				t.Fatalf("pass %d: want nothing written, and two datasets that are none of this watcher's business, got %+v", i, p)
			}
		}
	}
	if diff := cmp.Diff(after, c.list()); diff != "" || len(after) != 4 {
		t.Errorf("want two datasets of each, as they were: %s\n%s", c.names(), diff)
	}
	for _, d := range after {
		if mine := strings.HasPrefix(d.Spec.GCSPath, "gs://data/"); settings.Owns(d) != mine || other.Owns(d) == mine {
			t.Errorf("%s is owned by the wrong one", d.Spec.GCSPath)
		}
	}
	// One object fewer there is no business of the watcher here.
	for range 3 {
		pass(other, there[:1])
		pass(settings, here)
	}
	if len(c.datasets) != 3 {
		t.Errorf("want only z gone, got %s", c.names())
	}
}

// TestPathIsPutBack: what a dataset records is told by what its watcher noted, and not by
// what somebody wrote into its path.
func TestPathIsPutBack(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		path   string
		listed bool
	}{
		"ToAnotherBucket":     {"A reader of the agents' would read a stranger's bucket.", "gs://victim-payroll/all.csv", true},
		"ToAnotherObject":     {"Two names for one object, and none for the other.", "gs://data/b.csv", true},
		"ToNothing":           {"The object would be recorded anew under another name.", "gs://data/none.csv", true},
		"WhileItIsMissing":    {"A record of nothing is no reason to keep an edit.", "gs://victim-payroll/all.csv", false},
		"OfWhatIsStillListed": {"Nothing to put back.", "gs://data/a.csv", true},
	} {
		t.Run(name, func(t *testing.T) {
			c, m := &cluster{datasets: map[string]v1alpha1.XDataset{}}, &Memory{}
			all := objects("a.csv", "b.csv", "c.csv")
			used := Usage{Known: true, Agents: map[string][]string{"a": {"bot"}}}
			c.pass(m, all, used, 0)
			d := c.datasets["a"]
			d.Spec.GCSPath = tc.path
			c.datasets["a"] = d
			if !tc.listed {
				all = all[1:]
			}
			c.pass(m, all, used, 0)
			if got := c.datasets["a"].Spec.GCSPath; got != "gs://data/a.csv" || c.names() != "a b c" {
				t.Errorf("%s\na records %s among %s, want gs://data/a.csv among a b c", tc.reason, got, c.names())
			}
		})
	}
}

// TestBatches: who fills the bucket with names delays the others, and keeps none of them
// from being recorded; nor do objects that can't be read.
func TestBatches(t *testing.T) {
	const each = 50
	var names []string
	for i := range 10 * each {
		names = append(names, fmt.Sprintf("flood-%04d.csv", i))
	}
	names = append(names, "a-broken.csv", "honest.csv", "zebra.csv")
	all := objects(names...)
	c, last, recorded := &cluster{datasets: map[string]v1alpha1.XDataset{}}, "", 0
	m := Memory{}
	passes := 0
	for ; passes < 20; passes++ {
		batch, later, l := Batch(Unread(settings, all, c.list()), last, each)
		last = l
		if len(batch) > each {
			t.Fatalf("a pass reads %d objects, want at most %d", len(batch), each)
		}
		reads := readAll(batch)
		for o := range reads {
			if strings.Contains(o, "broken") {
				reads[o] = Read{Problem: "access denied"}
			}
		}
		p := Make(settings, m, World{Objects: all, Datasets: c.list(), Reads: reads, Later: later, Usage: Usage{Known: true}}, noon)
		if len(p.Creates) > each || p.Fall != nil || len(p.Removes) > 0 {
			t.Fatalf("pass %d records %d datasets at once, or loses some: %+v", passes, len(p.Creates), p.Fall)
		}
		c.carryOut(p, -1)
		m = p.Memory
		if passes < 10 && len(c.datasets) <= recorded {
			t.Fatalf("pass %d recorded nothing", passes)
		}
		recorded = len(c.datasets)
		if len(later) == 0 && recorded == len(all) {
			break
		}
	}
	if passes > 11 || recorded != len(all) {
		t.Errorf("%d of %d objects are recorded after %d passes", recorded, len(all), passes+1)
	}
	for _, name := range []string{"honest", "zebra"} {
		if c.say(name) != fine {
			t.Errorf("%s is %s", name, c.say(name))
		}
	}
}

// TestBatchGoesRound: every object has its turn, wherever the last pass ended.
func TestBatchGoesRound(t *testing.T) {
	all := objects("a.csv", "b.csv", "c.csv", "d.csv")
	for _, tc := range []struct {
		reason, after, want string
		n                   int
	}{
		{"The first pass begins at the beginning.", "", "a.csv b.csv", 2},
		{"The next goes on.", "b.csv", "c.csv d.csv", 2},
		{"After the last comes the first.", "d.csv", "a.csv b.csv", 2},
		{"What was read last may be gone.", "bb.csv", "c.csv d.csv a.csv", 3},
		{"Few are read at once.", "b.csv", "c.csv d.csv a.csv b.csv", 9},
	} {
		batch, later, last := Batch(all, tc.after, tc.n)
		var got []string
		for _, o := range batch {
			got = append(got, o.Name)
		}
		if strings.Join(got, " ") != tc.want || len(later) != len(all)-len(batch) || last != got[len(got)-1] {
			t.Errorf("%s\ngot %v, %v for later, want %s", tc.reason, got, later, tc.want)
		}
		if slices.ContainsFunc(batch, func(o Object) bool { return later[o.Name] }) {
			t.Errorf("%s\nan object is read now and later", tc.reason)
		}
	}
	if batch, later, _ := Batch(nil, "x", 3); len(batch)+len(later) != 0 {
		t.Error("nothing is unread")
	}
}
