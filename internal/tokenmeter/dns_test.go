package tokenmeter

import (
	"context"
	"fmt"
	"net"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// clusterDNS answers for one name as a cluster's DNS does for a headless Service: with
// the addresses of its pods.
type clusterDNS struct {
	name string

	mu    sync.Mutex
	addrs []string
}

func (c *clusterDNS) set(addrs ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addrs = addrs
}

func (c *clusterDNS) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil {
		return nil, err
	}
	m.Response, m.Authoritative, m.RecursionAvailable, m.Additionals = true, true, true, nil
	q := m.Questions[0]
	if q.Name.String() != c.name {
		m.RCode = dnsmessage.RCodeNameError
		return m.Pack()
	}
	if q.Type == dnsmessage.TypeA {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, a := range c.addrs {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: dnsmessage.ClassINET, TTL: 5},
				Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(a).To4())},
			})
		}
	}
	return m.Pack()
}

// serve makes this process ask it, until the test is over.
func (c *clusterDNS) serve(t *testing.T) {
	t.Helper()
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // nobody asks any more
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := l.ReadFrom(buf)
			if err != nil {
				return
			}
			if b, err := c.answer(buf[:n]); err == nil {
				l.WriteTo(b, from) //nolint:errcheck // whoever hears nothing asks again
			}
		}
	}()
	was := net.DefaultResolver
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", l.LocalAddr().String())
	}}
	t.Cleanup(func() { net.DefaultResolver = was })
}

// TestPeersFindEachOther: two meters behind one name of two addresses, as a headless
// Service has it, find each other and not themselves, tell each other what they spent,
// and leave alone who is no longer there.
func TestPeersFindEachOther(t *testing.T) {
	dns := &clusterDNS{name: "token-meter-peers.whisperops-system.svc."}
	dns.serve(t)
	ips := []string{"127.0.0.2", "127.0.0.3"}
	port := "0"
	var both []*Server
	for i, ip := range ips {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, port))
		if err != nil {
			t.Skipf("this machine has no %s with a port that is free on both: %v", ip, err)
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		s := newServer(t, "http://unused", func(f *Flags) {
			f.Name, f.Peers = fmt.Sprint("meter-", i), "token-meter-peers.whisperops-system.svc:"+port
		})
		s.peers.looks = 10 * time.Millisecond
		ops := httptest.NewUnstartedServer(s.ops())
		_ = ops.Listener.Close() // it gets another
		ops.Listener = l
		ops.Start()
		t.Cleanup(ops.Close)
		both = append(both, s)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { stop(); running.Wait() }) // before the others close
	for _, s := range both {
		running.Go(func() { s.peers.run(ctx) })
	}
	dns.set(ips...)
	if err := both[1].meter.journal.Add(1, true, "housing-bot", usdOf(0.25), Entry{}); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		return both[0].peers.alive() == 1 && both[1].peers.alive() == 1 && both[0].peers.unscraped("housing-bot", time.Time{}) == usdOf(0.25)
	})
	if own := both[1].peers.unscraped("housing-bot", time.Time{}); own != 0 {
		t.Errorf("meter-1 heard of %s USD that it spent itself", dollars(own))
	}
	asked := func() []string {
		p := both[0].peers
		p.mu.Lock()
		defer p.mu.Unlock()
		var all []string
		for a := range p.asks {
			all = append(all, a)
		}
		slices.Sort(all)
		return all
	}
	if want := []string{ips[0] + ":" + port, ips[1] + ":" + port}; !slices.Equal(asked(), want) {
		t.Errorf("meter-0 asks %v, want %v", asked(), want)
	}
	dns.set(ips[0])
	until(t, func() bool { return slices.Equal(asked(), []string{ips[0] + ":" + port}) })
	if got := both[0].peers.unscraped("housing-bot", time.Time{}); got != usdOf(0.25) {
		t.Errorf("what a replica spent that is gone is forgotten: %s USD", dollars(got))
	}
}
