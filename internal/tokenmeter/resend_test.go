package tokenmeter

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"whisperops.io/functions/internal/tokenmeter/fakeprovider"
)

// breaking is a connection that a provider has closed, which its user finds out
// when it writes.
type breaking struct {
	net.Conn

	broken *atomic.Bool
}

func (b breaking) Write(p []byte) (int, error) {
	if b.broken.CompareAndSwap(true, false) {
		return 0, errors.Join(b.Close(), syscall.EPIPE)
	}
	return b.Conn.Write(p)
}

// TestClosedConnection: a provider closes connections that were idle for a while,
// now and then just as a call takes one. Nothing of the call was sent, and its
// caller must not see an error that it wouldn't see without a meter.
func TestClosedConnection(t *testing.T) {
	for _, a := range asks {
		t.Run(a.name, func(t *testing.T) {
			w := newWorld(t)
			var broken atomic.Bool
			tr := transport()
			tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
				return breaking{c, &broken}, err
			}
			defer tr.CloseIdleConnections()
			w.meter.proxy = w.meter.newProxy(authorize{tr, w.meter.upstreams})
			plan := &fakeprovider.Plan{Agent: "housing-bot", Model: a.model, Tokens: a.tokens(onePlan), Events: 2}
			for call := range 2 {
				res, err := w.post(t.Context(), a, plan)
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(res.Body)
				if err != nil || res.StatusCode != http.StatusOK {
					t.Errorf("call %d: %s %v %s", call, res.Status, err, b)
				}
				_ = res.Body.Close() // it was read
				broken.Store(true)   // while nobody uses it
			}
			if broken.Store(false); w.provider.Calls() != 2 {
				t.Errorf("%d calls arrived", w.provider.Calls())
			}
			if diff := cmp.Diff(w.provider.Bill(), w.total()); diff != "" {
				t.Errorf("-billed +counted: %s", diff)
			}
		})
	}
}

// TestNothingIsSentTwice: a call that may have arrived is not repeated by the meter,
// whatever its caller says of it: the provider may bill both, and the budget was
// asked for one.
func TestNothingIsSentTwice(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }() // who waits on it ends
	var arrived atomic.Int64
	// Each connection answers one call, and closes when the next has arrived.
	serve := func(c net.Conn) {
		defer func() { _ = c.Close() }() // the meter is to see that
		in := bufio.NewReader(c)
		for {
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, r.Body); err != nil || arrived.Add(1) > 1 {
				return
			}
			answer := `{"candidates":[{"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"totalTokenCount":5}}`
			if _, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "+itoa(len(answer))+"\r\n\r\n"+answer); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	s := newServer(t, "http://"+l.Addr().String())
	meter := front(t, s)
	for call, want := range []int{http.StatusOK, http.StatusBadGateway} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, meter.URL+asks[0].path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Idempotency-Key", "k")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body) //nolint:errcheck // its status is what counts
		_ = res.Body.Close()          // as above
		if res.StatusCode != want {
			t.Errorf("call %d: %s", call, res.Status)
		}
	}
	if n := arrived.Load(); n != 2 {
		t.Errorf("%d calls arrived of 2", n)
	}
	if n := s.shown(t)["whisperops_meter_uncounted_calls_total{agent_name=housing-bot,reason=no_answer}"]; n != 1 {
		t.Errorf("%v calls are named as perhaps billed: %v", n, s.shown(t))
	}
}
