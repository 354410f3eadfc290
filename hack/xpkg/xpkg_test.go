package xpkg

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log"
	"maps"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

func packageDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for file, text := range map[string]string{
		"crossplane.yaml": "apiVersion: meta.pkg.crossplane.io/v1\nkind: Function\nmetadata: {name: function-a}\n",
		"input/b.yaml":    "---\nkind: B\n",
		"input/a.yaml":    "kind: A",
		"input/notes.md":  "not a manifest",
	} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func functionImage(t *testing.T, arch string) v1.Image {
	t.Helper()
	meta, stream, err := Stream(packageDir(t))
	if err != nil {
		t.Fatal(err)
	}
	img, err := Function(meta, stream, []byte("program for "+arch), arch)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestStream(t *testing.T) {
	_, stream, err := Stream(packageDir(t))
	if err != nil {
		t.Fatal(err)
	}
	want := "---\napiVersion: meta.pkg.crossplane.io/v1\nkind: Function\nmetadata: {name: function-a}\n---\nkind: A\n---\nkind: B\n"
	if string(stream) != want {
		t.Errorf("want the package's own document first and each other one once:\n%s\ngot:\n%s", want, stream)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "crossplane.yaml"), []byte("kind: Pod\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Stream(dir); err == nil || !strings.Contains(err.Error(), "meta.pkg.crossplane.io") {
		t.Errorf("want an error that names the group that is missing, got %v", err)
	}
}

// regular returns the sizes of the files that an image holds.
func regular(t *testing.T, img v1.Image) map[string]int64 {
	t.Helper()
	files := map[string]int64{}
	rc := mutate.Extract(img)
	defer rc.Close() //nolint:errcheck // a reader
	for r := tar.NewReader(rc); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			files[h.Name] = h.Size
		}
	}
}

// An image holds what it runs, who signs the web's certificates, the package if
// it is one, and nothing else; and nobody has to run it as root.
func TestImages(t *testing.T) {
	watcher := Meta{}
	watcher.Metadata.Name = "dataset-watcher"
	program, err := Program(watcher, []byte("program"), "arm64")
	if err != nil {
		t.Fatal(err)
	}
	const authorities = "etc/ssl/certs/ca-certificates.crt"
	for name, tc := range map[string]struct {
		img   v1.Image
		files []string
		runs  string
	}{
		"Function": {functionImage(t, "arm64"), []string{authorities, "function", "package.yaml"}, "/function"},
		"Program":  {program, []string{"dataset-watcher", authorities}, "/dataset-watcher"},
	} {
		t.Run(name, func(t *testing.T) {
			files := regular(t, tc.img)
			if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, tc.files) || files[authorities] < 100_000 {
				t.Errorf("want %v, with the certificate authorities in full, got %v", tc.files, files)
			}
			cf, err := tc.img.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			if cf.Config.User != "65532:65532" || cf.Architecture != "arm64" || cf.OS != "linux" || strings.Join(cf.Config.Entrypoint, " ") != tc.runs {
				t.Errorf("want a linux/arm64 image that runs %s as a user that is not root, got %+v", tc.runs, cf)
			}
		})
	}
}

// The digest does not depend on when or how often a package was built, nor on
// whether it came from memory or from its files, and a registry keeps it.
func TestSameDigest(t *testing.T) {
	first, err := Join(functionImage(t, "amd64"), functionImage(t, "arm64"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := first.Digest()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, arch := range []string{"arm64", "amd64"} {
		if err := tarball.WriteToFile(filepath.Join(dir, "function-a-v0.1.0-linux-"+arch+".xpkg"), nil, functionImage(t, arch)); err != nil {
			t.Fatal(err)
		}
	}
	loaded, err := Load(dir, "v0.1.0")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := loaded["function-a"].Digest(); err != nil || got != want {
		t.Errorf("want %s from the files too, got %s, %v", want, got, err)
	}

	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer srv.Close()
	ref := strings.TrimPrefix(srv.URL, "http://") + "/whisperops/function-a:v0.1.0"
	if err := loaded["function-a"].Push(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	d, err := remote.Get(r)
	if err != nil {
		t.Fatal(err)
	}
	if d.Digest != want {
		t.Errorf("want the registry to know it as %s, got %s", want, d.Digest)
	}
	img, err := d.Image()
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if m.Layers[0].Annotations["io.crossplane.xpkg"] != "base" {
		t.Errorf("want the package's layer to be annotated, or Crossplane unpacks the whole image, got %v", m.Layers)
	}
}

func TestSBOM(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "xpkg")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/xpkg").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	a, err := SBOM("function-a", "v0.1.0", program, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	b, err := SBOM("function-a", "v0.1.0", program, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("want the same list from the same program")
	}
	var doc spdx
	if err := json.Unmarshal(a, &doc); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range doc.Packages {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); !strings.Contains(got, "github.com/google/go-containerregistry") || !strings.Contains(got, "stdlib") || len(doc.Relationships) != len(doc.Packages) {
		t.Errorf("want the standard library and each module once, with a relation each, got %v", names)
	}
	if _, err := SBOM("function-a", "v0.1.0", []byte("no program"), time.Unix(0, 0)); err == nil {
		t.Error("want an error for what is no Go program")
	}
}
