package suite

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"whisperops.io/functions/hack/controlplane"
)

// API is the version of the suite's kinds.
const API = "whisperops.io/v1alpha1"

// Model is what agents use when the platform chooses none: the default of the
// step render-workloads.
const Model = "gemini-2.5-pro"

// NewDataset returns an XDataset that is ready, as its controller would leave it.
func NewDataset(name, bucket string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": API, "kind": "XDataset", "metadata": map[string]any{"name": name},
		"spec":   map[string]any{"gcsPath": "gs://" + bucket + "/" + name + ".csv", "sizeBytes": int64(1956142), "displayName": "Dataset " + name},
		"status": map[string]any{"ready": true, "sizeHuman": "1.9 MiB"},
	}}
}

// NewOrder returns an order for an agent; the budget is in US dollars.
func NewOrder(name, dataset string, budget float64) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": API, "kind": "XDatasetAgent", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"agentName": name, "datasetRef": map[string]any{"name": dataset}, "budgetUsd": budget,
			"description": "Answers questions", "baseDomain": "34.61.7.12.sslip.io", "projectId": "acme-data",
		},
	}}
}

// Lived are the kinds of an order and of everything that it and its budget compose.
var Lived = []schema.GroupVersionResource{
	{Group: "whisperops.io", Version: "v1alpha1", Resource: "xdatasetagents"},
	{Group: "whisperops.io", Version: "v1alpha1", Resource: "xagentbudgets"},
	{Group: "kubernetes.crossplane.io", Version: "v1alpha2", Resource: "objects"},
	{Group: "kubernetes.m.crossplane.io", Version: "v1alpha1", Resource: "objects"},
	{Group: "storage.gcp.upbound.io", Version: "v1beta2", Resource: "buckets"},
	{Group: "storage.gcp.upbound.io", Version: "v1beta2", Resource: "bucketiammembers"},
	{Group: "cloudplatform.gcp.upbound.io", Version: "v1beta1", Resource: "serviceaccounts"},
	{Group: "cloudplatform.gcp.upbound.io", Version: "v1beta1", Resource: "serviceaccountkeys"},
	{Group: "cloudplatform.gcp.upbound.io", Version: "v1beta2", Resource: "projectiammembers"},
}

// Load says how to boot a control plane that is put under load.
type Load struct {
	// Dir holds all state, unless E2E_DIR names a folder, which keeps the logs.
	Dir string
	// Verbs are the requests that the audit log holds, each with its metadata,
	// before and after it is served; of a request that the API server was killed
	// in, the first is all there is.
	Verbs []string
	// Agents that run for real, or the token-meter alone.
	Agents Agents
	// Log gets a line for each thing that takes noticeable time.
	Log func(format string, args ...any)
}

// CoreArgs names the environment variable with more flags for Crossplane core. It
// runs with its defaults otherwise, its circuit breaker among them: an order that
// makes more than 100 watch events at once, as every new one does, hears of its
// parts every 30 seconds only for up to five minutes.
const CoreArgs = "E2E_CORE_ARGS"

// Boot starts the suite from the checkout that holds the working folder and what
// `make up-build` built in it (or in E2E_BUILD).
func Boot(ctx context.Context, l Load) (*Suite, error) {
	root, err := controlplane.Checkout()
	if err != nil {
		return nil, err
	}
	out := os.Getenv("E2E_BUILD")
	if out == "" {
		out = filepath.Join(root, "_output", "up")
	}
	dir := os.Getenv("E2E_DIR")
	if dir == "" {
		dir = l.Dir
	}
	policy := filepath.Join(dir, "load-audit.json") // JSON is YAML
	data, err := json.Marshal(map[string]any{
		"apiVersion": "audit.k8s.io/v1", "kind": "Policy",
		"rules": []any{map[string]any{"level": "Metadata", "verbs": l.Verbs}, map[string]any{"level": "None"}},
	})
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(policy, data, 0o600); err != nil {
		return nil, err
	}
	return Start(ctx, Options{
		// The last of two flags counts.
		Options:  controlplane.Options{Dir: dir, Log: l.Log, Audit: true, APIServerArgs: []string{"--audit-policy-file", policy}},
		Checkout: root, Packages: filepath.Join(out, "xpkg"), StandIns: filepath.Join(out, "bin"), Schemas: os.Getenv("SCHEMAS"),
		CoreArgs: strings.Fields(os.Getenv(CoreArgs)), Agents: l.Agents,
	})
}

// LookAsShipped undoes what Start sets for tests that can't wait: budgets are
// looked at as often as the package's own Composition says.
func (s *Suite) LookAsShipped(ctx context.Context) error {
	objs, err := controlplane.DecodeFiles(filepath.Join(s.o.Checkout, "package", "compositions", "xagentbudget.yaml"))
	if err != nil {
		return err
	}
	if len(objs) != 1 {
		return fmt.Errorf("package/compositions/xagentbudget.yaml holds %d objects, want one", len(objs))
	}
	steps, _, err := unstructured.NestedSlice(objs[0].Object, "spec", "pipeline")
	if err != nil {
		return err
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"pipeline": steps}})
	if err != nil {
		return err
	}
	return s.Patch(ctx, objs[0].GetAPIVersion(), objs[0].GetKind(), "", objs[0].GetName(), string(patch))
}

// A Request is what the audit log holds of one.
type Request struct {
	Stage     string `json:"stage"` // RequestReceived, of a watch ResponseStarted, then ResponseComplete or Panic
	Verb      string `json:"verb"`
	UserAgent string `json:"userAgent"`
	// Annotations say, among others, whether it was allowed: authorization.k8s.io/decision.
	Annotations map[string]string `json:"annotations"`
	At          time.Time         `json:"requestReceivedTimestamp"`
	User        struct {
		Username string `json:"username"`
	} `json:"user"`
	Object struct {
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		APIGroup    string `json:"apiGroup"`
	} `json:"objectRef"`
	Response struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
}

// ReadAudit calls f for each request in an audit log, from an offset in bytes,
// and returns the offset at which to go on. A last line that is not complete yet,
// or that a killed API server never completed, is left for the next time.
func ReadAudit(file string, from int64, f func(Request)) (int64, error) {
	r, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return from, nil // nothing was logged yet
	}
	if err != nil {
		return from, err
	}
	defer r.Close() //nolint:errcheck // a reader
	end, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return from, err
	}
	if end < from {
		return from, fmt.Errorf("%s is shorter than what was read of it: it was put away, and part of it was never read", file)
	}
	if _, err := r.Seek(from, io.SeekStart); err != nil {
		return from, err
	}
	lines := bufio.NewReaderSize(r, 1<<16)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return from, nil
		}
		if err != nil {
			return from, err
		}
		from += int64(len(line))
		var q Request
		if err := json.Unmarshal(line, &q); err != nil {
			// The API server was killed within a line, and the next one began its own
			// behind it: what follows the cut is complete.
			if i := strings.LastIndex(string(line), `{"kind":"Event"`); i <= 0 || json.Unmarshal(line[i:], &q) != nil {
				continue
			}
		}
		f(q)
	}
}

// NewMeter returns a meter that counted nothing yet.
func NewMeter() *Meter { return &Meter{series: map[series]float64{}} }
