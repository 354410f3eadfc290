package portal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/portal"
)

const (
	api = "whisperops.io/v1alpha1"
	// first is a dataset that make up brings, and that no test takes away.
	first = "california-housing"
)

// running is the portal of make portal, which runs outside of this process.
type running struct {
	*portal.Access
	*controlplane.Client

	up    string // UP_DIR
	began time.Time
}

// join finds the portal that make test-portal-pass started.
func join(t *testing.T) *running {
	t.Helper()
	up := os.Getenv("PORTAL_UP_DIR")
	if up == "" {
		t.Skip("make test-portal-pass runs it, on the portal of make portal")
	}
	a, err := portal.Recall(filepath.Join(up, "portal", "portal.json"))
	if err != nil {
		t.Fatal("no portal runs: ", err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(up, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := controlplane.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &running{Access: a, Client: c, up: up, began: time.Now()}
}

// stampf writes a line with the time since the test began.
func (r *running) stampf(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf("%s %6.1fs  %s", time.Now().Format("15:04:05"), time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// see waits for something and stamps it, with how long it took.
func (r *running) see(t *testing.T, within time.Duration, what string, f func(context.Context) error) {
	t.Helper()
	since := time.Now()
	if err := controlplane.Eventually(t.Context(), within, what, f); err != nil {
		t.Fatalf("%s after %s: %v", time.Now().Format("15:04:05"), time.Since(r.began).Round(time.Second), err)
	}
	r.stampf(t, "%s (%s)", what, time.Since(since).Round(100*time.Millisecond))
}

// upload puts a copy of a dataset into the bucket under another name.
func (r *running) upload(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root(t), "test", "standins", "datasets", "coffee-sales.csv"))
	if err != nil {
		t.Fatal(err)
	}
	r.storage(t, http.MethodPost, "/upload/storage/v1/b/acme-data-datasets/o?uploadType=media&name="+url.QueryEscape(name+".csv"), data)
}

func (r *running) storage(t *testing.T, method, path string, body []byte) {
	t.Helper()
	host, err := os.ReadFile(filepath.Join(r.up, "storage-address"))
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), method, strings.TrimSpace(string(host))+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/csv")
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close() //nolint:errcheck // a reader
	if rsp.StatusCode > 299 {
		text, _ := io.ReadAll(rsp.Body) // what there is
		t.Fatalf("%s %s: %s: %s", method, path, rsp.Status, text)
	}
}

// entity looks for one in Backstage's catalog: resource/default/x.
func (r *running) entity(ctx context.Context, ref string) error {
	return r.Do(ctx, http.MethodGet, "/api/catalog/entities/by-name/"+ref, nil, &object{})
}

// inPicker asks what the form's picker asks, and says whether a dataset is among them.
func (r *running) inPicker(ctx context.Context, dataset string) error {
	answer := struct {
		Items []struct{ Metadata struct{ Name string } }
	}{}
	query := object{"limit": 500, "query": object{"kind": "Resource", "spec.type": "dataset", "metadata.labels.whisperops.io/ready": "true"}}
	if err := r.Do(ctx, http.MethodPost, "/api/catalog/entities/by-query", query, &answer); err != nil {
		return err
	}
	for _, i := range answer.Items {
		if i.Metadata.Name == dataset {
			return nil
		}
	}
	return fmt.Errorf("%s is not among %v", dataset, answer.Items)
}

// submit runs a template, and returns the task's id.
func (r *running) submit(ctx context.Context, template string, values object) (string, error) {
	task := struct{ ID string }{}
	return task.ID, r.Do(ctx, http.MethodPost, "/api/scaffolder/v2/tasks", object{"templateRef": "template:default/" + template, "values": values}, &task)
}

// errFailed is the end of a task that failed.
var errFailed = errors.New("the task failed")

// ended returns nil when a task is completed, and errFailed with its log when it
// isn't and won't be.
func (r *running) ended(ctx context.Context, id string) error {
	task := struct{ Status string }{}
	if err := r.Do(ctx, http.MethodGet, "/api/scaffolder/v2/tasks/"+id, nil, &task); err != nil {
		return err
	}
	switch task.Status {
	case "completed":
		return nil
	case "open", "processing":
		return fmt.Errorf("the task is %s: %s", task.Status, r.said(ctx, id))
	}
	return controlplane.Never(fmt.Errorf("%w: %s: %s", errFailed, task.Status, r.said(ctx, id)))
}

// said is the log of a task, a step's sentences in one line each.
func (r *running) said(ctx context.Context, id string) string {
	events := []struct{ Body struct{ Message string } }{}
	if err := r.Do(ctx, http.MethodGet, "/api/scaffolder/v2/tasks/"+id+"/events", nil, &events); err != nil {
		return err.Error()
	}
	lines := []string{}
	for _, e := range events {
		lines = append(lines, e.Body.Message)
	}
	return strings.Join(lines, "\n")
}

// form runs a template as its form would, to the end.
func (r *running) form(t *testing.T, within time.Duration, template string, values object) {
	t.Helper()
	id, err := r.submit(t.Context(), template, values)
	if err != nil {
		t.Fatal(err)
	}
	r.see(t, within, "the task of "+template, func(ctx context.Context) error { return r.ended(ctx, id) })
}

func newOrder(agent, dataset string) object {
	return object{
		"agent_name": agent, "dataset": "resource:default/" + dataset, "budget_usd": 5, "description": "Answers questions about coffee",
		"base_domain": "34.61.7.12.sslip.io", "project_id": "acme-data",
	}
}

// component is what the pickers of agents give.
func component(agent string) string { return "component:default/agent-" + agent }

func (r *running) order(ctx context.Context, agent string) (*unstructured.Unstructured, error) {
	return r.Get(ctx, api, "XDatasetAgent", "", agent)
}

func (r *running) application(ctx context.Context, agent string) (*unstructured.Unstructured, error) {
	return r.Get(ctx, "argoproj.io/v1alpha1", "Application", "argocd", "agent-"+agent)
}

func is(o *unstructured.Unstructured, want any, fields ...string) error {
	got, _, _ := unstructured.NestedFieldNoCopy(o.Object, fields...)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%s is %v, want %v", strings.Join(fields, "."), got, want)
	}
	return nil
}

// delivered says whether Argo CD calls the order Synced, and as healthy as that.
func (r *running) delivered(agent, health string) func(context.Context) error {
	return func(ctx context.Context) error {
		app, err := r.application(ctx, agent)
		if err != nil {
			return err
		}
		message, _, _ := unstructured.NestedString(app.Object, "status", "operationState", "message")
		if err := errors.Join(is(app, "Synced", "status", "sync", "status"), is(app, health, "status", "health", "status")); err != nil {
			return fmt.Errorf("%w: %s", err, message)
		}
		return nil
	}
}

// ordered says whether the living order has a value.
func (r *running) ordered(agent string, want any, fields ...string) func(context.Context) error {
	return func(ctx context.Context) error {
		o, err := r.order(ctx, agent)
		if err != nil {
			return err
		}
		return is(o, want, append([]string{"spec"}, fields...)...)
	}
}

// ready says whether an order is Ready with all its parts.
func (r *running) ready(agent string) func(context.Context) error {
	return func(ctx context.Context) error {
		o, err := r.order(ctx, agent)
		if err != nil {
			return err
		}
		parts, _, _ := unstructured.NestedSlice(o.Object, "spec", "crossplane", "resourceRefs")
		if status, _, message := controlplane.Condition(o, "Ready"); status != "True" || len(parts) != 22 {
			return fmt.Errorf("%d parts, Ready=%s: %s", len(parts), status, message)
		}
		return nil
	}
}

// commits returns how often the order's repository was written.
func (r *running) commits(t *testing.T, agent string) int {
	t.Helper()
	list := []object{}
	if err := r.Gitea.Do(t.Context(), http.MethodGet, "/repos/agents/agent-"+agent+"/commits?stat=false&files=false&verification=false", nil, &list); err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// file is the order in Git, and the SHA that an editor must give back.
type file struct {
	SHA     string
	Content []byte
}

const orderPath = "/contents/manifests/xdatasetagent.yaml"

func (r *running) file(t *testing.T, agent string) file {
	t.Helper()
	f := file{}
	if err := r.Gitea.Do(t.Context(), http.MethodGet, "/repos/agents/agent-"+agent+orderPath, nil, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// write is an editor's save in Gitea, on what it has read.
func (r *running) write(ctx context.Context, agent string, read file, from, to string) error {
	if !bytes.Contains(read.Content, []byte(from)) {
		return fmt.Errorf("no %q in %s", from, read.Content)
	}
	return r.Gitea.Do(ctx, http.MethodPut, "/repos/agents/agent-"+agent+orderPath, object{
		"sha": read.SHA, "message": "by hand", "content": bytes.Replace(read.Content, []byte(from), []byte(to), 1),
	}, nil)
}

// cloud returns what the stand-ins for Google Cloud hold of an agent.
func (r *running) cloud(t *testing.T, agent string) []string {
	t.Helper()
	found := []string{}
	clouds := 0
	if err := filepath.WalkDir(filepath.Join(r.up, "stack"), func(path string, d os.DirEntry, _ error) error {
		if d == nil || d.Name() != "cloud.json" {
			return nil // what ends meanwhile is no cloud
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		clouds++
		all := map[string]object{}
		if err := json.Unmarshal(data, &all); err != nil {
			return err
		}
		for name, fields := range all {
			if text, _ := json.Marshal(fields); strings.Contains(name+string(text), agent) {
				found = append(found, name)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if clouds == 0 {
		t.Fatal("found no cloud.json below ", r.up)
	}
	return found
}

// nothing fails unless all of an agent is gone, in cluster, cloud, Git and catalog.
func (r *running) nothing(t *testing.T, agent string) {
	t.Helper()
	absent := func(err error, what string) {
		t.Helper()
		if err == nil || !apierrors.IsNotFound(err) && !strings.Contains(err.Error(), ": 404 ") {
			t.Errorf("want %s to be gone, got %v", what, err)
		}
	}
	_, err := r.order(t.Context(), agent)
	absent(err, "the order")
	_, err = r.Get(t.Context(), api, "XAgentBudget", "agent-"+agent, agent)
	absent(err, "the budget")
	_, err = r.Get(t.Context(), "v1", "Namespace", "", "agent-"+agent)
	absent(err, "the namespace")
	_, err = r.application(t.Context(), agent)
	absent(err, "the Application")
	absent(r.Gitea.Do(t.Context(), http.MethodGet, "/repos/agents/agent-"+agent, nil, nil), "the repository")
	for _, kind := range []string{"component", "system"} {
		err = r.entity(t.Context(), kind+"/default/agent-"+agent)
		absent(err, kind)
	}
	for kind, version := range map[string]string{
		"Bucket": "storage.gcp.upbound.io/v1beta2", "BucketIAMMember": "storage.gcp.upbound.io/v1beta2", "ServiceAccount": "cloudplatform.gcp.upbound.io/v1beta1",
		"ServiceAccountKey": "cloudplatform.gcp.upbound.io/v1beta1", "ProjectIAMMember": "cloudplatform.gcp.upbound.io/v1beta2", "Object": "kubernetes.m.crossplane.io/v1alpha1",
	} {
		list, err := r.List(t.Context(), version, kind, "")
		if err != nil {
			t.Error(err)
		}
		for _, o := range list {
			if o.GetLabels()["crossplane.io/composite"] == agent {
				t.Errorf("%s %s still stands", kind, o.GetName())
			}
		}
	}
	if left := r.cloud(t, agent); len(left) > 0 {
		t.Errorf("the cloud still holds %v", left)
	}
	r.stampf(t, "nothing of %s is left in cluster, cloud, Git and catalog", agent)
}

// crash kills a program of the portal as a crash would; make portal starts it again.
func (r *running) crash(t *testing.T, name string) {
	t.Helper()
	pid, err := r.pid(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	r.stampf(t, "killed %s", name)
	if err := controlplane.Eventually(t.Context(), time.Minute, name+" to be started again", func(context.Context) error {
		now, err := r.pid(name)
		if err == nil && now == pid {
			err = errors.New("it was not")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// pid reads a program's process id. While it is being written there is none in the file.
func (r *running) pid(name string) (int, error) {
	data, err := os.ReadFile(filepath.Join(r.Dir, "pids", name))
	if err != nil {
		return 0, err
	}
	text, _, _ := strings.Cut(string(data), " ")
	return strconv.Atoi(text)
}
