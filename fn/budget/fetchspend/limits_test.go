package fetchspend

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/query"
)

// crowd is n pods, each of which exports every half minute up to a time and uses
// one token in between.
func crowd(t *testing.T, n int, to string, model func(pod int) string) *store {
	t.Helper()
	s := &store{}
	for i := range n {
		sr := series(t, fmt.Sprintf("output pod=agent-housing-bot-worker-%05d", i), "")
		sr.labels["model"] = model(i)
		v := 0.0
		for at := when(t, "10:00:30"); !at.After(when(t, to)); at = at.Add(30 * time.Second) {
			v++
			sr.samples = append(sr.samples, arrival{count.Sample{At: at.UnixMilli() - int64(i), Value: v}, 0})
		}
		s.series = append(s.series, sr)
	}
	return s
}

// looks measures every ten minutes, and returns the last outcome and the largest
// ledger.
func looks(t *testing.T, s *store, f Facts, until string) (Outcome, int) {
	t.Helper()
	largest := 0
	var o Outcome
	for ; !f.Now.After(when(t, until)); f.Now = f.Now.Add(10 * time.Minute) {
		s.now = f.Now
		o = Measure(t.Context(), s, f)
		if o.Problem != nil {
			t.Fatalf("%s: %v", f.Now, o.Problem)
		}
		b, err := json.Marshal(o.Ledger)
		if err != nil {
			t.Fatal(err)
		}
		largest = max(largest, len(b))
		if len(o.Ledger.Cursors) > 256 {
			t.Fatalf("%d cursors", len(o.Ledger.Cursors))
		}
		f.Ledger = o.Ledger
	}
	return o, largest
}

func TestLedgerHasAnEnd(t *testing.T) {
	m := func(int) string { return "m" }
	cases := map[string]struct {
		reason  string
		store   *store
		until   string
		want    int64
		cursors int
	}{
		"256 series": {
			reason: "As many as a ledger holds, all alive.",
			store:  crowd(t, 256, "12:30:00", m), until: "12:30:20",
			want: 256 * 300, cursors: 256,
		},
		"300 series": {
			reason: "Beyond 256 a series has no cursor: its last value is asked for each time, and it is counted as exactly.",
			store:  crowd(t, 300, "12:30:00", m), until: "12:30:20",
			want: 300 * 300, cursors: 256,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			o, largest := looks(t, tc.store, facts(t, "10:10:20", nil), tc.until)
			if got := tokens(o); got != tc.want {
				t.Errorf("counted %d, want %d", got, tc.want)
			}
			if len(o.Ledger.Cursors) != tc.cursors {
				t.Errorf("%d cursors, want %d", len(o.Ledger.Cursors), tc.cursors)
			}
			if largest > 24<<10 {
				t.Errorf("the ledger has %d bytes", largest)
			}
			t.Logf("the ledger has %d bytes", largest)
		})
	}
}

// Short-lived pods leave no cursors behind: 480 of three minutes are a day.
func TestShortLivedPods(t *testing.T) {
	s := &store{}
	at := when(t, "10:00:10")
	for i := range 480 {
		sr := series(t, fmt.Sprintf("output pod=job-%03d", i), "")
		for k := range 6 {
			sr.samples = append(sr.samples, arrival{count.Sample{At: at.Add(time.Duration(k) * 30 * time.Second).UnixMilli(), Value: float64(100 + k)}, 0})
		}
		s.series, at = append(s.series, sr), at.Add(3*time.Minute)
	}
	o, largest := looks(t, s, facts(t, "10:10:20", nil), "24T10:10:20")
	if got := tokens(o); got != 480*105 {
		t.Errorf("counted %d, want %d", got, 480*105)
	}
	if len(o.Ledger.Cursors) > 8 {
		t.Errorf("%d cursors are left", len(o.Ledger.Cursors))
	}
	if largest > 2<<10 {
		t.Errorf("the ledger has %d bytes", largest)
	}
}

// An agent names its models itself: beyond 32 of them, or 100 bytes, they are
// counted together, and charged at the dearest row.
func TestModelsHaveAnEnd(t *testing.T) {
	cases := map[string]struct {
		reason string
		model  func(int) string
		models int
	}{
		"Many": {"Every request a new model.", func(i int) string { return fmt.Sprintf("model-%03d", i) }, 32 + 1},
		"Long": {"A prompt in the place of a model.", func(i int) string { return strconv.Itoa(i) + strings.Repeat("x", 100) }, 1},
		"Ours": {"Who names a model as we name the rest is counted with it.", func(int) string { return count.OtherModels }, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			o, largest := looks(t, crowd(t, 100, "10:02:00", tc.model), facts(t, "10:10:20", nil), "12:30:20")
			if got := tokens(o); got != 100*4 {
				t.Errorf("counted %d, want %d", got, 100*4)
			}
			models := map[string]bool{}
			for _, total := range o.Ledger.Totals {
				models[total.Model] = true
			}
			if len(models) != tc.models || !models[count.OtherModels] {
				t.Errorf("%d models: %v", len(models), sortedKeys(models))
			}
			if largest > 24<<10 {
				t.Errorf("the ledger has %d bytes", largest)
			}
			if len(o.Measurement.UnpricedModels) != tc.models {
				t.Errorf("unpriced: %v", o.Measurement.UnpricedModels)
			}
		})
	}
}

// gRPC takes 4 MiB, and every series is 200 bytes: some thousands that hold rubbish
// must not fail the whole pipeline.
func TestDistrustHasAnEnd(t *testing.T) {
	s := crowd(t, 300, "10:02:00", func(int) string { return "m" })
	for i := range s.series {
		s.series[i].samples[0].Value = -1
	}
	f := facts(t, "10:10:20", nil)
	s.now = f.Now
	o := Measure(t.Context(), s, f)
	if n := len(o.Measurement.Distrusted); n != maxNamed || tokens(o) != 300*4 {
		t.Errorf("counted %d, %d series are named", tokens(o), n)
	}
}

// A clock that is ahead would settle what has not happened yet.
func TestClockAhead(t *testing.T) {
	f := facts(t, "10:06:20", nil)
	for _, tc := range []struct {
		reason string
		date   time.Time
		want   string
	}{
		{"The Date header was written before the answer arrived, and is cut to seconds.", f.Now.Add(-time.Minute), ""},
		{"Six minutes no answer takes.", f.Now.Add(-6 * time.Minute), "ClockAhead"},
		{"A clock that is behind sees less, and nothing twice.", f.Now.Add(time.Hour), ""},
		{"A server need not say what time it is.", time.Time{}, ""},
	} {
		t.Log(tc.reason)
		if got := reason(Measure(t.Context(), dated{tc.date}, f)); got != tc.want {
			t.Errorf("server's clock at %s: problem %q, want %q", tc.date, got, tc.want)
		}
	}
}

// A clock that is days behind would take a good ledger for one of the future, and
// forget what the server no longer has.
func TestClockDaysBehind(t *testing.T) {
	f := facts(t, "10:06:20", nil)
	f.Ledger = &v1alpha1.Ledger{Period: "lifetime", From: "2026-11-23T10:00:00Z", Mapping: f.Settings.Mapping("bot"), AsOf: "2026-11-25T12:00:00Z", SettledAt: "2026-11-25T11:00:00Z"}
	for _, tc := range []struct {
		reason string
		date   time.Time
		want   string
	}{
		{"By the server's clock the ledger is of today.", when(t, "25T12:01:00"), "ClockBehind"},
		{"By the server's clock, too, it is of the future: that is lost.", f.Now, ""},
		{"Nobody says whose clock is wrong.", time.Time{}, ""},
	} {
		t.Log(tc.reason)
		o := Measure(t.Context(), dated{tc.date}, f)
		if got := reason(o); got != tc.want || (o.Ledger == nil) != (tc.want != "") {
			t.Errorf("server's clock at %s: problem %q, want %q; it writes %v", tc.date, got, tc.want, o.Ledger)
		}
	}
}

// A budget that was made in the future counts from now if it is the API server's clock
// that is ahead, and from its creation if it is ours that is behind.
func TestMadeInTheFuture(t *testing.T) {
	for _, tc := range []struct {
		reason string
		date   time.Time
		want   string // when it begins
	}{
		{"The server agrees with our clock: nothing is free until then.", when(t, "10:06:20"), "2026-11-23T10:06:00Z"},
		{"The server agrees with the API server: what was used before the budget is not its.", when(t, "13:00:05"), "2026-11-23T13:00:00Z"},
		{"Nobody says: as above.", time.Time{}, "2026-11-23T13:00:00Z"},
	} {
		f := facts(t, "10:06:20", nil)
		f.Created = when(t, "13:00:00")
		o := Measure(t.Context(), dated{tc.date}, f)
		if o.Ledger == nil || o.Ledger.From != tc.want || o.Measurement.Flaw == nil || o.Measurement.Flaw.Reason != v1alpha1.ReasonClockAhead {
			t.Errorf("%s\nledger %+v, flaw %v; want one from %s, and ClockAhead", tc.reason, o.Ledger, o.Measurement.Flaw, tc.want)
		}
	}
}

// hasty answers nothing, and remembers how long it might have taken.
type hasty struct{ until *time.Time }

func (h hasty) Query(ctx context.Context, _ string, _ time.Time) (query.Answer, error) {
	*h.until, _ = ctx.Deadline()
	return query.Answer{}, nil
}

// A reconcile has two minutes. Ten slow queries of a backlog would use them up:
// nothing would be kept of what they counted, and no step after this one would run.
func TestAllQueriesTogetherHaveAnEnd(t *testing.T) {
	var until time.Time
	f := NewWith(logging.NewNopLogger(), storyClock, func(query.Server) (query.Querier, error) { return hasty{&until}, nil })
	if _, err := f.RunFunction(t.Context(), asked(t, map[string]any{"timeout": "60s"}, nil)); err != nil {
		t.Fatal(err)
	}
	if d := time.Until(until); d <= 60*time.Second || d > 100*time.Second {
		t.Errorf("all queries together may take %s", d)
	}
}

// An answer of 64 MiB has room for three million samples of one series, and who
// pushes samples says when they were: each of these falls, and none comes back.
func TestManyFallsTakeNoTime(t *testing.T) {
	s := &store{series: []stored{series(t, "output pod=a", "")}}
	at := when(t, "10:00:30").UnixMilli()
	for i := range int64(300_000) {
		s.series[0].samples = append(s.series[0].samples, arrival{count.Sample{At: at + i, Value: float64(1_000_000 - i)}, 0})
	}
	f := facts(t, "10:10:20", nil)
	s.now = f.Now
	begun := time.Now()
	if got := tokens(Measure(t.Context(), s, f)); got != 1_000_000 {
		t.Errorf("counted %d", got)
	}
	if took := time.Since(begun); took > time.Minute { // hours, if it were quadratic
		t.Errorf("a look took %s", took)
	}
}

// Who wants to count all that there ever was opens a budget at the beginning of
// time, which is half a century of pages; a year of them is read in an hour.
func TestOpenedAtTheBeginningOfTime(t *testing.T) {
	for _, asOf := range []string{"1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "2001-01-01T00:00:00Z"} {
		s := storeOf(t, map[string]string{"output pod=a": "01T10:05:00=500 10:05:00=700"})
		f := facts(t, "10:06:20", nil)
		f.Budget.Opening = &v1alpha1.Opening{USD: 1e-9, AsOf: asOf, Period: "lifetime"}
		s.now = f.Now
		looks := 0
		for o := (Outcome{}); o.Spent == nil && looks < 400; looks++ {
			if o = Measure(t.Context(), s, f); o.Spent != nil && tokens(o) != 1700 {
				t.Errorf("opened at %s: counted %d", asOf, tokens(o))
			}
			f.Ledger = o.Ledger
		}
		if looks == 400 {
			t.Errorf("opened at %s: catches up for ever", asOf)
		}
	}
}
