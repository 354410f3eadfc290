#!/usr/bin/env bash
# A field that the builder of a Crossplane package doesn't know isn't in the package, and
# nobody is told.
#
# Seen with crossplane-runtime v2.4.0 (pkg/xpkg, with which "crossplane xpkg build" 2.5.0 packs a folder, with the same
# result): files are read into Go types and written from them. A Composition with `modus: Pipeline`
# in place of `mode`, and a step with a field of a later Crossplane, is packed without both, and
# there is no error and no warning; the API server, which would have said "unknown field", never sees them.
# What nobody wrote comes in instead: an XRD gets a status of empty strings.
#
# So: build with a CLI no older than the Crossplane that runs the package, compare
# package.yaml with the files once in CI, and let the API server check the files (apply with
# --dry-run=server --validate=strict).
# Needs: go. Takes minutes on an empty cache.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'G'
package main

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/xpkg"
	"github.com/crossplane/crossplane-runtime/v2/pkg/xpkg/parser"
	"github.com/crossplane/crossplane-runtime/v2/pkg/xpkg/parser/examples"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

const files = `apiVersion: meta.pkg.crossplane.io/v1
kind: Configuration
metadata: {name: finding}
---
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: things}
spec:
  compositeTypeRef: {apiVersion: example.org/v1, kind: XThing}
  modus: Pipeline
  pipeline:
  - step: one
    functionRef: {name: function-one}
    ofALaterVersion: {keep: true}
---
apiVersion: apiextensions.crossplane.io/v2
kind: CompositeResourceDefinition
metadata: {name: xthings.example.org}
spec:
  group: example.org
  names: {kind: XThing, plural: xthings}
  versions: [{name: v1, served: true, referenceable: true, schema: {openAPIV3Schema: {type: object}}}]
`

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	p := parser.New(must(xpkg.BuildMetaScheme()), must(xpkg.BuildObjectScheme()))
	img, _, err := xpkg.New(parser.NewEchoBackend(files), parser.NewEchoBackend(""), p, examples.New()).Build(context.Background())
	if err != nil {
		panic(err)
	}
	packed := ""
	for r := tar.NewReader(mutate.Extract(img)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if must(h, err).Name == "package.yaml" {
			packed = string(must(io.ReadAll(r)))
		}
	}
	fmt.Printf("the files:\n%s\npackage.yaml, without an error:\n%s\n", files, packed)
	lost := !strings.Contains(packed, "modus") && !strings.Contains(packed, "ofALaterVersion") && strings.Contains(packed, "function-one")
	if !lost || !strings.Contains(packed, "status:") {
		fmt.Println("CHANGED: it is not as this finding says")
		os.Exit(1)
	}
}
G
go mod init finding >/dev/null 2>&1
go get github.com/crossplane/crossplane-runtime/v2@v2.4.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go list -m github.com/crossplane/crossplane-runtime/v2
go run .
echo "seen again: crossplane-runtime v2.4.0"
