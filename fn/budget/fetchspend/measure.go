package fetchspend

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/fn/budget/fetchspend/price"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/internal/money"
	"whisperops.io/functions/internal/pricing"
)

// Facts are everything a measurement rests on, beside the samples.
type Facts struct { //nolint:recvcheck // remembered alone notes what it found
	Now      time.Time
	Settings Settings

	Budget  v1alpha1.XAgentBudgetSpec // validated
	Created time.Time                 // of the budget; zero when it is only rendered
	Ledger  *v1alpha1.Ledger          // as observed; nil when there is none that can be read
	Bill    []v1alpha1.BillLine       // as observed

	Prices       *pricing.Table
	PriceProblem *v1alpha1.SpendProblem // why there are no Prices

	// early: the budget was made in the future of Now, and the server agrees with Now:
	// the API server's clock is ahead.
	early bool

	// Resting are agents at rest that are asked about together; nil: each by itself. Server
	// tells apart whom is asked, and as whom.
	Resting *Resting
	Server  string

	// whole: all samples are read, however quiet the agent is. For tests.
	whole bool

	// future is a time in the Ledger that is days after Now, for which it is given
	// up. Zero: there is none.
	future time.Time
}

// An Outcome is what a look found.
type Outcome struct {
	// Ledger to write. Nil: leave the observed one as it is.
	Ledger *v1alpha1.Ledger

	// Spent in the current period. Nil: Problem says why it isn't known.
	Spent   *money.USD
	Problem *v1alpha1.SpendProblem

	Window      time.Duration // of samples read
	Measurement v1alpha1.Measurement
	NextLook    time.Duration
}

// waiting is the time to the next look while something is missing.
const waiting = time.Minute

// Measure looks at an agent's samples once. A server's failure is an outcome
// without Spent, never an error and never zero.
func Measure(ctx context.Context, q query.Querier, f Facts) Outcome {
	o, _ := f.measure(ctx, q)
	return o
}

// measure also says what the outcome follows from, if the agent is at rest; else nil.
func (f Facts) measure(ctx context.Context, q query.Querier) (Outcome, *proven) { //nolint:funlen // a look, from its beginning to its end
	s := f.Settings
	at := count.Floor(f.Now.Add(-s.IngestDelay).UnixMilli(), s.Rules.Grid)
	observed, lost := f.remembered(at)
	if !lost {
		// A clock that was set back sees what it saw before.
		at = max(at, observed.AsOf, observed.SettledAt)
	}
	if lost && f.Created.After(f.Now) {
		early, err := f.ahead(ctx, q, at)
		if err != nil {
			return Outcome{NextLook: min(waiting, s.MaxLook), Problem: problemOf(err)}, nil
		}
		f.early = early
	}
	table, stale := f.table(observed)
	s.Rules.Began = began(table)
	s.Rules.Metrics.Ours = func(agent, namespace string) bool { return input.Ours(s.Namespaces, agent, namespace) }
	f.Settings = s
	l := begin(observed, lost, f, at)
	at = max(at, l.From, l.SettledAt)

	out := Outcome{NextLook: min(waiting, s.MaxLook), Measurement: v1alpha1.Measurement{Period: l.Period, Flaw: f.clock()}}
	var t count.Tally
	var proof []count.Series
	var distrust []string
	for page := 0; ; page++ {
		end, to, behind := at, s.Rules.SettleTo(at), false
		if next := l.SettledAt + pageSize.Milliseconds(); next < to-s.Rules.Heartbeat.Milliseconds() {
			// A page is settled as it would have been at its time: with what came in
			// SettleAfter after it.
			to, behind = count.Ceil(next, s.Rules.Block()), true
			end = min(at, to+s.Rules.SettleAfter.Milliseconds())
		}
		if behind && page == pagesPerRun {
			out.Problem = &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonCatchingUp, Message: "Counting is far behind and catches up, some hours of samples at every look"}
			out.NextLook = s.MinLook
			break
		}
		out.Window = f.span(l, end)
		counted, proves, err := peek(ctx, q, f, l, end, to, behind)
		if err != nil {
			out.Problem = problemOf(err)
			if page == 0 {
				return out, nil
			}
			break
		}
		t, proof, distrust = counted, proves, append(distrust, counted.Distrust...)
		if !behind {
			break
		}
		l = t.Ledger
	}
	if out.Problem == nil && count.Vanished(l, t, at) {
		out.Problem = &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonSamplesVanished, Message: "The server has none of the samples that were counted last: its data may be lost, its stores away, or prometheus.tenant may name another tenant"}
		return out, nil
	}
	whole := out.Problem == nil // everything up to at was read
	if whole && table == nil {
		out.Problem = f.PriceProblem
	}
	out.Measurement.NeverSeen = !t.Seen
	out.Measurement.Distrusted = shown(distrust)
	if out.Problem != nil {
		// asOf goes with spentUsd, which stays as it is. Without a ledger nobody knows
		// up to when that counts: up to the last tokens there are, if all was read.
		switch {
		case !lost:
			t.Ledger.AsOf = observed.AsOf
		case !whole:
			t.Ledger.AsOf = at
		}
		out.Ledger = t.Ledger.Write()
		return out, nil
	}
	f.charge(&out, table, stale, t, at)
	if out.Measurement.Flaw == nil {
		out.Measurement.Flaw = f.meter(ctx, q, at-f.span(l, at).Milliseconds(), at)
	}
	t.Ledger.Prices, t.Ledger.PricesSince = table.Excerpt(modelsOf(t.Counted), maxPrices), 0
	if stale != nil {
		// As it was kept, and since when, as it was first noticed.
		t.Ledger.Prices, t.Ledger.PricesSince = observed.Prices, observed.PricesSince
		if t.Ledger.PricesSince == 0 {
			t.Ledger.PricesSince = at
		}
		out.Measurement.PricesSince = count.RFC3339(t.Ledger.PricesSince)
	}
	out.Ledger = t.Ledger.Write()
	return out, f.proven(out, proof, l, table, at)
}

// charge prices what was counted.
func (f Facts) charge(out *Outcome, table *pricing.Table, stale *v1alpha1.SpendProblem, t count.Tally, at int64) {
	s, m := f.Settings, &out.Measurement
	b := price.Cost(table, t.Counted, s.Contained)
	spent := b.Total
	if o := f.Budget.Opening; o != nil && o.Period == t.Ledger.Period {
		// Less than nothing, which the schema refuses and a budget rendered by hand may have,
		// is no credit.
		if opening, ok := money.Of(o.USD); ok && opening > 0 {
			spent = spent.Plus(opening)
			m.Bill = append(m.Bill, v1alpha1.BillLine{Model: "(spent before this budget)", USD: opening.String()})
		}
	}
	out.Spent = &spent
	m.Bill = append(m.Bill, lines(b, t.Doubtful)...)
	m.UnpricedModels = b.Unpriced
	m.UnpricedTiers = b.Tierless
	m.DoubtfulUSD = price.Doubtful(table, t.Counted, t.Doubtful, s.Contained).Float()
	// Settled, because until then one of the two may be late, or in doubt.
	for _, model := range price.Cost(table, t.Ledger.Totals, s.Contained).Negative {
		m.Distrusted = append(m.Distrusted, "model "+quote(short(model))+": more cached input than input (or thoughts than output), so inputContainsCached is wrong, or what metrics say is contained")
	}
	burn := price.Burn(table, t.Gains, s.Contained, at, s.Rules)
	m.BurnUSDPerHour = burn.Float()
	out.NextLook = nextLook(f.Budget, s, spent, burn)

	models := modelsOf(t.Counted)
	m.Announced = announced(table, models, time.UnixMilli(at))
	m.Repriced, m.AtDearestUSD = f.repriced(table, t.Counted, b, spent)
	m.PricesProblem = stale
	for _, flaw := range table.Flaws {
		if len(m.PriceFlaws) == maxNamed {
			break
		}
		m.PriceFlaws = append(m.PriceFlaws, flaw.String())
	}
}

// maxPrices bounds the last good prices that a status keeps, in bytes.
const maxPrices = 4 << 10

func modelsOf(tokens map[count.Meter]uint64) []string {
	names := map[string]bool{}
	for m, n := range tokens {
		if n > 0 {
			names[m.Model] = true
		}
	}
	return sortedKeys(names)
}

// table is what prices tokens: the table that is there, or else the last good one, as a
// whole or for models of which a row was broken.
func (f Facts) table(observed count.Ledger) (t *pricing.Table, stale *v1alpha1.SpendProblem) {
	if observed.Prices == "" || f.Prices != nil && !f.Prices.Broken() {
		return f.Prices, nil
	}
	last, err := pricing.Read(observed.Prices)
	switch {
	case err != nil:
		return f.Prices, nil
	case f.Prices != nil:
		return f.Prices.With(last), nil
	}
	return last, f.PriceProblem
}

// began tells price spans apart.
func began(t *pricing.Table) func(model string, at int64) int64 {
	if t == nil {
		return nil
	}
	return func(model string, at int64) int64 {
		if from := t.Began(model, time.UnixMilli(at).UTC()); !from.IsZero() {
			return from.UnixMilli()
		}
		return 0
	}
}

// sortedKeys, quote and short write what others named.
func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

func quote(s string) string { return strconv.Quote(s) }

// short cuts a text to a length that fits a condition, at a rune.
func short(t string) string {
	t = strings.ToValidUTF8(t, "?")
	const n = 100
	if len(t) <= n {
		return t
	}
	cut := n
	for cut > 0 && t[cut]&0xC0 == 0x80 {
		cut--
	}
	return t[:cut] + "..."
}

// clock says that a budget was made in the future.
func (f Facts) clock() *v1alpha1.SpendProblem {
	if f.Created.After(f.Now.Add(maxJitter)) {
		return &v1alpha1.SpendProblem{
			Reason:  v1alpha1.ReasonClockAhead,
			Message: "The budget was made in the future of function-budget-fetch-spend's clock: the API server's is ahead, or this one behind. What is used from now on counts all the same; set the clock that is wrong",
		}
	}
	return nil
}

// ahead asks the server whose clock is wrong when a budget was made in the future: if
// it is ours that is behind, all counts from then as it should, once it gets there.
func (f Facts) ahead(ctx context.Context, q query.Querier, at int64) (bool, error) {
	r := f.Settings.Rules
	exact := true // one name is enough, and every server takes it
	a, err := q.Query(ctx, query.Samples(r.Metrics, f.Budget.AgentName, r.Grid, exact)[0], time.UnixMilli(at).UTC())
	return err == nil && !a.Date.IsZero() && a.Date.Before(f.Created), err
}

// maxJitter is what the clocks of two machines differ by that are both right.
const maxJitter = 30 * time.Second

// remembered reads the ledger. It is lost if it can't be read or is of the future,
// days after the time up to which is measured; f.future says then of when.
func (f *Facts) remembered(at int64) (observed count.Ledger, lost bool) {
	observed, err := count.Read(f.Ledger)
	if err != nil {
		return observed, true
	}
	if latest := max(observed.From, observed.AsOf, observed.SettledAt, observed.Rebased); latest > at+count.Lookback.Milliseconds() {
		f.future = time.UnixMilli(latest)
		return observed, true
	}
	return observed, false
}

// shown are as many distrusted series as are named, each once.
func shown(distrust []string) []string {
	slices.Sort(distrust)
	distrust = slices.Compact(distrust)
	return distrust[:min(len(distrust), maxNamed)]
}

// peek counts as look does. Where that may be all there is to know, it asks first
// whether anything moved, which costs a fraction; it must be certain of it. The answer that
// says so is its proof; nil: all was counted.
func peek(ctx context.Context, q query.Querier, f Facts, l count.Ledger, end, settleTo int64, force bool) (t count.Tally, proof []count.Series, err error) {
	r, agent := f.Settings.Rules, f.Budget.AgentName
	// What isn't still is not before more of it is settled: nobody asks that often.
	key := strings.Join([]string{l.Mapping, l.Period, count.RFC3339(l.From), count.RFC3339(l.SettledAt)}, " ")
	memory, _ := q.(interface {
		Stirred(key string, remember bool) bool
	})
	if f.whole || f.Ledger == nil || force || !l.MayBeStill(r, settleTo) || memory != nil && memory.Stirred(key, false) {
		t, err = look(ctx, q, f, l, end, settleTo, force)
		return t, nil, err
	}
	span := f.span(l, end)
	since := end - span.Milliseconds()
	if answer, ok := f.Resting.rest(ctx, q, f, since, end); ok {
		if cs, still := count.Still(answer, l, agent, r, since, end); still {
			return count.Fold(l, r, cs, nil, nil, end, l.SettledAt, false), answer, nil
		}
	}
	answer, err := raw(ctx, q, f, func(exact bool) []string { return query.Still(r.Metrics, agent, span, time.UnixMilli(end), exact) }, end)
	// Whoever can't be reached isn't asked twice. All else that goes wrong may be for
	// this question alone, and then the samples are to be had.
	var p query.Problem
	if errors.As(err, &p) && (p.Reason == v1alpha1.ReasonPrometheusUnreachable || p.Reason == v1alpha1.ReasonQueryTimedOut) {
		return count.Tally{}, nil, err
	}
	cs, still := count.Still(answer, l, agent, r, since, end)
	if err != nil || !still {
		if memory != nil {
			memory.Stirred(key, true)
		}
		t, err = look(ctx, q, f, l, end, settleTo, force)
		return t, nil, err
	}
	f.Resting.proved(f, since, answer)
	return count.Fold(l, r, cs, nil, nil, end, l.SettledAt, false), answer, nil
}

// span is how much a look up to a time reads.
func (f Facts) span(l count.Ledger, end int64) time.Duration {
	return time.Duration(end-l.SettledAt)*time.Millisecond + f.Settings.Rules.Overlap()
}

// look asks for the samples up to a time, and once more when series turn up of
// which nothing says whether they are births or what their process did, and counts
// them.
func look(ctx context.Context, q query.Querier, f Facts, l count.Ledger, end, settleTo int64, force bool) (count.Tally, error) {
	r, agent := f.Settings.Rules, f.Budget.AgentName
	span := f.span(l, end)
	series, strange, err := ask(ctx, q, f, func(exact bool) []string { return query.Samples(r.Metrics, agent, span, exact) }, end)
	if err != nil {
		return count.Tally{}, err
	}
	if series, err = moved(ctx, q, f, series, span, end); err != nil {
		return count.Tally{}, err
	}
	cs := count.Unite(series, r)
	var past count.Past
	if strangers := count.Strangers(l, cs, end); len(strangers) > 0 {
		past, _, err = ask(ctx, q, f, func(exact bool) []string { return query.Past(r.Metrics, agent, strangers, exact) }, l.SettledAt)
		if err != nil {
			return count.Tally{}, err
		}
	}
	var starts []count.Series
	if suspects := count.Suspects(l, cs, past, r, end); len(suspects) > 0 {
		if starts, err = raw(ctx, q, f, func(exact bool) []string { return query.Starts(r.Metrics, suspects, span, exact) }, end); err != nil {
			return count.Tally{}, err
		}
	}
	t := count.Fold(l, r, cs, past, starts, end, settleTo, force)
	t.Distrust = append(t.Distrust, strange...)
	return t, nil
}

// moved are series as they are, after their processes were asked when they started where
// nothing but the address says that they are two.
func moved(ctx context.Context, q query.Querier, f Facts, series []count.Counter, span time.Duration, at int64) ([]count.Counter, error) {
	r := f.Settings.Rules
	alike := count.Elsewhere(series, r)
	if len(alike) == 0 {
		return series, nil
	}
	starts, err := raw(ctx, q, f, func(exact bool) []string { return query.Starts(r.Metrics, alike, span, exact) }, at)
	if err != nil {
		return nil, err
	}
	return count.Moved(series, r, starts), nil
}

func ask(ctx context.Context, q query.Querier, f Facts, queries func(exact bool) []string, at int64) ([]count.Counter, []string, error) {
	series, err := raw(ctx, q, f, queries, at)
	if err != nil {
		return nil, nil, err
	}
	cs, strange, err := count.ReadCounters(series, f.Budget.AgentName, f.Settings.Rules)
	if err != nil {
		return nil, nil, query.Problem{Reason: v1alpha1.ReasonBadAnswer, Message: "The server's answer can't be used: " + err.Error()}
	}
	return cs, strange, nil
}

// raw asks queries one after another. A server that refuses regular expressions on
// metrics' names is asked for each name by itself.
func raw(ctx context.Context, q query.Querier, f Facts, queries func(exact bool) []string, at int64) ([]count.Series, error) {
	exact := f.Settings.Exact
	if e, ok := q.(interface{ ExactNames() bool }); ok && e.ExactNames() {
		exact = true
	}
	out, err := each(ctx, q, f, queries(exact), at)
	var p query.Problem
	if exact || !errors.As(err, &p) || p.Reason != v1alpha1.ReasonNamesRefused {
		return out, err
	}
	out, err = each(ctx, q, f, queries(true), at)
	if e, ok := q.(interface{ RememberExactNames() }); ok && err == nil {
		e.RememberExactNames()
	}
	return out, err
}

func each(ctx context.Context, q query.Querier, f Facts, queries []string, at int64) ([]count.Series, error) {
	var out []count.Series
	for _, promQL := range queries {
		a, err := q.Query(ctx, promQL, time.UnixMilli(at).UTC())
		if err != nil {
			return nil, err
		}
		// A clock ahead would settle what has not happened yet.
		if ahead := f.Now.Sub(a.Date); !a.Date.IsZero() && ahead > maxClockSkew {
			return nil, query.Problem{Reason: v1alpha1.ReasonClockAhead, Message: "The clock of function-budget-fetch-spend is ahead of the server's: set the one that is wrong"}
		}
		// A clock behind would give up a good ledger, and what the server has forgotten.
		if !f.future.IsZero() && a.Date.After(f.future.Add(-count.Lookback)) {
			return nil, query.Problem{Reason: v1alpha1.ReasonClockBehind, Message: "The clock of function-budget-fetch-spend is days behind the server's: set the one that is wrong"}
		}
		out = append(out, a.Series...)
	}
	return out, nil
}

// maxClockSkew is how far our clock may be ahead of the server's. The Date header
// has whole seconds and was written before the answer arrived.
const maxClockSkew = 5 * time.Minute

func problemOf(err error) *v1alpha1.SpendProblem {
	var p query.Problem
	if errors.As(err, &p) {
		return (*v1alpha1.SpendProblem)(&p)
	}
	return &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonQueryFailed, Message: "The server could not be asked; the function's log says why"}
}

// furthest is how long before its creation an opened budget counts: who wrote a
// date before Prometheus was made would wait for it to be read page by page.
const furthest = 366 * 24 * time.Hour

// begin returns the ledger from which a look at a time goes on: the observed one,
// or a new one when there is none, a new period began, the budget was opened
// later than it, or the series were mapped anew.
func begin(observed count.Ledger, lost bool, f Facts, at int64) count.Ledger {
	when := f.Budget.In(time.UnixMilli(at))
	period := v1alpha1.PeriodKey(f.Budget.Period, when)
	mapping := f.Settings.Mapping(f.Budget.AgentName)

	// Samples count from when the budget was made; an opening says up to when they
	// were counted before, which is earlier: what was used in between is owed.
	from, opened := at, false
	if !f.Created.IsZero() {
		from = f.Created.UnixMilli()
		if f.early {
			from = at // nothing is free until then
		}
	}
	if o := f.Budget.Opening; o != nil {
		if asOf, err := time.Parse(time.RFC3339, o.AsOf); err == nil && !asOf.After(f.Now) {
			from, opened = asOf.UnixMilli(), true
			if !f.Created.IsZero() {
				from = max(from, f.Created.Add(-furthest).UnixMilli())
			}
		}
	}
	start := v1alpha1.PeriodStart(f.Budget.Period, when)
	if !start.IsZero() {
		from = max(from, start.UnixMilli())
	}
	from -= from % 1000

	l := observed
	switch {
	case lost:
		return count.New(period, mapping, from)
	case l.Period == period && (!opened || from == l.From):
	case from >= l.SettledAt:
		// The cursors are the baselines of what begins: samples up to from only move
		// them on. Rows stay, to tell that the meter is known to work.
		l = l.Clone()
		l.Period, l.From, l.AsOf = period, from, from
		for m := range l.Totals {
			l.Totals[m] = 0
		}
		clear(l.Doubts)
	default:
		// Part of what is settled belongs to it: count that again.
		return begin(count.Ledger{}, true, f, at)
	}
	if l.Mapping != mapping {
		l = l.Clone()
		l.Mapping, l.Rebased, l.Cursors = mapping, at, map[string]count.Cursor{}
	}
	return l
}

// nextLook follows the money at risk: a quarter of the time in which the present
// burn would use up what is left.
func nextLook(b v1alpha1.XAgentBudgetSpec, s Settings, spent, burn money.USD) time.Duration {
	if burn == 0 {
		return s.MaxLook
	}
	budget, ok := money.Of(b.BudgetUSD)
	left := budget - spent
	if !ok || left <= 0 || b.Enforcement == v1alpha1.EnforcementMonitorOnly {
		// Nothing is left to be saved.
		return min(max(waiting, s.MinLook), s.MaxLook)
	}
	seconds := left.Scaled(3600/4, int64(burn))
	if int64(seconds) > int64(s.MaxLook/time.Second) {
		return s.MaxLook
	}
	return min(max(time.Duration(seconds)*time.Second, s.MinLook), s.MaxLook)
}
