package registry

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
)

// A history is a random bucket, a random crowd of agents, and a watcher that
// crashes, restarts, misreads, and is sometimes sure of a wrong time.
type history struct {
	*cluster

	bucket map[string]Object
	agents map[string]string // dataset by agent
	memory Memory
	now    time.Time

	generation int64
	absent     map[string]int // complete listings in a row that lacked a dataset's object, by dataset

	changes int // of bucket, agents and watcher, each of which may cost writes
	ticks   int // passes of the hour
	falls   int // passes that began or ended a fall
	fallen  bool
}

// objectNames are few, and most of them collide, so that histories meet.
var objectNames = []string{"a.csv", "A.csv", "a_.csv", "b.csv", "dir/b.csv", "dir_b.csv", "日.csv", "c.csv", "d.csv", "e.csv", "notes.txt"}

func (h *history) listing() []Object { return slices.Collect(maps.Values(h.bucket)) }

func (h *history) upload(t *rapid.T) {
	h.generation++
	name := rapid.SampledFrom(objectNames).Draw(t, "object")
	h.bucket[name] = Object{Name: name, Size: rapid.SampledFrom([]int64{0, 1, 5000}).Draw(t, "size"), Generation: h.generation, CRC32C: uint32(h.generation)}
	h.changes++
}

func (h *history) remove(t *rapid.T) {
	delete(h.bucket, rapid.SampledFrom(objectNames).Draw(t, "object"))
	h.changes++
}

func (h *history) rename(t *rapid.T) {
	from, to := rapid.SampledFrom(objectNames).Draw(t, "from"), rapid.SampledFrom(objectNames).Draw(t, "to")
	if o, ok := h.bucket[from]; ok && from != to {
		h.generation++
		delete(h.bucket, from)
		o.Name, o.Generation = to, h.generation
		h.bucket[to] = o
		h.changes += 2
	}
}

func (h *history) empty(*rapid.T) {
	h.changes += len(h.bucket)
	clear(h.bucket)
}

func (h *history) order(t *rapid.T) {
	if len(h.datasets) > 0 {
		h.agents[rapid.SampledFrom([]string{"x", "y"}).Draw(t, "agent")] = rapid.SampledFrom(sortedKeys(h.datasets)).Draw(t, "dataset")
		h.changes++
	}
}

func (h *history) letGo(t *rapid.T) {
	delete(h.agents, rapid.SampledFrom([]string{"x", "y"}).Draw(t, "agent"))
	h.changes++
}

func (h *history) restart(*rapid.T) { h.memory = Memory{}; h.changes++ }

func (h *history) clock(t *rapid.T) {
	h.now = h.now.Add(time.Duration(rapid.IntRange(-40, 90).Draw(t, "minutes")) * time.Minute)
	h.ticks++
}

func (h *history) usage() Usage {
	u := Usage{Known: true, Agents: map[string][]string{}}
	for agent, d := range h.agents {
		u.Agents[d] = append(u.Agents[d], agent)
	}
	return u
}

// look runs one pass that may fail to read, fail to list the agents, and crash.
func (h *history) look(t *rapid.T) {
	usage := h.usage()
	if rapid.IntRange(0, 3).Draw(t, "agents hidden") == 0 {
		usage = Usage{}
		h.changes++
	}
	reads := map[string]Read{}
	for _, o := range Unread(settings, h.listing(), h.list()) {
		switch rapid.IntRange(0, 3).Draw(t, "read") {
		case 0:
			reads[o.Name] = Read{Problem: "unavailable"}
			h.changes++
		case 1:
			reads[o.Name] = Read{Verdict: Verdict{v1alpha1.ReasonMarkup, "web page"}}
		default:
			reads[o.Name] = Read{Verdict: goodVerdict}
		}
	}
	crash := -1
	if rapid.IntRange(0, 4).Draw(t, "crash") == 0 {
		crash = rapid.IntRange(0, 12).Draw(t, "writes before the crash")
	}
	h.pass(t, usage, reads, 0, crash)
}

func (h *history) pass(t *rapid.T, usage Usage, reads map[string]Read, accept, crash int) {
	before := maps.Clone(h.datasets)
	for name, d := range before {
		object, _ := newRegister(settings, nil, nil).objectOf(d)
		if _, listed := h.bucket[object]; listed {
			h.absent[name] = 0
		} else {
			h.absent[name]++
		}
	}
	p := Make(settings, h.memory, World{Objects: h.listing(), Datasets: h.list(), Reads: reads, Usage: usage, AcceptFall: accept}, h.now)
	if again := Make(settings, h.memory, World{Objects: h.listing(), Datasets: h.list(), Reads: reads, Usage: usage, AcceptFall: accept}, h.now); len(again.Updates) != len(p.Updates) || len(again.Creates) != len(p.Creates) || len(again.Removes) != len(p.Removes) {
		t.Fatalf("the same world gave two plans:\n%+v\n%+v", p, again)
	}
	if (p.Fall != nil) != h.fallen {
		h.fallen = !h.fallen
		h.falls++
	}
	finished := h.carryOut(p, crash)
	if finished {
		h.memory = p.Memory
	} else {
		h.memory = Memory{}
		h.changes++
	}
	using := map[string]bool{}
	for _, d := range h.agents {
		using[d] = true
	}
	for name, d := range before {
		if _, kept := h.datasets[name]; kept {
			continue
		}
		object, _ := newRegister(settings, nil, nil).objectOf(d)
		_, listed := h.bucket[object]
		switch {
		case listed:
			t.Fatalf("%s was removed although %s is in the bucket", name, object)
		case using[name]:
			t.Fatalf("%s was removed although an agent uses it", name)
		case h.absent[name] < settings.RemoveAfter:
			t.Fatalf("%s was removed after %d listings without its object", name, h.absent[name])
		case p.Fall != nil:
			t.Fatalf("%s was removed during a fall", name)
		case !usage.Known:
			t.Fatalf("%s was removed while nobody could say who uses it", name)
		}
		delete(h.absent, name)
	}
	paths := map[string]string{}
	for _, name := range sortedKeys(h.datasets) {
		d := h.datasets[name]
		if other, twice := paths[d.Spec.GCSPath]; twice {
			t.Fatalf("%s and %s record the same object", name, other)
		}
		paths[d.Spec.GCSPath] = name
		if d.Status.Ready && d.Spec.SizeBytes == 0 {
			t.Fatalf("%s is empty and ready", name)
		}
		object, _ := newRegister(settings, nil, nil).objectOf(d)
		if _, listed := h.bucket[object]; listed && finished {
			if age := h.now.Sub(d.Status.LastSeen.Time); age < -time.Hour || age >= time.Hour {
				t.Fatalf("%s was last seen at %s, it is %s", name, d.Status.LastSeen, h.now)
			}
		}
	}
}

func TestHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{
			cluster: &cluster{datasets: map[string]v1alpha1.XDataset{}},
			bucket:  map[string]Object{}, agents: map[string]string{}, absent: map[string]int{},
			now: noon,
		}
		t.Repeat(map[string]func(*rapid.T){
			"upload": h.upload, "upload another": h.upload, "remove": h.remove, "rename": h.rename, "empty the bucket": h.empty,
			"order": h.order, "let go": h.letGo, "restart": h.restart, "clock": h.clock,
			"look": h.look, "look again": h.look, "look once more": h.look,
		})

		// However it went: left alone, with what is missing accepted, the registry
		// shows the bucket.
		settled := func() Plan {
			u := h.usage()
			h.pass(t, u, readAll(h.listing()), len(objectNames), -1)
			return Make(settings, h.memory, World{Objects: h.listing(), Datasets: h.list(), Reads: readAll(h.listing()), Usage: u, AcceptFall: len(objectNames)}, h.now)
		}
		for range settings.RemoveAfter + 2 {
			settled()
		}
		if p := settled(); len(p.Updates)+len(p.Creates)+len(p.Removes) > 0 {
			t.Fatalf("a world at rest is written to: %+v", p)
		}
		shown := map[string]bool{}
		for name, d := range h.datasets {
			object, _ := newRegister(settings, nil, nil).objectOf(d)
			o, listed := h.bucket[object]
			if !listed {
				if h.say(name)[:len("ready=false Ready=False/ObjectMissing")] != "ready=false Ready=False/ObjectMissing" || !slices.Contains(slices.Collect(maps.Values(h.agents)), name) {
					t.Fatalf("%s has no object and no agent: %s", name, h.say(name))
				}
				continue
			}
			shown[object] = true
			if d.Spec.SizeBytes != o.Size || d.Status.SizeHuman != sizeHuman(o.Size) || d.Status.Generation != itoa(o.Generation) || d.Status.Ready && o.Size == 0 {
				t.Fatalf("%s does not show its object %+v: %+v", name, o, d)
			}
		}
		for object := range h.bucket {
			if isDataset(object) != shown[object] {
				t.Fatalf("%s: in the registry %t, want %t", object, shown[object], isDataset(object))
			}
		}
		// A change costs at most the record's two writes, its removal, and a status
		// for each of the few objects that want the same name; an hour and a fall
		// cost one status each for every dataset.
		if most := 8*h.changes + (h.ticks+h.falls+2)*(len(objectNames)+len(h.agents)); h.writes > most {
			t.Fatalf("%d changes, %d ticks and %d falls cost %d writes, more than %d", h.changes, h.ticks, h.falls, h.writes, most)
		}
	})
}
