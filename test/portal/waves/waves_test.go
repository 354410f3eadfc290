// Package waves has Argo CD install the platform, as package/gitops says, on a control
// plane that has nothing yet.
package waves

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/portal"
	"whisperops.io/functions/hack/controlplane/suite"
)

func TestMain(m *testing.M) { os.Exit(controlplane.Isolated(m.Run)) }

// waves are the Applications of package/gitops/platform, in their order.
var waves = []string{"whisperops-definitions", "whisperops-providers", "whisperops-functions", "whisperops-provider-configs", "whisperops-configuration"}

// packageKinds are missing at first, as on a cluster on which Crossplane comes up at the
// same time.
var packageKinds = []string{"providers.pkg.crossplane.io", "functions.pkg.crossplane.io", "configurations.pkg.crossplane.io"}

// late stands for a CRD that takes its time: the first hook waits for it in vain.
const late = "late.example.org"

type cluster struct {
	*suite.Suite

	p      *portal.Portal
	ledger string
	began  time.Time

	mu    sync.Mutex
	hooks []string // what each hook's run ended with
}

// The platform's root Application, applied before there is anything it needs, heals by
// itself: what fails is tried again, hooks give up with a sentence and are run again, and
// no wave begins before the one it rests on is healthy.
func TestRootApplicationOnAnEmptyControlPlane(t *testing.T) {
	programs := os.Getenv("WAVES_BUILD")
	if programs == "" {
		t.Skip("make test-portal-waves runs it")
	}
	c := boot(t, programs)
	core, manager := c.Process("crossplane"), c.Process("rbac-manager")
	core.Stop()
	manager.Stop()
	for _, crd := range packageKinds {
		if err := c.Delete(t.Context(), "apiextensions.k8s.io/v1", "CustomResourceDefinition", "", crd); err != nil {
			t.Fatal(err)
		}
	}
	c.publish(t)
	go c.runHooks(t.Context())

	c.see(t, time.Minute, "the providers to be tried again, because their kind is not there", func(ctx context.Context) error {
		app, err := c.application(ctx, "whisperops-providers")
		if err != nil {
			return err
		}
		message, _, _ := unstructured.NestedString(app.Object, "status", "operationState", "message")
		if !strings.Contains(message, "Retrying") || !strings.Contains(message, "ensure CRDs are installed first") {
			return fmt.Errorf("it says %q", message)
		}
		return nil
	})
	for _, later := range waves[2:] {
		if _, err := c.application(t.Context(), later); err == nil {
			t.Errorf("want no %s before the providers are healthy", later)
		}
	}
	c.install(t)
	for _, p := range []*controlplane.Process{core, manager} {
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.stampf(t, "Crossplane runs")
	for _, name := range waves {
		c.see(t, 6*time.Minute, name+" Synced and Healthy", c.whole(name))
	}
	c.see(t, time.Minute, "the platform Synced and Healthy", c.whole("whisperops"))
	c.inOrder(t)
	c.mu.Lock()
	defer c.mu.Unlock()
	if all := strings.Join(c.hooks, "\n"); len(c.hooks) != 3 || !strings.Contains(c.hooks[0], "1 of 7 are still missing: customresourcedefinitions/"+late+": not there") {
		t.Errorf("want the first hook to give up with a sentence, and two to end well, got:\n%s", all)
	}
}

func boot(t *testing.T, programs string) *cluster {
	t.Helper()
	root, err := controlplane.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	tools, err := controlplane.FindTools(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{ledger: filepath.Join(programs, "bin", "ledger"), began: time.Now()}
	if c.Suite, err = suite.Start(t.Context(), suite.Options{
		Options:  controlplane.Options{Dir: t.TempDir(), Log: t.Logf},
		Checkout: root, Packages: filepath.Join(programs, "xpkg"), StandIns: filepath.Join(programs, "bin"), Bare: true,
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	if c.p, err = portal.StartDelivery(t.Context(), portal.Options{
		Dir: t.TempDir(), Checkout: root, Kubeconfig: c.Kubeconfig, Tools: tools, Ledger: c.ledger, Log: t.Logf,
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.p.Stop)
	return c
}

func (c *cluster) stampf(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf("%6.1fs  %s", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

func (c *cluster) see(t *testing.T, within time.Duration, what string, f func(context.Context) error) {
	t.Helper()
	if err := controlplane.Eventually(t.Context(), within, what, f); err != nil {
		t.Fatal(err)
	}
	c.stampf(t, "%s", what)
}

func (c *cluster) application(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	return c.Get(ctx, "argoproj.io/v1alpha1", "Application", "argocd", name)
}

func (c *cluster) whole(name string) func(context.Context) error {
	return func(ctx context.Context) error {
		app, err := c.application(ctx, name)
		if err != nil {
			return err
		}
		get := func(fields ...string) string { s, _, _ := unstructured.NestedString(app.Object, fields...); return s }
		sync, health, phase := get("status", "sync", "status"), get("status", "health", "status"), get("status", "operationState", "phase")
		if sync != "Synced" || health != "Healthy" || phase != "Succeeded" {
			return fmt.Errorf("%s, %s, %s: %s", sync, health, phase, get("status", "operationState", "message"))
		}
		return nil
	}
}

// publish puts package/ into Gitea, with Gitea's address in the place of the example's,
// and applies the root Application: what docs/gitops.md tells the platform team to do.
func (c *cluster) publish(t *testing.T) {
	t.Helper()
	root, err := controlplane.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=p", "GIT_AUTHOR_EMAIL=p@example.org", "GIT_COMMITTER_NAME=p", "GIT_COMMITTER_EMAIL=p@example.org")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
	}
	run("mkdir", "package")
	run("cp", "-R", filepath.Join(root, "package", "install"), filepath.Join(root, "package", "gitops"), "package")
	run("sh", "-c", "grep -rl https://git.example.org package | xargs sed -i s,https://git.example.org,"+c.p.Gitea.URL+",")
	if err := c.p.Gitea.Do(t.Context(), "POST", "/orgs/platform/repos", map[string]any{"name": "whisperops", "default_branch": "main"}, nil); err != nil {
		t.Fatal(err)
	}
	run("git", "init", "-q", "-b", "main")
	run("git", "add", ".")
	run("git", "commit", "-q", "-m", "platform")
	run("git", "push", "-q", strings.Replace(c.p.Gitea.URL, "://", "://"+c.p.Gitea.User+":"+c.p.Gitea.Password+"@", 1)+"/platform/whisperops.git", "main")
	objs, err := controlplane.DecodeFiles(filepath.Join(dir, "package", "gitops", "root.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), objs...); err != nil {
		t.Fatal(err)
	}
	c.stampf(t, "root Application applied")
}

// install makes the kinds of packages again, as Crossplane's own installation does.
func (c *cluster) install(t *testing.T) {
	t.Helper()
	crds, err := controlplane.DecodeFiles(filepath.Join(c.Tools["CROSSPLANE_FILES"], "crds"))
	if err != nil {
		t.Fatal(err)
	}
	for _, crd := range crds {
		for _, name := range packageKinds {
			if crd.GetName() == name {
				if err := c.Apply(t.Context(), crd); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// runHooks runs the hooks' Jobs, as a kubelet and the Job controller would: the ledger
// with their arguments and their ServiceAccount's rights. The first is made to give up.
func (c *cluster) runHooks(ctx context.Context) {
	seen := map[string]bool{}
	for ; ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
		jobs, err := c.Kubernetes.BatchV1().Jobs(controlplane.Namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			continue
		}
		for i := range jobs.Items {
			j := &jobs.Items[i]
			if seen[string(j.UID)] || j.DeletionTimestamp != nil {
				continue
			}
			first := len(seen) == 0
			seen[string(j.UID)] = true
			out, err := c.hook(ctx, j, first)
			c.mu.Lock()
			c.hooks = append(c.hooks, fmt.Sprintf("%s: %v: %s", j.Name, err, out))
			c.mu.Unlock()
			if err := c.finish(ctx, j, err == nil); err != nil && ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "cannot finish the hook:", err)
			}
		}
	}
}

func (c *cluster) hook(ctx context.Context, j *batchv1.Job, inVain bool) (string, error) {
	pod := j.Spec.Template.Spec
	token, err := c.Token(ctx, j.Namespace, pod.ServiceAccountName)
	if err != nil {
		return "", err
	}
	args := pod.Containers[0].Args
	if inVain {
		args = append(args, "--timeout=20s", "--established="+late)
	}
	kubeconfig, err := c.p.KubeconfigOf(j.Name, token)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, c.ledger, args...)
	cmd.Env = []string{"KUBECONFIG=" + kubeconfig}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// finish says in a Job's status how it ended. Kubernetes wants the two conditions one
// after the other.
func (c *cluster) finish(ctx context.Context, j *batchv1.Job, well bool) error {
	conditions := []batchv1.JobConditionType{batchv1.JobSuccessCriteriaMet, batchv1.JobComplete}
	if !well {
		conditions = []batchv1.JobConditionType{batchv1.JobFailureTarget, batchv1.JobFailed}
	}
	now := metav1.Now()
	j.Status.StartTime = &j.CreationTimestamp
	for _, kind := range conditions {
		j.Status.Conditions = append(j.Status.Conditions, batchv1.JobCondition{Type: kind, Status: corev1.ConditionTrue, LastTransitionTime: now, Reason: "Played"})
	}
	if well {
		j.Status.CompletionTime, j.Status.Succeeded = &now, 1
	} else {
		j.Status.Failed = 1
	}
	_, err := c.Kubernetes.BatchV1().Jobs(j.Namespace).UpdateStatus(ctx, j, metav1.UpdateOptions{})
	return err
}

// inOrder asserts that each wave's Application was made when the one before was healthy,
// and that what a wave brings was made when what it needs was there.
func (c *cluster) inOrder(t *testing.T) {
	t.Helper()
	made := map[string]time.Time{}
	healthy := map[string]time.Time{}
	for _, name := range waves {
		app, err := c.application(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		made[name] = app.GetCreationTimestamp().Time
		text, _, _ := unstructured.NestedString(app.Object, "status", "health", "lastTransitionTime")
		if healthy[name], err = time.Parse(time.RFC3339, text); err != nil {
			t.Fatal(err)
		}
		c.stampf(t, "%s made at %s, healthy at %s", name, made[name].Format(time.TimeOnly), healthy[name].Format(time.TimeOnly))
	}
	for i, name := range waves[1:] {
		if before := waves[i]; made[name].Before(healthy[before]) {
			t.Errorf("want %s after %s is healthy at %s, it was made at %s", name, before, healthy[before], made[name])
		}
	}
	wanted := map[string]time.Time{} // when it was healthy or established
	for _, x := range []struct{ version, kind, condition, name string }{
		{"pkg.crossplane.io/v1", "Provider", "Healthy", "provider-kubernetes"},
		{"apiextensions.k8s.io/v1", "CustomResourceDefinition", "Established", "clusterproviderconfigs.kubernetes.m.crossplane.io"},
		{"pkg.crossplane.io/v1", "Function", "Healthy", "function-budget-decide"},
	} {
		at, err := c.since(t.Context(), x.version, x.kind, x.name, x.condition)
		if err != nil {
			t.Fatal(err)
		}
		wanted[x.kind] = at
	}
	config, err := c.Get(t.Context(), "kubernetes.m.crossplane.io/v1alpha1", "ClusterProviderConfig", "", "in-cluster")
	if err != nil {
		t.Fatal(err)
	}
	configuration, err := c.Get(t.Context(), "pkg.crossplane.io/v1", "Configuration", "", "whisperops")
	if err != nil {
		t.Fatal(err)
	}
	if at := config.GetCreationTimestamp().Time; at.Before(wanted["Provider"]) || at.Before(wanted["CustomResourceDefinition"]) {
		t.Errorf("want the provider's configuration after %v, it was made at %s", wanted, at)
	}
	if at := configuration.GetCreationTimestamp().Time; at.Before(wanted["Function"]) {
		t.Errorf("want the Configuration after the functions' %s, it was made at %s", wanted["Function"], at)
	}
}

func (c *cluster) since(ctx context.Context, version, kind, name, condition string) (time.Time, error) {
	o, err := c.Get(ctx, version, kind, "", name)
	if err != nil {
		return time.Time{}, err
	}
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, x := range list {
		if m, ok := x.(map[string]any); ok && m["type"] == condition && m["status"] == "True" {
			text, _ := m["lastTransitionTime"].(string)
			return time.Parse(time.RFC3339, text)
		}
	}
	return time.Time{}, errors.New(name + " is not " + condition)
}
