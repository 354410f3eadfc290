package portal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"whisperops.io/functions/hack/controlplane"
)

const argoCDNamespace = "argocd"

// argoCD installs Argo CD's kinds and settings, ours among them, and runs its programs.
func (p *Portal) argoCD(ctx context.Context) error {
	if err := p.argoCDManifests(ctx); err != nil {
		return err
	}
	return p.argoCDPrograms(ctx)
}

// orders has Argo CD deliver the orders of Gitea.
func (p *Portal) orders(ctx context.Context) error {
	return p.Deliver(ctx, p.checkout("package", "gitops", "orders", "appproject.yaml"), p.checkout("package", "gitops", "orders", "applicationset.yaml"))
}

// argoCDManifests applies what Argo CD's own installation brings beside its pods, then
// what package/gitops changes of it.
func (p *Portal) argoCDManifests(ctx context.Context) error {
	files := func(pattern string) ([]string, error) {
		return filepath.Glob(filepath.Join(p.o.Tools["ARGOCD_FILES"], pattern))
	}
	crds, err := files("crds/*-crd.yaml")
	if err != nil {
		return err
	}
	config, err := files("config/argocd-*.yaml")
	if err != nil {
		return err
	}
	if err := p.kinds(ctx, crds); err != nil {
		return err
	}
	if err := p.Kubernetes.ApplyYAML(ctx, fmt.Sprintf(`
{apiVersion: v1, kind: Namespace, metadata: {name: %[1]s}}
---
{apiVersion: v1, kind: Secret, metadata: {name: gitea-token, namespace: %[1]s}, stringData: {token: %[2]q}}
`, argoCDNamespace, p.Gitea.Token)); err != nil {
		return err
	}
	if err := p.apply(ctx, argoCDNamespace, append(config, p.checkout("package", "gitops", "argocd-cm.yaml"))...); err != nil {
		return err
	}
	// Argo CD's server, which is not run, makes this one otherwise.
	return p.Kubernetes.ApplyYAML(ctx, `{apiVersion: argoproj.io/v1alpha1, kind: AppProject, metadata: {name: default, namespace: argocd}, spec: {sourceRepos: ["*"],
  destinations: [{server: "*", namespace: "*"}], clusterResourceWhitelist: [{group: "*", kind: "*"}]}}`)
}

// kinds applies CRDs and waits until they can be used, which takes a busy machine longer
// than Apply waits for a kind.
func (p *Portal) kinds(ctx context.Context, files []string) error {
	crds, err := controlplane.DecodeFiles(files...)
	if err != nil {
		return err
	}
	if err := p.Kubernetes.Apply(ctx, crds...); err != nil {
		return err
	}
	for _, crd := range crds {
		if err := p.Kubernetes.WaitFor(ctx, 5*time.Minute, "Established", crd.GetAPIVersion(), crd.GetKind(), "", crd.GetName()); err != nil {
			return err
		}
	}
	return nil
}

// apply applies files; what has no namespace goes into the one that is named.
func (p *Portal) apply(ctx context.Context, namespace string, files ...string) error {
	objs, err := controlplane.DecodeFiles(files...)
	if err != nil {
		return err
	}
	for _, o := range objs {
		if o.GetNamespace() == "" {
			o.SetNamespace(namespace)
		}
	}
	return p.Kubernetes.Apply(ctx, objs...)
}

// Deliver applies manifests of package/gitops with this portal's addresses in the place
// of the examples'.
func (p *Portal) Deliver(ctx context.Context, files ...string) error {
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		here := strings.ReplaceAll(string(data), "https://gitea.example.org", p.Gitea.URL)
		if err := p.Kubernetes.ApplyYAML(ctx, here); err != nil {
			return fmt.Errorf("%s: %w", f, err)
		}
	}
	return nil
}

// argoCDPrograms runs Redis and Argo CD's three programs that no person talks to. Its
// server, with its pages, is left out: kubectl is enough.
func (p *Portal) argoCDPrograms(ctx context.Context) error {
	ports := [9]int{}
	for i := range ports {
		var err error
		if ports[i], err = controlplane.FreePort(); err != nil {
			return err
		}
	}
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	port := func(i int) string { return strconv.Itoa(ports[i]) }
	bin := p.file("argocd", "bin")
	env := []string{"HOME=" + p.file("argocd"), "PATH=" + bin + ":" + os.Getenv("PATH"), "ARGOCD_GPG_ENABLED=false", "ARGOCD_FAKE_IN_CLUSTER=true", "KUBECONFIG=" + p.o.Kubeconfig, "TMPDIR=" + p.file("argocd", "tmp")}
	for variable, folder := range map[string]string{"ARGOCD_TLS_DATA_PATH": "tls", "ARGOCD_SSH_DATA_PATH": "ssh", "ARGOCD_GNUPGHOME": "gpg", "ARGOCD_PLUGINSOCKFILEPATH": "plugins", "": "tmp", "PATH": "bin"} {
		if err := os.MkdirAll(p.file("argocd", folder), 0o700); err != nil {
			return err
		}
		if strings.HasPrefix(variable, "ARGOCD_") {
			env = append(env, variable+"="+p.file("argocd", folder))
		}
	}
	if err := os.Symlink(p.o.Tools["ARGOCD"], filepath.Join(bin, "argocd")); err != nil {
		return err
	}
	// Without the wrapper the repository server denies every application. It comes out of
	// a Go module, whose files are never executable.
	wrapper, err := os.ReadFile(filepath.Join(p.o.Tools["ARGOCD_FILES"], "git-verify-wrapper.sh"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bin, "git-verify-wrapper.sh"), wrapper, 0o700); err != nil {
		return err
	}
	run := func(name, health string, args ...string) error {
		_, err := p.Run(ctx, controlplane.Command{
			Name: name, Path: filepath.Join(bin, "argocd"), Args: args, Env: append(slices.Clip(env), "ARGOCD_BINARY_NAME="+name), Respawn: true, Ready: controlplane.Listening(health),
		})
		return err
	}
	if _, err := p.Run(ctx, controlplane.Command{
		Name: "redis", Path: "redis-server", Args: []string{"--port", port(0), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", p.file("argocd")}, Respawn: true, Ready: controlplane.Listening(at(0)),
	}); err != nil {
		return err
	}
	if err := run("argocd-repo-server", at(1), "--address", "127.0.0.1", "--port", port(1), "--metrics-address", "127.0.0.1", "--metrics-port", port(2), "--redis", at(0), "--disable-tls", "--client-ca-path", ""); err != nil {
		return err
	}
	if err := run("argocd-application-controller", at(3), "--namespace", argoCDNamespace, "--kubeconfig", p.o.Kubeconfig, "--redis", at(0), "--repo-server", at(1), "--repo-server-plaintext",
		"--metrics-port", port(3), "--app-resync", "30", "--app-resync-jitter", "0"); err != nil {
		return err
	}
	return run("argocd-applicationset-controller", at(4), "--namespace", argoCDNamespace, "--kubeconfig", p.o.Kubeconfig, "--metrics-addr", at(4), "--probe-addr", at(5), "--webhook-addr", at(6),
		"--argocd-repo-server", at(1), "--repo-server-plaintext", "--enable-leader-election=false")
}
