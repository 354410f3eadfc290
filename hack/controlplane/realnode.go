package controlplane

import (
	"context"
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// RealNodeName is the Node whose kubelet is Kubernetes' own.
const RealNodeName = "real-node"

// RealNodeTools are what a real node needs of test/tools/tools.mk.
var RealNodeTools = []string{"KUBELET", "KUBE_SCHEDULER", "KUBE_PROXY", "KUBE_ROUTER", "COREDNS"}

// RealNodeOptions say what a real node runs.
type RealNodeOptions struct {
	// Pause is the path of a static program that waits for a signal, for the container
	// that holds each pod's namespaces.
	Pause string
	// Images are what pods may name; nothing is pulled.
	Images []Image
	// Targets is a file that lists what can be scraped, as in NodeOptions.
	Targets string
}

// A RealNode runs pods as any node does: Kubernetes' own kubelet, scheduler, proxy for
// Services and controllers, Debian's containerd and runc, CoreDNS, and kube-router,
// which holds packets against NetworkPolicies. Its network, mounts and processes are the
// stack's own and end with it.
type RealNode struct {
	s       *Stack
	o       RealNodeOptions
	socket  string // containerd's
	targets string
	cancel  context.CancelFunc
	done    sync.WaitGroup
	loaded  chan struct{} // closed when the images are there, or one can't be had
	loading error
}

//go:embed realnode.yaml
var realNodeManifests string

// StartRealNode makes the Node, waits until it is Ready and names can be resolved on it,
// and runs until the stack stops. The stack must be one of Options.RealNode.
func (s *Stack) StartRealNode(ctx context.Context, o RealNodeOptions) (*RealNode, error) {
	if !s.options.RealNode {
		return nil, errors.New("cannot start a real node: the stack was not started for one (Options.RealNode)")
	}
	began := time.Now()
	n := &RealNode{s: s, o: o, socket: filepath.Join(s.Dir, "containerd.sock"), loaded: make(chan struct{})}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.cancel = cancel
	s.closers = append(s.closers, n.stop)
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"containerd", n.containerd},
		{"its own images", n.ownImages},
		{"kubelet", n.kubelet},
		{"scheduler, Services and NetworkPolicies", n.controllers},
		{"names", n.names},
	} {
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("cannot start a real node: %s: %w", step.what, err)
		}
		s.log("real node: %s after %s", step.what, time.Since(began).Round(10*time.Millisecond))
	}
	n.done.Go(func() { n.scrape(background) })
	n.done.Go(func() {
		defer close(n.loaded)
		n.loading = n.load(background, o.Images...)
		s.log("real node: images after %s", time.Since(began).Round(10*time.Millisecond))
	})
	return n, nil
}

func (n *RealNode) stop() {
	n.cancel()
	n.done.Wait()
	removeCgroups(cgroups, cgroupOf(n.s.Dir))
	unmountBelow(n.s.Dir)
}

const containerdConfig = `version = 2
root = %[1]q
state = %[2]q
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt", "io.containerd.tracing.processor.v1.otlp"]
[grpc]
  address = %[3]q
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true # machines that are virtual themselves may refuse a lower one
  sandbox_image = %[4]q
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %[5]q
    conf_dir = %[6]q
`

const pauseImage = "registry.local/pause:1"

// containerd runs Debian's, from a configuration and with a state of this stack's own.
func (n *RealNode) containerd(ctx context.Context) error {
	dir := filepath.Join(n.s.Dir, "containerd")
	cni := filepath.Join(n.s.Dir, "cni")
	network, err := json.Marshal(map[string]any{"cniVersion": "0.4.0", "name": "pods", "plugins": []any{map[string]any{
		// A device of its own per pod: all packets between pods go through the node, where
		// they can be refused.
		"type": "ptp", "ipam": map[string]any{
			"type": "host-local", "dataDir": filepath.Join(cni, "addresses"),
			"ranges": []any{[]any{map[string]any{"subnet": podRange}}}, "routes": []any{map[string]any{"dst": "0.0.0.0/0"}},
		},
	}}})
	if err != nil {
		return err
	}
	if err := writeFiles(cni, map[string][]byte{"10-pods.conflist": network}); err != nil {
		return err
	}
	config := fmt.Appendf(nil, containerdConfig, filepath.Join(dir, "root"), filepath.Join(dir, "state"), n.socket, pauseImage, cniPlugins, cni)
	if err := writeFiles(dir, map[string][]byte{"config.toml": config}); err != nil {
		return err
	}
	_, err = n.s.Run(ctx, Command{
		Name: "containerd", Path: "containerd", Args: []string{"--config", filepath.Join(dir, "config.toml"), "--log-level", "info"}, Env: rootEnv(),
		Ready: func(ctx context.Context) error { return n.ctr(ctx, nil, "version") },
	})
	return err
}

// rootEnv is the environment of what configures the machine: Debian keeps much of it
// where only root looks.
func rootEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin", "HOME=/root"}
}

// ctr is containerd's own client.
func (n *RealNode) ctr(ctx context.Context, stdin io.Reader, args ...string) error {
	return runTool(ctx, stdin, "ctr", append([]string{"--address", n.socket, "--namespace", "k8s.io"}, args...)...)
}

// runTool runs a program of the machine's, and says what it said if it fails.
func runTool(ctx context.Context, stdin io.Reader, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env, cmd.Stdin = rootEnv(), stdin
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// identity writes a kubeconfig for one of Kubernetes' own components.
func (n *RealNode) identity(cn, group string) (string, error) {
	l, err := n.s.ca.issue(cn, group, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return "", err
	}
	file := n.s.pki(strings.ReplaceAll(cn, ":", "-") + ".kubeconfig")
	return file, n.s.WriteKubeconfig(file, n.s.URL, &clientcmdapi.AuthInfo{ClientCertificateData: l.cert, ClientKeyData: l.key})
}

const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: %[1]q}}
authorization: {mode: AlwaysAllow}
tlsCertFile: %[2]q
tlsPrivateKeyFile: %[3]q
containerRuntimeEndpoint: unix://%[4]s
address: %[5]s
readOnlyPort: 0
clusterDomain: cluster.local
clusterDNS: [%[6]s]
resolvConf: ""
cgroupDriver: cgroupfs
cgroupRoot: /%[7]s
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
oomScoreAdj: 0
# A full disk of the machine is the machine's affair.
evictionHard: {memory.available: "0%%", nodefs.available: "0%%", nodefs.inodesFree: "0%%", imagefs.available: "0%%", imagefs.inodesFree: "0%%"}
imageGCHighThresholdPercent: 100
imageMaximumGCAge: 0s
# Settings of the machine's kernel stay as they are: see shield.
`

// kubelet runs Kubernetes' own, and takes away the taint that the node lifecycle
// controller would, once the node is Ready.
func (n *RealNode) kubelet(ctx context.Context) error {
	if err := makeCgroups(cgroupOf(n.s.Dir)); err != nil {
		return err
	}
	serving, err := n.s.ca.issue(RealNodeName, "", x509.ExtKeyUsageServerAuth, RealNodeName, nodeAddress)
	if err != nil {
		return err
	}
	dir := filepath.Join(n.s.Dir, "kubelet")
	file := func(name string) string { return filepath.Join(dir, name) }
	if err := writeFiles(dir, map[string][]byte{
		"tls.crt": serving.cert, "tls.key": serving.key,
		"config.yaml": fmt.Appendf(nil, kubeletConfig, n.s.pki("ca.crt"), file("tls.crt"), file("tls.key"), n.socket, nodeAddress, dnsServiceIP, cgroupOf(n.s.Dir)),
	}); err != nil {
		return err
	}
	kubeconfig, err := n.identity("system:node:"+RealNodeName, "system:nodes")
	if err != nil {
		return err
	}
	nodes := n.s.Kubernetes.CoreV1().Nodes()
	if _, err := n.s.Run(ctx, Command{
		Name: "kubelet", Path: n.s.Tools["KUBELET"], Env: rootEnv(), Respawn: true, Within: 2 * time.Minute,
		Args: []string{
			"--config", file("config.yaml"), "--kubeconfig", kubeconfig, "--root-dir", file("root"), "--cert-dir", file("pki"),
			"--hostname-override", RealNodeName, "--node-ip", nodeAddress,
		},
		Ready: func(ctx context.Context) error {
			node, err := nodes.Get(ctx, RealNodeName, metav1.GetOptions{})
			if err != nil {
				return err
			}
			for _, c := range node.Status.Conditions {
				if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
					return nil
				} else if c.Type == corev1.NodeReady {
					err = errors.New(c.Message)
				}
			}
			return errors.Join(errors.New("the node is not Ready"), err)
		},
	}); err != nil {
		return err
	}
	_, err = nodes.Patch(ctx, RealNodeName, types.MergePatchType, []byte(`{"spec":{"taints":null}}`), metav1.PatchOptions{})
	return err
}

// controllers run what places pods, leads Services to them, and refuses packets.
func (n *RealNode) controllers(ctx context.Context) error {
	if err := n.s.ApplyYAML(ctx, realNodeManifests); err != nil {
		return err
	}
	scheduler, err := n.identity("system:kube-scheduler", "")
	if err != nil {
		return err
	}
	proxy, err := n.identity("system:kube-proxy", "")
	if err != nil {
		return err
	}
	router, err := n.identity("kube-router", "")
	if err != nil {
		return err
	}
	for _, c := range []Command{
		{Name: "kube-scheduler", Path: n.s.Tools["KUBE_SCHEDULER"], Args: []string{"--kubeconfig", scheduler, "--authentication-kubeconfig", scheduler, "--authorization-kubeconfig", scheduler, "--leader-elect=false", "--bind-address", "127.0.0.1"}},
		{Name: "kube-proxy", Path: n.s.Tools["KUBE_PROXY"], Args: []string{
			"--kubeconfig", proxy, "--hostname-override", RealNodeName, "--proxy-mode", "iptables", "--cluster-cidr", podRange, "--bind-address", nodeAddress,
			// These are settings of the machine's kernel, not of this network.
			"--conntrack-max-per-core", "0", "--conntrack-tcp-timeout-established", "0", "--conntrack-tcp-timeout-close-wait", "0",
		}},
		{Name: "kube-router", Path: n.s.Tools["KUBE_ROUTER"], Args: []string{"-kubeconfig", router, "-node", RealNodeName, "-services", realServiceRange}},
	} {
		c.Env, c.Respawn = rootEnv(), true
		if _, err := n.s.Run(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// names waits for CoreDNS, and makes the programs that run beside the pods ask it, too.
func (n *RealNode) names(ctx context.Context) error {
	if err := Eventually(ctx, 2*time.Minute, "CoreDNS", func(ctx context.Context) error {
		d, err := n.s.Kubernetes.AppsV1().Deployments("kube-system").Get(ctx, "coredns", metav1.GetOptions{})
		if err == nil && d.Status.ReadyReplicas == 0 {
			err = errors.New("its pod is not ready")
		}
		return err
	}); err != nil {
		return err
	}
	return ownFile(filepath.Join(n.s.Dir, "resolv.conf"), "/etc/resolv.conf", "nameserver "+dnsServiceIP+"\nsearch svc.cluster.local cluster.local\noptions ndots:5\n")
}

// scrape lists what can be scraped, once a second.
func (n *RealNode) scrape(ctx context.Context) {
	for ctx.Err() == nil {
		pods, err := n.s.Kubernetes.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
		if err == nil {
			list := []scrapeTarget{}
			for _, p := range pods.Items {
				if p.Status.PodIP != "" && p.Status.Phase == corev1.PodRunning {
					list = append(list, scrapeTargets(p.Status.PodIP, p.Namespace, p.Name, p.Spec)...)
				}
			}
			n.targets = writeTargets(n.o.Targets, list, n.targets)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
