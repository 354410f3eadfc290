package controlplane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// register makes the node known, and answers what the API server asks a kubelet:
// the logs of a container. The rest of a kubelet's API is not played.
func (n *Node) register(ctx context.Context) error {
	cert, err := n.s.ca.issue(NodeName, "", x509.ExtKeyUsageServerAuth, NodeName, "127.0.0.1")
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(cert.cert, cert.key)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", n.logs)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}
	go func() { _ = srv.ServeTLS(l, "", "") }() // ends with the stack
	go func() { <-ctx.Done(); _ = srv.Close() }()
	port := l.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // a TCP listener's
	nodes := n.s.Kubernetes.CoreV1().Nodes()
	node, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: NodeName}}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		node, err = nodes.Get(ctx, NodeName, metav1.GetOptions{})
	}
	if err != nil {
		return err
	}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}, {Type: corev1.NodeHostName, Address: "localhost"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	node.Status.NodeInfo.KubeletVersion = "none: plain processes"
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "StandIn", Message: "pods are plain processes of this machine", LastTransitionTime: metav1.Now(), LastHeartbeatTime: metav1.Now()}}
	_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
	return err
}

// logs serves kubectl logs, with -f and --tail.
func (n *Node) logs(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	p := n.pods[r.PathValue("namespace")+"/"+r.PathValue("pod")]
	n.mu.Unlock()
	if p == nil || p.process == nil {
		http.Error(w, "the pod has not begun", http.StatusNotFound)
		return
	}
	if tail := r.URL.Query().Get("tailLines"); tail != "" && r.URL.Query().Get("follow") == "" {
		var lines int
		if _, err := fmt.Sscan(tail, &lines); err == nil {
			_, _ = io.WriteString(w, strings.TrimRight(p.process.LogTail(lines), "\n")+"\n") // a reader that went away
			return
		}
	}
	f, err := os.Open(p.process.LogFile())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer f.Close() //nolint:errcheck // a reader
	for {
		if _, err := io.Copy(w, f); err != nil || r.URL.Query().Get("follow") != "true" {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}
