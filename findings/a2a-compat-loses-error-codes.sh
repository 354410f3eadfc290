#!/usr/bin/env bash
# The A2A client for 1.0 speaks to agents of 0.3 through a layer of its own project, and
# loses the code of every error that such an agent sends.
#
# Seen with a2a-go v2.3.1 (a2acompat/a2av0) against a server on a2a-go v0.3.15: the server
# sends an error's data as an object, the client wants a list there. What arrives is an
# error of JSON in place of "task not found" (-32001): errors.Is(err, a2a.ErrTaskNotFound)
# is false, and a client that waits for a task which is gone can't tell that from a
# connection that broke.
#
# So: who speaks to agents of 0.3 takes the data out of an error before the client reads it.
# Needs: go. Takes half a minute on an empty cache.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'G'
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"

	old "github.com/a2aproject/a2a-go/a2asrv"
	"github.com/a2aproject/a2a-go/a2asrv/eventqueue"
	"github.com/a2aproject/a2a-go/v2/a2a"
	"github.com/a2aproject/a2a-go/v2/a2aclient"
	"github.com/a2aproject/a2a-go/v2/a2acompat/a2av0"
)

// An agent that is never asked to do anything.
type idle struct{}

func (idle) Execute(context.Context, *old.RequestContext, eventqueue.Queue) error { return nil }
func (idle) Cancel(context.Context, *old.RequestContext, eventqueue.Queue) error  { return nil }

func main() {
	srv := httptest.NewServer(old.NewJSONRPCHandler(old.NewHandler(idle{})))
	defer srv.Close()

	rsp, err := http.Post(srv.URL, "application/json", bytes.NewBufferString(`{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"id":"gone"}}`))
	if err != nil {
		panic(err)
	}
	said, _ := io.ReadAll(rsp.Body)
	fmt.Printf("the agent of 0.3 says:      %s\n", bytes.TrimSpace(said))

	ctx := context.Background()
	client, err := a2aclient.NewFromEndpoints(ctx,
		[]*a2a.AgentInterface{{URL: srv.URL, ProtocolBinding: a2a.TransportProtocolJSONRPC, ProtocolVersion: a2av0.Version}},
		a2aclient.WithDefaultsDisabled(), a2av0.WithJSONRPCTransport(a2av0.JSONRPCTransportConfig{Client: srv.Client()}))
	if err != nil {
		panic(err)
	}
	_, err = client.GetTask(ctx, &a2a.GetTaskRequest{ID: "gone"})
	fmt.Printf("the client of 1.0 hears:    %v\n", err)
	fmt.Printf("is it ErrTaskNotFound?      %v\n", errors.Is(err, a2a.ErrTaskNotFound))
	if !bytes.Contains(said, []byte(`-32001`)) || err == nil || errors.Is(err, a2a.ErrTaskNotFound) {
		fmt.Println("CHANGED: it is not as this finding says")
		os.Exit(1)
	}
}
G
go mod init finding >/dev/null 2>&1
go get github.com/a2aproject/a2a-go@v0.3.15 github.com/a2aproject/a2a-go/v2@v2.3.1 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go list -m github.com/a2aproject/a2a-go github.com/a2aproject/a2a-go/v2
go run .
echo "seen again: a2a-go v2.3.1 with v0.3.15"
