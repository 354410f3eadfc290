package serve

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"

	"whisperops.io/functions/internal/reply"
	"whisperops.io/functions/test/process"
)

// slow answers when it is let, and says when it was asked.
type slow struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	asked, let chan struct{}
}

func (s slow) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	s.asked <- struct{}{}
	<-s.let
	return reply.To(req), nil
}

// started serves s, and returns how to end it and what it ended with.
func started(t *testing.T, f Flags, s slow) (end context.CancelFunc, ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- run(ctx, f, func(logging.Logger) slow { return s }) }()
	return cancel, done
}

// call asks a function, once it is there.
func call(ctx context.Context, address string, creds credentials.TransportCredentials) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_, err = fnv1.NewFunctionRunnerServiceClient(conn).RunFunction(ctx, &fnv1.RunFunctionRequest{}, grpc.WaitForReady(true))
	return err
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// A kubelet ends a function with each upgrade. What Crossplane has asked by then is
// answered; it would call an order unsynced otherwise.
func TestEndAnswersWhatWasAsked(t *testing.T) {
	s := slow{asked: make(chan struct{}, 1), let: make(chan struct{})}
	f := Flags{Network: "tcp", Address: process.FreeAddress(t), Insecure: true, MaxRecvMessageSize: 16}
	end, ended := started(t, f, s)
	answered := make(chan error, 1)
	go func() { answered <- call(within(t), f.Address, insecure.NewCredentials()) }()
	<-s.asked
	end()
	select {
	case err := <-ended:
		t.Fatalf("it ended with a call unanswered: %v", err)
	case err := <-answered:
		t.Fatalf("the call was cut off: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	close(s.let)
	if err := <-answered; err != nil {
		t.Errorf("the call that was asked before the end failed: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("an end that was asked for is no error: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	s := slow{asked: make(chan struct{}, 1), let: make(chan struct{})}
	close(s.let)
	f := Flags{Network: "tcp", Address: process.FreeAddress(t), MetricsAddress: process.FreeAddress(t), Insecure: true, MaxRecvMessageSize: 16}
	started(t, f, s)
	if err := call(within(t), f.Address, insecure.NewCredentials()); err != nil {
		t.Fatal(err)
	}
	var got string
	again := time.Tick(10 * time.Millisecond)
	for ctx := within(t); ctx.Err() == nil && got == ""; <-again {
		rsp, err := http.Get("http://" + f.MetricsAddress + "/metrics")
		if err != nil {
			continue // not listening yet
		}
		b, err := io.ReadAll(rsp.Body)
		_ = rsp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		got = string(b)
	}
	for _, want := range []string{`grpc_server_handled_total{grpc_code="OK",grpc_method="RunFunction",grpc_service="apiextensions.fn.proto.v1.FunctionRunnerService",grpc_type="unary"} 1`, "go_goroutines", "process_resident_memory_bytes"} {
		if !strings.Contains(got, want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

// A port that is taken costs the metrics, which a log says, and not the function.
func TestTakenMetricsPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	s := slow{asked: make(chan struct{}, 1), let: make(chan struct{})}
	close(s.let)
	f := Flags{Network: "tcp", Address: process.FreeAddress(t), MetricsAddress: l.Addr().String(), Insecure: true, MaxRecvMessageSize: 16}
	started(t, f, s)
	if err := call(within(t), f.Address, insecure.NewCredentials()); err != nil {
		t.Error(err)
	}
}

func TestTransport(t *testing.T) {
	certs := certificates(t)
	cases := map[string]struct {
		reason string
		flags  Flags
		fails  string
	}{
		"Nothing":  {reason: "Whoever reaches a function without TLS reads keys in its requests.", fails: "cannot serve without certificates: name their folder with --tls-certs-dir, or"},
		"Certs":    {reason: "As Crossplane starts it.", flags: Flags{TLSCertsDir: certs}},
		"Insecure": {reason: "For rendering.", flags: Flags{Insecure: true}},
		"Both":     {reason: "Crossplane's function specification: insecure wins, whatever the folder holds.", flags: Flags{Insecure: true, TLSCertsDir: "/nowhere"}},
		"NoFolder": {reason: "The folder is named, to be looked at.", flags: Flags{TLSCertsDir: "/nowhere"}, fails: "cannot use the certificates in /nowhere"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := transport(tc.flags)
			if (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
				t.Errorf("%s\nwant an error with %q, got %v", tc.reason, tc.fails, err)
			}
		})
	}
}

// Only who has a certificate of Crossplane's authority may ask: requests hold keys.
func TestMutualTLS(t *testing.T) {
	certs := certificates(t)
	s := slow{asked: make(chan struct{}, 1), let: make(chan struct{})}
	close(s.let)
	f := Flags{Network: "tcp", Address: process.FreeAddress(t), TLSCertsDir: certs, MaxRecvMessageSize: 16}
	started(t, f, s)

	ca, err := os.ReadFile(filepath.Join(certs, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	mine, err := tls.LoadX509KeyPair(filepath.Join(certs, "tls.crt"), filepath.Join(certs, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := call(within(t), f.Address, credentials.NewTLS(&tls.Config{RootCAs: pool, Certificates: []tls.Certificate{mine}})); err != nil {
		t.Errorf("who has a certificate is refused: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := call(ctx, f.Address, credentials.NewTLS(&tls.Config{RootCAs: pool})); err == nil {
		t.Error("who has no certificate is let in")
	}
}

// certificates writes a folder as Crossplane mounts it. One certificate is the
// authority, the server and the client.
func certificates(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, block := range map[string]*pem.Block{
		"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "ca.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// relay answers as a station does: what it was handed goes on as it came.
type relay struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	decoded chan int
}

func (r relay) Answer(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	r.decoded <- len(req.GetDesired().GetResources())
	return reply.To(req), nil
}

// Requests are read by package wire, and everything else that a server is asked by
// protobuf's own decoder.
func TestStationsAreServedAsBytes(t *testing.T) {
	s := relay{decoded: make(chan int, 1)}
	f := Flags{Network: "tcp", Address: process.FreeAddress(t), Insecure: true, MaxRecvMessageSize: 16}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	go func() { _ = run(ctx, f, func(logging.Logger) relay { return s }) }()
	conn, err := grpc.NewClient(f.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()

	desired := &fnv1.State{Resources: map[string]*fnv1.Resource{"bucket": {Ready: fnv1.Ready_READY_TRUE}}}
	req := &fnv1.RunFunctionRequest{Meta: &fnv1.RequestMeta{Tag: "tag"}, Desired: desired}
	rsp, err := fnv1.NewFunctionRunnerServiceClient(conn).RunFunction(within(t), req, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	if n := <-s.decoded; n != 0 {
		t.Errorf("%d resources were decoded that nobody looked at", n)
	}
	if !proto.Equal(desired, rsp.GetDesired()) || rsp.GetMeta().GetTag() != "tag" {
		t.Errorf("what was handed on arrived as %v", rsp)
	}

	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(within(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&reflectionpb.ServerReflectionRequest{MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{}}); err != nil {
		t.Fatal(err)
	}
	listed, err := stream.Recv()
	if err != nil || !strings.Contains(listed.String(), "apiextensions.fn.proto.v1.FunctionRunnerService") {
		t.Errorf("reflection lists %v, %v", listed, err)
	}

	// What is no request is refused, and the server goes on.
	if err := conn.Invoke(within(t), fnv1.FunctionRunnerService_RunFunction_FullMethodName, &fnv1.RequestMeta{Tag: "\x03"}, &fnv1.RunFunctionResponse{}); err == nil {
		t.Error("what is no request is answered")
	}
	if _, err := fnv1.NewFunctionRunnerServiceClient(conn).RunFunction(within(t), req); err != nil {
		t.Errorf("after what is no request: %v", err)
	}
}
