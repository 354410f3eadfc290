package fetchspend

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/query"
)

// Whatever an agent did, and however late its samples come: a look that first asks
// whether anything moved finds what one finds that reads all samples, and leaves the same
// ledger to the last byte. Looks go on for hours after most of its work.
func TestStillIsExact(t *testing.T) {
	saved, looks := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		s := agents().Draw(rt, "agent")
		prices := pennies
		if rapid.IntRange(0, 2).Draw(rt, "the price changes") == 0 {
			prices = table(`{version: 2, models: {m: {rows: [{unchecked: true, input: "0.000001", output: "0.000001"}, {from: 2026-11-23T13:10:00Z, unchecked: true, input: "0.000002", output: "0.000002"}]}}}`)
		}
		quiet(rt, s, ten.Add(14*time.Hour)) // what goes on being scraped, or not
		var l *v1alpha1.Ledger
		var bill []v1alpha1.BillLine
		now := ten.Add(time.Duration(rapid.IntRange(0, 8).Draw(rt, "first look")) * time.Hour)
		for now.Before(ten.Add(14 * time.Hour)) {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{60, 60, 300, 300, 1500}).Draw(rt, "next look")) * time.Second)
			s.now = now
			f := generated(t, l, now)
			f.Prices, f.Bill = prices, bill
			f.whole = true
			want := Measure(context.Background(), s, f)
			f.whole, s.asked = false, nil
			got := Measure(context.Background(), s, f)
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("at %s, asked %s:\n%s", now.Format(time.TimeOnly), strings.Join(s.asked, "\n"), diff)
			}
			looks++
			if len(s.asked) == 1 && strings.Contains(s.asked[0], "changes(") {
				saved++
			}
			l, bill = got.Ledger, got.Measurement.Bill
		}
	})
	t.Logf("%d of %d looks read no samples", saved, looks)
	if saved*10 < looks {
		t.Error("less than one in ten: this shows nothing")
	}
}

// A mindful store remembers which ledgers are no longer still.
type mindful struct {
	*store

	stirred map[string]bool
}

func (m mindful) Stirred(key string, remember bool) bool {
	m.stirred[key] = m.stirred[key] || remember
	return m.stirred[key]
}

// What moved since it was settled is asked about once, and then read in full until more
// is settled; what can't be asked is read in full, too; and who is away isn't asked twice.
func TestAskedOnceWhetherItIsStill(t *testing.T) {
	for name, tc := range map[string]struct {
		why   string
		pods  map[string]string
		fails error
		want  []int // queries of each look
	}{
		"Still":   {why: "One query a look.", pods: map[string]string{"input pod=a": "10:00:30=5 .. 10:10:00=5 .. 15:00:00=5"}, want: []int{1, 1, 1}},
		"TwoWays": {why: "Whether it is still can't be known, so that it is asked once.", pods: map[string]string{"input pod=a": "10:00:30=5 .. 10:10:00=5 .. 15:00:00=5", "input pod=a job=b": "10:00:30=5 .. 10:10:00=5 .. 15:00:00=5"}, want: []int{2, 1, 1}},
		"Away":    {why: "The other query would not be answered either.", pods: map[string]string{"input pod=a": "10:00:30=5"}, fails: query.Problem{Reason: v1alpha1.ReasonPrometheusUnreachable}, want: []int{1, 1, 1}},
		"TooSlow": {why: "A second wait would outlast the look.", pods: map[string]string{"input pod=a": "10:00:30=5"}, fails: query.Problem{Reason: v1alpha1.ReasonQueryTimedOut}, want: []int{1, 1, 1}},
		"Policed": {why: "A proxy may forbid such a query, and let one for samples pass.", pods: map[string]string{"input pod=a": "10:00:30=5"}, fails: query.Problem{Reason: v1alpha1.ReasonUnauthorized}, want: []int{2, 1, 1}},
		"Warned":  {why: "A warning may be about the functions in the query.", pods: map[string]string{"input pod=a": "10:00:30=5"}, fails: query.Problem{Reason: v1alpha1.ReasonPartialAnswer}, want: []int{2, 1, 1}},
		"Strange": {why: "What nobody foresaw must not end the measuring.", pods: map[string]string{"input pod=a": "10:00:30=5"}, fails: errors.New("the @ modifier is disabled"), want: []int{2, 1, 1}},
		"Refused": {why: "A server that doesn't know how to answer that is asked for samples.", pods: map[string]string{"input pod=a": "10:00:30=5"}, fails: query.Problem{Reason: v1alpha1.ReasonQueryFailed}, want: []int{2, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := mindful{store: storeOf(t, tc.pods), stirred: map[string]bool{}}
			s.now = when(t, "13:00:00")
			o := Measure(t.Context(), s, facts(t, "13:00:00", nil))
			if o.Ledger == nil {
				t.Fatal(reason(o))
			}
			s.failure = tc.fails
			var got []int
			for range tc.want {
				s.asked, s.now = nil, s.now.Add(time.Minute)
				Measure(t.Context(), s, facts(t, s.now.Format(time.TimeOnly), o.Ledger))
				got = append(got, len(s.asked))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("queries, -want +got:\n%s\n%s", diff, tc.why)
			}
		})
	}
}
