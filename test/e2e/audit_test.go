package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"whisperops.io/functions/test/controlplane"
	"whisperops.io/functions/test/controlplane/suite"
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

// requests calls f for each finished request of the suite's own identities. The
// identity comes without the hash that Crossplane appends to a provider's.
func (w *world) requests(t *testing.T, f func(who string, q suite.Request)) {
	t.Helper()
	if _, err := suite.ReadAudit(w.AuditLog, 0, func(q suite.Request) {
		if who, is := strings.CutPrefix(q.User.Username, ours); is && q.Stage == "ResponseComplete" {
			if strings.HasPrefix(who, "provider-gcp-") {
				who = who[:strings.LastIndexByte(who, '-')]
			}
			f(who, q)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// A tally counts writes by who wrote what.
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

func (n tally) total() int {
	all := 0
	for _, v := range n {
		all += v
	}
	return all
}

// of counts the writes to a resource.
func (n tally) of(resource string) int {
	all := 0
	for k, v := range n {
		if strings.Contains(k, " "+resource+" ") {
			all += v
		}
	}
	return all
}

// writes counts what was written since then about one agent.
func (w *world) writes(t *testing.T, agent string, since time.Time) tally {
	t.Helper()
	n := tally{}
	w.requests(t, func(who string, q suite.Request) {
		if q.At.Before(since) || slices.Contains([]string{"get", "list", "watch"}, q.Verb) || !strings.Contains(q.Object.Namespace+"/"+q.Object.Name, agent) {
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

// settled waits until nothing was written about an agent for a while.
func (w *world) settled(t *testing.T, agent string) {
	t.Helper()
	const calm = 15 * time.Second
	if err := controlplane.Eventually(t.Context(), 3*time.Minute, agent+" to settle", func(context.Context) error {
		if n := w.writes(t, agent, time.Now().Add(-calm)); n.total() > 0 {
			return fmt.Errorf("in the last %s there were writes:%s", calm, n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// over waits for a span to pass and returns what was written in it.
func (w *world) over(t *testing.T, agent string, d time.Duration, each func()) tally {
	t.Helper()
	began := time.Now()
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
	return w.writes(t, agent, began)
}

// An agent that is Ready and idle writes nothing, but for the budget's heartbeat
// once an hour, which may fall into the span.
func quiet(t *testing.T, w *world) {
	const agent = "quiet-bot"
	w.agent(t, agent)
	w.Meter.Spend(agent, suite.Model, suite.Input, million)
	w.seeOrder(t, time.Minute, "1.25 USD in the order", agent, field(1.25, "status", "budget", "spentUsd"))
	w.settled(t, agent)
	d := span(t)
	looks := w.reconciles(t, "xagentbudgets", agent)
	n := w.over(t, agent, d, nil)
	t.Logf("an idle agent, over %s: %d looks at its budget; writes:%s", d, w.reconciles(t, "xagentbudgets", agent)-looks, n)
	if beats := int(d.Hours()) + 1; n.of("xagentbudgets.whisperops.io") > beats || n.total() > 2*beats {
		t.Errorf("want no write but a heartbeat an hour, got:%s", n)
	}
}

// An agent that spends costs its budget one status write per look, and the order
// that composes the budget one more, because it repeats the figures.
func spending(t *testing.T, w *world) {
	const agent = "spending-bot"
	w.agent(t, agent)
	w.setBudget(t, agent, 10000)
	w.settled(t, agent)
	d := span(t)
	budgets, orders := w.reconciles(t, "xagentbudgets", agent), w.reconciles(t, "xdatasetagents", agent)
	n := w.over(t, agent, d, func() { w.Meter.Spend(agent, suite.Model, suite.Input, 2000) })
	budgets, orders = w.reconciles(t, "xagentbudgets", agent)-budgets, w.reconciles(t, "xdatasetagents", agent)-orders
	xab, xda := n.of("xagentbudgets/status.whisperops.io"), n.of("xdatasetagents/status.whisperops.io")
	t.Logf("a spending agent, over %s: %d reconciles of its budget, %d of its order; %d status writes of the budget, %d of the order; all writes:%s", d, budgets, orders, xab, xda, n)
	if xab == 0 || xda == 0 {
		t.Error("want an agent that spends to be seen")
	}
	if xab > budgets || xda > xab+1 {
		t.Errorf("want one status write per look of the budget (%d in %d), and no more of the order (%d)", xab, budgets, xda)
	}
	if other := n.total() - xab - xda; other > 0 {
		t.Errorf("want nothing else written, got %d more", other)
	}
}

// explained are grants that no request shows, and why they are needed all the same.
var explained = map[string]map[pair]string{}

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
	used := map[string]map[pair]int{}
	refused := tally{}
	w.requests(t, func(who string, q suite.Request) {
		p := pair{q.Verb, resource(q.Object.APIGroup, q.Object.Resource, q.Object.Subresource)}
		if q.Annotations["authorization.k8s.io/decision"] == "forbid" {
			refused[fmt.Sprintf("%s: %s %s", who, p, strings.Trim(q.Object.Namespace+"/"+q.Object.Name, "/"))]++
			return
		}
		if used[who] == nil {
			used[who] = map[pair]int{}
		}
		used[who][p]++
	})
	if refused.total() > 0 {
		t.Errorf("want nobody refused, but:%s", refused)
	}
	for role, who := range map[string]string{"whisperops-crossplane": "crossplane", "whisperops-provider-kubernetes": "provider-kubernetes"} {
		t.Run(role, func(t *testing.T) {
			if len(granted[role]) == 0 {
				t.Fatal("the install manifests have no such role")
			}
			shown := 0
			for p := range granted[role] {
				_, why := explained[role][p]
				switch n := used[who][p]; {
				case n == 0 && !why:
					t.Errorf("%s may %s and never did", who, p)
				case n > 0 && why:
					t.Errorf("%s did %s %d times: it needs no explanation", who, p, n)
				case n > 0:
					shown++
				}
			}
			for p := range explained[role] {
				if !granted[role][p] {
					t.Errorf("%s is explained but not granted", p)
				}
			}
			t.Logf("%s: %d grants, %d seen in the audit log, %d explained", who, len(granted[role]), shown, len(explained[role]))
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
