#!/usr/bin/env bash
# A Crossplane function that never talks to an API server links Kubernetes' client and
# all of its API types, once it uses the Go SDK's helpers for requests or responses.
#
# Seen with github.com/crossplane/function-sdk-go v0.7.1: proto/v1, which is all that the protocol needs, has 309 packages below
# it and none of k8s.io/client-go. request or response, which set a condition or read an input, have 574, of them 25 of
# client-go and dozens of k8s.io/api, by way of resource/composed and crossplane-runtime. In one suite of
# nine functions that was 37 MB of binary instead of 22, in each.
#
# So: whoever ships many functions writes the few lines of those helpers over proto/v1 alone.
# Needs: go. Compiles nothing, but downloads modules on an empty cache.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
printf 'package main\n\nimport (\n\t_ "github.com/crossplane/function-sdk-go/proto/v1"\n\t_ "github.com/crossplane/function-sdk-go/request"\n\t_ "github.com/crossplane/function-sdk-go/response"\n)\n\nfunc main() {}\n' >main.go
go mod init finding >/dev/null 2>&1
go get github.com/crossplane/function-sdk-go@v0.7.1 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
count() { go list -deps "github.com/crossplane/function-sdk-go/$1" | grep -c "^$2" || true; }
same=1
for p in proto/v1 request response; do
  clients=$(count "$p" k8s.io/client-go)
  echo "function-sdk-go/$p: $(count "$p" '') packages, $clients of k8s.io/client-go, $(count "$p" k8s.io/api/) of k8s.io/api"
  case $p in
    proto/v1) [ "$clients" -eq 0 ] || same=0 ;;
    *) [ "$clients" -gt 0 ] || same=0 ;;
  esac
done
[ "$same" = 1 ] || { echo "CHANGED: it is not as this finding says"; exit 1; }
echo "seen again: function-sdk-go v0.7.1"
