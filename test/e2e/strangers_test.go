package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// A stranger's things lie under the names that three orders need: in a namespace with
// all that is in it, as a dashboard, as a record of a bucket.
const strangersThings = `
apiVersion: v1
kind: Namespace
metadata: {name: agent-taken-bot, labels: {team: acme, whisperops.io/agent: taken-bot}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: sandbox, namespace: agent-taken-bot, labels: {app: database}}
spec:
  replicas: 0
  selector: {matchLabels: {app: database}}
  template:
    metadata: {labels: {app: database}}
    spec: {containers: [{name: postgres, image: docker.io/library/postgres:18}]}
---
apiVersion: v1
kind: Secret
metadata: {name: gcp-credentials, namespace: agent-taken-bot}
stringData: {private_key: is-the-strangers}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: prompts, namespace: agent-taken-bot}
data: {planner.md: Whatever a stranger says}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: chat-frontend, namespace: agent-taken-bot}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}
subjects: [{kind: ServiceAccount, name: chat-frontend, namespace: agent-taken-bot}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: agent-framed-bot-dashboard, namespace: monitoring}
data: {framed.json: "{}"}
---
apiVersion: storage.gcp.upbound.io/v1beta2
kind: Bucket
metadata: {name: agent-robbed-bot-bucket, annotations: {crossplane.io/paused: "true"}}
spec: {forProvider: {location: EU, project: acme-data}}
`

// objects reads the documents of a manifest.
func objects(t *testing.T, manifest string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for doc := range strings.SplitSeq(manifest, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			all = append(all, o)
		}
	}
	return all
}

// written is all of an object that somebody wrote, and who did: everything but its
// status and what changes with that.
func written(o *unstructured.Unstructured) map[string]any {
	o = o.DeepCopy()
	fields := slices.DeleteFunc(o.GetManagedFields(), func(f metav1.ManagedFieldsEntry) bool { return f.Subresource == "status" })
	o.SetManagedFields(fields)
	o.SetResourceVersion("")
	delete(o.Object, "status")
	return o.Object
}

// strangers: what an order needs is somebody else's already. Nothing is made, nothing of
// the stranger's is touched, and nothing of it goes with the order. When the names are
// free the order goes on by itself.
func strangers(t *testing.T, w *world) {
	things := objects(t, strangersThings)
	w.apply(t, suite.NewDataset(housing, datasets))
	me := w.tenant(t)
	file := filepath.Join(t.TempDir(), "things.yaml")
	if err := os.WriteFile(file, []byte(strangersThings), 0o600); err != nil {
		t.Fatal(err)
	}
	// Namespaces are made a moment before what is in them.
	if err := controlplane.Eventually(t.Context(), 30*time.Second, "the tenant's things to be there", func(ctx context.Context) error {
		_, err := me.kubectl(ctx, "apply", "-f", file)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	cloud := w.theirBucket(t)
	look := func() map[string]map[string]any {
		all := map[string]map[string]any{}
		for _, o := range things {
			now, err := w.Get(t.Context(), o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName())
			if err != nil {
				t.Fatalf("a stranger's %s %s: %v", o.GetKind(), o.GetName(), err)
			}
			all[o.GetKind()+" "+o.GetNamespace()+"/"+o.GetName()] = written(now)
		}
		return all
	}
	before := look()
	taken := map[string]string{
		"taken-bot":  "Namespace agent-taken-bot",
		"framed-bot": "ConfigMap monitoring/agent-framed-bot-dashboard",
		"robbed-bot": "Bucket agent-robbed-bot-bucket",
		"cloudy-bot": "Bucket gs://acme-data-agent-cloudy-bot",
	}
	for _, agent := range slices.Sorted(maps.Keys(taken)) {
		w.apply(t, suite.NewOrder(agent, housing, 5))
	}
	for agent, by := range taken {
		w.seeOrder(t, heard, agent+" to be refused", agent, condition("NamesFree", "False", "NameTaken"), condition("Ready", "False", ""), func(o *unstructured.Unstructured) error {
			if _, _, says := controlplane.Condition(o, "NamesFree"); !strings.Contains(says, by) {
				return fmt.Errorf("want %s named, got %q", by, says)
			}
			return nil
		})
		// What is in Google Cloud only its provider sees, once there is a record to look with.
		if made := w.refs(t, agent); len(made) > 0 && agent != "cloudy-bot" {
			t.Errorf("%s made %v", agent, made)
		}
	}
	cloud("an order needed its name")
	if d := cmp.Diff(before, look()); d != "" {
		t.Errorf("a stranger's things changed while orders needed their names (-before +after):\n%s", d)
	}
	w.delete(t, suite.API, "XDatasetAgent", "", "taken-bot")
	w.gone(t, time.Minute, suite.API, "XDatasetAgent", "", "taken-bot")
	if d := cmp.Diff(before, look()); d != "" {
		t.Errorf("a stranger's things changed when the order went (-before +after):\n%s", d)
	}
	// The stranger goes by himself.
	w.delete(t, "v1", "ConfigMap", "monitoring", "agent-framed-bot-dashboard")
	w.seeOrder(t, heard, "framed-bot to go on", "framed-bot", condition("NamesFree", "True", ""), condition("Ready", "True", ""))
	if n := len(w.refs(t, "framed-bot")); n != 22 {
		t.Errorf("framed-bot has %d parts, want 22", n)
	}
	for _, agent := range []string{"framed-bot", "robbed-bot", "cloudy-bot"} {
		w.delete(t, suite.API, "XDatasetAgent", "", agent)
	}
	w.gone(t, heard, "storage.gcp.upbound.io/v1beta2", "Bucket", "", "agent-cloudy-bot-bucket")
	cloud("the order went")
	w.gone(t, heard, suite.API, "XDatasetAgent", "", "robbed-bot")
	if o, err := w.Get(t.Context(), "storage.gcp.upbound.io/v1beta2", "Bucket", "", "agent-robbed-bot-bucket"); err != nil || o.GetDeletionTimestamp() != nil {
		t.Errorf("the stranger's bucket went with the order: %v", err)
	}
}

// theirBucket is a bucket in Google Cloud that another team has, under the name that an order
// needs and with no record of that name. The function it returns looks at it as that team
// would: it reads its labels anew.
func (w *world) theirBucket(t *testing.T) (look func(when string)) {
	t.Helper()
	const apiVersion, name = "storage.gcp.upbound.io/v1beta2", "team-acme-files"
	w.apply(t, objects(t, `
apiVersion: storage.gcp.upbound.io/v1beta2
kind: Bucket
metadata: {name: team-acme-files, annotations: {crossplane.io/external-name: acme-data-agent-cloudy-bot}}
spec: {forProvider: {location: EU, project: acme-data, labels: {team: acme}}}
`)...)
	if err := w.WaitFor(t.Context(), heard, "Ready", apiVersion, "Bucket", "", name); err != nil {
		t.Fatal(err)
	}
	// From now on their record only looks, and puts nothing back.
	if err := w.Patch(t.Context(), apiVersion, "Bucket", "", name, `{"spec":{"managementPolicies":["Observe"]}}`); err != nil {
		t.Fatal(err)
	}
	looks := 0
	return func(when string) {
		t.Helper()
		looks++
		if err := w.Patch(t.Context(), apiVersion, "Bucket", "", name, fmt.Sprintf(`{"metadata":{"annotations":{"look":"%d"}}}`, looks)); err != nil {
			t.Fatal(err)
		}
		err := controlplane.Eventually(t.Context(), time.Minute, "the stranger's bucket to be as it was", func(ctx context.Context) error {
			o, err := w.Get(ctx, apiVersion, "Bucket", "", name)
			if err != nil {
				return err
			}
			labels, _, _ := unstructured.NestedStringMap(o.Object, "status", "atProvider", "labels")
			if d := cmp.Diff(map[string]string{"team": "acme"}, labels); d != "" {
				return controlplane.Never(fmt.Errorf("its labels changed: %s", d))
			}
			return condition("Synced", "True", "")(o)
		})
		if err != nil {
			t.Errorf("when %s: %v", when, err)
		}
	}
}

// gone waits until an object is.
func (w *world) gone(t *testing.T, within time.Duration, apiVersion, kind, namespace, name string) {
	t.Helper()
	if err := controlplane.Eventually(t.Context(), within, kind+" "+name+" to be gone", func(ctx context.Context) error {
		_, err := w.Get(ctx, apiVersion, kind, namespace, name)
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("it is still there")
	}); err != nil {
		t.Fatal(err)
	}
}

// policies: what the admission policies of the installation refuse, as a person with
// every right would do it, and that an order comes and goes under them.
func policies(t *testing.T, w *world) {
	file := filepath.Join(w.root, "package", "install", "policies.yaml")
	w.kubectl(t, "apply", "-f", file)
	defer func() {
		if out, err := w.Kubectl(context.WithoutCancel(t.Context()), "delete", "-f", file, "--wait=false"); err != nil {
			t.Error(out, err)
		}
	}()
	const agent = "ruled-bot"
	ns := w.agent(t, agent)
	w.kubectl(t, "create", "configmap", "whisperops-allow", "-n", controlplane.Namespace,
		"--from-literal=domains=*.sslip.io", "--from-literal=projects=acme-*", "--from-literal=buckets="+datasets)
	defer w.delete(t, "v1", "ConfigMap", controlplane.Namespace, "whisperops-allow")
	owned := `metadata: {name: agent-ruled-bot-x, ownerReferences: [{apiVersion: whisperops.io/v1alpha1, kind: XDatasetAgent, name: ruled-bot, uid: 0d3c5c3e-0000-4000-8000-000000000000, controller: true}]}`
	dir := t.TempDir()
	write := func(name, text string) string {
		f := filepath.Join(dir, name)
		if err := os.WriteFile(f, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	order := func(name, domain, project string) string {
		o := suite.NewOrder(name, housing, 5)
		o.Object["spec"].(map[string]any)["baseDomain"] = domain
		o.Object["spec"].(map[string]any)["projectId"] = project
		b, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		return write(name+".yaml", string(b))
	}
	asAnybody := []attempt{
		{"An opening forgets what was spent.",
			[]string{"patch", "xab", agent, "-n", ns, "--type=merge", "-p", `{"spec":{"opening":{"usd":0,"asOf":"2026-11-27T00:00:00Z","period":"lifetime"}}}`}, "spec.opening is the order's"},
		{"What an operator may change stays his to change.",
			[]string{"annotate", "xab", agent, "-n", ns, "whisperops.io/meter-mode=hard"}, ""},
		{"A budget elsewhere would read a stranger's spend.",
			[]string{"create", "-f", write("xab.yaml", "apiVersion: whisperops.io/v1alpha1\nkind: XAgentBudget\nmetadata: {name: ruled-bot, namespace: default}\nspec: {agentName: ruled-bot, budgetUsd: 1}\n")}, "belongs into namespace agent-ruled-bot"},
		{"A part out of a backup is deleted by the garbage collector, and what it stands for with it.",
			[]string{"create", "-f", write("bucket.yaml", "apiVersion: storage.gcp.upbound.io/v1beta2\nkind: Bucket\n"+owned+"\nspec: {forProvider: {location: EU}}\n")}, "made by Crossplane only"},
		{"Crossplane may be putting the order's uid on its parts in this moment.", []string{"delete", "xda", agent, "--cascade=orphan", "--wait=false"}, "annotate it with crossplane.io/paused=true first"},
		{"With its parts an order may always go.", []string{"delete", "xda", agent, "--wait=false"}, ""},
		{"A record is not the data.", []string{"delete", "bucket.storage.gcp.upbound.io", "agent-ruled-bot-bucket", "--wait=false"}, "holds what an agent made"},
		{"Any domain would get an Ingress and a certificate.", []string{"create", "-f", order("domain-bot", "agents.example.org", "acme-data")}, "not in the list domains"},
		{"Any project would get accounts and grants.", []string{"create", "-f", order("project-bot", "34.61.7.12.sslip.io", "victim-prod")}, "not in the list projects"},
		{"Any bucket would get a reader.",
			[]string{"create", "-f", write("xds.yaml", "apiVersion: whisperops.io/v1alpha1\nkind: XDataset\nmetadata: {name: theirs}\nspec: {displayName: Theirs, gcsPath: gs://victim-payroll/all.csv, sizeBytes: 10}\n")}, "not in the list buckets"},
	}
	asAdministrator := []attempt{
		{"With its definition every order goes.", []string{"delete", "xrd", "xdatasetagents.whisperops.io", "--wait=false"}, "lives: with xdatasetagents.whisperops.io would go"},
		{"With its CRD likewise.", []string{"delete", "crd", "buckets.storage.gcp.upbound.io", "--wait=false"}, "lives: with buckets.storage.gcp.upbound.io would go"},
		{"Orders can't be filled without datasets.", []string{"delete", "crd", "xdatasets.whisperops.io", "--wait=false"}, "lives: with xdatasets.whisperops.io would go"},
		{"The Configuration holds the definitions.", []string{"delete", "configuration.pkg.crossplane.io", "whisperops", "--wait=false"}, "lives: with whisperops would go"},
	}
	w.refused(t, w.Kubectl, append(asAdministrator, asAnybody...))
	thing := func(kind, namespace, text string) []string {
		return []string{"create", "-n", namespace, "-f", write("tenants-"+kind+".yaml", text)}
	}
	// The rights of the tenant would do: it is the policies that refuse.
	w.refused(t, w.tenant(t).kubectl, append(asAnybody,
		attempt{"What lies there before the agent's part would be merged into it.",
			thing("configmap", ns, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: agent-prompts}\n"), "is its agent's order's to make"},
		attempt{"A stranger's containers would run under the agent's account.",
			thing("deployment", ns, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: sandbox}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: example.org/c}]}}}\n"), "is its agent's order's to make"},
		attempt{"It would open what the agent's closes.",
			thing("networkpolicy", ns, "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: agent}\nspec: {podSelector: {}}\n"), "is its agent's order's to make"},
		attempt{"It would stay, with whatever role it binds.",
			thing("rolebinding", ns, "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: chat-frontend}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: admin}\nsubjects: [{kind: ServiceAccount, name: mallory, namespace: team-acme}]\n"), "is its agent's order's to make"},
		attempt{"An agent has one budget, and that is its order's.",
			thing("budget", ns, "apiVersion: whisperops.io/v1alpha1\nkind: XAgentBudget\nmetadata: {name: ruled-bot}\nspec: {agentName: ruled-bot, budgetUsd: 9999}\n"), "is its agent's order's to make"},
		attempt{"Other names in the namespace are nobody's.",
			thing("other", ns, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: notes}\n"), ""},
	))
	parts := w.refs(t, agent)
	w.delete(t, suite.API, "XDatasetAgent", "", agent)
	for _, p := range parts {
		w.gone(t, heard, p.apiVersion, p.kind, p.namespace, p.name)
	}
}

// An attempt is a command of kubectl's that a policy refuses.
type attempt struct {
	reason string
	args   []string
	says   string // "": it is allowed
}

// refused tries attempts, without doing what they would.
func (w *world) refused(t *testing.T, kubectl func(context.Context, ...string) (string, error), all []attempt) {
	t.Helper()
	for _, a := range all {
		// Policies and what they are given reach the API server's admission after a moment.
		if err := controlplane.Eventually(t.Context(), 30*time.Second, strings.Join(a.args, " "), func(ctx context.Context) error {
			out, err := kubectl(ctx, append(slices.Clone(a.args), "--dry-run=server")...)
			switch refused := err != nil; {
			case refused != (a.says != ""), !strings.Contains(out, a.says):
				return fmt.Errorf("want it refused with %q, got %q", a.says, out)
			}
			return nil
		}); err != nil {
			t.Errorf("%s\n%v", a.reason, err)
		}
	}
}

// restored: an order that comes back from a backup has another uid. What the one before
// made is somebody else's until a person says, once, which uid the order had; then all of
// it is taken over as it lies there, data and what was spent included.
func restored(t *testing.T, w *world) {
	const agent = "kept-bot"
	ns := w.agent(t, agent)
	w.Meter.Spend(agent, suite.Model, suite.Input, million)
	w.seeBudget(t, heard, "a million tokens to be counted", agent, spent(1.25))
	old, err := w.Get(t.Context(), suite.API, "XDatasetAgent", "", agent)
	if err != nil {
		t.Fatal(err)
	}
	uids := func() map[string]string {
		all := map[string]string{}
		for _, p := range []ref{
			{"storage.gcp.upbound.io/v1beta2", "Bucket", "", "agent-kept-bot-bucket"}, {"v1", "Namespace", "", ns}, {suite.API, "XAgentBudget", ns, agent},
		} {
			o, err := w.Get(t.Context(), p.apiVersion, p.kind, p.namespace, p.name)
			if err != nil {
				t.Fatal(err)
			}
			all[p.String()] = string(o.GetUID())
		}
		return all
	}
	before := uids()
	// The records outlive the order, as where a backup brings them back without it. These
	// are the commands of docs/backup.md: without the pause, a reconcile that has begun puts
	// the order's uid on its parts again, and all is deleted.
	w.kubectl(t, "annotate", "xda", agent, "crossplane.io/paused=true")
	w.kubectl(t, "wait", "xda", agent, "--timeout=60s", `--for=jsonpath={.status.conditions[?(@.type=="Synced")].reason}=ReconcilePaused`)
	w.kubectl(t, "delete", "xda", agent, "--cascade=orphan", "--wait=false")
	w.seeOrder(t, time.Minute, "the parts to be nobody's", agent, func(o *unstructured.Unstructured) error {
		if slices.Contains(o.GetFinalizers(), metav1.FinalizerOrphanDependents) {
			return errors.New("the garbage collector has not taken the order's uid off all of them")
		}
		return nil
	})
	w.kubectl(t, "annotate", "xda", agent, "crossplane.io/paused-")
	w.gone(t, time.Minute, suite.API, "XDatasetAgent", "", agent)
	w.apply(t, suite.NewOrder(agent, housing, 5))
	w.seeOrder(t, heard, "the restored order to be refused", agent, condition("NamesFree", "False", "NameTaken"), func(o *unstructured.Unstructured) error {
		if _, _, says := controlplane.Condition(o, "NamesFree"); !strings.Contains(says, string(old.GetUID())) || !strings.Contains(says, "whisperops.io/restored-from") {
			return fmt.Errorf("want the old uid and the way out named, got %q", says)
		}
		return nil
	})
	w.kubectl(t, "annotate", "xda", agent, "whisperops.io/restored-from="+string(old.GetUID()))
	w.seeOrder(t, heard, "the restored order to be Ready", agent, condition("NamesFree", "True", ""), condition("Ready", "True", ""))
	if n := len(w.refs(t, agent)); n != 22 {
		t.Errorf("want 22 parts, got %d", n)
	}
	if d := cmp.Diff(before, uids()); d != "" {
		t.Errorf("want what was there taken over, not made again (-before +after):\n%s", d)
	}
	w.seeBudget(t, heard, "what was spent to be known", agent, spent(1.25), running)
}
