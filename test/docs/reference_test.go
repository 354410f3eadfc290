package docs

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/pipeline"
)

const header = "<!-- Code generated from %s by make generate. DO NOT EDIT. -->\n"

// A schema is as much of an OpenAPI schema as a page shows.
type schema struct {
	Description          string             `json:"description"`
	Type                 string             `json:"type"`
	Format               string             `json:"format"`
	Default              any                `json:"default"`
	Enum                 []any              `json:"enum"`
	Minimum              *float64           `json:"minimum"`
	Maximum              *float64           `json:"maximum"`
	Required             []string           `json:"required"`
	Properties           map[string]*schema `json:"properties"`
	Items                *schema            `json:"items"`
	AdditionalProperties *schema            `json:"additionalProperties"`
}

// schemaOf returns a kind's name and schema from the file of its CRD or XRD.
func schemaOf(t *testing.T, file string) (string, *schema) {
	t.Helper()
	docs, err := crossplane.ReadDocuments(file)
	if err != nil || len(docs) != 1 {
		t.Fatalf("cannot read %s: %v", file, err)
	}
	var crd struct {
		Spec struct {
			Names    struct{ Kind string }
			Versions []struct {
				Schema struct{ OpenAPIV3Schema *schema }
			}
		}
	}
	if err := crossplane.Convert(docs[0], &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Names.Kind, crd.Spec.Versions[0].Schema.OpenAPIV3Schema
}

// inputs is the page of all functions' inputs.
func inputs(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, header, "apis/input")
	b.WriteString(`# Inputs

What a platform team sets once, in a Composition. All of it has a default but the two images of render-workloads. An input is decoded
strictly: a field that isn't here is a fatal result that names it. Every input begins with

    apiVersion: fn.whisperops.io/v1alpha1
    kind: <the kind below>
`)
	for _, step := range steps(t) {
		files, err := filepath.Glob(filepath.Join(pipeline.Root(), "package", "functions", strings.TrimPrefix(step, "function-"), "input", "*.yaml"))
		if err != nil || len(files) != 1 {
			t.Fatalf("%s has no input: %v, %v", step, files, err)
		}
		kind, s := schemaOf(t, files[0])
		fmt.Fprintf(&b, "\n## %s\n\nKind `%s`.", strings.TrimPrefix(step, "function-"), kind)
		delete(s.Properties, "apiVersion")
		delete(s.Properties, "kind")
		delete(s.Properties, "metadata")
		if len(s.Properties) == 0 {
			b.WriteString(" It has no field.\n")
			continue
		}
		b.WriteString("\n\n| Field | Type | Default | Meaning |\n|---|---|---|---|\n")
		rows(&b, s, "", 0)
	}
	return b.String()
}

// kinds is the page of what orders, budgets and datasets hold.
func kinds(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, header, "apis/v1alpha1")
	b.WriteString("# Kinds\n\nWhat people write (`spec`) and what the pipelines know (`status`). `kubectl explain` says the same.\n")
	for _, f := range []string{"xrds/zz_generated.xdatasetagents.yaml", "xrds/zz_generated.xagentbudgets.yaml", "install/crds/zz_generated.xdatasets.yaml"} {
		kind, s := schemaOf(t, filepath.Join(pipeline.Root(), "package", f))
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", kind, oneLine(s.Description))
		for _, half := range []string{"spec", "status"} {
			fmt.Fprintf(&b, "\n### %s of %s\n\n| Field | Type | Default | Meaning |\n|---|---|---|---|\n", half, kind)
			rows(&b, s.Properties[half], "", 0)
		}
	}
	return b.String()
}

// deepest is how far down a page goes.
const deepest = 4

// ends says whether a page doesn't go below a field: it has one of Kubernetes' own
// types, or those of podTemplate once more.
func ends(name string, s *schema) bool {
	return slices.Contains([]string{"affinity", "tolerations", "topologySpreadConstraints", "env", "resources"}, name) ||
		strings.Contains(s.Description, "laid over podTemplate")
}

func rows(b *strings.Builder, s *schema, prefix string, depth int) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		path := prefix + name
		below, suffix := p, "."
		if p.Items != nil {
			below, suffix = p.Items, "[]."
		}
		if p.AdditionalProperties != nil {
			below, suffix = p.AdditionalProperties, ".*."
		}
		required := ""
		if slices.Contains(s.Required, name) {
			required = ", **required**"
		}
		fmt.Fprintf(b, "| `%s` | %s%s | %s | %s |\n", path, typeOf(p), required, value(p.Default), oneLine(p.Description+bounds(p)))
		if depth+1 < deepest && !ends(name, p) {
			rows(b, below, path+suffix, depth+1)
		}
	}
}

func typeOf(s *schema) string {
	switch {
	case s.Items != nil:
		return "list of " + typeOf(s.Items)
	case s.AdditionalProperties != nil:
		return "map of " + typeOf(s.AdditionalProperties)
	case s.Type == "":
		return "any"
	case s.Format == "date-time":
		return "time"
	}
	return s.Type
}

// bounds says in words what the schema refuses.
func bounds(s *schema) string {
	out := ""
	if s.Minimum != nil {
		out += ", at least " + strconv.FormatFloat(*s.Minimum, 'f', -1, 64)
	}
	if s.Maximum != nil {
		out += ", at most " + strconv.FormatFloat(*s.Maximum, 'f', -1, 64)
	}
	if len(s.Enum) > 0 {
		words := make([]string, len(s.Enum))
		for i, e := range s.Enum {
			words[i] = value(e)
		}
		out += ", one of " + strings.Join(words, ", ")
	}
	if out == "" {
		return ""
	}
	return " (" + strings.TrimPrefix(out, ", ") + ")"
}

func value(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case map[string]any, []any:
		if fmt.Sprint(v) == "map[]" || fmt.Sprint(v) == "[]" {
			return ""
		}
		return "see the schema"
	case string:
		return "`" + strconv.Quote(v) + "`"
	}
	return "`" + fmt.Sprint(v) + "`"
}

// oneLine makes a comment fit into a table's cell.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	return strings.NewReplacer("|", `\|`, "<", `\<`, "*", `\*`).Replace(s)
}

// steps returns the functions of both Compositions, in their order, without those of
// others.
func steps(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, c := range compositions {
		for _, s := range pipelineOf(t, c).Spec.Pipeline {
			if s.FunctionRef.Name != "function-auto-ready" {
				out = append(out, s.FunctionRef.Name)
			}
		}
	}
	return out
}

var compositions = []string{"xdatasetagent", "xagentbudget"}

func pipelineOf(t *testing.T, name string) *pipeline.Composition {
	t.Helper()
	docs, err := crossplane.ReadDocuments(filepath.Join(pipeline.Root(), "package", "compositions", name+".yaml"))
	if err != nil || len(docs) != 1 {
		t.Fatalf("cannot read Composition %s: %v", name, err)
	}
	c := &pipeline.Composition{}
	if err := crossplane.Convert(docs[0], c); err != nil {
		t.Fatal(err)
	}
	return c
}

// notes is the index of the design notes. They have one form, and numbers without
// holes.
func notes(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pipeline.Root(), "docs", "design", "[0-9]*.md"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, header, "the notes' titles")
	b.WriteString("# Design notes\n\nWhy things are as they are: context, decision, alternatives, consequences, a page each.\n\n")
	for i, f := range files {
		name := filepath.Base(f)
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		number := fmt.Sprintf("%04d", i+1)
		title, ok := strings.CutPrefix(strings.SplitN(string(text), "\n", 2)[0], "# "+number+": ")
		if !ok || !strings.HasPrefix(name, number+"-") {
			t.Errorf("%s is not note %s, with the title \"# %s: ...\"", name, number, number)
		}
		at := 0
		for _, part := range []string{"Context", "Decision", "Alternatives", "Consequences"} {
			next := bytes.Index(text, []byte("\n**"+part+".**"))
			if next < at {
				t.Errorf("%s has no paragraph **%s.** in its place", name, part)
			}
			at = max(next, at)
		}
		fmt.Fprintf(&b, "- [%s](%s): %s\n", number, name, title)
	}
	return b.String()
}
