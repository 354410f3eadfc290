package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// ours begins the names of all identities that the suite and what runs it have.
const ours = "system:serviceaccount:" + controlplane.Namespace + ":"

// A pair is what a role grants and a request needs: a verb, and a resource with
// its group.
type pair struct{ verb, resource string }

func (p pair) String() string { return p.verb + " " + p.resource }

func resource(group, name, sub string) string {
	if sub != "" {
		name += "/" + sub
	}
	if group != "" {
		name += "." + group
	}
	return name
}

// now is the end of the audit log, which is written before a request is answered.
func (w *world) now(t *testing.T) int64 {
	t.Helper()
	f, err := os.Stat(w.AuditLog)
	if err != nil {
		t.Fatal(err)
	}
	return f.Size()
}

// requests calls f for each answered request of the suite's own identities from a
// point in the audit log on. The identity comes without the hash that Crossplane appends to a provider's.
func (w *world) requests(t *testing.T, from int64, f func(who string, q suite.Request)) {
	t.Helper()
	if _, err := suite.ReadAudit(w.AuditLog, from, func(q suite.Request) {
		answered := "ResponseComplete"
		if q.Verb == "watch" {
			answered = "ResponseStarted" // it is complete when it ends, minutes later
		}
		if who, is := strings.CutPrefix(q.User.Username, ours); is && q.Stage == answered {
			if strings.HasPrefix(who, "provider-gcp-") {
				who = who[:strings.LastIndexByte(who, '-')]
			}
			f(who, q)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// A tally counts requests by who did what.
type tally map[string]int

func (n tally) String() string {
	var b strings.Builder
	for _, k := range slices.SortedFunc(maps.Keys(n), func(a, b string) int { return cmp.Or(n[b]-n[a], strings.Compare(a, b)) }) {
		fmt.Fprintf(&b, "\n%6d  %s", n[k], k)
	}
	if len(n) == 0 {
		return " none"
	}
	return b.String()
}

// writes counts the requests that could write about one agent from a point in the audit log on.
func (w *world) writes(t *testing.T, agent string, from int64) tally {
	t.Helper()
	n := tally{}
	w.requests(t, from, func(who string, q suite.Request) {
		if slices.Contains([]string{"get", "list", "watch"}, q.Verb) || !strings.Contains(q.Object.Namespace+"/"+q.Object.Name, agent) {
			return
		}
		n[fmt.Sprintf("%s: %s %s %s", who, q.Verb, resource(q.Object.APIGroup, q.Object.Resource, q.Object.Subresource), strings.Trim(q.Object.Namespace+"/"+q.Object.Name, "/"))]++
	})
	return n
}

// reconciles counts, in Crossplane's own log, how often it has looked at an XR.
func (w *world) reconciles(t *testing.T, controller, agent string) int {
	t.Helper()
	f, err := os.Open(w.Process("crossplane").LogFile())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // a reader
	n := 0
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<22)
	for lines.Scan() {
		if l := lines.Bytes(); bytes.Contains(l, []byte("\tReconciling\t")) && bytes.Contains(l, []byte(controller)) && bytes.Contains(l, []byte(`"name":"`+agent+`"`)) {
			n++
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}

// span is how long Quiet and Spending watch: E2E_QUIET, a minute if it is empty.
func span(t *testing.T) time.Duration {
	t.Helper()
	s := cmp.Or(os.Getenv("E2E_QUIET"), "1m")
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("E2E_QUIET: %v", err)
	}
	return d
}

// versions returns the resource version of everything that an agent consists of.
// It moves when something was written. A server-side apply that changes nothing is
// a request, and in the audit log, but no write.
func (w *world) versions(t *testing.T, agent string) map[ref]string {
	t.Helper()
	ns := "agent-" + agent
	all := append(w.refs(t, agent),
		ref{suite.API, "XDatasetAgent", "", agent}, ref{"v1", "Namespace", "", ns},
		ref{"kubernetes.m.crossplane.io/v1alpha1", "Object", ns, ns + "-planner-replicas"}, ref{"kubernetes.m.crossplane.io/v1alpha1", "Object", ns, ns + "-worker-replicas"},
		ref{"apps/v1", "Deployment", ns, "planner"}, ref{"apps/v1", "Deployment", ns, "worker"}, ref{"apps/v1", "Deployment", ns, "sandbox"})
	versions := map[ref]string{}
	for _, r := range all {
		o, err := w.Get(t.Context(), r.apiVersion, r.kind, r.namespace, r.name)
		if err != nil {
			t.Fatal(err)
		}
		versions[r] = o.GetResourceVersion()
	}
	return versions
}

// moved lists what has another version now.
func moved(before, after map[ref]string) []string {
	var list []string
	for r, v := range before {
		if after[r] != v {
			list = append(list, r.String())
		}
	}
	slices.Sort(list)
	return list
}

// betweenLooks is longer than it takes to the next look at an order whose events are dropped.
const betweenLooks = 35 * time.Second

// settled waits until nothing was written about an agent for a while. A look that comes
// between the two writes of a budget's status leaves the second one for the next.
func (w *world) settled(t *testing.T, agent string) {
	t.Helper()
	var left []string
	for range 12 {
		before := w.versions(t, agent)
		w.over(t, agent, betweenLooks, nil)
		if left = moved(before, w.versions(t, agent)); len(left) == 0 {
			return
		}
	}
	t.Fatalf("%s does not settle; what still moves: %v", agent, left)
}

// changes counts the writes of one object from now on, and calls each with what was
// written. The function it returns ends that and says how many there were.
func (w *world) changes(t *testing.T, kind, namespace, name string, each ...func(*unstructured.Unstructured)) func() int {
	t.Helper()
	r, err := w.Resource(suite.API, kind, namespace)
	if err != nil {
		t.Fatal(err)
	}
	events, err := r.Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	count := make(chan int)
	go func() {
		n := 0
		for e := range events.ResultChan() {
			if e.Type != watch.Modified {
				continue
			}
			n++
			for _, f := range each {
				f(e.Object.(*unstructured.Unstructured))
			}
		}
		count <- n
	}()
	return func() int {
		events.Stop()
		return <-count
	}
}

// told logs what each write of an object changed, for changes to call.
func (w *world) told(t *testing.T, kind, namespace, name string) func(*unstructured.Unstructured) {
	t.Helper()
	last, err := w.Get(t.Context(), suite.API, kind, namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *unstructured.Unstructured) {
		t.Logf("%s %s was written (-before +after):\n%s", kind, name, gocmp.Diff(last.Object, o.Object))
		last = o
	}
}

// over lets a span pass, calls each every second of it, and returns the
// requests that could write about an agent meanwhile.
func (w *world) over(t *testing.T, agent string, d time.Duration, each func()) tally {
	t.Helper()
	from, began := w.now(t), time.Now()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for time.Since(began) < d {
		if each != nil {
			each()
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-tick.C:
		}
	}
	return w.writes(t, agent, from)
}

// Of an agent that is Ready and idle nothing is written, but for the budget's
// heartbeat once an hour, which may fall into the span and reaches the order.
func quiet(t *testing.T, w *world) {
	const agent = "quiet-bot"
	ns := w.agent(t, agent)
	w.Meter.Spend(agent, suite.Model, suite.Input, million)
	w.seeOrder(t, heard, "1.25 USD in the order", agent, field(1.25, "status", "budget", "spentUsd"))
	w.settled(t, agent)
	d := span(t)
	before, budgets, orders := w.versions(t, agent), w.reconciles(t, "xagentbudgets", agent), w.reconciles(t, "xdatasetagents", agent)
	xabWrites := w.changes(t, "XAgentBudget", ns, agent, w.told(t, "XAgentBudget", ns, agent))
	xdaWrites := w.changes(t, "XDatasetAgent", "", agent, w.told(t, "XDatasetAgent", "", agent))
	n := w.over(t, agent, d, nil)
	xab, xda, left := xabWrites(), xdaWrites(), moved(before, w.versions(t, agent))
	t.Logf("an idle agent, over %s: %d reconciles of its budget, %d of its order; %d writes of the budget, %d of the order; requests that could write:%s",
		d, w.reconciles(t, "xagentbudgets", agent)-budgets, w.reconciles(t, "xdatasetagents", agent)-orders, xab, xda, n)
	if beats := int(d.Hours()) + 1; xab > beats || xda > beats {
		t.Errorf("want no write but a heartbeat an hour, got %d of the budget and %d of the order", xab, xda)
	}
	for _, o := range left {
		if !strings.HasPrefix(o, "XAgentBudget ") && !strings.HasPrefix(o, "XDatasetAgent ") {
			t.Errorf("want no write but a heartbeat an hour, but %s was written", o)
		}
	}
}

// An agent that spends costs its budget at most one status write per look, and the
// order that composes the budget one more, because it repeats the figures.
func spending(t *testing.T, w *world) {
	const agent = "spending-bot"
	ns := w.agent(t, agent)
	w.settled(t, agent)
	d := span(t)
	budgets, orders := w.reconciles(t, "xagentbudgets", agent), w.reconciles(t, "xdatasetagents", agent)
	xabWrites, xdaWrites := w.changes(t, "XAgentBudget", ns, agent), w.changes(t, "XDatasetAgent", "", agent)
	before := w.versions(t, agent)
	n := w.over(t, agent, d, func() { w.Meter.Spend(agent, suite.Model, suite.Input, 2000) })
	xab, xda := xabWrites(), xdaWrites()
	budgets, orders = w.reconciles(t, "xagentbudgets", agent)-budgets, w.reconciles(t, "xdatasetagents", agent)-orders
	t.Logf("a spending agent, over %s: %d reconciles of its budget, %d of its order; %d writes of the budget, %d of the order; requests that could write:%s", d, budgets, orders, xab, xda, n)
	if xab == 0 || xda == 0 {
		t.Error("want an agent that spends to be seen")
	}
	if xab > budgets || xda > xab+1 {
		t.Errorf("want at most one write per look of the budget (%d in %d), and no more of the order (%d)", xab, budgets, xda)
	}
	for _, o := range moved(before, w.versions(t, agent)) {
		if !strings.HasPrefix(o, "XAgentBudget ") && !strings.HasPrefix(o, "XDatasetAgent ") {
			t.Errorf("want nothing else written, but %s was", o)
		}
	}
}

// explained are the verbs that an identity's requests need not show, and why it needs
// them all the same.
var explained = map[string]map[string]string{
	"crossplane": {"list": streaming},
	"provider-kubernetes": {
		"list":   streaming,
		"create": "a server-side apply is a patch, for which the API server asks for create, too, when there is nothing yet",
		"bind":   "asked for by the API server when a RoleBinding is applied",
	},
}

// lookedUp are names inside a namespace that Crossplane asks for only where the
// namespace was there before the part, which no order of these scenarios meets.
var lookedUp = []string{
	"watch ingresses.networking.k8s.io", "watch networkpolicies.networking.k8s.io", "watch rolebindings.rbac.authorization.k8s.io",
}

const streaming = "informers watch from the beginning where the API server streams lists, and list where it does not, or was killed meanwhile"

// The identities may do what their work needs and nothing else: what the install
// manifests grant is what the audit log of all scenarios holds, and nobody was
// ever refused.
func leastPrivilege(t *testing.T, w *world) {
	if _, err := w.Get(t.Context(), suite.API, "XDatasetAgent", "", "housing-bot"); err != nil {
		w.agent(t, "housing-bot")
	}
	if !w.deleted {
		deleteOrder(t, w)
	}
	objs, err := controlplane.DecodeFiles(filepath.Join(w.root, "package", "install", "rbac.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	granted := map[string]map[pair]bool{}
	for _, o := range objs {
		if o.GetKind() != "ClusterRole" {
			continue
		}
		var role rbacv1.ClusterRole
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
			t.Fatal(err)
		}
		granted[role.Name] = map[pair]bool{}
		for _, rule := range role.Rules {
			for _, g := range rule.APIGroups {
				for _, r := range rule.Resources {
					for _, v := range rule.Verbs {
						granted[role.Name][pair{v, resource(g, r, "")}] = true
					}
				}
			}
		}
	}
	type request struct {
		pair

		who string
	}
	used, verbs := map[string]map[pair]int{}, map[string]map[string]int{}
	refused := map[request]int{}
	w.requests(t, 0, func(who string, q suite.Request) {
		p := pair{q.Verb, resource(q.Object.APIGroup, q.Object.Resource, q.Object.Subresource)}
		if q.Annotations["authorization.k8s.io/decision"] == "forbid" {
			refused[request{p, who}]++
			return
		}
		if used[who] == nil {
			used[who], verbs[who] = map[pair]int{}, map[string]int{}
		}
		used[who][p]++
	})
	for r, n := range refused {
		// Whoever is allowed it at another time was refused by an API server that had
		// just started and knew no roles yet, or before the role was made.
		// An informer that may not watch yet tries to list.
		if used[r.who][r.pair] == 0 && (r.verb != "list" || used[r.who][pair{"watch", r.resource}] == 0) {
			t.Errorf("%s was refused to %s, %d times", r.who, r.pair, n)
		}
	}
	for role, who := range map[string]string{"whisperops-crossplane": "crossplane", "whisperops-provider-kubernetes": "provider-kubernetes"} {
		t.Run(role, func(t *testing.T) {
			if len(granted[role]) == 0 {
				t.Fatal("the install manifests have no such role")
			}
			shown := 0
			for p := range granted[role] {
				n := used[who][p]
				verbs[who][p.verb] += n
				if n > 0 {
					shown++
				} else if explained[who][p.verb] == "" && !(who == "crossplane" && slices.Contains(lookedUp, p.String())) {
					t.Errorf("%s may %s and never did", who, p)
				}
			}
			for v, why := range explained[who] {
				if n := verbs[who][v]; n > 0 && why != streaming {
					t.Errorf("%s did %s %d times, so this explains nothing: %s", who, v, n, why)
				}
			}
			t.Logf("%s: %d grants, %d seen in the audit log, %d explained", who, len(granted[role]), shown, len(granted[role])-shown)
		})
	}
	t.Run("whisperops-chat-frontend", func(t *testing.T) {
		as := func(args ...string) (string, error) {
			return w.Kubectl(t.Context(), append(args, "--as", "system:serviceaccount:agent-housing-bot:chat-frontend")...)
		}
		if out, err := as("get", "xagentbudgets.whisperops.io", "housing-bot", "-n", "agent-housing-bot"); err != nil {
			t.Errorf("the chat page must see its budget: %v: %s", err, out)
		}
		for _, args := range [][]string{
			{"get", "xagentbudgets.whisperops.io", "-n", "agent-housing-bot"},
			{"get", "xagentbudgets.whisperops.io", "housing-bot", "-n", "default"},
			{"get", "secrets", "-n", "agent-housing-bot"},
			{"patch", "xagentbudgets.whisperops.io", "housing-bot", "-n", "agent-housing-bot", "--type", "merge", "-p", "{}"},
		} {
			if out, err := as(args...); err == nil || !strings.Contains(err.Error(), "Forbidden") {
				t.Errorf("the chat page must not %v, got %v: %s", args, err, out)
			}
		}
	})
}
