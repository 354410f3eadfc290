package tokenmeter

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"whisperops.io/functions/apis/v1alpha1"
)

// TestABudgetThatIsGone: an order that is deleted takes its budget along at once, and its
// planner and worker when the provider gets to it. Until then nobody measures them.
func TestABudgetThatIsGone(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, func(f *Flags) { f.Journal = dir })
	ask := func(want int, says string) {
		t.Helper()
		res, err := w.post(t.Context(), asks[0], planOf(asks[0], 1))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != want || !strings.Contains(string(b), says) {
			t.Errorf("want %d with %q, got %d %v %s", want, says, res.StatusCode, err, b)
		}
	}
	budget, _ := w.meter.state.Budget("housing-bot")
	ask(http.StatusOK, "")
	w.ended(t)

	w.meter.state.SetBudgets(nil)
	ask(http.StatusForbidden, "XAgentBudget agent-housing-bot/housing-bot) is gone")
	w.metric(t, `whisperops_meter_refusals_total{agent_name=housing-bot,reason=budget_gone}`, 1)

	// A meter that is started meanwhile knows it, too.
	if err := w.meter.journal.Close(); err != nil {
		t.Fatal(err)
	}
	w.swap(newServer(t, w.upstream.URL, func(f *Flags) { f.Journal = dir }))
	ask(http.StatusForbidden, "is gone")

	w.meter.state.SetBudgets([]Budget{budget})
	ask(http.StatusOK, "")
}

// TestACutThatWaits: decide found that the order allows less than its pipeline passed on,
// and the meter goes by that, too.
func TestACutThatWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		status string
		want   string
	}{
		"Stuck":      {"The lower amount was decided for.", `{"decidedBudgetUsd": 1, "conditions": [{"type": "OrderFollowed", "status": "False"}]}`, "1.00"},
		"InStep":     {"What was decided for before a raise is no cap.", `{"decidedBudgetUsd": 1, "conditions": [{"type": "OrderFollowed", "status": "True"}]}`, "5.00"},
		"Never":      {"Most budgets never say anything of it.", `{"decidedBudgetUsd": 1}`, "5.00"},
		"RaiseWaits": {"A raise that waits is none.", `{"decidedBudgetUsd": 5, "conditions": [{"type": "OrderFollowed", "status": "False"}]}`, "5.00"},
		"GuardBand":  {"0 is how decide remembers that a new period waits.", `{"decidedBudgetUsd": 0, "conditions": [{"type": "OrderFollowed", "status": "False"}]}`, "5.00"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &v1alpha1.XAgentBudget{Spec: v1alpha1.XAgentBudgetSpec{AgentName: "housing-bot", BudgetUSD: 5}}
			if err := json.Unmarshal([]byte(tc.status), &b.Status); err != nil {
				t.Fatal(err)
			}
			if got := dollars(budgetOf(b).Cap); got != tc.want {
				t.Errorf("%s\ncap %s USD, want %s", tc.reason, got, tc.want)
			}
		})
	}
}
