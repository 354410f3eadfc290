package main

import (
	"context"
	"fmt"
	"path/filepath"

	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// loadForeign adds the kinds that stories of examples/ bring along: those of somebody
// else, whose Composition uses functions of ours. The lab adds its own.
func (c *checker) loadForeign(root string) error {
	files, err := filepath.Glob(filepath.Join(root, "examples", "*", "xrd.yaml"))
	if err != nil {
		return fmt.Errorf("cannot list the kinds of examples: %w", err)
	}
	c.foreign = map[schema.GroupKind]bool{}
	for _, f := range files {
		if filepath.Base(filepath.Dir(f)) == filepath.Base(garageDir) {
			continue
		}
		docs, err := readDocuments(f)
		if err != nil {
			return err
		}
		for _, d := range docs {
			crd, err := ourCRD(d)
			if err != nil {
				return fmt.Errorf("cannot use %s: %w", f, err)
			}
			if errs := crdvalidation.ValidateCustomResourceDefinition(context.Background(), crd); len(errs) > 0 {
				return fmt.Errorf("the API server refuses %s: %w", f, errs.ToAggregate())
			}
			c.kinds.add(crd)
			c.foreign[schema.GroupKind{Group: crd.Spec.Group, Kind: crd.Spec.Names.Kind}] = true
		}
	}
	return nil
}

// isForeign tells the XR of somebody else's kind.
func (c *checker) isForeign(o map[string]any) bool {
	return c.foreign[(&unstructured.Unstructured{Object: o}).GroupVersionKind().GroupKind()]
}
