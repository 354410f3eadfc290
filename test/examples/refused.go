package examples

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"whisperops.io/functions/internal/errors"
)

// A schema is what an XRD says of one field, as far as Refused looks at it.
type schema struct {
	Type       string            `json:"type"`
	Properties map[string]schema `json:"properties"`
	Additional *schema           `json:"additionalProperties"`
	Items      *schema           `json:"items"`
	Required   []string          `json:"required"`
	Enum       []any             `json:"enum"`
	Pattern    string            `json:"pattern"`
	Minimum    *float64          `json:"minimum"`
	Maximum    *float64          `json:"maximum"`
	MinLength  *int              `json:"minLength"`
	MaxLength  *int              `json:"maxLength"`
	MaxItems   *int              `json:"maxItems"`
	Free       bool              `json:"x-kubernetes-preserve-unknown-fields"`
}

// byCrossplane are fields that Crossplane adds to every status.
var byCrossplane = []string{"conditions", "crossplane"}

// Refused returns, one sentence each, what of the rendered status the API server
// would refuse: an undeclared field, or a value that its XRD doesn't take. Neither the
// CLI nor the pipeline says a word, but on a cluster Crossplane makes every part, and
// then writes no status, no condition, no Ready and no Synced.
func (s *Story) Refused(root string, r *Rendering) ([]string, error) {
	status, _ := r.XR["status"].(map[string]any)
	if r.Fatal != "" || len(status) == 0 {
		return nil, nil
	}
	var xrd struct {
		Spec struct {
			Versions []struct {
				Name   string `json:"name"`
				Schema struct {
					OpenAPIV3Schema schema `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	text, err := os.ReadFile(s.XRD(root))
	if err != nil {
		return nil, errors.Wrap(err, "cannot read XRD")
	}
	if err := yaml.Unmarshal(text, &xrd); err != nil {
		return nil, errors.Wrapf(err, "cannot read XRD %s", s.XRD(root))
	}
	_, version, _ := strings.Cut(field(s.XR, "apiVersion"), "/")
	for _, v := range xrd.Spec.Versions {
		if v.Name == version {
			declared := maps.Clone(status)
			maps.DeleteFunc(declared, func(f string, _ any) bool { return slices.Contains(byCrossplane, f) })
			return v.Schema.OpenAPIV3Schema.Properties["status"].refused("status", declared), nil
		}
	}
	return nil, errors.Errorf("XRD %s has no version of %s", s.XRD(root), version)
}

func (s schema) refused(path string, v any) []string {
	say := func(what string, args ...any) []string { return []string{path + ": " + fmt.Sprintf(what, args...)} }
	if s.Type != "" && !s.takes(v) {
		return say("%v is no %s", v, s.Type)
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v) {
		return say("%v is none of %v", v, s.Enum)
	}
	switch v := v.(type) {
	case map[string]any:
		return s.refusedFields(path, v)
	case []any:
		var out []string
		if s.MaxItems != nil && len(v) > *s.MaxItems {
			out = say("%d items are more than %d", len(v), *s.MaxItems)
		}
		for i, e := range v {
			if s.Items != nil {
				out = append(out, s.Items.refused(fmt.Sprintf("%s[%d]", path, i), e)...)
			}
		}
		return out
	case string:
		if n := len([]rune(v)); s.MinLength != nil && n < *s.MinLength || s.MaxLength != nil && n > *s.MaxLength {
			return say("%q is too short or too long", v)
		}
		if s.Pattern != "" {
			if ok, err := regexp.MatchString(s.Pattern, v); err != nil || !ok {
				return say("%q does not match %s", v, s.Pattern)
			}
		}
	case float64:
		if s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			return say("%v is too small or too large", v)
		}
	}
	return nil
}

func (s schema) refusedFields(path string, v map[string]any) []string {
	var out []string
	for _, f := range s.Required {
		if _, has := v[f]; !has {
			out = append(out, path+"."+f+": required, and not there")
		}
	}
	for _, f := range slices.Sorted(maps.Keys(v)) {
		switch p, declared := s.Properties[f]; {
		case declared:
			out = append(out, p.refused(path+"."+f, v[f])...)
		case s.Additional != nil:
			out = append(out, s.Additional.refused(path+"."+f, v[f])...)
		case !s.Free:
			out = append(out, path+"."+f+": field not declared in schema; a field of your own belongs into status.platform")
		}
	}
	return out
}

// takes says whether a value is of the schema's type. Numbers come as float64.
func (s schema) takes(v any) bool {
	switch n := v.(type) {
	case string:
		return s.Type == "string"
	case bool:
		return s.Type == "boolean"
	case float64:
		return s.Type == "number" || s.Type == "integer" && n == float64(int64(n))
	case []any:
		return s.Type == "array"
	case map[string]any:
		return s.Type == "object"
	case nil:
		return true // the API server drops it
	default:
		return false
	}
}
