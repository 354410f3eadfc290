package tokenmeter

import (
	"context"
	"encoding/json"
	"net/netip"
	"sync"
)

// Reasons why a caller is not believed.
const (
	reasonUnknown   = "unknown_address"
	reasonNamespace = "other_namespace"
	reasonAmbiguous = "ambiguous_address"
)

// anyone believes every caller: for a laptop.
type anyone struct{}

func (anyone) Confirm(context.Context, string, string) string { return "" }

// Pods are the addresses of pods in agents' namespaces.
type Pods struct {
	mu      sync.Mutex
	pods    map[string]pod // by uid
	byAddr  map[netip.Addr]map[string]bool
	changed chan struct{}
}

type pod struct {
	Namespace string       `json:"namespace"`
	Addrs     []netip.Addr `json:"addrs"`
}

func newPods() *Pods {
	return &Pods{pods: map[string]pod{}, byAddr: map[netip.Addr]map[string]bool{}, changed: make(chan struct{})}
}

// Set says where a pod is; without addresses it is nowhere.
func (p *Pods) Set(uid, namespace string, addrs []string) {
	next := pod{Namespace: namespace}
	for _, a := range addrs {
		if addr, err := netip.ParseAddr(a); err == nil {
			next.Addrs = append(next.Addrs, addr.Unmap())
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.set(uid, next)
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Pods) set(uid string, next pod) {
	for _, a := range p.pods[uid].Addrs {
		delete(p.byAddr[a], uid)
		if len(p.byAddr[a]) == 0 {
			delete(p.byAddr, a)
		}
	}
	if len(next.Addrs) == 0 {
		delete(p.pods, uid)
		return
	}
	p.pods[uid] = next
	for _, a := range next.Addrs {
		if p.byAddr[a] == nil {
			p.byAddr[a] = map[string]bool{}
		}
		p.byAddr[a][uid] = true
	}
}

// Confirm waits for a pod that is new to the API server as long as ctx allows.
func (p *Pods) Confirm(ctx context.Context, address, namespace string) string {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return reasonUnknown
	}
	addr = addr.Unmap().WithZone("")
	for {
		p.mu.Lock()
		reason := p.confirm(addr, namespace)
		changed := p.changed
		p.mu.Unlock()
		// An address may have been another's until a moment ago.
		if reason == "" {
			return ""
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return reason
		}
	}
}

func (p *Pods) confirm(addr netip.Addr, namespace string) string {
	ours, others := false, false
	for uid := range p.byAddr[addr] {
		if p.pods[uid].Namespace == namespace {
			ours = true
		} else {
			others = true
		}
	}
	switch {
	case ours && others:
		return reasonAmbiguous
	case ours:
		return ""
	case others:
		return reasonNamespace
	}
	return reasonUnknown
}

// keep and restore carry the pods over a restart, for a meter that starts while
// the API server is away.
func (p *Pods) keep() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, err := json.Marshal(p.pods)
	if err != nil {
		return nil
	}
	return b
}

func (p *Pods) restore(b []byte) {
	var pods map[string]pod
	if b == nil || json.Unmarshal(b, &pods) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for uid, pod := range pods {
		p.set(uid, pod)
	}
}

// only drops the pods that are not among those listed.
func (p *Pods) only(uids map[string]bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for uid := range p.pods {
		if !uids[uid] {
			p.set(uid, pod{})
		}
	}
}
