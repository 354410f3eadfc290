// Package serve holds what the mains of all functions share: the flags that
// Crossplane's function specification demands, and the serving. It knows
// nothing about any station.
package serve

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	function "github.com/crossplane/function-sdk-go"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	grpcprometheus "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"

	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/internal/reply"
)

// Flags of a function. Crossplane sets --tls-certs-dir through the environment
// variable TLS_SERVER_CERTS_DIR.
type Flags struct {
	Network            string
	Address            string
	MetricsAddress     string
	TLSCertsDir        string
	Insecure           bool
	Debug              bool
	MaxRecvMessageSize int // MiB
}

// Main serves the function that newFunction makes, and ends the process.
func Main[F fnv1.FunctionRunnerServiceServer](name string, newFunction func(logging.Logger) F) {
	f, err := Parse(name, os.Args[1:], os.Getenv, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2) // the flag package has said why
	}
	oneProcessor(os.Getenv)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err = run(ctx, f, newFunction)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// oneProcessor lets Go use one processor, unless its own variable says how many. A call is a
// few milliseconds of work, and they come one by one: Go's scheduler would wake a second
// processor for each, which finds nothing to do and costs a fifth of all processor time. One
// is enough for some hundred calls a second, and more replicas are for more.
func oneProcessor(env func(string) string) {
	if env("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
}

// Parse reads the flags from args. It writes usage and errors to out.
func Parse(name string, args []string, env func(string) string, out io.Writer) (Flags, error) {
	var f Flags
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(out)
	fs.BoolVar(&f.Debug, "debug", false, "log what every call did, not only what changed the world")
	fs.BoolVar(&f.Debug, "d", false, "short for --debug")
	fs.StringVar(&f.Network, "network", "tcp", "network on which to listen for gRPC connections")
	fs.StringVar(&f.Address, "address", ":9443", "address at which to listen for gRPC connections")
	fs.StringVar(&f.MetricsAddress, "metrics-address", ":8080", "address at which to serve /metrics; empty serves none")
	fs.StringVar(&f.TLSCertsDir, "tls-certs-dir", env("TLS_SERVER_CERTS_DIR"), "folder that holds tls.crt, tls.key and ca.crt (env TLS_SERVER_CERTS_DIR)")
	fs.BoolVar(&f.Insecure, "insecure", false, "serve without TLS, for rendering and development; --tls-certs-dir is ignored then")
	fs.IntVar(&f.MaxRecvMessageSize, "max-recv-message-size", 16, "largest request in MiB, and how much of requests is answered at once: 22 observed parts are many kilobytes, a large dashboard is more")
	if err := fs.Parse(args); err != nil {
		return f, err
	}
	if fs.NArg() > 0 {
		err := errors.Errorf("unexpected argument %q: flags start with --", fs.Arg(0))
		fmt.Fprintln(out, err)
		return f, err
	}
	if f.MaxRecvMessageSize < 1 {
		err := errors.Errorf("invalid value %d for flag --max-recv-message-size: it must be at least 1", f.MaxRecvMessageSize)
		fmt.Fprintln(out, err)
		return f, err
	}
	return f, nil
}

// patience is how long calls that came before the process was told to end may
// take. A kubelet waits for 30 s.
const patience = 20 * time.Second

// run serves until ctx is done, and answers what was asked before.
func run[F fnv1.FunctionRunnerServiceServer](ctx context.Context, f Flags, newFunction func(logging.Logger) F) error {
	log, err := function.NewLogger(f.Debug)
	if err != nil {
		return errors.Wrap(err, "cannot make logger")
	}
	secured, err := transport(f)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, f.Network, f.Address)
	if err != nil {
		return errors.Wrap(err, "cannot listen for gRPC connections")
	}
	calls := grpcprometheus.NewServerMetrics()
	fn := newFunction(log)
	listener, bounds := bounded(listener, f.MaxRecvMessageSize*1024*1024, fn)
	srv := grpc.NewServer(append(bounds, grpc.Creds(secured.Credentials), grpc.ChainUnaryInterceptor(calls.UnaryServerInterceptor()))...)
	fnv1.RegisterFunctionRunnerServiceServer(srv, Surviving(log, fn))
	reflection.Register(srv)
	calls.InitializeMetrics(srv)
	if f.MetricsAddress != "" {
		go func() { log.Info("Metrics are not served", "error", serveMetrics(f.MetricsAddress, calls)) }()
	}

	// Crossplane goes to another replica, or to the next revision, when it is told
	// that this one ends, and doesn't when it is cut off.
	stop := context.AfterFunc(ctx, func() {
		defer time.AfterFunc(patience, srv.Stop).Stop()
		srv.GracefulStop()
	})
	defer stop()
	return errors.Wrap(srv.Serve(listener), "cannot serve gRPC connections")
}

// transport returns how connections are secured, in the options of the SDK.
func transport(f Flags) (o function.ServeOptions, err error) {
	if err := function.MTLSCertificates(certsDir(f))(&o); err != nil {
		return o, errors.Wrapf(err, "cannot use the certificates in %s", f.TLSCertsDir)
	}
	if err := function.Insecure(f.Insecure)(&o); err != nil {
		return o, err
	}
	if o.Credentials == nil {
		return o, errors.New("cannot serve without certificates: name their folder with --tls-certs-dir, or serve without TLS with --insecure")
	}
	return o, nil
}

// serveMetrics serves /metrics until it can't.
func serveMetrics(address string, calls prometheus.Collector) error {
	all := prometheus.NewRegistry()
	all.MustRegister(calls, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(all, promhttp.HandlerOpts{}))
	srv := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 30 * time.Second}
	return srv.ListenAndServe()
}

// certsDir lets --insecure win over a TLS_SERVER_CERTS_DIR that is set but empty.
func certsDir(f Flags) string {
	if f.Insecure {
		return ""
	}
	return f.TLSCertsDir
}

// Surviving turns a panic in a step into a fatal result. A panic would end the
// process, and with it every other call; the fuzz tests call the functions
// without it, so that it hides nothing from them.
func Surviving(log logging.Logger, fn fnv1.FunctionRunnerServiceServer) fnv1.FunctionRunnerServiceServer {
	return &surviving{log: log, fn: fn}
}

// An answerer takes requests that package wire read, and answers so that the rest of them
// goes on as it came: ours do. RunFunction is for callers that have everything decoded.
type answerer interface {
	Answer(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error)
}

type surviving struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log logging.Logger
	fn  fnv1.FunctionRunnerServiceServer
}

// RunFunction calls the function and survives its panic.
func (s *surviving) RunFunction(ctx context.Context, req *fnv1.RunFunctionRequest) (rsp *fnv1.RunFunctionResponse, err error) {
	defer func() {
		if p := recover(); p != nil {
			// The stack, but not the value: it may hold a part of the request.
			s.log.Info("Step panicked", "stack", string(debug.Stack()))
			rsp, err = reply.To(req), nil
			reply.Fatal(rsp, errors.New("cannot run step: it panicked, which is a defect of this function; its log holds the stack. Nothing was changed"))
		}
	}()
	if a, is := s.fn.(answerer); is {
		return a.Answer(ctx, req)
	}
	return s.fn.RunFunction(ctx, req)
}
