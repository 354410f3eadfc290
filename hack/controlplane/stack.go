package controlplane

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Namespace is where Crossplane and everything of its own lives.
const Namespace = "crossplane-system"

// patience is how long a part of the control plane may take to come up: ten times what it
// takes on a machine that does nothing else.
const patience = 3 * time.Minute

//go:embed rbac.yaml
var rbac string

// StackOptions of a stack with Crossplane.
type StackOptions struct {
	Options

	// CoreArgs are more flags for Crossplane core.
	CoreArgs []string
	// Hosts are names that stand for 127.0.0.1 inside the stack, for example a
	// Service's. They need namespaces of our own; elsewhere they are ignored.
	Hosts []string
	// Programs run instead of what a package's image holds, by repository, for
	// example "crossplane-contrib/provider-kubernetes". They save packing and
	// unpacking large programs.
	Programs map[string]string
	// Registries are hosts beside xpkg.crossplane.io and xpkg.upbound.io whose packages
	// are pulled from the local registry.
	Registries []string
}

// A Stack is a running control plane with Crossplane on it.
type Stack struct {
	*APIServer

	// Registry is the host and port of the local OCI registry, which everything
	// that is named xpkg.crossplane.io/..., xpkg.upbound.io/... or after one of
	// StackOptions.Registries is pulled from.
	Registry string

	options  StackOptions
	xpCA     *authority
	runtimes *runtimes
	node     *Node
	closers  []func()
}

// registries are the names that packages are published under. Manifests keep
// them; Crossplane is told to pull from the local registry instead.
func (o StackOptions) registries() []string {
	out := []string{"xpkg.crossplane.io/", "xpkg.upbound.io/"}
	for _, r := range o.Registries {
		if !slices.Contains(out, r+"/") {
			out = append(out, r+"/")
		}
	}
	return out
}

// local is where in the local registry a published package is.
func (s *Stack) local(ref string) string {
	for _, prefix := range s.options.registries() {
		if rest, ok := strings.CutPrefix(ref, prefix); ok {
			return s.Registry + "/" + rest
		}
	}
	return ref
}

// Start boots everything up to the package manager. Install packages with
// Push and Apply; their processes start by themselves. On an error nothing keeps
// running. Stop ends it all.
func Start(ctx context.Context, o StackOptions) (_ *Stack, err error) {
	o.ControllerManager = true
	if o.Tools == nil {
		if o.Tools, err = FindTools(ctx); err != nil {
			return nil, err
		}
	}
	if err := o.Tools.Need("CROSSPLANE_CORE", "CROSSPLANE_FILES"); err != nil {
		return nil, err
	}
	if !IsIsolated() {
		// The RBAC manager's metrics port has no flag.
		l, err := net.Listen("tcp", "127.0.0.1:8079")
		if err != nil {
			return nil, fmt.Errorf("cannot start a stack: Crossplane's RBAC manager, as test/tools builds it, listens on 127.0.0.1:8079 and has no flag for it, but the port is taken, and this machine allows no network namespace of our own (unshare -rmn): %w", err)
		}
		if err := l.Close(); err != nil {
			return nil, err
		}
	}
	api, err := StartAPIServer(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	s := &Stack{APIServer: api, options: o}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	if err := s.hosts(); err != nil {
		return nil, err
	}
	if err := s.startRegistry(); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := s.startCrossplane(ctx); err != nil {
		return nil, err
	}
	for i, r := range o.registries() {
		if err := s.ApplyYAML(ctx, fmt.Sprintf(`
apiVersion: pkg.crossplane.io/v1beta1
kind: ImageConfig
metadata: {name: local-registry-%d}
spec:
  matchImages: [{type: Prefix, prefix: %s}]
  rewriteImage: {prefix: %s/}
`, i, r, s.Registry)); err != nil {
			return nil, err
		}
	}
	if o.RealNode {
		if err := s.providersHere(ctx); err != nil {
			return nil, err
		}
	}
	s.log("Crossplane ready after %s", time.Since(began).Round(10*time.Millisecond))
	if s.runtimes, err = s.runRuntimes(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Stop ends every process and server of the stack. Its folder stays.
func (s *Stack) Stop() {
	if s.node != nil {
		s.node.stop()
	}
	if s.runtimes != nil {
		s.runtimes.stop()
	}
	s.APIServer.Stop()
	for _, c := range s.closers {
		c()
	}
}

// hosts gives the names that stand for this machine an entry in an /etc/hosts of our own.
func (s *Stack) hosts() error {
	if !IsIsolated() {
		return nil
	}
	if err := ownFile(filepath.Join(s.Dir, "hosts"), "/etc/hosts", "127.0.0.1 localhost "+strings.Join(s.options.Hosts, " ")+"\n"); err != nil {
		return err
	}
	s.closers = append(s.closers, func() { _ = unix.Unmount("/etc/hosts", unix.MNT_DETACH) }) // the namespace ends with the process
	return nil
}

func (s *Stack) startRegistry() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("cannot start the registry: %w", err)
	}
	s.Registry = l.Addr().String()
	srv := &http.Server{
		Handler:           registry.New(registry.Logger(log.New(io.Discard, "", 0))),
		ReadHeaderTimeout: 10 * time.Second,
	}
	go func() {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.log("the registry ended: %v", err)
		}
	}()
	s.closers = append(s.closers, func() { _ = srv.Close() }) // nothing that was written matters any more
	return nil
}

func (s *Stack) startCrossplane(ctx context.Context) error {
	if err := s.ApplyYAML(ctx, rbac); err != nil {
		return err
	}
	// The controller manager adds up core's role; without it core can't do a thing.
	if err := Eventually(ctx, patience, "ClusterRole crossplane to have rules", func(ctx context.Context) error {
		r, err := s.Kubernetes.RbacV1().ClusterRoles().Get(ctx, "crossplane", metav1.GetOptions{})
		if err == nil && len(r.Rules) == 0 {
			return errors.New("it has none yet")
		}
		return err
	}); err != nil {
		return err
	}
	core, err := s.serviceAccountConfig(ctx, "crossplane")
	if err != nil {
		return err
	}
	manager, err := s.serviceAccountConfig(ctx, "rbac-manager")
	if err != nil {
		return err
	}
	ports := [3]int{}
	for i := range ports {
		if ports[i], err = FreePort(); err != nil {
			return err
		}
	}
	webhook, metrics, health := strconv.Itoa(ports[0]), strconv.Itoa(ports[1]), strconv.Itoa(ports[2])
	tls := func(d string) string { return filepath.Join(s.Dir, "tls", d) }
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir, "KUBECONFIG=" + core,
		"POD_NAMESPACE=" + Namespace, "POD_SERVICE_ACCOUNT=crossplane",
		"TLS_CA_SECRET_NAME=crossplane-root-ca", "TLS_SERVER_SECRET_NAME=crossplane-tls-server", "TLS_CLIENT_SECRET_NAME=crossplane-tls-client",
		"TLS_SERVER_CERTS_DIR=" + tls("server"), "TLS_CLIENT_CERTS_DIR=" + tls("client"),
		"WEBHOOK_SERVICE_NAME=crossplane-webhooks", "WEBHOOK_SERVICE_NAMESPACE=" + Namespace, "WEBHOOK_SERVICE_PORT=" + webhook,
		"CRDS_PATH=" + filepath.Join(s.Tools["CROSSPLANE_FILES"], "crds"),
		"WEBHOOK_CONFIGS_PATH=" + filepath.Join(s.Tools["CROSSPLANE_FILES"], "webhookconfigurations"),
	}
	if err := s.initCrossplane(ctx, env); err != nil {
		return err
	}
	for secret, dir := range map[string]string{"crossplane-tls-server": "server", "crossplane-tls-client": "client"} {
		if err := s.secretToDir(ctx, secret, tls(dir)); err != nil {
			return err
		}
	}
	ca, err := s.Kubernetes.CoreV1().Secrets(Namespace).Get(ctx, "crossplane-root-ca", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if s.xpCA, err = parseAuthority(ca.Data["tls.crt"], ca.Data["tls.key"]); err != nil {
		return err
	}
	for _, d := range []string{"xpkg-cache", "xfn-cache"} { // core does not make them, and fails in the dark
		if err := os.MkdirAll(filepath.Join(s.Dir, d), 0o700); err != nil {
			return err
		}
	}
	args := []string{
		"core", "start", "--debug",
		// Providers run as in any cluster: Crossplane makes a Deployment, and this
		// package is its kubelet. Functions need a port each on one address,
		// which a Deployment's Service can't have without a network behind it.
		"--package-runtime", "Provider=Deployment;Function=External",
		"--xpkg-cache-dir", filepath.Join(s.Dir, "xpkg-cache"), "--xfn-cache-dir", filepath.Join(s.Dir, "xfn-cache"),
		"--webhook-port", webhook, "--metrics-port", metrics, "--health-probe-port", health,
	}
	if _, err := s.Run(ctx, Command{
		Name: "crossplane", Path: s.Tools["CROSSPLANE_CORE"], Args: append(args, s.options.CoreArgs...), Env: env,
		Ready: ok("http://127.0.0.1:" + health + "/readyz"), Respawn: true,
	}); err != nil {
		return err
	}
	_, err = s.Run(ctx, Command{
		Name: "rbac-manager", Path: s.Tools["CROSSPLANE_CORE"],
		Args: []string{"rbac", "start", "--debug", "--provider-clusterrole", "crossplane:allowed-provider-permissions"},
		Env:  []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir, "KUBECONFIG=" + manager}, Respawn: true,
	})
	return err
}

// initCrossplane makes Crossplane's CRDs, certificates and defaults. The first
// run on a new server often does not find a kind it has just made; where it is an
// init container it is run again then, and so it is here.
func (s *Stack) initCrossplane(ctx context.Context, env []string) error {
	return Eventually(ctx, patience, "crossplane core init", func(ctx context.Context) error {
		cmd := exec.CommandContext(ctx, s.Tools["CROSSPLANE_CORE"], "core", "init", "--activation", "*")
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if werr := os.WriteFile(filepath.Join(s.Dir, "logs", "crossplane-init.log"), out, 0o600); werr != nil {
			return Never(werr)
		}
		if err != nil {
			return fmt.Errorf("%w: %s", err, lastLine(out))
		}
		return nil
	})
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// serviceAccountConfig writes a kubeconfig for a ServiceAccount in Crossplane's namespace.
func (s *Stack) serviceAccountConfig(ctx context.Context, name string) (string, error) {
	token, err := s.Token(ctx, Namespace, name)
	if err != nil {
		return "", err
	}
	file := filepath.Join(s.Dir, "pki", name+".kubeconfig")
	return file, s.WriteKubeconfig(file, s.URL, &clientcmdapi.AuthInfo{Token: token})
}

// secretToDir writes a Secret's values as files, as a kubelet does for a volume.
func (s *Stack) secretToDir(ctx context.Context, name, dir string) error {
	sec, err := s.Kubernetes.CoreV1().Secrets(Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return writeFiles(dir, sec.Data)
}

// Kubectl runs kubectl as the administrator and returns what it prints.
func (s *Stack) Kubectl(ctx context.Context, args ...string) (string, error) {
	if err := s.Tools.Need("KUBECTL"); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, s.Tools["KUBECTL"], args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.Dir, "KUBECONFIG=" + s.Kubeconfig}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// Healthy waits until every named package is healthy.
func (s *Stack) Healthy(ctx context.Context, within time.Duration, kind string, names ...string) error {
	for _, n := range names {
		if err := s.WaitFor(ctx, within, "Healthy", "pkg.crossplane.io/v1", kind, "", n); err != nil {
			return err
		}
	}
	return nil
}
