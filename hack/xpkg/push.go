package xpkg

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// A Package is one package: an image, or one per architecture.
type Package struct {
	images []v1.Image
	index  v1.ImageIndex // nil for a single image
}

// Join makes a package of the images of its architectures.
func Join(images ...v1.Image) (*Package, error) {
	p := &Package{}
	for _, img := range images {
		a, err := annotated(img)
		if err != nil {
			return nil, err
		}
		p.images = append(p.images, a)
	}
	if len(images) == 1 {
		return p, nil
	}
	var adds []mutate.IndexAddendum
	for _, img := range p.images {
		cf, err := img.ConfigFile()
		if err != nil {
			return nil, err
		}
		adds = append(adds, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: cf.OS, Architecture: cf.Architecture}}})
	}
	slices.SortFunc(adds, func(a, b mutate.IndexAddendum) int {
		return compare(a.Platform.Architecture, b.Platform.Architecture)
	})
	p.index = mutate.AppendManifests(empty.Index, adds...)
	return p, nil
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Digest is what a registry will know the package by.
func (p *Package) Digest() (v1.Hash, error) {
	if p.index != nil {
		return p.index.Digest()
	}
	return p.images[0].Digest()
}

// Push writes the package to a registry under a reference such as
// registry.example.org/whisperops/function-budget-decide:v0.1.0, with the
// credentials that docker or podman login left for it, if any.
func (p *Package) Push(ctx context.Context, ref string) error {
	r, err := name.ParseReference(ref)
	if err != nil {
		return err
	}
	opts := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)}
	if p.index != nil {
		err = remote.WriteIndex(r, p.index, opts...)
	} else {
		err = remote.Write(r, p.images[0], opts...)
	}
	if err != nil {
		return fmt.Errorf("cannot push %s: %w", ref, err)
	}
	return nil
}

// annotated gives an image's layers the annotations that its labels hold.
func annotated(img v1.Image) (v1.Image, error) {
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	var adds []mutate.Addendum
	for _, l := range layers {
		d, err := l.Digest()
		if err != nil {
			return nil, err
		}
		add := mutate.Addendum{Layer: l}
		if v, ok := cf.Config.Labels[annotation+":"+d.String()]; ok {
			add.Annotations = map[string]string{annotation: v}
		}
		adds = append(adds, add)
	}
	out, err := mutate.Append(empty.Image, adds...)
	if err != nil {
		return nil, err
	}
	return mutate.ConfigFile(out, cf)
}

// What the names of files end with: of packages, and of images that are none.
const (
	PackageExt = ".xpkg"
	ImageExt   = ".tar"
)

// Packages are packages by name.
type Packages map[string]*Package

// Names returns the names in order.
func (ps Packages) Names() []string { return slices.Sorted(maps.Keys(ps)) }

// Load reads the packages (*.xpkg) and images (*.tar) of one version that a folder holds.
func Load(dir, version string) (Packages, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	images := map[string][]v1.Image{}
	for _, e := range entries {
		f, ext := filepath.Join(dir, e.Name()), filepath.Ext(e.Name())
		if ext != PackageExt && ext != ImageExt {
			continue
		}
		name, rest, ok := strings.Cut(strings.TrimSuffix(e.Name(), ext), "-"+version)
		if !ok || (rest != "" && !strings.HasPrefix(rest, "-linux-")) {
			continue
		}
		img, err := tarball.ImageFromPath(f, nil)
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", f, err)
		}
		images[name] = append(images[name], img)
	}
	if len(images) == 0 {
		return nil, fmt.Errorf("found no packages of version %s in %s: run `make xpkg` first", version, dir)
	}
	ps := Packages{}
	for name, imgs := range images {
		if ps[name], err = Join(imgs...); err != nil {
			return nil, err
		}
	}
	return ps, nil
}
