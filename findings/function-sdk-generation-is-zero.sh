#!/usr/bin/env bash
# A Crossplane function that asks an observed resource for its generation is told 0.
#
# Seen with github.com/crossplane/function-sdk-go v0.7.1: what a request carries has come through
# protobuf, so that every number is a float64. GetGeneration and GetDeletionGracePeriodSeconds of
# request.GetObservedCompositeResource's answer are Kubernetes' own, look for an int64, find none and
# say 0 and nil, without an error, of an XR with "generation": 7. The SDK's GetInteger, which
# knows of that, says 7, and the observedGeneration of a condition is right as well.
#
# So: GetInteger("metadata.generation"). Who writes GetGeneration() to a status says that nothing
# was ever looked at, and "observedGeneration < generation" is never true.
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
)

const observed = `{"apiVersion": "example.org/v1", "kind": "XThing", "metadata": {"name": "a", "generation": 7, "deletionGracePeriodSeconds": 30},
  "status": {"conditions": [{"type": "Synced", "status": "True", "reason": "Done", "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 7}]}}`

func main() {
	xr, err := request.GetObservedCompositeResource(&fnv1.RunFunctionRequest{
		Observed: &fnv1.State{Composite: &fnv1.Resource{Resource: resource.MustStructJSON(observed)}},
	})
	if err != nil {
		panic(err)
	}
	integer, err := xr.Resource.GetInteger("metadata.generation")
	if err != nil {
		panic(err)
	}
	condition := xr.Resource.GetCondition("Synced").ObservedGeneration
	grace := xr.Resource.GetDeletionGracePeriodSeconds()
	fmt.Println("observed:", observed)
	fmt.Println("GetGeneration():                      ", xr.Resource.GetGeneration())
	fmt.Println("GetDeletionGracePeriodSeconds():      ", grace)
	fmt.Println(`GetInteger("metadata.generation"):    `, integer)
	fmt.Println("the condition's ObservedGeneration:   ", condition)
	if xr.Resource.GetGeneration() != 0 || grace != nil || integer != 7 || condition != 7 {
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
