// Package dashboard evaluates the queries of the agents' Grafana dashboard on
// Prometheus' own engine, over series whose truth is known.
package dashboard

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"
	"sigs.k8s.io/yaml"

	"whisperops.io/functions/fn/xda/renderdashboard"
	"whisperops.io/functions/test/crossplane"
)

// A file is what `promtool test rules` reads.
type file struct {
	EvaluationInterval string  `json:"evaluation_interval"`
	FuzzyCompare       bool    `json:"fuzzy_compare"` // forgives the last bits
	Tests              []world `json:"tests"`
}

type world struct {
	Name     string   `json:"name"`
	Interval string   `json:"interval"`
	Series   []series `json:"input_series"`
	Queries  []query  `json:"promql_expr_test"`
}

type series struct {
	Series string `json:"series"`
	Values string `json:"values"`
}

type query struct {
	Expr     string   `json:"expr"`
	EvalTime string   `json:"eval_time"`
	Samples  []sample `json:"exp_samples"`
}

type sample struct {
	Labels string  `json:"labels"`
	Value  float64 `json:"value"`
}

// one is an answer without labels.
func one(v float64) []sample { return []sample{{Labels: "{}", Value: v}} }

// tokens is a counter of the agent's, sampled every 30 s.
func tokens(kind, pod, values string) series {
	return series{Series: `whisperops_tokens_` + kind + `_total{agent_name="housing-bot", model="gemini-2.5-pro", pod="` + pod + `"}`, Values: values}
}

// Another agent's series are in every world; nothing of them may count.
var others = []series{
	{`whisperops_tokens_input_total{agent_name="housing-bot-2", model="gemini-2.5-pro", pod="x"}`, "0+7777x60"},
	{`kube_customresource_xagentbudget_spent_usd{agent_name="housing-bot-2"}`, "99x60"},
	{`nginx_ingress_controller_requests{host="agent-housing-bot-2.example.org", status="500"}`, "0+600x60"},
	{`kube_deployment_status_replicas_available{namespace="agent-housing-bot-2", deployment="planner"}`, "5x60"},
	{`container_memory_working_set_bytes{namespace="agent-housing-bot-2", container="sandbox", pod="s"}`, "9e9x60"},
	{`kube_pod_container_resource_limits{namespace="agent-housing-bot-2", container="sandbox", resource="memory"}`, "9e9x60"},
	{`kube_pod_container_status_restarts_total{namespace="agent-housing-bot-2", container="sandbox", pod="s"}`, "0+1x60"},
}

// A busy life: pod a lives long, b answers one request and goes, c starts anew in
// place at 8:30.
var life = []series{
	tokens("input", "a", "1000x20 1500x40"),
	tokens("input", "b", "_x10 700x2 stale"),
	tokens("input", "c", "400x16 50x44"),
	tokens("output", "a", "100x20 200x40"),
	tokens("cached_input", "a", "800x20 1000x40"),
}

const estimate = (1.5*(1500+700+50-1000) + 0.15*1000 + 9*200) / 1e6

// What each query of each panel says. Times are of the world's, samples come
// every 30 s.
func worlds(q, broke func(panel, ref string) string) []world {
	return []world{
		{
			Name: "no ledger is exported: an estimate is shown, and deltas lose nothing", Series: life,
			Queries: []query{
				{q("Spent", "A"), "20m", one(estimate)},
				{q("Part of the budget that is spent", "A"), "20m", one(estimate / 5)},
				{q("Spend against budget", "A"), "20m", nil},
				{q("Spend against budget", "B"), "20m", one(estimate)},
				{q("Spend against budget", "C"), "20m", one(5)},
				{q("Budget", "A"), "20m", one(5)},

				{q("Tokens by type", "A"), "0m", one(1000 + 400)}, // born above 0
				{q("Tokens by type", "A"), "4m", one(0)},
				{q("Tokens by type", "A"), "5m", one(700)},  // born, and gone two samples later
				{q("Tokens by type", "A"), "9m", one(50)},   // started anew
				{q("Tokens by type", "A"), "11m", one(500)}, // grew
				{q("Tokens by type", "A"), "12m", one(0)},
				{q("Tokens by type", "B"), "11m", one(100)},
				{q("Tokens by type", "C"), "11m", one(200)},
				{q("Tokens by model", "A"), "11m", []sample{{`{model="gemini-2.5-pro"}`, 500}}},
				{q("Tokens by model", "B"), "11m", []sample{{`{model="gemini-2.5-pro"}`, 100}}},
			},
		},
		{
			Name:   "the ledger is exported: it is what is shown",
			Series: append([]series{{`kube_customresource_xagentbudget_spent_usd{agent_name="housing-bot", namespace="agent-housing-bot"}`, "1.4602x60"}}, life...),
			Queries: []query{
				{q("Spent", "A"), "20m", one(1.4602)},
				{q("Part of the budget that is spent", "A"), "20m", one(1.4602 / 5)},
				{q("Spend against budget", "A"), "20m", one(1.4602)},
				{q("Spend against budget", "B"), "20m", one(estimate)},
				{broke("Part of the budget that is spent", "A"), "20m", one(1460200)},
			},
		},
		{
			Name: "a model without a cache, and no output yet", Series: []series{tokens("input", "a", "2000x60")},
			Queries: []query{
				{q("Spent", "A"), "20m", one(0.003)},
				{q("Tokens by type", "C"), "20m", nil},
			},
		},
		{
			Name: "nothing is measured: nothing is shown, and nothing is 0",
			Queries: []query{
				{q("Spent", "A"), "20m", nil},
				{q("Part of the budget that is spent", "A"), "20m", nil},
				{q("Tokens by type", "A"), "20m", nil},
				{q("Errors", "A"), "20m", nil},
				{q("Planner and worker", "A"), "20m", nil},
			},
		},
		{
			Name:    "an order without money that has spent nothing",
			Series:  []series{{`kube_customresource_xagentbudget_spent_usd{agent_name="housing-bot"}`, "0x60"}},
			Queries: []query{{broke("Part of the budget that is spent", "A"), "20m", one(0)}},
		},
		{
			Name: "the platform's own series",
			Series: []series{
				{`nginx_ingress_controller_requests{host="agent-housing-bot.example.org", status="200", path="/"}`, "0+30x60"},
				{`nginx_ingress_controller_requests{host="agent-housing-bot.example.org", status="402", path="/"}`, "0+15x60"},
				{`nginx_ingress_controller_requests{host="agent-housing-bot.example.org", status="502", path="/"}`, "0+15x60"},
				{`kube_deployment_status_replicas_available{namespace="agent-housing-bot", deployment="planner"}`, "0x60"},
				{`kube_deployment_status_replicas_available{namespace="agent-housing-bot", deployment="worker"}`, "1x60"},
				{`kube_deployment_status_replicas_available{namespace="agent-housing-bot", deployment="sandbox"}`, "1x60"},
				{`container_memory_working_set_bytes{namespace="agent-housing-bot", container="sandbox", pod="s"}`, "3e8x60"},
				{`container_memory_working_set_bytes{namespace="agent-housing-bot", container="kagent", pod="w"}`, "2e8x60"},
				{`kube_pod_container_resource_limits{namespace="agent-housing-bot", container="sandbox", resource="memory"}`, "1073741824x60"},
				{`kube_pod_container_resource_limits{namespace="agent-housing-bot", container="sandbox", resource="cpu"}`, "2x60"},
				{`kube_pod_container_status_restarts_total{namespace="agent-housing-bot", container="sandbox", pod="s"}`, "0x30 2x30"},
			},
			Queries: []query{
				{q("Requests", "A"), "20m", []sample{{`{status="200"}`, 60}, {`{status="402"}`, 30}, {`{status="502"}`, 30}}}, // per minute
				{q("Errors", "A"), "20m", one(0.25)},
				{q("Planner and worker", "A"), "20m", []sample{{`{deployment="planner"}`, 0}, {`{deployment="worker"}`, 1}}},
				{q("Sandbox memory", "A"), "20m", []sample{{`{pod="s"}`, 3e8}}},
				{q("Sandbox memory", "B"), "20m", one(1 << 30)},
				{q("Restarts", "A"), "20m", []sample{{`{container="sandbox"}`, 0}}},
			},
		},
		{
			Name:    "no request failed: 0 is known then",
			Series:  []series{{`nginx_ingress_controller_requests{host="agent-housing-bot.example.org", status="200"}`, "0+9x60"}},
			Queries: []query{{q("Errors", "A"), "20m", one(0)}},
		},
	}
}

func TestQueries(t *testing.T) {
	promtool := os.Getenv("PROMTOOL")
	if promtool == "" {
		t.Skip("PROMTOOL names no promtool; make test-dashboard builds it")
	}
	queries, broke := interpolated(t, 5, nil), interpolated(t, 0, nil)
	asked := map[string]bool{}
	ask := func(of map[string]string) func(panel, ref string) string {
		return func(panel, ref string) string {
			key := panel + " " + ref
			asked[key] = true
			if of[key] == "" {
				t.Fatalf("panel %q has no query %s", panel, ref)
			}
			return of[key]
		}
	}
	ws := worlds(ask(queries), ask(broke))
	for i := range ws {
		ws[i].Interval = "30s"
		ws[i].Series = append(ws[i].Series, others...)
	}
	for key := range queries {
		if !asked[key] {
			t.Errorf("no world says what %q should answer", key)
		}
	}

	evaluate(t, promtool, ws)
}

// Counters whose class is said by a label, and whose names have dots, are shown as
// they are counted.
func TestQueriesOfOtherMetrics(t *testing.T) {
	promtool := os.Getenv("PROMTOOL")
	if promtool == "" {
		t.Skip("PROMTOOL names no promtool; make test-dashboard builds it")
	}
	metered := func(class, model, outcome, values string) series {
		return series{`whisperops_tokens_total{agent_name="housing-bot", class="` + class + `", model="` + model + `", outcome="` + outcome + `"}`, values}
	}
	genAI := func(namespace, typ, values string) series {
		return series{`agentgateway_gen_ai_client_token_usage_sum{namespace="` + namespace + `", gen_ai_token_type="` + typ + `", gen_ai_response_model="m"}`, values}
	}
	dotted := func(kind, values string) series {
		return series{`{"app.tokens.` + kind + `", "agent.name"="housing-bot", "k8s.model"="m"}`, values}
	}
	aliased := func(kind, values string) series {
		return series{`litellm_` + kind + `_tokens_metric_total{api_key_alias="housing-bot", model="m"}`, values}
	}
	envoy := func(typ, model, values string) series {
		return series{`gen_ai_client_token_usage_sum{agent_name="housing-bot", gen_ai_token_type="` + typ + `", gen_ai_original_model="x", gen_ai_request_model="asked", ` + model + `}`, values}
	}
	inference := func(class, modality, values string) series {
		return series{`gen_ai_client_inference_usage_` + class + `_tokens_total{namespace="agent-housing-bot", gen_ai_token_modality="` + modality + `", gen_ai_response_model="m"}`, values}
	}
	conventions := func(typ, values string) series {
		return series{`{"gen_ai.client.token.usage_sum", agent_name="housing-bot", "gen_ai.token.type"="` + typ + `", "gen_ai.response.model"="m"}`, values}
	}
	var all []world
	for _, w := range []struct {
		name, model   string
		input         map[string]any
		series        []series
		shown, spent  float64  // shown: the budget's own figure, where that is exported
		in, out, read float64  // tokens in the eleventh minute
		others        []sample // of the input, by the models of series that lack the first label
	}{
		{
			name: "token-meter: classes are disjoint, thoughts are shown with the output, writes with the input", model: "model",
			input: map[string]any{"metrics": map[string]any{"preset": "token-meter"}},
			series: []series{
				metered("input", "m", "complete", "1000x20 1500x40"), metered("input", "m", "aborted", "10x60"), metered("cacheWrite", "m", "complete", "100x60"),
				metered("cachedInput", "m", "complete", "800x20 1000x40"), metered("output", "m", "complete", "100x20 200x40"), metered("thoughts", "m", "complete", "50x20 70x40"),
			},
			spent: (1.5*(1500+10+100) + 0.15*1000 + 9*(200+70)) / 1e6, in: 500, out: 120, read: 200,
		},
		{
			name: "agentgateway: cached is inside the input, the agent is its namespace", model: "gen_ai_response_model",
			input: map[string]any{"metrics": map[string]any{"preset": "agentgateway"}},
			series: []series{
				genAI("agent-housing-bot", "input", "1000x20 1500x40"), genAI("agent-housing-bot", "output", "100x20 200x40"), genAI("agent-housing-bot", "input_cache_read", "800x20 1000x40"),
				genAI("agent-housing-bot", "total", "9x60"), genAI("agent-housing-bot-2", "input", "0+7777x60"),
			},
			spent: (1.5*(1500-1000) + 0.15*1000 + 9*200) / 1e6, in: 500, out: 100, read: 200,
		},
		{
			name: "envoy-ai-gateway: as it has called its metric since v0.5; what has no answering model is shown by the one that was asked for", model: "gen_ai_response_model",
			input: map[string]any{"metrics": map[string]any{"preset": "envoy-ai-gateway"}},
			series: []series{
				envoy("input", `gen_ai_response_model="m"`, "1000x20 1500x40"), envoy("output", `gen_ai_response_model="m"`, "100x20 200x40"), envoy("cached_input", `gen_ai_response_model="m"`, "800x20 1000x40"),
				envoy("input", `gen_ai_response_model=""`, "10x20 17x40"), envoy("reasoning", `gen_ai_response_model="m"`, "50x60"),
				{`gen_ai_client_token_usage_count{agent_name="housing-bot", gen_ai_token_type="input", gen_ai_response_model="m"}`, "9x60"},
			},
			spent: (1.5*(1500+17-1000) + 0.15*1000 + 9*200) / 1e6, in: 507, out: 100, read: 200, others: []sample{{`{other_model="asked"}`, 7}},
		},
		{
			name: "otel-genai-inference: counters for each class, apart by modality", model: "gen_ai_response_model",
			input: map[string]any{"metrics": map[string]any{"preset": "otel-genai-inference"}},
			series: []series{
				inference("input", "text", "1000x20 1400x40"), inference("input", "image", "7x20 107x40"), inference("output", "text", "100x20 200x40"),
				inference("cache_read_input", "text", "800x20 1000x40"), inference("cache_write_input", "text", "30x60"), inference("reasoning_output", "text", "50x60"),
				{`gen_ai_client_inference_operation_input_tokens_sum{namespace="agent-housing-bot", gen_ai_response_model="m"}`, "0+100x60"},
			},
			spent: (1.5*(1400+107-1000) + 0.15*1000 + 9*200) / 1e6, in: 500, out: 100, read: 200,
		},
		{
			name: "the conventions' dots, and what Prometheus made of them, in one place", model: `"gen_ai.response.model"`,
			input: map[string]any{"metrics": map[string]any{"preset": "otel-genai", "tokens": "gen_ai.client.token.usage_sum", "agentLabel": "agent_name"}},
			series: []series{
				conventions("input", "1000x20 1500x40"), conventions("output", "100x20 200x40"),
				{`{"gen_ai.client.token.usage_sum", agent_name="housing-bot", "gen_ai.token.type"="input", "gen_ai.request.model"="b", "gen_ai_request_model"="c"}`, "10x20 12x40"},
				{`{"gen_ai.client.token.usage_sum", agent_name="housing-bot", "gen_ai.token.type"="input", "gen_ai_request_model"="c"}`, "10x20 13x40"},
			},
			spent: (1.5*(1500+12+13) + 9*200) / 1e6, in: 505, out: 100, others: []sample{{`{other_model="b"}`, 2}, {`{other_model="c"}`, 3}},
		},
		{
			name: "names with dots", model: `"k8s.model"`,
			input: map[string]any{"metrics": map[string]any{
				"input": "app.tokens.input", "output": "app.tokens.output", "cachedInput": "app.tokens.cached", "agentLabel": "agent.name", "modelLabel": "k8s.model",
			}},
			series: []series{dotted("input", "1000x20 1500x40"), dotted("output", "100x20 200x40"), dotted("cached", "800x20 1000x40")},
			spent:  (1.5*(1500-1000) + 0.15*1000 + 9*200) / 1e6, in: 500, out: 100, read: 200,
		},
		{
			name: "a label of one's own, whose values are written in any case", model: "model",
			input: map[string]any{"metrics": map[string]any{"tokens": "my_total", "classLabel": "kind", "classes": map[string]any{"text": "input"}}},
			series: []series{
				{`my_total{agent_name="housing-bot", model="m", kind="TEXT"}`, "1000x20 1500x40"}, {`my_total{agent_name="housing-bot", model="m", kind="Output"}`, "100x20 200x40"},
				{`my_total{agent_name="housing-bot", model="m", kind="cached_Input"}`, "800x20 1000x40"}, {`my_total{agent_name="housing-bot", model="m", kind="texts"}`, "9x60"},
			},
			spent: (1.5*(1500-1000) + 0.15*1000 + 9*200) / 1e6, in: 500, out: 100, read: 200,
		},
		{
			name: "litellm: the budget's own figure has the agent's name in a label of its own", model: "model",
			input: map[string]any{"metrics": map[string]any{"preset": "litellm"}},
			series: []series{
				aliased("input", "1000x20 1500x40"), aliased("output", "100x20 200x40"), aliased("input_cached", "800x20 1000x40"), aliased("output_reasoning", "50x60"),
				{`kube_customresource_xagentbudget_spent_usd{agent_name="housing-bot", namespace="agent-housing-bot"}`, "1.4602x60"},
			},
			shown: 1.4602, spent: (1.5*(1500-1000) + 0.15*1000 + 9*200) / 1e6, in: 500, out: 100, read: 200,
		},
		{
			name: "the conventions' own dots, with the agent's usual label", model: `"gen_ai.response.model"`,
			input:  map[string]any{"metrics": map[string]any{"preset": "otel-genai", "tokens": "gen_ai.client.token.usage_sum", "agentLabel": "agent_name"}},
			series: []series{conventions("input", "1000x20 1500x40"), conventions("output", "100x20 200x40"), conventions("input_cache_read", "800x20 1000x40"), conventions("reasoning", "50x60")},
			spent:  (1.5*(1500-1000) + 0.15*1000 + 9*200) / 1e6, in: 500, out: 100, read: 200,
		},
	} {
		if w.shown == 0 {
			w.shown = w.spent
		}
		q := interpolated(t, 5, w.input)
		byModel, read := []sample{{`{` + w.model + `="m"}`, w.in}}, one(w.read)
		for _, o := range w.others {
			byModel[0].Value -= o.Value
		}
		if w.read == 0 {
			read = nil
		}
		all = append(all, world{Name: w.name, Interval: "30s", Series: append(w.series, others...), Queries: []query{
			{q["Spent A"], "20m", one(w.shown)},
			{q["Spend against budget B"], "20m", one(w.spent)},
			{q["Tokens by type A"], "11m", one(w.in)},
			{q["Tokens by type B"], "11m", one(w.out)},
			{q["Tokens by type C"], "11m", read},
			{q["Tokens by model A"], "11m", append(byModel, w.others...)},
		}})
	}
	evaluate(t, promtool, all)
}

func evaluate(t *testing.T, promtool string, ws []world) {
	t.Helper()
	doc, err := yaml.Marshal(file{EvaluationInterval: "1m", FuzzyCompare: true, Tests: ws})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "queries.yaml")
	if err := os.WriteFile(path, doc, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", path).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, out)
	}
}

var reference = regexp.MustCompile(`\$\{(\w+)(?::raw)?\}|\$(\w+)`)

// interpolated returns the dashboard's queries by panel and reference, with the
// variables filled in as Grafana does.
func interpolated(t *testing.T, budget float64, input map[string]any) map[string]string {
	t.Helper()
	var d struct {
		Templating struct {
			List []struct {
				Name    string `json:"name"`
				Current struct {
					Value string `json:"value"`
				} `json:"current"`
			} `json:"list"`
		} `json:"templating"`
		Panels []struct {
			Title   string `json:"title"`
			Targets []struct {
				RefID string `json:"refId"`
				Expr  string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal([]byte(render(t, budget, input)), &d); err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"__interval": "1m", "__rate_interval": "2m", "__range": "20m"}
	for _, v := range d.Templating.List {
		vars[v.Name] = v.Current.Value
	}
	out := map[string]string{}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			out[p.Title+" "+target.RefID] = reference.ReplaceAllStringFunc(target.Expr, func(m string) string {
				name := strings.TrimSuffix(strings.Trim(m, "${}"), ":raw")
				if vars[name] == "" {
					t.Errorf("panel %q uses %s, which has no value", p.Title, m)
				}
				return vars[name]
			})
		}
	}
	return out
}

// render returns the dashboard of an order.
func render(t *testing.T, budget float64, input map[string]any) string {
	t.Helper()
	xr, err := structpb.NewStruct(map[string]any{
		"apiVersion": "whisperops.io/v1alpha1", "kind": "XDatasetAgent", "metadata": map[string]any{"name": "housing-bot"},
		"spec": map[string]any{
			"agentName": "housing-bot", "datasetRef": map[string]any{"name": "housing"}, "budgetUsd": budget,
			"baseDomain": "example.org", "projectId": "acme-data",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := structpb.NewStruct(map[string]any{
		"dataset": map[string]any{"name": "housing", "gcsPath": "gs://acme-datasets/housing.csv", "sizeBytes": 1, "displayName": "Housing"},
	})
	if err != nil {
		t.Fatal(err)
	}
	in, err := structpb.NewStruct(map[string]any{"apiVersion": "fn.whisperops.io/v1alpha1", "kind": "RenderDashboardInput"})
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range input {
		if in.Fields[k], err = structpb.NewValue(v); err != nil {
			t.Fatal(err)
		}
	}
	rsp, err := renderdashboard.New(logging.NewNopLogger()).RunFunction(context.Background(), &fnv1.RunFunctionRequest{
		Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: xr}}, Context: ctx, Input: in,
	})
	if err != nil {
		t.Fatal(err)
	}
	if m := crossplane.Fatal(rsp); m != "" {
		t.Fatal(m)
	}
	spec := rsp.GetDesired().GetResources()["dashboard"].GetResource().GetFields()["spec"].GetStructValue()
	manifest := spec.GetFields()["forProvider"].GetStructValue().GetFields()["manifest"].GetStructValue()
	return manifest.GetFields()["data"].GetStructValue().GetFields()["whisperops-housing-bot.json"].GetStringValue()
}
