#!/usr/bin/env bash
# The library that Crossplane packages and most Go programs build images with can't make a
# layer that isn't packed, and says so to nobody.
#
# Seen with go-containerregistry v0.21.9: tarball.WithCompression(compression.None) makes a
# layer that is gzip all the same. A warning goes to logs.Warn, which is discarded unless a
# program sets it; no error is returned. With the media type of an unpacked layer beside
# it (WithMediaType), the manifest says "tar" of a blob that begins with gzip's magic, and
# the layer's digest is another than its diffID, which for an unpacked one are the same.
#
# So: who wants unpacked layers (an image that is only streamed into a runtime on the same
# machine, where packing a Python root file system takes longer than all else) implements
# v1.Layer, and who asks for None checks the first bytes.
# Needs: go. Takes half a minute on an empty cache.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'G'
package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/logs"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func main() {
	var files, warned bytes.Buffer
	w := tar.NewWriter(&files)
	must(0, w.WriteHeader(&tar.Header{Name: "hello", Mode: 0o644, Size: 5}))
	must(w.Write([]byte("world")))
	must(0, w.Close())

	silent := logs.Warn.Writer() == io.Discard
	logs.Warn.SetOutput(&warned)
	layer := must(tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil },
		tarball.WithCompression(compression.None), tarball.WithMediaType(types.OCIUncompressedLayer)))
	blob := must(io.ReadAll(must(layer.Compressed())))

	fmt.Printf("asked for:            %q\n", compression.None)
	fmt.Printf("media type says:      %s\n", must(layer.MediaType()))
	fmt.Printf("the blob begins with: %x\n", blob[:2])
	fmt.Printf("digest = diffID:      %v\n", must(layer.Digest()) == must(layer.DiffID()))
	fmt.Printf("discarded by default: %v: %s", silent, warned.String())
	if !bytes.HasPrefix(blob, []byte{0x1f, 0x8b}) || must(layer.MediaType()) != types.OCIUncompressedLayer || must(layer.Digest()) == must(layer.DiffID()) || !silent || warned.Len() == 0 {
		fmt.Println("CHANGED: it is not as this finding says")
		os.Exit(1)
	}
}
G
go mod init finding >/dev/null 2>&1
go get github.com/google/go-containerregistry@v0.21.9 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go list -m github.com/google/go-containerregistry
go run .
echo "seen again: go-containerregistry v0.21.9"
