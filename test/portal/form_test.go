package portal

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"whisperops.io/functions/hack/controlplane"
	"whisperops.io/functions/hack/controlplane/portal"
)

type object = map[string]any

// startForm runs Backstage and the page with the form, alone.
func startForm(t *testing.T, entities ...string) *portal.Portal {
	t.Helper()
	tools, err := controlplane.FindTools(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := tools.Need("BACKSTAGE"); err != nil {
		t.Skip("make test-portal-form installs it: ", err)
	}
	p, err := portal.StartForm(t.Context(), portal.Options{
		Dir: t.TempDir(), Checkout: root(t), Tools: tools, Ledger: "/bin/false", BaseDomain: "34.61.7.12.sslip.io", ProjectID: "acme-data", Entities: entities, Log: t.Logf,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := controlplane.Checkout()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// nasty are the values of test/portal.
type nasty struct{ Descriptions, Names, Domains []string }

// What a person types into the form arrives in the order byte for byte, read as
// Kubernetes reads it, or is refused by the form: never anything else. The scaffolder is
// the real one, in its dry run, which publishes nothing.
func TestFormValues(t *testing.T) {
	p := startForm(t)
	data, err := os.ReadFile("nasty.json")
	if err != nil {
		t.Fatal(err)
	}
	var bad nasty
	if err := json.Unmarshal(data, &bad); err != nil { //nolint:musttag // the names of its fields are the file's
		t.Fatal(err)
	}
	values := []object{}
	with := func(field string, all ...string) {
		for _, v := range all {
			o := object{
				"agent_name": "housing-bot", "dataset": "resource:default/california-housing", "budget_usd": 12.5, "description": "Answers questions",
				"base_domain": "34.61.7.12.sslip.io", "project_id": "acme-data",
			}
			o[field] = v
			values = append(values, o)
		}
	}
	with("description", bad.Descriptions...)
	with("agent_name", append(bad.Names, "ab", "-ab", "ab-", "Abc", "a_b", "a b", "ä-bot", "../abc", "abc\n", "my-google-bot", "my-g00gle-bot", strings.Repeat("a", 25))...)
	with("base_domain", append(bad.Domains, "__BASE_DOMAIN__", "a..b", "-a.b", "a.b/", "a b", "A.b", "a.b\n")...)
	arrived := 0
	for _, v := range values {
		order, refused := dryRun(t, p, "dataset-whisperer", v)
		want := object{
			"apiVersion": "whisperops.io/v1alpha1", "kind": "XDatasetAgent", "metadata": object{"name": v["agent_name"]},
			"spec": object{
				"agentName": v["agent_name"], "datasetRef": object{"name": "california-housing"}, "budgetUsd": 12.5, "description": v["description"],
				"baseDomain": v["base_domain"], "projectId": "acme-data",
			},
		}
		if refused != "" {
			t.Logf("refused: %q %q %q: %s", v["agent_name"], v["base_domain"], v["description"], refused)
			continue
		}
		arrived++
		got := object{}
		if err := yaml.UnmarshalStrict(order["manifests/xdatasetagent.yaml"], &got); err != nil {
			t.Errorf("%q: %v\n%s", v, err, order["manifests/xdatasetagent.yaml"])
			continue
		}
		if w, g := canonical(t, want), canonical(t, got); w != g {
			t.Errorf("want %s\ngot  %s", w, g)
		}
	}
	t.Logf("of %d values %d arrived", len(values), arrived)
	// 4 descriptions, 12 names, 7 domains.
	if refused := len(values) - arrived; refused != 23 {
		t.Errorf("want the form to refuse 23 values, it refuses %d", refused)
	}
}

func canonical(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// dryRun runs a baked template without publishing anything, and returns the files that
// it wrote, or why the scaffolder refused the values.
func dryRun(t *testing.T, p *portal.Portal, template string, values object) (files map[string][]byte, refused string) {
	t.Helper()
	dir := filepath.Join(p.Backstage(), "templates", template)
	data, err := os.ReadFile(filepath.Join(dir, "template.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	entity := object{}
	if err := yaml.Unmarshal(data, &entity); err != nil {
		t.Fatal(err)
	}
	contents := []object{}
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		contents = append(contents, object{"path": rel, "base64Content": base64.StdEncoding.EncodeToString(data)})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	answer := struct {
		DirectoryContents []struct {
			Path          string
			Base64Content []byte
		}
	}{}
	if err := p.Do(t.Context(), http.MethodPost, "/api/scaffolder/v2/dry-run", object{"template": entity, "values": values, "secrets": object{}, "directoryContents": contents}, &answer); err != nil {
		if !strings.Contains(err.Error(), ": 400 ") {
			t.Fatalf("%q: %v", values, err)
		}
		return nil, err.Error()
	}
	files = map[string][]byte{}
	for _, f := range answer.DirectoryContents {
		files[f.Path] = f.Base64Content
	}
	return files, ""
}

const dataset = `apiVersion: backstage.io/v1alpha1
kind: Resource
metadata:
  name: california-housing
  labels: {whisperops.io/ready: "true"}
spec: {type: dataset, owner: "group:default/platform"}
`

// saw is what browser.mjs prints.
type saw struct {
	Budget, Dataset, Picker, Refusal, Review, Task, Error string
	Hidden                                                bool
	Complaints                                            []string
}

// browse opens the order form in Chromium. With an agent, a dataset and a description it
// orders that agent; without, it looks.
func browse(t *testing.T, a *portal.Access, order ...string) saw {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", append([]string{"browser.mjs", a.URL, a.Gitea.User, a.Gitea.Password}, order...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	s := saw{}
	if err := json.Unmarshal(out, &s); err != nil { //nolint:musttag // its fields are what browser.mjs prints
		t.Fatalf("%v: %s", err, out)
	}
	if s.Error != "" {
		t.Fatal(s.Error)
	}
	if len(s.Complaints) > 0 {
		t.Errorf("want no complaint of the page's own, got %q", s.Complaints)
	}
	return s
}

// The form in a real Chromium: the only dataset is chosen by itself, a name that can't be
// is refused in words, and the fields that the platform baked are shown nowhere.
func TestFormInChromium(t *testing.T) {
	if os.Getenv("CHROMIUM") == "" {
		t.Skip("set CHROMIUM=/usr/bin/chromium (Debian: apt-get install chromium)")
	}
	entities := filepath.Join(t.TempDir(), "datasets.yaml")
	if err := os.WriteFile(entities, []byte(dataset), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startForm(t, entities)
	if err := controlplane.Eventually(t.Context(), 2*time.Minute, "dataset and template to be in the catalog", func(ctx context.Context) error {
		for _, entity := range []string{"resource/default/california-housing", "template/default/dataset-whisperer"} {
			if err := p.Do(ctx, http.MethodGet, "/api/catalog/entities/by-name/"+entity, nil, nil); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	saw := browse(t, &p.Access)
	if saw.Budget != "5" || saw.Hidden {
		t.Errorf("want a budget of 5, and nothing of the platform's: %+v", saw)
	}
	if !strings.Contains(saw.Dataset, "california-housing") || saw.Picker != "decided" {
		t.Errorf("want the only dataset to be chosen by itself, got %q, %s", saw.Dataset, saw.Picker)
	}
	if !strings.Contains(saw.Refusal, "begin with a letter") {
		t.Errorf("want the refusal in words, got %q", saw.Refusal)
	}
	for what, want := range map[string]bool{"housing-bot": true, "california-housing": true, "sslip.io": false, "acme-data": false} {
		if strings.Contains(saw.Review, what) != want {
			t.Errorf("review shows %s: want %t\n%s", what, want, saw.Review)
		}
	}
}
