// Package suite puts the product on a control plane: its packages through the
// package manager, its install manifests as they are, and the stand-ins for what
// cannot run on one machine.
package suite

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/xpkg"
)

// Options of a control plane with the suite on it.
type Options struct {
	controlplane.Options

	// Checkout is the root of the checkout whose manifests are installed.
	Checkout string
	// Packages is a folder that `make xpkg` or `make up-build` wrote.
	Packages string
	// StandIns is a folder with the programs autoready, cluster and gcp.
	StandIns string
	// Schemas is a folder of real CRDs; empty: permissive ones of our own.
	Schemas string
	// CoreArgs are more flags for Crossplane core.
	CoreArgs []string
	// Bare leaves out what package/install installs: somebody else does it.
	Bare bool
	// Agents that run for real; the zero value is none: their Deployments are
	// available without a process.
	Agents Agents
	// Programs run instead of what packages hold, by repository, for example
	// "whisperops/function-budget-decide".
	Programs map[string]string
}

// A Suite is the product on a running control plane.
type Suite struct {
	*controlplane.Stack

	// Meter is what the agents of this cluster spend.
	Meter *Meter
	// Prometheus is the URL of the server that watches the meter.
	Prometheus string
	// Node runs the pods of agents that run for real; nil without any, and where
	// RealNode does.
	Node *controlplane.Node
	// RealNode runs all pods, with Options.RealNode.
	RealNode *controlplane.RealNode
	// Storage and Provider are the URLs of the storage emulator and of the fake
	// model, if they run.
	Storage, Provider string

	o    Options
	stop context.CancelFunc
}

// prometheusHost is where the budget's pipeline looks for Prometheus if nobody
// says otherwise: the default of fetch-spend's input.
const (
	prometheusHost = "prometheus-operated.monitoring.svc"
	prometheusPort = 9090
)

// Start boots a control plane and installs the suite, as package/install/README.md
// says. On an error nothing keeps running.
func Start(ctx context.Context, o Options) (_ *Suite, err error) {
	if o.Tools == nil {
		if o.Tools, err = controlplane.FindTools(ctx); err != nil {
			return nil, err
		}
	}
	if err := o.Tools.Need("PROVIDER_KUBERNETES", "PROVIDER_KUBERNETES_FILES", "PROMETHEUS", "KUBECTL", "CROSSPLANE_CLI"); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	program := func(n string) string { return filepath.Join(o.StandIns, n) }
	programs := map[string]string{
		"crossplane-contrib/provider-kubernetes": o.Tools["PROVIDER_KUBERNETES"],
		"upbound/provider-gcp-storage":           program("gcp"),
		"upbound/provider-gcp-cloudplatform":     program("gcp"),
	}
	maps.Copy(programs, o.Programs)
	stack, err := controlplane.Start(ctx, controlplane.StackOptions{
		Options: o.Options, CoreArgs: o.CoreArgs, Hosts: []string{prometheusHost}, Programs: programs,
	})
	if err != nil {
		return nil, err
	}
	s := &Suite{Stack: stack, o: o}
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.stop = stop
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if err := s.measure(ctx); err != nil {
		return nil, err
	}
	if err := s.push(ctx); err != nil {
		return nil, err
	}
	if err := s.world(ctx); err != nil {
		return nil, err
	}
	if !o.Bare {
		if err := s.install(ctx); err != nil {
			return nil, err
		}
	}
	if len(o.Agents.Namespaces) > 0 {
		go s.Buckets(background)
	}
	return s, nil
}

// Stop ends every process and server.
func (s *Suite) Stop() {
	s.stop()
	s.Stack.Stop()
}

// push puts every package into the local registry under its published name.
func (s *Suite) push(ctx context.Context) error {
	began := time.Now()
	version, err := Version(s.o.Checkout)
	if err != nil {
		return err
	}
	pkgs, err := xpkg.Load(s.o.Packages, version)
	if err != nil {
		return err
	}
	for _, n := range pkgs.Names() {
		if err := s.Push(ctx, pkgs[n], "xpkg.crossplane.io/whisperops/"+n+":"+version); err != nil {
			return err
		}
	}
	at := func(parts ...string) string {
		return filepath.Join(append([]string{s.o.Checkout, "test", "standins"}, parts...)...)
	}
	if err := s.PushDir(ctx, "xpkg.crossplane.io/crossplane-contrib/function-auto-ready:v0.7.0", filepath.Join(s.o.StandIns, "autoready"), at("autoready", "package")); err != nil {
		return err
	}
	if err := s.PushDir(ctx, "xpkg.crossplane.io/crossplane-contrib/provider-kubernetes:v1.3.1", "", filepath.Join(s.Tools["PROVIDER_KUBERNETES_FILES"], "package")); err != nil {
		return err
	}
	for _, n := range []string{"provider-gcp-storage", "provider-gcp-cloudplatform"} {
		dir := filepath.Join(s.Dir, "packages", n)
		if err := s.withSchemas(at("actors", "packages", n), dir); err != nil {
			return err
		}
		if err := s.PushDir(ctx, "xpkg.upbound.io/upbound/"+n+":v3.0.0", "", dir); err != nil {
			return err
		}
	}
	s.o.Log("%d packages pushed after %s", len(pkgs)+4, time.Since(began).Round(10*time.Millisecond))
	return nil
}

// Version is the one that a checkout's install manifests ask for.
func Version(checkout string) (string, error) {
	file := filepath.Join(checkout, "package", "install", "configuration.yaml")
	objs, err := controlplane.DecodeFiles(file)
	if err != nil {
		return "", err
	}
	for _, o := range objs {
		if ref, found, _ := unstructured.NestedString(o.Object, "spec", "package"); found {
			return ref[strings.LastIndex(ref, ":")+1:], nil
		}
	}
	return "", fmt.Errorf("%s holds no package", file)
}

func (s *Suite) manifests(parts ...string) string {
	return filepath.Join(append([]string{s.o.Checkout, "package", "install"}, parts...)...)
}

// withSchemas copies a folder of manifests, with the real CRD in place of each
// permissive one that the folder of schemas has.
func (s *Suite) withSchemas(from, to string) error {
	objs, err := controlplane.DecodeFiles(from)
	if err != nil {
		return err
	}
	if objs, err = s.real(objs); err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	for i, o := range objs {
		name := fmt.Sprintf("%d.yaml", i)
		if strings.HasPrefix(o.GetAPIVersion(), "meta.pkg.crossplane.io/") {
			name = "crossplane.yaml"
		}
		data, err := json.Marshal(o) // JSON is YAML
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// real replaces CRDs by those of the same name in the folder of schemas.
func (s *Suite) real(objs []*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	if s.o.Schemas == "" {
		return objs, nil
	}
	all, err := controlplane.DecodeFiles(s.o.Schemas)
	if err != nil {
		return nil, fmt.Errorf("cannot read SCHEMAS: %w", err)
	}
	for i, o := range objs {
		for _, r := range all {
			if r.GetKind() == "CustomResourceDefinition" && o.GetKind() == r.GetKind() && o.GetName() == r.GetName() {
				objs[i] = r
			}
		}
	}
	return objs, nil
}

// world makes what a cluster with kagent, Kyverno, Grafana and nodes would have.
func (s *Suite) world(ctx context.Context) error {
	crds, err := controlplane.DecodeFiles(filepath.Join(s.o.Checkout, "test", "standins", "actors", "crds"))
	if err != nil {
		return err
	}
	if crds, err = s.real(crds); err != nil {
		return err
	}
	if err := s.Apply(ctx, crds...); err != nil {
		return err
	}
	if err := s.ApplyYAML(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: monitoring}}"); err != nil {
		return err
	}
	_, err = s.Run(ctx, controlplane.Command{
		Name: "cluster", Path: filepath.Join(s.o.StandIns, "cluster"), Respawn: true,
		Env: []string{"KUBECONFIG=" + s.Kubeconfig, "KAGENT=" + os.Getenv("KAGENT"), "REAL_PODS=" + strings.Join(s.o.Agents.Namespaces, ",") + "," + MeterNamespace},
	})
	if err != nil {
		return err
	}
	return s.startAgents(ctx)
}

// install follows package/install/README.md.
func (s *Suite) install(ctx context.Context) error {
	began := time.Now()
	healthy := func(names []string) error {
		for _, n := range names {
			kind, name, _ := strings.Cut(n, "/")
			if err := s.Healthy(ctx, 3*time.Minute, kind, name); err != nil {
				return err
			}
		}
		return nil
	}
	packages, err := s.applyManifests(ctx, "crds", "rbac.yaml", "providers.yaml", "functions.yaml")
	if err != nil {
		return err
	}
	if err := healthy(packages); err != nil {
		return err
	}
	s.o.Log("%d providers and functions healthy after %s", len(packages), time.Since(began).Round(10*time.Millisecond))
	if packages, err = s.applyManifests(ctx, "providerconfigs.yaml", "gcp", "pricing.yaml", "configuration.yaml"); err != nil {
		return err
	}
	if err := healthy(packages); err != nil {
		return err
	}
	for _, xrd := range []string{"xdatasetagents.whisperops.io", "xagentbudgets.whisperops.io"} {
		if err := s.WaitFor(ctx, time.Minute, "Established", "apiextensions.crossplane.io/v2", "CompositeResourceDefinition", "", xrd); err != nil {
			return err
		}
	}
	if err := s.freeze(ctx); err != nil {
		return err
	}
	if err := s.look(ctx); err != nil {
		return err
	}
	if err := s.installMeter(ctx); err != nil {
		return err
	}
	s.o.Log("suite installed after %s", time.Since(began).Round(10*time.Millisecond))
	return nil
}

// applyManifests applies install manifests, and returns kind and name of the packages among them.
func (s *Suite) applyManifests(ctx context.Context, paths ...string) ([]string, error) {
	var names []string
	for _, p := range paths {
		objs, err := controlplane.DecodeFiles(s.manifests(p))
		if err != nil {
			return nil, err
		}
		for _, o := range objs {
			if strings.HasPrefix(o.GetAPIVersion(), "pkg.crossplane.io/v1") && slices.Contains([]string{"Provider", "Function", "Configuration"}, o.GetKind()) {
				names = append(names, o.GetKind()+"/"+o.GetName())
			}
		}
		if err := s.Apply(ctx, s.here(objs)...); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// freeze keeps the package manager from putting the Configuration's Compositions
// back as they were packed, which it does whenever another package is installed.
// Who edits a Composition for good makes one of their own.
func (s *Suite) freeze(ctx context.Context) error {
	const apiVersion, kind = "pkg.crossplane.io/v1", "ConfigurationRevision"
	revisions, err := s.List(ctx, apiVersion, kind, "")
	if err != nil {
		return err
	}
	for _, r := range revisions {
		if err := s.Patch(ctx, apiVersion, kind, "", r.GetName(), `{"metadata":{"annotations":{"crossplane.io/paused":"true"}}}`); err != nil {
			return err
		}
	}
	return nil
}

// here changes what only works in namespaces of our own: without them a
// provider finds its identity in a Secret and not where pods have it.
func (s *Suite) here(objs []*unstructured.Unstructured) []*unstructured.Unstructured {
	if s.o.RealNode {
		for _, o := range objs {
			if o.GetKind() == "DeploymentRuntimeConfig" {
				// A template without containers would be refused; ours all have them.
				_ = unstructured.SetNestedField(o.Object, controlplane.SchedulerName, "spec", "deploymentTemplate", "spec", "template", "spec", "schedulerName")
			}
		}
	}
	if controlplane.IsIsolated() {
		return objs
	}
	kubeconfig, err := os.ReadFile(s.Kubeconfig)
	if err != nil {
		return objs
	}
	var out []*unstructured.Unstructured
	for _, o := range objs {
		if o.GetName() == "in-cluster" && strings.HasSuffix(o.GetKind(), "ProviderConfig") {
			out = append(out, &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": "in-cluster", "namespace": controlplane.Namespace},
				"stringData": map[string]any{"kubeconfig": string(kubeconfig)},
			}})
			o.Object["spec"] = map[string]any{"credentials": map[string]any{"source": "Secret", "secretRef": map[string]any{
				"namespace": controlplane.Namespace, "name": "in-cluster", "key": "kubeconfig",
			}}}
		}
		out = append(out, o)
	}
	return out
}

// Order applies the objects of a file or folder, and the status of those that
// have one, as the controllers that own it would.
func (s *Suite) Order(ctx context.Context, paths ...string) error {
	objs, err := controlplane.DecodeFiles(paths...)
	if err != nil {
		return err
	}
	for _, o := range objs {
		if err := s.ApplyWithStatus(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// ApplyWithStatus applies an object and then its status.
func (s *Suite) ApplyWithStatus(ctx context.Context, o *unstructured.Unstructured) error {
	status, has := o.Object["status"]
	delete(o.Object, "status")
	if err := s.Apply(ctx, o); err != nil || !has {
		return err
	}
	data, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	return s.Patch(ctx, o.GetAPIVersion(), o.GetKind(), o.GetNamespace(), o.GetName(), string(data), "status")
}
