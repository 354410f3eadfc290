package renderdashboard

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	input "whisperops.io/functions/apis/input/v1alpha1"
	workloads "whisperops.io/functions/apis/input/workloads/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/money"
	"whisperops.io/functions/internal/pricing"
)

// anAgent is as large as agents get.
func anAgent() Agent {
	in := input.RenderDashboardInput{}
	in.Default()
	metrics, err := in.Metrics.Resolve(true)
	if err != nil {
		panic(err) // the defaults
	}
	return Agent{Name: "abcdefghijklmnopqrstuvwx", Description: "Answers questions", BaseDomain: "example.org", BudgetUSD: 0.5, Input: in, Metrics: metrics}
}

// rendered returns the dashboard as Grafana decodes it.
func rendered(t *testing.T, a Agent) map[string]any {
	t.Helper()
	data, _ := configMap(a)["data"].(map[string]any)
	text, ok := data["whisperops-"+a.Name+".json"].(string)
	if !ok || len(data) != 1 {
		t.Fatalf("the ConfigMap holds %v", slices.Sorted(maps.Keys(data)))
	}
	return decoded(t, []byte(text))
}

func decoded(t *testing.T, doc []byte) map[string]any {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal(doc, &d); err != nil {
		t.Fatalf("the dashboard is no JSON: %v", err)
	}
	return d
}

// variables returns the dashboard's variables by name.
func variables(t *testing.T, d map[string]any) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	templating, _ := d["templating"].(map[string]any)
	list, _ := templating["list"].([]any)
	for _, v := range list {
		v, _ := v.(map[string]any)
		name, _ := v["name"].(string)
		if out[name] != nil {
			t.Errorf("two variables are called %q", name)
		}
		out[name] = v
	}
	return out
}

// panels returns the dashboard's panels.
func panels(d map[string]any) []map[string]any {
	list, _ := d["panels"].([]any)
	out := make([]map[string]any, 0, len(list))
	for _, p := range list {
		p, _ := p.(map[string]any)
		out = append(out, p)
	}
	return out
}

func TestDashboardIsOneThatGrafanaTakes(t *testing.T) {
	d := rendered(t, anAgent())
	if uid, _ := d["uid"].(string); !regexp.MustCompile(`^[a-zA-Z0-9_-]{1,40}$`).MatchString(uid) || !strings.Contains(uid, anAgent().Name) {
		t.Errorf("uid %q must be 1 to 40 letters, digits, dashes and underscores, and the agent's own", uid)
	}
	if title, _ := d["title"].(string); !strings.Contains(title, anAgent().Name) {
		t.Errorf("title %q must be the agent's own: two dashboards of one title stop Grafana importing any", title)
	}
	if d["id"] != nil {
		t.Errorf("id %v belongs to one database of Grafana's", d["id"])
	}
	if v, _ := d["schemaVersion"].(float64); v < 36 {
		t.Errorf("schemaVersion is %v", d["schemaVersion"])
	}
	if len(panels(d)) == 0 {
		t.Fatal("there are no panels")
	}

	ids := map[any]bool{}
	taken := map[[2]int]any{}
	for _, p := range panels(d) {
		title, _ := p["title"].(string)
		if p["id"] == nil || ids[p["id"]] {
			t.Errorf("panel %q has the id %v of another", title, p["id"])
		}
		ids[p["id"]] = true
		grid, _ := p["gridPos"].(map[string]any)
		x, y, w, h := grid["x"].(float64), grid["y"].(float64), grid["w"].(float64), grid["h"].(float64)
		if x+w > 24 {
			t.Errorf("panel %q is wider than the page", title)
		}
		for i := int(x); i < int(x+w); i++ {
			for j := int(y); j < int(y+h); j++ {
				if other := taken[[2]int{i, j}]; other != nil {
					t.Errorf("panel %q lies on panel %v", title, other)
				}
				taken[[2]int{i, j}] = title
			}
		}
		if p["type"] == "row" {
			continue
		}
		if text, _ := p["description"].(string); text == "" {
			t.Errorf("panel %q doesn't say what it shows", title)
		}
		targets, _ := p["targets"].([]any)
		refs := map[any]bool{}
		for _, target := range targets {
			target, _ := target.(map[string]any)
			if refs[target["refId"]] {
				t.Errorf("panel %q has two queries %v", title, target["refId"])
			}
			refs[target["refId"]] = true
			for of, v := range map[string]any{"panel": p["datasource"], "query": target["datasource"]} {
				if diff := cmp.Diff(map[string]any{"type": "prometheus", "uid": "${datasource}"}, v); diff != "" {
					t.Errorf("%s of panel %q asks another data source: -want, +got:\n%s", of, title, diff)
				}
			}
		}
		if len(targets) == 0 {
			t.Errorf("panel %q asks nothing", title)
		}
	}
}

// Grafana's own variables.
var builtin = []string{"__interval", "__range", "__rate_interval"}

var reference = regexp.MustCompile(`\$\{(\w+)(?::raw)?\}|\$(\w+)`)

func TestQueriesUseTheVariables(t *testing.T) {
	d := rendered(t, anAgent())
	vars, used := variables(t, d), map[string]bool{}
	text, err := json.Marshal(d["panels"])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range reference.FindAllStringSubmatch(string(text), -1) {
		name := m[1] + m[2]
		used[name] = true
		if vars[name] == nil && !slices.Contains(builtin, name) {
			t.Errorf("a panel uses $%s, which nobody sets", name)
		}
	}
	for name := range vars {
		if !used[name] {
			t.Errorf("no panel uses the variable %q", name)
		}
	}
	// Nothing of an agent or of a platform stands in a panel itself. Short values
	// (a label called status) are words of their own.
	for name, v := range values(anAgent()) {
		if len(v) > 10 && strings.Contains(string(text), v) {
			t.Errorf("a panel holds %q itself; it is the variable %s", v, name)
		}
	}
}

func TestEveryValueHasItsPlace(t *testing.T) {
	places := map[string]bool{}
	for i, name := range dashboard {
		if i%2 == 1 {
			places[name] = true
		}
	}
	want := slices.Sorted(maps.Keys(values(anAgent())))
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(places))); diff != "" {
		t.Errorf("-values, +places:\n%s", diff)
	}
}

// Users write what they like into descriptions; the API server admits it.
var nastyTexts = []string{
	`", "panels": [], "uid": "x`,
	"one line\nanother\r\n\ttab \x00 \x1b \u2028 \\ \\u0022 \\\"",
	"$agent ${agent} {{.}} %s <b>bold</b> & 'quoted'",
	"Größe, 価格 🏠 \u202e",
	strings.Repeat("long ", 1000),
	"",
}

// The compiled template must say what setting the keys of the decoded dashboard
// says, whatever the values hold.
func TestSubstitutionIsOnTheDecodedJSON(t *testing.T) {
	for _, text := range nastyTexts {
		a := anAgent()
		a.Description, a.Input.DatasourceUID, a.Input.Folder = text, text, text
		vals := values(a)

		want := decoded(t, dashboardJSON)
		want["uid"], want["title"], want["description"] = "whisperops-"+a.Name, "Agent "+a.Name, text
		for name, v := range variables(t, want) {
			switch v["type"] {
			case "constant":
				v["query"] = vals[name]
				v["current"] = map[string]any{"selected": true, "text": vals[name], "value": vals[name]}
			case "datasource":
				v["current"] = map[string]any{"selected": true, "text": text, "value": text}
			}
		}
		if diff := cmp.Diff(want, rendered(t, a)); diff != "" {
			t.Errorf("with %q: -want, +got:\n%s", text, diff)
		}
	}
}

func TestBudgetIsADecimalNumber(t *testing.T) {
	for usd, want := range map[float64]string{0: "0", 5: "5", 0.5: "0.5", 10000: "10000", 0.0001: "0.0001", 1e-7: "0.0000001"} {
		a := anAgent()
		a.BudgetUSD = usd
		if got := fmt.Sprint(variables(t, rendered(t, a))["budget_usd"]["query"]); got != want {
			t.Errorf("a budget of %v is written as %s, want %s", usd, got, want)
		}
	}
}

// The estimate's prices are those of the model that agents get, as the table that is
// installed has them first.
func TestEstimateIsOfTheDefaultModel(t *testing.T) {
	text, err := os.ReadFile("../../../package/install/pricing.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cm struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal(text, &cm); err != nil {
		t.Fatal(err)
	}
	table, err := pricing.Read(cm.Data[v1alpha1.PricingKey])
	if err != nil {
		t.Fatal(err)
	}
	row := table.Find(workloads.DefaultModel).Rows[0]
	for name, class := range map[string]v1alpha1.TokenClass{"price_input": v1alpha1.TokenInput, "price_cached": v1alpha1.TokenCachedInput, "price_output": v1alpha1.TokenOutput} {
		v := variables(t, rendered(t, anAgent()))[name]
		usd, err := money.Parse(fmt.Sprint(v["query"]))
		if err != nil || usd != row.Rates[class]*1_000_000 {
			t.Errorf("%s is %v, and a million tokens of %s cost %s", name, v["query"], workloads.DefaultModel, row.Rates[class]*1_000_000)
		}
		if text, _ := v["description"].(string); !strings.Contains(text, workloads.DefaultModel) {
			t.Errorf("%s says %q, and should name %s", name, text, workloads.DefaultModel)
		}
	}
}

func TestCompileSaysWhatIsWrong(t *testing.T) {
	for name, tc := range map[string]struct{ doc, want string }{
		"NoJSON":        {`{`, "unexpected end of JSON input"},
		"NoVariable":    {`{"templating": {"list": [7]}}`, "templating.list[0] has no name"},
		"NamelessOne":   {`{"templating": {"list": [{"name": "a"}, {}]}}`, "templating.list[1] has no name"},
		"NoneIsAllowed": {`{}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := compile([]byte(tc.doc))
			if got := fmt.Sprint(err); got != tc.want && !(err == nil && tc.want == "") {
				t.Errorf("compile(%s): %v, want %q", tc.doc, err, tc.want)
			}
		})
	}
}
