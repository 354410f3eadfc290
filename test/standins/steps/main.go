// Command steps stands in for three functions of other people that platform teams put
// between ours, where their images can't be had: --as says for which.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	function "github.com/crossplane/function-sdk-go"

	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/test/standins/steps/steps"
)

func main() {
	as := flag.String("as", "", "function to stand in for: "+strings.Join(slices.Sorted(maps.Keys(steps.All())), ", "))
	address := flag.String("address", ":9443", "address at which to listen for gRPC connections")
	insecure := flag.Bool("insecure", false, "serve without TLS")
	flag.String("metrics-address", "", "accepted; there are no metrics")
	flag.Parse()
	if err := serve(*as, *address, *insecure); err != nil {
		fmt.Fprintln(os.Stderr, "steps:", err)
		os.Exit(1)
	}
}

func serve(as, address string, insecure bool) error {
	f, ok := steps.All()[as]
	if !ok {
		return errors.Errorf("invalid value %q for flag --as", as)
	}
	return function.Serve(f, function.Listen("tcp", address), function.Insecure(insecure), function.MTLSCertificates(os.Getenv("TLS_SERVER_CERTS_DIR")))
}
