package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"
)

// remote is the function's program behind gRPC.
type remote struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	client fnv1.FunctionRunnerServiceClient
}

func (r *remote) RunFunction(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	return r.client.RunFunction(ctx, req, grpc.WaitForReady(true))
}

// A phase is what one way to measure all agents once cost.
type phase struct {
	name             string
	took             time.Duration
	server, function float64 // CPU seconds
	serverMiB        float64 // the most that was resident
	functionMiB      float64
	samples          float64
	failed           int
}

// load measures all agents once a minute: not at all, as we do, and naively.
func load(ctx context.Context, o options, s *server, p *population) error {
	address, err := freeAddress()
	if err != nil {
		return err
	}
	fn, err := start(filepath.Dir(s.log.Name()), o.function, "--insecure", "--address", address, "--metrics-address", "")
	if err != nil {
		return err
	}
	defer fn.stop()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // the process behind it ends
	r := &remote{client: fnv1.NewFunctionRunnerServiceClient(conn)}

	agents := make([]*agent, 0, len(p.crowd))
	for _, name := range p.crowd {
		agents = append(agents, &agent{name: name, born: p.born[name], ledger: settled(p.born[name], p.end)})
	}
	ours := func(ctx context.Context, a *agent) error {
		problem, err := a.look(ctx, r, s.url)
		if err == nil && problem != "" {
			err = errors.New(problem)
		}
		return err
	}
	naively := func(ctx context.Context, a *agent) error {
		now := time.Now()
		for _, q := range naive(a.name, now.Sub(a.born)) {
			rsp, err := http.PostForm(s.url+"/api/v1/query", url.Values{"query": {q}})
			if err != nil {
				return err
			}
			_ = rsp.Body.Close() // only its status matters
			if rsp.StatusCode != http.StatusOK {
				return errors.New(rsp.Status)
			}
		}
		return ctx.Err()
	}

	// The first look at an agent asks where its series were before, once.
	if warm, err := measure(ctx, "warm-up", 0, agents, ours, s, fn); err != nil || warm.failed > len(agents)/100 {
		return errors.Errorf("cannot warm up: %v, %d of %d looks failed", err, warm.failed, len(agents))
	}
	var phases []phase
	for _, ph := range []struct {
		name string
		look func(context.Context, *agent) error
	}{
		{"scraping only", nil},
		{"fetch-spend", ours},
		{"`sum(increase(x[1d]))` of 3 metrics", naively},
	} {
		m, err := measure(ctx, ph.name, o.round, agents, ph.look, s, fn)
		if err != nil {
			return err
		}
		phases = append(phases, m)
	}
	fmt.Printf("| %d agents measured once in %s, each a day old, scraped every 30 s | Took | Samples read | Prometheus' CPU | fetch-spend's CPU | Prometheus, resident | fetch-spend, resident | Failed |\n|---|---|---|---|---|---|---|---|\n", len(agents), o.round)
	for _, m := range phases {
		fmt.Printf("| %s | %.0f s | %.0f | %.1f s | %.1f s | %.0f MiB | %.0f MiB | %d |\n", m.name, m.took.Seconds(), m.samples, m.server, m.function, m.serverMiB, m.functionMiB, m.failed)
	}
	fmt.Printf("\nPrometheus was scraped %d times meanwhile. CPU is of the whole process, scraping included; resident is the most at any second.\n", p.scrapes.Load())
	if phases[1].failed > 0 {
		return errors.Errorf("%d looks failed", phases[1].failed)
	}
	return nil
}

// settled is a ledger as it would be after a day: counted up to an hour ago.
func settled(born, end time.Time) *structpb.Value {
	at := end.Add(-time.Hour).Truncate(5 * time.Minute).UTC().Format(time.RFC3339)
	return structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
		"period": structpb.NewStringValue("lifetime"), "from": structpb.NewStringValue(born.UTC().Format(time.RFC3339)),
		"mapping": structpb.NewStringValue("0000000000000000"), "asOf": structpb.NewStringValue(at), "settledAt": structpb.NewStringValue(at),
	}})
}

// workers is how many reconciles run at once: Crossplane's default is 10.
const workers = 10

// measure looks at all agents, spread over a round (0: as fast as it goes), and says
// what that cost.
func measure(ctx context.Context, name string, round time.Duration, agents []*agent, look func(context.Context, *agent) error, s *server, fn *process) (phase, error) {
	m := phase{name: name}
	server, err1 := s.cpu()
	function, err2 := fn.cpu()
	samples, err3 := s.samplesRead(ctx)
	if err := errors.Join(err1, err2, err3); err != nil {
		return m, err
	}
	began := time.Now()
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { m.watch(done, s, fn) })
	m.failed = spread(ctx, round, agents, look)
	select {
	case <-time.After(time.Until(began.Add(round))):
	case <-ctx.Done():
	}
	m.took = time.Since(began)
	close(done)
	watching.Wait()
	serverAfter, err1 := s.cpu()
	functionAfter, err2 := fn.cpu()
	samplesAfter, err3 := s.samplesRead(ctx)
	m.server, m.function, m.samples = serverAfter-server, functionAfter-function, samplesAfter-samples
	return m, errors.Join(err1, err2, err3)
}

// spread looks at each agent at its time of the round, and says how many looks failed.
func spread(ctx context.Context, round time.Duration, agents []*agent, look func(context.Context, *agent) error) int {
	if look == nil {
		return 0
	}
	began := time.Now()
	due := make(chan *agent)
	var running sync.WaitGroup
	var mu sync.Mutex
	failed := 0
	for range workers {
		running.Go(func() {
			for a := range due {
				if err := look(ctx, a); err != nil {
					mu.Lock()
					failed++
					mu.Unlock()
				}
			}
		})
	}
	for i, a := range agents {
		select {
		case <-time.After(time.Until(began.Add(round * time.Duration(i) / time.Duration(len(agents))))):
		case <-ctx.Done():
		}
		due <- a
	}
	close(due)
	running.Wait()
	return failed
}

// watch remembers the most memory that was resident.
func (m *phase) watch(done <-chan struct{}, s *server, fn *process) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if n, err := s.resident(); err == nil {
			m.serverMiB = max(m.serverMiB, n)
		}
		if n, err := fn.resident(); err == nil {
			m.functionMiB = max(m.functionMiB, n)
		}
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

// samplesRead is how many samples queries have read since the server's start.
func (s *server) samplesRead(ctx context.Context) (float64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/metrics", http.NoBody)
	if err != nil {
		return 0, err
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rsp.Body.Close() }() // it has been read
	return metric(rsp.Body, "prometheus_engine_query_samples_total")
}

// metric reads one metric without labels.
func metric(r io.Reader, name string) (float64, error) {
	for s := bufio.NewScanner(r); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), name+" "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, errors.Errorf("the server has no metric %s", name)
}
