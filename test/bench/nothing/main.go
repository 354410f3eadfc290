// Command nothing is a function that does nothing on the same SDK: it passes on what
// earlier steps left or, with --response, says whatever is asked what it was given. The
// benchmarks compare with it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	function "github.com/crossplane/function-sdk-go"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/proto"
)

type nothing struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	says *fnv1.RunFunctionResponse // or nil
}

// RunFunction passes on what earlier steps left, or says what it was given.
func (n nothing) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	if n.says != nil {
		return n.says, nil
	}
	return response.To(req, 0), nil
}

func main() {
	address := flag.String("address", ":9443", "address at which to listen for gRPC connections")
	insecure := flag.Bool("insecure", false, "serve without TLS")
	metrics := flag.String("metrics-address", ":8080", "address at which to serve /metrics; empty serves none")
	response := flag.String("response", "", "file with an encoded response that is the answer to everything")
	flag.Parse()
	var says *fnv1.RunFunctionResponse
	if *response != "" {
		says = &fnv1.RunFunctionResponse{}
		b, err := os.ReadFile(*response)
		if err == nil {
			err = proto.Unmarshal(b, says)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	// Every function makes the SDK's logger, so this one does, too.
	if _, err := function.NewLogger(false); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	err := function.Serve(nothing{says: says}, function.Listen("tcp", *address), function.Insecure(*insecure),
		function.MaxRecvMessageSize(16*1024*1024), function.WithMetricsServer(*metrics))
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
