package xpkg

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// An engine of this machine gets the image that a registry would, and is told more of its
// environment only.
func TestEngineImage(t *testing.T) {
	rootfs := debian(t, time.Unix(1_700_000_000, 0), "ab")
	var meta Meta
	meta.Metadata.Name = "sandbox"
	program := []byte("program")
	of := func(img v1.Image, err error) v1.Image {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return img
	}
	layer, _, err := Rootfs(rootfs)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		rootfs string
		want   v1.Image
	}{
		"Program":  {"", of(Program(meta, program, "amd64"))},
		"OnRootfs": {rootfs, of(OnRootfs(meta, layer, program, "amd64"))},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "image.tar")
			names := []string{"ghcr.io/whisperops/sandbox:v1", "ghcr.io/whisperops/sandbox:v2"}
			f, err := os.Create(file)
			if err != nil {
				t.Fatal(err)
			}
			image := EngineImage{Names: names, Meta: meta, Program: program, Rootfs: c.rootfs, Env: []string{"A=b"}, Arch: "amd64"}
			if err := errors.Join(image.Archive(f), f.Close()); err != nil {
				t.Fatal(err)
			}
			m, err := tarball.LoadManifest(func() (io.ReadCloser, error) { return os.Open(file) })
			if err != nil {
				t.Fatal(err)
			}
			if len(m) != 1 || !slices.Equal(m[0].RepoTags, names) {
				t.Errorf("want one image called %v, got %+v", names, m)
			}
			got, err := of(tarball.ImageFromPath(file, nil)).ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			want, err := c.want.ConfigFile()
			if err != nil {
				t.Fatal(err)
			}
			want = want.DeepCopy()
			want.Config.Env = append(want.Config.Env, "A=b")
			if !reflect.DeepEqual(want, got) {
				t.Errorf("want what a registry gets, %+v, got %+v", want, got)
			}
		})
	}
}
