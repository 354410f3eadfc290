package prometheus

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"whisperops.io/functions/test/process"
)

// unmeasured looks once at a server that fails, and checks that nothing changes:
// no figure, no ledger, no decision.
func (s *suite) unmeasured(t *testing.T, b *Budget, what, reason string) {
	t.Helper()
	before := b.Status()
	l := s.look(t, b)
	if l.Spent != nil {
		t.Fatalf("%s: %s: %v USD were measured", b.Name, what, *l.Spent)
	}
	if l.Problem != reason || l.Measured != reason {
		t.Errorf("%s: %s: the problem is %q and SpendMeasured says %q, want %q", b.Name, what, l.Problem, l.Measured, reason)
	}
	after := b.Status()
	for _, k := range []string{"spentUsd", "ratio", "ratioPct", "paused", "cause", "ledger"} {
		if fmt.Sprint(after[k]) != fmt.Sprint(before[k]) {
			t.Errorf("%s: %s: status.%s was %v and is %v", b.Name, what, k, before[k], after[k])
		}
	}
}

// wrongAnswers puts a gate between the meter and its server.
func (s *suite) wrongAnswers(t *testing.T) { //nolint:thelper // a test of its own
	r := rand.New(rand.NewPCG(*seed, 8))
	gate := newGate(t, s.a.url)
	input := quick(gate.URL, map[string]any{"prometheus": map[string]any{"url": gate.URL, "timeout": "1s"}})
	p := s.world.Agent("gate").Start("pod-0")
	created := time.Now()

	running := s.budget("gate", created, input)
	running.Faults = nil
	paused := s.budget("gate", created, input)
	paused.Faults, paused.USD = nil, 0.001

	works(t, r, p, 10)
	stored(t, s.a, p, 1)
	s.exact(t, running)
	s.exact(t, paused)
	if !s.look(t, paused).Pause || s.look(t, running).Pause {
		t.Fatal("the one that spent its budget is not paused, or the other is")
	}
	asked := gate.asked.Load()
	for _, tc := range []struct {
		what   string
		answer answer
		reason string
	}{
		{"it never answers", never, "QueryTimedOut"},
		{"it answers too slowly", slowly, "QueryTimedOut"},
		{"it breaks off", half, "PrometheusUnreachable"},
		{"half an answer that says it is whole", cut, "BadAnswer"},
		{"an answer with a warning", warns, "PartialAnswer"},
		{"an empty answer", says(200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`), "SamplesVanished"},
		{"somebody's web page", says(200, "<html>It works!</html>"), "BadAnswer"},
		{"nothing", says(200, ""), "BadAnswer"},
		{"another agent's series", says(200, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"whisperops_tokens_input_total","agent_name":"other"},"values":[[1,"5"]]}]}}`), "BadAnswer"},
		{"Prometheus' 422", says(422, `{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory in query execution"}`), "TooManySamples"},
		{"Prometheus' 503", says(503, `{"status":"error","errorType":"timeout","error":"query timed out in expression evaluation"}`), "QueryFailed"},
		{"Mimir's 401", says(401, "no org id\n"), "Unauthorized"},
		{"Mimir's 429", says(429, `{"status":"error","errorType":"too_many_requests","error":"too many outstanding requests"}`), "QueryFailed"},
		{"Mimir's 500", says(500, `{"status":"error","errorType":"internal","error":"rpc error: code = Unknown"}`), "QueryFailed"},
		{"a gateway's 502", says(502, "bad gateway"), "QueryFailed"},
	} {
		gate.Set(tc.answer)
		s.unmeasured(t, running, tc.what, tc.reason)
		s.unmeasured(t, paused, tc.what, tc.reason)
	}
	if gate.asked.Load() == asked {
		t.Fatal("the gate was never asked")
	}

	// The price table disappears, and the agent works on in the meantime: the last
	// prices that could be read go on.
	gate.Set(nil)
	running.Prices, paused.Prices = nil, nil
	works(t, r, p, 10)
	stored(t, s.a, p, 1)
	s.exact(t, running)
	s.exact(t, paused)
	running.Prices, paused.Prices = []map[string]any{priceTable()}, []map[string]any{priceTable()}
	s.exact(t, running)
	s.exact(t, paused)
	if !s.look(t, paused).Pause || s.look(t, running).Pause {
		t.Fatal("after all that the one that spent its budget is not paused, or the other is")
	}

	// A person acts at once, also while nothing can be measured.
	gate.Set(never)
	paused.USD = 5
	if s.look(t, paused).Pause {
		t.Error("a raise does not act while the server is down")
	}
	gate.Set(nil)
	s.report(t, s.a, row{budget: running, note: "15 kinds of wrong answers, a price table that is gone for a while"})
}

// pathAndTenant asks behind a path prefix, with a tenant, as Mimir is asked.
func (s *suite) pathAndTenant(t *testing.T) { //nolint:thelper // a test of its own
	r := rand.New(rand.NewPCG(*seed, 9))
	gate := newGate(t, s.a.url)
	gate.Set(asMimir("acme"))
	server := func(url, tenant string) map[string]any {
		return quick(url, map[string]any{"prometheus": map[string]any{"url": url, "tenant": tenant, "timeout": "5s"}})
	}
	b := s.budget("cap", time.Now(), server(gate.URL+"/prometheus", "acme"))
	b.USD = 0.2
	p := s.world.Agent("cap").Start("pod-0")

	// It works until it is stopped.
	process.Until(t, "cap to be paused", func() error {
		works(t, r, p, 3)
		if l := s.look(t, b); !l.Pause {
			return fmt.Errorf("%v of %v USD", l.Spent, b.USD)
		}
		return nil
	})
	stored(t, s.a, p, 1)
	p.Stop()
	s.exact(t, b)

	for what, tc := range map[string]struct {
		input  map[string]any
		reason string
	}{
		"no tenant":      {server(gate.URL+"/prometheus", ""), "Unauthorized"},
		"another tenant": {server(gate.URL+"/prometheus", "globex"), "Unauthorized"},
		"no path":        {server(gate.URL, "acme"), "QueryFailed"},
	} {
		lost := s.budget("cap", b.Created, tc.input)
		lost.Faults = nil
		if l := s.look(t, lost); l.Problem != tc.reason {
			t.Errorf("%s: the problem is %q, want %q", what, l.Problem, tc.reason)
		}
	}

	// It runs again when it is raised.
	b.USD = 100
	if s.look(t, b).Pause {
		t.Error("a raise does not start the agent")
	}
	b.Faults = nil
	s.report(t, s.a, row{budget: b, note: "behind a path prefix with a tenant, cut at 0.20 USD, raised"})
}

// retention deletes what the ledger has settled.
func (s *suite) retention(t *testing.T) { //nolint:thelper // a test of its own
	r := rand.New(rand.NewPCG(*seed, 10))
	b := s.budget("retention", time.Now().Add(-50*time.Minute), quick(s.a.url, nil))
	p := history(t, s, r, "retention", 49*time.Minute)
	s.exact(t, b)
	process.Until(t, "the ledger to be written", func() error {
		s.look(t, b)
		if b.Status() == nil {
			return errors.New("every write was lost")
		}
		return nil
	})
	if err := s.a.Forget(t.Context(), "retention", time.Now().Add(-15*time.Minute)); err != nil {
		t.Fatal(err)
	}
	if old, err := s.a.Query(t.Context(), `count_over_time({agent_name="retention"}[1h] offset 16m)`); err != nil || len(old) > 0 {
		t.Fatalf("the server has not forgotten: %v %v", old, err)
	}
	works(t, r, p, 20)
	s.exact(t, b)
	s.report(t, s.a, row{budget: b, note: "50 minutes old, of which the server keeps 15"})
}

// outage kills Prometheus under agents that go on, and then the functions.
func (s *suite) outage(t *testing.T) {
	r := rand.New(rand.NewPCG(*seed, 11))
	p := s.world.Agent("outage").Start("pod-0")
	running := s.budget("outage", time.Now(), quick(s.a.url, nil))
	running.Faults = nil
	paused := s.budget("outage", running.Created, quick(s.a.url, nil))
	paused.Faults, paused.USD = nil, 0.001
	works(t, r, p, 10)
	stored(t, s.a, p, 1)
	s.exact(t, running)
	s.exact(t, paused)

	s.a.Kill()
	works(t, r, p, 20)
	s.unmeasured(t, running, "Prometheus is killed", "PrometheusUnreachable")
	s.unmeasured(t, paused, "Prometheus is killed", "PrometheusUnreachable")
	s.fetch.Kill()
	s.decide.Kill()
	s.fetch.Start(t)
	s.decide.Start(t)
	s.unmeasured(t, running, "and so are the functions", "PrometheusUnreachable")
	s.unmeasured(t, paused, "and so are the functions", "PrometheusUnreachable")
	if s.look(t, running).Pause || !s.look(t, paused).Pause {
		t.Error("an outage has paused or pardoned somebody")
	}

	s.a.Start(t)
	s.a.Ready(t)
	works(t, r, p, 10)
	s.exact(t, running)
	s.exact(t, paused)
	s.report(t, s.a, row{budget: running, note: "Prometheus and the functions are killed and come back"})
}
