// Command nothing is a function that does nothing on the same SDK: it passes
// on what earlier steps left. The benchmarks compare with it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	function "github.com/crossplane/function-sdk-go"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
)

type nothing struct {
	fnv1.UnimplementedFunctionRunnerServiceServer
}

// RunFunction passes on what earlier steps left.
func (nothing) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	return response.To(req, 0), nil
}

func main() {
	address := flag.String("address", ":9443", "address at which to listen for gRPC connections")
	insecure := flag.Bool("insecure", false, "serve without TLS")
	metrics := flag.String("metrics-address", ":8080", "address at which to serve /metrics; empty serves none")
	flag.Parse()
	// Every function makes the SDK's logger, so this one does, too.
	if _, err := function.NewLogger(false); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	err := function.Serve(nothing{}, function.Listen("tcp", *address), function.Insecure(*insecure),
		function.MaxRecvMessageSize(16*1024*1024), function.WithMetricsServer(*metrics))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
