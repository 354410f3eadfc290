package xpkg

import (
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

func TestPin(t *testing.T) {
	built := map[string]string{"function-a:v0.1.0": "sha256:aa", "sandbox:v0.1.0": "sha256:bb", "dataset-watcher:v0.1.0": "sha256:cc"}
	others := func(ref string) (string, error) {
		if ref == "xpkg.crossplane.io/crossplane-contrib/function-auto-ready:v0.7.0" {
			return "sha256:dd", nil
		}
		return "", errors.New("no such package")
	}
	for name, tc := range map[string]struct {
		reason  string
		line    string
		others  Resolver
		want    string
		without string
		fails   bool
	}{
		"Package":      {reason: "The package manager takes a tag or a digest.", line: "  package: xpkg.crossplane.io/whisperops/function-a:v0.1.0", want: "  package: xpkg.crossplane.io/whisperops/function-a@sha256:aa # v0.1.0"},
		"OwnRegistry":  {reason: "Whoever pushes to a registry of his own pins what he pushed.", line: "package: localhost:5000/x/function-a:v0.1.0", want: "package: localhost:5000/x/function-a@sha256:aa # v0.1.0"},
		"Image":        {reason: "A kubelet takes both, and people read the tag.", line: "        - image: ghcr.io/whisperops/dataset-watcher:v0.1.0", want: "        - image: ghcr.io/whisperops/dataset-watcher:v0.1.0@sha256:cc"},
		"Input":        {reason: "Images of an input of render-workloads.", line: "          sandbox: ghcr.io/whisperops/sandbox:v0.1.0", want: "          sandbox: ghcr.io/whisperops/sandbox:v0.1.0@sha256:bb"},
		"OtherVersion": {reason: "What was built is of another version.", line: "package: x.io/w/function-a:v0.2.0", want: "package: x.io/w/function-a:v0.2.0", without: "x.io/w/function-a:v0.2.0"},
		"Others":       {reason: "Their registry says it.", others: others, line: "package: xpkg.crossplane.io/crossplane-contrib/function-auto-ready:v0.7.0", want: "package: xpkg.crossplane.io/crossplane-contrib/function-auto-ready@sha256:dd # v0.7.0"},
		"Unknown":      {reason: "A registry that doesn't answer pins nothing by guess.", others: others, line: "package: x.io/w/provider-b:v3.0.0", fails: true},
		"Pinned":       {reason: "What is pinned stays.", line: "package: x.io/w/function-a@sha256:ee # v0.1.0", want: "package: x.io/w/function-a@sha256:ee # v0.1.0"},
		"NoReference":  {reason: "A comment names nothing.", line: "# image: ghcr.io/whisperops/sandbox:v0.1.0", want: "# image: ghcr.io/whisperops/sandbox:v0.1.0"},
	} {
		t.Run(name, func(t *testing.T) {
			got, without, err := Pin("a: b\n"+tc.line+"\nc: d\n", built, tc.others)
			if (err != nil) != tc.fails {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if err == nil && (got != "a: b\n"+tc.want+"\nc: d\n" || strings.Join(without, " ") != tc.without) {
				t.Errorf("%s\ngot %q without %v, want %q", tc.reason, got, without, tc.want)
			}
		})
	}
}

// TestPinInstallManifests: of what we ship nothing is left without a digest but what
// others make.
func TestPinInstallManifests(t *testing.T) {
	dir := t.TempDir()
	lines := ""
	for _, n := range []string{"whisperops", "sandbox", "chat-frontend", "dataset-watcher", "token-meter", "ledger",
		"function-xda-validate-dataset", "function-xda-compute-tuning", "function-xda-render-iam", "function-xda-render-workloads", "function-xda-render-dashboard",
		"function-xda-emit-budget", "function-budget-fetch-spend", "function-budget-decide", "function-budget-render"} {
		lines += "sha256:" + strings.Repeat("a", 64) + "  " + n + ":v0.1.0\n"
	}
	file := filepath.Join(dir, "digests")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	built, err := Digests(file)
	if err != nil {
		t.Fatal(err)
	}
	without, err := PinAll("../../package/install", filepath.Join(dir, "install"), built, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"xpkg.crossplane.io/crossplane-contrib/function-auto-ready:v0.7.0", "xpkg.crossplane.io/crossplane-contrib/provider-kubernetes:v1.3.1",
		"xpkg.upbound.io/upbound/provider-gcp-cloudplatform:v3.0.0", "xpkg.upbound.io/upbound/provider-gcp-storage:v3.0.0",
	}
	if !slices.Equal(without, want) {
		t.Errorf("without a digest are %v, want %v", without, want)
	}
	for _, f := range []string{"functions.yaml", "configuration.yaml", "dataset-watcher/base/deployment.yaml", "token-meter/base/deployment.yaml"} {
		b, err := os.ReadFile(filepath.Join(dir, "install", f))
		if err != nil || !strings.Contains(string(b), "@sha256:aaa") {
			t.Errorf("%s holds no digest: %v", f, err)
		}
	}
}

// TestRemote: a registry knows a package by the digest that build tells.
func TestRemote(t *testing.T) {
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer srv.Close()
	p, err := Join(functionImage(t, "amd64"), functionImage(t, "arm64"))
	if err != nil {
		t.Fatal(err)
	}
	ref := strings.TrimPrefix(srv.URL, "http://") + "/whisperops/function-a:v0.1.0"
	if err := p.Push(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	want, err := p.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Remote(t.Context())(ref); err != nil || got != want.String() {
		t.Errorf("want %s, got %s, %v", want, got, err)
	}
}
