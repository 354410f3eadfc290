package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// counted is what both token-meters show for an agent.
type counted struct {
	input, output int       // tokens; cached ones are input, thoughts are output
	estimated     int       // of both
	crash         int       // calls that a crash lost
	peers         []float64 // that each of them hears of
}

var sample = regexp.MustCompile(`^(whisperops_[a-z_]+)(?:\{(.*)\})? ([0-9.e+]+)$`)

// meters reads the token-meters' own /metrics, whoever scrapes them.
func (w *world) meters(ctx context.Context, agent string) (counted, error) {
	var c counted
	for _, ip := range w.Node.Addresses(suite.MeterNamespace, suite.MeterName) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(ip, "9090")+"/metrics", http.NoBody)
		if err != nil {
			return c, err
		}
		rsp, err := http.DefaultClient.Do(r)
		if err != nil {
			return c, err
		}
		lines := bufio.NewScanner(rsp.Body)
		for lines.Scan() {
			m := sample.FindStringSubmatch(lines.Text())
			if m == nil {
				continue
			}
			value, err := strconv.ParseFloat(m[3], 64)
			if err != nil {
				return c, err
			}
			has := func(label, v string) bool { return strings.Contains(","+m[2], fmt.Sprintf(",%s=%q", label, v)) }
			switch {
			case m[1] == "whisperops_meter_peers":
				c.peers = append(c.peers, value)
			case !has("agent_name", agent):
			case m[1] == "whisperops_tokens_input_total":
				c.input += int(value)
			case m[1] == "whisperops_tokens_output_total":
				c.output += int(value)
			case m[1] == "whisperops_tokens_total" && has("outcome", "estimated"):
				c.estimated += int(value)
			case m[1] == "whisperops_meter_uncounted_calls_total" && has("reason", "crash"):
				c.crash += int(value)
			}
		}
		if err := errors.Join(lines.Err(), rsp.Body.Close()); err != nil {
			return c, err
		}
	}
	return c, nil
}

// meterProcesses are the token-meters that run.
func (w *world) meterProcesses() []*controlplane.Process {
	return slices.DeleteFunc(w.AllProcesses(), func(p *controlplane.Process) bool {
		return !strings.HasPrefix(p.Name, "pod-"+suite.MeterNamespace+"-"+suite.MeterName+"-") || !p.Alive()
	})
}

// charged is what the provider wants for an agent's calls: input, output, and the
// output of those that ended early.
func (w *world) charged(t *testing.T, agent string) (input, output, early, broken int) { //nolint:unparam // whose, is said where it is asked
	t.Helper()
	calls, err := w.Charges(t.Context(), agent)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range calls {
		input += c.Usage.Input + c.Usage.CachedInput
		output += c.Usage.Output + c.Usage.Thoughts
		if c.Outcome != "complete" {
			early += c.Usage.Output + c.Usage.Thoughts
			broken++
		}
	}
	return input, output, early, broken
}

// call asks for the model as the planner's pod does, but with words of its own, and
// returns what the first token-meter that answers says.
func (w *world) call(t *testing.T, agent string) (status int, says string) {
	t.Helper()
	pods := w.Node.Addresses("agent-"+agent, "planner")
	meters := w.Node.Addresses(suite.MeterNamespace, suite.MeterName)
	if len(pods) == 0 || len(meters) == 0 {
		t.Fatalf("want a planner of %s and a token-meter, found addresses %v and %v", agent, pods, meters)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(pods[0])}, Timeout: 5 * time.Second}
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		"http://"+net.JoinHostPort(meters[0], "8080")+"/agents/"+agent+"/gemini/v1beta/models/"+suite.Model+":generateContent", strings.NewReader(`{"contents":[]}`))
	if err != nil {
		t.Fatal(err)
	}
	rsp, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(rsp.Body)
	if err := errors.Join(err, rsp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return rsp.StatusCode, string(b)
}

// Token-meters that are killed in a stream come back with what they had counted, count
// of the stream what was known a second before, name the call whose rest they can't
// know, and find each other again; and the budget agrees.
func meterKilled(t *testing.T, w *world) {
	c := w.page(t, other)
	together := func(what string) {
		t.Helper()
		if err := controlplane.Eventually(t.Context(), time.Minute, "the token-meters to hear of each other "+what, func(ctx context.Context) error {
			m, err := w.meters(ctx, other)
			if err == nil && (len(m.peers) != 2 || m.peers[0] != 1 || m.peers[1] != 1) {
				err = fmt.Errorf("each should hear one other, they hear %v", m.peers)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	together("through token-meter-peers, which has no address of its own")
	answer(t, c, "How many rows are there?") // a first call
	before, err := w.meters(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	input, output, early, broken := w.charged(t, other)

	if err := w.Behave(t.Context(), `[{"match":"slowly","chunkDelayMs":400}]`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patient)
	defer cancel()
	grown, killed := 0, 0
	a, err := c.Ask(ctx, "Tell me slowly which columns there are", func(string) {
		if grown++; grown != 4 {
			return
		}
		for _, p := range w.meterProcesses() {
			p.Crash()
			killed++
		}
	})
	t.Logf("with %d token-meters killed in a stream: %s %+v %v", killed, a.State, a.Problem, err)
	if killed != 2 || a.Problem != nil && a.Problem.Code == http.StatusPaymentRequired {
		t.Fatalf("want two killed in a stream and nothing said about money, got %d, %+v", killed, a.Problem)
	}
	if err := w.Behave(t.Context(), `[]`); err != nil {
		t.Fatal(err)
	}
	together("after they were killed")

	var m counted
	if err := controlplane.Eventually(t.Context(), time.Minute, "the count to be the bill, but for the rest of what was cut", func(ctx context.Context) error {
		in, out, cut, n := w.charged(t, other)
		in, out, cut, n = in-input, out-output, cut-early, n-broken
		if m, err = w.meters(ctx, other); err != nil {
			return err
		}
		gotIn, gotOut := m.input-before.input, m.output-before.output
		switch {
		case n == 0:
			return errors.New("the provider noticed nothing yet")
		case gotIn != in:
			return fmt.Errorf("%d tokens of input were billed, and %d counted", in, gotIn)
		case gotOut < out-cut || gotOut > out:
			return fmt.Errorf("%d tokens of output were billed, %d of them in calls that were cut, and %d counted", out, cut, gotOut)
		case m.crash < n || m.estimated == 0:
			return fmt.Errorf("%d calls were cut, %d are named, %d tokens are estimated", n, m.crash, m.estimated)
		}
		t.Logf("billed %d in, %d out (%d of %d calls that were cut); counted %d in, %d out, %d of both estimated; %d calls named", in, out, cut, n, gotIn, gotOut, m.estimated, m.crash)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	// The Service's endpoints follow the meters' readiness after a moment.
	says(t, firstAnswer(t, c, "How many rows are there?"), float64(len(figures(t, w, "population", nil))))
	w.agrees(t, other)
}

// agrees waits until a budget says no more than the provider's bill, and no less than
// that without the output of the calls that were cut.
func (w *world) agrees(t *testing.T, agent string) {
	t.Helper()
	if err := controlplane.Eventually(t.Context(), heard, "the budget of "+agent+" to agree with the provider's bill", func(ctx context.Context) error {
		bill, err := w.billed(ctx, agent)
		if err != nil {
			return err
		}
		table, err := w.table(ctx)
		if err != nil {
			return err
		}
		calls, err := w.Charges(ctx, agent)
		if err != nil {
			return err
		}
		least := bill
		for _, c := range calls {
			_, _, output, err := price(table, c.Model)
			if err != nil {
				return err
			}
			if c.Outcome != "complete" {
				least -= float64(c.Usage.Output+c.Usage.Thoughts) * output / 1e6
			}
		}
		b, err := w.Get(ctx, suite.API, "XAgentBudget", "agent-"+agent, agent)
		if err != nil {
			return err
		}
		got, _, _ := unstructured.NestedFloat64(b.Object, "status", "spentUsd")
		if got < least-0.00005 || got > bill+0.00005 {
			return fmt.Errorf("spentUsd is %v, want %v to %v", got, least, bill)
		}
		t.Logf("%s has spent %v USD, and the bill is %v", agent, got, bill)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A token-meter that is gone is no agent at rest: its budget says MeterSilent, stops
// nobody, and measures on when the meter is back.
func meterSilent(t *testing.T, w *world) {
	if w.Node == nil {
		t.Skip("no token-meter runs: the agents' pods need a Python with pandas")
	}
	w.agent(t, other)
	was := w.inputOf(t, "fetch-spend")
	listening := maps.Clone(was)
	listening["metrics"] = map[string]any{"preset": "token-meter"}
	w.platform(t, "fetch-spend", listening)
	defer w.platform(t, "fetch-spend", was)
	w.seeBudget(t, heard, "the meter to be heard", other, condition("SpendMeasured", "True", ""))
	meters := w.meterProcesses()
	for _, p := range meters {
		p.Kill()
	}
	// The last heartbeat counts for three minutes; then come two looks.
	w.seeBudget(t, 3*time.Minute+heard, "the meter to be missed", other, condition("SpendMeasured", "False", "MeterSilent"), field(false, "status", "paused"))
	for _, p := range meters {
		w.start(t, p)
	}
	w.seeBudget(t, heard, "the meter to be heard again", other, condition("SpendMeasured", "True", ""), running)
}
