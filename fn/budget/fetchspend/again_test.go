package fetchspend

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/internal/wire"
)

// said counts what a function logs.
type said struct {
	logging.Logger

	n map[string]int
}

func (s said) Debug(msg string, _ ...any)         { s.n[msg]++ }
func (s said) WithValues(_ ...any) logging.Logger { return s }
func (said) Info(_ string, _ ...any)              {}
func (s said) times(msg string) int               { return s.n[msg] }
func (s said) answersOf(f *fleet, as *answers) *edge.Function {
	connect := func(srv query.Server) (query.Querier, error) {
		if srv.Token != "t" {
			return stranger{}, nil
		}
		return f, nil
	}
	return edge.New(s, station{now: func() time.Time { return f.now }, connect: connect, tables: &tables{}, resting: &Resting{}, answers: as}.run)
}

// A stranger is answered nothing.
type stranger struct{}

func (stranger) Query(context.Context, string, time.Time) (query.Answer, error) {
	return query.Answer{}, query.Problem{Reason: v1alpha1.ReasonUnauthorized}
}

// A world is what one look differs in from another.
type world struct {
	name                         string
	spec, metadata, input, table map[string]any
	token                        string
	unresolved                   bool
}

// metered makes of an agent's own counters those of a meter, as the preset reads them.
func metered(s *store) {
	for _, sr := range s.series {
		class := strings.TrimSuffix(strings.TrimPrefix(sr.labels["__name__"], "whisperops_tokens_"), "_total")
		sr.labels["class"] = strings.Replace(class, "cached_input", "cachedInput", 1)
		sr.labels["__name__"], sr.labels["namespace"] = "whisperops_tokens_total", "whisperops-system"
	}
}

// request of a look, as Crossplane sends it.
func (w world) request(t testing.TB, status map[string]any) []byte {
	t.Helper()
	object := func(m map[string]any) *structpb.Struct {
		s, err := structpb.NewStruct(m)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	xr := map[string]any{"apiVersion": "whisperops.io/v1alpha1", "kind": "XAgentBudget", "metadata": w.metadata, "spec": w.spec}
	if status != nil {
		xr["status"] = status
	}
	req := &fnv1.RunFunctionRequest{
		Observed:    &fnv1.State{Composite: &fnv1.Resource{Resource: object(xr)}},
		Input:       object(w.input),
		Credentials: map[string]*fnv1.Credentials{"prometheus": {Source: &fnv1.Credentials_CredentialData{CredentialData: &fnv1.CredentialData{Data: map[string][]byte{"token": []byte(w.token)}}}}},
	}
	if !w.unresolved {
		req.RequiredResources = map[string]*fnv1.Resources{requirePricing: {Items: []*fnv1.Resource{{Resource: object(w.table)}}}}
	}
	b, err := proto.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// answerOf is a function's answer to a request that came encoded, decoded.
func answerOf(t testing.TB, fn *edge.Function, request []byte) *fnv1.RunFunctionResponse {
	t.Helper()
	req := &fnv1.RunFunctionRequest{}
	if err := wire.Unmarshal(request, req); err != nil {
		t.Fatal(err)
	}
	rsp, err := fn.Answer(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := proto.Marshal(rsp)
	if err != nil {
		t.Fatal(err)
	}
	out := &fnv1.RunFunctionResponse{}
	if err := proto.Unmarshal(b, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// Whatever becomes of several agents, their budgets, the price table, the input, the clock
// and what is required, and whenever each of them is looked at: who gives answers again
// answers as who never does, to the last byte.
func TestAgainIsExact(t *testing.T) {
	log := said{n: map[string]int{}}
	looks := 0
	rapid.Check(t, func(rt *rapid.T) {
		f := &fleet{agents: map[string]*store{}, beats: map[string]time.Time{}}
		names := []string{}
		for i := range rapid.IntRange(1, 2).Draw(rt, "agents") {
			s := agents().Draw(rt, "agent")
			name := fmt.Sprint("bot-", i)
			quiet(rt, s, ten.Add(20*time.Hour))
			for _, sr := range s.series {
				sr.labels["agent_name"] = name
			}
			f.agents[name], names = s, append(names, name)
		}
		with, without := log.answersOf(f, &answers{}), &answers{}
		never := said{n: map[string]int{}}.answersOf(f, without)
		now := ten.Add(time.Duration(rapid.IntRange(2, 14).Draw(rt, "first look"))*time.Hour - 7*time.Minute)
		worlds, statuses := map[string]*world{}, map[string]map[string]any{}
		for _, n := range names {
			worlds[n] = &world{
				name:     n,
				metadata: map[string]any{"name": n, "namespace": "agent-" + n, "creationTimestamp": "2026-11-23T10:00:00Z"},
				spec:     map[string]any{"agentName": n, "budgetUsd": 10.0, "period": rapid.SampledFrom([]string{"lifetime", "lifetime", "daily", "weekly"}).Draw(rt, "period"), "timeZone": rapid.SampledFrom([]string{"UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland"}).Draw(rt, "zone")},
				input:    map[string]any{"apiVersion": "fn.whisperops.io/v1alpha1", "kind": "FetchSpendInput", "prometheus": map[string]any{"url": "http://x", "credentialsName": "prometheus"}},
				token:    "t",
			}
			setTable(rt, worlds[n], now)
			if rapid.IntRange(0, 2).Draw(rt, "metered") == 0 {
				worlds[n].input["metrics"] = map[string]any{"preset": "token-meter"}
				metered(f.agents[n])
				f.beats[n] = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(rt, "heard for")) * time.Minute)
			}
		}
		for range rapid.IntRange(10, 40).Draw(rt, "looks") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{1, 20, 60, 60, 60, 60, 60, 60, 60, 300, 900, -30}).Draw(rt, "next look")) * time.Second)
			n := rapid.SampledFrom(names).Draw(rt, "who")
			w := worlds[n]
			w.unresolved = rapid.IntRange(0, 12).Draw(rt, "unresolved") == 0
			status := statuses[n]
			if rapid.IntRange(0, 6).Draw(rt, "something changes") == 0 {
				status = vary(rt, w, status, now)
			}
			f.now, f.who, f.answer = now, n, nil
			if rapid.IntRange(0, 29).Draw(rt, "the server is away") == 0 {
				f.answer = func(string, query.Answer) (query.Answer, error) {
					return query.Answer{}, query.Problem{Reason: v1alpha1.ReasonPrometheusUnreachable}
				}
			}
			request := w.request(t, status)
			got := answerOf(t, with, request)
			without.of = nil
			want := answerOf(t, never, request)
			if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
				rt.Fatalf("%s at %s, -never again +again:\n%s", n, now.Format(time.TimeOnly), diff)
			}
			looks++
			if rapid.IntRange(0, 5).Draw(rt, "not written") == 0 {
				continue
			}
			if statuses[n] == nil {
				statuses[n] = map[string]any{}
			}
			fields := got.GetContext().GetFields()
			if l := fields[v1alpha1.ContextLedger]; l != nil {
				statuses[n]["ledger"] = l.AsInterface()
			}
			if b := fields[v1alpha1.ContextMeasurement].GetStructValue().GetFields()["bill"]; b != nil {
				statuses[n]["bill"] = b.AsInterface()
			}
		}
	})
	again := log.times("Answered as the last time")
	t.Logf("%d of %d looks were answered as the last time", again, looks)
	if again*40 < looks {
		t.Error("less than one in forty: this shows nothing")
	}
}

// setTable gives a price table, now and then with a price that changes about now.
func setTable(rt *rapid.T, w *world, now time.Time) {
	rows := []string{`{input: "0.30", output: "2.50", cachedInput: "0.03"}`}
	for range rapid.IntRange(0, 2).Draw(rt, "later rows") {
		about := rapid.SampledFrom([]time.Duration{0, -announceBefore, announceBefore, 90 * 24 * time.Hour}).Draw(rt, "about")
		at := now.Add(about + time.Duration(rapid.IntRange(-10, 30).Draw(rt, "minutes"))*time.Minute)
		rows = append(rows, fmt.Sprintf(`{from: %q, input: "0.%d", output: "3.00", cachedInput: "0.04"}`, at.UTC().Format(time.RFC3339), rapid.IntRange(31, 40).Draw(rt, "price")))
	}
	slices.Sort(rows[1:])
	w.table = map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "whisperops-pricing", "namespace": "crossplane-system"},
		"data": map[string]any{v1alpha1.PricingKey: "version: 2\nmodels:\n  m: [" + strings.Join(slices.Compact(rows), ", ") + "]\n"}}
}

// vary something about an agent, for good or for one look.
func vary(rt *rapid.T, w *world, status map[string]any, now time.Time) map[string]any {
	switch rapid.IntRange(0, 11).Draw(rt, "what changes") {
	case 0:
		w.spec["budgetUsd"] = float64(rapid.IntRange(1, 3).Draw(rt, "budget"))
	case 1:
		w.spec["enforcement"] = rapid.SampledFrom([]string{"ScaleToZero", "MonitorOnly"}).Draw(rt, "enforcement")
	case 2, 3:
		setTable(rt, w, now)
	case 4:
		w.table = map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "data": map[string]any{v1alpha1.PricingKey: "models: ["}}
	case 5, 6:
		w.token = rapid.SampledFrom([]string{"t", "t", "u", ""}).Draw(rt, "token")
	case 10:
		w.input["maxLook"] = rapid.SampledFrom([]string{"5m", "10m"}).Draw(rt, "longest look")
	case 7:
		return nil // the status is lost, for one look
	case 8:
		w.spec["opening"] = map[string]any{"usd": 1.5, "period": "lifetime", "asOf": now.Add(time.Duration(rapid.IntRange(-60, 3).Draw(rt, "opened")) * time.Minute).UTC().Format(time.RFC3339)}
	case 9:
		w.metadata["creationTimestamp"] = now.Add(time.Duration(rapid.IntRange(-300, 3).Draw(rt, "made")) * time.Minute).UTC().Format(time.RFC3339)
	case 11: // somebody wrote into the status
		return map[string]any{"ledger": status["ledger"], "bill": []any{map[string]any{"model": "m", "class": "input", "tokens": "1", "usdPerMillion": "0.01", "usd": "0.01"}}}
	}
	return status
}

// Of agents at rest that a meter counts it is asked once whether they moved, and once whether
// the meter was heard, whoever looks; one that fell silent is told at once.
func TestAgainHearsTheMeter(t *testing.T) {
	f := atRest(t, "bot-a", "bot-b")
	for _, s := range f.agents {
		metered(s)
	}
	f.beats = map[string]time.Time{"bot-a": when(t, "15:00:00"), "bot-b": when(t, "13:04:00")}
	log := said{n: map[string]int{}}
	fn := log.answersOf(f, &answers{})
	statuses := map[string]map[string]any{}
	look := func(agent, clock string) (flaw string, asked int) {
		f.now, f.who, f.asked = when(t, clock), agent, nil
		w := &world{
			metadata: map[string]any{"name": agent, "namespace": "agent-" + agent, "creationTimestamp": "2026-11-23T10:00:00Z"},
			spec:     map[string]any{"agentName": agent, "budgetUsd": 10.0},
			input:    map[string]any{"apiVersion": "fn.whisperops.io/v1alpha1", "kind": "FetchSpendInput", "prometheus": map[string]any{"url": "http://x", "credentialsName": "prometheus"}, "metrics": map[string]any{"preset": "token-meter"}},
			token:    "t",
			table:    map[string]any{"data": map[string]any{v1alpha1.PricingKey: `models: {m: {input: "0.30", output: "2.50", cachedInput: "0.03"}}`}},
		}
		rsp := answerOf(t, fn, w.request(t, statuses[agent]))
		if len(rsp.GetResults()) > 0 {
			t.Fatal(rsp.GetResults())
		}
		fields := rsp.GetContext().GetFields()
		m := fields[v1alpha1.ContextMeasurement].GetStructValue().GetFields()
		statuses[agent] = map[string]any{"ledger": fields[v1alpha1.ContextLedger].AsInterface(), "bill": m["bill"].AsInterface()}
		return m["flaw"].GetStructValue().GetFields()["reason"].GetStringValue(), len(f.asked)
	}
	for _, clock := range []string{"13:00:00", "13:00:20"} {
		look("bot-a", clock)
		look("bot-b", clock)
	}
	for _, tc := range []struct {
		agent, clock, flaw string
		asked, again       int
	}{
		{"bot-a", "13:01:20", "", 2, 1},            // the two questions about both
		{"bot-b", "13:01:21", "", 0, 2},            // has its answers from them
		{"bot-a", "13:02:20", "", 2, 3},            // they count for ten seconds
		{"bot-b", "13:02:21", "", 0, 4},            //
		{"bot-b", "13:08:00", "MeterSilent", 3, 4}, // both, and the one about itself
		{"bot-a", "13:08:01", "", 0, 5},            //
		{"bot-b", "13:09:00", "MeterSilent", 3, 5}, // it is not taken for well again
	} {
		flaw, asked := look(tc.agent, tc.clock)
		if again := log.times("Answered as the last time"); flaw != tc.flaw || asked != tc.asked || again != tc.again {
			t.Errorf("%s at %s: flaw %q, asks %d, %d answered as the last time; want %q, %d, %d\n%v", tc.agent, tc.clock, flaw, asked, again, tc.flaw, tc.asked, tc.again, f.asked)
		}
	}
	f.beats["bot-b"] = when(t, "15:00:00")
	if flaw, _ := look("bot-b", "13:10:00"); flaw != "" {
		t.Errorf("the meter is heard again, and %s is said again", flaw)
	}
}
