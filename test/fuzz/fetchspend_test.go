package fuzz

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"sigs.k8s.io/yaml"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/pipeline"
)

// noon is the time at which fetch-spend is fuzzed.
func noon() time.Time { return time.Date(2026, 11, 23, 12, 0, 20, 0, time.UTC) }

// samples answers every question with the counters of agent housing-bot.
type samples struct{}

func (samples) Query(_ context.Context, promQL string, at time.Time) (query.Answer, error) {
	a := query.Answer{Date: noon()}
	if strings.HasPrefix(promQL, "last_over_time(") {
		return a, nil
	}
	for i, name := range []string{"whisperops_tokens_input_total", "whisperops_tokens_cached_input_total", "whisperops_tokens_output_total"} {
		s := count.Series{Labels: map[string]string{"__name__": name, "agent_name": "housing-bot", "model": "gemini-2.5-flash", "pod": "planner-1"}}
		for k := range 200 {
			s.Samples = append(s.Samples, count.Sample{At: at.Add(time.Duration(k-199) * 30 * time.Second).UnixMilli(), Value: float64((3 - i) * k * 1000)})
		}
		a.Series = append(a.Series, s)
	}
	return a, nil
}

// pricing is the price table of the requests below.
const pricing = `models: {gemini-2.5-flash: {input: "0.30", output: "2.50", cachedInput: "0.03"}}`

// spendRequest is one for a budget at noon.
func spendRequest(status, input map[string]any, prices string) (*fnv1.RunFunctionRequest, error) {
	xr := map[string]any{
		"apiVersion": "whisperops.io/v1alpha1", "kind": "XAgentBudget",
		"metadata": map[string]any{"name": "housing-bot", "namespace": "agent-housing-bot", "creationTimestamp": "2026-11-23T09:00:00Z"},
		"spec":     map[string]any{"agentName": "housing-bot", "budgetUsd": 5.0},
		"status":   status,
	}
	observed, err := crossplane.Observed(xr, nil, nil)
	if err != nil {
		return nil, err
	}
	table, err := crossplane.Select([]map[string]any{{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "whisperops-pricing", "namespace": "crossplane-system"},
		"data": map[string]any{"prices.yaml": prices},
	}}, &fnv1.ResourceSelector{ApiVersion: "v1", Kind: "ConfigMap"})
	if err != nil {
		return nil, err
	}
	req := &fnv1.RunFunctionRequest{Observed: observed, RequiredResources: map[string]*fnv1.Resources{"pricing": table}}
	if input != nil {
		if req.Input, err = structpb.NewStruct(input); err != nil {
			return nil, err
		}
	}
	return req, nil
}

// neverFatal holds whatever a server, a status or a price table says: there is a
// figure, or a problem and none, and a time for the next look.
func neverFatal(t *testing.T, rsp *fnv1.RunFunctionResponse) {
	t.Helper()
	if m := crossplane.Fatal(rsp); m != "" {
		t.Fatalf("fatal: %s", m)
	}
	ctx := rsp.GetContext().GetFields()
	usd, measured := ctx[v1alpha1.ContextSpendUSD]
	problem, unmeasured := ctx[v1alpha1.ContextSpendProblem]
	if measured == unmeasured {
		t.Fatalf("a figure %v and a problem %v", usd, problem)
	}
	if n := usd.GetNumberValue(); n < 0 || math.IsNaN(n) || math.IsInf(n, 0) {
		t.Fatalf("spent %v", n)
	}
	if p := problem.GetStructValue().GetFields(); unmeasured && (p["reason"].GetStringValue() == "" || p["message"].GetStringValue() == "" || len(p["message"].GetStringValue()) > 2000) {
		t.Fatalf("the problem says nothing, or too much: %v", p)
	}
	if ttl := rsp.GetMeta().GetTtl().AsDuration(); ttl < time.Second {
		t.Fatalf("looks again in %s", ttl)
	}
	if l, ok := ctx[v1alpha1.ContextLedger]; ok {
		b, err := json.Marshal(l.AsInterface())
		if err != nil || len(b) > 32<<10 {
			t.Fatalf("the ledger can't be written: %v, %d bytes", err, len(b))
		}
	}
	if _, err := proto.Marshal(rsp); err != nil {
		t.Fatalf("the response can't be sent: %v", err)
	}
}

func meter() fnv1.FunctionRunnerServiceServer {
	return fetchspend.NewWith(log(), noon, func(query.Server) (query.Querier, error) { return samples{}, nil })
}

// FuzzFetchSpend feeds it raw requests, as the other stations.
func FuzzFetchSpend(f *testing.F) {
	req, err := spendRequest(nil, nil, pricing)
	if err != nil {
		f.Fatal(err)
	}
	b, err := proto.Marshal(req)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	station(f, meter(), "budget/fetchspend")
}

// FuzzFetchSpendFacts feeds it a status, an input and a price table, as JSON and
// YAML: those are what changes under it while it runs.
func FuzzFetchSpendFacts(f *testing.F) {
	good := `{"ledger":{"period":"lifetime","from":"2026-11-23T09:00:00Z","asOf":"2026-11-23T11:30:00Z","settledAt":"2026-11-23T10:30:00Z","mapping":"799d2e0066350235","totals":[{"model":"gemini-2.5-flash","class":"input","tokens":"1000"}],"cursors":[{"series":"0123456789abcdef","at":"1795428000000","value":"7","resets":"1","resetsBefore":"2"}]},"spentUsd":1.5}`
	for _, status := range []string{
		good, `{}`, `null`, `{"ledger":null}`, `{"ledger":[]}`, `{"ledger":{"cursors":{}}}`,
		strings.ReplaceAll(good, "2026-11-23T10:30:00Z", "2000-01-01T00:00:00Z"), strings.ReplaceAll(good, "2026-11-23T10:30:00Z", "9000-12-31T23:59:59Z"),
		strings.ReplaceAll(good, `"1000"`, `"18446744073709551615"`), strings.ReplaceAll(good, `"7"`, `"18446744073709551615"`),
		strings.ReplaceAll(good, "lifetime", "2026-11-22"), strings.ReplaceAll(good, `"mapping":"7`, `"rebased":"2026-11-23T11:45:00Z","mapping":"8`),
	} {
		f.Add(status, `{}`, pricing)
	}
	for _, input := range []string{
		`{"grid":"1s","settleAfter":"2m","heartbeat":"1m","minLook":"1s","maxLook":"1h","maxResetsPerHour":1}`, `{"grid":"10m","settleAfter":"24h","heartbeat":"24h"}`,
		`{"grid":null,"replicaLabels":null,"prometheus":null,"metrics":null}`, `{"replicaLabels":["pod","model"]}`, `{"metrics":{"modelLabel":"agent_name"}}`,
		`{"ingestDelay":"2562047h"}`, `{"maxLook":"2562047h"}`, `{"grid":7}`,
	} {
		f.Add(good, input, pricing)
	}
	for _, prices := range []string{``, `models:`, `models: {x: {input: 1e300, output: 0}}`, `models: {x: {input: "999999.999999", output: "999999.999999"}}`, "models: &a {x: *a}", "\x00"} {
		f.Add(good, `{}`, prices)
	}
	f.Fuzz(func(t *testing.T, status, input, prices string) {
		var s, in map[string]any
		if json.Unmarshal([]byte(status), &s) != nil || json.Unmarshal([]byte(input), &in) != nil {
			return
		}
		if in == nil {
			in = map[string]any{}
		}
		in["apiVersion"], in["kind"] = "fn.whisperops.io/v1alpha1", "FetchSpendInput"
		req, err := spendRequest(s, in, prices)
		if err != nil {
			return // no protobuf Struct holds it
		}
		rsp, err := meter().RunFunction(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		if m := crossplane.Fatal(rsp); strings.Contains(m, "cannot use input") {
			return // an input that can't work is the only thing that may be fatal
		}
		neverFatal(t, rsp)
	})
}

// FuzzFetchSpendAnswer feeds it what a server may say, byte by byte.
func FuzzFetchSpendAnswer(f *testing.F) {
	for _, body := range []string{
		`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"whisperops_tokens_output_total","agent_name":"housing-bot","model":"gemini-2.5-flash"},"values":[[1795434000,"100"],[1795434030.5,"NaN"],[1795434060,"-1"],[1795434090,"+Inf"],[1795434120,"1e300"]]}]}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"whisperops_tokens_output_total","agent_name":"housing-bot"},"histograms":[[1795434000,{"count":"3","sum":"7","buckets":[[0,"0","1","3"]]}]]}]}}`,
		`{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"whisperops_tokens_output_total","agent_name":"housing-bot"},"value":[1795434000,"5"]}]}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[null]}}`, `{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1e308,"1"]]}]}}`, `{"status":"success"}`, `[]`, ``, `null`, `{"warnings":[1]}`,
		`{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory"}`, `<html>`, "\xff\xfe",
	} {
		for _, status := range []int{200, 400, 422, 503} {
			f.Add(status, []byte(body))
		}
	}
	stories := filepath.Join(pipeline.Root(), "examples")
	recorded, err := filepath.Glob(filepath.Join(stories, "budget-*", "prometheus.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range recorded {
		var r struct {
			Answer struct {
				Code int    `json:"code"`
				Body string `json:"body"`
			} `json:"answer"`
		}
		b, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		if yaml.Unmarshal(b, &r) == nil && r.Answer.Code != 0 {
			f.Add(r.Answer.Code, []byte(r.Answer.Body))
		}
	}

	type answer struct {
		status int
		body   []byte
	}
	var says atomic.Pointer[answer]
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a := says.Load()
		w.WriteHeader(a.status)
		_, _ = w.Write(a.body) // to a client that hung up there is nothing to say
	}))
	f.Cleanup(srv.Close)
	fn := fetchspend.NewAt(log(), noon, func() string { return srv.URL })
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if status < 200 || status > 599 {
			return // net/http sends no other
		}
		says.Store(&answer{status, body})
		req, err := spendRequest(nil, nil, pricing)
		if err != nil {
			t.Fatal(err)
		}
		rsp, err := fn.RunFunction(context.Background(), req)
		if err != nil {
			t.Fatal(err)
		}
		neverFatal(t, rsp)
		if _, ok := rsp.GetContext().GetFields()[v1alpha1.ContextSpendUSD]; ok && status/100 != 2 {
			t.Fatalf("HTTP %d is a figure: %v", status, rsp.GetContext())
		}
	})
}
