package tokenmeter

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/tokenmeter/fakeprovider"
	"whisperops.io/functions/internal/tokenmeter/usage"
)

// childArgs in the environment makes the test's binary a meter.
const childArgs = "METER_TEST_CHILD"

func TestMain(m *testing.M) {
	if args := os.Getenv(childArgs); args != "" {
		child(strings.Split(args, "\n"))
		return
	}
	os.Exit(m.Run())
}

// child is a meter in a process of its own, with one rich agent.
func child(args []string) {
	f, err := Parse(args, func(string) string { return "" }, os.Stderr)
	if err != nil {
		os.Exit(2)
	}
	s, err := NewServer(f, logr.Discard())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := s.meter.state.SetPrices(testPrices); err != nil {
		os.Exit(1)
	}
	s.meter.state.SetBudgets([]Budget{{Agent: "housing-bot", Namespace: "agent-housing-bot", Cap: usdOf(1e6), Enforced: true, Period: v1alpha1.PeriodLifetime}})
	json.NewEncoder(os.Stdout).Encode([]string{s.Address(), s.MetricsAddress()}) //nolint:errcheck // the parent waits for it
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err = s.Run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process is a running child.
type process struct {
	cmd            *exec.Cmd
	calls, metrics string
}

func startProcess(t testing.TB, journal, upstream string, more ...string) *process {
	t.Helper()
	args := append([]string{
		"--host=127.0.0.1", "--port=0", "--metrics-port=0", "--journal=" + journal, "--confirm-callers=false", "--scrape-time=0s",
		"--gemini-url=" + upstream, "--openai-url=" + upstream, "--anthropic-url=" + upstream,
	}, more...)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childArgs+"="+strings.Join(args, "\n"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() }) //nolint:errcheck // it may be gone
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var addrs []string
	if err := json.Unmarshal(line, &addrs); err != nil {
		t.Fatal(err)
	}
	return &process{cmd, "http://" + addrs[0], "http://" + addrs[1]}
}

// sum of a family's samples that have a label's value.
func (p *process) sum(t testing.TB, family, label, value string) float64 {
	t.Helper()
	res, err := http.Get(p.metrics + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, m := range families[family].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label && l.GetValue() == value {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// TestKill9: a meter that is killed in the middle of 1,000 calls has lost no token
// of a call whose end its caller saw, its counters go on where they were, and each
// call that it can't know the end of is named.
func TestKill9(t *testing.T) {
	provider := fakeprovider.New()
	up := httptest.NewServer(provider)
	defer up.Close()
	dir := t.TempDir()
	p := startProcess(t, dir, up.URL)
	var base atomic.Pointer[string]
	base.Store(&p.calls)
	const each = 20 // tokens of a call
	var complete, started atomic.Int64
	var wg sync.WaitGroup
	work := make(chan int, 1000)
	for i := range 1000 {
		work <- i
	}
	close(work)
	plan := (&fakeprovider.Plan{Agent: "housing-bot", Model: "gemini-3.8-flash", Tokens: usage.Tokens{usage.Input: 10, usage.Output: 10}, Events: 4}).Header()
	for range 20 {
		wg.Go(func() {
			for range work {
				started.Add(1)
				r, err := http.NewRequest(http.MethodPost, *base.Load()+asks[1].path, strings.NewReader("{}"))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set(fakeprovider.PlanHeader, plan)
				res, err := http.DefaultClient.Do(r)
				for errors.Is(err, syscall.ECONNREFUSED) { // between two processes
					time.Sleep(5 * time.Millisecond)
					r.URL.Host = strings.TrimPrefix(*base.Load(), "http://")
					r.Host, r.Body = r.URL.Host, io.NopCloser(strings.NewReader("{}"))
					res, err = http.DefaultClient.Do(r)
				}
				if err != nil {
					continue
				}
				// The finish reason is all a caller waits for.
				b, err := io.ReadAll(res.Body)
				if err == nil || strings.Contains(string(b), "finishReason") {
					complete.Add(1)
				}
				_ = res.Body.Close() // it was read, or its meter was killed
			}
		})
	}
	var before, crashed float64
	for kills := range 3 {
		until(t, func() bool { return started.Load() > int64(250*(kills+1)) })
		before = p.sum(t, "whisperops_tokens_total", "agent_name", "housing-bot")
		if err := p.cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		p.cmd.Wait() //nolint:errcheck // it was killed
		p = startProcess(t, dir, up.URL)
		if after := p.sum(t, "whisperops_tokens_total", "agent_name", "housing-bot"); after < before {
			t.Errorf("a counter fell from %v to %v", before, after)
		}
		crashed += p.sum(t, "whisperops_meter_uncounted_calls_total", "reason", "crash")
		base.Store(&p.calls)
	}
	wg.Wait()
	counted := p.sum(t, "whisperops_tokens_total", "agent_name", "housing-bot") / each
	billed := float64(provider.Bill()[fakeprovider.Line{Agent: "housing-bot", Model: "gemini-3.8-flash"}].Sum()) / each
	t.Logf("%v calls seen complete, %v counted, %v billed, %v named as lost in a crash", complete.Load(), counted, billed, crashed)
	if counted < float64(complete.Load()) || counted > billed || counted+crashed < billed || complete.Load() < 900 {
		t.Errorf("%v calls were seen to end, %v were counted, %v billed, and %v named", complete.Load(), counted, billed, crashed)
	}
}

// TestGracefulEnd: a meter that is told to end says so, still serves who is sent to
// it, who then comes to another connection, and then no one; a stream ends.
func TestGracefulEnd(t *testing.T) {
	provider := fakeprovider.New()
	up := httptest.NewServer(provider)
	defer up.Close()
	p := startProcess(t, t.TempDir(), up.URL, "--linger-time=3s")
	r, err := http.NewRequest(http.MethodPost, p.calls+asks[1].path, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(fakeprovider.PlanHeader, (&fakeprovider.Plan{Agent: "housing-bot", Model: "gemini-3.8-flash", Tokens: usage.Tokens{usage.Input: 10, usage.Output: 10}, Events: 4, HoldAfter: 2}).Header())
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }() // it was read
	<-provider.Held()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		ready, err := http.Get(p.metrics + "/readyz")
		return err == nil && ready.Body.Close() == nil && ready.StatusCode == http.StatusServiceUnavailable
	})
	late, err := http.Post(p.calls+asks[0].path, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(late.Body); err != nil || late.StatusCode != http.StatusOK || !late.Close {
		t.Errorf("a call of somebody who hasn't heard: %v %v, the connection is closed after it: %v", late.Status, err, late.Close)
	}
	_ = late.Body.Close() // it was read
	until(t, func() bool {
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
		_, err := c.Get(p.calls + "/")
		return err != nil
	})
	provider.Release()
	b, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(b), "finishReason") {
		t.Errorf("the stream was cut: %v %s", err, b)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}
