package tokenmeter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"
	"go.etcd.io/bbolt"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/pricing"
	"whisperops.io/functions/internal/tokenmeter/fakeprovider"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

// memoryBooks are books as the API server keeps them: one write after the other,
// each of which must have seen the one before.
type memoryBooks struct {
	mu    sync.Mutex
	books map[string]Book
	turns map[string]int
}

func (m *memoryBooks) Get(_ context.Context, agent string) (*Book, string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.books[agent]
	if !ok {
		return nil, "", nil
	}
	shares := map[string]Share{}
	maps.Copy(shares, b.Shares)
	b.Shares = shares
	return &b, strconv.Itoa(m.turns[agent]), nil
}

func (m *memoryBooks) Put(_ context.Context, agent string, b Book, version string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := ""
	if _, ok := m.books[agent]; ok {
		now = strconv.Itoa(m.turns[agent])
	}
	if now != version {
		return "", errConflict
	}
	m.books[agent] = b
	m.turns[agent]++
	return strconv.Itoa(m.turns[agent]), nil
}

// badBooks are reached over a network that fails, now and then only on the way
// back, and now and then long after everybody gave up.
type badBooks struct {
	Books

	rng  func() int // percent
	away *atomic.Bool
	dead *atomic.Bool
	late *sync.WaitGroup
}

var errAway = errors.New("the API server is away")

func (b badBooks) Get(ctx context.Context, agent string) (*Book, string, error) {
	if b.dead.Load() || b.away.Load() || b.rng() < 3 {
		return nil, "", errAway
	}
	return b.Books.Get(ctx, agent)
}

func (b badBooks) Put(ctx context.Context, agent string, book Book, version string) (string, error) {
	switch n := b.rng(); {
	case b.dead.Load() || b.away.Load() || n < 3:
		return "", errAway
	case n < 6: // written, and nobody is told
		b.Books.Put(ctx, agent, book, version) //nolint:errcheck // as said
		return "", errAway
	case n < 9: // written later, if that is still possible
		b.late.Add(1)
		time.AfterFunc(time.Duration(n)*time.Millisecond, func() {
			defer b.late.Done()
			b.Books.Put(ctx, agent, book, version) //nolint:errcheck // as said
		})
		return "", errAway
	}
	return b.Books.Put(ctx, agent, book, version)
}

// replica is a meter that can be killed and started again.
type replica struct {
	dir   string
	front atomic.Pointer[Server]
	dead  *atomic.Bool
	away  *atomic.Bool
	start func(dir string) *Server
	mu    sync.Mutex
}

// deadTransport goes nowhere once its process is dead.
type deadTransport struct {
	http.RoundTripper

	dead *atomic.Bool
}

func (d deadTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.dead.Load() {
		return nil, errors.New("dead")
	}
	return d.RoundTripper.RoundTrip(r)
}

// kill leaves of a replica what kill -9 leaves: the journal as it is at that moment.
func (r *replica) kill(t testing.TB, keepJournal bool) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.front.Load()
	r.dead.Store(true)
	next := t.TempDir()
	if keepJournal {
		if err := old.meter.journal.db.View(func(tx *bbolt.Tx) error {
			return tx.CopyFile(filepath.Join(next, "tokens.db"), 0o600)
		}); err != nil {
			t.Error(err)
		}
	}
	r.dead, r.dir = &atomic.Bool{}, next
	r.front.Store(r.start(next))
}

const hardPrices = `models:
  gemini-3.8-flash: {input: "0.75", cachedInput: "0.075", output: "3.75"}
`

// TestHardCapHolds: two meters, 2 to 50 loops of calls, answers that break off,
// callers that leave, an API server that is away now and then, and meters that are
// killed, with and without their journals. The provider's bill never passes the
// cap.
func TestHardCapHolds(t *testing.T) {
	worlds := 3
	if n, err := strconv.Atoi(os.Getenv("METER_WORLDS")); err == nil {
		worlds = n
	}
	for seed := range worlds {
		t.Run(strconv.Itoa(seed), func(t *testing.T) {
			hardWorld(t, uint64(seed), seed%3 != 0)
		})
	}
}

func hardWorld(t *testing.T, seed uint64, troubled bool) {
	t.Helper()
	var mu sync.Mutex
	source := rand.New(rand.NewPCG(seed, 7))
	random := func(n int) int {
		mu.Lock()
		defer mu.Unlock()
		return source.IntN(n)
	}
	provider := fakeprovider.New()
	provider.Answer = func(r fakeprovider.Request) *fakeprovider.Plan {
		most := gjson.GetBytes(r.Body, "generationConfig.maxOutputTokens").Int()
		if most == 0 {
			t.Error("a call went out without a bound")
		}
		plan := &fakeprovider.Plan{
			Agent: "bot", Model: "gemini-3.8-flash", Events: 1 + random(3),
			Tokens: usage.Tokens{usage.Input: uint64(random(len(r.Body))), usage.Output: uint64(random(int(most) / 2)), usage.Thoughts: uint64(random(int(most) / 2))},
		}
		if troubled && random(10) == 0 {
			plan.BreakAfter = 1 + random(2)
		}
		return plan
	}
	up := httptest.NewServer(provider)
	defer up.Close()

	books := &memoryBooks{books: map[string]Book{}, turns: map[string]int{}}
	capUSD := 0.02 + float64(random(100))/100
	budget := Budget{Agent: "bot", Namespace: "agent-bot", UID: "u", Cap: usdOf(capUSD), Enforced: true, Period: v1alpha1.PeriodLifetime, Mode: ModeHard}
	var late sync.WaitGroup
	replicas := make([]*replica, 2)
	for i := range replicas {
		r := &replica{dead: &atomic.Bool{}, away: &atomic.Bool{}}
		r.start = func(dir string) *Server {
			s := newServer(t, up.URL, func(f *Flags) {
				f.Journal, f.ConfirmCallers, f.Name = dir, false, fmt.Sprint("r", i)
				f.HardWait, f.Limits.MaxOutput = 500*time.Millisecond, 2000
			})
			if err := s.meter.state.SetPrices(hardPrices); err != nil {
				t.Error(err)
			}
			s.meter.state.SetBudgets([]Budget{budget})
			s.meter.proxy = s.meter.newProxy(deadTransport{http.DefaultTransport, r.dead})
			rng := func() int { return 100 }
			if troubled {
				rng = func() int { return random(100) }
			}
			s.UseBooks(badBooks{books, rng, r.away, r.dead, &late})
			return s
		}
		r.front.Store(r.start(t.TempDir()))
		replicas[i] = r
	}

	loops := 2 + random(49)
	stop, answered := make(chan struct{}), make(chan struct{}, 1000)
	var wg, trouble sync.WaitGroup
	if troubled {
		trouble.Go(func() {
			for after := 1; ; {
				r := replicas[random(2)]
				select {
				case <-stop:
					r.away.Store(false)
					return
				case <-answered:
					// As often as calls come back: between a few of them and the next few.
					if after--; after > 0 {
						continue
					}
					after = 1 + random(2*loops)
				}
				switch random(4) {
				case 0:
					r.kill(t, true)
				case 1:
					r.kill(t, random(4) > 0)
				case 2:
					r.away.Store(!r.away.Load())
				default:
					r.away.Store(false)
				}
			}
		})
	}
	for range loops {
		wg.Go(func() {
			for refused, calls := 0, 0; refused < 3 && calls < 200; calls++ {
				h := replicas[random(2)].front.Load().meter
				ctx, cancel := context.WithCancel(t.Context())
				r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/agents/bot/gemini/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse",
					strings.NewReader(`{"contents":[{"role":"user","parts":[{"text":"`+strings.Repeat("x", 500+random(3000))+`"}]}]}`))
				w := httptest.NewRecorder()
				leaves := troubled && random(8) == 0
				if leaves {
					time.AfterFunc(time.Duration(random(3))*time.Millisecond, cancel)
				}
				func() {
					defer func() { _ = recover() }() // http.ErrAbortHandler, as a server takes it
					h.ServeHTTP(w, r)
				}()
				cancel()
				if w.Code == http.StatusPaymentRequired {
					refused++
				}
				select {
				case answered <- struct{}{}:
				default: // there is trouble enough
				}
				io.Copy(io.Discard, w.Body) //nolint:errcheck // memory
			}
		})
	}
	wg.Wait()
	close(stop)
	trouble.Wait()
	for _, r := range replicas {
		r.front.Load().meter.drains.wait()
	}
	late.Wait()
	var bill USD
	table, err := pricing.Read(hardPrices)
	if err != nil {
		t.Fatal(err)
	}
	p := Prices{table: table, now: time.Now}
	for l, tokens := range provider.Bill() {
		bill += p.Cost(l.Model, "", "", tokens)
	}
	b := books.books["bot"]
	t.Logf("cap %s, billed %s, committed %s, %d loops, %d calls", dollars(budget.Cap), dollars(bill), dollars(b.committed()), loops, provider.Calls())
	if bill > budget.Cap || b.committed() > budget.Cap {
		t.Errorf("the cap is %s USD, but %s were billed and %s committed: %+v", dollars(budget.Cap), dollars(bill), dollars(b.committed()), b)
	}
	if provider.Calls() == 0 || (!troubled && bill < budget.Cap/2) {
		t.Errorf("little of the budget could be spent: %s of %s USD", dollars(bill), dollars(budget.Cap))
	}
}
