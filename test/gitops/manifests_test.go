package gitops

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

type document = map[string]any

// documents returns all YAML documents of a file.
func documents(t *testing.T, file string) []document {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all := []document{}
	for part := range bytes.SplitSeq(data, []byte("\n---\n")) {
		d := document{}
		if err := yaml.UnmarshalStrict(part, &d); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(d) > 0 {
			all = append(all, d)
		}
	}
	return all
}

func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(document)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func yamls(t *testing.T, dir string) []string {
	t.Helper()
	files := []string{}
	err := filepath.WalkDir(filepath.Join(root, dir), func(p string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(p, ".yaml") && !strings.Contains(p, "skeleton") {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Each Application must take files that exist, each install manifest must be
// delivered by one of them (or be named as one's own choice), and waves must be in the
// order that the manifests need.
func TestWavesDeliverTheInstallManifests(t *testing.T) {
	taken := map[string]string{} // install file -> Application
	waves := map[string]string{}
	for _, file := range yamls(t, "package/gitops/platform") {
		for _, d := range documents(t, file) {
			name, _ := at(d, "metadata", "name").(string)
			wave, _ := at(d, "metadata", "annotations", "argocd.argoproj.io/sync-wave").(string)
			if at(d, "spec", "syncPolicy", "retry", "refresh") != true {
				t.Errorf("%s: a retry stays on the revision it began with unless retry.refresh is true", name)
			}
			if at(d, "spec", "syncPolicy", "automated", "prune") != false {
				t.Errorf("%s: a file that is lost in Git must not take an XRD, and every order with it, along", name)
			}
			sources, _ := at(d, "spec", "sources").([]any)
			for _, s := range sources {
				dir, _ := at(s, "path").(string)
				include, _ := at(s, "directory", "include").(string)
				for pattern := range strings.SplitSeq(strings.Trim(include, "{}"), ",") {
					matches, err := filepath.Glob(filepath.Join(root, dir, pattern))
					if err != nil || len(matches) == 0 {
						t.Errorf("%s includes %s/%s, which matches no file", name, dir, pattern)
					}
					for _, m := range matches {
						rel, _ := filepath.Rel(root, m)
						taken[rel], waves[rel] = name, wave
					}
				}
			}
		}
	}
	// Chosen and edited by the platform, not delivered as they are.
	own := regexp.MustCompile(`^package/install/(dataset-watcher|token-meter|admission|tenancy|guards?|usages?|policies|vap|activation|platforms)[/.-]`)
	for _, file := range yamls(t, "package/install") {
		rel, _ := filepath.Rel(root, file)
		if taken[rel] == "" && !own.MatchString(rel) {
			t.Errorf("%s is delivered by no Application of package/gitops/platform", rel)
		}
	}
	order := []string{"package/install/rbac.yaml", "package/install/providers.yaml", "package/install/functions.yaml", "package/install/providerconfigs.yaml", "package/install/configuration.yaml"}
	if !slices.IsSortedFunc(order, func(a, b string) int { return strings.Compare(waves[a], waves[b]) }) {
		t.Errorf("want the waves in the order of %v, got %v", order, waves)
	}
	if waves["package/install/providers.yaml"] != "3" || waves["package/install/providerconfigs.yaml"] != "5" {
		t.Errorf("want providers in wave 3 and their configuration in wave 5, got %v", waves)
	}
}

// The hooks wait for exactly what is installed.
func TestHooksWaitForEverything(t *testing.T) {
	installed := map[string][]string{}
	for _, file := range []string{"providers.yaml", "functions.yaml"} {
		for _, d := range documents(t, filepath.Join(root, "package/install", file)) {
			if kind, _ := d["kind"].(string); kind == "Provider" || kind == "Function" {
				name, _ := at(d, "metadata", "name").(string)
				installed[file] = append(installed[file], strings.ToLower(kind)+"s.pkg.crossplane.io/"+name)
			}
		}
	}
	for hook, file := range map[string]string{"wait-for-providers": "providers.yaml", "wait-for-functions": "functions.yaml"} {
		d := documents(t, filepath.Join(root, "package/gitops/hooks", hook+".yaml"))[0]
		args, _ := at(d, "spec", "template", "spec", "containers", 0, "args").([]any)
		waited := []string{}
		for _, a := range args {
			if s, ok := strings.CutPrefix(a.(string), "--healthy="); ok {
				waited = append(waited, s)
			}
		}
		want := installed[file]
		slices.Sort(want)
		slices.Sort(waited)
		if diff := cmp.Diff(want, waited); diff != "" || len(want) == 0 {
			t.Errorf("%s: -want +got:\n%s", hook, diff)
		}
	}
}

func TestApplicationSetIsNoDanger(t *testing.T) {
	d := documents(t, filepath.Join(root, "package/gitops/orders/applicationset.yaml"))[0]
	cases := map[string]struct {
		reason string
		got    any
		want   any
	}{
		"Deletes":   {"An empty or failed listing must not delete an Application.", at(d, "spec", "syncPolicy", "applicationsSync"), "create-update"},
		"Resources": {"Nor does the set's own end.", at(d, "spec", "syncPolicy", "preserveResourcesOnDeletion"), true},
		"Silence":   {"What ledger retire silences must stay silent.", at(d, "spec", "ignoreApplicationDifferences", 0, "jsonPointers", 0), "/spec/syncPolicy"},
		"Https":     {"The default is ssh, for which there is no key.", at(d, "spec", "generators", 0, "scmProvider", "cloneProtocol"), "https"},
		"Finalizer": {"An Application that is deleted by mistake leaves its agent.", at(d, "spec", "template", "metadata", "finalizers"), nil},
		"Project":   {"An order's repository may order one kind.", at(d, "spec", "template", "spec", "project"), "agents"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// The form asks for what the XRD asks for, with the same limits.
func TestFormHasTheLimitsOfTheXRD(t *testing.T) {
	xrd := documents(t, filepath.Join(root, "package/xrds/zz_generated.xdatasetagents.yaml"))[0]
	spec := at(xrd, "spec", "versions", 0, "schema", "openAPIV3Schema", "properties", "spec", "properties")
	form := at(documents(t, filepath.Join(root, "package/portal/dataset-whisperer/template.yaml"))[0], "spec", "parameters", 0, "properties")
	for field, parameter := range map[string]string{"agentName": "agent_name", "budgetUsd": "budget_usd", "description": "description", "baseDomain": "base_domain", "projectId": "project_id"} {
		for _, limit := range []string{"minLength", "maxLength", "minimum", "maximum", "pattern"} {
			want, got := at(spec, field, limit), at(form, parameter, limit)
			if limit == "pattern" && field == "agentName" {
				// The form says in one pattern what the XRD says in pattern and CEL.
				want = strings.Replace(want.(string), "^", "^(?!.*[g9q6]+[o0][o0]+[g9q6]+[l1i]+[e3])", 1)
			}
			if limit == "pattern" && field == "description" {
				continue // what YAML can't carry, see TestSkeletonAsKubernetesReadsIt
			}
			if limit == "maxLength" && field == "baseDomain" || limit == "minLength" && field == "baseDomain" {
				continue // baked, and checked there
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s.%s: -XRD +form:\n%s", field, limit, diff)
			}
		}
	}
	for _, hidden := range []string{"base_domain", "project_id"} {
		pattern, _ := at(form, hidden, "pattern").(string)
		unbaked, _ := at(form, hidden, "default").(string)
		if regexp.MustCompile(pattern).MatchString(unbaked) {
			t.Errorf("%s: an unbaked form must not pass, but %q matches %s", hidden, unbaked, pattern)
		}
		if at(form, hidden, "title") == nil || at(form, hidden, "errorMessage", "pattern") == nil {
			t.Errorf("%s: a hidden field needs a title and an errorMessage, or nobody understands the refusal", hidden)
		}
	}
}

func TestBake(t *testing.T) {
	good := []string{"BASE_DOMAIN=34.61.7.12.sslip.io", "PROJECT_ID=acme-data", "GITEA_URL=http://127.0.0.1:3001", "GRAFANA_URL=https://grafana.example.org/x"}
	bake := func(args ...string) (string, string, error) {
		dir := t.TempDir()
		out := &bytes.Buffer{}
		c := exec.CommandContext(t.Context(), filepath.Join(root, "package/portal/bake.sh"), append([]string{dir}, args...)...)
		c.Stdout, c.Stderr = out, out
		err := c.Run()
		return dir, out.String(), err
	}
	dir, out, err := bake(good...)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, file := range []string{"dataset-whisperer", "change-budget", "budget-rules", "swap-dataset", "destroy-agent"} {
		data, err := os.ReadFile(filepath.Join(dir, file, "template.yaml"))
		if err != nil || bytes.Contains(data, []byte("__")) {
			t.Errorf("%s: want nothing left to fill in, got %v", file, err)
		}
	}
	for i, bad := range []string{"BASE_DOMAIN=", "PROJECT_ID=Acme", "GITEA_URL=gitea.example.org", "GRAFANA_URL=javascript:alert"} {
		args := slices.Clone(good)
		args[i] = bad
		dir, out, err := bake(args...)
		name, _, _ := strings.Cut(bad, "=")
		left, _ := os.ReadDir(dir)
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) || !strings.Contains(out, name) || !strings.Contains(out, "nothing was written") || len(left) > 0 {
			t.Errorf("%s: want a refusal that names it, got %v: %s", bad, err, out)
		}
	}
}
