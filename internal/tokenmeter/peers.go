package tokenmeter

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// peers tell one replica what the others spent and nobody has scraped yet. Each
// asks each, and is answered when there is news: within milliseconds. A hard
// budget doesn't rest on it.
type peers struct {
	replica string
	address string // host:port; the host's addresses are the replicas'
	client  *http.Client
	looks   time.Duration // between two looks for the replicas' addresses
	log     logr.Logger

	mu    sync.Mutex
	said  map[string]said // by replica
	heard map[string]time.Time
	asks  map[string]context.CancelFunc
}

// said is what a replica says of itself.
type said struct {
	Replica string           `json:"replica"`
	Version uint64           `json:"version"`
	Agents  map[string]spent `json:"agents"`
}

// spent is what a replica spent for an agent, now and when it was scraped.
type spent struct {
	Spent USD    `json:"spent"`
	Marks []mark `json:"marks,omitempty"`
}

const (
	peersPath = "/spent"
	// maxPeers bounds the replicas that are remembered; most of them are gone.
	maxPeers  = 64
	peersPoll = 20 * time.Second
	// peersPause is the least between two asks: what many calls spend at once is one
	// piece of news.
	peersPause = 10 * time.Millisecond
)

func newPeers(replica, address string, log logr.Logger) *peers {
	return &peers{
		replica: replica, address: address, log: log, looks: 5 * time.Second,
		client: &http.Client{Timeout: peersPoll + 10*time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
		said:   map[string]said{}, heard: map[string]time.Time{}, asks: map[string]context.CancelFunc{},
	}
}

// unscraped is what other replicas spent for an agent after a time.
func (p *peers) unscraped(agent string, asOf time.Time) USD {
	p.mu.Lock()
	defer p.mu.Unlock()
	var sum USD
	for _, s := range p.said {
		a := s.Agents[agent]
		sum += since(a.Marks, a.Spent, asOf)
	}
	return sum
}

// run finds the other replicas and asks them, until ctx is done.
func (p *peers) run(ctx context.Context) {
	host, port, err := net.SplitHostPort(p.address)
	if err != nil {
		return
	}
	for {
		addrs, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			p.log.V(1).Info("Cannot find the other replicas", "host", host, "error", err.Error())
		} else {
			p.follow(ctx, addrs, port)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(p.looks):
		}
	}
}

// follow asks those at the addresses, and no others any more.
func (p *peers) follow(ctx context.Context, addrs []string, port string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	alive := map[string]bool{}
	for _, a := range addrs {
		a = net.JoinHostPort(a, port)
		alive[a] = true
		if p.asks[a] == nil {
			one, cancel := context.WithCancel(ctx)
			p.asks[a] = cancel
			go p.ask(one, a)
		}
	}
	for a, cancel := range p.asks {
		if !alive[a] {
			cancel()
			delete(p.asks, a)
		}
	}
}

// ask one replica, again and again.
func (p *peers) ask(ctx context.Context, address string) {
	known := "" // nothing yet: the answer comes at once
	for ctx.Err() == nil {
		pause := peersPause
		s, err := p.once(ctx, address, known)
		switch {
		case err != nil:
			known, pause = "", time.Second
		case s.Replica == p.replica:
			return // this is us
		default:
			known = "?after=" + strconv.FormatUint(s.Version, 10)
			p.hear(s)
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (p *peers) once(ctx context.Context, address, known string) (said, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+peersPath+known, http.NoBody) //nolint:gosec // the Service's DNS says who the others are
	if err != nil {
		return said{}, err
	}
	res, err := p.client.Do(r) //nolint:gosec // as above
	if err != nil {
		return said{}, err
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	var s said
	if err := json.NewDecoder(io.LimitReader(res.Body, 16<<20)).Decode(&s); err != nil {
		return said{}, err
	}
	return s, nil
}

func (p *peers) hear(s said) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.said[s.Replica]; ok || len(p.said) < maxPeers {
		p.said[s.Replica], p.heard[s.Replica] = s, time.Now()
	}
}

// alive is how many others answered lately: one that has no news answers when it was
// asked for peersPoll.
func (p *peers) alive() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0.0
	for _, at := range p.heard {
		if time.Since(at) < 2*peersPoll {
			n++
		}
	}
	return n
}

// tell answers the others: at once whoever knows nothing yet or another version than
// this, else when there is news. Version 0, before anything was spent, is one like any
// other.
func (s *State) tell(replica string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		after, err := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
		version, changed := s.journal.Changed()
		if err == nil && after == version {
			select {
			case <-changed:
			case <-r.Context().Done():
				return
			case <-time.After(peersPoll):
			}
			version, _ = s.journal.Changed()
		}
		out := said{Replica: replica, Version: version, Agents: map[string]spent{}}
		s.mu.RLock()
		for name := range s.budgets {
			marks := s.marks[name]
			if now := s.journal.Spent(name); now > 0 {
				out.Agents[name] = spent{Spent: now, Marks: append([]mark(nil), marks[max(0, len(marks)-2*keptMarks):]...)}
			}
		}
		s.mu.RUnlock()
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(out) //nolint:errcheck,gosec // whoever left asks again
	}
}
