package controlplane

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A proxy is a Service's port: it leads to the ready pods, in turn. It listens
// only while there is one, so that who calls meanwhile is refused, as by a real
// Service without endpoints.
type proxy struct {
	node *Node
	l    net.Listener

	mu   sync.Mutex
	to   []*pod
	port func(*pod) int32
	next int

	open sync.Map // connections
}

// serve makes the proxies that the Services want.
func (n *Node) serve() {
	all, err := n.services.List(labels.Everything())
	if err != nil {
		return // a list from memory has no errors
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	wanted := map[string]bool{}
	names := map[string][]string{}
	for _, s := range all {
		if !n.o.Runs(s.Namespace) || s.Spec.ClusterIP == "" || len(s.Spec.Selector) == 0 {
			continue
		}
		base := s.Name + "." + s.Namespace
		called := []string{base + ".svc", base, base + ".svc.cluster.local"}
		headless := s.Spec.ClusterIP == corev1.ClusterIPNone
		var ready []*pod
		for _, p := range n.behind(s) {
			if headless && (p.ready || s.Spec.PublishNotReadyAddresses) {
				names[p.ip] = append(names[p.ip], called...) // the pods themselves
			}
			if p.ready {
				ready = append(ready, p)
			}
		}
		if headless {
			continue
		}
		names[s.Spec.ClusterIP] = called
		if len(ready) == 0 {
			continue
		}
		for _, port := range s.Spec.Ports {
			address := net.JoinHostPort(s.Spec.ClusterIP, strconv.Itoa(int(port.Port)))
			wanted[address] = true
			if err := n.lead(address, port.TargetPort, ready); err != nil {
				n.s.log("service %s: %v", base, err)
			}
		}
	}
	for address, p := range n.proxies {
		if !wanted[address] {
			_ = p.l.Close() // what is open goes on until its pod ends
			delete(n.proxies, address)
		}
	}
	n.name(names)
}

// behind are the pods that a Service selects, in the order of their names.
func (n *Node) behind(s *corev1.Service) []*pod {
	var out []*pod
	for _, k := range slices.Sorted(maps.Keys(n.pods)) {
		if p := n.pods[k]; p.namespace == s.Namespace && labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(p.labels)) {
			out = append(out, p)
		}
	}
	return out
}

// lead makes an address lead to a port of pods, by a proxy of its own.
func (n *Node) lead(address string, target intstr.IntOrString, to []*pod) error {
	px := n.proxies[address]
	if px == nil {
		l, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		px = &proxy{node: n, l: l}
		n.proxies[address] = px
		go px.run()
	}
	px.mu.Lock()
	defer px.mu.Unlock()
	px.to, px.port = to, func(p *pod) int32 { return portOf(p.spec.Containers[0], target) }
	return nil
}

// name makes the Services' names lead to their addresses, in an /etc/hosts of our
// own. Without one, addresses in the pods' environment are changed instead.
func (n *Node) name(names map[string][]string) {
	if !IsIsolated() {
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "127.0.0.1 localhost %s\n", strings.Join(n.s.options.Hosts, " "))
	for _, ip := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&b, "%s %s\n", ip, strings.Join(names[ip], " "))
	}
	text := b.String()
	if text == n.hosts {
		return
	}
	// The file is mounted: it is written in place. One that became shorter is filled
	// up with blank lines, because a reader must never see half of it.
	padded := text
	for len(padded) < len(n.hosts) {
		padded += "\n"
	}
	f, err := os.OpenFile(filepath.Join(n.s.Dir, "hosts"), os.O_WRONLY, 0)
	if err != nil {
		n.s.log("cannot name services: %v", err)
		return
	}
	if _, err := f.WriteAt([]byte(padded), 0); err == nil {
		n.hosts = text
	}
	_ = f.Close() // written, or tried again
}

var serviceURL = regexp.MustCompile(`://([a-z0-9-]+)\.([a-z0-9-]+)(\.svc(?:\.cluster\.local)?)?([:/]|$)`)

// resolve replaces Services' names in addresses, where there is no /etc/hosts of
// our own.
func (n *Node) resolve(v string) string {
	if IsIsolated() {
		return v
	}
	return serviceURL.ReplaceAllStringFunc(v, func(m string) string {
		part := serviceURL.FindStringSubmatch(m)
		s, err := n.services.Services(part[2]).Get(part[1])
		if err != nil || s.Spec.ClusterIP == "" {
			return m
		}
		return "://" + s.Spec.ClusterIP + part[4]
	})
}

func (p *proxy) run() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		go p.forward(c)
	}
}

func (p *proxy) close() {
	_ = p.l.Close() // nothing was written to it
	p.open.Range(func(k, _ any) bool {
		if c, is := k.(net.Conn); is {
			_ = c.Close() // it ends with the stack
		}
		return true
	})
}

// forward connects a client with a pod, as the pod that the client is.
func (p *proxy) forward(c net.Conn) {
	defer c.Close() //nolint:errcheck // both sides have said what they had to
	p.mu.Lock()
	to, port := p.to, p.port
	p.next++
	turn := p.next
	p.mu.Unlock()
	if len(to) == 0 {
		return
	}
	target := to[turn%len(to)]
	from := p.node.caller(c)
	if err := p.node.allowed(from, target, port(target)); err != nil {
		p.node.s.log("%v", err)
		return
	}
	d := net.Dialer{Timeout: 10 * time.Second}
	if from != nil {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from.ip)}
	}
	out, err := d.Dial("tcp", net.JoinHostPort(target.ip, strconv.Itoa(int(port(target)))))
	if err != nil {
		return
	}
	defer out.Close() //nolint:errcheck // as above
	p.open.Store(c, nil)
	defer p.open.Delete(c)
	var half sync.WaitGroup
	for _, dir := range [][2]net.Conn{{out, c}, {c, out}} {
		half.Go(func() {
			_, err := io.Copy(dir[0], dir[1])
			if t, is := dir[0].(*net.TCPConn); is {
				if err != nil {
					_ = t.SetLinger(0) // what broke there breaks here
				}
				_ = t.CloseWrite() // it may be gone
			}
		})
	}
	half.Wait()
}

// caller is the pod whose process holds the other end of a connection; nil for
// anybody else on this machine.
func (n *Node) caller(c net.Conn) *pod {
	inode := socketOf(c.RemoteAddr().String(), c.LocalAddr().String())
	if inode == "" {
		return nil
	}
	for _, p := range n.all() {
		n.mu.Lock()
		proc := p.process
		n.mu.Unlock()
		if proc != nil && holds(proc.PID(), inode) {
			return p
		}
	}
	return nil
}

// socketOf finds the socket with the given two ends, in the kernel's table of them.
func socketOf(local, remote string) string {
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	want := tableAddress(local) + " " + tableAddress(remote) + " "
	for line := range strings.Lines(string(b)) {
		if _, rest, found := strings.Cut(line, want); found {
			// st tx:rx tr:when retrnsmt uid timeout inode
			if f := strings.Fields(rest); len(f) > 6 {
				return f[6]
			}
		}
	}
	return ""
}

// tableAddress writes an IPv4 address as /proc/net/tcp does: little endian, in hex.
func tableAddress(s string) string {
	host, port, err := net.SplitHostPort(s)
	ip := net.ParseIP(host).To4()
	n, perr := strconv.Atoi(port)
	if err != nil || ip == nil || perr != nil {
		return ""
	}
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", ip[3], ip[2], ip[1], ip[0], n)
}

// holds says whether a process or a child of it has a socket open.
func holds(pid int, inode string) bool {
	if pid == 0 {
		return false
	}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, fd := range fds {
		if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && to == "socket:["+inode+"]" {
			return true
		}
	}
	return false
}

// Dial connects to a Service as a pod of a Deployment would.
func (n *Node) Dial(ctx context.Context, namespace, deployment, service string) error {
	host, port, err := net.SplitHostPort(service)
	if err != nil {
		return err
	}
	name, ns, _ := strings.Cut(host, ".")
	ns, _, _ = strings.Cut(ns, ".")
	var from *pod
	for _, p := range n.all() {
		if p.namespace == namespace && p.deployment == deployment && p.ready {
			from = p
		}
	}
	if from == nil {
		return fmt.Errorf("no pod of %s/%s is ready", namespace, deployment)
	}
	s, err := n.services.Services(ns).Get(name)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	for _, p := range n.all() {
		if p.namespace != ns || !p.ready || !labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(p.labels)) {
			continue
		}
		for _, sp := range s.Spec.Ports {
			if int(sp.Port) != number {
				continue
			}
			to := portOf(p.spec.Containers[0], sp.TargetPort)
			if err := n.allowed(from, p, to); err != nil {
				return err
			}
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from.ip)}}
			c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(p.ip, strconv.Itoa(int(to))))
			if err != nil {
				return err
			}
			return c.Close()
		}
	}
	return fmt.Errorf("service %s has no ready pod", service)
}
