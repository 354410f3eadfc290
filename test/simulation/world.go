package simulation

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/prometheus/prometheus/model/labels"

	"whisperops.io/functions/apis/v1alpha1"
)

// Epoch is when every world begins: a Sunday evening, so that midnight, a week
// and a month may end in it.
var Epoch = time.Date(2026, 11, 29, 19, 0, 0, 0, time.UTC)

// step is how often a process exports its counters.
const step = 30 * time.Second

// toSettle is how long after the last request of a world everything has arrived
// and is settled.
const toSettle = 2 * time.Hour

// Traits are what may go wrong in a world. All are off by default: then pods come
// and go, export every 30 seconds and when they end, and are born above zero.
type Traits struct {
	Restarts    bool // processes restart in place: the counter falls to zero
	BornAtZero  bool // counters are exported before they are used
	OneSample   bool // pods that live for one request and one export
	ShortJobs   bool // pods that live for three minutes
	Quiet       bool // two requests an hour
	OldPods     bool // pods that lived and spent before the budget was made
	NoFlush     bool // processes that die without a last export
	Retention   bool // the store forgets after 4 hours
	Unreachable bool // the store can't be asked for minutes or hours
	Outlasted   bool // the store can't be asked for longer than it keeps samples
	Unheard     bool // nothing is stored for minutes; pods die then
	Backlog     bool // what happens then arrives afterwards
	Late        bool // samples come up to 45 minutes late, out of order
	TooLate     bool // samples come later than the ledger waits for them
	ClockAhead  bool // the function's clock is up to 4 minutes ahead at times
	ClockBehind bool // or up to 3 hours behind
	PodClocks   bool // every pod's clock is wrong by up to 20 seconds
	Twins       bool // two replicas scrape, with clocks and outages of their own
	TwoWriters  bool // two processes write one series
	BadSamples  bool // now and then a sample that no counter has
	LostWrites  bool // one status write in three is lost
	StaleReads  bool // reads are up to three versions old
	Wiped       bool // status is lost once
	Daily       bool // the period is a day, and midnight passes
	Garbage     bool // status holds garbage once
	Mute        bool // processes don't export when they started
	Dips        bool // counters step back now and then, and come back
	Failovers   bool // for some minutes nobody answers, and who answers then is behind for a while
	Relabels    bool // a label of living series is added, removed or changed
	Monitors    bool // two monitors scrape each pod
	Servers     bool // two servers without a replica label scrape it, and write one series
}

// A World is what happens, all of it.
type World struct {
	Seed   uint64
	Traits Traits

	Created time.Time // of the budget
	End     time.Time // when everything has been exported and settled

	Exports []Export // in the order of arrival
	lives   []*life

	replicaClocks [2]time.Duration // how wrong the clock of each replica is

	Unreachable []Span // the store can't be asked
	unheard     []Span // nothing is stored
}

// A Span is a time between two others.
type Span struct{ From, To time.Time }

// Holds says whether t lies in the span.
func (s Span) Holds(t time.Time) bool { return !t.Before(s.From) && t.Before(s.To) }

func within(t time.Time, spans []Span, margin time.Duration) bool {
	for _, s := range spans {
		if (Span{s.From.Add(-margin), s.To.Add(margin)}).Holds(t) {
			return true
		}
	}
	return false
}

// A life is a process from start to end.
type life struct {
	pod        string
	start, end time.Time
	flush      bool
	zero       bool // its counters exist from the start
	skew       time.Duration
	rests      time.Duration // no requests at first
	requests   []request
	counters   []*counter
	stored     map[Meter][]seen
	one        bool // a single export, at its end
	dips       []dip
	silent     Span // nobody answers, before one of the dips
	relabelled relabel
}

type request struct {
	at  time.Time
	use Tokens
}

// seen is a sample that the store gets.
type seen struct {
	at    int64 // Unix milliseconds
	late  int64 // milliseconds until it arrives
	value uint64
}

var models = []string{"gemini-2.5-flash", "gemini-2.5-pro", "gemini-2.0-flash-lite"}

var metricNames = map[v1alpha1.TokenClass]string{
	v1alpha1.TokenInput:       "whisperops_tokens_input_total",
	v1alpha1.TokenOutput:      "whisperops_tokens_output_total",
	v1alpha1.TokenCachedInput: "whisperops_tokens_cached_input_total",
}

// NewWorld makes a world from its seed.
func NewWorld(seed uint64, tr Traits) *World {
	r := rand.New(rand.NewPCG(seed, 0x5eed))
	w := &World{Seed: seed, Traits: tr, Created: Epoch}
	busy := time.Duration(150+r.IntN(150)) * time.Minute
	if tr.Daily {
		busy += 4 * time.Hour
	}
	if tr.Retention {
		busy += 5 * time.Hour
	}
	stop := Epoch.Add(busy)
	w.End = stop.Add(toSettle)
	w.breakServer(r, busy)
	w.makeLives(r, busy)
	if tr.TwoWriters {
		w.shareASeries(r, stop)
	}
	w.exportAll(r)
	return w
}

// DayOfShortPods is a day of pods that live for three minutes, one after another.
func DayOfShortPods(seed uint64) *World {
	r := rand.New(rand.NewPCG(seed, 0x480))
	w := &World{Seed: seed, Traits: Traits{ShortJobs: true, LostWrites: true, StaleReads: true}, Created: Epoch, End: Epoch.Add(24*time.Hour + toSettle)}
	const length = 3 * time.Minute
	for i := range int(24 * time.Hour / length) {
		at := Epoch.Add(time.Duration(i) * length)
		l := &life{pod: fmt.Sprintf("job-%d", i+1), start: at, end: at.Add(length - between(r, time.Second, 20*time.Second)), flush: true}
		w.work(r, l, 1)
		w.lives = append(w.lives, l)
	}
	w.exportAll(r)
	return w
}

// ManySeries is a world in which so many series, a multiple of 4, are alive all
// the time.
func ManySeries(seed uint64, series int) *World {
	r := rand.New(rand.NewPCG(seed, 0x256))
	w := &World{Seed: seed, Traits: Traits{LostWrites: true, StaleReads: true}, Created: Epoch, End: Epoch.Add(2*time.Hour + toSettle)}
	for i := range series / 4 {
		l := &life{pod: fmt.Sprintf("worker-%d", i+1), start: Epoch.Add(between(r, 0, step)), end: Epoch.Add(2 * time.Hour), flush: true, zero: true}
		for at := l.start.Add(time.Second); at.Before(l.end); at = at.Add(between(r, time.Second, 4*time.Minute)) {
			l.requests = append(l.requests, request{at: at, use: Tokens{
				{models[0], v1alpha1.TokenInput}: 500 + r.Uint64N(20_000), {models[0], v1alpha1.TokenOutput}: 20 + r.Uint64N(2_000),
				{models[1], v1alpha1.TokenInput}: 500 + r.Uint64N(20_000), {models[1], v1alpha1.TokenOutput}: 20 + r.Uint64N(2_000),
			}})
		}
		w.lives = append(w.lives, l)
	}
	w.exportAll(r)
	return w
}

// breakServer says when the store can't be asked, and when it hears nothing.
func (w *World) breakServer(r *rand.Rand, busy time.Duration) {
	tr := w.Traits
	if tr.Unreachable {
		for range 1 + r.IntN(3) {
			from := Epoch.Add(between(r, 0, busy))
			length := between(r, time.Minute, 40*time.Minute)
			if r.IntN(4) == 0 && !tr.Retention && !tr.Wiped {
				length = between(r, time.Hour, 11*time.Hour)
			}
			w.Unreachable = append(w.Unreachable, Span{from, from.Add(length)})
		}
	}
	if tr.Outlasted {
		from := Epoch.Add(between(r, 10*time.Minute, 150*time.Minute))
		w.Unreachable = append(w.Unreachable, Span{from, from.Add(retention + between(r, 2*time.Hour, 5*time.Hour))})
	}
	for _, s := range w.Unreachable {
		if to := s.To.Add(toSettle); to.After(w.End) {
			w.End = to
		}
	}
	if tr.Unheard || tr.Backlog {
		for range 1 + r.IntN(3) {
			from := Epoch.Add(between(r, 0, busy))
			w.unheard = append(w.unheard, Span{from, from.Add(between(r, time.Minute, 30*time.Minute))})
		}
	}
}

func between(r *rand.Rand, lo, hi time.Duration) time.Duration {
	if hi <= lo {
		return lo
	}
	return lo + time.Duration(r.Int64N(int64(hi-lo)))
}

// makeLives lets pods come and go until the world's busy time is over.
func (w *World) makeLives(r *rand.Rand, busy time.Duration) {
	tr := w.Traits
	stop := Epoch.Add(busy)
	begin := Epoch
	if tr.OldPods {
		begin = Epoch.Add(-between(r, 10*time.Minute, 90*time.Minute))
	}
	pod := 0
	for range 1 + r.IntN(3) { // so many at a time
		at := begin.Add(between(r, 0, 5*time.Minute))
		if r.IntN(4) == 0 {
			at = begin.Add(between(r, 0, busy/2))
		}
		for at.Before(stop) {
			pod++
			name := fmt.Sprintf("planner-%d", pod)
			skew := time.Duration(0)
			if tr.PodClocks {
				skew = between(r, -20*time.Second, 20*time.Second)
			}
			if tr.OneSample && r.IntN(2) == 0 {
				l := &life{pod: name, start: at, end: at.Add(between(r, 5*time.Second, 25*time.Second)), flush: true, one: true, skew: skew}
				w.work(r, l, 1)
				w.lives = append(w.lives, l)
				at = l.end.Add(between(r, time.Minute, 15*time.Minute))
				continue
			}
			end := at.Add(tr.podLength(r))
			if end.After(stop) {
				end = stop
			}
			at = w.livePod(r, name, skew, at, end).Add(between(r, 10*time.Second, 10*time.Minute))
		}
	}
}

// podLength draws how long a pod lives.
func (t Traits) podLength(r *rand.Rand) time.Duration {
	if t.Quiet || t.Retention && !t.Outlasted {
		return between(r, 2*time.Hour, 9*time.Hour)
	}
	if t.ShortJobs {
		return between(r, 150*time.Second, 210*time.Second)
	}
	switch r.IntN(3) {
	case 0:
		return between(r, 2*time.Minute, 6*time.Minute)
	case 1:
		return between(r, 6*time.Minute, time.Hour)
	}
	return between(r, 20*time.Minute, 5*time.Hour)
}

// livePod lets a pod live, in as many processes as it takes, and returns when the
// last of them has ended.
func (w *World) livePod(r *rand.Rand, name string, skew time.Duration, at, end time.Time) time.Time {
	tr := w.Traits
	for first := true; at.Before(end); first = false {
		l := &life{pod: name, start: at, end: end, flush: true, skew: skew, zero: tr.BornAtZero || !first}
		if !first {
			l.rests = 100 * time.Second
		}
		if tr.Restarts {
			if e := at.Add(between(r, 5*time.Minute, 50*time.Minute)); e.Before(end) && (tr.Backlog || !within(e, w.unheard, 4*time.Minute)) {
				l.end = e
			}
		}
		l.flush = !tr.NoFlush || r.IntN(2) == 0
		w.work(r, l, 0)
		w.lives = append(w.lives, l)
		at = l.end.Add(between(r, 2*time.Second, 20*time.Second))
		if end.Sub(at) < 5*time.Minute {
			break
		}
	}
	return at
}

// work gives a life its requests.
func (w *World) work(r *rand.Rand, l *life, atLeast int) {
	mean := between(r, 5*time.Second, 60*time.Second)
	if w.Traits.Quiet {
		mean = 30 * time.Minute
	}
	usual := models[r.IntN(len(models))]
	at := l.start.Add(l.rests)
	for {
		at = at.Add(time.Duration(r.ExpFloat64() * float64(mean)))
		if !at.Before(l.end) {
			if len(l.requests) >= atLeast {
				return
			}
			at = l.start.Add(time.Second)
		}
		model := usual
		if r.IntN(8) == 0 {
			model = models[r.IntN(len(models))]
		}
		in := 500 + r.Uint64N(20_000)
		use := Tokens{
			{model, v1alpha1.TokenInput}:  in,
			{model, v1alpha1.TokenOutput}: 20 + r.Uint64N(2_000),
		}
		if r.IntN(3) == 0 {
			use[Meter{model, v1alpha1.TokenCachedInput}] = r.Uint64N(in)
		}
		l.requests = append(l.requests, request{at: at, use: use})
		if len(l.requests) >= atLeast && atLeast > 0 {
			return
		}
	}
}

// shared is the pod whose series two processes write.
const shared = "shared"

// shareASeries lets two processes write the same series for an hour and more.
func (w *World) shareASeries(r *rand.Rand, stop time.Time) {
	for range 2 {
		l := &life{pod: shared, start: Epoch.Add(between(r, 0, 3*time.Minute)), end: stop, flush: true, zero: true}
		w.work(r, l, 0)
		w.lives = append(w.lives, l)
	}
}

// exportAll makes the samples of all lives, in the order of their arrival.
func (w *World) exportAll(r *rand.Rand) {
	for _, l := range w.lives {
		w.export(r, l)
	}
	slices.SortStableFunc(w.Exports, func(a, b Export) int { return cmp.Compare(a.Arrives, b.Arrives) })
	for _, l := range w.lives {
		for _, s := range l.stored {
			slices.SortStableFunc(s, func(a, b seen) int { return cmp.Compare(a.at, b.at) })
		}
	}
}

// export makes the samples of a life.
func (w *World) export(r *rand.Rand, l *life) {
	w.disturb(r, l)
	if w.Traits.Twins {
		for i := range 2 {
			phase := time.Duration(int64(hash(l.pod)+uint64(i)*7919)%30_000) * time.Millisecond
			var out []Span
			for range r.IntN(3) {
				// One of them is down for a while, never both.
				from := l.start.Add(between(r, 0, l.end.Sub(l.start)))
				if within(from, []Span{{Epoch.Add(time.Duration(i) * time.Hour), Epoch.Add(time.Duration(i+1)*time.Hour - 10*time.Minute)}}, 0) {
					out = append(out, Span{from, from.Add(between(r, 45*time.Second, 10*time.Minute))})
				}
			}
			// A replica scrapes on a beat of its own, whatever the pod does.
			beat := l.start.Truncate(step).Add(phase)
			for at := beat; at.Before(l.end); at = at.Add(step) {
				if !at.Before(l.start) && !within(at, out, 0) {
					w.sample(r, l, at, w.replicaClocks[i], fmt.Sprintf("prometheus-%d", i))
				}
			}
		}
		return
	}
	if !l.one {
		at := l.start
		if !l.zero {
			at = at.Add(between(r, time.Second, step))
		}
		for ; at.Before(l.end); at = at.Add(step) {
			w.sample(r, l, at, l.skew, "")
		}
	}
	if l.flush {
		w.sample(r, l, l.end, l.skew, "")
	}
}

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64() >> 1
}

// sample exports all counters of a life as they are at a time.
func (w *World) sample(r *rand.Rand, l *life, at time.Time, skew time.Duration, replica string) {
	arrives := at.Add(between(r, 100*time.Millisecond, 10*time.Second))
	if w.Traits.Late && r.IntN(3) == 0 {
		arrives = at.Add(between(r, 20*time.Second, 45*time.Minute))
	}
	if w.Traits.TooLate && r.IntN(3) == 0 {
		arrives = at.Add(between(r, settleAfter, outOfOrder-2*time.Minute))
	}
	for _, s := range w.unheard {
		if !s.Holds(at) {
			continue
		}
		if !w.Traits.Backlog {
			return
		}
		if late := s.To.Add(between(r, time.Second, 5*time.Minute)); late.After(arrives) {
			arrives = late
		}
	}
	stamp := at.Add(skew).UnixMilli()
	if l.counters == nil {
		l.count()
	}
	for _, y := range w.ways(r, l, at) {
		w.exportBy(r, l, at, arrives, stamp, replica, y)
	}
}

// A counter of a life: its value after so many requests.
type counter struct {
	meter Meter
	first int // requests until it exists
	after []uint64
	names map[string]labels.Labels
}

// count adds up the requests of a life.
func (l *life) count() {
	l.stored = map[Meter][]seen{}
	all := map[Meter]*counter{}
	for i, q := range l.requests {
		for m := range q.use {
			if all[m] == nil {
				all[m] = &counter{meter: m, first: i + 1, after: make([]uint64, len(l.requests)+1), names: map[string]labels.Labels{}}
			}
		}
	}
	for _, m := range sortedMeters(all) {
		c := all[m]
		for i, q := range l.requests {
			c.after[i+1] = c.after[i] + q.use[m]
		}
		l.counters = append(l.counters, c)
	}
}

func (c *counter) labels(pod, replica string, more []string) labels.Labels {
	key := fmt.Sprint(replica, more)
	if n, ok := c.names[key]; ok {
		return n
	}
	n := seriesLabels(pod, c.meter, replica, more...)
	c.names[key] = n
	return n
}

func seriesLabels(pod string, m Meter, replica string, more ...string) labels.Labels {
	ls := []string{"__name__", metricNames[m.Class], "agent_name", AgentName, "model", m.Model, "namespace", "agent-" + AgentName, "pod", pod}
	if replica != "" {
		ls = append(ls, "prometheus_replica", replica)
	}
	return labels.FromStrings(append(ls, more...)...)
}

func startLabels(pod, replica string, more ...string) labels.Labels {
	ls := []string{"__name__", "process_start_time_seconds", "namespace", "agent-" + AgentName, "pod", pod}
	if replica != "" {
		ls = append(ls, "prometheus_replica", replica)
	}
	return labels.FromStrings(append(ls, more...)...)
}

// Proven is what the last process of each pod tells of: where nothing says that a
// process began anew, what the ones before it used may count once.
func (w *World) Proven(from, to time.Time) Tokens {
	return w.told(from, to, func(l *life, _ seen) bool {
		return !slices.ContainsFunc(w.lives, func(o *life) bool { return o.pod == l.pod && o.start.After(l.start) })
	})
}

// Exported returns the tokens that samples in (from, to] tell of: what a process
// used and no sample of it was ever stored is nobody's to see. Samples count up
// to where any replica saw a life come.
func (w *World) Exported(from, to time.Time) Tokens {
	return w.told(from, to, nil)
}

// OnTime is what those samples add that came before the ledger was settled. A
// sample that comes later takes with it what it adds: nobody reads it if its
// series has ended, and a new series begins at it if the ledger was settled just
// before.
func (w *World) OnTime(from, to time.Time) Tokens {
	sum := Tokens{}
	for _, l := range w.lives {
		for m, samples := range l.stored {
			var highest uint64
			for _, s := range samples {
				if s.at > from.UnixMilli() && s.at <= to.UnixMilli() && s.value > highest && s.late < settleAfter.Milliseconds() {
					sum[m] += s.value - highest
				}
				highest = max(highest, s.value)
			}
		}
	}
	return sum
}

// Unforgotten is what a ledger that was settled at forgotten.From can still know
// when the store has lost what is older than forgotten.To: what was settled, and
// all of the lives that go on.
func (w *World) Unforgotten(from, to time.Time, forgotten Span) Tokens {
	return w.told(from, to, func(l *life, s seen) bool {
		return s.at <= forgotten.From.UnixMilli() || l.end.Add(l.skew).After(forgotten.To.Add(2*step))
	})
}

// Unshared is what the series tell of that only one process writes.
func (w *World) Unshared(from, to time.Time) Tokens {
	return w.told(from, to, func(l *life, _ seen) bool { return l.pod != shared })
}

// told is what the samples in (from, to] that are kept tell of; nil keeps all.
func (w *World) told(from, to time.Time, keep func(*life, seen) bool) Tokens {
	sum := Tokens{}
	start, end := from.UnixMilli(), to.UnixMilli()
	for _, l := range w.lives {
		for m, samples := range l.stored {
			var before, after uint64
			for _, s := range samples {
				if s.at > end {
					break
				}
				if keep != nil && !keep(l, s) {
					continue
				}
				if s.at <= start {
					before = max(before, s.value)
				}
				after = max(after, s.value)
			}
			if after > before {
				sum[m] += after - before
			}
		}
	}
	return sum
}

// Hidden is what processes may have used and never told of: what they did after
// they were last heard, give or take a step.
func (w *World) Hidden() Tokens {
	sum := Tokens{}
	for _, l := range w.lives {
		heard := l.end
		if !l.flush || w.Traits.Twins {
			heard = heard.Add(-step)
		}
		for moved := !w.Traits.Backlog; moved; {
			moved = false
			for _, s := range w.unheard {
				if s.Holds(heard) {
					heard, moved = s.From.Add(-step), true
				}
			}
		}
		for _, q := range l.requests {
			if q.at.After(heard) {
				sum.add(q.use)
			}
		}
	}
	return sum
}

// BeforeHeard is what was used before a time and may be told of after it.
func (w *World) BeforeHeard(t time.Time) Tokens {
	from := t.Add(-3 * step)
	for _, s := range w.unheard {
		if s.Holds(from) || s.Holds(t) {
			from = s.From.Add(-3 * step)
		}
	}
	return w.UsedIn(from, t)
}

// UsedIn returns the tokens of the requests in (from, to].
func (w *World) UsedIn(from, to time.Time) Tokens {
	sum := Tokens{}
	for _, l := range w.lives {
		for _, q := range l.requests {
			if q.at.After(from) && !q.at.After(to) {
				sum.add(q.use)
			}
		}
	}
	return sum
}

func sortedMeters[V any](m map[Meter]V) []Meter {
	out := make([]Meter, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.SortFunc(out, func(a, b Meter) int {
		return cmp.Or(cmp.Compare(a.Model, b.Model), cmp.Compare(a.Class, b.Class))
	})
	return out
}
