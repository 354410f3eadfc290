package controlplane

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A package's way through the real package manager to a process that works: a
// provider, as the Deployment that Crossplane makes, and a function.
func TestStack(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	ctx := t.Context()
	root, err := Checkout()
	if err != nil {
		t.Fatal(err)
	}
	autoready := filepath.Join(t.TempDir(), "autoready")
	build := exec.Command("go", "build", "-o", autoready, "./test/standins/autoready")
	build.Dir, build.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	tools, err := FindTools(ctx)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	s, err := Start(ctx, StackOptions{
		Options:  Options{Dir: dir, Tools: tools, Log: t.Logf, Audit: true},
		Programs: map[string]string{"crossplane-contrib/provider-kubernetes": tools["PROVIDER_KUBERNETES"]},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			for _, p := range s.AllProcesses() {
				t.Logf("%s:\n%s", p.Name, p.LogTail(5))
			}
		}
	})
	const (
		providerRef = "xpkg.crossplane.io/crossplane-contrib/provider-kubernetes:v1.3.1"
		functionRef = "xpkg.crossplane.io/crossplane-contrib/function-auto-ready:v0.7.0"
	)
	if err := s.PushDir(ctx, providerRef, "", filepath.Join(tools["PROVIDER_KUBERNETES_FILES"], "package")); err != nil {
		t.Fatal(err)
	}
	if err := s.PushDir(ctx, functionRef, autoready, filepath.Join(root, "test", "standins", "autoready", "package")); err != nil {
		t.Fatal(err)
	}
	if err := s.ApplyYAML(ctx, `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: configmaps}
rules: [{apiGroups: [""], resources: [configmaps], verbs: ["*"]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: configmaps}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: configmaps}
subjects: [{kind: ServiceAccount, name: provider-kubernetes, namespace: crossplane-system}]
---
apiVersion: pkg.crossplane.io/v1beta1
kind: DeploymentRuntimeConfig
metadata: {name: provider-kubernetes}
spec:
  serviceAccountTemplate: {metadata: {name: provider-kubernetes}}
  deploymentTemplate: {spec: {selector: {}, template: {spec: {containers: [{name: package-runtime, args: [--enable-watches]}]}}}}
---
apiVersion: pkg.crossplane.io/v1
kind: Provider
metadata: {name: provider-kubernetes}
spec: {package: "`+providerRef+`", runtimeConfigRef: {name: provider-kubernetes}}
---
apiVersion: pkg.crossplane.io/v1
kind: Function
metadata: {name: function-auto-ready}
spec: {package: "`+functionRef+`"}
`); err != nil {
		t.Fatal(err)
	}
	if err := s.Healthy(ctx, patience, "Function", "function-auto-ready"); err != nil {
		t.Fatal(err)
	}
	if err := s.Healthy(ctx, patience, "Provider", "provider-kubernetes"); err != nil {
		t.Fatal(err)
	}
	// The old version of Object goes through the provider's conversion webhook,
	// and InjectedIdentity needs the token where pods have it: both exist in
	// namespaces of our own only.
	if !IsIsolated() {
		t.Skip("no namespaces of our own here")
	}
	if err := s.ApplyYAML(ctx, `
apiVersion: kubernetes.crossplane.io/v1alpha1
kind: ProviderConfig
metadata: {name: in-cluster}
spec: {credentials: {source: InjectedIdentity}}
---
apiVersion: kubernetes.crossplane.io/v1alpha1
kind: Object
metadata: {name: a}
spec:
  providerConfigRef: {name: in-cluster}
  forProvider: {manifest: {apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, data: {k: v}}}
`); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitFor(ctx, patience, "Ready", "kubernetes.crossplane.io/v1alpha2", "Object", "", "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, "v1", "ConfigMap", "default", "a"); err != nil {
		t.Error(err)
	}
	out, err := s.Kubectl(ctx, "get", "objects.kubernetes.crossplane.io", "a", "-o", "jsonpath={.spec.providerConfigRef.name}")
	if err != nil || out != "in-cluster" {
		t.Errorf("want kubectl to work, got %q, %v", out, err)
	}
}
