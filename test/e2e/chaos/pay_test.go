package chaos

import (
	"testing"

	"whisperops.io/functions/hack/controlplane/suite"
)

// payer is a recorder of an agent that runs under an order, and pays.
func payer(t *testing.T, agent string) *recorder {
	t.Helper()
	r := newRecorder(suite.NewMeter())
	r.ordered(agent, "order", 5)
	r.see(thing("XAgentBudget", "agent-"+agent, agent, "budget", "order"))
	r.purses[agent].works = true
	return r
}

// A call is on the bill when it arrives, and in doubt until the meter is known to have
// seen its answer.
func TestRecorderPays(t *testing.T) {
	const each = 400*inputPicos + 50*outputPicos
	for name, tc := range map[string]struct {
		reason          string
		do              func(r *recorder, c call)
		spent, doubtful Picos
	}{
		"UnderWay":  {"It arrived; nobody knows more.", func(r *recorder, c call) { r.billed(c.id) }, each, each},
		"Answered":  {"Its caller has the answer, so that the meter has counted it.", func(r *recorder, c call) { r.billed(c.id); r.ended(c, true) }, each, 0},
		"Killed":    {"The meter was killed under it, before or after it had counted.", func(r *recorder, c call) { r.billed(c.id); r.ended(c, false) }, each, each},
		"Refused":   {"What never arrives costs nothing.", func(r *recorder, c call) { r.ended(c, true) }, 0, 0},
		"KilledToo": {"Nor does what a killed meter had not sent yet.", func(r *recorder, c call) { r.ended(c, false) }, 0, 0},
		"Twice":     {"A call that is sent twice is billed twice.", func(r *recorder, c call) { r.billed(c.id); r.billed(c.id); r.ended(c, true) }, 2 * each, 0},
		"NextOrder": {"What is in doubt of the last order isn't the next one's business.", func(r *recorder, c call) { r.billed(c.id); r.ended(c, false); r.ordered("bot-01", "next", 1) }, 0, 0},
	} {
		r := payer(t, "bot-01")
		c, works := r.begin("bot-01", 400, 50)
		if !works {
			t.Fatal("want work")
		}
		tc.do(r, c)
		m := r.orders()["bot-01"]
		var doubts Picos
		for _, d := range r.inDoubt("bot-01") {
			doubts += d
		}
		if m.Spent != tc.spent || m.Doubt != tc.doubtful || doubts != tc.doubtful {
			t.Errorf("%s: %s\nspent %s, in doubt %s or %s, want %s and %s", name, tc.reason, m.Spent, m.Doubt, doubts, tc.spent, tc.doubtful)
		}
	}
}

// No call begins that nobody would count, and none is billed that nobody made.
func TestRecorderPaysOnlyForWork(t *testing.T) {
	r := payer(t, "bot-01")
	if _, works := r.begin("bot-02", 1, 1); works {
		t.Error("bot-02 was never ordered")
	}
	r.purses["bot-01"].works = false
	if _, works := r.begin("bot-01", 1, 1); works {
		t.Error("bot-01 is stopped")
	}
	if _, known := r.billed("7"); known {
		t.Error("nobody made call 7")
	}
}

// What was counted is all of the bill, without some of the calls that were in doubt.
func TestCounted(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		doubts []float64
		budget float64
		want   float64
	}{
		"Nothing":   {"Without doubt it is the bill.", nil, 1, 1},
		"All":       {"What was in doubt was counted.", []float64{0.1, 0.3}, 1, 1},
		"One":       {"One of two was not.", []float64{0.1, 0.3}, 0.7, 0.7},
		"Both":      {"None of them was.", []float64{0.1, 0.3}, 0.6, 0.6},
		"Same":      {"Two cost the same.", []float64{0.1, 0.1}, 0.8, 0.8},
		"Elsewhere": {"No sum explains this: the bill is what it should be.", []float64{0.1, 0.3}, 0.8, 1},
		"Less":      {"Nobody doubts, and yet something is missing.", nil, 0.9, 1},
	} {
		e := End{Agent: "bot", Money: Money{Spent: inPicos(1)}, Budget: tc.budget}
		for _, d := range tc.doubts {
			e.Doubts = append(e.Doubts, inPicos(d))
		}
		if got := e.counted(); got != inPicos(tc.want) {
			t.Errorf("%s: %s\ncounted %s, want %s", name, tc.reason, got, inPicos(tc.want))
		}
	}
}

func TestProcessOf(t *testing.T) {
	for in, want := range map[string]string{
		"etcd":                                "etcd",
		"function-budget-decide-0123456789ab": "function-budget-decide",
		"pod-whisperops-system-token-meter-token-meter-0a-1": "pod-whisperops-system-token-meter-token-meter-0a-1",
		"pod-whisperops-system-token-meter-00fa12b4-2":       "token-meter-2",
	} {
		if got := processOf(in); got != want {
			t.Errorf("processOf(%q) is %q, want %q", in, got, want)
		}
	}
}
