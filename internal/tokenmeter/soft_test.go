package tokenmeter

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/pricing"
	"whisperops.io/functions/internal/tokenmeter/fakeprovider"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

// TestSoftCapIsPassedByWhatWasInFlight: whatever the loops and the meters, a soft
// budget is passed by no more than the calls that were under way when it was spent,
// once more where two meters have to hear of each other, and once more for each meter
// that was killed: what its calls cost nobody counted.
func TestSoftCapIsPassedByWhatWasInFlight(t *testing.T) {
	for name, c := range map[string]struct {
		reason       string
		loops        int
		meters       int
		kills, times int // times what is in flight, at most
	}{
		"OneMeter2":     {reason: "A meter knows what it counted: what it doesn't know is under way.", loops: 2, meters: 1, times: 1},
		"OneMeter50":    {reason: "That there are many loops changes nothing but how much that is.", loops: 50, meters: 1, times: 1},
		"TwoMeters10":   {reason: "Two meters tell each other what they spent.", loops: 10, meters: 2, times: 2},
		"TwoMeters50":   {reason: "And do so however busy they are.", loops: 50, meters: 2, times: 2},
		"Killed10":      {reason: "A meter that is killed forgets nothing that it had counted.", loops: 10, meters: 1, kills: 3, times: 4},
		"TwoKilled20":   {reason: "Nor does the other forget what it was told.", loops: 20, meters: 2, kills: 3, times: 5},
		"TwoMeters2":    {reason: "A few calls are heard of as soon as many are.", loops: 2, meters: 2, times: 2},
		"TwoKilled2":    {reason: "A slow loop sees all of the kills.", loops: 2, meters: 2, kills: 3, times: 5},
		"OneMeterAlone": {reason: "One loop has one call under way.", loops: 1, meters: 1, times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			over, most := softWorld(t, c.loops, c.meters, c.kills)
			t.Logf("%s: %d loops, %d meters, %d kills: %s USD past the cap, one call costs up to %s", c.reason, c.loops, c.meters, c.kills, dollars(over), dollars(most))
			if bound := most.Times(uint64(c.loops * c.times)); over > bound || over < 0 {
				t.Errorf("%s\n%s USD past the cap, want 0 to %s", c.reason, dollars(over), dollars(bound))
			}
		})
	}
}

// softWorld is what was billed past the cap, and what a call costs at most.
func softWorld(t *testing.T, loops, meters, kills int) (over, most USD) {
	t.Helper()
	provider := fakeprovider.New()
	plan := func(rng *rand.Rand) *fakeprovider.Plan {
		return &fakeprovider.Plan{Agent: "bot", Model: "gemini-3.8-flash", Events: 3, Tokens: usage.Tokens{usage.Input: 1 + rng.Uint64N(2000), usage.Output: rng.Uint64N(1000)}}
	}
	up := httptest.NewServer(provider)
	defer up.Close()
	budget := Budget{Agent: "bot", Namespace: "agent-bot", UID: "u", Cap: usdOf(0.5), Enforced: true, Period: v1alpha1.PeriodLifetime}
	replicas := make([]*replica, meters)
	heard, stop := context.WithCancel(t.Context())
	defer stop()
	tell := func(s *Server) string { // where it tells others what it spent
		ops := httptest.NewServer(s.ops())
		t.Cleanup(ops.Close)
		return strings.TrimPrefix(ops.URL, "http://")
	}
	hear := func(s *Server, address string) { go s.peers.ask(heard, address) }
	addresses := make([]string, meters)
	for i := range replicas {
		r := &replica{dead: &atomic.Bool{}, away: &atomic.Bool{}}
		r.start = func(dir string) *Server {
			s := newServer(t, up.URL, func(f *Flags) { f.Journal, f.ConfirmCallers, f.Peers = dir, false, "unused:1" })
			if err := s.meter.state.SetPrices(hardPrices); err != nil {
				t.Error(err)
			}
			s.meter.state.SetBudgets([]Budget{budget})
			s.meter.proxy = s.meter.newProxy(deadTransport{http.DefaultTransport, r.dead})
			addresses[i] = tell(s)
			for k, o := range replicas {
				if o == nil || k == i || o.front.Load() == nil {
					continue
				}
				hear(s, addresses[k])
				hear(o.front.Load(), addresses[i])
			}
			return s
		}
		replicas[i] = r
		r.front.Store(r.start(t.TempDir()))
	}
	// Each kill comes when so much more of the budget is spent, and none when all of it is:
	// how many calls a cap pays for is what they happen to cost. It pays for 60.
	var wg, killer sync.WaitGroup
	killed := 0
	spent := make(chan struct{})
	killer.Go(func() {
		for k := range kills {
			select {
			case <-provider.Arrived(30 * (k + 1)):
				replicas[k%meters].kill(t, true)
				killed++
			case <-spent:
				return
			}
		}
	})
	for l := range loops {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(l), 5))
			for refused := 0; refused < 2*meters; {
				at := rng.IntN(meters)
				s := replicas[at].front.Load()
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/agents/bot/gemini/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse", strings.NewReader("{}"))
				r.Header.Set(fakeprovider.PlanHeader, plan(rng).Header())
				w := httptest.NewRecorder()
				func() {
					defer func() { _ = recover() }() // http.ErrAbortHandler, as a server takes it
					s.meter.ServeHTTP(w, r)
				}()
				// How long news takes is the machine's business: the others have heard of a
				// call before the next one, unless the meter died.
				known := s.meter.journal.Spent("bot")
				until(t, func() bool {
					for i, o := range replicas {
						if i != at && replicas[at].front.Load() == s && o.front.Load().peers.unscraped("bot", time.Time{}) < known {
							return false
						}
					}
					return true
				})
				if w.Code == http.StatusPaymentRequired {
					refused++
				}
			}
		})
	}
	wg.Wait()
	close(spent)
	killer.Wait()
	if killed < min(kills, 2) {
		t.Errorf("%d of %d kills came before the budget was spent: the world shows nothing", killed, kills)
	}
	table, err := pricing.Read(hardPrices)
	if err != nil {
		t.Fatal(err)
	}
	p := Prices{table: table, now: replicas[0].front.Load().meter.now}
	var bill USD
	for l, tokens := range provider.Bill() {
		bill += p.Cost(l.Model, "", "", tokens)
	}
	return bill - budget.Cap, p.Cost("gemini-3.8-flash", "", "", usage.Tokens{usage.Input: 2000, usage.Output: 1000})
}

// TestABudgetThatComesBack: what was spent is forgotten for a new budget, and not for
// one that was out of sight.
func TestABudgetThatComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		reason, uid string
		spent       bool
	}{
		"Same":  {"The money that is spent is spent, whatever the meter could see meanwhile.", "u", true},
		"Other": {"Another budget of this name begins with nothing.", "another", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			budget, _ := w.meter.state.Budget("housing-bot")
			budget.UID = "u"
			w.meter.state.SetBudgets([]Budget{budget})
			w.call(t, geminiStream, planOf(geminiStream, 2))
			w.ended(t)
			w.meter.state.SetBudgets(nil)
			budget.UID = c.uid
			w.meter.state.SetBudgets([]Budget{budget})
			if got := w.meter.state.unscraped("housing-bot", budget.Created) > 0; got != c.spent {
				t.Errorf("%s\nspent: %v", c.reason, got)
			}
		})
	}
}
