package controlplane

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// kyvernoWorld is what Kyverno's chart would have made before its admission
// controller starts.
const kyvernoWorld = `
apiVersion: v1
kind: Namespace
metadata: {name: kyverno}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kyverno, namespace: kyverno}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kyverno-metrics, namespace: kyverno}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: kyverno, namespace: kyverno}
spec:
  replicas: 1
  selector: {matchLabels: {a: kyverno}}
  template:
    metadata: {labels: {a: kyverno}}
    spec: {containers: [{name: kyverno, image: kyverno}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: agent-housing-bot}
---
apiVersion: v1
kind: Namespace
metadata: {name: other}
`

// meshKinds are the CRDs of the network policies that Cilium and Calico bring, as far
// as admission looks at them. Kyverno asks for the server's kinds when it starts: one that
// came later it refuses without having looked at it, by the same webhook.
var meshKinds = []struct {
	group, version, kind, plural string
	late                         bool
}{
	{"cilium.io", "v2", "CiliumNetworkPolicy", "ciliumnetworkpolicies", false},
	{"crd.projectcalico.org", "v1", "NetworkPolicy", "networkpolicies", false},
	{"projectcalico.org", "v3", "NetworkPolicy", "networkpolicies", true},
}

// TestKyverno holds the policy that we render against Kyverno's own admission
// controller. It takes eight minutes to build, so a target of its own names it: make test-kyverno.
func TestKyverno(t *testing.T) {
	program, files := os.Getenv("KYVERNO"), os.Getenv("KYVERNO_FILES")
	if program == "" || files == "" {
		t.Skip("KYVERNO and KYVERNO_FILES name no controller: make test-kyverno does")
	}
	ctx := t.Context()
	s, err := StartAPIServer(ctx, Options{Dir: t.TempDir(), Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	for _, m := range meshKinds {
		if m.late {
			continue
		}
		if err := s.ApplyYAML(ctx, crd(m.group, m.version, m.kind, m.plural)); err != nil {
			t.Fatal(err)
		}
	}
	k := startKyverno(t, s, program, files)
	policy := ourPolicy(t)
	if err := s.Apply(ctx, policy); err != nil {
		t.Fatal(err)
	}
	if err := Eventually(ctx, time.Minute, "the policy to be ready", func(ctx context.Context) error {
		o, err := s.Get(ctx, policy.GetAPIVersion(), policy.GetKind(), policy.GetNamespace(), policy.GetName())
		if err != nil {
			return err
		}
		// What ReadyKyverno of render-workloads looks at.
		if ready, _, _ := unstructured.NestedBool(o.Object, "status", "conditionStatus", "ready"); !ready {
			return fmt.Errorf("its status is %v", o.Object["status"])
		}
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, k.LogTail(30))
	}

	const refusal = "only the NetworkPolicy named agent may exist here: others would add to what it allows"
	try := func(name, reason, apiVersion, kind, namespace, called, want string) {
		t.Helper()
		err := create(ctx, s, apiVersion, kind, namespace, called)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %s\nwant it accepted, got %v", name, reason, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %s\nwant %q, got %v", name, reason, want, err)
		}
	}
	const core = "networking.k8s.io/v1"
	ns := policy.GetNamespace()
	// The webhook follows the policy's status; until then a foreign one would be let in.
	if err := Eventually(ctx, time.Minute, "a foreign policy to be refused", func(ctx context.Context) error {
		err := create(ctx, s, core, "NetworkPolicy", ns, "probe")
		if err == nil {
			return errors.Join(errors.New("it was accepted"), s.Delete(ctx, core, "NetworkPolicy", ns, "probe"))
		}
		if !strings.Contains(err.Error(), refusal) {
			return err
		}
		return nil
	}); err != nil {
		t.Fatalf("%v\n%s", err, k.LogTail(30))
	}
	try("Ours", "the one that render-workloads makes", core, "NetworkPolicy", ns, "agent", "")
	try("Foreign", "policies add up: it would open what ours closes", core, "NetworkPolicy", ns, "allow-all", refusal)
	try("Elsewhere", "the policy holds in the agent's namespace alone", core, "NetworkPolicy", "other", "allow-all", "")

	for _, m := range meshKinds {
		api, want := m.group+"/"+m.version, refusal
		if m.late {
			if err := s.ApplyYAML(ctx, crd(m.group, m.version, m.kind, m.plural)); err != nil {
				t.Fatal(err)
			}
			want = `"nvpol.validate.kyverno.svc-fail" denied the request`
		}
		if err := Eventually(ctx, time.Minute, api+" to be served", func(ctx context.Context) error {
			return create(ctx, s, api, m.kind, "other", "allow-all")
		}); err != nil {
			t.Fatal(err)
		}
		try(api, "a policy of a mesh would open what ours closes", api, m.kind, ns, "allow-all", want)
		try(api+" agent", "the name alone doesn't make it ours", api, m.kind, ns, "agent", want)
	}

	k.Kill()
	try("Away", "while Kyverno is away nothing is let in", core, "NetworkPolicy", ns, "allow-all", "failed calling webhook")
	try("AwayElsewhere", "and other namespaces don't suffer", core, "NetworkPolicy", "other", "second", "")
}

// startKyverno starts the admission controller as a plain process, and waits for its
// webhooks.
func startKyverno(t *testing.T, s *APIServer, program, files string) *Process {
	t.Helper()
	ctx := t.Context()
	crds, err := DecodeFiles(filepath.Join(files, "crds"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Apply(ctx, crds...); err != nil {
		t.Fatal(err)
	}
	if err := s.ApplyYAML(ctx, kyvernoWorld); err != nil {
		t.Fatal(err)
	}
	// Nothing plays kubelet here; Kyverno waits for its own Deployment.
	if err := s.Patch(ctx, "apps/v1", "Deployment", "kyverno", "kyverno", `{"status":{"replicas":1,"readyReplicas":1,"availableReplicas":1,"updatedReplicas":1}}`, "status"); err != nil {
		t.Fatal(err)
	}
	ports := make([]int, 4)
	for i := range ports {
		if ports[i], err = FreePort(); err != nil {
			t.Fatal(err)
		}
	}
	k, err := s.Run(ctx, Command{
		Name: "kyverno", Path: program, Within: 2 * time.Minute,
		Env: []string{
			"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(),
			"KYVERNO_NAMESPACE=kyverno", "KYVERNO_DEPLOYMENT=kyverno", "KYVERNO_POD_NAME=kyverno-0", "KYVERNO_SVC=kyverno-svc",
			"KYVERNO_SERVICEACCOUNT_NAME=kyverno", "KYVERNO_ROLE_NAME=kyverno",
			"INIT_CONFIG=kyverno", "METRICS_CONFIG=kyverno-metrics",
		},
		Args: []string{
			"--kubeconfig=" + s.Kubeconfig, fmt.Sprintf("--serverIP=127.0.0.1:%d", ports[0]),
			"--webhookServerHost=127.0.0.1", fmt.Sprintf("--webhookServerPort=%d", ports[0]),
			fmt.Sprintf("--controllerRuntimeMetricsAddress=127.0.0.1:%d", ports[1]), fmt.Sprintf("--metricsPort=%d", ports[2]), fmt.Sprintf("--cleanupServerPort=%d", ports[3]),
			"--backgroundServiceAccountName=system:serviceaccount:kyverno:b", "--reportsServiceAccountName=system:serviceaccount:kyverno:r",
			"--caSecretName=kyverno-svc.kyverno.svc.kyverno-tls-ca", "--tlsSecretName=kyverno-svc.kyverno.svc.kyverno-tls-pair",
		},
		Ready: func(ctx context.Context) error {
			all, err := s.List(ctx, "admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "")
			if err == nil && len(all) == 0 {
				err = errors.New("it has registered no webhook")
			}
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// ourPolicy is the policy that render-workloads makes, out of its golden story.
func ourPolicy(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	root, err := Checkout()
	if err != nil {
		t.Fatal(err)
	}
	docs, err := DecodeFiles(filepath.Join(root, "fn", "xda", "renderworkloads", "testdata", "first-order", "want.yaml"))
	if err != nil || len(docs) != 1 {
		t.Fatalf("want one document, got %d: %v", len(docs), err)
	}
	policy, found, err := unstructured.NestedMap(docs[0].Object, "resources", "kyverno-policy", "resource", "spec", "forProvider", "manifest")
	if err != nil || !found {
		t.Fatalf("there is no policy in the story: %v", err)
	}
	return &unstructured.Unstructured{Object: policy}
}

// create asks the API server once; Client.Apply asks again after a failed webhook.
func create(ctx context.Context, s *APIServer, apiVersion, kind, namespace, name string) error {
	r, err := s.Resource(apiVersion, kind, namespace)
	if err != nil {
		return err
	}
	_, err = r.Create(ctx, &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": map[string]any{"name": name, "namespace": namespace}, "spec": map[string]any{"podSelector": map[string]any{}},
	}}, metav1.CreateOptions{})
	return err
}

func crd(group, version, kind, plural string) string {
	o := map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": plural + "." + group},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced", "names": map[string]any{"kind": kind, "plural": plural},
			"versions": []any{map[string]any{
				"name": version, "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return string(b)
}
