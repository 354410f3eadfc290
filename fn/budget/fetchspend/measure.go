package fetchspend

import (
	"context"
	"math/big"
	"slices"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"whisperops.io/functions/apis/v1alpha1"
)

// Facts are everything a measurement rests on, beside the samples.
type Facts struct {
	Now      time.Time
	Settings Settings

	Budget  v1alpha1.XAgentBudgetSpec // validated
	Created time.Time                 // of the budget; zero when it is only rendered
	Ledger  *v1alpha1.Ledger          // as observed; nil when there is none that can be read

	Prices       PriceTable
	PriceProblem *v1alpha1.SpendProblem // why there are no Prices

	// future is a time in the Ledger that is days after Now, for which it is given
	// up. Zero: there is none.
	future time.Time
}

// An Outcome is what a look found.
type Outcome struct {
	// Ledger to write. Nil: leave the observed one as it is.
	Ledger *v1alpha1.Ledger

	// Spent in the current period. Nil: Problem says why it isn't known.
	Spent   Picos
	Problem *v1alpha1.SpendProblem

	Window      time.Duration // of samples read
	Measurement v1alpha1.Measurement
	NextLook    time.Duration
}

// waiting is the time to the next look while something is missing.
const waiting = time.Minute

// Measure looks at an agent's samples once. A server's failure is an outcome
// without Spent, never an error and never zero.
func Measure(ctx context.Context, q Querier, f Facts) Outcome {
	s := f.Settings
	at := floor(f.Now.Add(-s.IngestDelay).UnixMilli(), s.Grid)
	observed, lost := f.remembered(at)
	if !lost {
		// A clock that was set back sees what it saw before.
		at = max(at, observed.asOf, observed.settledAt)
	}
	l := begin(observed, lost, f, at)
	at = max(at, l.from, l.settledAt)

	out := Outcome{NextLook: min(waiting, s.MaxLook), Measurement: v1alpha1.Measurement{Period: l.period}}
	var t tally
	var distrust []string
	for page := 0; ; page++ {
		end, to, behind := at, s.settleTo(at), false
		if next := l.settledAt + pageSize.Milliseconds(); next < to-s.Heartbeat.Milliseconds() {
			// A page is settled as it would have been at its time: with what came in
			// SettleAfter after it.
			to, behind = ceil(next, s.block()), true
			end = min(at, to+s.SettleAfter.Milliseconds())
		}
		if behind && page == pagesPerRun {
			out.Problem = &v1alpha1.SpendProblem{Reason: "CatchingUp", Message: "Counting is far behind and catches up, some hours of samples at every look"}
			out.NextLook = s.MinLook
			break
		}
		out.Window = time.Duration(end-l.settledAt)*time.Millisecond + s.overlap()
		counted, err := look(ctx, q, f, l, end, to, behind)
		if err != nil {
			out.Problem = problemOf(err)
			if page == 0 {
				return out
			}
			break
		}
		t, distrust = counted, append(distrust, counted.distrust...)
		if !behind {
			break
		}
		l = t.ledger
	}
	if out.Problem == nil && heldBack(l, t, at) {
		out.Problem = &v1alpha1.SpendProblem{Reason: "SamplesVanished", Message: "The server has none of the samples that were counted last: its data may be lost, or prometheus.tenant may name another tenant"}
		return out
	}
	whole := out.Problem == nil // everything up to at was read
	if whole {
		out.Problem = f.PriceProblem
	}
	out.Measurement.NeverSeen = !t.seen
	out.Measurement.Distrusted = shown(distrust)
	if out.Problem != nil {
		// asOf goes with spentUsd, which stays as it is. Without a ledger nobody knows
		// up to when that counts: up to the last tokens there are, if all was read.
		switch {
		case !lost:
			t.ledger.asOf = observed.asOf
		case !whole:
			t.ledger.asOf = at
		}
		out.Ledger = t.ledger.write()
		return out
	}
	out.Ledger = t.ledger.write()

	b := f.Prices.cost(t.counted, s.InputContainsCached)
	out.Spent = b.total
	if o := f.Budget.Opening; o != nil && o.Period == l.period {
		out.Spent.Add(out.Spent, picos(o.USD))
	}
	out.Measurement.UnpricedModels = b.unpriced
	// Settled, because until then one of the two may be late, or in doubt.
	for _, m := range f.Prices.cost(t.ledger.totals, s.InputContainsCached).negative {
		out.Measurement.Distrusted = append(out.Measurement.Distrusted, "model "+quote(short(m, maxModelLen))+": more cached input than input, so inputContainsCached is wrong")
	}
	burn := f.Prices.burn(t.gains, s.InputContainsCached, at, s)
	out.Measurement.BurnUSDPerHour = usd(burn)
	out.NextLook = nextLook(f.Budget, s, out.Spent, burn)
	return out
}

// remembered reads the ledger. It is lost if it can't be read or is of the future,
// days after the time up to which is measured; f.future says then of when.
func (f *Facts) remembered(at int64) (observed ledger, lost bool) {
	observed, err := readLedger(f.Ledger)
	if err != nil {
		return observed, true
	}
	if latest := max(observed.from, observed.asOf, observed.settledAt, observed.rebased); latest > at+lookback.Milliseconds() {
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

// look asks for the samples up to a time, and once more when series turn up of
// which nothing says whether they are births, and counts them.
func look(ctx context.Context, q Querier, f Facts, l ledger, end, settleTo int64, force bool) (tally, error) {
	s, agent := f.Settings, f.Budget.AgentName
	span := time.Duration(end-l.settledAt)*time.Millisecond + s.overlap()
	counters, err := ask(ctx, q, f, samplesQuery(s, agent, span), end)
	if err != nil {
		return tally{}, err
	}
	past := map[string]history{}
	if strangers := unknown(l, counters, end); len(strangers) > 0 {
		before, err := ask(ctx, q, f, pastQuery(s, agent, strangers), l.settledAt)
		if err != nil {
			return tally{}, err
		}
		for _, c := range before {
			h := history{}
			for _, p := range c.points {
				h[c.twins[p.twin]] = p.v
			}
			past[c.key] = h
		}
	}
	return fold(l, s, counters, past, end, settleTo, force), nil
}

func ask(ctx context.Context, q Querier, f Facts, promQL string, at int64) ([]counter, error) {
	a, err := q.Query(ctx, promQL, time.UnixMilli(at).UTC())
	if err != nil {
		return nil, err
	}
	// A clock ahead would settle what has not happened yet.
	if ahead := f.Now.Sub(a.Date); !a.Date.IsZero() && ahead > maxClockSkew {
		return nil, Problem{Reason: "ClockAhead", Message: "The clock of function-budget-fetch-spend is ahead of the server's: set the one that is wrong"}
	}
	// A clock behind would give up a good ledger, and what the server has forgotten.
	if !f.future.IsZero() && a.Date.After(f.future.Add(-lookback)) {
		return nil, Problem{Reason: "ClockBehind", Message: "The clock of function-budget-fetch-spend is days behind the server's: set the one that is wrong"}
	}
	cs, err := readCounters(a.Series, f.Budget.AgentName, f.Settings)
	if err != nil {
		return nil, Problem{Reason: "BadAnswer", Message: "The server's answer can't be used: " + err.Error()}
	}
	return cs, nil
}

// maxClockSkew is how far our clock may be ahead of the server's. The Date header
// has whole seconds and was written before the answer arrived.
const maxClockSkew = 5 * time.Minute

func problemOf(err error) *v1alpha1.SpendProblem {
	var p Problem
	if errors.As(err, &p) {
		return (*v1alpha1.SpendProblem)(&p)
	}
	return &v1alpha1.SpendProblem{Reason: "QueryFailed", Message: "The server could not be asked; the function's log says why"}
}

// furthest is how long before its creation an opened budget counts: who wrote a
// date before Prometheus was made would wait for it to be read page by page.
const furthest = 366 * 24 * time.Hour

// begin returns the ledger from which a look at a time goes on: the observed one,
// or a new one when there is none, a new period began, the budget was opened
// later than it, or the series were mapped anew.
func begin(observed ledger, lost bool, f Facts, at int64) ledger {
	when := f.Budget.In(time.UnixMilli(at))
	period := v1alpha1.PeriodKey(f.Budget.Period, when)
	mapping := f.Settings.mapping(f.Budget.AgentName)

	// Samples count from when the budget was made; an opening says up to when they
	// were counted before, which is earlier: what was used in between is owed.
	from, opened := at, false
	if !f.Created.IsZero() {
		from = f.Created.UnixMilli()
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
		return ledger{period: period, mapping: mapping, from: from, asOf: from, settledAt: from, totals: map[meter]uint64{}, cursors: map[string]cursor{}}
	case l.period == period && (!opened || from == l.from):
	case from >= l.settledAt:
		// The cursors are the baselines of what begins: samples up to from only move
		// them on. Rows stay, to tell that the meter is known to work.
		l = l.clone()
		l.period, l.from, l.asOf = period, from, from
		for m := range l.totals {
			l.totals[m] = 0
		}
	default:
		// Part of what is settled belongs to it: count that again.
		return begin(ledger{}, true, f, at)
	}
	if l.mapping != mapping {
		l = l.clone()
		l.mapping, l.rebased, l.cursors = mapping, at, map[string]cursor{}
	}
	return l
}

// nextLook follows the money at risk: a quarter of the time in which the present
// burn would use up what is left.
func nextLook(b v1alpha1.XAgentBudgetSpec, s Settings, spent, burn Picos) time.Duration {
	if burn.Sign() == 0 {
		return s.MaxLook
	}
	left := new(big.Int).Sub(picos(b.BudgetUSD), spent)
	if left.Sign() <= 0 || b.Enforcement == v1alpha1.EnforcementMonitorOnly {
		// Nothing is left to be saved.
		return min(max(waiting, s.MinLook), s.MaxLook)
	}
	left.Div(left.Mul(left, big.NewInt(3600/4)), burn)
	if !left.IsInt64() || left.Int64() > int64(s.MaxLook/time.Second) {
		return s.MaxLook
	}
	return min(max(time.Duration(left.Int64())*time.Second, s.MinLook), s.MaxLook)
}
