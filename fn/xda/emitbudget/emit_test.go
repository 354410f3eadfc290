package emitbudget

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

func TestChosen(t *testing.T) {
	cases := map[string]struct {
		reason   string
		platform *v1alpha1.Period
		order    v1alpha1.Period
		want     *v1alpha1.Period
	}{
		"Nobody":   {reason: "What nobody decided stays its operator's."},
		"Order":    {reason: "An order may say it for its own agent.", order: v1alpha1.PeriodDaily, want: new(v1alpha1.PeriodDaily)},
		"Platform": {reason: "A rule for all agents is no order's to lift.", platform: new(v1alpha1.PeriodMonthly), order: v1alpha1.PeriodDaily, want: new(v1alpha1.PeriodMonthly)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Chosen(tc.platform, tc.order)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestOpening(t *testing.T) {
	figures := v1alpha1.BudgetFigures{SpentUSD: 4.1234, Ratio: 0.8247, AsOf: "2026-11-20T10:00:00Z", Period: "2026-11"}
	cases := map[string]struct {
		reason string
		spent  *v1alpha1.BudgetFigures
		want   manifest.Object
		err    string
	}{
		"FirstBudget":   {reason: "Nothing was spent before the first budget."},
		"NeverCounted":  {reason: "A budget that never saw a sample leaves no debt.", spent: &v1alpha1.BudgetFigures{Period: "lifetime"}},
		"PeriodUnknown": {reason: "A sum of an unknown period belongs to none.", spent: &v1alpha1.BudgetFigures{SpentUSD: 3, AsOf: figures.AsOf}},
		"Spent": {
			reason: "Deleting a meter does not pay the bill.", spent: &figures,
			want: manifest.Object{"usd": 4.1234, "asOf": "2026-11-20T10:00:00Z", "period": "2026-11"},
		},
		"NothingSpentYet": {
			reason: "What was counted must not be counted again, even if it cost nothing.",
			spent:  &v1alpha1.BudgetFigures{AsOf: figures.AsOf, Period: "lifetime"},
			want:   manifest.Object{"usd": 0.0, "asOf": "2026-11-20T10:00:00Z", "period": "lifetime"},
		},
		"NoTime":     {reason: "The API server would refuse it, in words that name no order.", spent: &v1alpha1.BudgetFigures{AsOf: "yesterday", Period: "lifetime"}, err: "asOf"},
		"Negative":   {reason: "Nobody has a credit.", spent: &v1alpha1.BudgetFigures{SpentUSD: -1, AsOf: figures.AsOf, Period: "lifetime"}, err: "below 0"},
		"LongPeriod": {reason: "The schema knows 16 characters.", spent: &v1alpha1.BudgetFigures{AsOf: figures.AsOf, Period: strings.Repeat("x", 17)}, err: "period"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Opening(tc.spent)
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Fatalf("%s\nwant error %q, got %v", tc.reason, tc.err, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestBeginning(t *testing.T) {
	early, late := time.Date(2026, 10, 31, 23, 0, 0, 0, time.FixedZone("west", -2*3600)), time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	cases := map[string]struct {
		reason             string
		period             *v1alpha1.Period
		zone               *string
		ordered, namespace time.Time
		want               manifest.Object
	}{
		"Usual": {
			reason: "An order may wait for weeks for its dataset; it has nowhere to spend anything until there is a namespace.", ordered: early, namespace: late,
			want: manifest.Object{"usd": 0.0, "asOf": "2026-11-20T10:00:00Z", "period": "lifetime"},
		},
		"OldNamespace": {
			reason: "Nobody pays for an order of the same name before him.", ordered: late, namespace: early,
			want: manifest.Object{"usd": 0.0, "asOf": "2026-11-20T10:00:00Z", "period": "lifetime"},
		},
		"OnlyTheOrder": {
			reason: "A provider of another version may show less of the namespace.", ordered: early, period: new(v1alpha1.PeriodMonthly),
			want: manifest.Object{"usd": 0.0, "asOf": "2026-11-01T01:00:00Z", "period": "2026-11"},
		},
		"Zone": {
			reason: "At one in the morning UTC it is still October in New York.", ordered: early, period: new(v1alpha1.PeriodMonthly), zone: new("America/New_York"),
			want: manifest.Object{"usd": 0.0, "asOf": "2026-11-01T01:00:00Z", "period": "2026-10"},
		},
		"Rendered": {reason: "An order in a file was never created."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Beginning(tc.period, tc.zone, tc.ordered, tc.namespace)); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFigures(t *testing.T) {
	own := &v1alpha1.BudgetFigures{SpentUSD: 4.1, Ratio: 0.82, Cause: "running", AsOf: "2026-11-20T10:00:00Z", Period: "lifetime"}
	full := Observed{
		SpentUSD: new(5.2), Ratio: new(1.04), Paused: new(true), Cause: "budget-exhausted",
		AsOf: "2026-11-21T10:00:00Z", Period: "lifetime",
	}
	opening := &v1alpha1.Opening{USD: 4.1, AsOf: "2026-11-20T10:00:00Z", Period: "lifetime"}
	cases := map[string]struct {
		reason   string
		observed Observed
		own      *v1alpha1.BudgetFigures
		want     *v1alpha1.BudgetFigures
	}{
		"NothingKnown": {reason: "An error is not zero, and neither is the beginning."},
		"Repeated": {
			reason: "The figures are the budget's, to the last decimal.", observed: full, own: own,
			want: &v1alpha1.BudgetFigures{SpentUSD: 5.2, Ratio: 1.04, Paused: true, Cause: "budget-exhausted", AsOf: "2026-11-21T10:00:00Z", Period: "lifetime"},
		},
		"BudgetGone": {
			reason: "The order remembers what its deleted budget had counted.", own: own, want: own,
		},
		"NotMeasuredYet": {
			reason:   "A new meter that hasn't measured yet forgives nothing, but its decision is the one that holds.",
			observed: Observed{Paused: new(true), Cause: "unknown"}, own: own,
			want: &v1alpha1.BudgetFigures{SpentUSD: 4.1, Ratio: 0.82, Paused: true, Cause: "unknown", AsOf: "2026-11-20T10:00:00Z", Period: "lifetime"},
		},
		"NotMeasuredAndNothingKnown": {
			reason:   "Figures without a sum would read as 0.",
			observed: Observed{Paused: new(false), Cause: "unknown"},
		},
		"HalfADecision": {
			reason:   "A status that is half there is not there.",
			observed: Observed{SpentUSD: new(0.0), Ratio: new(0.0)}, own: own, want: own,
		},
		"OnlyTheOpening": {
			reason:   "No sample since the opening: a second deletion must not forgive what the first did not.",
			observed: Observed{SpentUSD: new(4.1), Ratio: new(0.82), Paused: new(false), Cause: "running", Period: "lifetime", Opening: opening},
			want:     own,
		},
		"OpeningOfAnEarlierPeriod": {
			reason:   "What was spent in an earlier period is not what was spent in this one.",
			observed: Observed{SpentUSD: new(0.0), Ratio: new(0.0), Paused: new(false), Cause: "running", Period: "2026-11", Opening: opening},
			want:     &v1alpha1.BudgetFigures{Cause: "running", Period: "2026-11"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := v1alpha1.BudgetFigures{}
			if tc.own != nil {
				before = *tc.own
			}
			if diff := cmp.Diff(tc.want, Figures(tc.observed, tc.own)); diff != "" {
				t.Errorf("%s\n-want, +got:\n%s", tc.reason, diff)
			}
			if tc.own != nil && *tc.own != before {
				t.Error("the order's own figures were changed in place")
			}
		})
	}
}

func TestURL(t *testing.T) {
	for port, want := range map[int32]string{
		0:    "https://agent-bot.example.org/",
		443:  "https://agent-bot.example.org/",
		8443: "https://agent-bot.example.org:8443/",
	} {
		if got := URL("bot", "example.org", port); got != want {
			t.Errorf("port %d: want %s, got %s", port, want, got)
		}
	}
}

func TestMadeAgain(t *testing.T) {
	spent := &v1alpha1.BudgetFigures{SpentUSD: 4, AsOf: "2026-11-20T10:00:00Z", Period: "lifetime"}
	from := func(asOf string) *v1alpha1.Opening {
		return &v1alpha1.Opening{USD: 1, AsOf: asOf, Period: "lifetime"}
	}
	cases := map[string]struct {
		reason  string
		created string
		opened  *v1alpha1.Opening
		spent   *v1alpha1.BudgetFigures
		want    bool
	}{
		"Younger":       {reason: "A meter can't have counted what was counted before it was made.", created: "2026-11-20T10:00:01Z", spent: spent, want: true},
		"SameSecond":    {reason: "The first look of a meter ends when the meter was made, at the earliest.", created: "2026-11-20T10:00:00Z", spent: spent},
		"Older":         {reason: "The usual budget, which counted it itself.", created: "2026-11-01T00:00:00Z", spent: spent},
		"NothingKnown":  {reason: "The first budget of an order.", created: "2026-11-20T10:00:01Z"},
		"NeverCounted":  {reason: "No sample was ever seen.", created: "2026-11-20T10:00:01Z", spent: &v1alpha1.BudgetFigures{}},
		"NoTime":        {reason: "A story rendered by hand says no times.", spent: spent},
		"OpenedWithIt":  {reason: "It was made again as it should be.", created: "2026-11-20T10:00:01Z", opened: from("2026-11-20T10:00:00Z"), spent: spent},
		"OpenedAsItWas": {reason: "Deleted for the second time: the opening of the first is weeks older than the server's memory.", created: "2026-11-20T10:00:01Z", opened: from("2026-10-01T00:00:00Z"), spent: spent, want: true},
		"OpenedAndOld":  {reason: "The usual budget of an order whose budget was once deleted.", created: "2026-11-01T00:00:00Z", opened: from("2026-10-01T00:00:00Z"), spent: spent},
		"OpenedNewer":   {reason: "An opening is never taken back.", created: "2026-11-20T12:00:00Z", opened: from("2026-11-20T11:00:00Z"), spent: spent},
		"OpeningBroken": {reason: "Nothing can be said of it, so it stays.", created: "2026-11-20T10:00:01Z", opened: from("yesterday"), spent: spent},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := MadeAgain(tc.created, tc.opened, tc.spent); got != tc.want {
				t.Errorf("%s\nMadeAgain(...): want %v, got %v", tc.reason, tc.want, got)
			}
		})
	}
}
