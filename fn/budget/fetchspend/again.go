package fetchspend

import (
	"context"
	"reflect"
	"sync"
	"time"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/internal/pricing"
	"whisperops.io/functions/internal/wire"
)

// answers are those given last for agents at rest, by namespace and name of their budgets.
//
// Most looks are at such an agent, and differ from the one before in nothing but their time:
// the budget is the same, so are the input and the price table, and the server has proved
// that the series are (see Resting). What is read, counted, priced and written is then the
// same, too, but for what depends on the clock, which proven.until knows. Whatever else is
// different, everything is done anew.
type answers struct {
	mu sync.Mutex
	of map[string]*answer
}

// An answer and all that it was made of. It is never changed.
type answer struct {
	budget [][]byte // fields of the XR, as they came
	in     edge.ReadInput
	asked  input.Prometheus
	server query.Server
	facts  Facts
	rest   *proven

	pricing v1alpha1.PricingReference
	left    []edge.Left
	next    time.Duration
}

// proven is what an agent's outcome follows from, beside Facts, that rests.
type proven struct {
	proof  []count.Series // see Resting
	since  int64          // what it is about
	who    string         // see Facts.who
	ledger count.Ledger   // is left as it was
	table  *pricing.Table // is in force
	at     int64
}

const (
	// sameFor is how long an answer is given again before all of it is done anew: whatever
	// could be wrong with it lasts no longer.
	sameFor = 10 * time.Minute

	// maxAnswers are some 10 KiB each.
	maxAnswers = maxResting
)

// fields are those of a budget that are read; see budget.
var fields = [][]string{{"metadata", "name"}, {"metadata", "namespace"}, {"metadata", "creationTimestamp"}, {"spec"}, {"status", "ledger"}, {"status", "bill"}}

// came returns a budget's fields as they came; ok is false where it came decoded.
func came(xr edge.Part) (budget [][]byte, ok bool) {
	budget = make([][]byte, len(fields))
	for i, path := range fields {
		if budget[i], ok = xr.Encoded(path...); !ok {
			return nil, false
		}
	}
	return budget, true
}

func keyOfBudget(xr edge.Part) string {
	return xr.String("metadata", "namespace") + "/" + xr.String("metadata", "name")
}

// proven says what an outcome follows from, if it is one that may be given again: it leaves
// the ledger as it is, into which times of looks are written, finds nothing wrong with clocks
// or the meter, and waits for no time that until doesn't know.
func (f Facts) proven(o Outcome, proof []count.Series, l count.Ledger, table *pricing.Table, at int64) *proven {
	if proof == nil || f.Resting == nil || !reflect.DeepEqual(o.Ledger, f.Ledger) || o.Measurement.Flaw != nil || f.opens() {
		return nil
	}
	since := at - f.span(l, at).Milliseconds()
	return &proven{proof: proof, since: since, who: f.who(since), ledger: l, table: table, at: at}
}

// opens says whether the budget's opening lies in the future.
func (f Facts) opens() bool {
	o := f.Budget.Opening
	if o == nil {
		return false
	}
	asOf, err := time.Parse(time.RFC3339, o.AsOf)
	return err == nil && asOf.After(f.Now)
}

// until says up to when a look at a later time measures, and whether the clock decides all the
// same there: the period, what is to be settled, what prices begin and are announced. f is
// of the earlier one.
func (p *proven) until(f Facts, now time.Time) (at int64, same bool) {
	s := f.Settings
	if age := now.Sub(f.Now); age < 0 || age >= sameFor {
		return 0, false
	}
	at = max(count.Floor(now.Add(-s.IngestDelay).UnixMilli(), s.Rules.Grid), p.at)
	if v1alpha1.PeriodKey(f.Budget.Period, f.Budget.In(time.UnixMilli(at))) != p.ledger.Period || !p.ledger.MayBeStill(s.Rules, s.Rules.SettleTo(at)) {
		return 0, false
	}
	for _, shift := range []time.Duration{-announceBefore, 0, announceBefore} {
		if p.table.Begins(time.UnixMilli(p.at).Add(shift), time.UnixMilli(at).Add(shift)) {
			return 0, false
		}
	}
	return at, true
}

// again answers as the last time, if that is certain to be right.
func (s station) again(c *edge.Call) (done bool) {
	xr := c.Composite()
	a := s.answers.get(keyOfBudget(xr))
	if a == nil {
		return false
	}
	if in, ok := c.ReadInput(); !ok || in != a.in {
		return false
	}
	for i, path := range fields {
		if v, ok := xr.Encoded(path...); !ok || !wire.SameValue(v, a.budget[i]) {
			return false
		}
	}
	found, resolved := c.Required(requirePricing)
	if !resolved {
		require(c, a.pricing)
		return true
	}
	if prices, _ := s.prices(found, a.pricing); prices == nil || prices != a.facts.Prices {
		return false // what is read from the same text is the same table, see tables
	}
	if srv, err := server(c, a.asked, a.facts.Settings); err != nil || srv != a.server {
		return false
	}
	now := s.now()
	at, same := a.rest.until(a.facts, now)
	if !same {
		return false
	}
	f := a.facts
	f.Now = now
	ctx, cancel := context.WithTimeout(c.Ctx, patience)
	defer cancel()
	q := &lazily{connect: func() (query.Querier, error) { return s.connect(a.server) }}
	proof, ok := s.resting.restOf(ctx, q, f, a.rest.who, a.rest.since, at)
	if !ok || len(proof) != len(a.rest.proof) || &proof[0] != &a.rest.proof[0] {
		return false
	}
	if f.Settings.Canary != "" && !s.resting.heard(f, a.rest.who, at) {
		return false
	}
	require(c, a.pricing)
	c.LookAgain(a.next)
	c.Leave(a.left)
	if err := c.SetContext(v1alpha1.ContextWindowSec, f.span(a.rest.ledger, at).Seconds()); err != nil {
		return false
	}
	c.Log.Debug("Answered as the last time", "at", at)
	return true
}

// keep an answer that may be given again, or forget the last one.
func (s station) keep(c *edge.Call, in *input.FetchSpendInput, f Facts, o Outcome, rest *proven, srv query.Server) error {
	xr := c.Composite()
	key := keyOfBudget(xr)
	budget, ok := came(xr)
	same, read := c.ReadInput()
	if rest == nil || !ok || f.Prices == nil || !read {
		s.answers.forget(key)
		return nil
	}
	left, err := c.Left(v1alpha1.ContextLedger, v1alpha1.ContextMeasurement, v1alpha1.ContextSpendUSD)
	if err != nil {
		return err
	}
	for i, b := range budget {
		if b != nil {
			budget[i] = append(make([]byte, 0, len(b)), b...) // what came is let go
		}
	}
	s.answers.put(key, &answer{
		budget: budget, in: same, asked: in.Prometheus, server: srv, facts: f, rest: rest,
		pricing: f.Budget.PricingRef.OrDefault(), left: left, next: o.NextLook,
	})
	return nil
}

func (as *answers) get(key string) *answer {
	as.mu.Lock()
	defer as.mu.Unlock()
	return as.of[key]
}

func (as *answers) put(key string, a *answer) {
	as.mu.Lock()
	defer as.mu.Unlock()
	if as.of == nil || len(as.of) >= maxAnswers {
		as.of = map[string]*answer{}
	}
	as.of[key] = a
}

func (as *answers) forget(key string) {
	as.mu.Lock()
	defer as.mu.Unlock()
	delete(as.of, key)
}

// lazily connects when it is asked: most looks at agents at rest ask nothing.
type lazily struct {
	connect func() (query.Querier, error)
}

func (l *lazily) Query(ctx context.Context, promQL string, at time.Time) (query.Answer, error) {
	q, err := l.connect()
	if err != nil {
		return query.Answer{}, err
	}
	return q.Query(ctx, promQL, at)
}
