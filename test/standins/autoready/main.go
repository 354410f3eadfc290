// Command autoready stands in for function-auto-ready where its image can't be
// had: it takes the "ready" step of both pipelines when the suite is rendered
// or run from Go modules alone. It does what the real function does with an
// observed Ready condition and with its input's ttl. It has none of the real
// one's health checks of native kinds, because the suite composes none.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	function "github.com/crossplane/function-sdk-go"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/types/known/structpb"
)

// The input of the real function, as published in its package.
const (
	inputAPIVersion = "autoready.fn.crossplane.io/v1beta1"
	inputKind       = "Input"
)

// Function is the "ready" step.
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log logging.Logger
}

// RunFunction marks as ready what is observed with a true Ready condition and
// about which no earlier step has an opinion.
func (f *Function) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	ttl, err := ttl(req.GetInput())
	if err != nil {
		rsp := response.To(req, response.DefaultTTL)
		response.Fatal(rsp, err)
		return rsp, nil
	}
	rsp := response.To(req, ttl)
	for name, want := range rsp.GetDesired().GetResources() {
		if want.GetReady() != fnv1.Ready_READY_UNSPECIFIED {
			continue
		}
		if isReady(req.GetObserved().GetResources()[name].GetResource()) {
			want.Ready = fnv1.Ready_READY_TRUE
			f.log.Debug("Part is ready", "name", name)
		}
	}
	return rsp, nil
}

// ttl reads field ttl of the input, a Go duration such as 10m. Without it the
// SDK's default holds, one minute.
func ttl(input *structpb.Struct) (time.Duration, error) {
	if len(input.GetFields()) == 0 {
		return response.DefaultTTL, nil
	}
	if v, k := text(input, "apiVersion"), text(input, "kind"); v != inputAPIVersion || k != inputKind {
		return 0, errors.Errorf("cannot read function input: it is a %s %q, but this step takes a %s %q", v, k, inputAPIVersion, inputKind)
	}
	for field := range input.GetFields() {
		switch field {
		case "apiVersion", "kind", "metadata", "ttl":
		default:
			// The real function's other inputs are health checks in CEL. Passing
			// over one in silence would make a part look unready for no reason.
			return 0, errors.Errorf("cannot read function input: this stand-in knows no field %q, only ttl", field)
		}
	}
	s := text(input, "ttl")
	if s == "" {
		return response.DefaultTTL, nil
	}
	d, err := time.ParseDuration(s)
	return d, errors.Wrap(err, "cannot read field ttl of function input")
}

// isReady says whether an observed resource's Ready condition is True.
func isReady(observed *structpb.Struct) bool {
	status := observed.GetFields()["status"].GetStructValue()
	for _, c := range status.GetFields()["conditions"].GetListValue().GetValues() {
		if text(c.GetStructValue(), "type") == "Ready" {
			return text(c.GetStructValue(), "status") == "True"
		}
	}
	return false
}

func text(s *structpb.Struct, field string) string {
	return s.GetFields()[field].GetStringValue()
}

func main() {
	var (
		debug          bool
		network        = flag.String("network", "tcp", "network on which to listen for gRPC connections")
		address        = flag.String("address", ":9443", "address at which to listen for gRPC connections")
		metricsAddress = flag.String("metrics-address", ":8080", "address at which to serve /metrics; empty serves none")
		certs          = flag.String("tls-certs-dir", os.Getenv("TLS_SERVER_CERTS_DIR"), "folder with tls.crt, tls.key and ca.crt (env TLS_SERVER_CERTS_DIR)")
		insecure       = flag.Bool("insecure", false, "serve without TLS; --tls-certs-dir is ignored then")
		maxMiB         = flag.Int("max-recv-message-size", 16, "largest request in MiB")
	)
	flag.BoolVar(&debug, "debug", false, "log every part found ready")
	flag.BoolVar(&debug, "d", false, "short for --debug")
	flag.Parse()
	if *insecure {
		*certs = ""
	}
	if err := serve(debug, *network, *address, *metricsAddress, *certs, *insecure, *maxMiB); err != nil {
		fmt.Fprintln(os.Stderr, "autoready:", err)
		os.Exit(1)
	}
}

func serve(debug bool, network, address, metricsAddress, certs string, insecure bool, maxMiB int) error {
	log, err := function.NewLogger(debug)
	if err != nil {
		return errors.Wrap(err, "cannot make logger")
	}
	return function.Serve(&Function{log: log},
		function.Listen(network, address),
		function.MTLSCertificates(certs),
		function.Insecure(insecure),
		function.MaxRecvMessageSize(maxMiB*1024*1024),
		function.WithMetricsServer(metricsAddress))
}
