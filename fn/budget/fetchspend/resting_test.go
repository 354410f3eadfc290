package fetchspend

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/query"
)

// A fleet is a server with the stores of several agents, that can be asked about many.
type fleet struct {
	mu     sync.Mutex
	now    time.Time
	agents map[string]*store
	who    string // is looked at
	asked  []string
	answer func(string, query.Answer) (query.Answer, error) // what becomes of an answer; nil: it is given
	beats  map[string]time.Time                             // the last heartbeat that a meter showed of an agent
}

var (
	ofAgents  = regexp.MustCompile(`agent_name=~?"([^"]*)"`)
	manyAgent = regexp.MustCompile(`^0 - \(sum by \(agent_name\)`)
)

func (f *fleet) Query(ctx context.Context, promQL string, at time.Time) (query.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, promQL)
	a, err := f.query(ctx, promQL, at)
	if f.answer != nil && err == nil {
		return f.answer(promQL, a)
	}
	return a, err
}

func (f *fleet) query(ctx context.Context, promQL string, at time.Time) (query.Answer, error) {
	if strings.Contains(promQL, heartbeat) {
		return f.heartbeats(promQL, at)
	}
	if !manyAgent.MatchString(promQL) {
		s := f.agents[f.who]
		s.now = f.now
		return s.Query(ctx, promQL, at)
	}
	names := strings.Split(ofAgents.FindStringSubmatch(promQL)[1], "|")
	seconds, err := strconv.Atoi(selectorRange.FindStringSubmatch(promQL)[1])
	if err != nil {
		return query.Answer{}, err
	}
	out := query.Answer{}
	row := func(labels map[string]string, v float64) {
		out.Series = append(out.Series, count.Series{Labels: labels, Samples: []count.Sample{{At: at.UnixMilli(), Value: v}}})
	}
	for _, n := range names {
		s := f.agents[n]
		s.now = f.now
		raw, err := s.Query(ctx, "{}["+strconv.Itoa(seconds)+"s]", at)
		if err != nil {
			return out, err
		}
		sum, moved := 0.0, 0.0
		for _, sr := range raw.Series {
			sum += sr.Samples[len(sr.Samples)-1].Value + 1
			for i, p := range sr.Samples {
				if i > 0 && p.Value != sr.Samples[i-1].Value {
					moved++
				}
			}
		}
		switch {
		case len(raw.Series) == 0:
		case moved > 0:
			row(map[string]string{"agent_name": n}, -moved)
		default:
			row(map[string]string{"agent_name": n}, sum)
		}
	}
	row(map[string]string{}, 0)
	return out, nil
}

const heartbeat = "whisperops_meter_heartbeat_timestamp_seconds"

// heartbeats answers of which agents there is one in the three minutes up to a time.
func (f *fleet) heartbeats(promQL string, at time.Time) (query.Answer, error) {
	out := query.Answer{}
	for n := range strings.SplitSeq(ofAgents.FindStringSubmatch(promQL)[1], "|") {
		if last := f.beats[n]; last.After(at) || at.Sub(last) < 3*time.Minute {
			labels := map[string]string{"agent_name": n}
			if !strings.HasPrefix(promQL, "count by (agent_name)") {
				labels["__name__"] = heartbeat
			}
			out.Series = append(out.Series, count.Series{Labels: labels, Samples: []count.Sample{{At: at.UnixMilli(), Value: 1}}})
		}
	}
	return out, nil
}

// quiet lets the series of an agent go on, most of the time without any use, until a time.
func quiet(t *rapid.T, s *store, until time.Time) {
	for i, sr := range s.series {
		last := sr.samples[len(sr.samples)-1]
		if rapid.IntRange(0, 3).Draw(t, "ends") == 0 {
			continue
		}
		sometimes := rapid.SliceOfN(rapid.IntRange(0, 1200), 0, 2)
		uses, late, k := sometimes.Draw(t, "uses"), sometimes.Draw(t, "late"), 0
		for at := last.At + 30_000; at < until.UnixMilli(); at += 30_000 {
			came := at
			if slices.Contains(late, k) {
				came += 40 * 60_000
			}
			if slices.Contains(uses, k) {
				last.Value++
			}
			s.series[i].samples = append(s.series[i].samples, arrival{count.Sample{At: at, Value: last.Value}, came})
			k++
		}
	}
}

// Whatever several agents do, and whenever each of them is looked at: what a look finds
// that asks about all of them at once, or takes what the last such question told, is what
// one finds that reads all samples that were there when it was asked, to the last byte.
func TestRestingIsExact(t *testing.T) {
	saved, looks := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		end := ten.Add(13 * time.Hour)
		f := &fleet{agents: map[string]*store{}}
		for i := range rapid.IntRange(1, 3).Draw(rt, "agents") {
			s := agents().Draw(rt, "agent")
			name := fmt.Sprint("bot-", i)
			quiet(rt, s, end)
			for _, sr := range s.series {
				sr.labels["agent_name"] = name
			}
			f.agents[name] = s
		}
		names := sortedKeys(f.agents)
		ledgers, bills := map[string]*v1alpha1.Ledger{}, map[string][]v1alpha1.BillLine{}
		together, asked := &Resting{}, time.Time{}
		now := ten.Add(time.Duration(rapid.IntRange(2, 11).Draw(rt, "first look")) * time.Hour)
		for until := now.Add(100 * time.Minute); now.Before(until); {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{1, 4, 60, 300, 900}).Draw(rt, "next look")) * time.Second)
			agent := rapid.SampledFrom(names).Draw(rt, "who")
			facts := generated(t, ledgers[agent], now)
			facts.Budget.AgentName, facts.Bill = agent, bills[agent]
			facts.Resting, facts.Server = together, "a server"
			f.now, f.who, f.asked = now, agent, nil
			got := Measure(context.Background(), f, facts)
			own := slices.ContainsFunc(f.asked, func(q string) bool { return !manyAgent.MatchString(q) })
			if len(f.asked) > 0 && manyAgent.MatchString(f.asked[0]) {
				asked = now
			}
			if !own {
				saved++
				f.now = asked
			}
			looks++
			facts.whole, facts.Resting = true, nil
			want := Measure(context.Background(), f, facts)
			if diff := cmp.Diff(want, got); diff != "" {
				rt.Fatalf("%s at %s, -all samples +asked %s:\n%s", agent, now.Format(time.TimeOnly), strings.Join(f.asked, "\n"), diff)
			}
			ledgers[agent], bills[agent] = got.Ledger, got.Measurement.Bill
		}
	})
	t.Logf("%d of %d looks asked nothing of their own", saved, looks)
	if saved*20 < looks {
		t.Error("less than one in twenty: this shows nothing")
	}
}

// lie is what a server may do with a question about many.
type lie func(q string, a query.Answer) (query.Answer, error)

// atRest are agents that used something at ten, and nothing since.
func atRest(t *testing.T, names ...string) *fleet {
	t.Helper()
	f := &fleet{agents: map[string]*store{}}
	for _, n := range names {
		s := storeOf(t, map[string]string{"input pod=a": "10:00:30=5 .. 10:10:00=15 .. 15:00:00=15"})
		s.series[0].labels["agent_name"] = n
		f.agents[n] = s
	}
	return f
}

// lookAt looks at an agent as somebody, and says of how many questions each kind was asked:
// about many, and about the agent.
func (f *fleet) lookAt(t *testing.T, r *Resting, server, agent, clock string, l *v1alpha1.Ledger) (Outcome, [2]int) {
	t.Helper()
	facts := facts(t, clock, l)
	facts.Budget.AgentName, facts.Resting, facts.Server = agent, r, server
	f.now, f.who, f.asked = facts.Now, agent, nil
	o := Measure(t.Context(), f, facts)
	if o.Spent == nil {
		t.Fatalf("%s at %s: %s", agent, clock, reason(o))
	}
	n := [2]int{}
	for _, q := range f.asked {
		if manyAgent.MatchString(q) {
			n[0]++
		} else {
			n[1]++
		}
	}
	return o, n
}

// What an answer about many doesn't prove is asked about by itself, and what can't be
// answered isn't asked again at once.
func TestRestingFallsBack(t *testing.T) {
	drop := func(agent string) lie {
		return func(_ string, a query.Answer) (query.Answer, error) {
			a.Series = slices.DeleteFunc(slices.Clone(a.Series), func(s count.Series) bool { return s.Labels["agent_name"] == agent })
			return a, nil
		}
	}
	with := func(labels map[string]string, v ...float64) lie {
		return func(_ string, a query.Answer) (query.Answer, error) {
			s := count.Series{Labels: labels}
			for _, v := range v {
				s.Samples = append(s.Samples, count.Sample{Value: v})
			}
			a.Series = append(slices.Clone(a.Series), s)
			return a, nil
		}
	}
	for name, tc := range map[string]struct {
		why  string
		lie  lie
		want [2][2]int // questions at a's look, then at b's: about many, and about it
	}{
		"True":       {"One question for both.", nil, [2][2]int{{1, 0}, {0, 0}}},
		"Missing":    {"An agent that is not in an answer may have moved; the other rests.", drop("a"), [2][2]int{{1, 1}, {0, 0}}},
		"NoEnd":      {"An answer without its end is a part, or a proxy's.", func(_ string, a query.Answer) (query.Answer, error) { return query.Answer{Series: a.Series[:1]}, nil }, [2][2]int{{1, 1}, {0, 1}}},
		"Empty":      {"So is one without anything: the stores may be away.", func(string, query.Answer) (query.Answer, error) { return query.Answer{}, nil }, [2][2]int{{1, 1}, {0, 1}}},
		"Stranger":   {"An agent that nobody asked about: the answer is another question's.", with(map[string]string{"agent_name": "z"}, 16), [2][2]int{{1, 1}, {0, 1}}},
		"OtherLabel": {"A label that nobody asked for.", with(map[string]string{"agent_name": "a", "pod": "a"}, 16), [2][2]int{{1, 1}, {0, 1}}},
		"Samples":    {"More than one sample.", with(map[string]string{"agent_name": "a"}, 16, 16), [2][2]int{{1, 1}, {0, 1}}},
		"TooMuch": {"A limit of the server.", func(string, query.Answer) (query.Answer, error) {
			return query.Answer{}, query.Problem{Reason: v1alpha1.ReasonTooManySamples}
		}, [2][2]int{{1, 1}, {0, 1}}},
		"Refused": {"A proxy that knows no such question.", func(string, query.Answer) (query.Answer, error) {
			return query.Answer{}, query.Problem{Reason: v1alpha1.ReasonUnauthorized}
		}, [2][2]int{{1, 1}, {0, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.why)
			f, r := atRest(t, "a", "b"), &Resting{}
			f.answer = func(q string, a query.Answer) (query.Answer, error) {
				if tc.lie == nil || !manyAgent.MatchString(q) {
					return a, nil
				}
				return tc.lie(q, a)
			}
			ledgers := map[string]*v1alpha1.Ledger{}
			for _, a := range []string{"a", "b"} {
				o, _ := f.lookAt(t, r, "s", a, "13:00:00", nil)
				o, n := f.lookAt(t, r, "s", a, "13:00:20", o.Ledger)
				if n != [2]int{0, 1} {
					t.Fatalf("the first look asks %v, want its own question", n)
				}
				ledgers[a] = o.Ledger
			}
			for i, a := range []string{"a", "b"} {
				o, n := f.lookAt(t, r, "s", a, fmt.Sprintf("13:01:0%d", i), ledgers[a])
				if n != tc.want[i] || tokens(o) != 15 {
					t.Errorf("%s asks %v and counts %d, want %v and 15", a, n, tokens(o), tc.want[i])
				}
			}
		})
	}
}

// An answer counts for ten seconds and no longer than for one step of the grid, and for
// nobody who is asked as somebody else or elsewhere.
func TestRestingCountsForWhom(t *testing.T) {
	f, r := atRest(t, "a", "b"), &Resting{}
	ledgers := map[string]*v1alpha1.Ledger{}
	for _, who := range []string{"as team 1", "as team 2"} {
		for _, a := range []string{"a", "b"} {
			o, _ := f.lookAt(t, r, who, a, "13:00:00", nil)
			o, _ = f.lookAt(t, r, who, a, "13:00:20", o.Ledger)
			ledgers[a] = o.Ledger
		}
	}
	for _, tc := range []struct {
		why, who, agent, clock string
		want                   [2]int
	}{
		{"the first asks", "as team 1", "a", "13:01:00", [2]int{1, 0}},
		{"another takes its answer", "as team 1", "b", "13:01:09", [2]int{0, 0}},
		{"which counts for ten seconds", "as team 1", "a", "13:01:10", [2]int{1, 0}},
		{"but for a later time of the grid it is none", "as team 1", "a", "13:01:16", [2]int{1, 0}},
		{"it is nobody else's", "as team 2", "b", "13:01:17", [2]int{1, 0}},
		{"and who was not asked about asks", "as team 3", "b", "13:01:18", [2]int{0, 1}},
		{"a clock that was set back has no answer", "as team 1", "b", "13:00:59", [2]int{1, 0}},
	} {
		o, n := f.lookAt(t, r, tc.who, tc.agent, tc.clock, ledgers[tc.agent])
		if n != tc.want || tokens(o) != 15 {
			t.Errorf("%s: %s, %s at %s asks %v and counts %d, want %v and 15", tc.why, tc.who, tc.agent, tc.clock, n, tokens(o), tc.want)
		}
	}
}

// However many look at once, one asks.
func TestRestingAsksOnce(t *testing.T) {
	names := make([]string, 40)
	for i := range names {
		names[i] = fmt.Sprint("bot-", i)
	}
	f, r := atRest(t, names...), &Resting{}
	ledgers := map[string]*v1alpha1.Ledger{}
	for _, a := range names {
		o, _ := f.lookAt(t, r, "s", a, "13:00:00", nil)
		o, _ = f.lookAt(t, r, "s", a, "13:00:20", o.Ledger)
		ledgers[a] = o.Ledger
	}
	f.asked = nil
	var all sync.WaitGroup
	for _, a := range names {
		facts := facts(t, "13:01:00", ledgers[a])
		facts.Budget.AgentName, facts.Resting, facts.Server = a, r, "s"
		all.Go(func() {
			if o := Measure(t.Context(), f, facts); tokens(o) != 15 {
				t.Errorf("%s counts %d, want 15", facts.Budget.AgentName, tokens(o))
			}
		})
	}
	all.Wait()
	if len(f.asked) != 1 {
		t.Errorf("asked %d times, want once", len(f.asked))
	}
}
