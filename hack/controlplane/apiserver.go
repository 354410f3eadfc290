package controlplane

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Options of a stack.
type Options struct {
	// Dir holds all state: keys, etcd's data, logs, kubeconfigs. It is made, and
	// must not hold another stack's state. Tests pass t.TempDir().
	Dir string
	// Tools; nil means FindTools.
	Tools Tools
	// Log gets a line for each thing that takes noticeable time; nil drops it.
	Log func(format string, args ...any)
	// ControllerManager runs the controllers that collect garbage, delete
	// namespaces, make ServiceAccounts and aggregate ClusterRoles. Workload
	// controllers stay off: nothing runs pods here, and a Deployment's status
	// is left to whoever plays kubelet.
	ControllerManager bool
	// Audit makes the API server log every request's metadata to AuditLog.
	Audit bool
	// RealNode prepares for StartRealNode: the API server is reached from pods, and
	// Kubernetes' own controllers make pods of Deployments and endpoints of Services.
	// It needs what CanRunRealNode asks for, and namespaces of our own.
	RealNode bool
	// APIServerArgs are more flags for kube-apiserver.
	APIServerArgs []string
}

// An APIServer is a running kube-apiserver and what it needs.
type APIServer struct {
	*Client
	*Processes

	Dir   string
	Tools Tools
	// Kubeconfig is the path of the administrator's kubeconfig.
	Kubeconfig string
	// URL is where the API server listens, https://127.0.0.1:port.
	URL string
	// AuditLog is the path of the audit log, one JSON event per line.
	AuditLog string

	log  func(string, ...any)
	ca   *authority
	port int
}

// serviceRange is inside loopback, so that a ClusterIP is an address on which
// a local process can listen.
const (
	serviceRange   = "127.77.0.0/16"
	firstServiceIP = "127.77.0.1"
)

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata}
`

// StartAPIServer boots etcd and kube-apiserver, and the controller manager if
// asked. On an error nothing keeps running. Stop ends it all.
func StartAPIServer(ctx context.Context, o Options) (_ *APIServer, err error) {
	if o.Tools == nil {
		if o.Tools, err = FindTools(ctx); err != nil {
			return nil, err
		}
	}
	if err := o.Tools.Need("ETCD", "KUBE_APISERVER", "KUBE_CONTROLLER_MANAGER"); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(o.Dir, "pki")); err == nil {
		return nil, fmt.Errorf("cannot start a control plane in %s: it holds the state of another one; remove it or choose another folder", o.Dir)
	}
	processes, err := NewProcesses(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &APIServer{Processes: processes, Dir: o.Dir, Tools: o.Tools, log: o.Log, Kubeconfig: filepath.Join(o.Dir, "admin.kubeconfig")}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	began := time.Now()
	if o.RealNode {
		s.port = realAPIPort
		err = readyMachine(ctx, o.Dir)
	} else {
		s.port, err = FreePort()
	}
	if err != nil {
		return nil, err
	}
	s.URL = fmt.Sprintf("https://127.0.0.1:%d", s.port)
	if err := s.identities(); err != nil {
		return nil, fmt.Errorf("cannot make keys and certificates: %w", err)
	}
	etcd, err := s.startEtcd(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.startAPIServer(ctx, etcd, o); err != nil {
		return nil, err
	}
	if o.ControllerManager {
		if err := s.startControllerManager(ctx, o.RealNode); err != nil {
			return nil, err
		}
	}
	// The API server makes these a moment after it is ready.
	if err := Eventually(ctx, patience, "namespaces default and kube-system", func(ctx context.Context) error {
		for _, n := range []string{"default", "kube-system"} {
			if _, err := s.Get(ctx, "v1", "Namespace", "", n); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return nil, err
	}
	s.log("Kubernetes API server ready after %s", time.Since(began).Round(10*time.Millisecond))
	return s, nil
}

// Stop ends every process of the stack. Its folder stays.
func (s *APIServer) Stop() { s.StopAll() }

func (s *APIServer) pki(name string) string { return filepath.Join(s.Dir, "pki", name) }

// identities makes the authority, the server's certificate, the key that signs
// service account tokens, and the kubeconfigs of administrator and controllers.
func (s *APIServer) identities() (err error) {
	if s.ca, err = newAuthority("controlplane"); err != nil {
		return err
	}
	server, err := s.ca.issue("kube-apiserver", "", x509.ExtKeyUsageServerAuth,
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "127.0.0.1", firstServiceIP, realFirstService)
	if err != nil {
		return err
	}
	// What the API server shows to a kubelet.
	kubelets, err := s.ca.issue("kube-apiserver-kubelet-client", "system:masters", x509.ExtKeyUsageClientAuth)
	if err != nil {
		return err
	}
	sa, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	if err := writeFiles(filepath.Join(s.Dir, "pki"), map[string][]byte{
		"ca.crt": s.ca.pem, "apiserver.crt": server.cert, "apiserver.key": server.key, "kubelet-client.crt": kubelets.cert, "kubelet-client.key": kubelets.key,
		"sa.key": encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(sa)), "audit.yaml": []byte(auditPolicy),
	}); err != nil {
		return err
	}
	for file, id := range map[string][2]string{
		s.Kubeconfig:            {"admin", "system:masters"},
		s.pki("kcm.kubeconfig"): {"system:kube-controller-manager", ""},
	} {
		l, err := s.ca.issue(id[0], id[1], x509.ExtKeyUsageClientAuth)
		if err != nil {
			return err
		}
		if err := s.WriteKubeconfig(file, s.URL, &clientcmdapi.AuthInfo{ClientCertificateData: l.cert, ClientKeyData: l.key}); err != nil {
			return err
		}
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return err
	}
	s.Client, err = NewClient(cfg)
	return err
}

// WriteKubeconfig writes a kubeconfig for one identity at this API server,
// reached through the given URL.
func (s *APIServer) WriteKubeconfig(file, url string, user *clientcmdapi.AuthInfo) error {
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{"controlplane": {Server: url, CertificateAuthorityData: s.ca.pem}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{"user": user},
		Contexts:       map[string]*clientcmdapi.Context{"controlplane": {Cluster: "controlplane", AuthInfo: "user"}},
		CurrentContext: "controlplane",
	}, file)
}

func (s *APIServer) startEtcd(ctx context.Context) (string, error) {
	client, err := FreePort()
	if err != nil {
		return "", err
	}
	peer, err := FreePort()
	if err != nil {
		return "", err
	}
	clientURL, peerURL := fmt.Sprintf("http://127.0.0.1:%d", client), fmt.Sprintf("http://127.0.0.1:%d", peer)
	_, err = s.Run(ctx, Command{
		Name: "etcd", Path: s.Tools["ETCD"],
		Args: []string{
			"--data-dir", filepath.Join(s.Dir, "etcd"), "--log-level", "warn", "--auto-compaction-retention", "1h",
			"--unsafe-no-fsync", // the data need not survive the machine's crash
			"--listen-client-urls", clientURL, "--advertise-client-urls", clientURL,
			"--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL, "--initial-cluster", "default=" + peerURL,
		},
		Ready: ok(clientURL + "/health"),
	})
	return clientURL, err
}

func (s *APIServer) startAPIServer(ctx context.Context, etcd string, o Options) error {
	args := []string{
		"--etcd-servers", etcd, "--secure-port", strconv.Itoa(s.port),
		"--tls-cert-file", s.pki("apiserver.crt"), "--tls-private-key-file", s.pki("apiserver.key"), "--client-ca-file", s.pki("ca.crt"),
		"--service-account-issuer", "https://kubernetes.default.svc",
		"--service-account-key-file", s.pki("sa.key"), "--service-account-signing-key-file", s.pki("sa.key"),
	}
	if o.RealNode {
		args = append(args,
			"--bind-address", "0.0.0.0", "--advertise-address", nodeAddress, "--service-cluster-ip-range", realServiceRange, "--authorization-mode", "Node,RBAC",
			"--kubelet-client-certificate", s.pki("kubelet-client.crt"), "--kubelet-client-key", s.pki("kubelet-client.key"),
			"--kubelet-certificate-authority", s.pki("ca.crt"), "--kubelet-preferred-address-types", "InternalIP")
	} else {
		args = append(args,
			"--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--service-cluster-ip-range", serviceRange, "--authorization-mode", "RBAC",
			"--endpoint-reconciler-type", "none") // loopback endpoints are invalid, so reconcile none
	}
	if o.Audit {
		s.AuditLog = filepath.Join(s.Dir, "logs", "audit.jsonl")
		// One file: who reads on in it would miss what was in one that was put away.
		args = append(args, "--audit-policy-file", s.pki("audit.yaml"), "--audit-log-path", s.AuditLog, "--audit-log-maxsize", "1000000")
	}
	_, err := s.Run(ctx, Command{
		Name: "kube-apiserver", Path: s.Tools["KUBE_APISERVER"], Args: append(args, o.APIServerArgs...),
		Ready: func(ctx context.Context) error {
			return s.REST.Get().AbsPath("/readyz").Do(ctx).Error()
		},
	})
	return err
}

func (s *APIServer) startControllerManager(ctx context.Context, realNode bool) error {
	port, err := FreePort()
	if err != nil {
		return err
	}
	controllers := "garbage-collector-controller,namespace-controller,clusterrole-aggregation-controller,serviceaccount-controller,root-ca-certificate-publisher-controller"
	if realNode {
		controllers += ",deployment-controller,replicaset-controller,endpointslice-controller,pod-garbage-collector-controller"
	}
	_, err = s.Run(ctx, Command{
		Name: "kube-controller-manager", Path: s.Tools["KUBE_CONTROLLER_MANAGER"],
		Args: []string{
			"--kubeconfig", s.pki("kcm.kubeconfig"), "--leader-elect=false", "--bind-address", "127.0.0.1", "--secure-port", strconv.Itoa(port),
			// Its own user may not aggregate roles; its controllers' users may.
			"--use-service-account-credentials",
			"--root-ca-file", s.pki("ca.crt"), "--service-account-private-key-file", s.pki("sa.key"),
			"--controllers", controllers,
		},
		// It listens before its controllers run; their first work shows they do.
		Ready: func(ctx context.Context) error {
			_, err := s.Get(ctx, "v1", "ServiceAccount", "default", "default")
			return err
		},
		Respawn: true, // it ends when it can't reach the API server
	})
	return err
}

// ok is the readiness of a process that answers a GET with status 200.
func ok(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return Never(err)
		}
		rsp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer rsp.Body.Close() //nolint:errcheck // read to its end below
		body, err := io.ReadAll(io.LimitReader(rsp.Body, 1<<16))
		if err != nil {
			return err
		}
		if rsp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s: %s", url, rsp.Status, body)
		}
		return nil
	}
}

// Config returns a copy of the administrator's configuration.
func (s *APIServer) Config() *rest.Config { return rest.CopyConfig(s.config) }
