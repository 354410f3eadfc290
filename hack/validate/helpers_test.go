package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	schemavalidation "k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func diff(want, got any) string { return cmp.Diff(want, got) }

// machinery are fields that Crossplane and Kubernetes add to every kind of
// theirs, without or with words of their own.
var machinery = map[string]bool{"apiVersion": true, "kind": true, "metadata": true, "crossplane": true, "conditions": true}

// explained fails for every field below a kind's schema that has no
// description.
func explained(t *testing.T, name string, k *kind) {
	t.Helper()
	var walk func(path string, s *structuralschema.Structural)
	walk = func(path string, s *structuralschema.Structural) {
		for f, p := range s.Properties {
			if machinery[f] {
				continue
			}
			if len(p.Description) < 10 {
				t.Errorf("%s%s.%s has no description that would help a person: %q", name, path, f, p.Description)
			}
			walk(path+"."+f, &p)
		}
		if s.Items != nil {
			walk(path+"[]", s.Items)
		}
	}
	walk("", k.structural)
}

// statusOnly returns what the API server would refuse in an object's status.
func (k *kind) statusOnly(status any) field.ErrorList {
	s := k.structural.Properties["status"]
	var errs field.ErrorList
	for _, p := range pruning.PruneWithOptions(status, &s, false, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}) {
		errs = append(errs, field.Forbidden(field.NewPath("status", p), "unknown"))
	}
	schema, err := apiextensions.GetSchemaForVersion(k.crd, k.version)
	if err != nil {
		return append(errs, field.InternalError(nil, err))
	}
	props := schema.OpenAPIV3Schema.Properties["status"]
	v, _, err := schemavalidation.NewSchemaValidator(&props)
	if err != nil {
		return append(errs, field.InternalError(nil, err))
	}
	return append(errs, schemavalidation.ValidateCustomResource(field.NewPath("status"), status, v)...)
}
