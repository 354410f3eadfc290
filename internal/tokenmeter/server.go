package tokenmeter

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"whisperops.io/functions/internal/tokenmeter/usage"
)

// A Server is a meter with its listeners.
type Server struct {
	flags   Flags
	log     logr.Logger
	meter   *Meter
	replica string
	pods    *Pods
	cluster *cluster
	peers   *peers

	calls, metrics net.Listener
	registry       *prometheus.Registry
	counters       *counters
	started        time.Time
	ending         atomic.Bool
}

// NewServer opens the journal and the listeners.
func NewServer(f Flags, log logr.Logger) (*Server, error) {
	if f.Journal != "" {
		if err := os.MkdirAll(filepath.Clean(f.Journal), 0o700); err != nil {
			return nil, fmt.Errorf("cannot make the journal's folder: %w", err)
		}
	}
	j, broken, err := OpenJournal(f.Journal)
	if err != nil {
		return nil, err
	}
	if broken {
		log.Error(errors.New("unreadable journal"), "The journal could not be read and was put aside; the counters begin anew", "folder", f.Journal)
	}
	replica, err := replicaName(f.Name, j)
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	s := &Server{flags: f, log: log, replica: replica, pods: newPods(), registry: prometheus.NewRegistry(), started: time.Now()}
	s.pods.restore(j.Kept(statePods))
	m := &Meter{
		limits: f.Limits, upstreams: f.upstreams(), journal: j, metrics: newMetrics(s.registry), state: newState(j, time.Now, f.Limits.CallTime),
		callers: s.pods, drains: newDrains(f.Limits.DrainCalls, f.Limits.DrainTime), log: log, now: time.Now,
		models: map[string]map[string]bool{}, answered: map[string][]string{},
	}
	if !f.ConfirmCallers {
		m.callers = anyone{}
		m.metrics.unconfirmed.Set(1)
		log.Error(errors.New("callers are not confirmed"), "ANY CALLER CAN SPEND ANY AGENT'S MONEY: --confirm-callers=false is for a laptop")
	}
	if f.Peers != "" {
		s.peers = newPeers(replica, f.Peers, log)
		m.state.peers = s.peers.unscraped
		s.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "whisperops_meter_peers", Help: "Other replicas that told this one, in the last 40 seconds, what they spent.",
		}, s.peers.alive))
	}
	m.ids.Store(uint64(time.Now().UnixNano()))
	m.proxy = m.newProxy(authorize{transport(), m.upstreams})
	s.meter = m
	for _, c := range j.crashed() {
		m.metrics.uncounted.WithLabelValues(c.Agent, c.Namespace, "crash").Inc()
		log.Info("A call was under way when the process before died; what it used beyond what is counted as estimated is not known", "agent", c.Agent, "model", c.Asked, "estimated", tokensOf(c.Known))
	}
	s.counters = newCounters(j, m.state.agents, time.Now, f.LegacyMetrics)
	s.registry.MustRegister(s.counters, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if s.calls, err = listen(f.Host, f.Port); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot listen for calls: %w", err), j.Close())
	}
	if s.metrics, err = listen(f.Host, f.MetricsPort); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot listen for scrapes: %w", err), s.calls.Close(), j.Close())
	}
	return s, nil
}

// replicaName is a name that stays with the journal, and only with it: what a
// replica had of a hard budget is known to its journal alone. A journal may have
// lost its last writes with the machine's power, so that it is another replica's
// after a boot.
func replicaName(prefix string, j *Journal) (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		boot = []byte("unknown")
	}
	kept, last, _ := strings.Cut(string(j.Kept(stateReplica)), " ")
	if kept != "" && last == strings.TrimSpace(string(boot)) {
		return kept, nil
	}
	id := make([]byte, 6)
	if _, err := rand.Read(id); err != nil {
		return "", err
	}
	name := hex.EncodeToString(id)
	if prefix != "" {
		name = prefix + "." + name
	}
	j.Keep(stateReplica, []byte(name+" "+strings.TrimSpace(string(boot))))
	return name, nil
}

const stateReplica = "replica"

// transport to the providers. It adds no compression of its own: answers pass as
// they are.
func transport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          1024,
		MaxIdleConnsPerHost:   512,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
		// An answer that comes fast goes on in fewer, larger pieces: each costs two
		// calls of the kernel. One that comes slowly is not held back by it.
		ReadBufferSize: 16 << 10,
	}
}

// Address is where calls are served.
func (s *Server) Address() string { return s.calls.Addr().String() }

// MetricsAddress is where metrics are served.
func (s *Server) MetricsAddress() string { return s.metrics.Addr().String() }

// Watch follows budgets, prices and pods until ctx is done.
func (s *Server) Watch(ctx context.Context, cfg *rest.Config) error {
	c, err := newCluster(cfg, s.meter.state, s.pods, s.meter.journal, s.flags.tableKey(), s.log)
	if err != nil {
		return err
	}
	s.cluster = c
	direct, err := client.New(cfg, client.Options{Scheme: c.scheme, Mapper: c.mapper})
	if err != nil {
		return err
	}
	s.UseBooks(configMaps{direct, s.flags.Namespace})
	return c.start(ctx)
}

// UseBooks makes hard budgets possible.
func (s *Server) UseBooks(b Books) {
	s.meter.hard = newTreasury(b, s.replica, s.meter.journal, s.flags.HardWait, s.log, s.meter.now)
}

// warmUp is how long a meter that has no news from the API server is not ready.
const warmUp = 15 * time.Second

func (s *Server) ready() error {
	switch {
	case s.ending.Load():
		return errors.New("ending")
	case s.cluster != nil && !s.cluster.ready() && time.Since(s.started) < warmUp:
		return errors.New("reading budgets, prices and pods")
	}
	return nil
}

func (s *Server) ops() http.Handler {
	mux := http.NewServeMux()
	metrics := promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{ErrorLog: quiet(s.log)})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, r *http.Request) {
		at := time.Now()
		metrics.ServeHTTP(w, r)
		s.meter.state.Scraped(at, s.counters.mark(at))
	})
	mux.HandleFunc(peersPath, s.meter.state.tell(s.replica))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") }) //nolint:errcheck,gosec // a probe
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n") //nolint:errcheck,gosec // a probe
	})
	return mux
}

// Run serves until ctx is done, and then until what is under way has ended.
func (s *Server) Run(ctx context.Context) error {
	calls := &http.Server{Handler: http.HandlerFunc(s.serveCall), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: quiet(s.log)}
	ops := &http.Server{Handler: s.ops(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet(s.log)}
	failed := make(chan error, 2)
	serve := func(srv *http.Server, l net.Listener) {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- err
		}
	}
	serving, over := context.WithCancel(context.WithoutCancel(ctx))
	defer over()
	if s.peers != nil {
		go s.peers.run(serving)
	}
	go serve(calls, s.calls)
	go serve(ops, s.metrics)
	var err error
	select {
	case <-ctx.Done():
		err = s.linger(failed)
	case err = <-failed:
	}
	return errors.Join(err, s.shutdown(calls, ops)) //nolint:contextcheck // ctx is done; it has its own time
}

// serveCall has callers of a meter that is ending take another connection for their
// next call, which leads to another replica: one that is closed under a call's feet
// is an error for whoever made it.
func (s *Server) serveCall(w http.ResponseWriter, r *http.Request) {
	if s.ending.Load() {
		w.Header().Set("Connection", "close")
	}
	s.meter.ServeHTTP(w, r)
}

// linger serves on while the meter's Service still leads to it: that a pod isn't
// ready takes its while to get around.
func (s *Server) linger(failed <-chan error) error {
	s.ending.Store(true)
	s.log.Info("Ending: new calls are served for a while", "for", s.flags.LingerTime.String())
	select {
	case err := <-failed:
		return err
	case <-time.After(s.flags.LingerTime):
		return nil
	}
}

// shutdown lets calls end, and waits for their tokens to be read.
func (s *Server) shutdown(calls, ops *http.Server) error {
	s.ending.Store(true)
	s.log.Info("Ending: no new calls, those under way go on", "for", s.flags.ShutdownTime.String())
	ctx, cancel := context.WithTimeout(context.Background(), s.flags.ShutdownTime)
	defer cancel()
	err := calls.Shutdown(ctx)
	done := make(chan struct{})
	go func() {
		s.meter.drains.wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.log.Info("Some calls did not end in time")
	}
	if s.meter.hard != nil {
		s.meter.hard.close()
	}
	if s.counters.stale() {
		s.log.Info("Waiting for the counters to be read once more", "for", s.flags.ScrapeTime.String())
		s.counters.wait(s.flags.ScrapeTime)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = calls.Close()
	}
	return errors.Join(err, ops.Close(), s.meter.journal.Close())
}

// quiet turns what net/http logs into debug lines: mostly callers that left.
func quiet(log logr.Logger) *stdlog.Logger {
	return stdlog.New(lines{log.V(1)}, "", 0)
}

type lines struct{ log logr.Logger }

func (l lines) Write(p []byte) (int, error) {
	l.log.Info("net/http", "message", strings.TrimSpace(string(p)))
	return len(p), nil
}

// scrapes of the counters.
type scrapes struct {
	mu      sync.Mutex
	last    time.Time
	sum     uint64         // of all tokens, as they were shown last
	spent   map[string]USD // as it was then
	changed chan struct{}
}

// mark says that the counters were read, and returns what agents had spent by
// what was shown.
func (c *counters) mark(at time.Time) map[string]USD {
	c.scrapes.mu.Lock()
	defer c.scrapes.mu.Unlock()
	c.scrapes.last = at
	if c.scrapes.changed != nil {
		close(c.scrapes.changed)
		c.scrapes.changed = nil
	}
	return c.scrapes.spent
}

func tokensOf(entries []Entry) uint64 {
	var n uint64
	for _, e := range entries {
		n += e.Tokens.Sum()
	}
	return n
}

func sum(all map[Key]usage.Tokens) uint64 {
	var n uint64
	for _, t := range all {
		n += t.Sum()
	}
	return n
}

// stale says whether somebody reads the counters, and hasn't since they last moved.
func (c *counters) stale() bool {
	tokens, _ := c.journal.Snapshot()
	c.scrapes.mu.Lock()
	defer c.scrapes.mu.Unlock()
	return !c.scrapes.last.IsZero() && c.scrapes.sum != sum(tokens)
}

// wait for the next scrape, for some time.
func (c *counters) wait(d time.Duration) {
	c.scrapes.mu.Lock()
	if c.scrapes.changed == nil {
		c.scrapes.changed = make(chan struct{})
	}
	changed := c.scrapes.changed
	c.scrapes.mu.Unlock()
	select {
	case <-changed:
	case <-time.After(d):
	}
}

// Handler serves calls, for whoever listens by themselves.
func (s *Server) Handler() http.Handler { return s.meter }

// Metrics serves metrics and probes, for whoever listens by themselves.
func (s *Server) Metrics() http.Handler { return s.ops() }

// SetBudgets and SetPrices are for a meter without an API server.
func (s *Server) SetBudgets(b []Budget) { s.meter.state.SetBudgets(b) }

// SetPrices replaces the price table, which is the text of its ConfigMap's key.
func (s *Server) SetPrices(text string) error { return s.meter.state.SetPrices(text) }

// Counted is what was counted so far, by agent and model.
func (s *Server) Counted() map[[2]string]usage.Tokens {
	out := map[[2]string]usage.Tokens{}
	tokens, _ := s.meter.journal.Snapshot()
	for k, t := range tokens {
		l := [2]string{k.Agent, k.Model}
		if sum := out[l].Plus(t); sum.Sum() > 0 {
			out[l] = sum
		}
	}
	return out
}

// Close ends a meter that nobody runs.
func (s *Server) Close() error {
	s.meter.drains.wait()
	return errors.Join(s.calls.Close(), s.metrics.Close(), s.meter.journal.Close())
}
