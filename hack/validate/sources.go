package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const (
	ourAPIVersion   = "whisperops.io/v1alpha1"
	kindAgent       = "XDatasetAgent"
	kindBudget      = "XAgentBudget"
	sampleName      = "housing-bot"
	sampleNamespace = "agent-housing-bot"
)

// sampleSpecs hold the least that the API server accepts of each composite kind:
// a status is checked beside it.
var sampleSpecs = map[string]map[string]any{
	kindAgent: {
		"agentName": sampleName, "datasetRef": map[string]any{"name": "california-housing"},
		"budgetUsd": int64(5), "baseDomain": "example.org", "projectId": "acme-data",
	},
	kindBudget: {"agentName": sampleName, "budgetUsd": int64(5)},
}

// elsewhere are the groups in package/install and examples/garage of which no CRD
// is asked for: Crossplane's own, which tests decode into their Go types, those of
// kinds that a platform may do without, and kustomize's and Backstage's, which no
// cluster ever sees.
var elsewhere = []string{
	"apiextensions.crossplane.io", "pkg.crossplane.io", "apiextensions.k8s.io",
	"gcp.upbound.io", "monitoring.coreos.com", "kustomize.config.k8s.io", "scaffolder.backstage.io",
}

// checkAll checks everything of a checkout that is rendered or installed.
func (c *checker) checkAll(root string) error {
	for _, check := range []func(string) error{c.checkGoldens, c.checkExamples, c.checkRendered, c.checkInstall, c.checkGarage} {
		if err := check(root); err != nil {
			return err
		}
	}
	return nil
}

// checkGoldens checks the expected responses of all stations' stories.
func (c *checker) checkGoldens(root string) error {
	files, err := filepath.Glob(filepath.Join(root, "fn", "*", "*", "testdata", "*", "want.yaml"))
	if err != nil {
		return fmt.Errorf("cannot list the golden stories: %w", err)
	}
	for _, f := range files {
		rel, err := filepath.Rel(root, f)
		if err != nil {
			return fmt.Errorf("cannot name %s: %w", f, err)
		}
		if err := c.checkGolden(f, rel); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) checkGolden(file, rel string) error {
	docs, err := readDocuments(file)
	if err != nil {
		return err
	}
	if len(docs) != 1 {
		return fmt.Errorf("%s holds %d documents, not one response", rel, len(docs))
	}
	kind, namespace := kindAgent, ""
	if strings.HasPrefix(filepath.ToSlash(rel), "fn/budget/") {
		kind, namespace = kindBudget, sampleNamespace
	}
	if ns, err := namespaceOf(filepath.Join(filepath.Dir(file), "xr.yaml")); err != nil {
		return err
	} else if namespace != "" && ns != "" {
		namespace = ns
	}

	// What a story begins with are stubs of what other steps rendered.
	stubs, err := leftByEarlierSteps(filepath.Join(filepath.Dir(file), "desired.yaml"))
	if err != nil {
		return err
	}
	if status, ok, err := unstructured.NestedMap(docs[0], "composite", "resource", "status"); err != nil {
		return fmt.Errorf("cannot read the composite's status in %s: %w", rel, err)
	} else if ok {
		maps.DeleteFunc(status, func(k string, v any) bool { return reflect.DeepEqual(v, stubs.Composite.Status[k]) })
		c.status(place{rel, "composite"}, kind, namespace, status)
	}
	resources, _, err := unstructured.NestedMap(docs[0], "resources")
	if err != nil {
		return fmt.Errorf("cannot read the resources in %s: %w", rel, err)
	}
	for _, name := range slices.Sorted(maps.Keys(resources)) {
		r, _ := resources[name].(map[string]any)
		o, _ := r["resource"].(map[string]any)
		if o == nil {
			return fmt.Errorf("%s has no resource under %q", rel, name)
		}
		if reflect.DeepEqual(o, stubs.Resources[name]) {
			continue
		}
		c.composed(place{rel, name}, o, namespace)
	}
	c.report.sources["golden responses"]++
	return nil
}

// stubs is the desired state with which a golden story begins.
type stubs struct {
	Composite struct {
		Status map[string]any
	}
	Resources map[string]map[string]any
}

// leftByEarlierSteps returns the desired state with which a story begins; none
// when there is no such file.
func leftByEarlierSteps(file string) (*stubs, error) {
	out := &stubs{Resources: map[string]map[string]any{}}
	if _, err := os.Stat(file); os.IsNotExist(err) {
		return out, nil
	}
	docs, err := readDocuments(file)
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		composite, _ := d["composite"].(map[string]any)
		out.Composite.Status, _ = composite["status"].(map[string]any)
		resources, _ := d["resources"].(map[string]any)
		for name, r := range resources {
			out.Resources[name], _ = r.(map[string]any)
		}
	}
	return out, nil
}

// namespaceOf returns the namespace of the XR in a file; empty when there is
// none, or no file.
func namespaceOf(file string) (string, error) {
	b, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("cannot read the XR: %w", err)
	}
	var xr struct {
		Metadata struct {
			Namespace string `json:"namespace"`
		} `json:"metadata"`
	}
	if err := yaml.Unmarshal(b, &xr); err != nil {
		return "", nil //nolint:nilerr // A story about a malformed order has no namespace.
	}
	return xr.Metadata.Namespace, nil
}

// status checks what a pipeline wrote into an XR's status.
func (c *checker) status(p place, kind, namespace string, status map[string]any) {
	meta := map[string]any{"name": sampleName}
	if namespace != "" {
		meta["namespace"] = namespace
	}
	spec := maps.Clone(sampleSpecs[kind])
	c.object(p, map[string]any{"apiVersion": ourAPIVersion, "kind": kind, "metadata": meta, "spec": spec, "status": status}, false)
}

// checkExamples checks the orders and the objects of our kinds in examples/.
// What is observed there is cut down to what a step reads, so it is no object
// that a cluster would accept.
func (c *checker) checkExamples(root string) error {
	var files []string
	for _, name := range []string{"xr.yaml", "required.yaml"} {
		found, err := filepath.Glob(filepath.Join(root, "examples", "*", name))
		if err != nil {
			return fmt.Errorf("cannot list the examples: %w", err)
		}
		files = append(files, found...)
	}
	for _, f := range files {
		if refused(filepath.Dir(f)) && filepath.Base(f) == "xr.yaml" {
			continue // the story is about an order that the API server refuses
		}
		docs, err := readDocuments(f)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, f)
		if err != nil {
			return fmt.Errorf("cannot name %s: %w", f, err)
		}
		for _, d := range docs {
			if d["apiVersion"] == ourAPIVersion || c.isForeign(d) {
				c.object(place{rel, ""}, d, false)
			}
		}
		c.report.sources["example files"]++
	}
	return nil
}

// refused says whether a story's order is one that the XRD refuses: the functions say
// the same of it, in want.yaml.
func refused(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "want.yaml"))
	return err == nil && bytes.HasPrefix(b, []byte("fatal:")) && bytes.Contains(b, []byte("cannot use order"))
}

// besideObjects are the files of a rendered example that hold no object of a
// cluster: the context, the events, and the Composition with a played server.
var besideObjects = []string{"context.yaml", "events.yaml", "composition.yaml"}

// checkRendered checks what make render wrote, if it has run.
func (c *checker) checkRendered(root string) error {
	dirs, err := filepath.Glob(filepath.Join(root, "_output", "render", "*"))
	if err != nil {
		return fmt.Errorf("cannot list what was rendered: %w", err)
	}
	ours := c.provider
	if c.provider, err = ours.withStories(root); err != nil {
		return err
	}
	defer func() { c.provider = ours }()
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
		if err != nil {
			return fmt.Errorf("cannot list what was rendered: %w", err)
		}
		var all []located
		namespace := ""
		for _, f := range files {
			if slices.Contains(besideObjects, filepath.Base(f)) {
				continue
			}
			docs, err := readDocuments(f)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, f)
			if err != nil {
				return fmt.Errorf("cannot name %s: %w", f, err)
			}
			for _, d := range docs {
				all = append(all, located{&unstructured.Unstructured{Object: d}, rel})
				if isComposite(d) {
					namespace = (&unstructured.Unstructured{Object: d}).GetNamespace()
				}
			}
		}
		for _, l := range all {
			c.rendered(l, namespace)
		}
		c.report.sources["rendered examples"]++
	}
	return nil
}

// A located object knows its file.
type located struct {
	*unstructured.Unstructured

	file string
}

// partAnnotation is what Crossplane writes on everything it composes.
const partAnnotation = "crossplane.io/composition-resource-name"

// isComposite tells the XR of a rendering from what was composed.
func isComposite(o map[string]any) bool {
	u := &unstructured.Unstructured{Object: o}
	_, composed := u.GetAnnotations()[partAnnotation]
	return u.GetAPIVersion() == ourAPIVersion && (u.GetKind() == kindAgent || u.GetKind() == kindBudget) && !composed
}

func (c *checker) rendered(l located, namespace string) {
	switch {
	case isComposite(l.Object):
		status, ok := l.Object["status"].(map[string]any)
		if ok {
			c.status(place{l.file, "composite"}, l.GetKind(), l.GetNamespace(), status)
		}
	case c.isForeign(l.Object):
		c.object(place{l.file, "composite"}, l.Object, false)
	case l.GetAnnotations()[partAnnotation] != "":
		c.composed(place{l.file, l.GetAnnotations()[partAnnotation]}, l.Object, namespace)
	default:
		c.report.fail(place{l.file, ""}, l.Unstructured, "is neither the XR nor composed: no annotation "+partAnnotation)
	}
}

// checkInstall checks the manifests that a platform team applies.
func (c *checker) checkInstall(root string) error {
	err := filepath.WalkDir(filepath.Join(root, "package", "install"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("cannot list the install manifests: %w", err)
		}
		if d.IsDir() || filepath.Ext(path) != ".yaml" {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return fmt.Errorf("cannot name %s: %w", path, err)
		}
		return c.checkManifests(path, rel, "install manifests")
	})
	return err
}

// checkManifests checks the objects of a file that people apply.
func (c *checker) checkManifests(path, rel, source string) error {
	docs, err := readDocuments(path)
	if err != nil {
		return err
	}
	for _, o := range docs {
		u := &unstructured.Unstructured{Object: o}
		if slices.Contains(elsewhere, u.GroupVersionKind().Group) && !c.kinds.has(u.GroupVersionKind().GroupKind()) {
			continue
		}
		c.object(place{rel, ""}, o, false)
	}
	c.report.sources[source]++
	return nil
}
