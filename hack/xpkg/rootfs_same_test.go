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
	one, wholeOne := entries(t, files[0])
	other, wholeOther := entries(t, files[1])
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
	t.Logf("%d entries, of which %d differ; the layers before they are packed are %s and %s", len(all), differ, wholeOne, wholeOther)
	if wholeOne != wholeOther {
		t.Error("the two layers differ")
	}
}

// entries returns what the entries of a root file system are: all of a header that
// reaches an image, and a digest of the content; and a digest of the whole layer.
func entries(t *testing.T, file string) (out map[string]string, whole string) {
	t.Helper()
	r, w := io.Pipe()
	layer := sha256.New()
	go func() {
		_, err := normalise(file, io.MultiWriter(w, layer))
		w.CloseWithError(err)
	}()
	out = map[string]string{}
	for in := tar.NewReader(r); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			if _, err := io.Copy(io.Discard, r); err != nil { // to the end of the archive
				t.Fatal(err)
			}
			return out, fmt.Sprintf("sha256:%x", layer.Sum(nil))
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
