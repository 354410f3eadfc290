// Command kube-router is the part of kube-router that enforces NetworkPolicies, with
// iptables and ipset, on the machine it runs on. Its router and its proxy for Services
// are left out.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/cloudnativelabs/kube-router/v2/pkg/controllers/netpol"
	"github.com/cloudnativelabs/kube-router/v2/pkg/healthcheck"
	"github.com/cloudnativelabs/kube-router/v2/pkg/options"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "kube-router:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	kubeconfig := flag.String("kubeconfig", "", "how to reach the API server")
	node := flag.String("node", "", "name of this machine's Node")
	services := flag.String("services", "", "CIDR of Services' addresses")
	flag.Parse()
	rest, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(rest)
	if err != nil {
		return err
	}
	o := options.NewKubeRouterConfig()
	o.HostnameOverride, o.ClusterIPCIDRs = *node, []string{*services}
	o.EnableIPv4, o.EnableIPv6, o.RunFirewall = true, false, true
	o.IPTablesSyncPeriod = time.Minute
	handlers, sets, err := netpol.NewIPTablesHandlers(o)
	if err != nil {
		return err
	}
	f := informers.NewSharedInformerFactory(client, 0)
	pods, namespaces, policies := f.Core().V1().Pods().Informer(), f.Core().V1().Namespaces().Informer(), f.Networking().V1().NetworkPolicies().Informer()
	var ipsets sync.Mutex
	c, err := netpol.NewNetworkPolicyController(client, o, pods, policies, namespaces, &ipsets, handlers, sets)
	if err != nil {
		return err
	}
	for _, h := range []struct {
		of     cache.SharedIndexInformer
		handle cache.ResourceEventHandler
	}{{pods, c.PodEventHandler}, {namespaces, c.NamespaceEventHandler}, {policies, c.NetworkPolicyEventHandler}} {
		if _, err := h.of.AddEventHandler(h.handle); err != nil {
			return err
		}
	}
	f.Start(ctx.Done())
	f.WaitForCacheSync(ctx.Done())
	beats := make(chan *healthcheck.ControllerHeartbeat, 10)
	go func() {
		for range beats { // nobody asks whether it is well
			continue
		}
	}()
	var done sync.WaitGroup
	done.Add(1)
	c.Run(beats, ctx.Done(), &done)
	return nil
}
