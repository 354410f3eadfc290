package gitops

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite testdata and package/gitops/argocd-cm.yaml")

const root = "../.."

// health runs a check as Argo CD does: no string library, no io, one second.
func health(t *testing.T, script string, obj map[string]any) (status, message string) {
	t.Helper()
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	l.SetContext(ctx)
	// Through JSON, as what comes from the API server.
	data, err := json.Marshal(obj)
	if err != nil {
		t.Fatal(err)
	}
	v, err := luajson.Decode(l, data)
	if err != nil {
		t.Fatal(err)
	}
	l.SetGlobal("obj", v)
	if err := l.DoString(script); err != nil {
		t.Fatalf("the script fails on %s\n%v", data, err)
	}
	out, err := luajson.Encode(l.Get(-1))
	if err != nil {
		t.Fatal(err)
	}
	answer := struct {
		Status  string `json:"status"`
		Message string `json:"message"`
	}{}
	if err := json.Unmarshal(out, &answer); err != nil {
		t.Fatalf("the script answers %s: %v", out, err)
	}
	if !slices.Contains([]string{"Healthy", "Progressing", "Degraded", "Suspended"}, answer.Status) {
		t.Fatalf("the script answers %s, which is no health", out)
	}
	return answer.Status, answer.Message
}

func script(t *testing.T, kind string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "package/gitops/health", kind+".lua"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// story is what one example's pipeline leaves.
type story struct {
	Ready      *bool            `json:"ready"`
	Status     map[string]any   `json:"status"`
	Conditions []map[string]any `json:"conditions"`
	Results    []map[string]any `json:"results"`
	Fatal      string           `json:"fatal"`
}

// object returns a story's composite as it would lie in the API server: Crossplane
// adds Ready and Synced.
func (s story) object(kind, name string) map[string]any {
	conditions := []any{}
	for _, c := range s.Conditions {
		conditions = append(conditions, c)
	}
	synced := map[string]any{"type": "Synced", "status": "True", "reason": "ReconcileSuccess"}
	if s.Fatal != "" {
		synced = map[string]any{"type": "Synced", "status": "False", "reason": "ReconcileError", "message": "cannot run pipeline: " + s.Fatal}
	}
	ready := map[string]any{"type": "Ready", "status": "False", "reason": "Creating", "message": "Unready resources"}
	if s.Ready == nil || *s.Ready {
		ready = map[string]any{"type": "Ready", "status": "True", "reason": "Available"}
	}
	status := maps.Clone(s.Status)
	if status == nil {
		status = map[string]any{}
	}
	status["conditions"] = append(conditions, synced, ready)
	return map[string]any{"apiVersion": "whisperops.io/v1alpha1", "kind": kind, "metadata": map[string]any{"name": name}, "status": status}
}

func TestHealthOfEveryStory(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "examples", "*", "want.yaml"))
	if err != nil || len(files) < 20 {
		t.Fatalf("want the stories of examples/, got %d, %v", len(files), err)
	}
	got := map[string]string{}
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := story{}
		if err := yaml.Unmarshal(data, &s); err != nil {
			t.Fatal(err)
		}
		xr := struct{ Kind string }{}
		data, err = os.ReadFile(filepath.Join(filepath.Dir(file), "xr.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(data, &xr); err != nil {
			t.Fatal(err)
		}
		if xr.Kind != "XDatasetAgent" && xr.Kind != "XAgentBudget" {
			continue // somebody else's kind, served by stations of ours
		}
		status, message := health(t, script(t, xr.Kind), s.object(xr.Kind, name))
		got[name] = strings.TrimSpace(status + ". " + message)
	}
	golden(t, "testdata/stories.yaml", got)
}

func golden(t *testing.T, file string, got map[string]string) {
	t.Helper()
	data, err := yaml.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(data)); diff != "" {
		t.Errorf("go test ./... -update rewrites %s; -want +got:\n%s", file, diff)
	}
}

func condition(kind, status, reason, message string) map[string]any {
	return map[string]any{"type": kind, "status": status, "reason": reason, "message": message}
}

func conditions(c ...any) map[string]any {
	return map[string]any{"metadata": map[string]any{"name": "x"}, "status": map[string]any{"conditions": c}}
}

func TestHealth(t *testing.T) {
	ok, ready := condition("Synced", "True", "ReconcileSuccess", ""), condition("Ready", "True", "Available", "")
	paused := conditions(ok, condition("Ready", "False", "Creating", "Unready resources: agent-planner"))
	paused["status"].(map[string]any)["budget"] = map[string]any{"paused": true, "cause": "budget-exhausted"}
	dead := conditions(ok, ready)
	dead["metadata"] = map[string]any{"name": "x", "deletionTimestamp": "2026-11-27T00:00:00Z"}
	cases := map[string]struct {
		reason string
		kind   string
		obj    map[string]any
		want   string
	}{
		"OrderNew":               {"Nobody has looked at it yet.", "XDatasetAgent", map[string]any{"metadata": map[string]any{"name": "x"}}, "Progressing: Waiting for Crossplane to look at the order"},
		"OrderPaused":            {"An agent whose money is gone does what it should.", "XDatasetAgent", paused, "Healthy: Paused: the budget is spent. Raise budgetUsd in the order, or wait for its next period"},
		"OrderHeldBack":          {"A minute after the order this is normal.", "XDatasetAgent", conditions(ok, condition("Ready", "False", "Creating", "x"), condition("PartsHeldBack", "True", "WaitingForOthers", "sa-key waits for namespace")), "Progressing: sa-key waits for namespace"},
		"OrderReadyButNotSynced": {"The last run failed, whatever an earlier one left ready.", "XDatasetAgent", conditions(ready, condition("Synced", "False", "ReconcileError", "pipeline step x failed")), "Degraded: pipeline step x failed"},
		"OrderLeftAlone":         {"Somebody set the annotation on purpose.", "XDatasetAgent", conditions(condition("Synced", "False", "ReconcilePaused", "")), "Suspended: Crossplane was told to leave the order alone"},
		"OrderNameTaken":         {"Nothing was made, and nothing will be.", "XDatasetAgent", conditions(ok, condition("NamesFree", "False", "NameTaken", "Namespace agent-x is another team's")), "Degraded: Namespace agent-x is another team's"},
		"OrderOnTheWayOut":       {"Deleting takes its time.", "XDatasetAgent", dead, "Progressing: The order is being deleted"},
		"OrderUnknownCondition":  {"Unknown is not False: a run that failed turns what it didn't send to Unknown.", "XDatasetAgent", conditions(ok, ready, condition("DatasetValid", "Unknown", "x", "y")), "Healthy: All parts are ready"},
		"BudgetCatchingUp":       {"It passes by itself.", "XAgentBudget", conditions(ok, ready, condition("SpendMeasured", "False", "CatchingUp", "hours are counted")), "Progressing: hours are counted"},
		"BudgetBlind":            {"The last decision stands, and nobody would see it.", "XAgentBudget", conditions(ok, ready, condition("SpendMeasured", "False", "QueryFailed", "the server says no")), "Degraded: the server says no"},
		"DatasetReady":           {"", "XDataset", conditions(condition("Ready", "True", "CSV", "can be ordered")), "Healthy: can be ordered"},
		"DatasetUnverified":      {"Ready of old; nobody could look since.", "XDataset", conditions(condition("Ready", "True", "CSV", ""), condition("Verified", "False", "ListingFailed", "the bucket can't be listed")), "Degraded: the bucket can't be listed"},
		"ObjectApplied":          {"", "Object", conditions(ok, ready), "Healthy: "},
		"ObjectRefused":          {"Ready is of what was applied before.", "Object", conditions(ready, condition("Synced", "False", "ReconcileError", "admission says no")), "Degraded: admission says no"},
		"ObjectWaits":            {"", "Object", conditions(ok, condition("Ready", "False", "Unavailable", "not yet")), "Progressing: not yet"},
		"ApplicationNew":         {"A wave must not go on before it has been compared.", "Application", map[string]any{}, "Progressing: Waiting for its first comparison"},
		"ApplicationHealthy":     {"", "Application", map[string]any{"status": map[string]any{"health": map[string]any{"status": "Healthy"}, "sync": map[string]any{"status": "Synced"}}}, "Healthy: "},
		"ApplicationUnsynced":    {"What has nothing applied is Healthy to Argo CD.", "Application", map[string]any{"status": map[string]any{"health": map[string]any{"status": "Healthy"}, "sync": map[string]any{"status": "OutOfSync"}}}, "Progressing: Not synced yet"},
		"ApplicationDegraded":    {"", "Application", map[string]any{"status": map[string]any{"health": map[string]any{"status": "Degraded", "message": "m"}, "sync": map[string]any{"status": "Synced"}}}, "Degraded: m"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			status, message := health(t, script(t, tc.kind), tc.obj)
			if got := status + ": " + message; got != tc.want {
				t.Errorf("%s\nwant %s\ngot  %s", tc.reason, tc.want, got)
			}
		})
	}
}

// Whatever lies in a status, a check answers: Argo CD shows a script's error as
// Unknown, without a word that helps.
func TestHealthOfRubbish(t *testing.T) {
	rubbish := []any{nil, "text", 5.0, true, []any{}, map[string]any{}}
	for _, kind := range []string{"XDatasetAgent", "XAgentBudget", "XDataset", "Object", "Application"} {
		s := script(t, kind)
		for _, a := range rubbish {
			if a == nil || isMap(a) { // the API server's schemas see to it that status is a mapping
				health(t, s, map[string]any{"metadata": map[string]any{}, "status": a})
			}
			health(t, s, conditions(map[string]any{"type": "Ready", "status": "False", "message": nil}, map[string]any{"type": "Synced", "status": a}))
		}
	}
}

func isMap(v any) bool { _, ok := v.(map[string]any); return ok }

// configMap returns what argocd-cm.yaml must hold, from the scripts.
func configMap(t *testing.T) string {
	t.Helper()
	head, err := os.ReadFile("testdata/argocd-cm.head.yaml")
	if err != nil {
		t.Fatal(err)
	}
	out := &strings.Builder{}
	out.Write(head)
	for _, k := range []struct{ key, file string }{
		{"argoproj.io_Application", "Application"},
		{"kubernetes.crossplane.io_Object", "Object"},
		{"kubernetes.m.crossplane.io_Object", "Object"},
		{"whisperops.io_XAgentBudget", "XAgentBudget"},
		{"whisperops.io_XDataset", "XDataset"},
		{"whisperops.io_XDatasetAgent", "XDatasetAgent"},
	} {
		fmt.Fprintf(out, "  resource.customizations.health.%s: |\n", k.key)
		for line := range strings.SplitSeq(strings.TrimSuffix(script(t, k.file), "\n"), "\n") {
			fmt.Fprintln(out, strings.TrimRight("    "+line, " "))
		}
	}
	return out.String()
}

func TestConfigMap(t *testing.T) {
	const file = root + "/package/gitops/argocd-cm.yaml"
	want := configMap(t)
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("go test ./... -update rewrites %s; -want +got:\n%s", file, diff)
	}
	m := struct{ Data map[string]string }{}
	if err := yaml.Unmarshal(got, &m); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"XDatasetAgent", "XAgentBudget", "XDataset"} {
		if got := m.Data["resource.customizations.health.whisperops.io_"+kind]; got != script(t, kind) {
			t.Errorf("want the script of %s to survive YAML, got:\n%s", kind, got)
		}
	}
}
