package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/xcrd"
	xpv1 "github.com/crossplane/crossplane/apis/v2/apiextensions/v1"
	xpv2 "github.com/crossplane/crossplane/apis/v2/apiextensions/v2"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	extv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	schemavalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	metavalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// A kind is one served version of a custom resource, with what the API server
// checks its objects with. It is built when the first object asks for it: a
// folder of CRDs holds many that nobody renders.
type kind struct {
	crd     *apiextensions.CustomResourceDefinition
	version string

	structural *structuralschema.Structural
	schema     schemavalidation.SchemaValidator
	rules      *cel.Validator
}

// Kinds are all custom resources that are known.
type kinds map[schema.GroupKind]*kindVersions

type kindVersions struct {
	crd    *apiextensions.CustomResourceDefinition
	served map[string]*kind
}

// loadOurs returns the kinds of this repository: the CRDs that Crossplane derives
// from the XRDs, XDataset's, and those of the inputs. They are checked like the
// API server checks a CRD, because nobody else has done so.
func loadOurs(pkg string) (kinds, error) {
	k := kinds{}
	var paths []string
	for _, pattern := range []string{"xrds/*.yaml", "install/crds/*.yaml", "functions/*/input/*.yaml"} {
		found, err := filepath.Glob(filepath.Join(pkg, pattern))
		if err != nil {
			return nil, fmt.Errorf("cannot list our own kinds: %w", err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("no file %s in %q", pattern, pkg)
		}
		paths = append(paths, found...)
	}
	for _, p := range paths {
		docs, err := readDocuments(p)
		if err != nil {
			return nil, err
		}
		for _, d := range docs {
			crd, err := ourCRD(d)
			if err != nil {
				return nil, fmt.Errorf("cannot use %s: %w", p, err)
			}
			if errs := crdvalidation.ValidateCustomResourceDefinition(context.Background(), crd); len(errs) > 0 {
				return nil, fmt.Errorf("the API server refuses %s: %w", p, errs.ToAggregate())
			}
			k.add(crd)
		}
	}
	return k, nil
}

// ourCRD returns a CRD, or the CRD that Crossplane derives from an XRD.
func ourCRD(d map[string]any) (*apiextensions.CustomResourceDefinition, error) {
	raw, err := yaml.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("cannot encode: %w", err)
	}
	crd := &extv1.CustomResourceDefinition{}
	if d["kind"] == "CompositeResourceDefinition" {
		if err := yaml.UnmarshalStrict(raw, &xpv2.CompositeResourceDefinition{}); err != nil {
			return nil, fmt.Errorf("cannot decode the XRD: %w", err)
		}
		// Crossplane itself reads an XRD as v1, whatever version it was written in.
		xrd := &xpv1.CompositeResourceDefinition{}
		if err := yaml.UnmarshalStrict(raw, xrd); err != nil {
			return nil, fmt.Errorf("cannot decode the XRD: %w", err)
		}
		xrd.SetUID("1") // it has one in a cluster, and owns the CRD by it
		if crd, err = xcrd.ForCompositeResource(xrd); err != nil {
			return nil, fmt.Errorf("cannot derive the CRD: %w", err)
		}
	} else if err := yaml.UnmarshalStrict(raw, crd); err != nil {
		return nil, fmt.Errorf("cannot decode the CRD: %w", err)
	}
	return internalCRD(crd)
}

func internalCRD(in *extv1.CustomResourceDefinition) (*apiextensions.CustomResourceDefinition, error) {
	extv1.SetDefaults_CustomResourceDefinition(in)
	extv1.SetDefaults_CustomResourceDefinitionSpec(&in.Spec)
	if len(in.Status.StoredVersions) == 0 {
		for _, v := range in.Spec.Versions {
			if v.Storage {
				in.Status.StoredVersions = []string{v.Name}
			}
		}
	}
	out := &apiextensions.CustomResourceDefinition{}
	if err := extv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(in, out, nil); err != nil {
		return nil, fmt.Errorf("cannot convert the CRD: %w", err)
	}
	return out, nil
}

// load adds every CRD below dir and returns their number. A kind that is
// known already stays as it is: two packages of one family may hold the same.
func (k kinds) load(dir string) (int, error) {
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("cannot read the folder of CRDs: %w", err)
		}
		if d.IsDir() || !slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)) {
			return nil
		}
		docs, err := readDocuments(path)
		if err != nil {
			return err
		}
		for _, doc := range docs {
			if doc["kind"] != "CustomResourceDefinition" {
				continue
			}
			raw, err := json.Marshal(doc)
			if err != nil {
				return fmt.Errorf("cannot encode a CRD of %s: %w", path, err)
			}
			crd := &extv1.CustomResourceDefinition{}
			if err := json.Unmarshal(raw, crd); err != nil {
				return fmt.Errorf("cannot decode a CRD of %s: %w", path, err)
			}
			internal, err := internalCRD(crd)
			if err != nil {
				return fmt.Errorf("cannot use a CRD of %s: %w", path, err)
			}
			k.add(internal)
			n++
		}
		return nil
	})
	return n, err
}

func (k kinds) add(crd *apiextensions.CustomResourceDefinition) {
	gk := schema.GroupKind{Group: crd.Spec.Group, Kind: crd.Spec.Names.Kind}
	if _, ok := k[gk]; ok {
		return
	}
	v := &kindVersions{crd: crd, served: map[string]*kind{}}
	for _, cv := range crd.Spec.Versions {
		if cv.Served {
			v.served[cv.Name] = &kind{crd: crd, version: cv.Name}
		}
	}
	k[gk] = v
}

func (k kinds) has(gk schema.GroupKind) bool { _, ok := k[gk]; return ok }

// find returns a kind, or an error as a cluster would give it.
func (k kinds) find(gvk schema.GroupVersionKind) (*kind, error) {
	v, ok := k[gvk.GroupKind()]
	if !ok {
		return nil, fmt.Errorf("no matches for kind %q in group %q: it is neither a kind of Kubernetes that we know nor in the folder of CRDs", gvk.Kind, gvk.Group)
	}
	kd, ok := v.served[gvk.Version]
	if !ok {
		var served []string
		for name := range v.served {
			served = append(served, name)
		}
		slices.Sort(served)
		return nil, fmt.Errorf("no matches for kind %q in version %q: served are %s", gvk.Kind, gvk.GroupVersion(), strings.Join(served, ", "))
	}
	if err := kd.build(); err != nil {
		return nil, err
	}
	return kd, nil
}

func (k *kind) build() error {
	if k.structural != nil {
		return nil
	}
	validation, err := apiextensions.GetSchemaForVersion(k.crd, k.version)
	if err != nil || validation == nil || validation.OpenAPIV3Schema == nil {
		return fmt.Errorf("CRD %s has no schema for version %s: %w", k.crd.GetName(), k.version, err)
	}
	s, err := structuralschema.NewStructural(validation.OpenAPIV3Schema)
	if err != nil {
		return fmt.Errorf("the schema of CRD %s is not structural: %w", k.crd.GetName(), err)
	}
	sv, _, err := schemavalidation.NewSchemaValidator(validation.OpenAPIV3Schema)
	if err != nil {
		return fmt.Errorf("cannot use the schema of CRD %s: %w", k.crd.GetName(), err)
	}
	k.structural, k.schema = s, sv
	k.rules = cel.NewValidator(s, true, celconfig.PerCallLimit)
	return nil
}

func (k *kind) namespaced() bool { return k.crd.Spec.Scope == apiextensions.NamespaceScoped }

// check returns what the API server would refuse in an apply of o, and leaves
// o with its defaults filled in. old is the object before, or nil.
func (k *kind) check(o, old map[string]any) field.ErrorList {
	var errs field.ErrorList
	unknown := pruning.PruneWithOptions(o, k.structural, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, p := range unknown {
		errs = append(errs, field.Forbidden(field.NewPath(p), "field not declared in schema: server-side apply answers 500, and the whole order stops"))
	}
	_, _, unknownMeta, err := objectmeta.GetObjectMetaWithOptions(o, objectmeta.ObjectMetaOptions{ReturnUnknownFieldPaths: true})
	if err != nil {
		return append(errs, field.Invalid(field.NewPath("metadata"), nil, err.Error()))
	}
	for _, p := range unknownMeta {
		errs = append(errs, field.Forbidden(field.NewPath(p), "field not declared in schema"))
	}
	if ferr := objectmeta.Coerce(nil, o, k.structural, true, false); ferr != nil {
		return append(errs, ferr)
	}

	defaulting.PruneNonNullableNullsWithoutDefaults(o, k.structural)
	defaulting.Default(o, k.structural)

	u := &unstructured.Unstructured{Object: o}
	errs = append(errs, metavalidation.ValidateObjectMetaAccessor(u, k.namespaced(), metavalidation.NameIsDNSSubdomain, field.NewPath("metadata"))...)
	errs = append(errs, objectmeta.Validate(nil, o, k.structural, true)...)
	if old == nil {
		errs = append(errs, schemavalidation.ValidateCustomResource(nil, o, k.schema)...)
	} else {
		errs = append(errs, schemavalidation.ValidateCustomResourceUpdate(nil, o, old, k.schema)...)
	}
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, k.structural, o)...)
	if k.rules != nil {
		var oldValue any
		if old != nil {
			oldValue = old
		}
		ruleErrs, _ := k.rules.Validate(context.Background(), nil, k.structural, o, oldValue, celconfig.RuntimeCELCostBudget)
		errs = append(errs, ruleErrs...)
	}
	return errs
}

// readDocuments returns the YAML documents of a file; empty ones are left out.
func readDocuments(path string) ([]map[string]any, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read: %w", err)
	}
	docs, err := documentsIn(b)
	if err != nil {
		return nil, fmt.Errorf("cannot decode %s: %w", path, err)
	}
	return docs, nil
}

func documentsIn(b []byte) ([]map[string]any, error) {
	var out []map[string]any
	r := k8syaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(b)))
	for {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		o, err := decode(doc)
		if err != nil {
			return nil, err
		}
		if len(o) > 0 {
			out = append(out, o)
		}
	}
}

// decode returns a YAML mapping with the number types that Kubernetes uses:
// int64 and float64.
func decode(doc []byte) (map[string]any, error) {
	j, err := yaml.YAMLToJSONStrict(doc)
	if err != nil {
		return nil, err
	}
	var o map[string]any
	err = json.Unmarshal(j, &o)
	return o, err
}
