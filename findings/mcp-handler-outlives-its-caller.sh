#!/usr/bin/env bash
# An MCP tool built on the Go SDK runs to its end though its caller hung up long before.
#
# Seen with github.com/modelcontextprotocol/go-sdk v1.8.0, stateless streamable HTTP: a client posts tools/call
# and closes the connection after a moment. The handler's context is not cancelled; the
# tool works on, sees no error, and its answer goes nowhere. A client that repeats the call
# has two runs at a time.
#
# So: a tool that costs something needs a deadline of its own and a limit on concurrent runs.
# Needs: go, curl. Takes half a minute on an empty cache.
set -euo pipefail
dir=$(mktemp -d); pid=
trap '[ -z "$pid" ] || kill $pid 2>/dev/null || true; rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'G'
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type nothing struct{}

func main() {
	server := mcp.NewServer(&mcp.Implementation{Name: "finding", Version: "1"}, nil)
	mcp.AddTool(server, &mcp.Tool{Name: "work", Description: "works for three seconds"}, func(ctx context.Context, _ *mcp.CallToolRequest, _ nothing) (*mcp.CallToolResult, any, error) {
		fmt.Println("began")
		select {
		case <-ctx.Done():
			fmt.Println("cancelled")
		case <-time.After(3 * time.Second):
			fmt.Println("worked to its end")
		}
		return &mcp.CallToolResult{}, nil, nil
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	if err := os.WriteFile("address", []byte(l.Addr().String()), 0o600); err != nil {
		panic(err)
	}
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return server }, &mcp.StreamableHTTPOptions{Stateless: true})
	panic(http.Serve(l, handler))
}
G
go mod init finding >/dev/null 2>&1
go get github.com/modelcontextprotocol/go-sdk@v1.8.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go build -o server .
./server >log 2>&1 & pid=$!
for _ in $(seq 100); do [ -s address ] && break; sleep 0.1; done
code=0
curl -s --max-time 1 "http://$(cat address)/" -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
  -d '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"work","arguments":{}}}' >answer 2>&1 || code=$?
echo "go-sdk v1.8.0; curl gave up after a second (exit $code)"
for _ in $(seq 100); do grep -q -e cancelled -e 'to its end' log && break; sleep 0.1; done
cat log
if [ "$code" = 28 ] && grep -q 'worked to its end' log; then
  echo "seen again"
else
  cat answer; echo "CHANGED: it is not as this finding says"; exit 1
fi
