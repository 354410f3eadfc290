package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane/suite"
)

// metered says whether an agent pays through the token-meter, as its calls of a
// provider. What the others use is counted by the test itself, as by a meter that
// never fails.
func metered(agent string) bool { return numberOf(agent)%4 < 2 }

func numberOf(agent string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(agent, "bot-"))
	if err != nil {
		return 3 // none of AgentName's
	}
	return n
}

// callHeader names a call to the provider.
const callHeader = "X-Chaos-Call"

// A call is one of an agent's, to the provider, through the token-meter.
type call struct {
	id, agent     string
	input, output float64 // tokens
}

func (c call) cost() Picos { return Picos(c.input)*inputPicos + Picos(c.output)*outputPicos }

// A provider of language models bills each call that arrives, whatever becomes of
// the answer, and takes its time to answer.
type provider struct {
	url string
	of  atomic.Pointer[recorder]
}

func newProvider(ctx context.Context) (*provider, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &provider{url: "http://" + l.Addr().String()}
	srv := &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(l) }() // it ends with the test
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	return p, nil
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, known := call{}, false
	if rec := p.of.Load(); rec != nil {
		c, known = rec.billed(r.Header.Get(callHeader))
	}
	if !known {
		http.Error(w, "nobody made this call", http.StatusTeapot)
		return
	}
	time.Sleep(time.Duration(20+rand.IntN(400)) * time.Millisecond) // a model thinks
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{ //nolint:errchkjson // whoever asked may have been killed
		"candidates": []any{map[string]any{"finishReason": "STOP"}}, "modelVersion": suite.Model,
		"usageMetadata": map[string]any{"promptTokenCount": c.input, "candidatesTokenCount": c.output, "totalTokenCount": c.input + c.output},
	})
}

// begin notes a call that an agent makes, if it works.
func (r *recorder) begin(agent string, input, output float64) (call, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.working(agent) == nil {
		return call{}, false
	}
	r.called++
	c := call{strconv.Itoa(r.called), agent, input, output}
	r.calls[c.id] = c
	return c, true
}

// billed notes that a call arrived. It is in doubt until it is known that the meter
// has seen its answer.
func (r *recorder) billed(id string) (call, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, known := r.calls[id]
	if !known {
		return c, false
	}
	r.bills[c.agent] += c.cost()
	if r.doubts[c.agent] == nil {
		r.doubts[c.agent] = map[string]Picos{}
	}
	r.doubts[c.agent][id] += c.cost()
	r.again(c.agent)
	return c, true
}

// ended notes what became of a call; sure says that the meter has counted it, if it
// arrived.
func (r *recorder) ended(c call, sure bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.calls, c.id)
	if sure {
		delete(r.doubts[c.agent], c.id)
	}
	r.again(c.agent)
}

// again writes down what an agent has spent.
func (r *recorder) again(agent string) {
	if p := r.purses[agent]; p != nil {
		r.spent(p, func(*Money) {})
	}
}

// inDoubt is what those calls cost of which a killed meter may not have seen the answer.
func (r *recorder) inDoubt(agent string) []Picos {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Picos
	for _, d := range r.doubts[agent] {
		all = append(all, d)
	}
	return all
}

// paid is what was ever billed.
func (r *recorder) paid() (usd Picos, calls int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.bills {
		usd += b
	}
	return usd, r.called
}

// spend lets an agent use some tokens, in an amount that a status shows to the last
// decimal.
func (w *world) spend(agent string) {
	const input, output = 400, 50 // 0.0005 USD each
	if !metered(agent) {
		w.work(agent, input, output)
		return
	}
	if _, busy := w.busy.LoadOrStore(agent, true); busy {
		return // its last call takes long: a meter stands still
	}
	w.paying.Go(func() {
		defer w.busy.Delete(agent)
		_ = w.pay(agent, input, output) // what came of it is on the bill
	})
}

// pay makes a call of an agent's, and says what came of it.
func (w *world) pay(agent string, input, output float64) string {
	c, works := w.begin(agent, input, output)
	if !works {
		return "it does not run"
	}
	kills := w.kills.Load()
	meters := w.Node.Addresses(suite.MeterNamespace, suite.MeterName)
	rand.Shuffle(len(meters), func(i, k int) { meters[i], meters[k] = meters[k], meters[i] })
	for _, ip := range meters {
		status, err := post(ip, c)
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			continue // as a Service does with one that isn't there
		}
		// A meter that answers, or that goes on, has read what the provider said.
		w.ended(c, err == nil || w.kills.Load() == kills)
		switch {
		case err != nil:
			return err.Error()
		case status == http.StatusForbidden:
			w.show(agent)
			return "nobody knows its pod"
		case status != http.StatusOK:
			return "it is answered " + strconv.Itoa(status)
		}
		return "done"
	}
	w.ended(c, true)
	return "there is no meter"
}

// address of an agent's pod.
func address(agent string) string { return fmt.Sprintf("127.90.0.%d", numberOf(agent)+1) }

// post makes a call as an agent's pod.
func post(meter string, c call) (status int, err error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address(c.agent))}, Timeout: 5 * time.Second}
	client := http.Client{Timeout: time.Minute, Transport: &http.Transport{DialContext: d.DialContext, DisableKeepAlives: true}}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost,
		"http://"+net.JoinHostPort(meter, "8080")+"/agents/"+c.agent+"/gemini/v1beta/models/"+suite.Model+":generateContent", strings.NewReader(`{"contents":[]}`))
	if err != nil {
		return 0, err
	}
	r.Header.Set(callHeader, c.id)
	rsp, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, rsp.Body)
	return rsp.StatusCode, errors.Join(err, rsp.Body.Close())
}

// show makes the pod from which an agent calls, if its namespace is there.
func (w *world) show(agent string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ip := address(agent)
	_ = w.ApplyWithStatus(ctx, &unstructured.Unstructured{Object: map[string]any{ // the next second is another
		"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "payer", "namespace": "agent-" + agent},
		"spec": map[string]any{
			"automountServiceAccountToken": false,
			"securityContext":              map[string]any{"runAsNonRoot": true, "runAsUser": int64(65532), "seccompProfile": map[string]any{"type": "RuntimeDefault"}},
			"containers": []any{map[string]any{"name": "payer", "image": "payer", "securityContext": map[string]any{
				"allowPrivilegeEscalation": false, "capabilities": map[string]any{"drop": []any{"ALL"}},
			}}},
		},
		"status": map[string]any{"phase": "Running", "podIP": ip, "podIPs": []any{map[string]any{"ip": ip}}},
	}})
}
