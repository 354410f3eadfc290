package xpkg

import (
	"archive/tar"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// packaged is when the file of a package was made.
var packaged = time.Unix(1_600_000_000, 0)

// debian writes a root file system as mmdebstrap does, but for its size, at some time
// and on some machine.
func debian(t *testing.T, when time.Time, machine string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "rootfs.tar")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	status := "Package: python3-pandas\nStatus: install ok installed\nArchitecture: all\nVersion: 1.5.3+dfsg-2\nDescription: x\n Status: no field\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n"
	for _, e := range []struct {
		name, content string
		kind          byte
		mode          int64
	}{
		{"./", "", tar.TypeDir, 0o755},
		{"./dev/", "", tar.TypeDir, 0o755},
		{"./dev/null", "", tar.TypeChar, 0o666},
		{"./etc/", "", tar.TypeDir, 0o755},
		{"./etc/machine-id", machine, tar.TypeReg, 0o444},
		{"./etc/shadow", fmt.Sprintf("root:*:%[1]d:0:99999:7:::\n_apt:!:%[1]d:0:99999:7:::\n", when.Unix()/86400), tar.TypeReg, 0o640},
		{"./usr/bin/su", "program", tar.TypeReg, 0o4755},
		{"./usr/lib/gcc/cc1", "compiler", tar.TypeReg, 0o755},
		{"./usr/bin/also", "", tar.TypeLink, 0o755},
		{"./usr/lib/python3/pandas.py", "source", tar.TypeReg, 0o644},
		{"./usr/lib/python3/pandas.pyc", "compiled", tar.TypeReg, 0o644},
		{"./bin", "", tar.TypeSymlink, 0o777},
		{"./var/log/", "", tar.TypeDir, 0o755},
		{"./var/log/dpkg.log", when.String(), tar.TypeReg, 0o644},
		{"./var/lib/dpkg/status", status, tar.TypeReg, 0o644},
	} {
		h := &tar.Header{Typeflag: e.kind, Name: e.name, Mode: e.mode, Size: int64(len(e.content)), ModTime: when}
		if strings.HasSuffix(e.name, ".py") {
			h.ModTime = packaged
		}
		if e.kind == tar.TypeLink || e.kind == tar.TypeSymlink {
			h.Linkname = map[byte]string{tar.TypeLink: "./usr/bin/su", tar.TypeSymlink: "usr/bin"}[e.kind]
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(e.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

// The image on Debian's packages is the same whenever and wherever it is made, holds
// no device and no program that makes its caller root, and is run by nobody.
func TestRootfs(t *testing.T) {
	meta := Meta{}
	meta.Metadata.Name = "sandbox"
	var digests []string
	for i, when := range []time.Time{time.Unix(1_700_000_000, 0), time.Unix(1_800_000_000, 5)} {
		layer, packages, err := Rootfs(debian(t, when, strings.Repeat("ab", i+1)))
		if err != nil {
			t.Fatal(err)
		}
		if want := []DebianPackage{{"python3-pandas", "1.5.3+dfsg-2", "all"}}; !slices.Equal(packages, want) {
			t.Errorf("want the packages %v, got %v", want, packages)
		}
		img, err := OnRootfs(meta, layer, []byte("program"), "amd64")
		if err != nil {
			t.Fatal(err)
		}
		d, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, d.String())
		cf, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if cf.Config.User != "65532:65532" || !slices.Equal(cf.Config.Entrypoint, []string{"/sandbox"}) {
			t.Errorf("want /sandbox as 65532, got %v as %q", cf.Config.Entrypoint, cf.Config.User)
		}
		only, err := mutate.AppendLayers(empty.Image, layer)
		if err != nil {
			t.Fatal(err)
		}
		files := regular(t, only)
		for _, no := range []string{"dev/null", "usr/lib/gcc/cc1", "etc/machine-id", "var/log/dpkg.log"} {
			if _, is := files[no]; is {
				t.Errorf("%s is in the image", no)
			}
		}
		if files["usr/bin/su"] != int64(len("program")) {
			t.Errorf("want usr/bin/su, got %v", files)
		}
		rc, err := layer.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		for r := tar.NewReader(rc); ; {
			h, err := r.Next()
			if err != nil {
				break
			}
			want := time.Unix(0, 0)
			if strings.HasSuffix(h.Name, ".py") {
				want = packaged // Python compares it with what it has compiled
			}
			if h.Mode&0o6000 != 0 || !h.ModTime.Equal(want) {
				t.Errorf("%s has mode %o and time %s", h.Name, h.Mode, h.ModTime)
			}
		}
		_ = rc.Close() // a reader
	}
	if digests[0] != digests[1] {
		t.Errorf("two builds from the same packages differ: %v", digests)
	}
	if _, _, err := Rootfs(filepath.Join(t.TempDir(), "absent.tar")); err == nil || !strings.Contains(err.Error(), "absent.tar") {
		t.Errorf("want an error that names the file, got %v", err)
	}
}
