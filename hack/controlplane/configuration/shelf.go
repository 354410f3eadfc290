package configuration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/xpkg"
)

// A Shelf holds the packages that are at hand without a network, by name: those of
// this checkout, the stand-in for function-auto-ready, provider-kubernetes, and *.xpkg of people.
type Shelf map[string]Item

// An Item is a package on a shelf.
type Item struct {
	// Package is registry and repository where it is published, which a file doesn't say: then it is empty.
	Package string
	// Version is the one that it has; empty if a file doesn't say.
	Version string

	wants []Want // what it depends on itself
	push  func(ctx context.Context, s *controlplane.Stack, ref string) error
}

// AddDir puts a folder with a crossplane.yaml on the shelf, with its program if it has one.
func (h Shelf) AddDir(pkg, version, program, dir string) {
	h[path.Base(pkg)] = Item{Package: pkg, Version: version, push: func(ctx context.Context, s *controlplane.Stack, ref string) error {
		return s.PushDir(ctx, ref, program, dir)
	}}
}

// AddVersion puts the packages of a folder that make up-build wrote on the shelf.
func (h Shelf) AddVersion(dir, version, registry string) error {
	pkgs, err := xpkg.Load(dir, version)
	if err != nil {
		return err
	}
	for n, p := range pkgs {
		h[n] = Item{Package: registry + "/" + n, Version: version, push: push(p)}
	}
	return nil
}

// AddFiles puts every *.xpkg of a folder on the shelf, under the name in its crossplane.yaml
// and under its file's.
func (h Shelf) AddFiles(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*"+xpkg.PackageExt))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("cannot use PACKAGES: no *%s in %s", xpkg.PackageExt, dir)
	}
	for _, f := range files {
		if err := h.addFile(f); err != nil {
			return fmt.Errorf("cannot use PACKAGES: cannot read %s: %w", f, err)
		}
	}
	return nil
}

func (h Shelf) addFile(file string) error {
	img, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		return err
	}
	docs, err := documents(img)
	if err != nil {
		return err
	}
	if len(docs) == 0 {
		return errors.New("its package.yaml is empty")
	}
	wants, err := dependencies(docs[0])
	if err != nil {
		return err
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return err
	}
	if docs[0].GetKind() != "Configuration" && cf.Architecture != runtime.GOARCH {
		return nil // the same package for other machines
	}
	p, err := xpkg.Join(img)
	if err != nil {
		return err
	}
	it := Item{wants: wants, push: push(p)}
	h[docs[0].GetName()], h[strings.TrimSuffix(filepath.Base(file), xpkg.PackageExt)] = it, it
	return nil
}

func push(p *xpkg.Package) func(context.Context, *controlplane.Stack, string) error {
	return func(ctx context.Context, s *controlplane.Stack, ref string) error { return s.Push(ctx, p, ref) }
}

// find says what on the shelf a want is met with, and under which reference. The shelf has
// no say in versions: what is there runs in place of any.
func (h Shelf) find(w Want) (Item, string, bool) {
	n := w.Name
	if w.Package != "" {
		n = path.Base(w.Package)
	}
	it, ok := h[n]
	if !ok || (w.Package != "" && it.Package != "" && w.Package != it.Package) {
		return Item{}, "", false
	}
	pkg := w.Package
	if pkg == "" {
		pkg = it.Package
	}
	if pkg == "" {
		pkg = "xpkg.crossplane.io/local/" + n
	}
	return it, pkg + ":" + tag(w.Version, it.Version), true
}

var version = regexp.MustCompile(`v?\d+\.\d+\.\d+[-+.0-9A-Za-z]*`)

// tag is a version that a want is content with: the shelf's own if that fits, else the first that it names.
func tag(want, have string) string {
	if c, err := semver.NewConstraint(want); have != "" && (want == "" || err == nil) {
		if v, verr := semver.NewVersion(have); want == "" || (verr == nil && c.Check(v)) {
			return have
		}
	}
	if v := version.FindString(want); v != "" {
		return v
	}
	return "v0.0.1"
}

// whole adds to wants what the packages that meet them depend on.
func (h Shelf) whole(wants []Want) []Want {
	out, met := slices.Clone(wants), map[string]bool{}
	for _, w := range wants {
		met[w.Kind+path.Base(w.Package)] = true
	}
	for i := 0; i < len(out); i++ {
		it, _, _ := h.find(out[i])
		for _, w := range it.wants {
			if key := w.Kind + path.Base(w.Package); !met[key] {
				met[key] = true
				out = append(out, w)
			}
		}
	}
	return out
}

// Pull gets what the shelf hasn't from where it is published, into a folder, and puts it on
// the shelf. It is done before the control plane starts, which has no network. What
// nobody can give is named with what wants it.
func (h Shelf) Pull(ctx context.Context, wants []Want, dir string, say func(string, ...any)) error {
	var missing []error
	tried := map[string]bool{}
	for again := true; again; {
		again = false
		for _, w := range h.whole(wants) {
			if _, _, ok := h.find(w); ok || tried[w.Kind+w.Name] {
				continue
			}
			again, tried[w.Kind+w.Name] = true, true
			if w.Package == "" {
				missing = append(missing, fmt.Errorf("function %s, for %s: add a manifest of the Function to the folder, or its file to PACKAGES=<folder>", w.Name, w.By))
				continue
			}
			say("pulling %s %s, for %s", w.Package, w.Version, w.By)
			file, err := pull(ctx, w, dir)
			if err == nil {
				err = h.addFile(file)
			}
			if err != nil {
				missing = append(missing, fmt.Errorf("%s %s, for %s: %w; if you have its file, put it into a folder and say PACKAGES=<folder>", w.Package, w.Version, w.By, err))
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("cannot get all packages:\n%w", errors.Join(missing...))
	}
	return nil
}

// pull writes a package's image to a file of the repository's name.
func pull(ctx context.Context, w Want, dir string) (string, error) {
	opts := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithPlatform(v1.Platform{OS: "linux", Architecture: runtime.GOARCH})}
	repo, err := name.NewRepository(w.Package)
	if err != nil {
		return "", err
	}
	version, err := newest(repo, w.Version, opts)
	if err != nil {
		return "", err
	}
	ref := repo.Tag(version)
	img, err := remote.Image(ref, opts...)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	// Layers' annotations get lost in a file; xpkg.Join makes them anew from the labels.
	file := filepath.Join(dir, path.Base(w.Package)+xpkg.PackageExt)
	return file, tarball.WriteToFile(file, ref, img)
}

// newest is the newest released tag of a repository that a constraint allows. An exact version
// needs no list.
func newest(repo name.Repository, constraint string, opts []remote.Option) (string, error) {
	if v := version.FindString(constraint); v != "" && v == constraint {
		return v, nil
	}
	tags, err := remote.List(repo, opts...)
	if err != nil {
		return "", err
	}
	if slices.Contains(tags, constraint) {
		return constraint, nil
	}
	c, err := semver.NewConstraint(strings.TrimSpace(constraint))
	if constraint == "" {
		c, err = semver.NewConstraint("*")
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the version %q: %w", constraint, err)
	}
	var best *semver.Version
	for _, t := range tags {
		if v, err := semver.NewVersion(t); err == nil && c.Check(v) && (best == nil || v.GreaterThan(best)) {
			best = v
		}
	}
	if best == nil {
		return "", fmt.Errorf("no tag of %s fits %q", repo, constraint)
	}
	return best.Original(), nil
}
