package fetchspend

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
)

// A generated agent works from ten to three. It has up to four series, some of them
// of one process, each of which
// may begin before the budget, restart every five minutes or less often, be silent
// for up to an hour, be seen by two replicas, be written by two processes, and come
// in up to 40 minutes late.
func agents() *rapid.Generator[*store] {
	return rapid.Custom(func(t *rapid.T) *store {
		s := &store{}
		var ofOne []string // classes that one pod counts
		for i := range rapid.IntRange(1, 4).Draw(t, "series") {
			class := rapid.SampledFrom([]string{"input", "output", "cached_input"}).Draw(t, "class")
			labels := map[string]string{"__name__": "whisperops_tokens_" + class + "_total", "agent_name": "bot", "model": "m", "pod": fmt.Sprint("pod-", i)}
			if !slices.Contains(ofOne, class) && rapid.Bool().Draw(t, "of one process") {
				ofOne, labels["pod"] = append(ofOne, class), "pod"
			}
			one := stored{labels: labels}
			twin := stored{labels: map[string]string{"prometheus_replica": "b"}}
			maps.Copy(twin.labels, labels)
			twins := rapid.IntRange(0, 3).Draw(t, "twins") == 0
			shared := rapid.IntRange(0, 5).Draw(t, "two writers") == 0
			late := rapid.IntRange(0, 2).Draw(t, "late") == 0
			at := ten.Add(time.Duration(rapid.IntRange(-30, 120).Draw(t, "begins")) * time.Minute)
			born := at
			value, other := rapid.IntRange(0, 900).Draw(t, "first"), 0
			for range rapid.IntRange(1, 60).Draw(t, "samples") {
				came := at
				if late && rapid.IntRange(0, 3).Draw(t, "is late") == 0 {
					came = at.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "by")) * time.Minute)
				}
				v := value
				if shared && rapid.Bool().Draw(t, "the other") {
					other += rapid.IntRange(0, 9).Draw(t, "it uses")
					v = other
				}
				one.samples = append(one.samples, arrival{count.Sample{At: at.UnixMilli(), Value: float64(v)}, came.UnixMilli()})
				if twins {
					twin.samples = append(twin.samples, arrival{count.Sample{At: at.UnixMilli() + 7000, Value: float64(v)}, came.UnixMilli() + 7000})
				}
				switch rapid.IntRange(0, 11).Draw(t, "then") {
				case 0:
					if shared {
						break // a series that was away for long begins to count resets anew
					}
					at = at.Add(time.Duration(rapid.IntRange(1, 60).Draw(t, "silent")) * time.Minute)
				case 1:
					if at.Sub(born) >= 5*time.Minute {
						at, value = at.Add(30*time.Second), -1
						born = at
					}
				}
				at = at.Add(time.Duration(rapid.SampledFrom([]int{30, 30, 30, 60, 300}).Draw(t, "export")) * time.Second)
				value += 1 + rapid.SampledFrom([]int{0, 0, 1, 100, 7000}).Draw(t, "uses")
			}
			s.series = append(s.series, one)
			if twins {
				s.series = append(s.series, twin)
			}
		}
		return s
	})
}

var (
	ten  = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	ages = 30 * time.Hour // after which everything of an agent is settled
)

func generated(t testing.TB, l *v1alpha1.Ledger, now time.Time) Facts {
	t.Helper()
	f := facts(t, "10:00:00", l)
	f.Now = now
	return f
}

// To settle up to one time and then on to another gives the same ledger, and the
// same figures, as to settle all at once. (But for the number of resets, which a
// series begins anew when it was away until its cursor was dropped.)
func TestSettlingIsAssociative(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := agents().Draw(rt, "agent")
		f := generated(t, nil, ten.Add(ages))
		block := f.Settings.Rules.Block()
		b := 1 + rapid.IntRange(0, 80).Draw(rt, "b")
		c := b + rapid.IntRange(1, 60).Draw(rt, "c")
		fresh := begin(count.Ledger{}, true, f, ten.UnixMilli())
		settle := func(l count.Ledger, blocks, more int) count.Tally {
			to := ten.Add(time.Duration(blocks) * block)
			at := to.Add(f.Settings.Rules.SettleAfter + time.Duration(more)*f.Settings.Rules.Grid)
			s.now = at.Add(f.Settings.IngestDelay)
			f.Now = s.now
			out, err := look(context.Background(), s, f, l, at.UnixMilli(), to.UnixMilli(), true)
			if err != nil {
				rt.Fatal(err)
			}
			return out
		}
		more := rapid.IntRange(0, 9).Draw(rt, "looked later by")
		first := settle(fresh, b, more)
		twice := settle(first.Ledger, c, 0)
		once := settle(fresh, c, 0)
		if diff := cmp.Diff(once.Counted, twice.Counted); diff != "" {
			rt.Fatal("counted: ", diff)
		}
		if diff := cmp.Diff(onGrid(rt, once.Ledger), onGrid(rt, twice.Ledger), cmpopts.IgnoreFields(v1alpha1.Cursor{}, "Resets", "ResetsBefore")); diff != "" {
			rt.Fatal("ledger: ", diff)
		}
	})
}

// onGrid is a ledger as it is written, with the times of cursors on the grid: where a twin
// came back behind the other, which of both was heard last is not told by a cursor.
func onGrid(t *rapid.T, l count.Ledger) *v1alpha1.Ledger {
	out := l.Write()
	for i, c := range out.Cursors {
		at, err := strconv.ParseInt(c.At, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		out.Cursors[i].At = strconv.FormatInt(count.Floor(at, 30*time.Second), 10)
	}
	return out
}

// Whatever writes are lost, and however old the copies are that looks start from, in
// the end it is the number that a single look finds.
func TestLostWritesAndStaleCopies(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := agents().Draw(rt, "agent")
		versions := []*v1alpha1.Ledger{nil}
		now := ten
		for now.Before(ten.Add(8 * time.Hour)) {
			now = now.Add(time.Duration(rapid.IntRange(10, 2400).Draw(rt, "next look")) * time.Second)
			s.now = now
			stale := rapid.IntRange(0, 3).Draw(rt, "stale")
			o := Measure(context.Background(), s, generated(t, versions[max(0, len(versions)-1-stale)], now))
			if o.Ledger != nil && rapid.IntRange(0, 2).Draw(rt, "lost") > 0 {
				versions = append(versions, o.Ledger)
			}
		}
		end := ten.Add(10 * time.Hour)
		s.now = end
		got := Measure(context.Background(), s, generated(t, versions[len(versions)-1], end))
		want := Measure(context.Background(), s, generated(t, nil, end))
		if tokens(got) != tokens(want) || tokens(want) < 0 {
			rt.Fatalf("counted %d (%s), a single look counts %d (%s)", tokens(got), reason(got), tokens(want), reason(want))
		}
	})
}

// Two processes write one series, and which of them a sample is of nobody can know.
// At no look more is charged than both have used, if each of them is seen at least
// every other minute, and one has used much more than the other. (Where they meet,
// samples look just as those of a process that is restarted now and then.)
func TestTwoWritersAreNeverChargedTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		counts, used := [2]int64{1_000_000, 0}, int64(1_000_000)
		s := &store{series: []stored{series(t, "output pod=a", "")}}
		var l *v1alpha1.Ledger
		who, run := 0, 0
		at := ten
		for i := range rapid.IntRange(1, 150).Draw(rt, "samples") {
			at = at.Add(30 * time.Second)
			if run++; run > 3 || i > 0 && rapid.Bool().Draw(rt, "the other") {
				who, run = 1-who, 1
			}
			use := int64(rapid.SampledFrom([]int{0, 1, 50, 3000}).Draw(rt, "uses"))
			counts[who], used = counts[who]+use, used+use
			s.series[0].samples = append(s.series[0].samples, arrival{count.Sample{At: at.UnixMilli(), Value: float64(counts[who])}, 0})
			s.now = at.Add(20 * time.Second)
			o := Measure(context.Background(), s, generated(t, l, s.now))
			if got := tokens(o); got > used {
				rt.Fatalf("counted %d at %s, only %d were used", got, at, used)
			}
			l = o.Ledger
		}
	})
}

// Ten looks at an agent that spends nothing, over most of an hour, write nothing.
func TestQuietLooksWriteNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := agents().Draw(rt, "agent")
		if rapid.Bool().Draw(rt, "it goes on exporting") {
			for i, sr := range s.series {
				last := sr.samples[len(sr.samples)-1]
				for at := last.At + 30_000; at < ten.Add(ages+time.Hour).UnixMilli(); at += 30_000 {
					s.series[i].samples = append(s.series[i].samples, arrival{count.Sample{At: at, Value: last.Value}, at})
				}
			}
		}
		now := ten.Add(ages)
		s.now = now
		o := Measure(context.Background(), s, generated(t, nil, now))
		for o.Problem != nil && o.Problem.Reason == "CatchingUp" {
			o = Measure(context.Background(), s, generated(t, o.Ledger, now))
		}
		want, spent := o.Ledger, tokens(o)
		for i := range 10 {
			now = now.Add(time.Duration(rapid.IntRange(10, 330).Draw(rt, "next look")) * time.Second)
			s.now = now
			o = Measure(context.Background(), s, generated(t, o.Ledger, now))
			if diff := cmp.Diff(want, o.Ledger); diff != "" || tokens(o) != spent {
				rt.Fatalf("look %d counts %d, before %d, and writes %s", i+1, tokens(o), spent, diff)
			}
		}
	})
}
