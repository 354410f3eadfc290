package simulation

import (
	"encoding/json"
	"testing"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/test/crossplane"
)

// An agent that does what a test says, and exports every 30 seconds while it is
// up. A control plane looks at it when the test says so.
type agent struct {
	t      *testing.T
	store  *Store
	plane  *ControlPlane
	now    time.Time
	status map[string]any // as it was last written

	exists bool
	tokens uint64 // output tokens of gemini-2.5-flash: 2.50 USD per million
	heard  time.Time
}

func newAgent(t *testing.T, inputs map[string]map[string]any) *agent {
	t.Helper()
	store, err := OpenStore(0, outOfOrder)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	plane, err := NewControlPlane(store, Epoch, inputs)
	if err != nil {
		t.Fatal(err)
	}
	return &agent{t: t, store: store, plane: plane, now: Epoch, heard: Epoch.Add(step)}
}

// use lets the agent use output tokens.
func (a *agent) use(tokens uint64) {
	a.exists = true
	a.tokens += tokens
}

// goOn lets time pass.
func (a *agent) goOn(d time.Duration) {
	a.t.Helper()
	a.now = a.now.Add(d)
	for ; !a.heard.After(a.now); a.heard = a.heard.Add(step) {
		if !a.exists {
			continue
		}
		at := a.heard.UnixMilli()
		m := Meter{models[0], v1alpha1.TokenOutput}
		if err := a.store.Append(a.t.Context(), []Export{{Arrives: at, At: at, Labels: seriesLabels("planner-1", m, ""), Value: float64(a.tokens)}}); err != nil {
			a.t.Fatal(err)
		}
	}
}

// look lets the control plane look; write says whether the status write arrives.
func (a *agent) look(write bool) *crossplane.Result {
	a.t.Helper()
	a.plane.Now = a.now
	spec := map[string]any{"agentName": AgentName, "budgetUsd": 5.0}
	r, status, err := a.plane.Reconcile(a.t.Context(), spec, a.status)
	if err != nil {
		a.t.Fatal(err)
	}
	if r.Fatal != "" {
		a.t.Fatalf("at %s: %s", a.now.Format(time.TimeOnly), r.Fatal)
	}
	if write {
		a.status = status
	}
	return r
}

// spentUSD is what status shows.
func (a *agent) spentUSD() float64 {
	usd, _ := a.status["spentUsd"].(float64)
	return usd
}

// condition is the status and the reason of a condition of a response.
func condition(r *crossplane.Result, name string) (status, reason string) {
	conditions, _ := statusOf(r)["conditions"].([]any)
	for _, v := range conditions {
		if c, _ := v.(map[string]any); c["type"] == name {
			status, _ = c["status"].(string)
			reason, _ = c["reason"].(string)
		}
	}
	return status, reason
}

// written is a status as bytes.
func written(t *testing.T, status map[string]any) string {
	t.Helper()
	b, err := json.Marshal(status)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
