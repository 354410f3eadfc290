package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// What a team may do that has some of the cluster to itself: all of its namespaces, an
// agent's one too, orders, datasets and budgets, and records of buckets of its own.
const tenantsRights = `
apiVersion: v1
kind: Namespace
metadata: {name: team-acme}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: mallory, namespace: team-acme}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: team-acme}
rules:
  - {apiGroups: [""], resources: [namespaces, secrets, configmaps, serviceaccounts, services], verbs: ["*"]}
  - {apiGroups: [apps], resources: [deployments], verbs: ["*"]}
  - {apiGroups: [networking.k8s.io], resources: [networkpolicies, ingresses], verbs: ["*"]}
  - {apiGroups: [rbac.authorization.k8s.io], resources: [rolebindings], verbs: ["*"]}
  - {apiGroups: [rbac.authorization.k8s.io], resources: [clusterroles], resourceNames: [admin], verbs: [bind]}
  - {apiGroups: [storage.gcp.upbound.io], resources: [buckets], verbs: ["*"]}
  - {apiGroups: [whisperops.io], resources: [xdatasetagents, xagentbudgets, xdatasets], verbs: ["*"]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: team-acme}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: team-acme}
subjects: [{kind: ServiceAccount, name: mallory, namespace: team-acme}]
`

// A tenant is somebody with an account and a kubeconfig of their own.
type tenant struct {
	w    *world
	file string
}

func (w *world) tenant(t *testing.T) tenant {
	t.Helper()
	w.apply(t, objects(t, tenantsRights)...)
	token := strings.TrimSpace(w.kubectl(t, "create", "token", "mallory", "-n", "team-acme"))
	file := filepath.Join(t.TempDir(), "mallory.kubeconfig")
	if err := w.WriteKubeconfig(file, w.URL, &clientcmdapi.AuthInfo{Token: token}); err != nil {
		t.Fatal(err)
	}
	me := tenant{w, file}
	if out, err := me.kubectl(t.Context(), "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"); err != nil || out != "system:serviceaccount:team-acme:mallory" {
		t.Fatalf("the tenant is %q: %v", out, err)
	}
	return me
}

// kubectl runs as the tenant. Unlike the world's, its rights come from its roles alone.
func (me tenant) kubectl(ctx context.Context, args ...string) (string, error) {
	out, err := me.w.Kubectl(ctx, append([]string{"--kubeconfig", me.file}, args...)...)
	return strings.TrimSpace(out), err
}

// secondBudget: a tenant's budget for somebody else's agent stops nobody, says so, and is named
// by the agent's own.
func secondBudget(t *testing.T, w *world) {
	const agent = "paired-bot"
	ns := w.agent(t, agent)
	kept, untouched := w.keeps(t, agent), w.untouched(t, agent, 1)
	me := w.tenant(t)
	file := filepath.Join(t.TempDir(), "budget.yaml")
	if err := os.WriteFile(file, []byte(`
apiVersion: whisperops.io/v1alpha1
kind: XAgentBudget
metadata: {name: paired-bot, namespace: team-acme}
spec: {agentName: paired-bot, budgetUsd: 0}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := me.kubectl(t.Context(), "create", "-f", file); err != nil {
		t.Fatal(out, err)
	}
	names := func(typ, other string) check {
		return func(o *unstructured.Unstructured) error {
			if s, _, says := controlplane.Condition(o, typ); s != "False" || !strings.Contains(says, "XAgentBudget "+other) {
				return fmt.Errorf("%s is %s, %q; want False, and %s named", typ, s, says, other)
			}
			return nil
		}
	}
	w.see(t, heard, "the tenant's budget to say that it counts for nothing", "XAgentBudget", "team-acme", agent,
		condition("SpendMeasured", "False", "NamespaceRefused"), field(false, "status", "paused"), names("SoleBudget", ns+"/"+agent))
	w.seeBudget(t, heard, "the agent's own to name it", agent, names("SoleBudget", "team-acme/"+agent), running)
	if out, err := me.kubectl(t.Context(), "delete", "-f", file, "--wait=false"); err != nil {
		t.Fatal(out, err)
	}
	w.seeBudget(t, heard, "the agent's own to be alone again", agent, condition("SoleBudget", "True", "NoOtherBudget"), running)
	w.gone(t, heard, suite.API, "XAgentBudget", "team-acme", agent)
	untouched()
	kept()
}
