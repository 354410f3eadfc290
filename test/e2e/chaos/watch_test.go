package chaos

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"whisperops.io/functions/hack/controlplane/suite"
)

func thing(kind, namespace, name, uid, owner string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": kind}}
	o.SetNamespace(namespace)
	o.SetName(name)
	o.SetUID(types.UID(uid))
	if owner != "" {
		yes := true
		o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: suite.API, Kind: "XDatasetAgent", Name: "bot", UID: types.UID(owner), Controller: &yes}})
	}
	return o
}

func TestRecorderMissedDeletion(t *testing.T) {
	r := newRecorder(suite.NewMeter())
	old := thing("Bucket", "", "b", "1", "order")
	r.see(old)
	update(old, old, r.see, r.gone)
	if len(PartsKept(r.history)) > 0 {
		t.Error("want no violation of an object that changed")
	}
	update(old, thing("Bucket", "", "b", "2", "order"), r.see, r.gone)
	if len(PartsKept(r.history)) != 1 {
		t.Error("want a violation of one that was made anew")
	}
}

// The next order of a name takes over what is left of the last one: what is deleted
// before that went with the last one, what is deleted after it was the next one's.
func TestRecorderTakenOverWhileDeleted(t *testing.T) {
	now := metav1.Now()
	dying := func(o *unstructured.Unstructured) *unstructured.Unstructured {
		o.SetDeletionTimestamp(&now)
		return o
	}
	for name, tc := range map[string]struct {
		reason string
		seen   []*unstructured.Unstructured
		want   int
	}{
		"Dying":    {"It was the last order's when its deletion began.", []*unstructured.Unstructured{thing("Object", "", "o", "1", "last"), dying(thing("Object", "", "o", "1", "last")), dying(thing("Object", "", "o", "1", "next"))}, 0},
		"AtOnce":   {"Both were seen in one event: it was the last order's when last seen alive.", []*unstructured.Unstructured{thing("Object", "", "o", "1", "last"), dying(thing("Object", "", "o", "1", "next"))}, 0},
		"Alive":    {"The next order had it, and lost it.", []*unstructured.Unstructured{thing("Object", "", "o", "1", "last"), thing("Object", "", "o", "1", "next"), dying(thing("Object", "", "o", "1", "next"))}, 1},
		"NeverOld": {"Only the next order was ever its owner.", []*unstructured.Unstructured{dying(thing("Object", "", "o", "1", "next"))}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(suite.NewMeter())
			r.byHand("last")
			for _, o := range tc.seen {
				r.see(o)
			}
			if vs := PartsKept(r.history); len(vs) != tc.want {
				t.Errorf("%s\nwant %d violations, got %q", tc.reason, tc.want, vs)
			}
		})
	}
}

func deployment(n int64, manager string) *unstructured.Unstructured {
	o := thing("Deployment", "agent-bot", "planner", "d", "")
	o.Object["spec"] = map[string]any{"replicas": n}
	o.Object["status"] = map[string]any{"availableReplicas": n}
	at := metav1.NewTime(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC))
	later := metav1.NewTime(at.Add(time.Minute))
	fields := func(f string) *metav1.FieldsV1 { return &metav1.FieldsV1{Raw: []byte(f)} }
	o.SetManagedFields([]metav1.ManagedFieldsEntry{
		{Manager: manager, Time: &at, FieldsV1: fields(`{"f:spec":{"f:replicas":{}}}`)},
		{Manager: "cluster", Subresource: "status", Time: &later, FieldsV1: fields(`{"f:status":{"f:replicas":{}}}`)},
	})
	return o
}

// A part's life is told by its uid, whatever is there under its name.
func TestRecorderLives(t *testing.T) {
	r := newRecorder(suite.NewMeter())
	old, young := thing("Bucket", "", "b", "1", "order"), thing("Bucket", "", "b", "2", "order")
	r.see(old)
	r.see(old) // as it changes
	now := metav1.Now()
	marked := old.DeepCopy()
	marked.SetDeletionTimestamp(&now)
	r.see(marked)
	doomed := r.history.Lives[0].Doomed
	r.gone(marked)
	r.see(young)
	h := r.history
	if len(h.Lives) != 2 || h.Lives[0].Doomed.IsZero() || h.Lives[0].Doomed != doomed || !h.Lives[1].Doomed.IsZero() || h.Lives[1].Owner != "order" {
		t.Errorf("want a first life that ended when it was marked, and a second, got %+v", h.Lives)
	}
	if len(PartsKept(h)) != 1 {
		t.Error("want the first life's end to be a violation")
	}
	r.byHand("1")
	if vs := PartsKept(r.history); len(vs) > 0 {
		t.Errorf("want none if it was deleted by hand, got %q", vs)
	}
}

func TestRecorderScales(t *testing.T) {
	r := newRecorder(suite.NewMeter())
	r.scaled(deployment(1, "kagent-controller"))
	r.scaled(deployment(1, "kagent-controller"))
	r.scaled(deployment(0, "provider-kubernetes/agent-bot-planner-replicas"))
	r.scaled(deployment(1, "controlplane"))
	r.unscaled(deployment(1, "controlplane"))
	r.scaled(deployment(1, "controlplane"))
	r.scaled(thing("Deployment", "agent-bot", "sandbox", "s", ""))
	r.scaled(thing("Deployment", "crossplane-system", "planner", "p", ""))
	var got []Scale
	for _, s := range r.history.Scales {
		s.At = time.Time{}
		got = append(got, s)
	}
	want := []Scale{
		{Agent: "bot", Deployment: "planner", Replicas: 1},
		{Agent: "bot", Deployment: "planner", Replicas: 0, Ours: true},
		{Agent: "bot", Deployment: "planner", Replicas: 1},
		{Agent: "bot", Deployment: "planner", Replicas: 1},
	}
	if len(got) != len(want) {
		t.Fatalf("want %+v, got %+v", want, got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("want %+v, got %+v", want[i], got[i])
		}
	}
}

// An agent works while its planner runs and its order has a budget, and owes
// nothing for an earlier order of its name.
func TestRecorderMoney(t *testing.T) {
	r := newRecorder(suite.NewMeter())
	runs, stands := deployment(1, "kagent-controller"), deployment(0, "kagent-controller")
	work := func() bool { return r.work("bot", 400, 50) }
	r.ordered("bot", "order", 5)
	r.scaled(runs)
	if work() {
		t.Error("want no work without a budget: nobody would count it")
	}
	r.see(thing("XAgentBudget", "agent-bot", "bot", "budget", "order"))
	for range 2 {
		if !work() {
			t.Error("want work")
		}
	}
	r.scaled(stands)
	if work() {
		t.Error("want no work of an agent at 0")
	}
	if m := r.orders()["bot"]; m.Spent != inPicos(0.002) || m.Cap != inPicos(5) || !m.Enforced {
		t.Errorf("want 0.002 of 5 USD spent, got %+v", m)
	}
	r.scaled(runs)
	r.changed("bot", func(m *Money) { m.Enforced = false })
	r.see(thing("XAgentBudget", "agent-bot", "bot", "next", "order"))
	if m := r.orders()["bot"]; !m.Enforced || m.Spent != inPicos(0.002) {
		t.Errorf("want a budget that is made anew to enforce, and to forget nothing, got %+v", m)
	}
	r.byHand("order")
	if work() || len(r.orders()) > 0 {
		t.Error("want no work for an order that is deleted")
	}
	r.see(thing("XAgentBudget", "agent-bot", "bot", "third", "again")) // quicker than who orders
	r.ordered("bot", "again", 1)
	if !work() {
		t.Error("want work for the next order")
	}
	if m := r.orders()["bot"]; m.Spent != inPicos(0.001) || m.Cap != inPicos(1) {
		t.Errorf("want 0.001 of 1 USD spent, got %+v", m)
	}
	news := 0
	for _, m := range r.history.Money {
		if m.New {
			news++
		}
	}
	if news != 2 {
		t.Errorf("want two accounts to begin, got %d", news)
	}
}

// A budget that outlives its order, because the next one took it over before
// Kubernetes deleted it, is opened anew: nobody pays for an earlier order of his name.
func TestRecorderTakenOver(t *testing.T) {
	for name, quick := range map[string]bool{"BeforeItIsKnownWhoOrdered": true, "AfterThat": false} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(suite.NewMeter())
			r.ordered("bot", "order", 5)
			r.scaled(deployment(1, "kagent-controller"))
			r.see(thing("XAgentBudget", "agent-bot", "bot", "budget", "order"))
			r.work("bot", 400, 50)
			r.changed("bot", func(m *Money) { m.Enforced = false })
			r.byHand("order")
			if quick {
				r.see(thing("XAgentBudget", "agent-bot", "bot", "budget", "again"))
				r.ordered("bot", "again", 1)
			} else {
				r.ordered("bot", "again", 1)
				r.see(thing("XAgentBudget", "agent-bot", "bot", "budget", "again"))
			}
			if !r.work("bot", 400, 50) {
				t.Error("want work for the next order")
			}
			if m := r.orders()["bot"]; m.Spent != inPicos(0.001) || m.Cap != inPicos(1) || m.Enforced {
				t.Errorf("want 0.001 of 1 USD spent, and monitor-only as it was, got %+v", m)
			}
		})
	}
}

// The audit log is read on from where it was read before, also over the half of a
// line that a killed API server left.
func TestRecorderDeletes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	event := func(stage, user, name string) string {
		return `{"kind":"Event","stage":"` + stage + `","verb":"delete","user":{"username":"` + user + `"},"objectRef":{"resource":"buckets","name":"` + name +
			`","apiGroup":"storage.gcp.upbound.io"},"requestReceivedTimestamp":"2026-11-23T12:00:00.000000Z"}`
	}
	write := func(text string) {
		t.Helper()
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r := newRecorder(suite.NewMeter())
	see := func(want ...string) {
		t.Helper()
		h, err := r.copy(file)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range h.Deletes {
			got = append(got, d.User+" "+d.Subject)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want, +got:\n%s", diff)
		}
	}
	see()
	write(event("RequestReceived", "admin", "a") + "\n" + event("ResponseComplete", "admin", "a") + "\n" + `{"kind":"Event","stage":"Requ`)
	see("admin a")
	write(event("RequestReceived", core, "b") + "\n")
	see("admin a", core+" b")
	if vs := NothingLeftOut(r.history); len(vs) != 1 {
		t.Errorf("want one violation, got %q", vs)
	}
}
