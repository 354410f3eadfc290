package simulation

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/money"
	"whisperops.io/functions/internal/tokenmeter"
)

// metered are the runaway agents of TestOverspend behind the real token-meter. It
// is asked before each call, so that how soon the control plane looks doesn't matter,
// and neither does how often agents export.
var metered = []struct {
	name string
	mode tokenmeter.Mode
	p95  float64 // USD past the cap, at most
}{
	{"token-meter, soft", tokenmeter.ModeSoft, 0.25 * capUSD},
	{"token-meter, hard", tokenmeter.ModeHard, 0},
}

// TestMetered: in mode soft what is spent past the cap was in flight when it was
// reached; in mode hard nothing is.
func TestMetered(t *testing.T) {
	if testing.Short() || *seed != 0 {
		t.Skip("takes a minute")
	}
	for _, m := range metered {
		rows, err := overspendOf(m.mode)
		if err != nil {
			t.Fatal(err)
		}
		t.Log("\n" + tableHead + tableRow(m.name, rows, "each call"))
		if p95 := rows[len(rows)*95/100-1]; p95 > m.p95 {
			t.Errorf("%s: the 95th percentile is %+.2f USD past the cap, want at most %+.2f", m.name, p95, m.p95)
		}
		if m.mode == tokenmeter.ModeHard && rows[len(rows)-1] > 0 {
			t.Errorf("a hard budget was passed by %v USD", rows[len(rows)-1])
		}
	}
}

// overspendOf all runaways, sorted.
func overspendOf(mode tokenmeter.Mode) ([]float64, error) {
	out, errs := make([]float64, runaways), make([]error, runaways)
	var wg sync.WaitGroup
	for w := range 8 { // they mostly wait for each other
		wg.Go(func() {
			for i := w; i < runaways; i += 8 {
				if out[i], errs[i] = newRunaway(uint64(i)+1, step).meteredPast(mode); errs[i] != nil {
					errs[i] = fmt.Errorf("seed %d: %w", i+1, errs[i])
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(out)
	return out, errors.Join(errs...)
}

// provider holds each call until its time has come.
type provider struct {
	mu      sync.Mutex
	arrived map[string]chan struct{}
	release map[string]chan struct{}
	calls   []call
}

func (p *provider) gate(of map[string]chan struct{}, id string) chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if of[id] == nil {
		of[id] = make(chan struct{})
	}
	return of[id]
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) //nolint:errcheck // a test
	id := r.Header.Get("X-Call")
	n, err := strconv.Atoi(id)
	if err != nil {
		return
	}
	close(p.gate(p.arrived, id))
	<-p.gate(p.release, id)
	c := p.calls[n]
	json.NewEncoder(w).Encode(map[string]any{ //nolint:errcheck // a test
		"candidates":   []any{map[string]any{"finishReason": "STOP"}},
		"modelVersion": models[0],
		"usageMetadata": map[string]any{
			"promptTokenCount": c.input, "candidatesTokenCount": c.output, "totalTokenCount": c.input + c.output,
		},
	})
}

// books of one meter, in memory.
type books struct {
	mu    sync.Mutex
	of    map[string]tokenmeter.Book
	turns int
}

func (b *books) Get(_ context.Context, agent string) (*tokenmeter.Book, string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	book, ok := b.of[agent]
	if !ok {
		return nil, "", nil
	}
	book.Shares = maps.Clone(book.Shares)
	return &book, strconv.Itoa(b.turns), nil
}

func (b *books) Put(_ context.Context, agent string, book tokenmeter.Book, version string) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.of[agent]; ok && version != strconv.Itoa(b.turns) {
		return "", errors.New("it was written meanwhile")
	}
	b.of[agent] = book
	b.turns++
	return strconv.Itoa(b.turns), nil
}

// meteredPast is what the runaway spends past the cap.
func (a *runaway) meteredPast(mode tokenmeter.Mode) (float64, error) {
	p := &provider{arrived: map[string]chan struct{}{}, release: map[string]chan struct{}{}, calls: a.calls}
	up := httptest.NewServer(p)
	defer up.Close()
	f, err := tokenmeter.Parse([]string{"--host=127.0.0.1", "--port=0", "--metrics-port=0", "--journal=", "--confirm-callers=false", "--hard-wait=20ms", "--gemini-url=" + up.URL}, func(string) string { return "" }, os.Stderr)
	if err != nil {
		return 0, err
	}
	s, err := tokenmeter.NewServer(f, logr.Discard())
	if err != nil {
		return 0, err
	}
	defer s.Close() //nolint:errcheck // a test
	if err := s.SetPrices(Prices); err != nil {
		return 0, err
	}
	s.UseBooks(&books{of: map[string]tokenmeter.Book{}})
	s.SetBudgets([]tokenmeter.Budget{{Agent: AgentName, Namespace: namespace, UID: "u", Cap: capUSD * money.Dollar, Enforced: true, Period: v1alpha1.PeriodLifetime, Mode: mode}})

	type event struct {
		at   time.Time
		call int
		ends bool
	}
	var events []event
	for i, c := range a.calls {
		events = append(events, event{c.start, i, false}, event{c.end, i, true})
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	done := make([]chan int, len(a.calls))
	open, refused := 0, 0
	defer func() {
		for i, d := range done { // those that are under way when all is known
			if d != nil {
				close(p.gate(p.release, strconv.Itoa(i)))
				<-d
			}
		}
	}()
	sum := Tokens{}
	for _, e := range events {
		c := a.calls[e.call]
		id := strconv.Itoa(e.call)
		switch {
		case !e.ends:
			r := httptest.NewRequest(http.MethodPost, "/agents/"+AgentName+"/gemini/v1beta/models/"+models[0]+":generateContent",
				strings.NewReader(`{"generationConfig":{"maxOutputTokens":8192},"contents":[{"role":"user","parts":[{"text":"`+strings.Repeat("four", int(c.input))+`"}]}]}`))
			r.Header.Set("X-Call", id)
			answered := make(chan int, 1)
			go func() {
				w := httptest.NewRecorder()
				s.Handler().ServeHTTP(w, r)
				answered <- w.Code
			}()
			select {
			case <-p.gate(p.arrived, id):
				done[e.call], refused = answered, 0
				open++
				sum.add(Tokens{{models[0], v1alpha1.TokenInput}: c.input, {models[0], v1alpha1.TokenOutput}: c.output})
			case code := <-answered:
				// The book may be in another call's hands for longer than this one waits.
				if code != http.StatusPaymentRequired && code != http.StatusServiceUnavailable {
					return 0, fmt.Errorf("a call was refused with %d", code)
				}
				refused++
			}
		case done[e.call] != nil:
			close(p.gate(p.release, id))
			code := <-done[e.call]
			done[e.call] = nil
			if code != http.StatusOK {
				return 0, fmt.Errorf("a call was answered %d", code)
			}
			open--
		}
		if open == 0 && refused >= 20 {
			return sum.USD() - capUSD, nil
		}
	}
	return 0, fmt.Errorf("nobody stopped it: it spent %v USD", sum.USD())
}
