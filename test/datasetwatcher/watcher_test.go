package datasetwatcher

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/test/datasetwatcher/world"
)

func TestMain(m *testing.M) { os.Exit(controlplane.Isolated(m.Run)) }

// soon is longer than any of this takes on a slow machine.
const soon = time.Minute

// start boots a world of the test's own. Most of a test is waiting, so tests run
// side by side.
func start(t *testing.T, gitea bool) *world.World {
	t.Helper()
	t.Parallel()
	w, err := world.Start(t.Context(), world.Options{Dir: t.TempDir(), Gitea: gitea, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range w.AllProcesses() {
				if strings.HasPrefix(p.Name, "watcher") {
					t.Logf("the last lines of %s:\n%s", p.Name, p.LogTail(40))
				}
			}
		}
		told, err := w.Kubectl(context.WithoutCancel(t.Context()), "-n", world.Namespace, "get", "configmaps,events,leases", "-o", "yaml")
		if err != nil {
			t.Error(err)
		}
		w.Close()
		secrets(t, w, told)
	})
	return w
}

// secrets fails when the token of Gitea stands in a log of the watcher, or in
// what it wrote for people into the cluster.
func secrets(t *testing.T, w *world.World, told string) {
	t.Helper()
	if w.Gitea == nil {
		return
	}
	token, err := os.ReadFile(w.Gitea.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"what the watcher tells": told}
	for _, p := range w.AllProcesses() {
		if !strings.HasPrefix(p.Name, "watcher") {
			continue
		}
		log, err := os.ReadFile(p.LogFile())
		if err != nil {
			t.Error(err)
		}
		texts["the log of "+p.Name] = string(log)
	}
	if len(texts) < 2 || told == "" {
		t.Errorf("there is nothing to look for secrets in: %d texts", len(texts))
	}
	for what, text := range texts {
		if strings.Contains(text, strings.TrimSpace(string(token))) {
			t.Errorf("%s holds the token", what)
		}
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

func watch(t *testing.T, w *world.World, process string, flags ...string) *world.Watcher {
	t.Helper()
	p, err := w.Watch(t.Context(), process, flags...)
	must(t, err)
	return p
}

func await(t *testing.T, w *world.World, want string) time.Duration {
	t.Helper()
	d, err := w.Await(t.Context(), soon, want)
	must(t, err)
	return d
}

func awaitEntities(t *testing.T, w *world.World, want string) time.Duration {
	t.Helper()
	d, err := w.Gitea.AwaitEntities(t.Context(), soon, want)
	must(t, err)
	return d
}

// awaitStatus waits until a key of the watcher's ConfigMap holds a text, or is
// empty if that is wanted.
func awaitStatus(t *testing.T, w *world.World, key, want string) string {
	t.Helper()
	value := ""
	must(t, controlplane.Eventually(t.Context(), soon, fmt.Sprintf("%s of the status to tell %q", key, want), func(ctx context.Context) error {
		s, err := w.Status(ctx)
		value = s[key]
		if err == nil && (want == "" && value != "" || !strings.Contains(value, want)) {
			err = fmt.Errorf("it tells %q", value)
		}
		return err
	}))
	return value
}

// lasting is what of an XDataset no pass of time changes: lastSeen moves every hour,
// and while a fall lasts, and some time afterwards, condition Verified says so.
func lasting(o unstructured.Unstructured) map[string]any {
	o = *o.DeepCopy()
	unstructured.RemoveNestedField(o.Object, "status", "lastSeen")
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	conditions = slices.DeleteFunc(conditions, func(c any) bool { return c.(map[string]any)["type"] == "Verified" })
	status, _, _ := unstructured.NestedMap(o.Object, "status")
	status["conditions"] = conditions
	return map[string]any{"labels": o.GetLabels(), "spec": o.Object["spec"], "status": status}
}

func condition(t *testing.T, w *world.World, dataset, kind string) string {
	t.Helper()
	o, err := w.Get(t.Context(), "whisperops.io/v1alpha1", "XDataset", "", dataset)
	must(t, err)
	status, reason, _ := controlplane.Condition(o, kind)
	return status + "/" + reason
}

const (
	houses = "longitude,latitude,median_house_value\n-122.23,37.88,452600\n"
	page   = "<!DOCTYPE html>\n<html><body>403</body></html>\n"
)

// The whole circuit: an upload becomes an XDataset, and an entity in Git.
func TestCircuit(t *testing.T) {
	w := start(t, true)
	ctx := t.Context()
	must(t,
		w.InstallAgents(ctx),
		w.Upload(ctx, "california_housing.csv", strings.Repeat(houses, 40_000), "display-name", "Houses of California"),
		w.Upload(ctx, "Athlete_Recovery.csv", houses),
		w.Upload(ctx, "broken.csv", page),
		w.Upload(ctx, "nothing.csv", ""),
		w.Upload(ctx, "notes.txt", "not a dataset"),
	)
	p := watch(t, w, "watcher", "--remove-after", "1")
	t.Logf("four datasets after %s", await(t, w, "athlete-recovery broken* california-housing nothing*"))
	t.Logf("in Git after %s more", awaitEntities(t, w, "athlete-recovery broken california-housing nothing"))
	for dataset, want := range map[string]string{"athlete-recovery": "True/Available", "broken": "False/Markup", "nothing": "False/Empty"} {
		if got := condition(t, w, dataset, "Ready"); got != want {
			t.Errorf("%s: want Ready %s, got %s", dataset, want, got)
		}
	}

	o, err := w.Get(ctx, "whisperops.io/v1alpha1", "XDataset", "", "california-housing")
	must(t, err)
	spec := o.Object["spec"].(map[string]any)
	if spec["gcsPath"] != "gs://acme-data-datasets/california_housing.csv" || spec["displayName"] != "Houses of California" || spec["sizeBytes"] != int64(len(houses)*40_000) {
		t.Errorf("want the object's own name, its metadata and its size, got %v", spec)
	}
	attrs, err := w.Store.Object("california_housing.csv").Attrs(ctx)
	must(t, err)
	status := o.Object["status"].(map[string]any)
	if status["generation"] != strconv.FormatInt(attrs.Generation, 10) || status["crc32c"] == "" || status["sizeHuman"] != "2.3 MiB" {
		t.Errorf("want generation %d, a checksum and 2.3 MiB, got %v", attrs.Generation, status)
	}
	table := kubectl(t, w, "get", "xds")
	if fields := strings.Fields(strings.SplitN(table, "\n", 2)[0]); !slices.Equal(fields, []string{"NAME", "SIZE", "READY", "LAST_SEEN", "AGE"}) {
		t.Errorf("want the columns of the contract, got %s", fields)
	}
	t.Logf("kubectl get xds\n%s", table)
	entity, err := w.Gitea.File(ctx, "datasets/resources/california-housing.yaml")
	must(t, err)
	if !strings.Contains(entity, "title: Houses of California") || !strings.Contains(entity, "type: dataset") {
		t.Errorf("want a Resource entity, got\n%s", entity)
	}

	// Removed, renamed, added, overwritten: seen at the next listing.
	must(t,
		w.Remove(ctx, "broken.csv"),
		w.Rename(ctx, "Athlete_Recovery.csv", "Athletes.csv"),
		w.Upload(ctx, "iris.csv", houses),
		w.Upload(ctx, "nothing.csv", houses),
	)
	if d := await(t, w, "athletes california-housing iris nothing"); d > 10*time.Second {
		t.Errorf("want it seen within an interval of %s and a little, took %s", world.Interval, d)
	}
	awaitEntities(t, w, "athletes california-housing iris nothing")

	// An agent holds on to a dataset. The last one lets go.
	must(t, w.Order(ctx, "iris-bot", "iris"), w.Remove(ctx, "iris.csv"))
	await(t, w, "athletes california-housing iris* nothing")
	must(t, w.Listings(ctx, 3))
	if got := condition(t, w, "iris", "Ready"); got != "False/ObjectMissing" {
		t.Errorf("want iris kept with reason ObjectMissing, got %s", got)
	}
	must(t, w.Delete(ctx, "whisperops.io/v1alpha1", "XDatasetAgent", "", "iris-bot"))
	await(t, w, "athletes california-housing nothing")
	awaitEntities(t, w, "athletes california-housing nothing")

	// A world at rest is not written to, but for the status.
	must(t, w.Listings(ctx, 2))
	resting, err := w.Datasets(ctx)
	must(t, err)
	before, err := w.Requests()
	must(t, err)
	commits, err := w.Gitea.Commits(ctx)
	must(t, err)
	must(t, w.Listings(ctx, 4))
	after, err := w.Requests()
	must(t, err)
	rested, err := w.Datasets(ctx)
	must(t, err)
	got := world.Writes(after[len(before):])
	if got["update configmaps"] == 0 {
		t.Errorf("want the time of the listings written, got %v", got)
	}
	delete(got, "update configmaps")
	// Once an hour each dataset's lastSeen moves, perhaps just now.
	for n, o := range rested {
		was := resting[n]
		if cmp.Diff(o.Object["status"], was.Object["status"]) != "" && cmp.Diff(lasting(o), lasting(was)) == "" {
			got["update xdatasets/status"]--
		}
	}
	for what, n := range got {
		if n > 0 {
			t.Errorf("want nothing else written, got %d times %s", n, what)
		}
	}
	if n, err := w.Gitea.Commits(ctx); err != nil || n != commits {
		t.Errorf("want no commit, got %d after %d, %v", n, commits, err)
	}
	rights(t, w)
	for series, want := range map[string]float64{
		`dataset_watcher_datasets{state="ready"}`:                                          3,
		`dataset_watcher_datasets{state="not_ready"}`:                                      0,
		`dataset_watcher_datasets{state="missing"}`:                                        0,
		`dataset_watcher_objects{kind="csv"}`:                                              3,
		`dataset_watcher_fall_missing_datasets`:                                            0,
		`dataset_watcher_writes_total{operation="create",result="ok",target="kubernetes"}`: 6,
		`dataset_watcher_writes_total{operation="delete",result="ok",target="kubernetes"}`: 3,
		`dataset_watcher_listings_total{result="failed"}`:                                  0,
	} {
		if got := metric(t, p, series); got != want {
			t.Errorf("want %s %g, got %g", series, want, got)
		}
	}
	// With the location file there are seven. Those of a commit that Gitea took longer for
	// than anybody waits are found there, and not counted.
	if got := metric(t, p, `dataset_watcher_writes_total{operation="create",result="ok",target="git"}`); got < 1 || got > 7 {
		t.Errorf("want up to 7 files created in Git, got %g", got)
	}
	now := float64(time.Now().Unix())
	for _, series := range []string{"dataset_watcher_last_complete_listing_timestamp_seconds", "dataset_watcher_last_catalog_success_timestamp_seconds"} {
		if got := metric(t, p, series); got < now-soon.Seconds() || got > now {
			t.Errorf("want %s a moment ago, got %g at %g", series, got, now)
		}
	}
}

func metric(t *testing.T, p *world.Watcher, series string) float64 {
	t.Helper()
	all, err := p.Metrics(t.Context())
	must(t, err)
	v, ok := all[series]
	if !ok {
		t.Errorf("want a series %s, got %s", series, slices.Sorted(maps.Keys(all)))
	}
	return v
}

// readiness waits until the watcher's readiness probe answers so.
func readiness(t *testing.T, p *world.Watcher, want int) {
	t.Helper()
	must(t, controlplane.Eventually(t.Context(), soon, fmt.Sprintf("readiness %d", want), func(ctx context.Context) error {
		got, text, err := p.Ready(ctx)
		if err == nil && got != want {
			err = fmt.Errorf("it is %d %s", got, text)
		}
		return err
	}))
}

// rights fails when the watcher was refused something, or was given a right that
// it did not use in all that TestCircuit makes it do.
func rights(t *testing.T, w *world.World) {
	t.Helper()
	requests, err := w.Requests()
	must(t, err)
	used := map[string]bool{}
	for _, r := range requests {
		if r.Code == http.StatusForbidden {
			t.Errorf("the watcher was refused to %s %s %s", r.Verb, r.Resource, r.Name)
		}
		used[r.Verb+" "+r.Group+"/"+r.Resource] = true
	}
	// Asked for when the kind of the agents is missing, TestFaults does that. A
	// patch counts an event that repeats within minutes. The manager tells
	// about the lease through the older of the two kinds of events.
	for _, elsewhere := range []string{"get apiextensions.k8s.io/customresourcedefinitions", "patch events.k8s.io/events", "patch /events"} {
		used[elsewhere] = true
	}
	root, err := controlplane.Checkout()
	must(t, err)
	objects, err := controlplane.DecodeFiles(filepath.Join(root, "package/install/dataset-watcher/base/rbac.yaml"))
	must(t, err)
	for _, o := range objects {
		if o.GetKind() != "ClusterRole" && o.GetKind() != "Role" {
			continue
		}
		role := rbacv1.Role{}
		must(t, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role))
		for _, rule := range role.Rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						if !used[verb+" "+group+"/"+resource] {
							t.Errorf("%s %s gives the right to %s %s/%s, which was never used", o.GetKind(), o.GetName(), verb, group, resource)
						}
					}
				}
			}
		}
	}
}

// Nothing that goes wrong with the bucket removes anything.
func TestFaults(t *testing.T) { //nolint:tparallel // its parts share one world, and come one after the other
	w := start(t, false)
	ctx := t.Context()
	all := []string{}
	for i := range 9 {
		must(t, w.Upload(ctx, fmt.Sprintf("d%d.csv", i), houses))
		all = append(all, fmt.Sprintf("d%d", i))
	}
	everything := strings.Join(all, " ")
	// Pages of four, as a bucket of thousands has them.
	pages := func(_ http.ResponseWriter, r *http.Request) bool {
		if q := r.URL.Query(); q.Get("maxResults") != "" {
			q.Set("maxResults", "4")
			r.URL.RawQuery = q.Encode()
		}
		return false
	}
	w.StoreGate.Fail(pages)
	p := watch(t, w, "watcher", "--listing-timeout", "2s")
	await(t, w, everything)
	readiness(t, p, http.StatusOK)

	listing := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/o") }
	faults := map[string]struct {
		fault func(http.ResponseWriter, *http.Request) bool
		tells string
	}{
		"HalfwayForbidden": {func(rw http.ResponseWriter, r *http.Request) bool {
			if listing(r) && r.URL.Query().Get("pageToken") != "" {
				http.Error(rw, `{"error":{"code":403,"message":"no"}}`, http.StatusForbidden)
				return true
			}
			return pages(rw, r)
		}, "cannot list gs://acme-data-datasets/"},
		"HalfwayCutOff": {func(rw http.ResponseWriter, r *http.Request) bool {
			if listing(r) && r.URL.Query().Get("pageToken") != "" {
				panic(http.ErrAbortHandler)
			}
			return pages(rw, r)
		}, "cannot list gs://acme-data-datasets/"},
		"HalfAPage": {func(rw http.ResponseWriter, r *http.Request) bool {
			if listing(r) {
				rw.Header().Set("Content-Length", "1000")
				fmt.Fprint(rw, `{"kind":"storage#objects","items":[{"name":"d0.csv","size":"1"}`)
				return true
			}
			return false
		}, "cannot list gs://acme-data-datasets/"},
		"Unavailable": {func(rw http.ResponseWriter, r *http.Request) bool {
			if listing(r) {
				http.Error(rw, "busy", http.StatusServiceUnavailable)
				return true
			}
			return false
		}, "cannot list gs://acme-data-datasets/"},
		"Slow": {func(_ http.ResponseWriter, r *http.Request) bool {
			if listing(r) {
				<-r.Context().Done()
				return true
			}
			return false
		}, "cannot list gs://acme-data-datasets/"},
		"Empty": {func(rw http.ResponseWriter, r *http.Request) bool {
			if listing(r) {
				rw.Header().Set("Content-Type", "application/json")
				fmt.Fprint(rw, `{"kind":"storage#objects"}`)
				return true
			}
			return false
		}, "9 of 9 datasets are missing from a complete listing"},
	}
	for _, name := range slices.Sorted(maps.Keys(faults)) {
		t.Run(name, func(t *testing.T) {
			w.StoreGate.Fail(faults[name].fault)
			awaitStatus(t, w, "problem", faults[name].tells)
			before, err := w.Datasets(ctx) // after the last pass that could list
			must(t, err)
			if name == "Empty" {
				must(t, w.Listings(ctx, 4))
				if got := condition(t, w, "d0", "Verified"); got != "Unknown/RegistryFell" {
					t.Errorf("want everything unverified, got %s", got)
				}
				if got := metric(t, p, `dataset_watcher_datasets{state="unverified"}`); got != 9 {
					t.Errorf("want 9 unverified datasets counted, got %g", got)
				}
				if got := metric(t, p, "dataset_watcher_fall_missing_datasets"); got != 9 {
					t.Errorf("want 9 missing datasets counted, got %g", got)
				}
			}
			if got, err := w.Names(ctx); err != nil || got != everything {
				t.Errorf("want everything still there and ready, got %s, %v", got, err)
			}
			during, err := w.Datasets(ctx)
			must(t, err)
			w.StoreGate.Fail(pages)
			awaitStatus(t, w, "problem", "")
			must(t, w.Listings(ctx, 1))
			after, err := w.Datasets(ctx)
			must(t, err)
			for n, o := range before {
				d, a := during[n], after[n]
				// Nothing is known of the bucket, so not even lastSeen moves.
				if name != "Empty" && d.GetResourceVersion() != o.GetResourceVersion() {
					t.Errorf("%s was written although nothing is known of it", n)
				}
				if a.GetUID() != o.GetUID() {
					t.Errorf("%s was made anew", n)
				}
				if diff := cmp.Diff(lasting(o), lasting(a)); diff != "" {
					t.Errorf("%s is not as it was: -before +after:\n%s", n, diff)
				}
			}
		})
	}
	t.Run("NotReady", func(t *testing.T) {
		// Without a complete listing for a while, and not at the first failure.
		w.StoreGate.Fail(faults["Unavailable"].fault)
		readiness(t, p, http.StatusInternalServerError)
		last := time.Unix(int64(metric(t, p, "dataset_watcher_last_complete_listing_timestamp_seconds")), 0)
		if silent := time.Since(last); silent < 5*world.Interval {
			t.Errorf("want it ready still %s after the last complete listing", silent)
		}
		w.StoreGate.Fail(pages)
		readiness(t, p, http.StatusOK)
	})
	t.Run("EventsTell", func(t *testing.T) {
		text := kubectl(t, w, "-n", world.Namespace, "describe", "configmap", world.Name)
		for _, want := range []string{"ListingFailed", "RegistryFell", "kubectl annotate -n whisperops-system configmap dataset-watcher whisperops.io/accept-fall=9", "PassSucceeded", "RegistryVerified"} {
			if !strings.Contains(text, want) {
				t.Errorf("want kubectl describe to tell %s, got\n%s", want, text)
			}
		}
	})
	t.Run("Accepted", func(t *testing.T) {
		for i := range 8 {
			must(t, w.Remove(ctx, fmt.Sprintf("d%d.csv", i)))
		}
		told := awaitStatus(t, w, "problem", "8 of 9 datasets are missing")
		// What the message says is what a person types.
		_, command, ok := strings.Cut(told, "say so: kubectl ")
		if !ok {
			t.Fatalf("want a command in %q", told)
		}
		kubectl(t, w, strings.Fields(command)...)
		await(t, w, "d8")
		must(t, controlplane.Eventually(ctx, soon, "the acceptance to be taken back", func(ctx context.Context) error {
			o, err := w.Get(ctx, "v1", "ConfigMap", world.Namespace, world.Name)
			if err == nil && len(o.GetAnnotations()) > 0 {
				err = fmt.Errorf("it holds %v", o.GetAnnotations())
			}
			return err
		}))
	})
	t.Run("ReadsFail", func(t *testing.T) {
		w.StoreGate.Fail(func(rw http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				http.Error(rw, "no", http.StatusForbidden)
				return true
			}
			return false
		})
		must(t, w.Upload(ctx, "new.csv", houses), w.Upload(ctx, "d8.csv", houses+houses))
		await(t, w, "d8 new*")
		if got := condition(t, w, "new", "Ready"); got != "False/NotReadYet" {
			t.Errorf("want new not ready because it could not be read, got %s", got)
		}
		must(t, w.Listings(ctx, 1))
		if got := condition(t, w, "d8", "Ready"); got != "True/Available" {
			t.Errorf("want the last verdict on d8 to stand, got %s", got)
		}
		w.StoreGate.Fail(nil)
		await(t, w, "d8 new")
	})
	requests, err := w.Requests()
	must(t, err)
	if !slices.ContainsFunc(requests, func(r world.Request) bool {
		return r.Resource == "customresourcedefinitions" && r.Code == http.StatusNotFound
	}) {
		t.Error("want the watcher to have asked whether there can be agents")
	}
}

// Git that is away never stops the registry, and a crash between the two
// deletions leaves nothing behind.
func TestGit(t *testing.T) { //nolint:tparallel // its parts share one world, and come one after the other
	w := start(t, true)
	ctx := t.Context()
	must(t, w.Upload(ctx, "a.csv", houses), w.Upload(ctx, "b.csv", houses))
	// The catalog's first watcher was killed in the middle of its first commit.
	must(t, w.HalfCommit(ctx, "datasets/resources/a.yaml", "half"))
	if _, err := w.Gitea.File(ctx, "datasets/resources/a.yaml"); err == nil || !strings.Contains(err.Error(), "repository is empty") {
		t.Fatalf("want Gitea to take the repository for empty, got %v", err)
	}
	p := watch(t, w, "watcher")
	awaitEntities(t, w, "a b")
	if got, err := w.Gitea.File(ctx, "datasets/resources/a.yaml"); err != nil || !strings.Contains(got, "gs://acme-data-datasets/a.csv") {
		t.Fatalf("want what was there replaced, got %q, %v", got, err)
	}

	w.GitGate.Fail(func(rw http.ResponseWriter, _ *http.Request) bool {
		http.Error(rw, "down for maintenance", http.StatusBadGateway)
		return true
	})
	must(t, w.Upload(ctx, "c.csv", houses), w.Remove(ctx, "a.csv"))
	await(t, w, "b c")
	awaitStatus(t, w, "catalog", "Gitea answered 502 Bad Gateway")
	// The XDataset is gone, the entity is not, and now the watcher dies.
	p.Kill()
	if got, err := w.Gitea.Entities(ctx); err != nil || got != "a b" {
		t.Fatalf("want the entities as they were, got %s, %v", got, err)
	}
	if got := awaitStatus(t, w, "removed", "a"); got != "a" {
		t.Errorf("want the status to remember what must leave the catalog, got %q", got)
	}
	w.GitGate.Fail(nil)
	must(t, p.Start(ctx))
	awaitEntities(t, w, "b c")
	awaitStatus(t, w, "catalog", "")
	awaitStatus(t, w, "removed", "")

	t.Run("TheLastOne", func(t *testing.T) {
		// All entities but one lose their dataset while Git is away: more than would be
		// believed without the word of the status.
		must(t, w.Upload(ctx, "d.csv", houses), w.Upload(ctx, "e.csv", houses), w.Upload(ctx, "f.csv", houses))
		awaitEntities(t, w, "b c d e f")
		w.GitGate.Fail(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
		for _, step := range [][2]string{{"b.csv", "c d e f"}, {"c.csv", "d e f"}, {"d.csv", "e f"}, {"e.csv", "f"}} {
			must(t, w.Remove(ctx, step[0]))
			await(t, w, step[1])
		}
		p.Kill()
		w.GitGate.Fail(nil)
		must(t, p.Start(ctx))
		awaitEntities(t, w, "f")
	})
	t.Run("SomebodyElseCommits", func(t *testing.T) {
		meddled := false
		w.GitGate.Fail(func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost && !meddled {
				meddled = true
				must(t, w.Gitea.Write(ctx, "datasets/resources/g.yaml", "scribbled"))
			}
			return false
		})
		must(t, w.Upload(ctx, "g.csv", houses))
		awaitEntities(t, w, "f g")
		if got, err := w.Gitea.File(ctx, "datasets/resources/g.yaml"); err != nil || !strings.Contains(got, "gs://acme-data-datasets/g.csv") || !meddled {
			t.Errorf("want the conflict settled, got %q, %v", got, err)
		}
		w.GitGate.Fail(nil)
	})
	t.Run("BucketAway", func(t *testing.T) {
		// A person undoes an entity while the bucket is away: the catalog is kept all the same.
		w.StoreGate.Fail(func(rw http.ResponseWriter, _ *http.Request) bool {
			http.Error(rw, "busy", http.StatusServiceUnavailable)
			return true
		})
		awaitStatus(t, w, "problem", "cannot list")
		must(t, w.Gitea.Write(ctx, "datasets/resources/f.yaml", "scribbled"))
		must(t, controlplane.Eventually(ctx, soon, "the entity to be repaired", func(ctx context.Context) error {
			got, err := w.Gitea.File(ctx, "datasets/resources/f.yaml")
			if err == nil && !strings.Contains(got, "f.csv") {
				err = fmt.Errorf("it is %q", got)
			}
			return err
		}))
		w.StoreGate.Fail(nil)
	})
}

// Two watchers at once: one works, the other takes over. Without an election
// they get in each other's way, and still nothing is lost or doubled.
func TestTwoWatchers(t *testing.T) {
	w := start(t, true)
	ctx := t.Context()
	must(t, w.Upload(ctx, "a.csv", houses), w.Upload(ctx, "b.csv", houses), w.Upload(ctx, "A.csv", houses))
	first := watch(t, w, "watcher-1")
	two := await(t, w, "a-32f29f33 a-b1f4ee99 b")
	t.Logf("the first took %s", two)
	watch(t, w, "watcher-2")
	holder := func() string {
		o, err := w.Get(ctx, "coordination.k8s.io/v1", "Lease", world.Namespace, world.Name)
		must(t, err)
		h, _, err := unstructured.NestedString(o.Object, "spec", "holderIdentity")
		must(t, err)
		return h
	}
	leader := holder()
	must(t, w.Listings(ctx, 3))
	if holder() != leader {
		t.Error("want the second watcher to wait for its turn")
	}
	first.Kill()
	began := time.Now()
	must(t, w.Upload(ctx, "c.csv", houses))
	await(t, w, "a-32f29f33 a-b1f4ee99 b c")
	t.Logf("the second took over %s after the first was killed", time.Since(began).Round(100*time.Millisecond))
	if holder() == leader {
		t.Error("want another leader")
	}

	w.Process("watcher-2").Stop()
	for i := 3; i < 5; i++ {
		watch(t, w, fmt.Sprint("watcher-", i), "--leader-elect=false")
	}
	must(t, w.Upload(ctx, "d.csv", houses), w.Upload(ctx, "e.csv", houses), w.Remove(ctx, "c.csv"))
	await(t, w, "a-32f29f33 a-b1f4ee99 b d e")
	awaitEntities(t, w, "a-32f29f33 a-b1f4ee99 b d e")
	for i := range 5 {
		must(t, w.Upload(ctx, "e.csv", strings.Repeat(houses, i+2)), w.Listings(ctx, 1))
	}
	await(t, w, "a-32f29f33 a-b1f4ee99 b d e")
}

// A watcher that is told to end gives its lease back.
func TestEnd(t *testing.T) {
	w := start(t, false)
	must(t, w.Upload(t.Context(), "a.csv", houses))
	first := watch(t, w, "watcher-1")
	await(t, w, "a")
	watch(t, w, "watcher-2")
	first.Signal(syscall.SIGTERM)
	must(t, w.Upload(t.Context(), "b.csv", houses))
	if d := await(t, w, "a b"); d > 12*time.Second {
		t.Errorf("want the second watcher to take over at once, took %s", d)
	}
}

// What the API server itself refuses.
func TestAdmission(t *testing.T) {
	w := start(t, false)
	ctx := t.Context()
	apply := func(name, gcsPath string, size int) error {
		return w.ApplyYAML(ctx, fmt.Sprintf(`{"apiVersion":"whisperops.io/v1alpha1","kind":"XDataset","metadata":{"name":%q},"spec":{"gcsPath":%q,"sizeBytes":%d,"displayName":"X"}}`, name, gcsPath, size))
	}
	must(t, apply("empty", "gs://data/empty.csv", 0), apply("full", "gs://data/full.csv", 1))
	must(t, apply("long", "gs://"+strings.Repeat("b", 222)+"/"+strings.Repeat("x", 1020)+".csv", 1))
	status := func(name, status string) error {
		return w.Patch(ctx, "whisperops.io/v1alpha1", "XDataset", "", name, `{"status":`+status+`}`, "status")
	}
	must(t, status("full", `{"ready":true}`), status("empty", `{"ready":false,"sizeHuman":"0 B"}`))
	refused := map[string]struct {
		err  error
		want string
	}{
		"EmptyAndReady": {status("empty", `{"ready":true}`), "an empty file is never ready: sizeBytes must be at least 1 where status.ready is true"},
		"ReadyEmptied":  {w.Patch(ctx, "whisperops.io/v1alpha1", "XDataset", "", "full", `{"spec":{"sizeBytes":0}}`), "an empty file is never ready"},
		"NoCSV":         {apply("x", "gs://data/x.parquet", 1), "should match '^gs://.+(\\.csv|[^/]/)$'"},
		"NoBucket":      {apply("x", "s3://data/x.csv", 1), "should match '^gs://.+(\\.csv|[^/]/)$'"},
		"Negative":      {apply("x", "gs://data/x.csv", -1), "should be greater than or equal to 0"},
	}
	for name, r := range refused {
		if r.err == nil || !strings.Contains(r.err.Error(), r.want) {
			t.Errorf("%s: want a refusal that says %q, got %v", name, r.want, r.err)
		}
	}
	for _, field := range []string{"spec.gcsPath", "spec.sizeBytes", "spec.displayName", "status.ready", "status.lastSeen", "status.generation"} {
		// The API server publishes a new kind's description a moment later.
		must(t, controlplane.Eventually(ctx, soon, "kubectl explain to have a sentence for "+field, func(ctx context.Context) error {
			text, err := w.Kubectl(ctx, "explain", "xds."+field)
			if err == nil && (!strings.Contains(text, "DESCRIPTION:") || strings.Contains(text, "<empty>")) {
				err = errors.New(text)
			}
			return err
		}))
	}
}

func kubectl(t *testing.T, w *world.World, args ...string) string {
	t.Helper()
	out, err := w.Kubectl(t.Context(), args...)
	must(t, err)
	return out
}
