// Package configuration puts anybody's Configuration on a control plane: a package, or a
// folder of manifests, with the functions and providers that it wants.
package configuration

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/controlplane"
)

// A Configuration is what a package or a folder holds, by when it is applied.
type Configuration struct {
	// Early are objects that others may need: CRDs, namespaces, prices, roles. They don't
	// name a kind that a package brings.
	Early []*unstructured.Unstructured
	// Packages are the manifests of functions and providers that a folder brings.
	Packages []*unstructured.Unstructured
	// Definitions are XRDs and Compositions.
	Definitions []*unstructured.Unstructured
	// Late are objects of kinds that providers bring, a ProviderConfig most often.
	Late []*unstructured.Unstructured
	// Orders are objects of the kinds that Definitions define.
	Orders []*unstructured.Unstructured
	// Wants are the packages without which it doesn't work, each once.
	Wants []Want
	// Skipped are files of a folder that hold no object, or one for other tools.
	Skipped []string
}

// A Want is a function or provider that a Composition names, a manifest installs or a
// package depends on.
type Want struct {
	Kind string // Function or Provider
	// Name is what the object is called: for a function what Compositions say.
	Name string
	// Package is registry and repository; empty if only a Composition's functionRef is known.
	Package string
	// Version is an exact one, a constraint such as ">=v0.7.0", or empty.
	Version string
	// By says who wants it, for people.
	By string
}

const (
	metaGroup = "meta.pkg.crossplane.io/"
	pkgGroup  = "pkg.crossplane.io/"
	apiGroup  = "apiextensions.crossplane.io/"
)

// Read reads a package's file (*.xpkg) or a folder with manifests.
func Read(from string) (*Configuration, error) {
	info, err := os.Stat(from)
	if err != nil {
		return nil, fmt.Errorf("cannot read CONFIGURATION: %w", err)
	}
	if info.IsDir() {
		return readFolder(from)
	}
	img, err := tarball.ImageFromPath(from, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot read CONFIGURATION: %s is neither a folder nor a package's file as crossplane xpkg build writes it: %w", from, err)
	}
	objs, err := documents(img)
	if err != nil {
		return nil, fmt.Errorf("cannot read CONFIGURATION %s: %w", from, err)
	}
	return sort(objs)
}

// readFolder reads every *.yaml and *.yml in and below a folder. Files without an object, such
// as the expectations of a test, are named and left out.
func readFolder(dir string) (*Configuration, error) {
	var objs []*unstructured.Unstructured
	var skipped []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && p != dir && strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			return err
		}
		if ext := filepath.Ext(p); ext != ".yaml" && ext != ".yml" {
			return nil
		}
		found, err := controlplane.DecodeFiles(p)
		if err != nil {
			return err
		}
		for _, o := range found {
			if o.GetAPIVersion() == "" || o.GetKind() == "" || o.GetName() == "" {
				rel, _ := filepath.Rel(dir, p) // p is below dir
				skipped = append(skipped, rel)
				return nil
			}
		}
		objs = append(objs, found...)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read CONFIGURATION: %w", err)
	}
	c, err := sort(objs)
	if err != nil {
		return nil, fmt.Errorf("cannot use CONFIGURATION %s: %w", dir, err)
	}
	c.Skipped = skipped
	return c, nil
}

// documents are the objects in a package's image.
func documents(img v1.Image) ([]*unstructured.Unstructured, error) {
	fs := mutate.Extract(img)
	defer fs.Close() //nolint:errcheck // a reader
	for t := tar.NewReader(fs); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it holds no package.yaml: it is no package of Crossplane")
		}
		if err != nil {
			return nil, err
		}
		if path.Clean(h.Name) == "package.yaml" {
			return controlplane.Decode(t)
		}
	}
}

// sort says of each object when it is applied, and what all of them want.
func sort(objs []*unstructured.Unstructured) (*Configuration, error) {
	c := &Configuration{}
	defined := map[string]bool{}
	for _, o := range objs {
		if group(o) == strings.TrimSuffix(apiGroup, "/") && o.GetKind() == "CompositeResourceDefinition" {
			defined[text(o, "spec", "group")+"/"+text(o, "spec", "names", "kind")] = true
			defined[text(o, "spec", "group")+"/"+text(o, "spec", "claimNames", "kind")] = true
		}
	}
	if len(defined) == 0 {
		return nil, errors.New("it holds no CompositeResourceDefinition")
	}
	provided := map[string]bool{}
	for _, o := range objs {
		switch kind := o.GetKind(); {
		case strings.HasPrefix(o.GetAPIVersion(), metaGroup):
			if kind != "Configuration" {
				return nil, fmt.Errorf("its crossplane.yaml is of a %s, not of a Configuration", kind)
			}
			wants, err := dependencies(o)
			if err != nil {
				return nil, err
			}
			c.Wants = append(c.Wants, wants...)
		case strings.HasPrefix(o.GetAPIVersion(), pkgGroup) && (kind == "Function" || kind == "Provider"):
			ref, err := name.ParseReference(text(o, "spec", "package"), name.WithDefaultRegistry(""))
			if err != nil {
				return nil, fmt.Errorf("cannot use %s %s: %w", kind, o.GetName(), err)
			}
			c.Packages = append(c.Packages, o)
			provided[o.GetName()] = true
			c.Wants = append(c.Wants, Want{Kind: kind, Name: o.GetName(), Package: ref.Context().Name(), Version: ref.Identifier(), By: kind + " " + o.GetName()})
		case strings.HasPrefix(o.GetAPIVersion(), apiGroup):
			c.Definitions = append(c.Definitions, o)
		case defined[group(o)+"/"+kind]:
			c.Orders = append(c.Orders, o)
		case strings.HasSuffix(kind, "ProviderConfig"):
			c.Late = append(c.Late, o)
		default:
			c.Early = append(c.Early, o)
		}
	}
	c.Wants = named(c.Wants, functionRefs(c.Definitions), provided)
	return c, nil
}

// dependencies are what a crossplane.yaml depends on, in both of its spellings.
func dependencies(o *unstructured.Unstructured) ([]Want, error) {
	var out []Want
	list, _, _ := unstructured.NestedSlice(o.Object, "spec", "dependsOn")
	for _, d := range list {
		m, _ := d.(map[string]any)
		get := func(k string) string { s, _ := m[k].(string); return s }
		w := Want{Kind: get("kind"), Package: get("package"), Version: get("version"), By: "Configuration " + o.GetName()}
		for old, kind := range map[string]string{"function": "Function", "provider": "Provider", "configuration": "Configuration"} {
			if p := get(old); p != "" {
				w.Kind, w.Package = kind, p
			}
		}
		if w.Kind != "Function" && w.Kind != "Provider" {
			return nil, fmt.Errorf("Configuration %s depends on the %s %s: only functions and providers are installed here; give a folder with the manifests of both", o.GetName(), w.Kind, w.Package)
		}
		w.Name = path.Base(w.Package)
		out = append(out, w)
	}
	return out, nil
}

// functionRefs says of each function that Compositions name who names it.
func functionRefs(definitions []*unstructured.Unstructured) map[string]string {
	out := map[string]string{}
	for _, o := range definitions {
		steps, _, _ := unstructured.NestedSlice(o.Object, "spec", "pipeline")
		for _, s := range steps {
			m, _ := s.(map[string]any)
			if n, _, _ := unstructured.NestedString(m, "functionRef", "name"); n != "" && out[n] == "" {
				out[n] = fmt.Sprintf("step %v of %s %s", m["step"], o.GetKind(), o.GetName())
			}
		}
	}
	return out
}

// named gives each function the name by which Compositions call it: the repository's, or, as
// the package manager names a dependency, organisation-repository. A function that
// only a Composition knows is wanted by name alone.
func named(wants []Want, refs map[string]string, provided map[string]bool) []Want {
	met := map[string]bool{}
	var out []Want
	for _, w := range wants {
		if w.Kind == "Function" && !provided[w.Name] {
			parts := strings.Split(w.Package, "/")
			if long := strings.Join(parts[max(0, len(parts)-2):], "-"); refs[w.Name] == "" && refs[long] != "" {
				w.Name = long
			}
		}
		if !met[w.Kind+w.Name] {
			met[w.Kind+w.Name] = true
			out = append(out, w)
		}
	}
	for n, by := range refs {
		if !met["Function"+n] {
			out = append(out, Want{Kind: "Function", Name: n, By: by})
		}
	}
	slices.SortFunc(out, func(a, b Want) int { return strings.Compare(a.Kind+a.Name, b.Kind+b.Name) })
	return out
}

func group(o *unstructured.Unstructured) string {
	g, _, _ := strings.Cut(o.GetAPIVersion(), "/")
	return g
}

func text(o *unstructured.Unstructured, fields ...string) string {
	s, _, _ := unstructured.NestedString(o.Object, fields...)
	return s
}
