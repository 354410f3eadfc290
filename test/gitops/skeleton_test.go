package gitops

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// Go's YAML, which Argo CD and the API server read, knows more line breaks than
// others do. What a person types into the form must survive that, too.
func TestSkeletonAsKubernetesReadsIt(t *testing.T) {
	portal := filepath.Join(root, "test/portal")
	if _, err := os.Stat(filepath.Join(portal, "node_modules/nunjitsu")); err != nil {
		t.Skip("the scaffolder's template engine is not installed: make test-portal does it, with Node 20 or later")
	}
	descriptions := []string{
		"", "null", "1.5", "yes", "0x10", "12:30:45", "2026-11-27", "=", "<<", `it's "quoted"`, `\`, `\n`, "line\nline", "line\r\nline", "\ttab\t", "  a  ", //nolint:dupword // a text of two lines
		"# no", "a # b", "key: value", "- item", "[1, 2", "{a: 1}", "*alias", "&anchor", "!!binary x", "x\"\n  projectId: \"evil", "${{ values.projectId }}", "{{ x }}",
		"ünïcödé 日本語 🙂", "\u200b\u202e", "\ufeffa", "a\u00a0b", "\ud7ff",
		// These the form refuses:
		"a\u2028b", "a \u2029 b", "a\u0085b", "a \u0085 b", "\u007f", "\u0080", "\ufffe", "a\u0000b", "\u001b[1m",
	}
	form := at(documents(t, filepath.Join(root, "package/portal/dataset-whisperer/template.yaml"))[0], "spec", "parameters", 0, "properties", "description", "pattern").(string)
	allowed := regexp.MustCompile(regexp.MustCompile(`\\u([0-9a-f]{4})`).ReplaceAllString(form, `\x{$1}`))
	values := []map[string]any{}
	for _, d := range descriptions {
		values = append(values, map[string]any{"agentName": "null", "dataset": "1e3", "budgetUsd": 12.5, "description": d, "baseDomain": "1.5", "projectId": "acme-data"})
	}
	in, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "node", "render.mjs")
	c.Dir, c.Stdin, c.Stderr = portal, bytes.NewReader(in), os.Stderr
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	orders := []string{}
	if err := json.Unmarshal(out, &orders); err != nil || len(orders) != len(values) {
		t.Fatalf("want %d orders, got %d, %v", len(values), len(orders), err)
	}
	arrived := 0
	for i, order := range orders {
		if !allowed.MatchString(descriptions[i]) {
			continue
		}
		arrived++
		got := document{}
		if err := yaml.UnmarshalStrict([]byte(order), &got); err != nil {
			t.Errorf("description %q: %v\n%s", descriptions[i], err, order)
			continue
		}
		want := document{
			"apiVersion": "whisperops.io/v1alpha1", "kind": "XDatasetAgent", "metadata": document{"name": "null"},
			"spec": document{"agentName": "null", "datasetRef": document{"name": "1e3"}, "budgetUsd": 12.5, "description": descriptions[i], "baseDomain": "1.5", "projectId": "acme-data"},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("description %q, -want +got:\n%s", descriptions[i], diff)
		}
	}
	if refusedOnes := len(descriptions) - arrived; refusedOnes != 9 {
		t.Errorf("want the form to refuse the last nine and nothing else, it refuses %d", refusedOnes)
	}
}
