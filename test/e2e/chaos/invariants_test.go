package chaos

import (
	"math"
	"strings"
	"testing"
	"time"
)

// A made-up history for each thing that must not happen, beside one in which
// nearly the same is right.
func TestAlways(t *testing.T) {
	at := func(seconds int) time.Time {
		return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
	}
	lives := func(part Life) []Life {
		return []Life{
			{Kind: "XDatasetAgent", Name: "bot", UID: "order", Born: at(0)},
			{Kind: "XAgentBudget", Namespace: "agent-bot", Name: "bot", UID: "budget", Owner: "order", Born: at(1)},
			part,
		}
	}
	bucket := Life{Kind: "Bucket", Name: "agent-bot-bucket", UID: "part", Owner: "order", Born: at(1), Doomed: at(100)}
	sparse := Life{Kind: "Object", Namespace: "agent-bot", Name: "agent-bot-planner-replicas", UID: "part", Owner: "budget", Born: at(1), Doomed: at(100)}
	hand := func(uids ...string) map[string]bool {
		m := map[string]bool{}
		for _, u := range uids {
			m[u] = true
		}
		return m
	}
	money := func(s int, spent, limit float64) Money {
		return Money{At: at(s), Agent: "bot", Spent: inPicos(spent), Cap: inPicos(limit), Enforced: true}
	}
	free := func(m Money) Money { m.Enforced = false; return m }
	anew := func(m Money) Money { m.New = true; return m }
	doubtful := func(m Money, usd float64) Money { m.Doubt = inPicos(usd); return m }
	scale := func(s int, n int64) Scale {
		return Scale{At: at(s), Agent: "bot", Deployment: "planner", Replicas: n, Ours: true}
	}
	foreign := func(s Scale) Scale { s.Ours = false; return s }

	for name, tc := range map[string]struct {
		reason string
		h      History
		want   string // in the one violation; empty: none
	}{
		"PartLost": {
			reason: "A part of a live order is gone, and nobody meant it.",
			h: History{Lives: lives(bucket), ByHand: hand("other"), Deletes: []Delete{
				{At: at(99), User: "system:serviceaccount:kube-system:someone", Group: "storage.gcp.upbound.io", Resource: "buckets", Subject: "agent-bot-bucket"},
			}},
			want: "Bucket /agent-bot-bucket (uid part) was deleted at 12:01:40.000, but neither it nor what it belongs to was deleted by hand; who asked for it: [system:serviceaccount:kube-system:someone (buckets, at 12:01:39.000)]",
		},
		"PartMadeAnew": {
			reason: "The same name with another uid is another part.",
			h:      History{Lives: append(lives(bucket), Life{Kind: "Bucket", Name: "agent-bot-bucket", UID: "next", Owner: "order", Born: at(101)})},
			want:   "uid part",
		},
		"PartDeletedByHand":   {reason: "That was chaos itself.", h: History{Lives: lives(bucket), ByHand: hand("part")}},
		"OrderDeleted":        {reason: "What belongs to a deleted order goes with it.", h: History{Lives: lives(bucket), ByHand: hand("order")}},
		"BudgetDeletedByHand": {reason: "Its two Objects go with it.", h: History{Lives: lives(sparse), ByHand: hand("budget")}},
		"SparseObjectLost":    {reason: "An order's budget lives, so its Objects must.", h: History{Lives: lives(sparse)}, want: "agent-bot-planner-replicas"},
		"OrderGoesAlone":      {reason: "Nobody deletes an order but who made it.", h: History{Lives: []Life{{Kind: "XDatasetAgent", Name: "bot", UID: "order", Doomed: at(9)}}}, want: "XDatasetAgent"},

		"LeftOut": {
			reason: "Crossplane deletes what a pipeline leaves out, even if it is there again before anybody looks.",
			h:      History{Deletes: []Delete{{At: at(5), User: core, Group: "kubernetes.m.crossplane.io", Resource: "objects", Namespace: "crossplane-system", Subject: "agent-bot-prompts"}}},
			want:   "a pipeline left it out",
		},
		"CoreDeletesItsOwn": {
			reason: "Crossplane may delete what isn't composed.",
			h:      History{Deletes: []Delete{{At: at(5), User: core, Group: "coordination.k8s.io", Resource: "leases", Subject: "x"}}},
		},
		"CollectedWithItsOrder": {
			reason: "Kubernetes collects what belonged to an order; its uid says whether it lived.",
			h:      History{Deletes: []Delete{{At: at(5), User: "system:serviceaccount:kube-system:generic-garbage-collector", Group: "kubernetes.m.crossplane.io", Resource: "objects", Subject: "x"}}},
		},

		"StartedInAnOutage": {
			reason: "Nothing was raised; that nobody could measure pardons nobody.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 5.1, 5)}, Scales: []Scale{scale(110, 0), scale(300, 1)}},
			want:   "planner of bot was started at 12:05:00.000, but its cap of 5.0000 USD was spent (5.1000 USD) all the time since it was stopped at 12:01:50.000",
		},
		"StartedOnAFallenFigure": {
			reason: "A lower cap that is raised again to less than was spent is no raise.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 5.1, 5), money(200, 5.1, 1), money(250, 5.1, 4)}, Scales: []Scale{scale(110, 0), scale(300, 1)}},
			want:   "was started",
		},
		"StartedAfterARaise": {
			reason: "More money than was spent starts an agent.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 5.1, 5), money(290, 5.1, 6)}, Scales: []Scale{scale(110, 0), scale(300, 1)}},
		},
		"StartedAfterARaiseThatIsOver": {
			reason: "Between raise and start some more was spent: the decision was right when it was made.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 5.1, 5), money(290, 5.1, 6), money(299, 6.5, 6)}, Scales: []Scale{scale(110, 0), scale(300, 1)}},
		},
		"StartedAgainOnAnOldRaise": {
			reason: "A raise starts an agent once. What was spent since stopped it for good.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 5.1, 5), money(290, 5.1, 6), money(350, 6.5, 6)}, Scales: []Scale{scale(110, 0), scale(300, 1), scale(420, 0), scale(600, 1)}},
			want:   "started at 12:10:00.000",
		},
		"StartedByMonitorOnly": {
			reason: "Monitor-only never cuts.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 5.1, 5), free(money(290, 5.1, 5))}, Scales: []Scale{scale(110, 0), scale(300, 1)}},
		},
		"StartedByHand": {
			reason: "It is not the budget that starts it.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 5.1, 5)}, Scales: []Scale{scale(110, 0), foreign(scale(300, 1)), scale(301, 0)}},
		},
		"OrderedAnew": {
			reason: "Who orders anew owes nothing.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 5.1, 5), anew(money(200, 0, 5))}, Scales: []Scale{scale(110, 0), scale(300, 1)}},
		},

		"StartedInDoubt": {
			reason: "A meter was killed under a call that would have spent the rest, and had not counted it.",
			h:      History{Money: []Money{money(0, 0, 5), doubtful(money(100, 5.1, 5), 0.2)}, Scales: []Scale{scale(110, 0), scale(300, 1)}},
		},
		"StoppedInDoubt": {
			reason: "It had counted it.",
			h:      History{Money: []Money{money(0, 0, 5), doubtful(money(100, 5.1, 5), 0.2)}, Scales: []Scale{scale(110, 0)}},
		},
		"StartedBeyondDoubt": {
			reason: "Without the calls that are in doubt it is still too much.",
			h:      History{Money: []Money{money(0, 0, 5), doubtful(money(100, 5.3, 5), 0.2)}, Scales: []Scale{scale(110, 0), scale(300, 1)}},
			want:   "was started",
		},

		"StoppedUnderTheCap": {
			reason: "Nobody is cut off for tokens that were not used.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 4.9, 5)}, Scales: []Scale{scale(110, 0)}},
			want:   "planner of bot was stopped at 12:01:50.000",
		},
		"StoppedAtTheCap": {
			reason: "The budget is the first amount that stops.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 5, 5)}, Scales: []Scale{scale(110, 0)}},
		},
		"StoppedJustRaised": {
			reason: "The decision was right when it was made.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 5, 5), money(109, 5, 6)}, Scales: []Scale{scale(110, 0)}},
		},
		"StoppedAtTheOldCap": {
			reason: "A raise reaches the budget later than what is spent meanwhile.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 4.9, 5), money(105, 4.9, 9), money(125, 5.1, 9)}, Scales: []Scale{scale(130, 0)}},
		},
		"StoppedAtACapOfLongAgo": {
			reason: "A raise reaches the budget in the end.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 4.9, 5), money(105, 4.9, 9), money(300, 5.1, 9)}, Scales: []Scale{scale(310, 0)}},
			want:   "was stopped at 12:05:10.000",
		},
		"StoppedThoughMonitorOnly": {
			reason: "Monitor-only never cuts.",
			h:      History{Money: []Money{free(money(0, 0, 5)), free(money(100, 6, 5))}, Scales: []Scale{scale(110, 0)}},
			want:   "was stopped",
		},
		"StoppedAgainForOldDebt": {
			reason: "What was over the cap before a raise is no reason to stop after it.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 5, 5), money(200, 5, 9)}, Scales: []Scale{scale(110, 0), scale(300, 1), scale(500, 0)}},
			want:   "was stopped at 12:08:20.000",
		},
		"StoppedSoonAfterARaise": {
			reason: "What it was stopped for before the raise is over, however short ago.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 5, 5), money(290, 5, 9)}, Scales: []Scale{scale(110, 0), scale(300, 1), scale(500, 0)}},
			want:   "was stopped at 12:08:20.000",
		},
		"StoppedForAnEarlierOrder": {
			reason: "Who orders anew owes nothing.",
			h:      History{Money: []Money{money(0, 0, 5), money(100, 5, 5), anew(money(120, 0, 5))}, Scales: []Scale{scale(200, 0)}},
			want:   "was stopped at 12:03:20.000",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Always(tc.h)
			if tc.want == "" && len(got) > 0 || tc.want != "" && (len(got) != 1 || !strings.Contains(string(got[0]), tc.want)) {
				t.Errorf("%s\nwant one violation that says %q, got %d: %q", tc.reason, tc.want, len(got), got)
			}
		})
	}
}

func TestCalm(t *testing.T) {
	end := func(change func(*End)) []End {
		e := End{
			Agent: "bot", Money: Money{Spent: inPicos(1.25), Cap: inPicos(5), Enforced: true},
			Budget: 1.25, Order: 1.25, Parts: 22, Planner: 1, Worker: 1,
		}
		change(&e)
		return []End{e}
	}
	spent := func(e *End) { e.Money.Cap = inPicos(1.25) }
	for name, tc := range map[string]struct {
		reason string
		ends   []End
		want   []string
	}{
		"AllIsWell":    {reason: "Nothing to complain about.", ends: end(func(*End) {})},
		"CentLost":     {reason: "The last decimal counts.", ends: end(func(e *End) { e.Budget = 1.2499 }), want: []string{"its budget says that bot spent 1.2499 USD, but it was 1.2500 USD"}},
		"CountedTwice": {reason: "Never count a token twice.", ends: end(func(e *End) { e.Budget, e.Order = 2.5, 2.5 }), want: []string{"its budget", "its order"}},
		"OrderBehind":  {reason: "The order repeats what its budget says.", ends: end(func(e *End) { e.Order = 1.2 }), want: []string{"its order says"}},
		"NoFigure":     {reason: "No figure is not zero.", ends: end(func(e *End) { e.Budget = math.NaN() }), want: []string{"NaN"}},
		"PartMissing":  {reason: "An order has 22 parts.", ends: end(func(e *End) { e.Parts = 21 }), want: []string{"21 parts"}},
		"NotReady":     {reason: "All is ready in the end.", ends: end(func(e *End) { e.NotReady = []string{"Object x: Creating"} }), want: []string{"not ready: Object x: Creating"}},
		"RunsOver":     {reason: "Who has spent the cap stands.", ends: end(func(e *End) { spent(e); e.Planner = 0 }), want: []string{"worker of bot has 1 replicas"}},
		"InDoubt": {reason: "A meter was killed under a call of 0.25 USD, and had not counted it.", ends: end(func(e *End) {
			e.Money.Spent, e.Money.Doubt, e.Doubts = inPicos(1.5), inPicos(0.25), []Picos{inPicos(0.25)}
		})},
		"CountedAndOver": {reason: "It had, and with it the cap is spent.", ends: end(func(e *End) { spent(e); e.Money.Doubt, e.Doubts = inPicos(0.25), []Picos{inPicos(0.25)} }), want: []string{"planner of bot has 1", "worker of bot has 1"}},
		"DoubtIsBounded": {reason: "More is missing than what was under way.", ends: end(func(e *End) {
			e.Money.Spent, e.Money.Doubt, e.Doubts = inPicos(1.6), inPicos(0.25), []Picos{inPicos(0.25)}
		}), want: []string{"its budget says", "its order says"}},
		"StandsAtZero":    {reason: "That is right.", ends: end(func(e *End) { spent(e); e.Planner, e.Worker = 0, 0 })},
		"StandsUnder":     {reason: "Who has money runs.", ends: end(func(e *End) { e.Planner = 0 }), want: []string{"planner of bot has 0 replicas"}},
		"RunsUnenforced":  {reason: "Monitor-only never cuts.", ends: end(func(e *End) { spent(e); e.Money.Enforced = false })},
		"DeploymentWhere": {reason: "A Deployment that isn't there doesn't run.", ends: end(func(e *End) { e.Planner = -1 }), want: []string{"planner of bot has -1 replicas"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Calm(tc.ends)
			if len(got) != len(tc.want) {
				t.Fatalf("%s\nwant %q, got %q", tc.reason, tc.want, got)
			}
			for i := range got {
				if !strings.Contains(string(got[i]), tc.want[i]) {
					t.Errorf("%s\nwant %q, got %q", tc.reason, tc.want[i], got[i])
				}
			}
		})
	}
	if got := NoLeftovers([]string{"Bucket x"}); len(got) != 1 || got[0] != "left: Bucket x" {
		t.Errorf("want one violation for one thing that is left, got %q", got)
	}
	if got := NoLeftovers(nil); len(got) != 0 {
		t.Errorf("want none, got %q", got)
	}
}
