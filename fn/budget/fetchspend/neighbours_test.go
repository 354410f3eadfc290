package fetchspend

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
)

// A way is how somebody scrapes a process for a time.
type way struct {
	labels      map[string]string
	from, until time.Time
	every       time.Duration
	offset      time.Duration
}

// used are tokens by when they were used, of one class of one pod.
type used struct {
	pod, class string
	at         []time.Time
	tokens     []int
}

func (u used) by(at time.Time) (n int) {
	for i, t := range u.at {
		if !t.After(at) {
			n += u.tokens[i]
		}
	}
	return n
}

// scraped adds what a way sees to a store.
func (u used) scraped(s *store, w way) {
	labels := map[string]string{"__name__": "whisperops_tokens_" + u.class + "_total", "agent_name": "bot", "model": "m", "pod": u.pod}
	maps.Copy(labels, w.labels)
	sr := stored{labels: labels}
	for at := w.from.Truncate(w.every).Add(w.offset); at.Before(w.until); at = at.Add(w.every) {
		if at.Before(w.from) || len(u.at) == 0 || at.Before(u.at[0]) {
			continue
		}
		sr.samples = append(sr.samples, arrival{count.Sample{At: at.UnixMilli(), Value: float64(u.by(at))}, at.UnixMilli()})
	}
	if len(sr.samples) == 0 {
		return
	}
	for i, o := range s.series {
		if fmt.Sprint(o.labels) == fmt.Sprint(labels) {
			s.series[i].samples = append(s.series[i].samples, sr.samples...)
			return
		}
	}
	s.series = append(s.series, sr)
}

// usage of a pod's class, every other minute or so, for an hour and a half.
func usage(t *rapid.T, pod, class string) used {
	u := used{pod: pod, class: class}
	at := ten.Add(time.Duration(rapid.IntRange(1, 600).Draw(t, "begins")) * time.Second)
	for at.Before(ten.Add(90 * time.Minute)) {
		u.at, u.tokens = append(u.at, at), append(u.tokens, rapid.SampledFrom([]int{1, 20, 900, 5000}).Draw(t, "uses"))
		at = at.Add(time.Duration(rapid.SampledFrom([]int{1, 30, 30, 45, 200, 900}).Draw(t, "after")) * time.Second)
	}
	return u
}

// watched looks at a store again and again, says when more was counted than had been used,
// and returns what was counted in the end.
func watched(tb testing.TB, t *rapid.T, s *store, truth []used, over func(time.Time) int) Outcome {
	tb.Helper()
	var l *v1alpha1.Ledger
	var o Outcome
	step := rapid.SampledFrom([]time.Duration{3 * time.Minute, 5 * time.Minute, 17 * time.Minute, 3 * time.Hour}).Draw(t, "looks")
	for now := ten.Add(step); now.Before(ten.Add(4 * time.Hour)); now = now.Add(step) {
		s.now = now
		o = Measure(context.Background(), s, generated(tb, l, now))
		most := over(now)
		for _, u := range truth {
			most += u.by(now)
		}
		if tokens(o) > int64(most) {
			t.Fatalf("at %s %d were counted, and only %d used", now.Format(time.TimeOnly), tokens(o), most)
		}
		if o.Ledger != nil {
			l = o.Ledger
		}
	}
	return o
}

func all(truth []used) (n int64) {
	for _, u := range truth {
		n += int64(u.by(ten.Add(24 * time.Hour)))
	}
	return n
}

// Whoever scrapes a process, how often, from when and until when, and whatever labels say of
// the way to it: its tokens count once, and all of them.
func TestWaysCountOnce(t *testing.T) {
	ways := []map[string]string{
		{"job": "a"}, {"job": "b"}, {"job": "b", "instance": "10.0.0.1:8080"}, {"instance": "10.0.0.1:9090", "endpoint": "metrics"}, {},
		{"otel_scope_version": "1"}, {"cluster": "eu"},
	}
	rapid.Check(t, func(rt *rapid.T) {
		s := &store{}
		var truth []used
		for p := range rapid.IntRange(1, 2).Draw(rt, "pods") {
			var plan []way
			end := ten.Add(100 * time.Minute)
			switch rapid.SampledFrom([]string{"together", "after", "both"}).Draw(rt, "ways are") {
			case "together":
				for i := range rapid.IntRange(1, 3).Draw(rt, "ways") {
					plan = append(plan, way{labels: ways[i], from: ten, until: end})
				}
			case "after":
				at := ten
				for i := range rapid.IntRange(2, 4).Draw(rt, "ways") {
					next := at.Add(time.Duration(rapid.IntRange(5, 60).Draw(rt, "minutes")) * time.Minute)
					if i == 3 || next.After(end) {
						next = end
					}
					plan = append(plan, way{labels: ways[i], from: at, until: next})
					at = next.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 30, 60, 300}).Draw(rt, "gap")) * time.Second)
				}
				plan[len(plan)-1].until = end
			case "both":
				mid := ten.Add(time.Duration(rapid.IntRange(5, 90).Draw(rt, "minutes")) * time.Minute)
				plan = []way{{labels: ways[0], from: ten, until: end}, {labels: ways[1], from: ten, until: mid}, {labels: ways[2], from: mid, until: end}}
			}
			for i := range plan {
				plan[i].every = time.Duration(rapid.SampledFrom([]int{30, 30, 15, 60}).Draw(rt, "every")) * time.Second
				plan[i].offset = time.Duration(rapid.SampledFrom([]int{0, 5, 1000, 7000, 13_000}).Draw(rt, "offset")) * time.Millisecond
			}
			for _, class := range []string{"input", "output"} {
				u := usage(rt, fmt.Sprint("pod-", p), class)
				truth = append(truth, u)
				for _, w := range plan {
					u.scraped(s, w)
				}
			}
		}
		o := watched(t, rt, s, truth, func(time.Time) int { return 0 })
		if tokens(o) != all(truth) {
			rt.Fatalf("%d were counted, %d used; named: %q", tokens(o), all(truth), o.Measurement.Distrusted)
		}
	})
}

// A pod may restart and its labels may change, at once or one after the other, and change back,
// and a second monitor may scrape it: no more counts than was used, and no less than what one
// monitor scraped of each life but for lives that end with such a change, or after which no
// sample was lower: of those the next may be taken to go on from them.
func TestLivesCountOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := &store{}
		u := usage(rt, "pod-0", "output")
		end := ten.Add(100 * time.Minute)
		says, twice := rapid.Bool().Draw(rt, "says when it started"), rapid.Bool().Draw(rt, "a second monitor")
		from, begun, known, label, least := ten, ten.Add(-time.Minute), 0, "a", 0
		for from.Before(end) {
			until := from.Add(time.Duration(rapid.IntRange(6, 40).Draw(rt, "minutes")) * time.Minute)
			base, life := known, used{pod: u.pod, class: u.class, at: []time.Time{begun}, tokens: []int{-known}}
			life.at, life.tokens = append(life.at, u.at...), append(life.tokens, u.tokens...)
			life.scraped(s, way{labels: map[string]string{"cluster": label}, from: from, until: until, every: 30 * time.Second})
			if says {
				s.started(begun, map[string]string{"pod": u.pod, "cluster": label}, from, until)
			}
			if twice {
				life.scraped(s, way{labels: map[string]string{"cluster": label, "job": "second"}, from: from, until: until, every: 30 * time.Second, offset: 7 * time.Second})
			}
			last := until.Add(-time.Millisecond).Truncate(30 * time.Second)
			from = until.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 30, 150}).Draw(rt, "gap")) * time.Second)
			restarts, moves := rapid.Bool().Draw(rt, "restarts"), rapid.Bool().Draw(rt, "changes labels")
			if restarts {
				begun, known = from.Add(-time.Second), u.by(from.Add(-time.Second))
			}
			if moves {
				label = map[string]string{"a": "b", "b": rapid.SampledFrom([]string{"a", "c"}).Draw(rt, "to"), "c": "a"}[label]
			}
			falls := u.by(from.Add(29*time.Second).Truncate(30*time.Second))-known < u.by(last)-base
			if says && restarts && falls && !moves || !from.Before(end) {
				least += u.by(last) - base
			}
		}
		o := watched(t, rt, s, []used{u}, func(time.Time) int { return 0 })
		if !twice && tokens(o) < int64(least) {
			rt.Fatalf("%d were counted, %d used, and at least %d must count; named: %q", tokens(o), all([]used{u}), least, o.Measurement.Distrusted)
		}
	})
}

// started adds when a process started, as some way to it says.
func (s *store) started(at time.Time, labels map[string]string, from, until time.Time) {
	labels["__name__"] = count.StartMetric
	var says []arrival
	for t := from.Add(29 * time.Second).Truncate(30 * time.Second); t.Before(until); t = t.Add(30 * time.Second) {
		says = append(says, arrival{count.Sample{At: t.UnixMilli(), Value: float64(at.Unix())}, t.UnixMilli()})
	}
	for i, o := range s.series {
		if maps.Equal(o.labels, labels) {
			s.series[i].samples = append(s.series[i].samples, says...)
			return
		}
	}
	s.series = append(s.series, stored{labels: labels, samples: says})
}

// A process may split what it counts by a label that nobody knows, and begin a part whenever
// it likes; labels of all of them may change at once. Each part counts, once.
func TestPartsCountOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := &store{}
		var truth []used
		moved := ten.Add(time.Duration(rapid.IntRange(20, 80).Draw(rt, "moved")) * time.Minute)
		gap := time.Duration(rapid.SampledFrom([]int{0, 0, 30, 90, 300}).Draw(rt, "gap")) * time.Second
		end := ten.Add(100 * time.Minute)
		for _, tool := range []string{"x", "y", "z"}[:rapid.IntRange(2, 3).Draw(rt, "tools")] {
			u := used{pod: "pod-0", class: "output"}
			at := ten.Add(time.Duration(rapid.IntRange(1, 4000).Draw(rt, "begins")) * time.Second)
			for at.Before(ten.Add(90 * time.Minute)) {
				u.at, u.tokens = append(u.at, at), append(u.tokens, rapid.IntRange(100, 9999).Draw(rt, "uses"))
				at = at.Add(time.Duration(rapid.SampledFrom([]int{30, 45, 200, 900}).Draw(rt, "after")) * time.Second)
			}
			truth = append(truth, u)
			u.scraped(s, way{labels: map[string]string{"tool": tool}, from: ten, until: moved, every: 30 * time.Second})
			u.scraped(s, way{labels: map[string]string{"tool": tool, "cluster": "eu"}, from: moved.Add(gap), until: end, every: 30 * time.Second})
		}
		o := watched(t, rt, s, truth, func(time.Time) int { return 0 })
		if tokens(o) != all(truth) {
			rt.Fatalf("%d were counted, %d used; named: %q", tokens(o), all(truth), o.Measurement.Distrusted)
		}
	})
}

// However deep a counter steps back, how often, for how long and which of them: what it had
// counted counts once. What the step hides may be missing, and it is named then.
func TestDipsCountOnce(t *testing.T) {
	exact, some := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		s := &store{}
		var truth []used
		dips := rapid.IntRange(1, 3).Draw(rt, "dips")
		every := time.Duration(rapid.SampledFrom([]int{30, 30, 60}).Draw(rt, "every")) * time.Second
		type dip struct {
			at    time.Time
			long  time.Duration
			depth int           // tokens; -1: half, -2: all, -3: nearly all
			after time.Duration // nobody had answered
		}
		type beginning struct {
			at   time.Time
			with int
		}
		var begun []beginning
		var plan []dip
		at := ten.Add(2 * time.Minute)
		for range dips {
			at = at.Add(time.Duration(rapid.IntRange(1, 30).Draw(rt, "minutes")) * time.Minute)
			d := dip{at, time.Duration(rapid.SampledFrom([]int{30, 60, 150, 270, 570}).Draw(rt, "seconds")) * time.Second, rapid.SampledFrom([]int{1, 20, 1000, -1, -2, -3}).Draw(rt, "depth"), time.Duration(rapid.SampledFrom([]int{0, 0, 0, 90, 240}).Draw(rt, "after silence")) * time.Second}
			d.at = d.at.Add(d.after)
			plan = append(plan, d)
			at = d.at.Add(d.long)
		}
		for p := range rapid.IntRange(1, 3).Draw(rt, "pods") {
			steps := rapid.SampledFrom([]string{"all", "input", "none"}).Draw(rt, "steps back")
			if p == 0 && steps == "none" {
				steps = "all"
			}
			for _, class := range []string{"input", "output"} {
				u := usage(rt, fmt.Sprint("pod-", p), class)
				truth = append(truth, u)
				u.scraped(s, way{from: ten, until: ten.Add(150 * time.Minute), every: every})
				if steps == "none" || steps == "input" && class != "input" || len(s.series) == 0 {
					continue
				}
				sr := &s.series[len(s.series)-1]
				sr.samples = slices.DeleteFunc(sr.samples, func(a arrival) bool {
					return slices.ContainsFunc(plan, func(d dip) bool { return a.At < d.at.UnixMilli() && a.At >= d.at.Add(-d.after).UnixMilli() })
				})
				for i, a := range sr.samples {
					for _, d := range plan {
						if sample := time.UnixMilli(a.At); !sample.Before(d.at) && sample.Before(d.at.Add(d.long)) {
							back := map[int]float64{-1: float64(int(a.Value / 2)), -2: a.Value, -3: max(0, a.Value-3)}
							depth, named := back[d.depth]
							if !named {
								depth = float64(d.depth)
							}
							if sr.samples[i].Value = max(0, a.Value-depth); sr.samples[i].Value <= a.Value/8 {
								begun = append(begun, beginning{sample, int(sr.samples[i].Value)})
							}
						}
					}
				}
			}
		}
		// A process that begins anew begins with little. While one looks as if it did, that
		// counts.
		o := watched(t, rt, s, truth, func(now time.Time) int {
			little := 0
			for _, b := range begun {
				if !now.Before(b.at) && now.Before(b.at.Add(6*time.Minute)) {
					little += b.with
				}
			}
			return little
		})
		some++
		if tokens(o) == all(truth) {
			exact++
			return
		}
		least := all(truth)
		for _, u := range truth {
			for _, d := range plan {
				least -= int64(u.by(d.at.Add(d.long+every)) - u.by(d.at.Add(-2*every-d.after)))
			}
		}
		if tokens(o) < least || len(o.Measurement.Distrusted) == 0 {
			rt.Fatalf("%d were counted, %d used, and at least %d must count; named: %q", tokens(o), all(truth), least, o.Measurement.Distrusted)
		}
	})
	t.Logf("exact in %d of %d", exact, some)
}

// A process that has just begun restarts under two monitors: what little both saw of it is the
// same, and counts once.
func TestYoungRestartCountsOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		why           string
		first, second string
		look          string
		want          int64
	}{
		"Away":  {"Three minutes pass until it is back: nothing bounds what it had before but what both saw.", "10:08:30=1 10:09:00=2 10:09:30=2 10:12:30=0 .. 10:15:00=0", "10:08:37=1 10:09:07=2 10:09:37=2 10:12:37=0 .. 10:15:07=0", "10:15:00", 2},
		"Idle":  {"It uses nothing after it: that both fell from where they were is what they have in common.", "10:06:00=10 10:06:30=11 10:07:00=0 .. 10:09:00=0", "10:05:37=7 10:06:07=10 10:06:37=11 10:07:07=0 .. 10:09:07=0", "10:09:00", 11},
		"Busy":  {"All that is known of it lies around the restart.", "10:10:00=1 10:10:30=2 10:11:00=0 10:11:30=1", "10:10:07=2 10:10:37=3 10:11:07=1 10:11:37=2", "10:12:00", 4},
		"Apart": {"Another process of the pod has other values, and both count.", "10:06:00=10 10:06:30=11 10:07:00=0 .. 10:09:00=0", "10:05:37=307 10:06:07=310 10:06:37=311 10:07:07=0 .. 10:09:07=0", "10:09:00", 322},
	} {
		t.Run(name, func(t *testing.T) {
			s := storeOf(t, map[string]string{"output pod=a": tc.first, "output pod=a job=second": tc.second})
			s.now = when(t, tc.look)
			if got := tokens(Measure(t.Context(), s, facts(t, tc.look, nil))); got != tc.want {
				t.Errorf("%d were counted, want %d\n%s", got, tc.want, tc.why)
			}
		})
	}
}
