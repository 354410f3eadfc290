#!/usr/bin/env bash
# Crossplane turns an XRD into a CRD, and drops schema keywords on the way without a word.
#
# Seen with crossplane-runtime v2.4.0 (pkg/xcrd, which Crossplane core v2.4 uses): of what
# stands at spec of an XRD's schema, minProperties and anyOf don't arrive in the CRD. At status
# x-kubernetes-preserve-unknown-fields doesn't, though it does at spec; and of metadata.name
# the pattern doesn't, though maxLength does. One level below spec and status all of them
# arrive. The XRD is accepted, and a rule that somebody wrote is never enforced.
#
# So: put such rules one level down, or write them as x-kubernetes-validations.
# Needs: go. Takes a minute on an empty cache.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >main.go <<'G'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/crossplane/crossplane-runtime/v2/pkg/xcrd"
	v1 "github.com/crossplane/crossplane/apis/v2/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const schema = `{"type": "object", "properties": {
  "metadata": {"type": "object", "properties": {"name": {"type": "string", "pattern": "^team-", "maxLength": 20}}},
  "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "minProperties": 2, "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    "properties": {"a": {"type": "string"}, "b": {"type": "string"},
      "below": {"type": "object", "minProperties": 2, "anyOf": [{"required": ["c"]}, {"required": ["d"]}], "properties": {"c": {"type": "string"}, "d": {"type": "string"}}}}},
  "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
    "properties": {"below": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}`

func main() {
	xrd := &v1.CompositeResourceDefinition{}
	xrd.SetName("xthings.example.org")
	xrd.SetUID("1")
	xrd.Spec.Group = "example.org"
	xrd.Spec.Names.Kind, xrd.Spec.Names.Plural = "XThing", "xthings"
	xrd.Spec.Versions = []v1.CompositeResourceDefinitionVersion{{
		Name: "v1", Served: true, Referenceable: true,
		Schema: &v1.CompositeResourceValidation{OpenAPIV3Schema: runtime.RawExtension{Raw: []byte(schema)}},
	}}
	crd, err := xcrd.ForCompositeResource(xrd)
	if err != nil {
		panic(err)
	}
	props := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties
	spec, status := props["spec"], props["status"]
	below, kept := spec.Properties["below"], status.Properties["below"]
	type found struct{ MinProperties, AnyOf, PreserveUnknown bool }
	at := found{spec.MinProperties != nil, spec.AnyOf != nil, status.XPreserveUnknownFields != nil}
	under := found{below.MinProperties != nil, below.AnyOf != nil, kept.XPreserveUnknownFields != nil}
	for where, f := range map[string]found{"spec and status": at, "one level down": under} {
		b, _ := json.Marshal(f)
		fmt.Printf("%s: %s\n", where, b)
	}
	name := props["metadata"].Properties["name"]
	fmt.Printf("metadata.name: pattern %q, maxLength %d; spec keeps unknown fields: %v\n", name.Pattern, *name.MaxLength, spec.XPreserveUnknownFields != nil)
	if name.Pattern != "" || *name.MaxLength != 20 || spec.XPreserveUnknownFields == nil || at != (found{}) || under != (found{true, true, true}) {
		fmt.Println("CHANGED: it is not as this finding says")
		os.Exit(1)
	}
}
G
go mod init finding >/dev/null 2>&1
go get github.com/crossplane/crossplane-runtime/v2@v2.4.0 github.com/crossplane/crossplane/apis/v2@v2.4.0 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run .
echo "seen again: crossplane-runtime v2.4.0"
