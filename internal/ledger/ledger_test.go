package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	kubetesting "k8s.io/client-go/testing"

	"whisperops.io/functions/internal/gitea"
	"whisperops.io/functions/internal/program"
)

// repo is a Git repository in memory with one file.
type repo struct {
	file    string
	content string
	sha     int
	commits []string
	gone    bool
	empty   bool // without a commit
	age     time.Duration
	deleted int
	// meddle runs before each commit, as another writer; an error is the answer.
	meddle func(*repo) error
}

func newRepo(content string) *repo { return &repo{file: OrderFile, content: content} }

func (r *repo) Head(context.Context) (string, error) {
	if r.gone {
		return "", errors.New("the repository does not exist")
	}
	if r.empty {
		return "", nil
	}
	return "head", nil
}

func (r *repo) Tree(_ context.Context, _, folder string) (map[string]string, error) {
	if folder != "manifests" || r.file == "" {
		return map[string]string{}, nil
	}
	return map[string]string{r.file: strconv.Itoa(r.sha)}, nil
}

func (r *repo) Blob(context.Context, string) ([]byte, error) { return []byte(r.content), nil }

func (r *repo) Commit(_ context.Context, message string, changes []gitea.Change) error {
	if r.meddle != nil {
		if err := r.meddle(r); err != nil {
			return err
		}
	}
	if len(changes) != 1 || changes[0].Path != r.file || changes[0].Before != strconv.Itoa(r.sha) {
		return gitea.ErrConflict
	}
	r.content, r.sha, r.commits = string(changes[0].After), r.sha+1, append(r.commits, message)
	return nil
}

func (r *repo) Exists(context.Context) (bool, error) { return !r.gone, nil }

func (r *repo) Created(context.Context) (time.Time, error) { return time.Now().Add(-r.age), nil }

func (r *repo) Delete(context.Context) error {
	r.gone = true
	r.deleted++
	return nil
}

func TestCommitKeepsWhatOthersWrote(t *testing.T) {
	r := newRepo(order)
	others := 0
	r.meddle = func(r *repo) error {
		if others++; others > 2 {
			return nil
		}
		r.content, r.sha = r.content+fmt.Sprintf("  other%d: 1\n", others), r.sha+1
		return nil
	}
	changed, err := Commit(t.Context(), r, "housing-bot", OrderFile, "", Change{"budgetUsd", "7"})
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	want := strings.Replace(order, "budgetUsd: 5", "budgetUsd: 7", 1) + "  other1: 1\n  other2: 1\n"
	if diff := cmp.Diff(want, r.content); diff != "" {
		t.Errorf("want both writers' changes, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"housing-bot: budgetUsd 7"}, r.commits); diff != "" {
		t.Errorf("want one commit, -want +got:\n%s", diff)
	}
}

// Of two who change the same field at the same moment one wins, and the other is told.
func TestCommitOvertaken(t *testing.T) {
	cases := map[string]struct {
		reason, theirs string
		changed        bool
		err            string
	}{
		"OtherValue": {"The loser would undo a change that they have not seen.", "budgetUsd: 9", false, "somebody else set budgetUsd to 9 at the same moment, and was quicker; it was 5: nothing was written; run this again if it is to be 7"},
		"SameValue":  {"Both want the same: there is nothing left to write.", "budgetUsd: 7.0", false, ""},
		"Written":    {"Another way to write the same number is no change.", "budgetUsd: 5.0", true, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRepo(order)
			r.meddle = func(r *repo) error {
				if r.sha == 0 {
					r.content, r.sha = strings.Replace(order, "budgetUsd: 5", tc.theirs, 1), 1
				}
				return nil
			}
			changed, err := Commit(t.Context(), r, "housing-bot", OrderFile, "", Change{"budgetUsd", "7"})
			if (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err || changed != tc.changed || tc.changed != (len(r.commits) == 1) {
				t.Errorf("%s\nwant %t, %q, got %t, %v, %v", tc.reason, tc.changed, tc.err, changed, err, r.commits)
			}
		})
	}
}

func TestCommitWritesNothing(t *testing.T) {
	cases := map[string]struct {
		reason string
		repo   *repo
		want   string
	}{
		"Same":      {"Identical content would be an empty commit.", newRepo(strings.Replace(order, "budgetUsd: 5", "budgetUsd: 7.0", 1)), ""},
		"NotThere":  {"", &repo{gone: true}, "the repository does not exist"},
		"NoOrder":   {"", &repo{}, "the repository has no file manifests/xdatasetagent.yaml: it holds no order"},
		"Rubbish":   {"", newRepo("a: ["), "manifests/xdatasetagent.yaml: the file is not YAML: yaml: line 1: did not find expected node content"},
		"Forbidden": {"A right that is missing does not come by trying again.", func() *repo { r := newRepo(order); r.meddle = func(*repo) error { return errors.New("403") }; return r }(), "403"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			changed, err := Commit(t.Context(), tc.repo, "housing-bot", OrderFile, "", Change{"budgetUsd", "7"})
			if (err == nil) != (tc.want == "") || err != nil && err.Error() != tc.want {
				t.Errorf("%s\nwant error %q, got %v", tc.reason, tc.want, err)
			}
			if err == nil && changed || len(tc.repo.commits) > 0 {
				t.Errorf("%s\nwant no commit, got %v", tc.reason, tc.repo.commits)
			}
		})
	}
}

// world is a cluster in which deleting the order takes its parts along, a step at
// each look, as Crossplane and the providers do.
type world struct {
	*fake.FakeDynamicClient

	mu     sync.Mutex
	parts  []string // names of Objects that still stand
	events []string // what was done, in order
	stuck  bool     // the last part never goes
}

func object(gvr schema.GroupVersionResource, kind, namespace, name string, more map[string]any) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}}
	maps.Copy(o.Object, more)
	o.SetGroupVersionKind(gvr.GroupVersion().WithKind(kind))
	o.SetNamespace(namespace)
	o.SetName(name)
	o.SetUID("uid-" + "1")
	return o
}

func newWorld(t *testing.T, objects ...runtime.Object) *world {
	t.Helper()
	kinds := map[schema.GroupVersionResource]string{applications: "ApplicationList", sets: "ApplicationSetList", orders: "XDatasetAgentList", budgets: "XAgentBudgetList", namespaces: "NamespaceList"}
	for _, k := range partKinds {
		kinds[k] = "PartList"
	}
	w := &world{FakeDynamicClient: fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds, objects...)}
	w.PrependReactor("*", "*", func(a kubetesting.Action) (bool, runtime.Object, error) {
		if v := a.GetVerb(); v != "get" && v != "list" {
			w.note(v + " " + a.GetResource().Resource)
		}
		return false, nil, nil
	})
	return w
}

func (w *world) note(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, s)
}

// standing makes the world's Objects vanish one by one once the order was deleted.
func (w *world) withParts(names ...string) *world {
	w.parts = names
	w.PrependReactor("list", "objects", func(a kubetesting.Action) (bool, runtime.Object, error) {
		l := &unstructured.UnstructuredList{Object: map[string]any{}}
		if a.GetResource().Group != "kubernetes.m.crossplane.io" {
			return true, l, nil
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if slices.Contains(w.events, "delete xdatasetagents") && len(w.parts) > 0 && (!w.stuck || len(w.parts) > 1) {
			w.parts = w.parts[1:]
		}
		for _, p := range w.parts {
			o := object(a.GetResource(), "Object", "crossplane-system", p, nil)
			o.SetLabels(map[string]string{"crossplane.io/composite": "housing-bot"})
			l.Items = append(l.Items, *o)
		}
		return true, l, nil
	})
	return w
}

func app(finalizers ...string) *unstructured.Unstructured {
	policy := map[string]any{"automated": map[string]any{"selfHeal": true}}
	o := object(applications, "Application", "argocd", "agent-housing-bot", map[string]any{"spec": map[string]any{"syncPolicy": policy}})
	o.SetFinalizers(finalizers)
	return o
}

func retirement(w *world, r *repo, out *strings.Builder) Retirement {
	return Retirement{
		Cluster: Cluster{Client: w, ArgoCDNamespace: "argocd"}, AgentName: "housing-bot", Repository: r, File: OrderFile,
		Settle: time.Millisecond, Poll: time.Millisecond, Timeout: 5 * time.Second, Out: out,
	}
}

func TestDeliver(t *testing.T) {
	set := object(sets, "ApplicationSet", "argocd", "agents", nil)
	cases := map[string]struct {
		reason string
		there  []runtime.Object
		makes  string // whatever patches the set makes this Application
		events []string
		want   string
	}{
		"There": {"What Argo CD delivers already needs nothing.", []runtime.Object{app(), set}, "", nil, ""},
		"Woken": {"The set is woken once, and makes the Application.", []runtime.Object{set}, "agent-housing-bot", []string{"patch applicationsets"}, ""},
		"Found nothing": {
			"A set that finds no repository is named, with the command that says why.", []runtime.Object{set}, "agent-other-bot", []string{"patch applicationsets"},
			"after 20ms there is no Application agent-housing-bot: the order is in Git, but Argo CD does not deliver it; kubectl describe applicationset agents -n argocd says what it found",
		},
		"No set": {"Somebody else may make the Application; it does not come here.", nil, "", []string{"patch applicationsets"}, "after 20ms there is no Application agent-housing-bot"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, tc.there...)
			w.PrependReactor("patch", "applicationsets", func(kubetesting.Action) (bool, runtime.Object, error) {
				w.note("patch applicationsets")
				if tc.makes == "" {
					return false, nil, nil
				}
				made := app()
				made.SetName(tc.makes)
				return true, set, w.Tracker().Add(made)
			})
			timeout := time.Minute
			if tc.want != "" {
				timeout = 20 * time.Millisecond
			}
			err := Cluster{Client: w, ArgoCDNamespace: "argocd"}.Deliver(t.Context(), "housing-bot", "agents", timeout, time.Millisecond)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s\nwant %q, got %v", tc.reason, tc.want, err)
			}
			w.events = slices.Compact(w.events) // two reactors note one request
			if diff := cmp.Diff(tc.events, w.events); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestRetire(t *testing.T) {
	w := newWorld(t, app("resources-finalizer.argocd.argoproj.io"), object(orders, "XDatasetAgent", "", "housing-bot", nil)).withParts("a", "b", "c")
	r, out := newRepo(order), &strings.Builder{}
	if err := retirement(w, r, out).Run(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := []string{"patch applications", "delete xdatasetagents", "patch applications", "delete applications"}
	if diff := cmp.Diff(want, w.events); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, line := range []string{"dismantle: 2 still standing: object/b (not being deleted), object/c (not being deleted)\n", "dismantle: 1 still standing: object/c"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("want %q, got:\n%s", line, out)
		}
	}
	if !r.gone || !strings.HasSuffix(out.String(), "done: nothing of agent housing-bot is left\n") {
		t.Errorf("want the repository gone, got:\n%s", out)
	}
	// And once more, over what is left of it: nothing.
	events := len(w.events)
	if err := retirement(w, r, out).Run(t.Context()); err != nil || slices.Contains(w.events[events:], "delete xdatasetagents") {
		t.Errorf("want a second run to be no failure, got %v %v", err, w.events[events:])
	}
}

func TestRetireStops(t *testing.T) {
	other := strings.ReplaceAll(order, "housing-bot", "other-bot")
	cases := map[string]struct {
		reason string
		world  func(*testing.T) *world
		repo   *repo
		want   string
		events []string
	}{
		"AnotherAgentsRepository": {
			"A wrong repository is found out before anything is deleted.",
			func(t *testing.T) *world {
				t.Helper()
				return newWorld(t, app(), object(orders, "XDatasetAgent", "", "housing-bot", nil))
			},
			newRepo(other), `nothing was done: the file orders the agent "other-bot", not "housing-bot"`, nil,
		},
		"SilenceUndone": {
			"Argo CD would make the order again as soon as it is deleted.",
			func(t *testing.T) *world {
				t.Helper()
				w := newWorld(t, app(), object(orders, "XDatasetAgent", "", "housing-bot", nil))
				w.PrependReactor("get", "applications", func(kubetesting.Action) (bool, runtime.Object, error) { return true, app(), nil })
				return w
			},
			newRepo(order), "stopped in the first stage, silence; the agent lives: somebody put the automated sync of Application agent-housing-bot back: if an ApplicationSet or another Application makes it, let that ignore /spec/syncPolicy (docs/gitops.md, Destroy) and run this again",
			[]string{"patch applications"},
		},
		"PartStays": {
			"What describes an agent is not erased while the agent stands.",
			func(t *testing.T) *world {
				t.Helper()
				w := newWorld(t, app(), object(orders, "XDatasetAgent", "", "housing-bot", nil)).withParts("a", "bucket")
				w.stuck = true
				return w
			},
			newRepo(order), "stopped in the second stage, dismantle; the repository is whole: after 30ms still standing: object/bucket (not being deleted); kubectl describe says what each waits for; run this again when it is gone",
			[]string{"patch applications", "delete xdatasetagents"},
		},
		"NotAllowed": {
			"",
			func(t *testing.T) *world {
				t.Helper()
				w := newWorld(t, app(), object(orders, "XDatasetAgent", "", "housing-bot", nil))
				w.PrependReactor("delete", "xdatasetagents", func(kubetesting.Action) (bool, runtime.Object, error) {
					return true, nil, errors.New("admission webhook says no")
				})
				return w
			},
			newRepo(order), "stopped in the second stage, dismantle; the repository is whole: admission webhook says no",
			[]string{"patch applications"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w, out := tc.world(t), &strings.Builder{}
			r := retirement(w, tc.repo, out)
			r.Timeout = 30 * time.Millisecond
			err := r.Run(t.Context())
			if err == nil || err.Error() != tc.want {
				t.Errorf("%s\nwant %s\ngot  %v\n%s", tc.reason, tc.want, err, out)
			}
			if diff := cmp.Diff(tc.events, w.events); diff != "" || tc.repo.gone {
				t.Errorf("%s\nrepository gone: %t, -want +got:\n%s", tc.reason, tc.repo.gone, diff)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	cases := map[string]struct {
		reason  string
		objects []runtime.Object
		repo    *repo
		want    Vacancy
		err     string
		deleted int
	}{
		"Free":     {"", nil, &repo{gone: true}, Vacancy{}, "", 0},
		"Empty":    {"A run that was killed before it could push has left a repository in which nothing is.", nil, &repo{empty: true, age: time.Hour}, Vacancy{}, "", 1},
		"Young":    {"Another run of the form made it a moment ago, and is about to push.", nil, &repo{empty: true, age: 20 * time.Second}, Vacancy{}, "the repository agent-housing-bot was made 20s ago and is empty: another run of this form may be about to write into it; send the form again in 1m40s, or choose another name", 0},
		"Foreign":  {"Nothing is deleted where the name is taken anyhow.", []runtime.Object{object(namespaces, "Namespace", "", "agent-housing-bot", nil)}, &repo{empty: true, age: time.Hour}, Vacancy{}, "the name housing-bot is taken: the namespace agent-housing-bot exists already; choose another one", 0},
		"Halfway":  {"A run that failed after it made the repository is run again.", []runtime.Object{object(namespaces, "Namespace", "", "agent-housing-bot", nil)}, newRepo(order), Vacancy{RepositoryExists: true}, "", 0},
		"Taken":    {"All that is taken is named at once.", []runtime.Object{object(orders, "XDatasetAgent", "", "housing-bot", nil), object(namespaces, "Namespace", "", "agent-housing-bot", nil)}, newRepo(order + "# mine\n"), Vacancy{}, "the name housing-bot is taken: the repository agent-housing-bot and the XDatasetAgent housing-bot and the namespace agent-housing-bot exists already; choose another one", 0},
		"NotAFile": {"A repository without an order is somebody's.", nil, &repo{}, Vacancy{}, "the name housing-bot is taken: the repository agent-housing-bot exists already; choose another one", 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Check(t.Context(), Cluster{Client: newWorld(t, tc.objects...)}, tc.repo, "housing-bot", OrderFile, []byte(order), PushWithin)
			if (err == nil) != (tc.err == "") || err != nil && err.Error() != tc.err || got != tc.want || tc.repo.deleted != tc.deleted {
				t.Errorf("%s\nwant %+v, %q, %d deleted\ngot  %+v, %v, %d", tc.reason, tc.want, tc.err, tc.deleted, got, err, tc.repo.deleted)
			}
		})
	}
}

func TestWait(t *testing.T) {
	provider, err := Healthy("providers.pkg.crossplane.io/provider-kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	crd, err := Established("objects.kubernetes.m.crossplane.io")
	if err != nil {
		t.Fatal(err)
	}
	w := fake.NewSimpleDynamicClient(runtime.NewScheme(), object(provider.Kind, "Provider", "", "provider-kubernetes", map[string]any{"status": map[string]any{"conditions": []any{
		map[string]any{"type": "Installed", "status": "True"}, map[string]any{"type": "Healthy", "status": "False", "message": "unpacking"},
	}}}))
	c, out := Cluster{Client: w}, &strings.Builder{}
	err = c.Wait(t.Context(), []Prerequisite{provider, crd}, 5*time.Millisecond, time.Millisecond, out)
	want := "after 5ms 2 of 2 are still missing: providers/provider-kubernetes: Healthy=False unpacking; customresourcedefinitions/objects.kubernetes.m.crossplane.io: not there"
	if err == nil || err.Error() != want {
		t.Errorf("want %s\ngot  %v", want, err)
	}
	for _, o := range []*unstructured.Unstructured{
		object(provider.Kind, "Provider", "", "provider-kubernetes", map[string]any{"status": map[string]any{"conditions": []any{map[string]any{"type": "Installed", "status": "True"}, map[string]any{"type": "Healthy", "status": "True"}}}}),
		object(crd.Kind, "CustomResourceDefinition", "", crd.Name, map[string]any{"status": map[string]any{"conditions": []any{map[string]any{"type": "Established", "status": "True"}}}}),
	} {
		kind := provider.Kind
		if o.GetKind() != "Provider" {
			kind = crd.Kind
		} else if err := w.Resource(kind).Delete(t.Context(), o.GetName(), metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Resource(kind).Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Wait(t.Context(), []Prerequisite{provider, crd}, time.Minute, time.Millisecond, out); err != nil {
		t.Error(err)
	}
}

func TestCatalogRemove(t *testing.T) {
	done := []string{}
	location, entity := true, true
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch p := r.URL.Path; {
		case r.Method == http.MethodDelete:
			done = append(done, p)
			location, entity = location && !strings.Contains(p, "/locations/"), entity && !strings.Contains(p, "/entities/")
		case strings.HasSuffix(p, "/locations/by-entity/component/default/agent-housing-bot") && location:
			fmt.Fprint(w, `{"id":"l1"}`)
		case strings.HasSuffix(p, "/entities/by-name/component/default/agent-housing-bot") && entity:
			fmt.Fprint(w, `{"metadata":{"uid":"e1"}}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(s.Close)
	c := Catalog{URL: s.URL, Token: func() (string, error) { return "t", nil }, Kind: "component", Namespace: "default"}
	for range 2 { // the second time there is nothing left
		if err := c.Remove(t.Context(), "housing-bot"); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"/api/catalog/locations/l1", "/api/catalog/entities/by-uid/e1"}, done); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	c.Token = func() (string, error) { return "wrong", nil }
	if err := c.Remove(t.Context(), "housing-bot"); err == nil || !strings.HasSuffix(err.Error(), "Backstage answered 401 Unauthorized") {
		t.Errorf("want Backstage's refusal, got %v", err)
	}
}

func TestRunUsage(t *testing.T) {
	cases := map[string]struct {
		args []string
		want string
	}{
		"Nothing":    {nil, "ledger keeps the files"},
		"Unknown":    {[]string{"patch"}, `unknown command "patch"`},
		"NoAgent":    {[]string{"refresh"}, "flag --agent is empty: name the agent"},
		"BadAgent":   {[]string{"refresh", "--agent", "../x"}, `invalid value "../x" for flag --agent`},
		"NothingSet": {[]string{"edit", "--agent", "housing-bot", "--gitea-url", "https://g"}, "flag --set is missing"},
		"BadField":   {[]string{"edit", "--agent", "housing-bot", "--set", "projectId=x"}, `field "projectId" of an order can't be changed`},
		"NoGitea":    {[]string{"edit", "--agent", "housing-bot", "--set", "budgetUsd=5"}, "flag --gitea-url is empty"},
		"NotSure":    {[]string{"retire", "--agent", "housing-bot"}, "say --yes if you mean it"},
		"NoOrder":    {[]string{"check", "--agent", "housing-bot", "--gitea-url", "https://g"}, "flag --order is empty"},
		"Push":       {[]string{"check", "--agent", "housing-bot", "--order", "x", "--gitea-url", "https://g", "--push-within", "soon"}, `invalid value "soon" for flag -push-within`},
		"NoWait":     {[]string{"wait"}, "say what to wait for"},
		"BadPackage": {[]string{"wait", "--healthy", "pods/x"}, `"pods/x" must be`},
		"Extra":      {[]string{"refresh", "--agent", "housing-bot", "now"}, `unexpected argument "now"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out := &strings.Builder{}
			err := Run(t.Context(), tc.args, func(string) string { return "" }, out, out)
			if !errors.Is(err, program.ErrUsage) || !strings.Contains(out.String(), tc.want) {
				t.Errorf("want %q, got %v:\n%s", tc.want, err, out)
			}
		})
	}
}

// How long an empty repository is left alone can be said in the environment of the portal,
// which types no flags.
func TestPushWithin(t *testing.T) {
	out := &strings.Builder{}
	args := []string{"check", "--agent", "housing-bot", "--order", "x", "--gitea-url", "https://g"}
	env := func(name string) string { return map[string]string{"LEDGER_PUSH_WITHIN": "soon"}[name] }
	if err := Run(t.Context(), args, env, out, out); !errors.Is(err, program.ErrUsage) || !strings.Contains(out.String(), `invalid value "soon" for flag -push-within`) {
		t.Errorf("want the environment to be read, got %v: %s", err, out)
	}
	order := []byte(order)
	if _, err := Check(t.Context(), Cluster{Client: newWorld(t)}, &repo{empty: true, age: 6 * time.Second}, "housing-bot", OrderFile, order, 5*time.Second); err != nil {
		t.Errorf("want a repository that was left for 6s to be made anew, got %v", err)
	}
}
