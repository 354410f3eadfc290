package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"whisperops.io/functions/test/controlplane"
	"whisperops.io/functions/test/controlplane/suite"
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
	out, err := os.OpenFile(o.file(progress), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = fmt.Fprintf(out, strings.TrimSuffix(format, "\n")+"\n", args...) // progress is a courtesy
	}
	control, err := net.Listen("unix", o.file(controlSoc))
	if err != nil {
		return fmt.Errorf("cannot listen for commands: %w", err)
	}
	var open []net.Conn // kept open until the very end: who waits for it sees it
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
				if line == "stop\n" {
					cancel()
				}
			}()
		}
	}()
	say("booting etcd, Kubernetes and Crossplane")
	s, err := suite.Start(ctx, suite.Options{
		Options:  controlplane.Options{Dir: o.file("stack"), Log: say, Audit: true},
		Checkout: o.checkout, Packages: o.packages, StandIns: o.standIns, Schemas: o.schemas,
	})
	if err != nil {
		return err
	}
	defer s.Stop()
	for socket, address := range map[string]string{apiSoc: s.URL, promSoc: s.Prometheus} {
		if err := forward(o.file(socket), address); err != nil {
			return err
		}
	}
	say("first order: housing-bot, for the dataset california-housing")
	if err := s.Order(ctx, filepath.Join(o.checkout, "examples", "agent-first-order", "required.yaml"), filepath.Join(o.checkout, "examples", "agent-first-order", "xr.yaml")); err != nil {
		return err
	}
	go s.Work(ctx)
	if err := s.WaitFor(ctx, 3*time.Minute, "Ready", "whisperops.io/v1alpha1", "XDatasetAgent", "", "housing-bot"); err != nil {
		return explain(ctx, s, err)
	}
	if err := s.WaitFor(ctx, 2*time.Minute, "SpendMeasured", "whisperops.io/v1alpha1", "XAgentBudget", "agent-housing-bot", "housing-bot"); err != nil {
		return explain(ctx, s, err)
	}
	say(ready)
	<-ctx.Done()
	return nil
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
	for socket := range map[string]bool{controlSoc: true, apiSoc: true, promSoc: true} {
		if err := controlplane.Eventually(ctx, 10*time.Minute, socket, func(context.Context) error {
			if !running(o) {
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
	for socket, scheme := range map[string]string{apiSoc: "https", promSoc: "http"} {
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
	_, _ = io.Copy(io.Discard, control) // ends when the control plane does
	return nil
}
