package main

import (
	"bytes"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// The groups of apis/v1alpha1 and apis/input.
const (
	apiGroup   = "whisperops.io"
	inputGroup = "fn.whisperops.io"
)

// defaultCompositions names the Composition of each kind that is composite. A
// kind of our group that is not here stays a plain CRD.
var defaultCompositions = map[string]string{
	"XDatasetAgent": "xdatasetagent-default",
	"XAgentBudget":  "xagentbudget-default",
}

// inputFolders names the function, below package/functions, that takes an input.
var inputFolders = map[string]string{
	"ValidateDatasetInput": "xda-validate-dataset",
	"ComputeTuningInput":   "xda-compute-tuning",
	"RenderIAMInput":       "xda-render-iam",
	"RenderWorkloadsInput": "xda-render-workloads",
	"RenderDashboardInput": "xda-render-dashboard",
	"EmitBudgetInput":      "xda-emit-budget",
	"FetchSpendInput":      "budget-fetch-spend",
	"DecideInput":          "budget-decide",
	"RenderReplicasInput":  "budget-render",
}

// object is a YAML mapping.
type object = map[string]any

// A crd is as much of a CustomResourceDefinition as an XRD repeats.
type crd struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Metadata   object `json:"metadata"`
	Spec       struct {
		Group    string `json:"group"`
		Scope    string `json:"scope"`
		Names    object `json:"names"`
		Versions []struct {
			Name                     string `json:"name"`
			Served                   bool   `json:"served"`
			Storage                  bool   `json:"storage"`
			AdditionalPrinterColumns []any  `json:"additionalPrinterColumns,omitempty"`
			Schema                   struct {
				OpenAPIV3Schema object `json:"openAPIV3Schema"`
			} `json:"schema"`
			Subresources object `json:"subresources,omitempty"`
		} `json:"versions"`
	} `json:"spec"`
}

// convert returns what a CRD becomes, and its path below the package folder.
func convert(in []byte) (string, []byte, error) {
	c := &crd{}
	if err := yaml.UnmarshalStrict(in, c); err != nil {
		return "", nil, fmt.Errorf("cannot decode the CRD: %w", err)
	}
	kind, _ := c.Spec.Names["kind"].(string)
	plural, _ := c.Spec.Names["plural"].(string)
	file := "zz_generated." + plural + ".yaml"

	// The generator's version would change every file with every update.
	delete(c.Metadata, "annotations")

	switch c.Spec.Group {
	case inputGroup:
		fn, ok := inputFolders[kind]
		if !ok {
			return "", nil, fmt.Errorf("no function takes the input %q: name it in hack/xrdgen", kind)
		}
		out, err := encode("apis/input", c)
		return path.Join("functions", fn, "input", file), out, err
	case apiGroup:
		if _, ok := defaultCompositions[kind]; !ok {
			out, err := encode("apis/v1alpha1", c)
			return path.Join("install", "crds", file), out, err
		}
		x, err := definition(c, kind)
		if err != nil {
			return "", nil, err
		}
		out, err := encode("apis/v1alpha1", x)
		return path.Join("xrds", file), out, err
	}
	return "", nil, fmt.Errorf("group %q is none of ours", c.Spec.Group)
}

// definition returns the XRD from which Crossplane derives the same CRD, plus
// what Crossplane adds to every composite kind.
func definition(c *crd, kind string) (object, error) {
	versions := make([]any, 0, len(c.Spec.Versions))
	for _, v := range c.Spec.Versions {
		schema, err := compositeSchema(v.Schema.OpenAPIV3Schema)
		if err != nil {
			return nil, fmt.Errorf("version %s: %w", v.Name, err)
		}
		versions = append(versions, object{
			"name":                     v.Name,
			"served":                   v.Served,
			"referenceable":            v.Storage,
			"additionalPrinterColumns": v.AdditionalPrinterColumns,
			"schema":                   object{"openAPIV3Schema": schema},
		})
	}
	return object{
		"apiVersion": "apiextensions.crossplane.io/v2",
		"kind":       "CompositeResourceDefinition",
		"metadata":   c.Metadata,
		"spec": object{
			"group":                 c.Spec.Group,
			"names":                 c.Spec.Names,
			"scope":                 c.Spec.Scope,
			"defaultCompositionRef": object{"name": defaultCompositions[kind]},
			"versions":              versions,
		},
	}, nil
}

// What Crossplane v2.4 carries over from an XRD's schema to its CRD
// (genCrdVersion in crossplane-runtime's pkg/xcrd). Everything else is dropped
// without a word, so that a rule would be written and never be enforced.
var (
	carriedAtRoot   = []string{"type", "description", "required", "properties", "x-kubernetes-validations"}
	carriedInSpec   = []string{"type", "description", "required", "properties", "x-kubernetes-validations", "oneOf"}
	carriedInStatus = carriedInSpec
)

// compositeSchema returns the schema of an XRD. Crossplane adds apiVersion, kind,
// metadata and status.conditions by itself.
func compositeSchema(in object) (object, error) {
	props, _ := in["properties"].(object)
	spec, _ := props["spec"].(object)
	status, _ := props["status"].(object)
	if spec == nil || status == nil {
		return nil, fmt.Errorf("a composite kind needs a spec and a status")
	}
	for _, s := range []struct {
		where   string
		schema  object
		carried []string
	}{
		{"the root", in, carriedAtRoot},
		{"spec", spec, carriedInSpec},
		{"status", status, carriedInStatus},
	} {
		for _, k := range slices.Sorted(maps.Keys(s.schema)) {
			if !slices.Contains(s.carried, k) {
				return nil, fmt.Errorf("crossplane would drop %q at %s of the schema: put it one level down", k, s.where)
			}
		}
	}
	for _, k := range slices.Sorted(maps.Keys(props)) {
		if !slices.Contains([]string{"apiVersion", "kind", "metadata", "spec", "status"}, k) {
			return nil, fmt.Errorf("crossplane would drop the field %q: a composite kind has a spec and a status, nothing else", k)
		}
	}

	statusProps, _ := status["properties"].(object)
	statusProps = maps.Clone(statusProps)
	delete(statusProps, "conditions")
	status = maps.Clone(status)
	status["properties"] = statusProps

	out := maps.Clone(in)
	out["properties"] = object{"spec": spec, "status": status}
	return out, nil
}

// encode returns a YAML document that says where it comes from.
func encode(source string, doc any) ([]byte, error) {
	body, err := yaml.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("cannot encode: %w", err)
	}
	out := &bytes.Buffer{}
	fmt.Fprintf(out, "# Code generated by hack/xrdgen from %s. DO NOT EDIT.\n", strings.TrimSuffix(source, "/"))
	out.Write(body)
	return out.Bytes(), nil
}
