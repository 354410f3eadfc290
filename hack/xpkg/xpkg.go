// Package xpkg makes Crossplane packages: OCI images that hold a package.yaml
// and, for a function, the program it runs. It needs no container runtime, and
// the same input gives the same bytes.
package xpkg

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/crypto/x509roots/fallback/bundle"
	"sigs.k8s.io/yaml"
)

// How Crossplane finds the package in an image: the layer with this annotation
// holds package.yaml. A tarball can't hold annotations of layers, so there a
// label "annotation:digest" of the image says the same.
const (
	annotation     = "io.crossplane.xpkg"
	annotationBase = "base"
	streamFile     = "package.yaml"
	metaFile       = "crossplane.yaml"
	metaGroup      = "meta.pkg.crossplane.io/"
)

// nonRoot is the user of a function's process: "nonroot" of the usual minimal images.
const nonRoot = "65532"

// A Meta is what the crossplane.yaml of a package says about it.
type Meta struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"` // Configuration, Function or Provider
	Metadata   struct {
		Name        string            `json:"name"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
}

// Stream reads a package's documents: the crossplane.yaml of dir first, then
// every other *.yaml in and below dir and the further folders, in order of path.
func Stream(dir string, further ...string) (Meta, []byte, error) {
	var meta Meta
	first, err := os.ReadFile(filepath.Join(dir, metaFile))
	if err != nil {
		return meta, nil, fmt.Errorf("cannot read package: %w", err)
	}
	if err := yaml.Unmarshal(first, &meta); err != nil {
		return meta, nil, fmt.Errorf("cannot read %s: %w", filepath.Join(dir, metaFile), err)
	}
	if !strings.HasPrefix(meta.APIVersion, metaGroup) || meta.Metadata.Name == "" {
		return meta, nil, fmt.Errorf("cannot use %s: want a named object of group %s, got apiVersion %q and name %q",
			filepath.Join(dir, metaFile), strings.TrimSuffix(metaGroup, "/"), meta.APIVersion, meta.Metadata.Name)
	}
	docs := [][]byte{first}
	for _, d := range append([]string{dir}, further...) {
		var files []string
		if err := filepath.WalkDir(d, func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() && filepath.Ext(path) == ".yaml" && filepath.Base(path) != metaFile {
				files = append(files, path)
			}
			return err
		}); err != nil {
			return meta, nil, fmt.Errorf("cannot read package: %w", err)
		}
		slices.Sort(files)
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				return meta, nil, fmt.Errorf("cannot read package: %w", err)
			}
			docs = append(docs, b)
		}
	}
	var out bytes.Buffer
	for _, d := range docs {
		out.WriteString("---\n")
		out.Write(bytes.TrimPrefix(bytes.TrimRight(d, "\n"), []byte("---\n")))
		out.WriteString("\n")
	}
	return meta, out.Bytes(), nil
}

// Plain makes the image of a package without a program.
func Plain(meta Meta, stream []byte) (v1.Image, error) {
	return build(meta, stream, "amd64", "", nil)
}

// Function makes the image of a package whose process runs the given program, a
// static one for linux and the architecture. Beside it the image holds nothing
// but the certificate authorities of the web.
func Function(meta Meta, stream, program []byte, arch string) (v1.Image, error) {
	img, err := build(meta, stream, arch, "function", program)
	if err != nil {
		return nil, err
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf = cf.DeepCopy()
	cf.Config.ExposedPorts = map[string]struct{}{"9443/tcp": {}}
	return mutate.ConfigFile(img, cf)
}

// Program makes an image that is no package: it runs a static program, named as
// the metadata say, and holds beside it what a function's image does.
func Program(meta Meta, program []byte, arch string) (v1.Image, error) {
	return build(meta, nil, arch, meta.Metadata.Name, program)
}

// build makes an image of a package's stream, if there is one, and of a program,
// if there is one, which lies at the root under its name.
func build(meta Meta, stream []byte, arch, name string, program []byte) (v1.Image, error) {
	labels := map[string]string{
		"org.opencontainers.image.title":    meta.Metadata.Name,
		"org.opencontainers.image.licenses": meta.Metadata.Annotations["meta.crossplane.io/license"],
		"org.opencontainers.image.source":   meta.Metadata.Annotations["meta.crossplane.io/source"],
	}
	img := empty.Image
	var layers []v1.Layer
	if len(stream) > 0 {
		base, err := layer([]file{{name: streamFile, mode: 0o644, data: stream}})
		if err != nil {
			return nil, err
		}
		digest, err := base.Digest()
		if err != nil {
			return nil, err
		}
		labels[annotation+":"+digest.String()] = annotationBase
		layers = append(layers, base)
	}
	if len(program) > 0 {
		cas, err := authorities()
		if err != nil {
			return nil, err
		}
		l, err := layer([]file{
			{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o444, data: cas},
			{name: name, mode: 0o555, data: program},
		})
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	img, err := mutate.AppendLayers(img, layers...)
	if err != nil {
		return nil, err
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf = cf.DeepCopy()
	cf.OS, cf.Architecture, cf.Created = "linux", arch, v1.Time{Time: time.Unix(0, 0).UTC()}
	cf.History = nil
	cf.Config.Labels = labels
	if len(program) > 0 {
		cf.Config.Entrypoint = []string{"/" + name}
		cf.Config.User = nonRoot + ":" + nonRoot
	}
	return mutate.ConfigFile(img, cf)
}

// A file of an image.
type file struct {
	name string
	mode int64
	data []byte
}

// compression is gzip's own default: a seventh less is pulled than with that of the library,
// which is the fastest.
const compression = 6

// layer packs files, and the folders that hold them, owned by root and without a date.
func layer(files []file) (v1.Layer, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	made := map[string]bool{}
	for _, f := range files {
		for i, c := range f.name {
			if c != '/' || made[f.name[:i]] {
				continue
			}
			made[f.name[:i]] = true
			if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: f.name[:i+1], Mode: 0o755, ModTime: time.Unix(0, 0)}); err != nil {
				return nil, err
			}
		}
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: f.mode, Size: int64(len(f.data)), ModTime: time.Unix(0, 0)}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil },
		tarball.WithCompressionLevel(compression), tarball.WithCompressedCaching) // compressed once, whoever asks for digest or bytes
}

// authorities are Mozilla's, from a pinned Go module, so that they do not
// depend on the machine that builds. Roots that are trusted under a condition
// only are left out, because a file of certificates can't state it.
func authorities() ([]byte, error) {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint != nil {
			continue
		}
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}
