// Command bench measures what the token meter adds to calls, beside a bare
// httputil.ReverseProxy and direct calls, all in one run, each in a process of its
// own: latency, CPU for each streamed megabyte, and memory for each open stream.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/money"
	"whisperops.io/functions/internal/tokenmeter"
)

func main() {
	role := flag.String("role", "", "provider, bare or meter: a process of the benchmark")
	upstream := flag.String("upstream", "", "of bare and meter")
	calls := flag.Int("calls", 4000, "calls for latencies")
	megabytes := flag.Int("megabytes", 200, "to stream for CPU")
	streams := flag.Int("streams", 2000, "to hold open for memory")
	flag.Parse()
	var err error
	switch *role {
	case "provider":
		err = serve(http.HandlerFunc(provide))
	case "bare":
		err = bare(*upstream)
	case "meter":
		err = meter(*upstream)
	default:
		err = measure(*calls, *megabytes, *streams)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// serve prints its address and serves until it is killed.
func serve(h http.Handler) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "http://"+l.Addr().String())
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.HandleFunc("/gc", func(http.ResponseWriter, *http.Request) { runtime.GC() })
	return http.Serve(l, mux) //nolint:gosec // a benchmark
}

// event is one of Gemini's, of about 400 bytes, as a model streams them.
var event = []byte(`data: {"candidates": [{"content": {"parts": [{"text": "` + strings.Repeat("The mean of the column is 206855.8 dollars. ", 3) + `"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 812,"candidatesTokenCount": 31,"totalTokenCount": 912,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 812}],"thoughtsTokenCount": 69},"modelVersion": "gemini-3.8-flash","responseId": "x"}` + "\n\n")

var last = bytes.Replace(event, []byte(`"index": 0}`), []byte(`"index": 0,"finishReason": "STOP"}`), 1)

// provide streams n events, or holds a stream open after the first of them.
func provide(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body) //nolint:errcheck,gosec // a benchmark
	n, _ := strconv.Atoi(r.Header.Get("X-Events"))
	if n == 0 {
		w.Header().Set("Content-Type", "application/json")
		w.Write(bytes.TrimPrefix(last, []byte("data: "))) //nolint:errcheck,gosec // a benchmark
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	rc := http.NewResponseController(w)
	for i := range n {
		e := event
		if i == n-1 {
			e = last
		}
		w.Write(e) //nolint:errcheck,gosec // a benchmark
		rc.Flush() //nolint:errcheck,gosec // a benchmark
		if r.Header.Get("X-Hold") != "" && i == 0 {
			<-r.Context().Done()
			return
		}
	}
}

func bare(upstream string) error {
	u, err := url.Parse(upstream)
	if err != nil {
		return err
	}
	return serve(&httputil.ReverseProxy{
		Rewrite:   func(p *httputil.ProxyRequest) { p.SetURL(u) },
		Transport: &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096, DisableCompression: true},
	})
}

func meter(upstream string) error {
	dir, err := os.MkdirTemp("", "meter-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	f, err := tokenmeter.Parse([]string{"--host=127.0.0.1", "--port=0", "--metrics-port=0", "--journal=" + dir, "--confirm-callers=false", "--gemini-url=" + upstream}, func(string) string { return "" }, os.Stderr)
	if err != nil {
		return err
	}
	s, err := tokenmeter.NewServer(f, logr.Discard())
	if err != nil {
		return err
	}
	if err := s.SetPrices("models:\n  gemini-3.8-flash: {input: \"0.75\", cachedInput: \"0.075\", output: \"3.75\"}\n"); err != nil {
		return err
	}
	s.SetBudgets([]tokenmeter.Budget{{Agent: "bot", Namespace: "agent-bot", Cap: money.Max, Enforced: true, Period: v1alpha1.PeriodLifetime}})
	return serve(s.Handler())
}

// process is one of the three, with what the kernel knows of it.
type process struct {
	name, url string
	pid       int
}

func start(name, upstream string) (*process, func(), error) {
	cmd := exec.Command(os.Args[0], "-role", name, "-upstream", upstream) //nolint:gosec,noctx // ourselves; stop ends it
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	stop := func() { cmd.Process.Kill(); cmd.Wait() } //nolint:errcheck,gosec // it ends
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		stop()
		return nil, nil, err
	}
	return &process{name, strings.TrimSpace(line), cmd.Process.Pid}, stop, nil
}

// cpu is the processor time used so far.
func (p *process) cpu() time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+2:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// rss is the resident memory, in MiB.
func (p *process) rss() float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(v)[0])
			return float64(kib) / 1024
		}
	}
	return 0
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConns: 8192, MaxIdleConnsPerHost: 4096, DisableCompression: true}}

func (p *process) ask(ctx context.Context, events int, hold bool) (*http.Response, error) {
	path := "/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
	if events == 0 {
		path = "/v1beta/models/gemini-3.8-flash:generateContent"
	}
	if p.name == "meter" {
		path = "/agents/bot/gemini" + path
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+path, strings.NewReader(`{"contents":[{"parts":[{"text":"`+strings.Repeat("x", 2000)+`"}]}]}`))
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Events", strconv.Itoa(events))
	if hold {
		r.Header.Set("X-Hold", "1")
	}
	res, err := client.Do(r)
	if err == nil && res.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("%s answered %s", p.name, res.Status), res.Body.Close())
	}
	return res, err
}

// figures of one way.
type figures struct {
	plain, first   []time.Duration // a whole plain answer; the first byte of a stream
	cpuPerMB       float64         // milliseconds
	memory, beside float64         // MiB with and without the streams
}

func measure(calls, megabytes, streams int) error {
	var ways []*process
	var stops []func()
	defer func() {
		for _, stop := range slices.Backward(stops) {
			stop()
		}
	}()
	upstream := ""
	for _, name := range []string{"provider", "bare", "meter"} {
		p, stop, err := start(name, upstream)
		if err != nil {
			return err
		}
		stops = append(stops, stop)
		if upstream == "" {
			upstream, p.name = p.url, "direct"
		}
		ways = append(ways, p)
	}
	all := make([]figures, len(ways))
	if err := latencies(ways, all, calls); err != nil {
		return err
	}
	work(ways, all, megabytes)
	for i, p := range ways[1:] {
		if err := p.hold(&all[i+1], streams); err != nil {
			return err
		}
	}
	report(ways, all, streams)
	return nil
}

// latencies are measured by turns, so that what else the machine does hits all of
// the ways.
func latencies(ways []*process, all []figures, calls int) error {
	for round := range calls + 200 {
		for i, p := range ways {
			for kind, events := range []int{0, 5} {
				first, whole, err := p.time(events)
				switch {
				case err != nil:
					return err
				case round < 200: // warm-up
				case kind == 0:
					all[i].plain = append(all[i].plain, whole)
				default:
					all[i].first = append(all[i].first, first)
				}
			}
		}
	}
	return nil
}

// time is how long one answer took, to its first byte and as a whole.
func (p *process) time(events int) (first, whole time.Duration, err error) {
	began := time.Now()
	res, err := p.ask(context.Background(), events, false)
	if err != nil {
		return 0, 0, err
	}
	defer res.Body.Close() //nolint:errcheck // a benchmark
	if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != nil {
		return 0, 0, err
	}
	first = time.Since(began)
	io.Copy(io.Discard, res.Body) //nolint:errcheck,gosec // a benchmark
	return first, time.Since(began), nil
}

// work is the processor time for each megabyte, by turns as well.
func work(ways []*process, all []figures, megabytes int) {
	const events = 5000
	size := float64(events*len(event)) / 1e6
	rounds := max(1, int(float64(megabytes)/size))
	for range rounds {
		for i, p := range ways[1:] {
			before := p.cpu()
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if res, err := p.ask(context.Background(), events, false); err == nil {
						io.Copy(io.Discard, res.Body) //nolint:errcheck,gosec // a benchmark
						res.Body.Close()              //nolint:errcheck,gosec // a benchmark
					}
				})
			}
			wg.Wait()
			all[i+1].cpuPerMB += float64((p.cpu() - before).Microseconds()) / 1000 / 4
		}
	}
	for i := range all {
		all[i].cpuPerMB /= float64(rounds) * size
	}
}

// hold measures the memory beside and with so many open streams.
func (p *process) hold(f *figures, streams int) error {
	if err := p.collect(); err != nil {
		return err
	}
	f.beside = p.rss()
	ctx, cancel := context.WithCancel(context.Background())
	defer client.CloseIdleConnections()
	defer cancel()
	var wg sync.WaitGroup
	var open atomic.Int64
	gate := make(chan struct{}, 64)
	for range streams {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			res, err := p.ask(ctx, 10, true) //nolint:bodyclose // cancel closes them all
			if err != nil {
				return
			}
			io.ReadFull(res.Body, make([]byte, len(event))) //nolint:errcheck,gosec // a benchmark
			open.Add(1)
		})
	}
	wg.Wait()
	if err := p.collect(); err != nil {
		return err
	}
	f.memory = p.rss()
	if n := open.Load(); n != int64(streams) {
		return fmt.Errorf("%s held only %d of %d streams", p.name, n, streams)
	}
	return nil
}

// collect has a process collect its garbage.
func (p *process) collect() error {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, p.url+"/gc", http.NoBody)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

func quantile(d []time.Duration, q float64) float64 {
	slices.Sort(d)
	return float64(d[int(q*float64(len(d)-1))].Microseconds()) / 1000
}

func report(ways []*process, all []figures, streams int) {
	fmt.Fprintf(os.Stdout, "%-8s %26s %26s %12s %14s\n", "", "plain answer p50 / p99 ms", "first byte p50 / p99 ms", "CPU ms / MB", "MiB, "+strconv.Itoa(streams)+" open")
	for i, p := range ways {
		f := all[i]
		fmt.Fprintf(os.Stdout, "%-8s %17.3f / %6.3f %17.3f / %6.3f", p.name, quantile(f.plain, .5), quantile(f.plain, .99), quantile(f.first, .5), quantile(f.first, .99))
		if i > 0 {
			fmt.Fprintf(os.Stdout, " %12.2f %14.1f", f.cpuPerMB, f.memory)
		}
		fmt.Fprintln(os.Stdout)
	}
	b, m := all[1], all[2]
	row := func(what string, got, bound float64, unit string) {
		verdict := "ok"
		if got > bound {
			verdict = "MISSED"
		}
		fmt.Fprintf(os.Stdout, "%-52s %9.3f %-4s at most %7.2f  %s\n", what, got, unit, bound, verdict)
	}
	fmt.Fprintln(os.Stdout, "\nthe meter beside the bare proxy:")
	row("plain answer, added p50", quantile(m.plain, .5)-quantile(b.plain, .5), 0.2, "ms")
	row("plain answer, added p99", quantile(m.plain, .99)-quantile(b.plain, .99), 1, "ms")
	row("first byte of a stream, added p50", quantile(m.first, .5)-quantile(b.first, .5), 0.2, "ms")
	row("first byte of a stream, added p99", quantile(m.first, .99)-quantile(b.first, .99), 1, "ms")
	row("CPU for each streamed megabyte", m.cpuPerMB/b.cpuPerMB, 1.3, "x")
	row(strconv.Itoa(streams)+" open streams, memory more", m.memory-b.memory, 150, "MiB")
}
