package servers

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend"
	"whisperops.io/functions/test/process"
)

var thanosBinary = flag.String("thanos", "", "path of a thanos binary")

// A thanos is a querier before stores that take remote write.
type thanos struct {
	*server // the querier, and the first store for writing

	stores []*process.Process
	writes []string
}

// startThanos starts as many stores, told apart by the label replica, and a querier
// with some flags of its own. It knows the stores by a flag: --endpoint, or
// --endpoint-strict.
func startThanos(t *testing.T, stores int, endpoint string, flags ...string) *thanos {
	t.Helper()
	if *thanosBinary == "" || *prometheusBinary == "" {
		t.Skip("needs a Thanos and a Prometheus: make test-servers-long")
	}
	address := process.FreeAddress(t)
	out := &thanos{server: &server{name: "Thanos", url: "http://" + address}}
	args := append([]string{"query", "--http-address=" + address, "--grpc-address=" + process.FreeAddress(t), "--query.replica-label=replica", "--log.level=warn"}, flags...)
	for i := range stores {
		grpc, http, write := process.FreeAddress(t), process.FreeAddress(t), process.FreeAddress(t)
		out.stores = append(out.stores, process.Run(t, "thanos-receive", *thanosBinary, "receive", "--tsdb.path="+t.TempDir(),
			"--grpc-address="+grpc, "--http-address="+http, "--remote-write.address="+write, "--receive.capnproto-address="+process.FreeAddress(t),
			fmt.Sprintf(`--label=replica="%d"`, i), "--tsdb.out-of-order.time-window=24h", "--log.level=warn"))
		(&server{name: "Thanos' store", url: "http://" + http}).ready(t, "/-/ready")
		args = append(args, endpoint+"="+grpc)
		out.writes = append(out.writes, "http://"+write+"/api/v1/receive")
	}
	process.Run(t, "thanos-query", *thanosBinary, args...)
	out.ready(t, "/-/ready")
	// A querier hears every few seconds only since when its stores have samples.
	from := time.Now().Add(-4 * time.Hour)
	l := hour("hello", from)
	out.writeAll(t, l)
	out.shown(t, "hello", from, "counted "+l.usd().String())
	out.write = out.writes[0]
	return out
}

// writeAll writes a life to all stores.
func (s *thanos) writeAll(t *testing.T, l *life) {
	t.Helper()
	for _, w := range s.writes {
		s.write = w
		s.store(t, l.series)
	}
}

func TestSameFigureOfThanos(t *testing.T) {
	s := startThanos(t, 1, "--endpoint")
	sameFigure(t, usual(t), s.server)
}

// hour is an agent that works for fifty minutes.
func hour(agent string, from time.Time) *life {
	l := &life{}
	p := l.pod(agent, "worker-0")
	for at := from.Add(every); at.Before(from.Add(50 * time.Minute)); at = at.Add(every) {
		l.uses(100, 0, 10)
		p.input, p.output = p.input+100, p.output+10
		p.scrape(at)
	}
	return l
}

// said is what a look says: the figure, or the reason why there is none.
func said(o fetchspend.Outcome) string {
	if o.Problem != nil {
		return o.Problem.Reason + ": " + o.Problem.Message
	}
	return "counted " + o.Spent.String()
}

// shown waits until a server shows a figure to who looks for the first time.
func (s *server) shown(t *testing.T, agent string, from time.Time, want string) *budget {
	t.Helper()
	var b *budget
	process.Until(t, want, func() error {
		b = newBudget(t, s, agent, from, nil)
		if s := said(b.look(t, from.Add(time.Hour))); s != want {
			return fmt.Errorf("it says %s", s)
		}
		return nil
	})
	return b
}

// soon waits until a look says something, one of its looks a second after the other;
// until then it may say only some other things.
func (b *budget) soon(t *testing.T, want string, meanwhile ...string) {
	t.Helper()
	process.Until(t, want, func() error {
		s := said(b.look(t, b.facts.Now.Add(time.Second)))
		reason, _, _ := strings.Cut(s, ": ")
		if reason == want {
			return nil
		}
		if !slices.Contains(meanwhile, reason) {
			t.Fatalf("before it says %s: %s", want, s)
		}
		return fmt.Errorf("it says %s", s)
	})
}

// F5, F9: What Thanos answers while its stores are away is no figure, as its settings
// have it.
func TestThanosWithoutStores(t *testing.T) {
	for _, tc := range []struct {
		name, endpoint string
		flags          []string
		want           string
		why            string
	}{
		{"strict", "--endpoint-strict", nil, v1alpha1.ReasonPartialAnswer, "A store that must be there is missed for ever, in a warning."},
		{"whole answers only", "--endpoint", []string{"--no-query.partial-response"}, v1alpha1.ReasonPartialAnswer, "It refuses instead: an outage, and no bad query (F9)."},
		{"default", "--endpoint", nil, v1alpha1.ReasonSamplesVanished, "The answer is empty and looks whole: what was counted is missed (F5)."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := startThanos(t, 1, tc.endpoint, tc.flags...)
			from := time.Now().Add(-time.Hour).Truncate(time.Minute)
			l := hour("away", from)
			s.store(t, l.series)
			whole := "counted " + l.usd().String()
			b := s.shown(t, "away", from, whole)
			s.stores[0].Kill()
			b.soon(t, tc.want, whole, v1alpha1.ReasonPartialAnswer)
			s.stores[0].Start(t)
			b.soon(t, whole, tc.want, v1alpha1.ReasonPartialAnswer)
		})
	}
}

// F6: one replica of two is lost. Looks may have no figure for up to half a minute; any
// that has one has the whole.
func TestThanosWithoutOneReplica(t *testing.T) {
	s := startThanos(t, 2, "--endpoint")
	from := time.Now().Add(-time.Hour).Truncate(time.Minute)
	l := hour("pair", from)
	s.writeAll(t, l)
	whole := "counted " + l.usd().String()
	b := s.shown(t, "pair", from, whole)
	s.stores[1].Kill()
	b.soon(t, v1alpha1.ReasonPartialAnswer, whole)
	b.soon(t, whole, v1alpha1.ReasonPartialAnswer)
}
