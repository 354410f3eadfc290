#!/usr/bin/env bash
# A Crossplane function that reads the desired XR with the Go SDK and writes it back takes
# away what an earlier step said of its readiness.
#
# Seen with github.com/crossplane/function-sdk-go v0.7.1: request.GetDesiredCompositeResource doesn't read the
# field ready, response.SetDesiredCompositeResource writes it as unspecified. A step said "not ready"; the next one,
# which only wanted to set a status field and does so as the SDK's documentation shows,
# makes it "nobody said". An XR that desires nothing counts as Ready then.
#
# So: in a step behind others, keep req.GetDesired().GetComposite().GetReady() and set it again; or,
# if you know that the XR isn't ready, say so in every step.
# Needs: go. Takes minutes on an empty cache.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'G'
package main

import (
	"fmt"
	"os"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/request"
	"github.com/crossplane/function-sdk-go/resource"
	"github.com/crossplane/function-sdk-go/response"
)

func main() {
	xr := resource.MustStructJSON(`{"apiVersion": "example.org/v1", "kind": "XThing"}`)
	req := &fnv1.RunFunctionRequest{
		Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: xr}},
		Desired:  &fnv1.State{Composite: &fnv1.Resource{Resource: xr, Ready: fnv1.Ready_READY_FALSE}},
	}
	rsp := response.To(req, response.DefaultTTL)
	fmt.Println("an earlier step says", rsp.GetDesired().GetComposite().GetReady())

	dxr, err := request.GetDesiredCompositeResource(req)
	if err != nil {
		panic(err)
	}
	if err := dxr.Resource.SetString("status.owner", "data-team"); err != nil {
		panic(err)
	}
	if err := response.SetDesiredCompositeResource(rsp, dxr); err != nil {
		panic(err)
	}
	got := rsp.GetDesired().GetComposite().GetReady()
	fmt.Println("after a status field was set:", got)
	if got != fnv1.Ready_READY_UNSPECIFIED {
		fmt.Println("CHANGED: it is not as this finding says")
		os.Exit(1)
	}
}
G
go mod init finding >/dev/null 2>&1
go get github.com/crossplane/function-sdk-go@v0.7.1 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run .
echo "seen again: function-sdk-go v0.7.1"
