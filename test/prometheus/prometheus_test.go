package prometheus

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"whisperops.io/functions/test/process"
)

var (
	prometheusBinary = flag.String("prometheus", "", "path of a prometheus binary")
	binaries         = flag.String("bin", "", "folder of the functions' binaries")
	seed             = flag.Uint64("seed", 1, "of what agents use, and of writes that are lost")
)

// The settings of all budgets here: an agent exports once a second instead of
// twice a minute, and everything is as much quicker as the input allows.
func quick(url string, over map[string]any) map[string]any {
	in := map[string]any{
		"apiVersion": "fn.whisperops.io/v1alpha1", "kind": "FetchSpendInput",
		"prometheus": map[string]any{"url": url, "timeout": "5s"},
		"grid":       "1s", "ingestDelay": "1s", "settleAfter": "2m", "heartbeat": "1m",
		"maxResetsPerHour": 600, // in two minutes: 20
	}
	maps.Copy(in, over)
	return in
}

// A suite is what all scenarios share.
type suite struct {
	world   *World
	address string      // at which the world is scraped
	a, b, c *Prometheus // a and b scrape; c takes what is written to it
	fetch   *Function
	decide  *Function

	mu   sync.Mutex
	rows []row
}

// A row of the table that is printed at the end.
type row struct {
	name          string
	budget        *Budget
	used, counted float64
	unseen        float64 // of what was used, never exported
	naive         float64
	note          string
}

func (s *suite) budget(name string, created time.Time, input map[string]any) *Budget {
	return &Budget{
		Name: name, USD: 10_000, Created: created, Input: input, Prices: []map[string]any{priceTable()},
		Faults: rand.New(rand.NewPCG(*seed, uint64(len(name)))), fetch: s.fetch, decide: s.decide,
	}
}

// look looks once, and fails if more was counted than was used: nobody must ever
// be cut off for tokens that were not used.
func (s *suite) look(t *testing.T, b *Budget) Look {
	t.Helper()
	l, err := b.Look(t.Context())
	if err != nil {
		t.Fatalf("%s: %v", b.Name, err)
	}
	if used := s.world.Agent(b.Name).Used().usd(); l.Spent != nil && *l.Spent > used+1e-9 {
		t.Fatalf("%s: counted %.6f USD, but only %.6f were used", b.Name, *l.Spent, used)
	}
	return l
}

// exact looks until everything that was used is counted, to the last digit.
func (s *suite) exact(t *testing.T, b *Budget) {
	t.Helper()
	process.Until(t, b.Name+" to be counted", func() error {
		l := s.look(t, b)
		used := s.world.Agent(b.Name).Used().usd()
		if l.Spent == nil {
			return errors.New(l.Problem)
		}
		if math.Abs(*l.Spent-used) > 1e-9 {
			return fmt.Errorf("counted %.6f USD, used %.6f", *l.Spent, used)
		}
		return nil
	})
}

// watched looks at a budget again and again while its agent lives.
func (s *suite) watched(t *testing.T, b *Budget, life func()) {
	t.Helper()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(700 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				l, err := b.Look(context.WithoutCancel(t.Context()))
				if err != nil {
					t.Errorf("%s: %v", b.Name, err)
					return
				}
				if used := s.world.Agent(b.Name).Used().usd(); l.Spent != nil && *l.Spent > used+1e-9 {
					t.Errorf("%s: counted %.6f USD, but only %.6f were used", b.Name, *l.Spent, used)
				}
				if l.Pause {
					t.Errorf("%s: paused with 10,000 USD", b.Name)
				}
			}
		}
	}()
	defer func() {
		close(stop)
		<-stopped
	}()
	life()
}

// works uses the models in turn, n times.
func works(t *testing.T, r *rand.Rand, p *Pod, n int) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		p.Use([]string{"model-a", "model-b"}[i%2], request(r))
		<-tick.C
	}
}

// stored waits until a server has all that a pod used.
func stored(t *testing.T, in *Prometheus, p *Pod, replicas int) {
	t.Helper()
	process.Until(t, "samples of "+p.name, func() error { return in.Stored(t.Context(), p, replicas) })
}

// restart restarts a pod's process in place. Its first requests after it are seen
// while they are fewer than those before: a counter that has overtaken its old
// value between two scrapes has no reset that anybody could see.
func restart(t *testing.T, in *Prometheus, p *Pod, replicas int) {
	t.Helper()
	stored(t, in, p, replicas)
	p.Restart()
	for model := range prices {
		p.Use(model, usage{input: 2, cached: 1, output: 1})
	}
	stored(t, in, p, replicas)
}

// history starts a pod that is older than the test: it writes what its scrapes
// would have seen until now, a sample every 30 s.
func history(t *testing.T, s *suite, r *rand.Rand, agent string, age time.Duration) *Pod {
	t.Helper()
	p := s.world.Agent(agent).pod("pod-0")
	var samples []series
	for at := time.Now().Add(-age).Truncate(time.Second); at.Before(time.Now().Add(-2 * time.Second)); at = at.Add(30 * time.Second) {
		p.Use("model-a", request(r))
		p.Use("model-b", request(r))
		for _, sr := range p.Series() {
			sr.labels["job"], sr.labels["instance"] = "agents", s.address
			sr.at = at
			samples = append(samples, sr)
		}
	}
	if err := s.a.Write(t.Context(), samples); err != nil {
		t.Fatal(err)
	}
	p.appear()
	return p
}

// scenarios are agents' lives. Each is watched all the time, and counted exactly in
// the end.
//
//nolint:thelper // each is a test of its own, not somebody's helper
var scenarios = map[string]func(t *testing.T, s *suite, r *rand.Rand){
	"steady": func(t *testing.T, s *suite, r *rand.Rand) {
		created := time.Now().Add(-40 * time.Minute)
		b := s.budget("steady", created, quick(s.a.url, nil))
		p := history(t, s, r, "steady", 39*time.Minute)
		s.watched(t, b, func() { works(t, r, p, 100) })
		s.exact(t, b)
		s.report(t, s.a, row{budget: b, note: "a 40 minute old pod that works on"})
	},
	"jobs": func(t *testing.T, s *suite, r *rand.Rand) {
		b := s.budget("jobs", time.Now(), quick(s.a.url, nil))
		s.watched(t, b, func() {
			for i := range 10 {
				p := s.world.Agent("jobs").Start(fmt.Sprintf("job-%d", i))
				works(t, r, p, 1+i%2)
				stored(t, s.a, p, 1)
				p.Stop()
			}
		})
		s.exact(t, b)
		s.report(t, s.a, row{budget: b, note: "10 pods of one or two requests"})
	},
	"crashes": func(t *testing.T, s *suite, r *rand.Rand) {
		// A restart every few scrapes is far more than usual, so it has to be allowed.
		b := s.budget("crashes", time.Now(), quick(s.a.url, map[string]any{"maxResetsPerHour": 3600}))
		p := s.world.Agent("crashes").Start("pod-0")
		s.watched(t, b, func() {
			for range 6 {
				works(t, r, p, 5)
				restart(t, s.a, p, 1)
			}
			works(t, r, p, 5)
		})
		s.exact(t, b)
		s.report(t, s.a, row{budget: b, note: "restarts in place: six resets"})
	},
	"killed": func(t *testing.T, s *suite, r *rand.Rand) {
		b := s.budget("killed", time.Now(), quick(s.a.url, nil))
		agent, unseen := s.world.Agent("killed"), 0.0
		s.watched(t, b, func() {
			for i := range 5 {
				p := agent.Start(fmt.Sprintf("pod-%d", i))
				works(t, r, p, 5)
				stored(t, s.a, p, 1)
				unseen += p.Kill("model-a", request(r)).usd()
			}
		})
		// What nobody exported nobody can count; all the rest is.
		process.Until(t, "killed to be counted", func() error {
			l := s.look(t, b)
			if want := agent.Used().usd() - unseen; l.Spent == nil || math.Abs(*l.Spent-want) > 1e-9 {
				return fmt.Errorf("counted %v, want %.6f", l.Spent, want)
			}
			return nil
		})
		s.report(t, s.a, row{budget: b, unseen: unseen, note: "5 pods that die without a last scrape"})
	},
	"quiet": func(t *testing.T, s *suite, r *rand.Rand) {
		b := s.budget("quiet", time.Now(), quick(s.a.url, nil))
		b.Faults = nil
		p := s.world.Agent("quiet").Start("pod-0")
		works(t, r, p, 2)
		stored(t, s.a, p, 1)
		s.exact(t, b)
		settled := s.look(t, b)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for i := range 10 {
			<-tick.C
			l := s.look(t, b)
			if l.Status != settled.Status {
				t.Fatalf("pass %d over a quiet agent writes another status:\n%s\n%s", i, settled.Status, l.Status)
			}
			if len(l.Events) > 0 {
				t.Fatalf("pass %d over a quiet agent writes events: %v", i, l.Events)
			}
		}
		s.report(t, s.a, row{budget: b, note: "2 requests, then 10 looks: identical bytes"})
	},
	"twins": func(t *testing.T, s *suite, r *rand.Rand) {
		b := s.budget("twins", time.Now(), quick(s.c.url, map[string]any{"grid": "5s", "ingestDelay": "5s"}))
		s.watched(t, b, func() {
			for i := range 3 {
				p := s.world.Agent("twins").Start(fmt.Sprintf("pod-%d", i))
				works(t, r, p, 20)
				restart(t, s.c, p, 2)
				works(t, r, p, 10)
				stored(t, s.c, p, 2)
				p.Stop()
			}
		})
		s.exact(t, b)
		s.report(t, s.c, row{budget: b, note: "two replicas of Prometheus write to one store"})
	},
	"late": func(t *testing.T, s *suite, r *rand.Rand) {
		b := s.budget("late", time.Now().Add(-time.Minute), quick(s.c.url, nil))
		agent := s.world.Agent("late")
		s.watched(t, b, func() {
			p := agent.Start("pod-0")
			var scrapes [][]series // each is what one scrape would have seen, and arrives as a whole
			for at := time.Now().Add(-55 * time.Second); at.Before(time.Now()); at = at.Add(time.Second) {
				p.Use("model-a", request(r))
				scrape := p.Series()
				for i := range scrape {
					scrape[i].at = at
				}
				scrapes = append(scrapes, scrape)
			}
			r.Shuffle(len(scrapes), func(i, j int) { scrapes[i], scrapes[j] = scrapes[j], scrapes[i] })
			tick := time.NewTicker(200 * time.Millisecond)
			defer tick.Stop()
			for _, scrape := range scrapes {
				if err := s.c.Write(t.Context(), scrape); err != nil {
					t.Error(err)
					return
				}
				<-tick.C
			}
		})
		s.exact(t, b)
		s.report(t, s.c, row{budget: b, note: "samples up to a minute late, in any order"})
	},
	"two-writers": func(t *testing.T, s *suite, r *rand.Rand) {
		s.twoWriters(t, r, "two-writers", true, "two processes write one series: never more than both have used")
	},
	"two-starts": func(t *testing.T, s *suite, r *rand.Rand) {
		s.twoWriters(t, r, "two-starts", false, "the same, and both say when they started")
	},
}

// twoWriters lets two processes write one series, of which now one is scraped, now the
// other.
func (s *suite) twoWriters(t *testing.T, r *rand.Rand, name string, mute bool, note string) {
	t.Helper()
	b := s.budget(name, time.Now(), quick(s.a.url, map[string]any{"maxResetsPerHour": 150}))
	agent := s.world.Agent(name)
	p := agent.pod("pod-0")
	p.mute, p.other, p.otherStarted = mute, map[string]usage{"model-a": {input: 7, output: 1}}, time.Now().Add(5*time.Second)
	agent.used["model-a"] = p.other["model-a"]
	p.appear()
	// watched and look: at no time is more charged than both have used.
	s.watched(t, b, func() { works(t, r, p, 40) })
	scrapes := agent.scrapes()
	process.Until(t, name+" to be distrusted", func() error {
		l := s.look(t, b)
		if n := agent.scrapes() - scrapes; l.Measured != "SeriesDistrusted" || n < 6 {
			return fmt.Errorf("%s after %d scrapes", l.Measured, n)
		}
		// Of the two the one that used more is counted at least.
		if least := agent.Used() - p.other["model-a"].cost("model-a"); *l.Spent < least.usd()-1e-9 {
			return fmt.Errorf("%.6f USD", *l.Spent)
		}
		return nil
	})
	s.report(t, s.a, row{budget: b, note: note})
}

// report adds a row to the table: what was counted in the end, and what the naive
// query on the same server says.
func (s *suite) report(t *testing.T, in *Prometheus, r row) {
	t.Helper()
	b := r.budget
	l, err := b.Look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.name, r.used = b.Name, s.world.Agent(b.Name).Used().usd()
	if l.Spent != nil {
		r.counted = *l.Spent
	}
	age := int(time.Since(b.Created).Seconds()) + 1
	values := map[string]map[string]float64{}
	for _, m := range []string{inputTotal, cachedTotal, outputTotal} {
		v, err := in.Query(t.Context(), fmt.Sprintf("sum by (model) (increase(%s{agent_name=%q}[%ds]))", m, b.Name, age))
		if err != nil {
			t.Fatal(err)
		}
		for _, sr := range v {
			if values[sr.labels["model"]] == nil {
				values[sr.labels["model"]] = map[string]float64{}
			}
			values[sr.labels["model"]][m] = sr.value
		}
	}
	for model, v := range values {
		p := prices[model]
		r.naive += ((v[inputTotal]-v[cachedTotal])*float64(p.input) + v[cachedTotal]*float64(p.cached) + v[outputTotal]*float64(p.output)) / 1e12
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, r)
}

func TestRealPrometheus(t *testing.T) {
	if *prometheusBinary == "" || *binaries == "" {
		t.Skip("needs a Prometheus and the functions' binaries: make test-prometheus")
	}
	world := NewWorld()
	web := httptest.NewServer(world)
	defer web.Close()
	s := &suite{world: world, address: strings.TrimPrefix(web.URL, "http://")}

	var scraped []string
	for name := range scenarios {
		if name != "late" {
			scraped = append(scraped, name)
		}
	}
	scraped = append(scraped, "cap", "outage", "gate", "retention")
	slices.Sort(scraped)
	s.c = startPrometheus(t, *prometheusBinary, "store", s.address, nil, "", nil, "")
	s.a = startPrometheus(t, *prometheusBinary, "replica-a", s.address, scraped, "a", []string{"twins"}, s.c.url)
	s.b = startPrometheus(t, *prometheusBinary, "replica-b", s.address, []string{"twins"}, "b", []string{"twins"}, s.c.url)
	s.fetch = startFunction(t, filepath.Join(*binaries, "function-budget-fetch-spend"), "fetch-spend")
	s.decide = startFunction(t, filepath.Join(*binaries, "function-budget-decide"), "decide")

	t.Run("life", func(t *testing.T) {
		for name, scenario := range scenarios {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				scenario(t, s, rand.New(rand.NewPCG(*seed, 7)))
			})
		}
		t.Run("gate", func(t *testing.T) { t.Parallel(); s.wrongAnswers(t) })
		t.Run("mimir", func(t *testing.T) { t.Parallel(); s.pathAndTenant(t) })
		t.Run("retention", func(t *testing.T) { t.Parallel(); s.retention(t) })
	})
	t.Run("outage", s.outage)
	s.print(t)
}

func (s *suite) print(t *testing.T) {
	t.Helper()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "AGENT\tLOOKS\tWRITES LOST\tSTALE READS\tUSED USD\tNEVER EXPORTED\tCOUNTED USD\tERROR\tsum(increase())\tWHAT HAPPENED")
	slices.SortFunc(s.rows, func(a, b row) int { return strings.Compare(a.name, b.name) })
	for _, r := range s.rows {
		exported := r.used - r.unseen
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%.6f\t%.6f\t%.6f\t%+.2f%%\t%+.2f%%\t%s\n", r.name, r.budget.Looks, r.budget.Lost, r.budget.Stale,
			r.used, r.unseen, r.counted, 100*(r.counted-exported)/exported, 100*(r.naive-exported)/exported, r.note)
	}
	if err := w.Flush(); err != nil {
		t.Error(err)
	}
}
