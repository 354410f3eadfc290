package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/test/crossplane"
)

const (
	retention  = 4 * time.Hour    // of the stores that forget
	outOfOrder = 90 * time.Minute // how late any store takes a sample

	// settleAfter is how late a sample may come and still be counted: the default
	// of fetch-spend's input.
	settleAfter = time.Hour
)

var nan = math.NaN()

// A Result is what a world came to.
type Result struct {
	Looks    int
	Counted  Tokens  // in the ledger, at the end
	SpentUSD float64 // that the last look found
	Exported Tokens  // that the samples tell of
	Used     Tokens  // by the requests
	Start    time.Time

	Over      float64 // USD that a look was above what had been exported by then, at most
	Named     bool    // a series was distrusted at some look
	Problems  map[string]int
	Forgotten Span // samples that the store had lost when a ledger still needed them; zero: none
	Cursors   int  // in the ledger, at most
	Largest   int  // bytes of the largest status
}

// A life of a world, as one control plane sees it.
type run struct {
	w      *World
	r      *rand.Rand
	faults bool
	store  *Store
	plane  *ControlPlane
	spec   map[string]any
	period v1alpha1.Period

	coming    []Export         // that have not arrived
	versions  []map[string]any // of the status, as they were written; the first is none
	wipe      time.Time
	garbage   time.Time
	compacted time.Time
	res       Result
}

// Run lives through a world, looks at it as often as a control plane would, and
// returns what was counted. Faults of status come from the same seed.
func (w *World) Run(ctx context.Context, faults bool) (res Result, err error) {
	keep := time.Duration(0)
	if w.Traits.Retention {
		keep = retention
	}
	store, err := OpenStore(keep, outOfOrder)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	r := rand.New(rand.NewPCG(w.Seed, 0xfa17))
	n := &run{
		w: w, r: r, faults: faults, store: store, period: v1alpha1.PeriodLifetime,
		coming: w.Exports, versions: []map[string]any{nil}, compacted: Epoch,
		wipe: Epoch.Add(between(r, 0, w.End.Sub(Epoch))), garbage: Epoch.Add(between(r, 0, w.End.Sub(Epoch))),
		res: Result{Problems: map[string]int{}, Over: math.Inf(-1)},
	}
	if n.plane, err = NewControlPlane(store, w.Created, nil); err != nil {
		return n.res, err
	}
	n.plane.EndWith("decide")
	if w.Traits.Daily {
		n.period = v1alpha1.PeriodDaily
	}
	n.spec = map[string]any{"agentName": AgentName, "budgetUsd": 5.0, "period": string(n.period)}

	for now := w.Created; ; {
		if now.After(w.End) {
			now = w.End
		}
		if err := n.look(ctx, now); err != nil {
			return n.res, fmt.Errorf("at %s: %w", now.Format(time.DateTime), err)
		}
		if now.Equal(w.End) {
			break
		}
		now = now.Add(n.wait())
	}
	n.res.Start = n.start(w.End.Add(-time.Minute))
	n.res.Exported = w.Exported(n.res.Start, w.End)
	n.res.Used = w.UsedIn(n.res.Start, w.End)
	return n.res, nil
}

// wait is the time to the next look: some come one after the other, as when other
// events wake a control plane, most much later than it would look by itself.
func (n *run) wait() time.Duration {
	if n.r.IntN(3) == 0 {
		return between(n.r, 10*time.Second, 90*time.Second)
	}
	return between(n.r, 2*time.Minute, 20*time.Minute)
}

// start is when the period began that t lies in.
func (n *run) start(t time.Time) time.Time {
	return later(n.w.Created, v1alpha1.PeriodStart(n.period, t))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// look lets the world go on to a time, and the control plane look at it.
func (n *run) look(ctx context.Context, now time.Time) error {
	if err := n.arrive(ctx, now); err != nil {
		return err
	}
	last := now.Equal(n.w.End)
	n.plane.Now = now
	if !last {
		n.plane.Now = n.clock(now)
	}
	observed := n.read(now)
	n.noteForgotten(observed, now)
	result, status, err := n.plane.Reconcile(ctx, n.spec, observed)
	if err != nil {
		return err
	}
	if result.Fatal != "" {
		return errors.New(result.Fatal)
	}
	n.res.Looks++
	if err := n.judge(result, now); err != nil {
		return err
	}
	if last {
		return n.end(result, status)
	}
	if n.faults && n.w.Traits.LostWrites && n.r.IntN(3) == 0 {
		return nil
	}
	b, err := json.Marshal(status)
	if err != nil {
		return err
	}
	n.versions = append(n.versions, status)
	n.res.Largest = max(n.res.Largest, len(b))
	ledger, _ := status["ledger"].(map[string]any)
	cursors, _ := ledger["cursors"].([]any)
	n.res.Cursors = max(n.res.Cursors, len(cursors))
	return nil
}

// end reads what was counted.
func (n *run) end(result *crossplane.Result, status map[string]any) error {
	if p := result.Context.GetFields()[v1alpha1.ContextSpendProblem].GetStructValue(); p != nil {
		return fmt.Errorf("the last look has a problem: %s", p)
	}
	n.res.SpentUSD = result.Context.GetFields()[v1alpha1.ContextSpendUSD].GetNumberValue()
	var err error
	n.res.Counted, err = counted(status)
	return err
}

// arrive stores what has arrived by now.
func (n *run) arrive(ctx context.Context, now time.Time) error {
	k := 0
	for k < len(n.coming) && n.coming[k].Arrives <= now.UnixMilli() {
		k++
	}
	if err := n.store.Append(ctx, n.coming[:k]); err != nil {
		return err
	}
	n.coming = n.coming[k:]
	if n.w.Traits.Retention && now.Sub(n.compacted) > 30*time.Minute {
		n.compacted = now
		if err := n.store.Compact(ctx); err != nil {
			return err
		}
	}
	n.store.Failure = nil
	if within(now, n.w.Unreachable, 0) {
		n.store.Failure = query.Problem{Reason: "PrometheusUnreachable", Message: "The server refuses connections"}
	}
	return nil
}

// clock is what the functions take for now.
func (n *run) clock(now time.Time) time.Time {
	tr := n.w.Traits
	switch {
	case n.r.IntN(4) != 0:
	case tr.ClockAhead && n.r.IntN(2) == 0:
		return now.Add(between(n.r, 0, 4*time.Minute))
	case tr.ClockBehind:
		return now.Add(-between(n.r, 0, 3*time.Hour))
	}
	return now
}

// read is the status that a reconcile sees.
func (n *run) read(now time.Time) map[string]any {
	observed := n.versions[len(n.versions)-1]
	if !n.faults {
		return observed
	}
	tr := n.w.Traits
	if tr.StaleReads {
		observed = n.versions[max(0, len(n.versions)-1-n.r.IntN(4))]
	}
	if tr.Wiped && now.After(n.wipe) {
		n.wipe = n.w.End.Add(time.Hour)
		n.versions, observed = []map[string]any{nil}, nil
	}
	if tr.Garbage && now.After(n.garbage) {
		n.garbage = n.w.End.Add(time.Hour)
		observed = spoil(n.r, observed)
	}
	return observed
}

// noteForgotten remembers what a ledger still needed and the store had lost.
func (n *run) noteForgotten(observed map[string]any, now time.Time) {
	ledger, _ := observed["ledger"].(map[string]any)
	text, _ := ledger["settledAt"].(string)
	settled, err := time.Parse(time.RFC3339, text)
	if err != nil {
		settled = n.w.Created // counting begins anew
	}
	// A store drops whole blocks, and may count from the end of the newest one, which is
	// of the next hour if something came out of order.
	oldest := later(now.Add(-retention), n.store.Oldest())
	if !n.w.Traits.Retention || n.store.Failure != nil || !settled.Before(oldest) {
		return
	}
	f := &n.res.Forgotten
	if f.From.IsZero() || settled.Before(f.From) {
		f.From = settled
	}
	f.To = later(f.To, oldest)
}

// judge compares what a look found with what it could know.
func (n *run) judge(result *crossplane.Result, now time.Time) error {
	f := result.Context.GetFields()
	if p := f[v1alpha1.ContextSpendProblem].GetStructValue(); p != nil {
		n.res.Problems[p.GetFields()["reason"].GetStringValue()]++
	}
	measurement := f[v1alpha1.ContextMeasurement].GetStructValue().GetFields()
	n.res.Named = n.res.Named || len(measurement["distrusted"].GetListValue().GetValues()) > 0
	spent, ok := f[v1alpha1.ContextSpendUSD]
	if !ok {
		return nil
	}
	start := n.w.Created
	if day := measurement["period"].GetStringValue(); day != string(v1alpha1.PeriodLifetime) {
		midnight, err := time.Parse(time.DateOnly, day)
		if err != nil {
			return err
		}
		start = later(start, midnight)
	}
	known := n.w.Exported(start, later(now, n.plane.Now).Add(time.Minute))
	n.res.Over = max(n.res.Over, spent.GetNumberValue()-known.USD())
	return nil
}

// spoil returns a status whose ledger nobody can read.
func spoil(r *rand.Rand, status map[string]any) map[string]any {
	old, ok := status["ledger"].(map[string]any)
	if !ok {
		return map[string]any{"ledger": map[string]any{}}
	}
	ledger := maps.Clone(old)
	cursors, _ := ledger["cursors"].([]any)
	totals, _ := ledger["totals"].([]any)
	switch r.IntN(5) {
	case 0:
		ledger["settledAt"] = "yesterday"
	case 1:
		ledger["period"] = ""
	case 2:
		ledger["cursors"] = append(slices.Clone(cursors), map[string]any{"series": "x", "at": "-1", "value": "NaN"})
	case 3:
		ledger["totals"] = append(slices.Clone(totals), map[string]any{"model": "m", "class": "thinking", "tokens": "1e9"})
	case 4:
		ledger["cursors"] = "none"
	}
	out := maps.Clone(status)
	out["ledger"] = ledger
	return out
}
