package controlplane

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"whisperops.io/functions/hack/xpkg"
)

// An Image is one that pods may name on a real node.
type Image struct {
	Names   []string // as pods call it, with its registry and tag
	Program string   // path of a static program
	Rootfs  string   // path of a root file system below it, as mmdebstrap writes it; empty: none
	Env     []string // what this machine has in place of a cloud
}

// ownImages are those that no order names.
func (n *RealNode) ownImages(ctx context.Context) error {
	return n.load(ctx, Image{Names: []string{pauseImage}, Program: n.o.Pause}, Image{Names: []string{"registry.local/coredns:1"}, Program: n.s.Tools["COREDNS"]})
}

// WaitForImages waits until the images that the node was given are there. That of the
// sandbox has a gigabyte, so it takes a while, in which other things can be done.
func (n *RealNode) WaitForImages(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-n.loaded:
		return n.loading
	}
}

// load makes images, as make xpkg does, and gives them to containerd.
func (n *RealNode) load(ctx context.Context, images ...Image) error {
	for _, image := range images {
		if err := n.loadOne(ctx, image); err != nil {
			return fmt.Errorf("image %s: %w", image.Names[0], err)
		}
	}
	return nil
}

func (n *RealNode) loadOne(ctx context.Context, image Image) error {
	program, err := os.ReadFile(image.Program)
	if err != nil {
		return err
	}
	of := xpkg.EngineImage{Names: image.Names, Program: program, Rootfs: image.Rootfs, Env: image.Env, Arch: runtime.GOARCH}
	of.Meta.Metadata.Name = filepath.Base(image.Program)
	r, w := io.Pipe()
	go func() { w.CloseWithError(of.Archive(w)) }()
	defer r.Close() //nolint:errcheck // who writes is told
	return n.ctr(ctx, r, "image", "import", "-")
}
