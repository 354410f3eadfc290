package tokenmeter

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"whisperops.io/functions/internal/tokenmeter/fakeprovider"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

// conversation is one random call.
func conversation(rng *rand.Rand) (ask, *fakeprovider.Plan) {
	a := asks[rng.IntN(len(asks))]
	t := usage.Tokens{}
	for c := range t {
		if rng.IntN(3) > 0 {
			t[c] = uint64(rng.IntN(1 << rng.IntN(18)))
		}
	}
	p := &fakeprovider.Plan{
		Agent: "housing-bot", Model: a.model, Tokens: a.tokens(t), Events: 1 + rng.IntN(12),
		CRLF: rng.IntN(3) == 0, NoBlank: rng.IntN(3) == 0, Comments: rng.IntN(4) == 0,
		Encoding: []string{"", "", "gzip", "br"}[rng.IntN(4)],
	}
	if rng.IntN(3) > 0 {
		p.Seed = rng.Uint64()
	}
	switch rng.IntN(12) {
	case 0:
		p.BreakAfter = 1 + rng.IntN(p.Events+2)
	case 1:
		p.FailAfter = 1 + rng.IntN(p.Events)
	case 2:
		p.Status = []int{400, 429, 500, 503}[rng.IntN(4)]
		p.Tokens = usage.Tokens{}
	case 3:
		p.Text = strings.Repeat("ü\"\\{[", rng.IntN(2000))
	}
	return a, p
}

// converse makes a call, and leaves it in the middle now and then.
func (w *world) converse(ctx context.Context, rng *rand.Rand) {
	a, plan := conversation(rng)
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	switch rng.IntN(6) {
	case 0: // before the first byte, or whenever that is
		time.AfterFunc(time.Duration(rng.IntN(2000))*time.Microsecond, leave)
	case 1: // with some of it read
		if res, err := w.post(ctx, a, plan); err == nil {
			io.CopyN(io.Discard, res.Body, int64(rng.IntN(1500))) //nolint:errcheck // it leaves
			leave()
			_ = res.Body.Close() // it was left
		}
		return
	}
	if res, err := w.post(ctx, a, plan); err == nil {
		io.Copy(io.Discard, res.Body) //nolint:errcheck // resets are wanted
		_ = res.Body.Close()          // so they are here
	}
}

// TestCountedIsBilled: over random conversations on all dialects, packed, cut into
// pieces, broken off, left, and with meters that die in the middle, what is counted
// is what the provider billed, to the token. What a dying meter loses are the calls
// that were under way, and it names each of them.
//
// METER_CALLS is how many calls: make meter-100000.
func TestCountedIsBilled(t *testing.T) {
	calls := 3000
	if n, err := strconv.Atoi(os.Getenv("METER_CALLS")); err == nil {
		calls = n
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("METER_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("METER_SEED=%d", seed)
	w := newWorld(t, func(f *Flags) { f.Limits.DrainCalls, f.Limits.NoteTime = 1000, 0 })
	w.rich()
	lost, crashed, done := map[fakeprovider.Line]usage.Tokens{}, 0, 0
	for round := 0; done < calls; round++ {
		n := min(250, calls-done)
		before := w.provider.Calls()
		var wg sync.WaitGroup
		work := make(chan uint64, n)
		for i := range n {
			work <- seed + uint64(done+i)
		}
		close(work)
		for range 16 {
			wg.Go(func() {
				for s := range work {
					w.converse(t.Context(), rand.New(rand.NewPCG(s, 3)))
				}
			})
		}
		if round%3 == 1 {
			// Some callers leave before their call reaches anybody.
			<-w.provider.Arrived(before + rand.New(rand.NewPCG(seed, uint64(round))).IntN(1+n/2))
			crashed += w.crash(lost)
		}
		wg.Wait()
		done += n
	}
	until(t, func() bool { return w.shown(t)["whisperops_meter_open_calls{}"] == 0 })
	counted := w.total()
	for l, tokens := range lost {
		if sum := counted[l].Plus(tokens); sum.Sum() > 0 {
			counted[l] = sum
		}
	}
	billed := w.provider.Bill()
	for l, tokens := range billed {
		if tokens.Sum() == 0 {
			delete(billed, l)
		}
	}
	if diff := cmp.Diff(billed, counted); diff != "" {
		t.Errorf("-billed +counted: %s", diff)
	}
	var tokens uint64
	for _, b := range billed {
		tokens += b.Sum()
	}
	for k, v := range w.shown(t) {
		if strings.Contains(k, "mismatch") {
			t.Errorf("%s %v", k, v)
		}
	}
	t.Logf("%d calls, %d tokens billed and counted, %d calls under way in %d crashes", done, tokens, crashed, len(w.old))
}

// crash replaces the meter by one that finds what kill -9 would have left at this
// moment. The old one goes on, so that the test sees what was lost.
func (w *world) crash(lost map[fakeprovider.Line]usage.Tokens) int {
	w.t.Helper()
	dir := w.t.TempDir()
	if err := w.meter.journal.db.View(func(tx *bbolt.Tx) error {
		return tx.CopyFile(filepath.Join(dir, "tokens.db"), 0o600)
	}); err != nil {
		w.t.Fatal(err)
	}
	old := w.Server
	w.old = append(w.old, old)
	next := newServer(w.t, w.upstream.URL, func(f *Flags) { f.Journal, f.Limits.DrainCalls, f.Limits.NoteTime = dir, 1000, 0 })
	rich(next)
	restored := next.total()
	w.swap(next)
	// The process is dead for callers; what it would still have seen is what is lost.
	until(w.t, func() bool { return old.shown(w.t)["whisperops_meter_open_calls{}"] == 0 })
	for l, tokens := range old.total() {
		if more := tokens.Minus(restored[l]); more.Sum() > 0 {
			lost[l] = lost[l].Plus(more)
		}
	}
	return len(next.meter.journal.crashed())
}

// swap makes callers reach another meter.
func (w *world) swap(s *Server) {
	w.Server = s
	w.current.Store(s)
}

// rich gives the agent more than it can spend.
func (w *world) rich() { rich(w.Server) }

func rich(s *Server) {
	b, _ := s.meter.state.Budget("housing-bot")
	b.Cap = usdOf(9e6)
	s.meter.state.SetBudgets([]Budget{b})
}
