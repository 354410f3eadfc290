package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/suite"
)

// A demand is something that a schema demands of what people write, and the
// sentence that refuses it.
type demand struct{ path, what, says string }

func (d demand) String() string { return strings.TrimPrefix(d.path+" "+d.what, " ") }

// demands lists every CEL rule, pattern, bound, enum and required field of a
// schema, but for those of status, which no person writes.
func demands(schema map[string]any, path string) []demand {
	var all []demand
	add := func(what, says string) { all = append(all, demand{path, what, says}) }
	for _, c := range []struct{ key, says string }{
		{"pattern", "should match '%v'"}, {"minLength", "should be at least %v chars long"}, {"maxLength", "Too long: may not be more than %v bytes"},
		{"minimum", "should be greater than or equal to %v"}, {"maximum", "should be less than or equal to %v"}, {"maxItems", "must have at most %v items"}, {"format", "must be of type %v"},
	} {
		if v, has := schema[c.key]; has && v != "int32" && v != "int64" {
			add(c.key, fmt.Sprintf(c.says, v))
		}
	}
	if _, has := schema["enum"]; has {
		add("enum", "Unsupported value")
	}
	required, _ := schema["required"].([]any)
	for _, f := range required {
		add("required "+f.(string), strings.TrimPrefix(path+"."+f.(string), ".")+": Required value")
	}
	rules, _ := schema["x-kubernetes-validations"].([]any)
	for i, r := range rules {
		add(fmt.Sprintf("rule %d", i), r.(map[string]any)["message"].(string))
	}
	properties, _ := schema["properties"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(properties)) {
		if path == "" && name != "spec" {
			continue
		}
		all = append(all, demands(properties[name].(map[string]any), strings.TrimPrefix(path+"."+name, "."))...)
	}
	if items, has := schema["items"].(map[string]any); has {
		all = append(all, demands(items, path+"[]")...)
	}
	return all
}

// A wrong is a merge patch that turns a good object into one that a demand refuses.
type wrong string

// wrongs must name exactly the demands of the three schemas.
var wrongs = map[string]map[string]wrong{
	"XDatasetAgent": {
		"rule 0":                         `{"metadata":{"name":"other-bot"}}`,
		"required spec":                  `{"spec":null}`,
		"spec required agentName":        `{"spec":{"agentName":null}}`,
		"spec required baseDomain":       `{"spec":{"baseDomain":null}}`,
		"spec required budgetUsd":        `{"spec":{"budgetUsd":null}}`,
		"spec required datasetRef":       `{"spec":{"datasetRef":null}}`,
		"spec required projectId":        `{"spec":{"projectId":null}}`,
		"spec.agentName pattern":         `{"spec":{"agentName":"Good_Bot"}}`,
		"spec.agentName minLength":       `{"spec":{"agentName":"ab"}}`,
		"spec.agentName maxLength":       `{"spec":{"agentName":"a23456789-123456789-12345"}}`,
		"spec.agentName rule 0":          `{"metadata":{"name":"my-google-bot"},"spec":{"agentName":"my-google-bot"}}`,
		"spec.baseDomain pattern":        `{"spec":{"baseDomain":"not a domain"}}`,
		"spec.baseDomain minLength":      `{"spec":{"baseDomain":""}}`,
		"spec.baseDomain maxLength":      wrong(`{"spec":{"baseDomain":"` + strings.Repeat("a.", 110) + `aa"}}`),
		"spec.budgetUsd minimum":         `{"spec":{"budgetUsd":-0.01}}`,
		"spec.budgetUsd maximum":         `{"spec":{"budgetUsd":10000.01}}`,
		"spec.datasetRef required name":  `{"spec":{"datasetRef":{"name":null}}}`,
		"spec.datasetRef.name minLength": `{"spec":{"datasetRef":{"name":""}}}`,
		"spec.datasetRef.name maxLength": wrong(`{"spec":{"datasetRef":{"name":"` + strings.Repeat("a", 254) + `"}}}`),
		"spec.description maxLength":     wrong(`{"spec":{"description":"` + strings.Repeat("a", 501) + `"}}`),
		"spec.enforcement enum":          `{"spec":{"enforcement":"sometimes"}}`,
		"spec.period enum":               `{"spec":{"period":"yearly"}}`,
		"spec.projectId pattern":         `{"spec":{"projectId":"acme"}}`,
		"spec.projectId rule 0":          `{"spec":{"projectId":"other-project"}}`,
		"spec.projectId rule 1":          `{"spec":{"projectId":"goog-data"}}`,
	},
	"XAgentBudget": {
		"rule 0":                              `{"metadata":{"name":"other-bot"}}`,
		"required spec":                       `{"spec":null}`,
		"spec required agentName":             `{"spec":{"agentName":null}}`,
		"spec required budgetUsd":             `{"spec":{"budgetUsd":null}}`,
		"spec.agentName pattern":              `{"spec":{"agentName":"Good_Bot"}}`,
		"spec.agentName minLength":            `{"spec":{"agentName":"ab"}}`,
		"spec.agentName maxLength":            `{"spec":{"agentName":"a23456789-123456789-12345"}}`,
		"spec.budgetUsd minimum":              `{"spec":{"budgetUsd":-0.01}}`,
		"spec.budgetUsd maximum":              `{"spec":{"budgetUsd":10000.01}}`,
		"spec.enforcement enum":               `{"spec":{"enforcement":"sometimes"}}`,
		"spec.period enum":                    `{"spec":{"period":"yearly"}}`,
		"spec.timeZone pattern":               `{"spec":{"timeZone":"Mars, Olympus"}}`,
		"spec.timeZone maxLength":             wrong(`{"spec":{"timeZone":"` + strings.Repeat("a", 65) + `"}}`),
		"spec.opening required asOf":          `{"spec":{"opening":{"period":"lifetime","usd":1}}}`,
		"spec.opening required period":        `{"spec":{"opening":{"asOf":"2026-11-23T10:00:00Z","usd":1}}}`,
		"spec.opening required usd":           `{"spec":{"opening":{"asOf":"2026-11-23T10:00:00Z","period":"lifetime"}}}`,
		"spec.opening.asOf format":            `{"spec":{"opening":{"asOf":"yesterday","period":"lifetime","usd":1}}}`,
		"spec.opening.period minLength":       `{"spec":{"opening":{"asOf":"2026-11-23T10:00:00Z","period":"","usd":1}}}`,
		"spec.opening.period maxLength":       `{"spec":{"opening":{"asOf":"2026-11-23T10:00:00Z","period":"12345678901234567","usd":1}}}`,
		"spec.opening.usd minimum":            `{"spec":{"opening":{"asOf":"2026-11-23T10:00:00Z","period":"lifetime","usd":-1}}}`,
		"spec.pricingRef.name minLength":      `{"spec":{"pricingRef":{"name":""}}}`,
		"spec.pricingRef.name maxLength":      wrong(`{"spec":{"pricingRef":{"name":"` + strings.Repeat("a", 254) + `"}}}`),
		"spec.pricingRef.namespace minLength": `{"spec":{"pricingRef":{"namespace":""}}}`,
		"spec.pricingRef.namespace maxLength": wrong(`{"spec":{"pricingRef":{"namespace":"` + strings.Repeat("a", 64) + `"}}}`),
		"spec.warnAtPercent maxItems":         `{"spec":{"warnAtPercent":[1,2,3,4,5,6,7,8,9,10,11]}}`,
		"spec.warnAtPercent[] minimum":        `{"spec":{"warnAtPercent":[0]}}`,
		"spec.warnAtPercent[] maximum":        `{"spec":{"warnAtPercent":[101]}}`,
	},
	"XDataset": {
		"rule 0":                     `{"spec":{"sizeBytes":0},"status":{"ready":true}}`,
		"required spec":              `{"spec":null}`,
		"spec required displayName":  `{"spec":{"displayName":null}}`,
		"spec required gcsPath":      `{"spec":{"gcsPath":null}}`,
		"spec required sizeBytes":    `{"spec":{"sizeBytes":null}}`,
		"spec.displayName minLength": `{"spec":{"displayName":""}}`,
		"spec.displayName maxLength": wrong(`{"spec":{"displayName":"` + strings.Repeat("a", 201) + `"}}`),
		"spec.gcsPath pattern":       `{"spec":{"gcsPath":"s3://bucket/file.csv"}}`,
		"spec.gcsPath maxLength":     wrong(`{"spec":{"gcsPath":"gs://` + strings.Repeat("a", 1250) + `.csv"}}`),
		"spec.sizeBytes minimum":     `{"spec":{"sizeBytes":-1}}`,
	},
}

// What can't be ordered is refused when it is ordered, with a sentence that helps:
// for every single demand of the three schemas, read from the schemas themselves.
func wrongOrders(t *testing.T, w *world) {
	const agent = "housing-bot"
	ns := w.agent(t, agent)
	good := map[string]*unstructured.Unstructured{
		"XDatasetAgent": suite.NewOrder("good-bot", housing, 5),
		"XAgentBudget": {Object: map[string]any{
			"apiVersion": suite.API, "kind": "XAgentBudget", "metadata": map[string]any{"name": "good-bot", "namespace": ns},
			"spec": map[string]any{"agentName": "good-bot", "budgetUsd": 5.0},
		}},
		"XDataset": suite.NewDataset("good-data", datasets),
	}
	files, err := controlplane.DecodeFiles(filepath.Join(w.root, "package", "xrds"), filepath.Join(w.root, "package", "install", "crds"))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, f := range files {
		kind, _, _ := unstructured.NestedString(f.Object, "spec", "names", "kind")
		versions, _, _ := unstructured.NestedSlice(f.Object, "spec", "versions")
		schema, _, err := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema")
		if err != nil || good[kind] == nil {
			t.Fatalf("%s: %v", kind, err)
		}
		t.Run(kind, func(t *testing.T) {
			if err := w.rehearse(t, good[kind], ""); err != nil {
				t.Fatalf("a good one must be accepted: %v", err)
			}
			known := map[string]bool{}
			for _, d := range demands(schema, "") {
				known[d.String()] = true
				t.Run(strings.ReplaceAll(d.String(), " ", "_"), func(t *testing.T) {
					patch, has := wrongs[kind][d.String()]
					if !has {
						t.Fatalf("no wrong order for this demand")
					}
					var err error
					if d.String() == "spec.projectId rule 0" { // of changes
						err = w.Patch(t.Context(), suite.API, kind, "", agent, string(patch))
					} else {
						err = w.rehearse(t, good[kind], patch)
					}
					if err == nil || !strings.Contains(err.Error(), d.says) {
						t.Errorf("want a refusal that says %q, got %v", d.says, err)
					}
				})
				refused++
			}
			for d := range wrongs[kind] {
				if !known[d] {
					t.Errorf("the schema of %s has no demand %q any more", kind, d)
				}
			}
			if err := w.rehearse(t, good[kind], `{"spec":{"unheardOf":1}}`); err == nil || !strings.Contains(err.Error(), "unheardOf") {
				t.Errorf("want an unknown field refused, got %v", err)
			}
		})
	}
	t.Logf("%d demands of three schemas, each refused in its own words", refused)
}

// rehearse creates a good object with a merge patch on it, without keeping it. A
// status is written as its owner would.
func (w *world) rehearse(t *testing.T, good *unstructured.Unstructured, patch wrong) error {
	t.Helper()
	o := good.DeepCopy()
	status := o.Object["status"]
	delete(o.Object, "status")
	if patch != "" {
		var p map[string]any
		if err := json.Unmarshal([]byte(patch), &p); err != nil {
			t.Fatal(err)
		}
		if s, has := p["status"]; has {
			status = s
			delete(p, "status")
		} else {
			status = nil
		}
		merge(o.Object, p)
	}
	r, err := w.Resource(o.GetAPIVersion(), o.GetKind(), o.GetNamespace())
	if err != nil {
		return err
	}
	if patch == "" || status == nil {
		_, err = r.Create(t.Context(), o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
		return err
	}
	// The status of something that isn't kept can't be written, so this is kept for a moment.
	if _, err := r.Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
		return err
	}
	defer func() {
		if err := r.Delete(t.Context(), o.GetName(), metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	}()
	data, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = r.Patch(t.Context(), o.GetName(), types.MergePatchType, data, metav1.PatchOptions{}, "status")
	return err
}

// merge is a JSON merge patch.
func merge(into, patch map[string]any) {
	for k, v := range patch {
		m, isMap := v.(map[string]any)
		was, wasMap := into[k].(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isMap && wasMap:
			merge(was, m)
		default:
			into[k] = v
		}
	}
}
