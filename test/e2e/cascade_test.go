package e2e

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane/suite"
)

// A moment of a deletion: somebody deletes an object, or lets it go, which is the last
// write of who held it back with a finalizer.
type moment struct {
	at         time.Duration // since the first one
	kind, name string        // with its group, with its namespace
	letGo      bool
	who        string
}

func (m moment) String() string {
	what := "deleted"
	if m.letGo {
		what = "let go"
	}
	return fmt.Sprintf("%6.3f s: %s %s %s by %s", m.at.Seconds(), m.kind, m.name, what, m.who)
}

// cascade is what happened to the objects of an agent that goes, from a point in the audit
// log on, one after the other.
func (w *world) cascade(t *testing.T, agent string, from int64) []moment {
	t.Helper()
	type event struct {
		moment

		when time.Time
	}
	deleted, let := map[string]event{}, map[string]event{}
	if _, err := suite.ReadAudit(w.AuditLog, from, func(q suite.Request) {
		m := moment{kind: resource(q.Object.APIGroup, q.Object.Resource, ""), name: strings.Trim(q.Object.Namespace+"/"+q.Object.Name, "/")}
		if q.Stage != "ResponseComplete" || q.Response.Code > 299 || q.Object.Name == "" || !strings.Contains(m.name, agent) || q.Object.Resource == "events" {
			return
		}
		m.who = q.User.Username[strings.LastIndexByte(q.User.Username, ':')+1:]
		id := m.kind + " " + m.name
		switch _, going := deleted[id]; {
		case q.Verb == "delete" && !going:
			deleted[id] = event{m, q.At}
		case going && q.Object.Subresource == "" && (q.Verb == "update" || q.Verb == "patch"):
			m.letGo = true
			let[id] = event{m, q.At}
		}
	}); err != nil {
		t.Fatal(err)
	}
	var all []event
	for _, of := range []map[string]event{deleted, let} {
		for _, e := range of {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(a, b event) int {
		return cmp.Or(a.when.Compare(b.when), strings.Compare(a.kind+a.name, b.kind+b.name))
	})
	moments := make([]moment, len(all))
	for i, e := range all {
		moments[i] = e.moment
		moments[i].at = e.when.Sub(all[0].when)
	}
	return moments
}

// A platform that wants it so keeps an agent's account until its grants are gone: of one
// that goes first Google keeps the grants for ever.
func grantsFirst(t *testing.T, w *world) {
	const agent, composition = "leaving-bot", "grants-first"
	w.copied(t, "xdatasetagent-default", "render-iam", composition, map[string]any{
		"input": map[string]any{"apiVersion": "fn.whisperops.io/v1alpha1", "kind": "RenderIAMInput", "deletionOrder": "GrantsFirst"},
	})
	w.apply(t, suite.NewDataset(housing, datasets))
	o := suite.NewOrder(agent, housing, 5)
	if err := unstructured.SetNestedField(o.Object, composition, "spec", "crossplane", "compositionRef", "name"); err != nil {
		t.Fatal(err)
	}
	w.apply(t, o)
	w.ready(t, agent)
	if n := len(w.refs(t, agent)); n != 24 {
		t.Fatalf("want 22 parts and two usages, got %d: %v", n, w.refs(t, agent))
	}
	from := w.now(t)
	began := time.Now()
	w.delete(t, suite.API, "XDatasetAgent", "", agent)
	for _, r := range []ref{
		{"cloudplatform.gcp.upbound.io/v1beta1", "ServiceAccount", "", "agent-" + agent + "-sa"},
		{"protection.crossplane.io/v1beta1", "ClusterUsage", "", "agent-" + agent + "-iam-datasets-viewer-usage"},
		{"protection.crossplane.io/v1beta1", "ClusterUsage", "", "agent-" + agent + "-iam-bucket-admin-usage"},
		{"v1", "Namespace", "", "agent-" + agent},
	} {
		w.gone(t, 3*time.Minute, r.apiVersion, r.kind, r.namespace, r.name)
	}
	t.Logf("everything gone after %s", time.Since(began).Round(100*time.Millisecond))
	left, account := 2, false
	for _, m := range w.cascade(t, agent, from) {
		t.Log(m)
		switch {
		case !m.letGo:
		case strings.HasSuffix(m.name, "-iam-datasets-viewer"), strings.HasSuffix(m.name, "-iam-bucket-admin"):
			left--
		case m.kind == "serviceaccounts.cloudplatform.gcp.upbound.io":
			account = true
			if left > 0 {
				t.Errorf("want the account to stay until its grants are gone, %d were there", left)
			}
		}
	}
	if left > 0 || !account {
		t.Errorf("want both grants and the account to be let go, %d grants were not; the account: %t", left, account)
	}
}
