package xpkg

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestSameRootfs holds two root file systems that mmdebstrap made of one package index
// against each other, as they go into an image: make sandbox-rootfs-check makes the second.
func TestSameRootfs(t *testing.T) {
	files := filepath.SplitList(os.Getenv("SANDBOX_ROOTFS_PAIR"))
	if len(files) != 2 {
		t.Skip("SANDBOX_ROOTFS_PAIR names no two root file systems: make sandbox-rootfs-check does")
	}
	one, other := entries(t, files[0]), entries(t, files[1])
	all := maps.Clone(one)
	maps.Copy(all, other)
	differ := 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if one[name] == other[name] {
			continue
		}
		if differ++; differ <= 50 {
			t.Errorf("%s: %s and %s", name, one[name], other[name])
		}
	}
	t.Logf("%d entries, of which %d differ", len(all), differ)
	var digests []string
	for _, f := range files {
		layer, packages, err := Rootfs(f)
		if err != nil {
			t.Fatal(err)
		}
		d, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %d packages, layer %s", f, len(packages), d)
		digests = append(digests, d.String())
	}
	if digests[0] != digests[1] {
		t.Error("the two layers differ")
	}
}

// entries returns what the entries of a root file system are: all of a header that
// reaches an image, and a digest of the content.
func entries(t *testing.T, file string) map[string]string {
	t.Helper()
	r, w := io.Pipe()
	go func() {
		_, err := normalise(file, w)
		w.CloseWithError(err)
	}()
	out := map[string]string{}
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, in); err != nil {
			t.Fatal(err)
		}
		out[h.Name] = fmt.Sprintf("%c %o %d:%d %s %s %d bytes %x", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Linkname, h.ModTime.UTC().Format("2006-01-02T15:04:05"), h.Size, sum.Sum(nil)[:8])
	}
}
