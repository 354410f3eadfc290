// Command foreign is a station as another team would write it, in another style:
// it speaks bare gRPC and protobuf, imports nothing of this repository and no
// function SDK's helpers, and knows nothing but the context contract. What it
// leaves is said in its input, so that one package can stand in for each station. Like
// the SDK's helpers it forgets whether the composite was ready:
//
//	leaves:  {should_pause: true}   # context keys it sets
//	renders: {theirs: {...}}        # composed resources it adds, ready at once
//	looks: 15s                      # when Crossplane calls again without an event
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

type foreign struct {
	fnv1.UnimplementedFunctionRunnerServiceServer
}

func (foreign) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	rsp := &fnv1.RunFunctionResponse{Meta: &fnv1.ResponseMeta{Tag: req.GetMeta().GetTag()}, Desired: req.GetDesired(), Context: req.GetContext()}
	if rsp.GetDesired() == nil {
		rsp.Desired = &fnv1.State{}
	}
	if rsp.GetDesired().GetResources() == nil {
		rsp.Desired.Resources = map[string]*fnv1.Resource{}
	}
	if xr := rsp.GetDesired().GetComposite(); xr != nil {
		xr.Ready = fnv1.Ready_READY_UNSPECIFIED
	}
	if rsp.GetContext().GetFields() == nil {
		rsp.Context = &structpb.Struct{Fields: map[string]*structpb.Value{}}
	}
	say := req.GetInput().GetFields()
	maps.Copy(rsp.GetContext().GetFields(), say["leaves"].GetStructValue().GetFields())
	if looks := say["looks"].GetStringValue(); looks != "" {
		d, err := time.ParseDuration(looks)
		if err != nil {
			return nil, err
		}
		rsp.Meta.Ttl = durationpb.New(d)
	}
	for name, v := range say["renders"].GetStructValue().GetFields() {
		rsp.Desired.Resources[name] = &fnv1.Resource{Resource: v.GetStructValue(), Ready: fnv1.Ready_READY_TRUE}
	}
	return rsp, nil
}

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "foreign:", err)
		os.Exit(1)
	}
}

func serve() error {
	address := flag.String("address", ":9443", "where to listen")
	flag.Bool("debug", false, "accepted, as Crossplane's function specification demands")
	flag.String("metrics-address", "", "accepted; there are no metrics")
	flag.Parse()
	dir := os.Getenv("TLS_SERVER_CERTS_DIR")
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return errors.New("ca.crt holds no certificate")
	}
	l, err := net.Listen("tcp", *address)
	if err != nil {
		return err
	}
	srv := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12,
	})))
	fnv1.RegisterFunctionRunnerServiceServer(srv, foreign{})
	return srv.Serve(l)
}
