package servers

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/test/process"
)

var mimirBinary = flag.String("mimir", "", "path of a mimir binary")

// mimirConfig is one process that does everything, on loopback. Without an address
// for the frontend and for the scheduler's ring, queries wait for ever.
const mimirConfig = `
target: all
multitenancy_enabled: true
usage_stats: {enabled: false}
server: {http_listen_address: 127.0.0.1, http_listen_port: HTTP, grpc_listen_address: 127.0.0.1, grpc_listen_port: GRPC, log_level: warn}
common: {storage: {backend: filesystem, filesystem: {dir: DIR/common}}}
blocks_storage: {storage_prefix: blocks, tsdb: {dir: DIR/tsdb}, bucket_store: {sync_dir: DIR/sync}}
ruler_storage: {storage_prefix: ruler}
alertmanager_storage: {storage_prefix: alertmanager}
activity_tracker: {filepath: DIR/activity}
ingester: {ring: {instance_addr: 127.0.0.1, replication_factor: 1, min_ready_duration: 0s, kvstore: {store: inmemory}}}
distributor: {ring: {instance_addr: 127.0.0.1, kvstore: {store: inmemory}}}
store_gateway: {sharding_ring: {instance_addr: 127.0.0.1, replication_factor: 1, kvstore: {store: inmemory}}}
compactor: {data_dir: DIR/compactor, sharding_ring: {instance_addr: 127.0.0.1, kvstore: {store: inmemory}}}
ruler: {rule_path: DIR/rules, ring: {instance_addr: 127.0.0.1, kvstore: {store: inmemory}}}
frontend: {address: 127.0.0.1}
query_scheduler: {ring: {instance_addr: 127.0.0.1, kvstore: {store: inmemory}}}
memberlist: {bind_addr: [127.0.0.1], bind_port: GOSSIP}
limits: {out_of_order_time_window: 24h, ingestion_rate: 1e6, ingestion_burst_size: 1000000, name_validation_scheme: utf8}
`

// startMimir starts one for the tenant agents, with some flags of its own.
func startMimir(t *testing.T, flags ...string) *server {
	t.Helper()
	if *mimirBinary == "" || *prometheusBinary == "" {
		t.Skip("needs a Mimir and a Prometheus: make test-servers-long")
	}
	port := func() string { _, p, _ := strings.Cut(process.FreeAddress(t), ":"); return p }
	dir, http := t.TempDir(), port()
	config := filepath.Join(dir, "mimir.yaml")
	text := strings.NewReplacer("DIR", dir, "HTTP", http, "GRPC", port(), "GOSSIP", port()).Replace(mimirConfig)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	process.Run(t, "mimir", *mimirBinary, append([]string{"-config.file=" + config}, flags...)...)
	root := "http://127.0.0.1:" + http
	s := &server{name: "Mimir", url: root + "/prometheus", tenant: "agents", write: root + "/api/v1/push"}
	s.ready(t, root+"/ready")
	return s
}

func TestSameFigureOfMimir(t *testing.T) {
	s := startMimir(t)
	sameFigure(t, usual(t), s)
}

// A tenant sees its own samples, and who names none, or a wrong one, is told so.
func TestMimirTenants(t *testing.T) {
	s := startMimir(t)
	from := time.Now().Add(-time.Hour).Truncate(time.Minute)
	l := hour("tenant", from)
	s.store(t, l.series)
	for _, tc := range []struct{ tenant, why, want string }{
		{"agents", "The one that has them.", "counted " + l.usd().String()},
		{"", "HTTP 401 and plain text: no org id.", v1alpha1.ReasonUnauthorized},
		{"nobody", "Unknown to Mimir is empty, and that is no error: NeverSeen says it.", "counted 0"},
		{"agents|others", "Two tenants, where Mimir may ask one only.", v1alpha1.ReasonQueryFailed},
	} {
		t.Run("tenant "+tc.tenant, func(t *testing.T) {
			as := *s
			as.tenant = tc.tenant
			b := newBudget(t, &as, "tenant", from, nil)
			if reason, _, _ := strings.Cut(said(b.look(t, from.Add(time.Hour))), ": "); reason != tc.want {
				t.Errorf("it says %s, want %s\n%s", reason, tc.want, tc.why)
			}
		})
	}
	// One who counted as the right tenant holds the figure when it becomes a wrong one.
	b := s.shown(t, "tenant", from, "counted "+l.usd().String())
	wrong := *s
	wrong.tenant = "nobody"
	b.querier = newBudget(t, &wrong, "tenant", from, nil).querier
	if o := b.look(t, from.Add(time.Hour+time.Minute)); !strings.HasPrefix(said(o), v1alpha1.ReasonSamplesVanished) {
		t.Errorf("with another tenant it says %s", said(o))
	}
}

// What Mimir's limits refuse is named as a limit, in the same words at every look.
func TestMimirLimits(t *testing.T) {
	from := time.Now().Add(-2 * time.Hour).Truncate(time.Minute)
	many := crowded(from, 60, 100, 100)
	for _, tc := range []struct{ flag, why, want string }{
		{"-querier.max-fetched-series-per-query=10", "HTTP 422.", v1alpha1.ReasonTooManySamples},
		{"-querier.max-fetched-chunks-per-query=10", "HTTP 422.", v1alpha1.ReasonTooManySamples},
		{"-querier.max-estimated-memory-consumption-per-query=100", "HTTP 422.", v1alpha1.ReasonTooManySamples},
		{"-query-frontend.max-total-query-length=1m", "HTTP 400: an hour is read.", v1alpha1.ReasonTooManySamples},
		{"-querier.max-samples=10", "It does not bound samples that are not computed with, so that all is counted.", "counted 0.07425"},
	} {
		t.Run(tc.flag, func(t *testing.T) {
			s := startMimir(t, tc.flag)
			s.store(t, many)
			b := newBudget(t, s, "many", from, nil)
			words := map[string]int{}
			for range 5 {
				words[said(b.look(t, from.Add(time.Hour)))]++
			}
			if len(words) != 1 {
				t.Fatalf("5 looks have several words for it: %v\n%s", words, tc.why)
			}
			for w := range words {
				if reason, _, _ := strings.Cut(w, ": "); reason != tc.want {
					t.Errorf("want %s: %s\n%s", tc.want, w, tc.why)
				}
			}
		})
	}
}

// F8: a lookback of the server that is longer than what settles takes nothing away, also
// from pods that are older than it.
func TestMimirLookback(t *testing.T) {
	s := startMimir(t, "-querier.max-query-lookback=70m")
	from := time.Now().Add(-10 * time.Minute).Truncate(time.Minute)
	l := &life{}
	p := l.pod("lookback", "worker-0")
	for at := from.Add(-3 * time.Hour); at.Before(from.Add(8 * time.Minute)); at = at.Add(every) {
		if at.After(from) {
			l.uses(100, 0, 10) // what was used before the budget isn't owed
		}
		p.input, p.output = p.input+100, p.output+10
		p.scrape(at)
	}
	s.store(t, l.series)
	b := newBudget(t, s, "lookback", from, nil)
	for at := from.Add(2 * time.Minute); at.Before(from.Add(10 * time.Minute)); at = at.Add(2 * time.Minute) {
		if o := b.look(t, at); o.Problem != nil || *o.Spent > l.usd() {
			t.Fatalf("at %s: %s; used %s", at.Sub(from), said(o), l.usd())
		}
	}
	if o := b.look(t, from.Add(10*time.Minute)); said(o) != "counted "+l.usd().String() {
		t.Errorf("%s; used %s", said(o), l.usd())
	}
}
