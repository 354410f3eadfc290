package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// serve is the control plane: it boots it, says how far it is, and keeps it until
// it is told to stop.
func serve(ctx context.Context, o options) error {
	var err error
	code := controlplane.Isolated(func() int {
		if err = hold(ctx, o); err != nil {
			return 1
		}
		return 0
	})
	if err == nil && code != 0 {
		err = errors.New("cannot run in namespaces of our own")
	}
	return err
}

func hold(ctx context.Context, o options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	say, err := sayer(o.file(progress))
	if err != nil {
		return err
	}
	var watching atomic.Pointer[suite.Suite]
	if err := obey(o.file(controlSoc), map[string]func(){
		stopCommand: cancel,
		// make portal runs a dataset-watcher that also writes a catalog; two watchers
		// would fight.
		watcherCommand: func() {
			if p := watcher(watching.Load()); p != nil {
				p.Stop()
			}
		},
		watcherBackCommand: func() {
			if p := watcher(watching.Load()); p != nil && !p.Alive() {
				if err := p.Start(ctx); err != nil {
					say("cannot start the dataset-watcher again: %v", err)
				}
			}
		},
	}); err != nil {
		return err
	}
	say("booting etcd, Kubernetes and Crossplane")
	if o.configuration != "" {
		return holdForeign(ctx, o, say)
	}
	s, err := suite.Start(ctx, suite.Options{
		Options:  controlplane.Options{Dir: o.file("stack"), Log: say, Audit: true, RealNode: controlplane.WantsRealNode()},
		Checkout: o.checkout, Packages: o.packages, StandIns: o.standIns, Schemas: o.schemas, Agents: o.agents(),
	})
	if err != nil {
		return err
	}
	defer s.Stop()
	watching.Store(s)
	for socket, address := range map[string]string{apiSoc: s.URL, promSoc: s.Prometheus} {
		if err := forward(o.file(socket), address); err != nil {
			return err
		}
	}
	say("first order: housing-bot, for the dataset california-housing")
	if err := firstOrder(ctx, o, s); err != nil {
		return explain(ctx, s, err)
	}
	say(ready)
	<-ctx.Done()
	return nil
}

// watcher is the dataset-watcher of a suite that runs one, or nil.
func watcher(s *suite.Suite) *controlplane.Process {
	if s == nil {
		return nil
	}
	return s.Process("dataset-watcher")
}

// sayer returns what writes a line of progress into a file.
func sayer(file string) (func(format string, args ...any), error) {
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	return func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintf(out, strings.TrimSuffix(format, "\n")+"\n", args...) // progress is a courtesy
	}, nil
}

// obey runs commands that come through a socket, a line each, and answers when they are
// done. Connections are kept open until the process ends: who waits for that sees it.
func obey(socket string, commands map[string]func()) error {
	control, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("cannot listen for commands: %w", err)
	}
	var mu sync.Mutex
	var open []net.Conn
	go func() {
		for {
			c, err := control.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			go func() {
				line, _ := bufio.NewReader(c).ReadString('\n')
				if do := commands[strings.TrimSpace(line)]; do != nil {
					do()
					_, _ = io.WriteString(c, done) // who asked may be gone
				}
			}()
		}
	}()
	return nil
}

// agents are those that run for real: all, where there is a Python with pandas.
func (o options) agents() suite.Agents {
	if o.python == "" && o.rootfs == "" {
		return suite.Agents{}
	}
	return suite.Agents{
		Namespaces: []string{"*"}, Watch: true, Datasets: filepath.Join(o.checkout, "test", "standins", "datasets"), Python: o.python, Rootfs: o.rootfs,
		ModelURL: os.Getenv("MODEL_URL"), ModelKey: os.Getenv("MODEL_KEY"), Model: os.Getenv("MODEL"),
	}
}

// firstOrder orders an agent and waits until it answers.
func firstOrder(ctx context.Context, o options, s *suite.Suite) error {
	order := filepath.Join(o.checkout, "examples", "agent-first-order")
	how := orderAlive
	if !s.Runs() {
		how = orderAtPlay
	}
	if err := how(ctx, o, s, order); err != nil {
		return err
	}
	if err := s.WaitFor(ctx, 4*time.Minute, "Ready", suite.API, "XDatasetAgent", "", "housing-bot"); err != nil {
		return err
	}
	if !s.Runs() {
		return s.WaitFor(ctx, 2*time.Minute, "SpendMeasured", suite.API, "XAgentBudget", "agent-housing-bot", "housing-bot")
	}
	return s.WaitForAgent(ctx, 2*time.Minute, "housing-bot")
}

// orderAtPlay orders an agent whose pods don't run: what it would do is played.
func orderAtPlay(ctx context.Context, o options, s *suite.Suite, order string) error {
	dataset := o.file("dataset.yaml")
	if err := ofNow(filepath.Join(order, "required.yaml"), dataset); err != nil {
		return err
	}
	if err := s.Order(ctx, dataset, filepath.Join(order, "xr.yaml")); err != nil {
		return err
	}
	go s.Work(ctx)
	return nil
}

// orderAlive orders an agent that runs, for a dataset that the watcher finds.
func orderAlive(ctx context.Context, o options, s *suite.Suite, order string) error {
	if err := errors.Join(forward(o.file(storageSoc), s.Storage), os.WriteFile(o.file(storageAddress), []byte(s.Storage), 0o600)); err != nil {
		return err
	}
	go pages(ctx, o, s)
	if err := controlplane.Eventually(ctx, time.Minute, "the dataset-watcher to find california-housing", func(ctx context.Context) error {
		_, err := s.Get(ctx, suite.API, "XDataset", "", "california-housing")
		return err
	}); err != nil {
		return err
	}
	return s.Order(ctx, filepath.Join(order, "xr.yaml"))
}

// written are the times of a story.
var written = regexp.MustCompile(`"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"`)

// ofNow copies a file of a story and moves its times to now: a dataset that was made
// half a minute ago was not last seen days ago.
func ofNow(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, written.ReplaceAll(b, strconv.AppendQuote(nil, time.Now().UTC().Format(time.RFC3339))), 0o600)
}

// pages opens a socket for the chat page of every agent.
func pages(ctx context.Context, o options, s *suite.Suite) {
	open := map[string]bool{}
	for ctx.Err() == nil {
		list, err := s.List(ctx, "v1", "Service", "")
		for _, svc := range list {
			agent, is := strings.CutPrefix(svc.GetNamespace(), "agent-")
			ip, _, _ := unstructured.NestedString(svc.Object, "spec", "clusterIP")
			if err != nil || !is || svc.GetName() != "chat-frontend" || ip == "" || open[agent+ip] {
				continue
			}
			socket := o.file(pageSoc(agent))
			_ = os.Remove(socket) // of an agent of that name before
			if forward(socket, "http://"+net.JoinHostPort(ip, "3000")) == nil {
				open[agent+ip] = true
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// explain adds to an error what a person would look at, after an interruption too.
func explain(ctx context.Context, s *suite.Suite, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	for _, args := range [][]string{
		{"get", "xda,xab,xds,managed,objects.kubernetes.m.crossplane.io,objects.kubernetes.crossplane.io", "-A"},
		{"describe", "xda"},
		{"get", "agents.kagent.dev,deployments", "-A"},
	} {
		out, kerr := s.Kubectl(ctx, args...)
		err = fmt.Errorf("%w\n\n$ kubectl %s\n%s", err, strings.Join(args, " "), out)
		if kerr != nil {
			return errors.Join(err, kerr)
		}
	}
	return err
}

// forward lets a Unix socket lead to a TCP address, because a socket in the file
// system can be reached from other network namespaces.
func forward(socket, address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	go relay(l, "tcp", u.Host)
	return nil
}

// relay connects who connects to a listener with an address.
func relay(l net.Listener, network, address string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			out, err := net.Dial(network, address)
			if err != nil {
				_ = in.Close() // tells the client what there is to tell
				return
			}
			var both sync.WaitGroup
			for _, p := range [][2]net.Conn{{in, out}, {out, in}} {
				both.Go(func() {
					_, _ = io.Copy(p[0], p[1]) // either side may end it at any time
					_ = p[0].Close()
				})
			}
			both.Wait()
		}()
	}
}

// proxy makes API server and Prometheus reachable on loopback ports of the
// machine, writes a kubeconfig that leads there, and ends with the control plane.
func proxy(ctx context.Context, o options) error {
	var control net.Conn
	schemes := map[string]string{apiSoc: "https", promSoc: "http"}
	if o.configuration != "" {
		delete(schemes, promSoc) // somebody else's Configuration has no Prometheus
	}
	for _, socket := range append([]string{controlSoc}, slices.Sorted(maps.Keys(schemes))...) {
		if err := controlplane.Eventually(ctx, 10*time.Minute, socket, func(context.Context) error {
			if gone(o) {
				return controlplane.Never(errors.New("the control plane ended"))
			}
			c, err := net.Dial("unix", o.file(socket))
			if err != nil {
				return err
			}
			if socket == controlSoc {
				control = c
				return nil
			}
			return c.Close()
		}); err != nil {
			return err
		}
	}
	urls := map[string]string{}
	for socket, scheme := range schemes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		urls[socket] = scheme + "://" + l.Addr().String()
		go relay(l, "unix", o.file(socket))
	}
	if err := os.WriteFile(o.file("prometheus-url"), []byte(urls[promSoc]+"\n"), 0o600); err != nil {
		return err
	}
	cfg, err := clientcmd.LoadFromFile(o.file("stack/admin.kubeconfig"))
	if err != nil {
		return err
	}
	for _, c := range cfg.Clusters {
		c.Server = urls[apiSoc]
	}
	if err := clientcmd.WriteToFile(*cfg, o.kubeconfig()); err != nil {
		return err
	}
	go publish(o)
	_, _ = io.Copy(io.Discard, control) // ends when the control plane does
	return nil
}

// publish gives each chat page a port of this machine: 3000 and up, where they are
// free. A page keeps its port.
func publish(o options) {
	done := map[string]bool{}
	for next := 3000; ; time.Sleep(500 * time.Millisecond) {
		sockets, err := filepath.Glob(o.file(pageSoc("*")))
		if err != nil {
			return // the pattern is ours
		}
		for _, socket := range sockets {
			if done[socket] {
				continue
			}
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", next))
			for err != nil && next < 3100 {
				next++
				l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", next))
			}
			if err != nil {
				if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
					continue
				}
			}
			next++
			go relay(l, "unix", socket)
			done[socket] = true
			if err := os.WriteFile(strings.TrimSuffix(socket, ".sock")+".url", []byte("http://"+l.Addr().String()+"/"), 0o600); err != nil {
				return // the folder is gone: so is the control plane
			}
		}
	}
}
