package tokenmeter

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

// TestSoftCapWhileNewsTravels: two meters share a soft budget, and hear late what the
// other one spent. What is spent past the cap is what was in flight when it was
// reached, and what began before everybody had heard: docs/token-meter.md. The clock is
// the bubble's, so that the bound is exact.
func TestSoftCapWhileNewsTravels(t *testing.T) {
	var table strings.Builder
	table.WriteString("\n| loops | call takes | one way | news takes | past the cap, most of 20 | bound |\n|---|---|---|---|---|---|\n")
	for _, c := range []struct {
		reason string
		loops  int
		call   time.Duration // that a call takes at least; three times that at most
		oneWay time.Duration // of a message between two meters
	}{
		{"In one cluster news is there before the next call.", 2, 300 * time.Millisecond, time.Millisecond},
		{"Many loops have more in flight, and that is all.", 50, 300 * time.Millisecond, time.Millisecond},
		{"Across zones it is hardly different.", 20, 300 * time.Millisecond, 20 * time.Millisecond},
		{"Where news takes as long as a call, each loop gets one more.", 20, 300 * time.Millisecond, 90 * time.Millisecond},
		{"Where it takes longer, more.", 10, 100 * time.Millisecond, 200 * time.Millisecond},
	} {
		// Told when this begins: on its way to the other there may be an answer that just
		// missed it; then comes a pause, the next question, and its answer.
		news := 3*c.oneWay + peersPause
		var most, past USD
		for seed := range uint64(20) {
			synctest.Test(t, func(t *testing.T) {
				n := &newsWorld{t: t, call: c.call, oneWay: c.oneWay, rng: rand.New(rand.NewPCG(seed, 11))}
				var over USD
				over, most = n.run(c.loops)
				past = max(past, over)
				if over < 0 {
					t.Errorf("%s\nseed %d: the budget was not spent", c.reason, seed)
				}
			})
		}
		calls := uint64(c.loops) * (1 + uint64((news+c.call-1)/c.call))
		bound := most.Times(calls)
		fmt.Fprintf(&table, "| %d | %s | %s | %s | %s USD | %s USD |\n", c.loops, c.call, c.oneWay, news, dollars(past), dollars(bound))
		if past > bound {
			t.Errorf("%s\n%s USD past the cap, want at most %s", c.reason, dollars(past), dollars(bound))
		}
	}
	t.Log(table.String())
}

// newsWorld is two meters and a provider, all in memory.
type newsWorld struct {
	t            testing.TB
	call, oneWay time.Duration
	asks         sync.WaitGroup

	mu   sync.Mutex
	rng  *rand.Rand
	bill usage.Tokens
}

func (n *newsWorld) random(of int64) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rng.Int64N(of)
}

// inMemory is a way to somebody that needs no network.
type inMemory func(*http.Request) (*http.Response, error)

func (f inMemory) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// provide answers after a while, and bills.
func (n *newsWorld) provide(*http.Request) (*http.Response, error) {
	time.Sleep(n.call + time.Duration(n.random(int64(2*n.call))))
	in, out := uint64(1+n.random(2000)), uint64(n.random(1000))
	n.mu.Lock()
	n.bill = n.bill.Plus(usage.Tokens{usage.Input: in, usage.Output: out})
	n.mu.Unlock()
	b, err := json.Marshal(map[string]any{
		"candidates": []any{map[string]any{"finishReason": "STOP"}}, "modelVersion": "gemini-3.8-flash",
		"usageMetadata": map[string]any{"promptTokenCount": in, "candidatesTokenCount": out, "totalTokenCount": in + out},
	})
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(b))), ContentLength: int64(len(b))}, err
}

// meters are two that ask each other.
func (n *newsWorld) meters(ctx context.Context, budget Budget) [2]*Server {
	var both [2]*Server
	for i := range both {
		s := newServer(n.t, "http://provider", func(f *Flags) {
			f.Journal, f.ConfirmCallers, f.Name, f.Peers = "", false, fmt.Sprint("meter-", i), "unused:1"
		})
		if err := s.meter.state.SetPrices(hardPrices); err != nil {
			n.t.Fatal(err)
		}
		s.meter.state.SetBudgets([]Budget{budget})
		s.meter.proxy = s.meter.newProxy(inMemory(func(r *http.Request) (*http.Response, error) {
			res, err := n.provide(r)
			if err == nil {
				res.Request = r
			}
			return res, err
		}))
		both[i] = s
	}
	for i, s := range both {
		other := both[1-i]
		s.peers.client.Transport = inMemory(func(r *http.Request) (*http.Response, error) {
			time.Sleep(n.oneWay)
			w := httptest.NewRecorder()
			other.meter.state.tell(other.replica)(w, r)
			time.Sleep(n.oneWay)
			return w.Result(), nil
		})
		n.asks.Go(func() { s.peers.ask(ctx, "other:1") })
	}
	return both
}

// run lets loops call until they are refused, and returns what was billed past the
// cap and what a call costs at most.
func (n *newsWorld) run(loops int) (over, most USD) {
	budget := Budget{Agent: "bot", Namespace: "agent-bot", UID: "u", Cap: usdOf(0.5), Enforced: true, Period: v1alpha1.PeriodLifetime}
	ctx, stop := context.WithCancel(n.t.Context())
	both := n.meters(ctx, budget)
	var wg sync.WaitGroup
	for range loops {
		wg.Go(func() {
			for refused := 0; refused < 6; {
				r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/agents/bot/gemini/v1beta/models/gemini-3.8-flash:generateContent", strings.NewReader("{}"))
				w := httptest.NewRecorder()
				both[n.random(2)].meter.ServeHTTP(w, r)
				if w.Code == http.StatusPaymentRequired {
					refused++
				}
				time.Sleep(time.Duration(n.random(int64(n.call / 4))))
			}
		})
	}
	wg.Wait()
	p := both[0].meter.state.Prices()
	over = p.Cost("gemini-3.8-flash", "", "", n.bill) - budget.Cap
	most = p.Cost("gemini-3.8-flash", "", "", usage.Tokens{usage.Input: 2000, usage.Output: 1000})
	stop()
	n.asks.Wait()
	return over, most
}
