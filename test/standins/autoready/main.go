// Command autoready stands in for function-auto-ready where its image can't be
// had: it takes the "ready" step of both pipelines when the suite is rendered
// or run from Go modules alone. It does what the real function does with an
// observed Ready condition and with its input's ttl. It has none of the real
// one's health checks of native kinds, because the suite composes none.
package main

import (
	"flag"
	"fmt"
	"os"

	function "github.com/crossplane/function-sdk-go"

	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/standins/autoready/ready"
)

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
	return function.Serve(ready.New(log),
		function.Listen(network, address),
		function.MTLSCertificates(certs),
		function.Insecure(insecure),
		function.MaxRecvMessageSize(maxMiB*1024*1024),
		function.WithMetricsServer(metricsAddress))
}
