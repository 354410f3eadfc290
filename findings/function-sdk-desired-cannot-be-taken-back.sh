#!/usr/bin/env bash
# A Crossplane function that takes a resource out of the desired ones, and sets the rest, has
# taken nothing out.
#
# Seen with github.com/crossplane/function-sdk-go v0.7.1: request.GetDesiredComposedResources hands out a map,
# response.SetDesiredComposedResources takes one, and adds to what the response has already; a
# name that is no longer in the map stays, and so does the cluster's resource. A response made by
# response.To shares that map with the request it was made from, so that the request's own
# desired state is another after the call, and a test that runs two cases on one request sees the first case's resources in the second.
#
# So: a filter deletes from rsp.GetDesired().GetResources() itself; a test clones its request.
# Needs: go. Takes minutes on an empty cache.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'G'
package main

import (
	"fmt"
	"maps"
	"os"
	"slices"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/request"
	"github.com/crossplane/function-sdk-go/resource"
	"github.com/crossplane/function-sdk-go/response"
)

func names[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func main() {
	thing := &fnv1.Resource{Resource: resource.MustStructJSON(`{"apiVersion": "example.org/v1", "kind": "Thing"}`)}
	req := &fnv1.RunFunctionRequest{Desired: &fnv1.State{Resources: map[string]*fnv1.Resource{"wanted": thing, "unwanted": thing}}}
	rsp := response.To(req, response.DefaultTTL)
	fmt.Println("earlier steps desire:", names(req.GetDesired().GetResources()))

	desired, err := request.GetDesiredComposedResources(req)
	if err != nil {
		panic(err)
	}
	delete(desired, "unwanted")
	desired["new"] = resource.NewDesiredComposed()
	fmt.Println("this step sets:      ", names(desired))
	if err := response.SetDesiredComposedResources(rsp, desired); err != nil {
		panic(err)
	}
	got, asked := rsp.GetDesired().GetResources(), req.GetDesired().GetResources()
	fmt.Println("the response desires:", names(got))
	fmt.Println("and the request:     ", names(asked))
	if got["unwanted"] == nil || asked["new"] == nil {
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
