package architecture

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/pipeline"
)

// What programs the images of the install manifests and of an order run, and where
// their settings are read.
var programs = map[string]string{
	"sandbox":         "internal/sandbox",
	"chat-frontend":   "internal/chatfrontend",
	"token-meter":     "internal/tokenmeter",
	"dataset-watcher": "internal/datasetwatcher",
}

// Variables that libraries and Python read, not our code.
var readElsewhere = []string{
	"HOME",                 // where libraries keep caches; the root is read-only
	"GOOGLE_CLOUD_PROJECT", // Google's libraries, for the project that is billed
	"GOOGLE_APPLICATION_CREDENTIALS",
}

// byManager are the paths that controller-runtime's manager serves, and the call that
// puts something behind them.
var byManager = map[string]string{"/healthz": "AddHealthzCheck(", "/readyz": "AddReadyzCheck("}

// readFile returns a file of the checkout.
func readFile(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(append([]string{pipeline.Root()}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// built are the names of the images that make xpkg makes: a package for each function,
// an image for each program, and the sandbox's, which has Debian below it.
func built(t *testing.T) []string {
	t.Helper()
	mk := readFile(t, "hack", "xpkg", "xpkg.mk")
	list := regexp.MustCompile(`(?m)^XPKG_IMAGES\s*:=\s*-images (\S+)$`).FindStringSubmatch(mk)
	if list == nil || !strings.Contains(mk, "-sandbox") {
		t.Fatal("hack/xpkg/xpkg.mk names no images, or no sandbox: this test reads them there")
	}
	names := append(strings.Split(list[1], ","), "sandbox", "whisperops")
	functions, err := filepath.Glob(filepath.Join(pipeline.Root(), "cmd", "function-*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range functions {
		names = append(names, filepath.Base(f))
	}
	return names
}

// An order whose Composition names an image that nobody made waits for ever.
func TestImagesAreBuilt(t *testing.T) {
	names := built(t)
	version := regexp.MustCompile(`(?m)^ *package: \S+/whisperops:(v\S+)`).FindStringSubmatch(readFile(t, "package", "install", "configuration.yaml"))
	if version == nil {
		t.Fatal("package/install/configuration.yaml names no version")
	}
	used := map[string]bool{}
	ours := regexp.MustCompile(`ghcr\.io/whisperops/([a-z0-9-]+):(v[0-9A-Za-z.-]+)`)
	err := filepath.WalkDir(filepath.Join(pipeline.Root(), "package"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range ours.FindAllStringSubmatch(string(b), -1) {
			used[m[1]] = true
			if !slices.Contains(names, m[1]) {
				t.Errorf("%s names the image %s, which make xpkg does not make", path, m[0])
			}
			if m[2] != version[1] {
				t.Errorf("%s names the image %s; make xpkg makes version %s", path, m[0], version[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range programs {
		if !used[name] {
			t.Errorf("no manifest names the image %s", name)
		}
	}
	entries, err := os.ReadDir(filepath.Join(pipeline.Root(), "cmd"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && e.Name() != "internal" && !slices.Contains(names, e.Name()) && e.Name() != "spend" { // spend is for a person's own machine
			t.Errorf("cmd/%s has no image: name it in XPKG_IMAGES of hack/xpkg/xpkg.mk", e.Name())
		}
	}
}

// A podSpec is what a manifest says about a program that we know.
type podSpec struct {
	from       string
	Containers []struct {
		Name  string
		Image string
		Args  []string
		Env   []struct{ Name, Value string }
		Ports []struct {
			Name          string
			ContainerPort int
		}
		LivenessProbe, ReadinessProbe *struct {
			HTTPGet *struct {
				Path string
				Port any
			}
			TCPSocket *struct{ Port any }
		}
	}
}

// podSpecs are those of an order, and of the install manifests.
func podSpecs(t *testing.T) []podSpec {
	t.Helper()
	var out []podSpec
	add := func(from string, deployment any) {
		b, err := yaml.Marshal(deployment)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			Spec struct{ Template struct{ Spec podSpec } }
		}
		if err := yaml.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		d.Spec.Template.Spec.from = from
		out = append(out, d.Spec.Template.Spec)
	}
	const golden = "fn/xda/renderworkloads/testdata/first-order/want.yaml"
	var want struct {
		Resources map[string]struct {
			Resource struct {
				Spec struct {
					ForProvider struct{ Manifest map[string]any }
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(readFile(t, golden)), &want); err != nil {
		t.Fatal(err)
	}
	for name, r := range want.Resources {
		if m := r.Resource.Spec.ForProvider.Manifest; m["kind"] == "Deployment" {
			add(golden+": "+name, m)
		}
	}
	for _, path := range []string{"package/install/token-meter/base/deployment.yaml", "package/install/dataset-watcher/base/deployment.yaml"} {
		docs, err := crossplane.ReadDocuments(filepath.Join(pipeline.Root(), path))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range docs {
			if d["kind"] == "Deployment" {
				add(path, d)
			}
		}
	}
	return out
}

// literals are all strings of a program's sources.
func literals(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for path := range sources(t, dir) {
		b.WriteString(readFile(t, path))
	}
	return b.String()
}

// What a manifest sets is what the program reads: a variable or flag that nobody reads
// is a setting that does nothing, and a port that nobody listens at is a pod that is
// never ready.
func TestManifestsMatchPrograms(t *testing.T) {
	seen := map[string]bool{}
	for _, spec := range podSpecs(t) {
		for _, c := range spec.Containers {
			dir, ours := programs[c.Name]
			if !ours {
				t.Errorf("%s: container %s runs no program that this test knows", spec.from, c.Name)
				continue
			}
			seen[c.Name] = true
			code := literals(t, dir)
			set := map[string]string{}
			for _, e := range c.Env {
				set[e.Name] = e.Value
				if !strings.Contains(code, fmt.Sprintf("%q", e.Name)) && !slices.Contains(readElsewhere, e.Name) {
					t.Errorf("%s: %s gets the variable %s, which %s does not read", spec.from, c.Name, e.Name, dir)
				}
			}
			for _, a := range c.Args {
				name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
				if !strings.Contains(code, fmt.Sprintf("%q", name)) {
					t.Errorf("%s: %s gets the flag --%s, which %s does not have", spec.from, c.Name, name, dir)
				}
			}
			names := map[string]bool{}
			for _, p := range c.Ports {
				names[p.Name] = true
				number := strconv.Itoa(p.ContainerPort)
				if set["PORT"] != number && !regexp.MustCompile(`(?m)(?:\b|:)`+number+`\b`).MatchString(code) {
					t.Errorf("%s: %s has the port %s, at which %s does not listen", spec.from, c.Name, number, dir)
				}
			}
			for _, p := range []any{c.LivenessProbe, c.ReadinessProbe} {
				b, _ := yaml.Marshal(p) // read from YAML a moment ago
				for _, m := range regexp.MustCompile(`(?m)[Pp]ort: ([a-z]\S*)$`).FindAllStringSubmatch(string(b), -1) {
					if !names[m[1]] {
						t.Errorf("%s: a probe of %s asks at the port %q, which is none of its ports", spec.from, c.Name, m[1])
					}
				}
				for _, m := range regexp.MustCompile(`(?m)[Pp]ath: (\S+)$`).FindAllStringSubmatch(string(b), -1) {
					if !strings.Contains(code, m[1]+`"`) && !strings.Contains(code, byManager[m[1]]) {
						t.Errorf("%s: a probe of %s asks for %s, which %s does not serve", spec.from, c.Name, m[1], dir)
					}
				}
			}
		}
	}
	for name := range programs {
		if !seen[name] {
			t.Errorf("no manifest runs %s", name)
		}
	}
}

// What a program can't do without, an order sets.
func TestOrdersSetWhatIsRequired(t *testing.T) {
	required := map[string][]string{
		"sandbox":       {"DATASET_GCS_PATH", "DATASET_NAME", "OUTPUT_BUCKET", "EXECUTION_TIMEOUT_SECONDS", "GOOGLE_APPLICATION_CREDENTIALS"},
		"chat-frontend": {"AGENT_NAME", "AGENT_NAMESPACE", "PLANNER_URL", "OUTPUT_BUCKET", "PORT"},
	}
	for _, spec := range podSpecs(t) {
		for _, c := range spec.Containers {
			for _, name := range required[c.Name] {
				if !slices.ContainsFunc(c.Env, func(e struct{ Name, Value string }) bool { return e.Name == name }) {
					t.Errorf("%s: %s does not get %s", spec.from, c.Name, name)
				}
			}
		}
	}
}
