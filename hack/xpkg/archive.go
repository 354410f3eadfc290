package xpkg

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// An EngineImage is one that a container engine of this machine loads from a file.
type EngineImage struct {
	Names   []string // with registry and tag
	Meta    Meta     // its name is the program's
	Program []byte   // static, for linux
	Rootfs  string   // file that mmdebstrap wrote, which lies below the program; empty: none
	Env     []string // more than the image has by itself
	Arch    string
}

// A part of an archive is a file in it.
type part struct {
	name  string
	size  int64
	write func(io.Writer) error
}

// Archive writes the image as `docker load` and `ctr image import` read it. It is
// the one that a registry gets, but that its layers are not packed: for a gigabyte that
// takes a minute, which an engine of the same machine has no use for.
func (i EngineImage) Archive(w io.Writer) error {
	img, err := i.program()
	if err != nil {
		return err
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return err
	}
	cf = cf.DeepCopy()
	cf.Config.Env = slices.Concat(cf.Config.Env, i.Env)
	var layers []part
	if i.Rootfs != "" {
		write := func(w io.Writer) error { _, err := normalise(i.Rootfs, w); return err }
		p, id, err := measure(write)
		if err != nil {
			return err
		}
		layers, cf.RootFS.DiffIDs = append(layers, p), append([]v1.Hash{id}, cf.RootFS.DiffIDs...)
	}
	own, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range own {
		p, _, err := measure(func(w io.Writer) error {
			r, err := l.Uncompressed()
			if err != nil {
				return err
			}
			defer r.Close() //nolint:errcheck // a reader
			_, err = io.Copy(w, r)
			return err
		})
		if err != nil {
			return err
		}
		layers = append(layers, p)
	}
	return i.archive(w, cf, layers)
}

func (i EngineImage) program() (v1.Image, error) {
	if i.Rootfs == "" {
		return Program(i.Meta, i.Program, i.Arch)
	}
	return OnRootfs(i.Meta, nil, i.Program, i.Arch)
}

// measure finds out size and digest of what is written, which an archive says before it.
func measure(write func(io.Writer) error) (part, v1.Hash, error) {
	sum, size := sha256.New(), counter(0)
	if err := write(io.MultiWriter(sum, &size)); err != nil {
		return part{}, v1.Hash{}, err
	}
	id := hex.EncodeToString(sum.Sum(nil))
	return part{name: id + ".tar", size: int64(size), write: write}, v1.Hash{Algorithm: "sha256", Hex: id}, nil
}

type counter int64

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

func (i EngineImage) archive(w io.Writer, cf *v1.ConfigFile, layers []part) error {
	config, err := json.Marshal(cf)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(config)
	document := func(name string, b []byte) part {
		return part{name, int64(len(b)), func(w io.Writer) error { _, err := io.Copy(w, bytes.NewReader(b)); return err }}
	}
	parts := []part{document(hex.EncodeToString(sum[:])+".json", config)}
	names := []string{}
	for _, l := range layers {
		names = append(names, l.name)
		parts = append(parts, l)
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": parts[0].name, "RepoTags": i.Names, "Layers": names}})
	if err != nil {
		return err
	}
	t := tar.NewWriter(w)
	for _, p := range append(parts, document("manifest.json", manifest)) {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: p.name, Mode: 0o444, Size: p.size}); err != nil {
			return err
		}
		if err := p.write(t); err != nil {
			return err
		}
	}
	return t.Close()
}
