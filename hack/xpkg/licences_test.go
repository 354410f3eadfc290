package xpkg

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestLicences: with a program go the licences of every module in it, and Go's.
func TestLicences(t *testing.T) {
	env := func(key string) string {
		out, err := exec.Command("go", "env", key).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	bin := filepath.Join(t.TempDir(), "xpkg")
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/xpkg").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	program, err := os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	texts, err := Licences(program, env("GOMODCACHE"), env("GOROOT"))
	if err != nil {
		t.Fatal(err)
	}
	own, err := Own("../..")
	if err != nil {
		t.Fatal(err)
	}
	img, err := WithLicences(functionImage(t, "arm64"), append(texts, own)...)
	if err != nil {
		t.Fatal(err)
	}
	files := regular(t, img)
	all := slices.Sorted(maps.Keys(files))
	for _, of := range []string{"whisperops.io/functions/LICENSE", "go@", "github.com/google/go-containerregistry@", "sigs.k8s.io/yaml@"} {
		if !slices.ContainsFunc(all, func(f string) bool { return strings.HasPrefix(f, "licenses/"+of) && files[f] > 500 }) {
			t.Errorf("no licence of %s among %v", of, all)
		}
	}
	cf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if cf.Config.User != "65532:65532" || len(cf.History) != 0 || strings.Join(cf.Config.Entrypoint, " ") != "/function" {
		t.Errorf("the image runs otherwise: %+v", cf)
	}
	if _, err := Licences(program, t.TempDir(), env("GOROOT")); err == nil || !strings.Contains(err.Error(), "cannot read the licence of ") {
		t.Errorf("want a module without its licence refused, got %v", err)
	}
}

func TestEscaped(t *testing.T) {
	for path, want := range map[string]string{"github.com/BurntSushi/toml": "github.com/!burnt!sushi/toml", "v1.2.3-RC1": "v1.2.3-!r!c1", "k8s.io/api": "k8s.io/api"} {
		if got := escaped(path); got != want {
			t.Errorf("%s is %s in the cache, want %s", path, got, want)
		}
	}
}
