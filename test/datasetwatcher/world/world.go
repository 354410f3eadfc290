// Package world puts the dataset watcher into a world of real servers: etcd and
// kube-apiserver, a Google Cloud Storage emulator, and Gitea, all as processes on
// loopback. The watcher runs as its ServiceAccount, with the roles of
// package/install, and reaches the bucket and Gitea through gates that can fail.
package world

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"whisperops.io/functions/hack/controlplane"
)

// Names of this world.
const (
	Bucket    = "acme-data-datasets"
	Namespace = "whisperops-system"
	Name      = "dataset-watcher"
	apiGroup  = "whisperops.io/v1alpha1"
)

// Interval between the listings of a watcher that is told no other.
const Interval = time.Second

// A World is a running API server, bucket and, if asked for, Gitea.
type World struct {
	*controlplane.APIServer

	// Store is the bucket, past the gate.
	Store *storage.BucketHandle
	// StoreGate and GitGate stand before the servers, where the watcher knocks.
	StoreGate, GitGate *Gate
	Gitea              *Gitea // nil if not asked for

	// PubSub is the address of a stand-in of Pub/Sub that watchers are told of; "": none.
	PubSub string

	watcher string // path of the binary
	closers []func()
}

// Options of a world.
type Options struct {
	Dir   string // for all state; it is made
	Gitea bool
	Log   func(format string, args ...any)
}

// need returns the path of a program that make hands in.
func need(variable string) (string, error) {
	path := os.Getenv(variable)
	if path == "" {
		return "", fmt.Errorf("%s is not set: run this with make test-watcher or make demo-watcher", variable)
	}
	return path, nil
}

// Start boots a world. On an error nothing keeps running. Close ends it.
func Start(ctx context.Context, o Options) (_ *World, err error) {
	w := &World{}
	if w.watcher, err = need("DATASET_WATCHER"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	if w.APIServer, err = controlplane.StartAPIServer(ctx, controlplane.Options{Dir: o.Dir, Log: o.Log, Audit: true}); err != nil {
		return nil, err
	}
	if err := w.startStore(ctx); err != nil {
		return nil, err
	}
	if o.Gitea {
		if err := w.startGitea(ctx); err != nil {
			return nil, err
		}
	}
	return w, w.install(ctx)
}

// Close ends everything.
func (w *World) Close() {
	if w.APIServer != nil {
		w.Stop()
	}
	for _, c := range slices.Backward(w.closers) {
		c()
	}
}

func (w *World) startStore(ctx context.Context) error {
	emulator, err := need("FAKE_GCS_SERVER")
	if err != nil {
		return err
	}
	port, err := controlplane.FreePort()
	if err != nil {
		return err
	}
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	if w.StoreGate, err = newGate(url); err != nil {
		return err
	}
	w.closers = append(w.closers, w.StoreGate.Close)
	if _, err := w.Run(ctx, controlplane.Command{
		Name: "fake-gcs-server", Path: emulator,
		Args: []string{
			"-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", strconv.Itoa(port), "-data", "",
			"-public-host", fmt.Sprintf("127.0.0.1:%d", port), "-log-level", "warn",
		},
		Ready: answers(url + "/_internal/healthcheck"),
	}); err != nil {
		return err
	}
	c, err := storage.NewClient(ctx, option.WithoutAuthentication(), option.WithEndpoint(url+"/storage/v1/"), storage.WithJSONReads())
	if err != nil {
		return err
	}
	w.closers = append(w.closers, func() { _ = c.Close() }) // nothing is lost with an idle client
	w.Store = c.Bucket(Bucket)
	return w.Store.Create(ctx, "acme-data", nil)
}

// answers is ready when a GET succeeds.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		status, _, err := get(ctx, url)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("GET %s: %d", url, status)
		}
		return err
	}
}

func get(ctx context.Context, url string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(rsp.Body)
	return rsp.StatusCode, string(text), errors.Join(err, rsp.Body.Close())
}

// install applies the XDataset CRD and the watcher's roles, as package/install has them.
func (w *World) install(ctx context.Context) error {
	root, err := controlplane.Checkout()
	if err != nil {
		return err
	}
	in := filepath.Join(root, "package", "install")
	objects, err := controlplane.DecodeFiles(
		filepath.Join(in, "crds", "zz_generated.xdatasets.yaml"),
		filepath.Join(in, "dataset-watcher", "base", "namespace.yaml"),
		filepath.Join(in, "dataset-watcher", "base", "rbac.yaml"),
	)
	if err != nil {
		return err
	}
	if err := w.Apply(ctx, objects...); err != nil {
		return err
	}
	token, err := w.Token(ctx, Namespace, Name)
	if err != nil {
		return err
	}
	return w.WriteKubeconfig(w.kubeconfig(), w.URL, &clientcmdapi.AuthInfo{Token: token})
}

func (w *World) kubeconfig() string { return filepath.Join(w.Dir, "watcher.kubeconfig") }

// InstallAgents makes the kind XDatasetAgent, without its schema.
func (w *World) InstallAgents(ctx context.Context) error {
	return w.ApplyYAML(ctx, `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: xdatasetagents.whisperops.io}
spec:
  group: whisperops.io
  names: {kind: XDatasetAgent, listKind: XDatasetAgentList, plural: xdatasetagents, singular: xdatasetagent}
  scope: Cluster
  versions:
  - name: v1alpha1
    served: true
    storage: true
    schema:
      openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}
`)
}

// Order makes an XDatasetAgent that refers to a dataset.
func (w *World) Order(ctx context.Context, agent, dataset string) error {
	return w.ApplyYAML(ctx, fmt.Sprintf(`
apiVersion: %s
kind: XDatasetAgent
metadata: {name: %s}
spec: {agentName: %s, datasetRef: {name: %s}}
`, apiGroup, agent, agent, dataset))
}

// A Watcher is a running dataset watcher.
type Watcher struct {
	*controlplane.Process

	metrics, ready string // URLs
}

// Metrics returns the watcher's series at one instant, named as they are exposed.
func (p *Watcher) Metrics(ctx context.Context) (map[string]float64, error) {
	_, text, err := get(ctx, p.metrics)
	if err != nil {
		return nil, err
	}
	all := map[string]float64{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if !strings.HasPrefix(line, "dataset_watcher_") || at < 0 {
			continue
		}
		if all[line[:at]], err = strconv.ParseFloat(line[at+1:], 64); err != nil {
			return nil, fmt.Errorf("cannot read %q: %w", line, err)
		}
	}
	return all, nil
}

// Ready returns what the watcher's readiness probe answers, a status and a text.
func (p *Watcher) Ready(ctx context.Context) (int, string, error) { return get(ctx, p.ready) }

// Watch starts a watcher process, under a name of its own, with these flags beside
// the usual ones. It returns when the process serves its probes.
func (w *World) Watch(ctx context.Context, process string, flags ...string) (*Watcher, error) {
	metrics, err := controlplane.FreePort()
	if err != nil {
		return nil, err
	}
	health, err := controlplane.FreePort()
	if err != nil {
		return nil, err
	}
	at := func(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
	args := []string{
		"--bucket", Bucket, "--namespace", Namespace, "--metrics-address", at(metrics), "--health-address", at(health), "--interval", Interval.String(),
	}
	if w.Gitea != nil {
		args = append(args, "--git-url", w.GitGate.URL, "--git-repository", w.Gitea.Repository, "--git-token-file", w.Gitea.TokenFile)
	}
	env := []string{"KUBECONFIG=" + w.kubeconfig(), "STORAGE_EMULATOR_HOST=" + w.StoreGate.URL}
	if w.PubSub != "" {
		env = append(env, "PUBSUB_EMULATOR_HOST="+w.PubSub)
	}
	p, err := w.Run(ctx, controlplane.Command{
		Name: process, Path: w.watcher, Args: append(args, flags...),
		Env:   env,
		Ready: answers("http://" + at(health) + "/healthz"),
	})
	return &Watcher{Process: p, metrics: "http://" + at(metrics) + "/metrics", ready: "http://" + at(health) + "/readyz"}, err
}

// Kubectl runs kubectl as the administrator, and returns what it says.
func (w *World) Kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, w.Tools["KUBECTL"], args...)
	cmd.Env = []string{"KUBECONFIG=" + w.Kubeconfig, "HOME=" + w.Dir}
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// Upload puts an object into the bucket.
func (w *World) Upload(ctx context.Context, object, content string, metadata ...string) error {
	o := w.Store.Object(object).NewWriter(ctx)
	o.ContentType = "text/csv"
	for i := 0; i+1 < len(metadata); i += 2 {
		if o.Metadata == nil {
			o.Metadata = map[string]string{}
		}
		o.Metadata[metadata[i]] = metadata[i+1]
	}
	_, err := o.Write([]byte(content))
	if err = errors.Join(err, o.Close()); err != nil {
		return fmt.Errorf("cannot upload %s: %w", object, err)
	}
	return nil
}

// Remove deletes an object of the bucket.
func (w *World) Remove(ctx context.Context, object string) error {
	return w.Store.Object(object).Delete(ctx)
}

// Rename copies an object within the bucket, and deletes the old one.
func (w *World) Rename(ctx context.Context, from, to string) error {
	if _, err := w.Store.Object(to).CopierFrom(w.Store.Object(from)).Run(ctx); err != nil {
		return err
	}
	return w.Remove(ctx, from)
}

// Datasets returns the XDatasets by name.
func (w *World) Datasets(ctx context.Context) (map[string]unstructured.Unstructured, error) {
	l, err := w.List(ctx, apiGroup, "XDataset", "")
	if err != nil {
		return nil, err
	}
	all := map[string]unstructured.Unstructured{}
	for _, o := range l {
		all[o.GetName()] = o
	}
	return all, nil
}

// Names returns the names of the XDatasets in order, each with a star if it is not
// ready.
func (w *World) Names(ctx context.Context) (string, error) {
	all, err := w.Datasets(ctx)
	if err != nil {
		return "", err
	}
	names := []string{}
	for n, o := range all {
		if ready, _, _ := unstructured.NestedBool(o.Object, "status", "ready"); !ready {
			n += "*"
		}
		names = append(names, n)
	}
	slices.Sort(names)
	return strings.Join(names, " "), nil
}

// Await waits until Names returns what is wanted, and how long that took.
func (w *World) Await(ctx context.Context, within time.Duration, want string) (time.Duration, error) {
	began := time.Now()
	err := controlplane.Eventually(ctx, within, "the datasets to be "+want, func(ctx context.Context) error {
		got, err := w.Names(ctx)
		if err == nil && got != want {
			err = fmt.Errorf("they are %s", got)
		}
		return err
	})
	return time.Since(began), err
}

// Status returns the data of the watcher's ConfigMap.
func (w *World) Status(ctx context.Context) (map[string]string, error) {
	o, err := w.Get(ctx, "v1", "ConfigMap", Namespace, Name)
	if err != nil {
		return nil, err
	}
	data, _, err := unstructured.NestedStringMap(o.Object, "data")
	return data, err
}

// Listings waits until so many more complete listings have begun and ended.
func (w *World) Listings(ctx context.Context, n int) error {
	// One may be under way: its objects were listed before now.
	seen, passes := "", -1
	return controlplane.Eventually(ctx, time.Minute, fmt.Sprintf("%d complete listings", n), func(ctx context.Context) error {
		s, err := w.Status(ctx)
		if err != nil {
			return err
		}
		if at := s["lastCompleteListing"]; at != seen {
			seen = at
			passes++
		}
		if passes <= n {
			return fmt.Errorf("%d so far", passes)
		}
		return nil
	})
}
