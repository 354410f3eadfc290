package tokenmeter

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
)

// A replica that has no news lets its peers wait, from its first minute on: answered at
// once, two of them would ask each other without end.
func TestPeersWaitForNews(t *testing.T) {
	for _, tc := range []struct {
		reason string
		query  string
		spent  bool // before it is asked
		waits  bool
	}{
		{reason: "Who knows nothing is told at once.", query: ""},
		{reason: "Nothing was spent yet, and the peer knows that.", query: "?after=0", waits: true},
		{reason: "The peer knows less.", query: "?after=0", spent: true},
		{reason: "The peer knows all.", query: "?after=1", spent: true, waits: true},
		{reason: "The peer knows another life of this replica.", query: "?after=57", spent: true},
		{reason: "What is no number is no version.", query: "?after=x"},
	} {
		synctest.Test(t, func(t *testing.T) {
			j, _, err := OpenJournal("")
			if err != nil {
				t.Fatal(err)
			}
			defer j.Close() //nolint:errcheck // it is in memory
			spend := func() {
				if err := j.Add(1, true, "housing-bot", usdOf(0.25), Entry{}); err != nil {
					t.Fatal(err)
				}
			}
			s := newState(j, time.Now, 0)
			s.SetBudgets([]Budget{{Agent: "housing-bot"}})
			if tc.spent {
				spend()
			}
			began := time.Now()
			w := httptest.NewRecorder()
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.tell("meter-0")(w, httptest.NewRequestWithContext(context.Background(), http.MethodGet, peersPath+tc.query, nil))
			}()
			synctest.Wait()
			select {
			case <-done:
				if tc.waits {
					t.Errorf("%s\nanswered at once: %s", tc.reason, w.Body)
				}
				return
			default:
			}
			if !tc.waits {
				t.Errorf("%s\nnot answered at once", tc.reason)
			}
			time.Sleep(time.Second) // of the bubble's clock
			spend()
			<-done
			var out said
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Agents["housing-bot"].Spent == 0 {
				t.Errorf("%s\nafter the news: %s (%v)", tc.reason, w.Body, err)
			}
			if took := time.Since(began); took != time.Second {
				t.Errorf("%s\nthe news took %s, want none", tc.reason, took-time.Second)
			}
		})
	}
}

// TestPeersAlive: a replica that is silent for longer than one without news may be is
// not counted any more.
func TestPeersAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		p := newPeers("meter-0", "unused:1", logr.Discard())
		p.hear(said{Replica: "meter-1", Version: 1})
		p.hear(said{Replica: "meter-2", Version: 1})
		if n := p.alive(); n != 2 {
			t.Errorf("two were heard of, and %v are alive", n)
		}
		time.Sleep(peersPoll + time.Second) // of the bubble's clock
		p.hear(said{Replica: "meter-2", Version: 2})
		if n := p.alive(); n != 2 {
			t.Errorf("one that has no news is taken for dead after %s", time.Since(now))
		}
		time.Sleep(peersPoll)
		if n := p.alive(); n != 1 {
			t.Errorf("meter-1 has been silent for %s, and %v are alive", time.Since(now), n)
		}
	})
}
