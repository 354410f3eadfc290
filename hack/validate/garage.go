package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	xpv1 "github.com/crossplane/crossplane/apis/v2/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

// The lab.
const (
	garageDir        = "examples/garage"
	garageRoleName   = "garage-provider-kubernetes"
	garageAPIVersion = "blog.opsbogus.dev/v1alpha1"
	garageSkeleton   = "backstage/skeleton"
	garageNameOfPart = "gotemplating.fn.crossplane.io/composition-resource-name"
)

var garageKind = schema.GroupVersionKind{Group: "blog.opsbogus.dev", Version: "v1alpha1", Kind: "XGarage"}

// A garage is the lab's pipeline: what an order may say, and what it becomes.
type garage struct {
	dir      string
	order    map[string]any // the order of the lab
	template string         // of the step "render"
}

// loadGarage reads the lab below a checkout, and adds its kind to ks.
func loadGarage(root string, ks kinds) (*garage, error) {
	g := &garage{dir: filepath.Join(root, garageDir)}
	xrd, err := g.document("xrd.yaml")
	if err != nil {
		return nil, err
	}
	crd, err := ourCRD(xrd)
	if err != nil {
		return nil, fmt.Errorf("cannot use the lab's XRD: %w", err)
	}
	ks.add(crd)
	if g.order, err = g.document("order.yaml"); err != nil {
		return nil, err
	}
	composition, err := g.document("composition.yaml")
	if err != nil {
		return nil, err
	}
	if g.template, err = inlineTemplate(composition); err != nil {
		return nil, fmt.Errorf("cannot use the lab's Composition: %w", err)
	}
	return g, nil
}

// document returns the one document of a file.
func (g *garage) document(file string) (map[string]any, error) {
	docs, err := readDocuments(filepath.Join(g.dir, file))
	if err != nil {
		return nil, err
	}
	if len(docs) != 1 {
		return nil, fmt.Errorf("%s holds %d documents, not one", file, len(docs))
	}
	return docs[0], nil
}

// A goTemplate is as much of function-go-templating's input as the lab uses
// (input/v1beta1 of that repository). It is decoded strictly.
type goTemplate struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Source     string `json:"source"`
	Inline     struct {
		Template string `json:"template"`
	} `json:"inline"`
}

// inlineTemplate returns the template of a Composition's first step.
func inlineTemplate(composition map[string]any) (string, error) {
	raw, err := yaml.Marshal(composition)
	if err != nil {
		return "", err
	}
	c := &xpv1.Composition{}
	if err := yaml.UnmarshalStrict(raw, c); err != nil {
		return "", err
	}
	if len(c.Spec.Pipeline) == 0 || c.Spec.Pipeline[0].Input == nil {
		return "", errors.New("its first step has no input")
	}
	in := goTemplate{}
	if err := yaml.UnmarshalStrict(c.Spec.Pipeline[0].Input.Raw, &in); err != nil {
		return "", fmt.Errorf("the input of its first step: %w", err)
	}
	if in.APIVersion != "gotemplating.fn.crossplane.io/v1beta1" || in.Kind != "GoTemplate" || in.Source != "Inline" {
		return "", fmt.Errorf("the input of its first step is a %s %s with source %q, not an inline GoTemplate", in.APIVersion, in.Kind, in.Source)
	}
	return in.Inline.Template, nil
}

// render fills in the template for an order as function-go-templating does: with
// Sprig but for what reads the environment, over the request as a map. It returns
// the composed resources by name.
func (g *garage) render(order map[string]any) (map[string]map[string]any, error) {
	funcs := sprig.TxtFuncMap()
	delete(funcs, "env")
	delete(funcs, "expandenv")
	t, err := template.New("manifests").Funcs(funcs).Parse(g.template)
	if err != nil {
		return nil, fmt.Errorf("cannot parse the lab's template: %w", err)
	}
	b := bytes.Buffer{}
	request := map[string]any{"observed": map[string]any{"composite": map[string]any{"resource": order}}}
	if err := t.Execute(&b, request); err != nil {
		return nil, fmt.Errorf("cannot fill in the lab's template: %w", err)
	}
	docs, err := documentsIn(b.Bytes())
	if err != nil {
		return nil, fmt.Errorf("cannot decode what the lab's template becomes: %w", err)
	}
	parts := map[string]map[string]any{}
	for _, d := range docs {
		u := &unstructured.Unstructured{Object: d}
		annotations := u.GetAnnotations()
		name := annotations[garageNameOfPart]
		if name == "" || parts[name] != nil {
			return nil, fmt.Errorf("%s %q has no annotation %s of its own", u.GetKind(), u.GetName(), garageNameOfPart)
		}
		delete(annotations, garageNameOfPart) // as the function does
		u.SetAnnotations(annotations)
		parts[name] = d
	}
	return parts, nil
}

// skeleton fills in what the order form writes, as Backstage does with
// expressions of the form ${{ values.x }}, and | dump behind it, which quotes: in
// names of files and in files. It returns the files by name.
func (g *garage) skeleton(values map[string]string) (map[string][]byte, error) {
	pairs := []string{}
	for _, k := range slices.Sorted(maps.Keys(values)) {
		quoted, err := json.Marshal(values[k])
		if err != nil {
			return nil, fmt.Errorf("cannot quote %s: %w", k, err)
		}
		pairs = append(pairs, "${{ values."+k+" }}", values[k], "${{ values."+k+" | dump }}", string(quoted))
	}
	fill := strings.NewReplacer(pairs...).Replace
	files := map[string][]byte{}
	dir := filepath.Join(g.dir, filepath.FromSlash(garageSkeleton))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot list the skeleton: %w", err)
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("cannot read the skeleton: %w", err)
		}
		files[fill(e.Name())] = []byte(fill(string(b)))
	}
	for name, b := range files {
		if strings.Contains(name+string(b), "${{") {
			return nil, fmt.Errorf("%s of the skeleton asks for a value that the form does not give", name)
		}
	}
	return files, nil
}

// checkGarage checks the lab: its manifests, and what its order and the form's
// become.
func (c *checker) checkGarage(root string) error {
	g, err := loadGarage(root, c.kinds)
	if err != nil {
		return err
	}
	role, err := loadProviderRole(root, garageDir+"/rbac.yaml", garageRoleName)
	if err != nil {
		return err
	}
	lab := &checker{kinds: c.kinds, provider: role, report: c.report}
	if err := filepath.WalkDir(g.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("cannot list the lab: %w", err)
		}
		if d.IsDir() || filepath.Ext(path) != ".yaml" || filepath.Base(filepath.Dir(path)) == filepath.Base(garageSkeleton) {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return fmt.Errorf("cannot name %s: %w", path, err)
		}
		return lab.checkManifests(path, rel, "lab")
	}); err != nil {
		return err
	}
	files, err := g.skeleton(map[string]string{"teamName": "ae86", "stage": "stage3"})
	if err != nil {
		return err
	}
	orders := map[string]map[string]any{"order.yaml": g.order}
	for name, b := range files {
		if orders[garageSkeleton+"/"+name], err = decode(b); err != nil {
			return fmt.Errorf("cannot decode %s of the skeleton: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(orders)) {
		file := garageDir + "/" + name
		lab.object(place{file, ""}, orders[name], false)
		parts, err := g.render(orders[name])
		if err != nil {
			return err
		}
		for _, part := range slices.Sorted(maps.Keys(parts)) {
			lab.composed(place{file, part}, parts[part], "")
		}
	}
	return nil
}
