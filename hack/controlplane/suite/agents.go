package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
)

// Agents says how agents run for real: planner, worker, sandbox and chat page of an
// order as processes, the token-meter between them and a model, the datasets in a
// storage emulator.
type Agents struct {
	// Namespaces whose pods run; "*" is all.
	Namespaces []string
	// ModelURL and ModelKey are those of a provider that speaks Gemini's API; without
	// them the fake one answers.
	ModelURL, ModelKey string
	// Model is the provider's name of the model; default: Model.
	Model string
	// Python has pandas; default: /usr/bin/python3.
	Python string
	// Rootfs is what lies below the sandbox's program in its image, as make
	// sandbox-rootfs writes it: needed with Options.RealNode only.
	Rootfs string
	// Datasets is a folder of CSVs that lie in the bucket DatasetsBucket.
	Datasets string
	// Meter runs the token-meter also where no agent's pods run.
	Meter bool
	// Watch runs the dataset-watcher, which makes an XDataset of each.
	Watch bool
}

// DatasetsBucket is where the datasets lie.
const DatasetsBucket = "acme-data-datasets"

// MeterName is the token-meter's Deployment, in the platform's namespace.
const (
	MeterName      = "token-meter"
	MeterNamespace = "whisperops-system"
)

// chunkDelay is the pause between two pieces of the fake model's answers.
const chunkDelay = 20 * time.Millisecond

// startAgents makes what agents need beside a control plane.
func (s *Suite) startAgents(ctx context.Context) error {
	a := s.o.Agents
	if len(a.Namespaces) == 0 && !a.Meter {
		return nil
	}
	if len(a.Namespaces) > 0 {
		if err := s.Tools.Need("FAKE_GCS_SERVER"); err != nil {
			return err
		}
		if err := s.storage(ctx); err != nil {
			return err
		}
	}
	model, key, err := s.model(ctx)
	if err != nil {
		return err
	}
	if s.o.RealNode {
		return s.realNode(ctx, model, key)
	}
	host := strings.TrimPrefix(s.Storage, "http://")
	program := func(n string) string { return filepath.Join(s.o.StandIns, n) }
	const kagent, ours = "ghcr.io/kagent-dev/kagent/", "ghcr.io/whisperops/"
	all := slices.Contains(a.Namespaces, "*")
	var python []string
	if a.Python != "" {
		python = []string{"PYTHON=" + a.Python}
	}
	s.Node, err = s.StartNode(ctx, controlplane.NodeOptions{
		Runs: func(ns string) bool {
			return ns == MeterNamespace || slices.Contains(a.Namespaces, ns) || all && strings.HasPrefix(ns, "agent-")
		},
		Programs: map[string]string{
			ours + "sandbox": program("sandbox"), ours + "chat-frontend": program("chat-frontend"), ours + "token-meter": program("token-meter"),
			kagent + "app": program("agentruntime"), kagent + "golang-adk": program("agentruntime"),
		},
		Env: map[string][]string{
			ours + "sandbox":       append([]string{"STORAGE_EMULATOR_HOST=" + host}, python...),
			ours + "chat-frontend": {"STORAGE_EMULATOR_HOST=" + host},
			ours + "token-meter":   {"METER_GEMINI_URL=" + model, "METER_GEMINI_KEY_FILE=" + key, "METER_JOURNAL=/var/lib/token-meter", "METER_SCRAPE_TIME=3s", "METER_SHUTDOWN_TIME=3s"},
		},
		Targets: s.targets(),
	})
	return err
}

func (s *Suite) targets() string { return filepath.Join(s.Dir, "prometheus", "pods.json") }

// storage starts the emulator with the datasets.
func (s *Suite) storage(ctx context.Context) error {
	address, err := s.outside(controlplane.StorageAddress)
	if err != nil {
		return err
	}
	data := filepath.Join(s.Dir, "storage")
	bucket := filepath.Join(data, DatasetsBucket)
	if err := os.MkdirAll(bucket, 0o700); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(s.o.Agents.Datasets, "*.csv"))
	if err != nil {
		return err
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(bucket, filepath.Base(f)), b, 0o600); err != nil {
			return err
		}
	}
	host, port, _ := strings.Cut(address, ":")
	s.Storage = "http://" + address
	_, err = s.Run(ctx, controlplane.Command{
		Name: "storage", Path: s.Tools["FAKE_GCS_SERVER"],
		Args:  []string{"-scheme", "http", "-host", host, "-port", port, "-public-host", address, "-data", data, "-filesystem-root", filepath.Join(s.Dir, "storage-root"), "-log-level", "warn"},
		Ready: answers(s.Storage + "/storage/v1/b?project=acme-data"),
	})
	return err
}

func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := get(ctx, url)
		return err
	}
}

func get(ctx context.Context, url string) ([]byte, error) {
	return do(ctx, http.MethodGet, url, nil)
}

func do(ctx context.Context, method, url string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(rsp.Body)
	err = errors.Join(err, rsp.Body.Close())
	if err == nil && rsp.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, rsp.Status, b)
	}
	return b, err
}

// Upload puts an object into a bucket of the emulator.
func (s *Suite) Upload(ctx context.Context, bucket, object string, data []byte) error {
	_, err := do(ctx, http.MethodPost, s.Storage+"/upload/storage/v1/b/"+bucket+"/o?uploadType=media&name="+url.QueryEscape(object), data)
	return err
}

// model starts the fake provider, or takes the real one, and returns its URL and a
// file with the key.
func (s *Suite) model(ctx context.Context) (address, keyFile string, err error) {
	key := s.o.Agents.ModelKey
	if key == "" {
		key = "the-fake-provider's-key"
	}
	keyFile = filepath.Join(s.Dir, "pki", "model-key")
	if err := os.WriteFile(keyFile, []byte(key), 0o600); err != nil {
		return "", "", err
	}
	if s.o.Agents.ModelURL != "" {
		return s.o.Agents.ModelURL, keyFile, nil
	}
	if address, err = s.outside(controlplane.ModelAddress); err != nil {
		return "", "", err
	}
	s.Provider = "http://" + address
	_, err = s.Run(ctx, controlplane.Command{
		Name: "provider", Path: filepath.Join(s.o.StandIns, "provider"),
		Args:  []string{"-address", address, "-chunk-delay", chunkDelay.String()},
		Env:   []string{"PROVIDER_KEY=" + key},
		Ready: answers(s.Provider + "/healthz"),
	})
	return s.Provider, keyFile, err
}

// installMeter applies the token-meter's manifests, but for those of kinds that this
// cluster lacks.
func (s *Suite) installMeter(ctx context.Context) error {
	if !s.Runs() {
		return nil
	}
	dir := s.manifests("token-meter")
	if base := filepath.Join(dir, "base"); exists(base) {
		dir = base
	}
	objs, err := controlplane.DecodeFiles(dir)
	if err != nil {
		return err
	}
	if err := s.ApplyYAML(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: "+MeterNamespace+"}}"); err != nil {
		return err
	}
	if s.RealNode != nil {
		if err := s.RealNode.WaitForImages(ctx); err != nil {
			return err
		}
	}
	// Who runs the pods comes before the pods.
	slices.SortStableFunc(objs, func(a, b *unstructured.Unstructured) int {
		first := func(o *unstructured.Unstructured) int {
			if o.GetKind() == "ServiceAccount" {
				return 0
			}
			return 1
		}
		return first(a) - first(b)
	})
	for _, o := range objs {
		if o.GetKind() == "Kustomization" {
			continue
		}
		if err := s.Apply(ctx, o); meta.IsNoMatchError(err) {
			continue // ServiceMonitor: there is no operator for it here
		} else if err != nil {
			return err
		}
	}
	return s.Watcher(ctx)
}

// Watcher runs the dataset-watcher, if wanted.
func (s *Suite) Watcher(ctx context.Context) error {
	if !s.o.Agents.Watch {
		return nil
	}
	_, err := s.Run(ctx, controlplane.Command{
		Name: "dataset-watcher", Path: filepath.Join(s.o.StandIns, "dataset-watcher"), Respawn: true,
		Args: []string{"--bucket", DatasetsBucket, "--interval", "2s", "--leader-elect=false", "--namespace", controlplane.Namespace, "--metrics-address", "0", "--health-address", "0"},
		Env:  []string{"KUBECONFIG=" + s.Kubeconfig, "HOME=" + s.Dir, "STORAGE_EMULATOR_HOST=" + strings.TrimPrefix(s.Storage, "http://")},
	})
	return err
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Buckets makes in the emulator what the stand-in for Google's provider makes in its
// own cloud, until the context ends.
func (s *Suite) Buckets(ctx context.Context) {
	made := map[string]bool{}
	for ctx.Err() == nil {
		list, err := s.List(ctx, "storage.gcp.upbound.io/v1beta2", "Bucket", "")
		if err == nil {
			for _, b := range list {
				name := b.GetAnnotations()["crossplane.io/external-name"]
				if name == "" || made[name] {
					continue
				}
				body := fmt.Appendf(nil, "{%q: %q}", "name", name)
				if _, err := do(ctx, http.MethodPost, s.Storage+"/storage/v1/b?project=acme-data", body); err != nil && !strings.Contains(err.Error(), "409") {
					s.o.Log("cannot make bucket %s: %v", name, err)
					continue
				}
				made[name] = true
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// FindPython returns a Python that has what the sandbox needs: PYTHON, or Debian's.
func FindPython(ctx context.Context) (string, error) {
	p := os.Getenv("PYTHON")
	if p == "" {
		p = "/usr/bin/python3"
	}
	if out, err := exec.CommandContext(ctx, p, "-c", "import pandas, matplotlib").CombinedOutput(); err != nil {
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		return "", fmt.Errorf("the sandbox needs a Python with pandas and matplotlib (Debian: apt-get install python3-pandas python3-matplotlib; another one: PYTHON=path), and %s: %w: %s", p, err, lines[len(lines)-1])
	}
	return p, nil
}

// WaitForAgent waits until an agent's four pods are ready, and those that its
// Deployments want now: not the ones of before a cut, or of before a roll.
func (s *Suite) WaitForAgent(ctx context.Context, within time.Duration, agent string) error {
	return controlplane.Eventually(ctx, within, "the pods of "+agent, func(ctx context.Context) error {
		for _, name := range []string{"sandbox", "worker", "planner", "chat-frontend"} {
			d, err := s.Kubernetes.AppsV1().Deployments("agent-"+agent).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			if st := d.Status; st.ObservedGeneration != d.Generation || st.ReadyReplicas != 1 || st.UpdatedReplicas != 1 || st.Replicas != 1 {
				return fmt.Errorf("%s is not ready: generation %d, status %+v", name, d.Generation, st)
			}
			if s.Node != nil && s.Node.Pod("agent-"+agent, name) == nil {
				return fmt.Errorf("%s has no process that is ready", name)
			}
		}
		return nil
	})
}
