package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend"
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
	bytes            float64 // that the server answered queries with, as they were sent
	failed           int
}

// A build is a binary of the function that serves, and how it looks at agents.
type build struct {
	*process

	name    string
	remote  *remote
	ledgers map[string]*agent
}

func (o options) start(dir, name, binary, prometheus string, p *population) (*build, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	proc, err := start(dir, binary, "--insecure", "--address", address, "--metrics-address", "")
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	b := &build{process: proc, name: name, remote: &remote{client: fnv1.NewFunctionRunnerServiceClient(conn)}, ledgers: map[string]*agent{}}
	for _, agents := range [][]string{p.crowd, p.busy} {
		for _, a := range agents {
			l, err := settled(a, prometheus, p.born[a], p.end)
			if err != nil {
				return nil, err
			}
			b.ledgers[a] = &agent{name: a, born: p.born[a], ledger: l}
		}
	}
	return b, nil
}

// look is one of this build at an agent.
func (b *build) look(prometheus string) func(context.Context, string) error {
	return func(ctx context.Context, a string) error {
		problem, err := b.ledgers[a].look(ctx, b.remote, prometheus)
		if err == nil && problem != "" {
			err = errors.New(problem)
		}
		return err
	}
}

// load measures all agents once a minute: not at all, as each build does, and naively. Of
// the crowd 95 in a hundred are at rest; of the busy nobody is.
func load(ctx context.Context, o options, s *server, p *population) error {
	var builds []*build
	for name, binary := range map[string]string{"fetch-spend": o.function, "the earlier one": o.base} {
		if binary == "" {
			continue
		}
		b, err := o.start(filepath.Dir(s.log.Name()), name, binary, s.url, p)
		if err != nil {
			return err
		}
		defer b.stop() //nolint:gocritic // there are two at most, and both run to the end
		builds = append(builds, b)
	}
	slices.SortFunc(builds, func(a, b *build) int { return strings.Compare(a.name, b.name) })
	naively := func(ctx context.Context, a string) error {
		now := time.Now()
		for _, q := range naive(a, now.Sub(p.born[a])) {
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
	scraping, err := measure(ctx, "scraping only", o.round, nil, nil, s, builds[0])
	if err != nil {
		return err
	}
	phases := []phase{scraping}
	var ratios []string
	for _, of := range []struct {
		words  string
		agents []string
	}{{"95 % at rest", p.crowd}, {"all busy", p.busy}} {
		var costs []phase
		for _, b := range builds {
			// The first look at an agent settles, once, and the second may prove that it rests.
			for range 2 {
				if warm, err := measure(ctx, "warm-up", 0, of.agents, b.look(s.url), s, b); err != nil || warm.failed > len(of.agents)/100 {
					return errors.Errorf("cannot warm up: %v, %d of %d looks failed", err, warm.failed, len(of.agents))
				}
			}
			m, err := measure(ctx, b.name+", "+of.words, o.round, of.agents, b.look(s.url), s, b)
			if err != nil {
				return err
			}
			costs = append(costs, m)
		}
		phases = append(phases, costs...)
		if len(costs) == 2 {
			now, before := costs[0], costs[1]
			ratios = append(ratios, fmt.Sprintf("%s: fetch-spend's CPU %.2f times that of the earlier one, Prometheus' (without scraping) %.2f, bytes answered %.2f",
				of.words, now.function/before.function, (now.server-scraping.server)/(before.server-scraping.server), now.bytes/before.bytes))
		}
	}
	m, err := measure(ctx, "`sum(increase(x[1d]))` of 3 metrics", o.round, p.crowd, naively, s, builds[0])
	if err != nil {
		return err
	}
	phases = append(phases, m)
	fmt.Printf("| %d agents measured once in %s, each a day old, scraped every 30 s | Took | Samples read | Bytes answered | Prometheus' CPU | fetch-spend's CPU | Prometheus, resident | fetch-spend, resident | Failed |\n|---|---|---|---|---|---|---|---|---|\n", len(p.crowd), o.round)
	failed := 0
	for _, m := range phases {
		failed += m.failed
		fmt.Printf("| %s | %.0f s | %.0f | %.0f | %.1f s | %.1f s | %.0f MiB | %.0f MiB | %d |\n", m.name, m.took.Seconds(), m.samples, m.bytes, m.server, m.function, m.serverMiB, m.functionMiB, m.failed)
	}
	fmt.Printf("\nPrometheus was scraped %d times meanwhile. CPU is of the whole process, scraping included; resident is the most at any second.\n", p.scrapes.Load())
	for _, r := range ratios {
		fmt.Println("\n" + r + ".")
	}
	if failed > 0 {
		return errors.Errorf("%d looks failed", failed)
	}
	return nil
}

// settled is a ledger as it would be after a day: counted up to two hours ago, and due to
// be settled.
func settled(name, prometheus string, born, end time.Time) (*structpb.Value, error) {
	in := &input.FetchSpendInput{}
	in.Default()
	in.Prometheus.URL = prometheus
	set, err := fetchspend.ReadSettings(in)
	if err != nil {
		return nil, err
	}
	at := end.Add(-130 * time.Minute).Truncate(5 * time.Minute).UTC().Format(time.RFC3339)
	return structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
		"period": structpb.NewStringValue("lifetime"), "from": structpb.NewStringValue(born.UTC().Format(time.RFC3339)),
		"mapping": structpb.NewStringValue(set.Mapping(name)), "asOf": structpb.NewStringValue(at), "settledAt": structpb.NewStringValue(at),
		"totals": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{
			"model": structpb.NewStringValue("gemini-2.5-flash"), "class": structpb.NewStringValue("input"), "tokens": structpb.NewStringValue("1000"),
		}})}}),
	}}), nil
}

// workers is how many reconciles run at once: Crossplane's default is 10.
const workers = 10

// measure looks at all agents, spread over a round (0: as fast as it goes), and says
// what that cost.
func measure(ctx context.Context, name string, round time.Duration, agents []string, look func(context.Context, string) error, s *server, fn *build) (phase, error) {
	m := phase{name: name}
	server, err1 := s.cpu()
	function, err2 := fn.cpu()
	samples, bytes, err3 := s.answered(ctx)
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
	samplesAfter, bytesAfter, err3 := s.answered(ctx)
	m.server, m.function, m.samples, m.bytes = serverAfter-server, functionAfter-function, samplesAfter-samples, bytesAfter-bytes
	return m, errors.Join(err1, err2, err3)
}

// spread looks at each agent at its time of the round, and says how many looks failed.
func spread(ctx context.Context, round time.Duration, agents []string, look func(context.Context, string) error) int {
	if look == nil {
		return 0
	}
	began := time.Now()
	due := make(chan string)
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
func (m *phase) watch(done <-chan struct{}, s *server, fn *build) {
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

// answered is how many samples queries have read since the server's start, and how many
// bytes it has answered them with.
func (s *server) answered(ctx context.Context) (samples, bytes float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/metrics", http.NoBody)
	if err != nil {
		return 0, 0, err
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = rsp.Body.Close() }() // it has been read
	for sc := bufio.NewScanner(rsp.Body); sc.Scan(); {
		for name, into := range map[string]*float64{
			"prometheus_engine_query_samples_total":                            &samples,
			`prometheus_http_response_size_bytes_sum{handler="/api/v1/query"}`: &bytes,
		} {
			if v, ok := strings.CutPrefix(sc.Text(), name+" "); ok {
				if *into, err = strconv.ParseFloat(v, 64); err != nil {
					return 0, 0, err
				}
			}
		}
	}
	return samples, bytes, nil
}
