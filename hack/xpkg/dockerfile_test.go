package xpkg

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// An instruction of a Dockerfile, with its continued lines put together.
type instruction struct {
	name, args string
	stage      int // of the FROM before it, counted from 0
}

// instructions reads a Dockerfile as far as ours goes: no heredocs, no parser directives.
func instructions(t *testing.T, file string) []instruction {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []instruction
	stage, open := -1, ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(strings.TrimSpace(line), "#") || open == "" && strings.TrimSpace(line) == "" {
			continue
		}
		part, more := strings.CutSuffix(line, "\\")
		open += part
		if more {
			continue
		}
		name, args, _ := strings.Cut(strings.TrimSpace(open), " ")
		if open = ""; name == "FROM" {
			stage++
		}
		out = append(out, instruction{name, strings.Join(strings.Fields(args), " "), stage})
	}
	if open != "" {
		t.Fatalf("%s ends in the middle of %q", file, open)
	}
	return out
}

// made returns the value of a variable in a file of make's.
func made(t *testing.T, file, name string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?m)^` + name + `\s*[:?]=\s*(.*)$`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("%s has no %s", file, name)
	}
	return string(m[1])
}

// TestDockerfile: who has an engine gets the sandbox that make xpkg builds: the same Debian
// with the same packages, our program on top, run by nobody. No engine is here, so what an
// engine would stumble over is looked for.
func TestDockerfile(t *testing.T) {
	root := filepath.Join("..", "..")
	all := instructions(t, "sandbox.Dockerfile")
	known := []string{"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENTRYPOINT"}
	stages := []string{} // their names
	of := map[string][]instruction{}
	for _, i := range all {
		if !slices.Contains(known, i.name) || i.args == "" || i.stage < 0 {
			t.Errorf("%s %s: no instruction that is known here, or before any FROM", i.name, i.args)
		}
		if i.name == "FROM" {
			_, as, _ := strings.Cut(i.args, " AS ")
			stages = append(stages, as)
		}
		of[i.name] = append(of[i.name], i)
	}
	last := len(stages) - 1

	// What is copied is in the checkout, and isn't kept from the engine; or comes from an
	// earlier stage, which made it.
	ignored, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range of["COPY"] {
		words := strings.Fields(i.args)
		if from, is := strings.CutPrefix(words[0], "--from="); is {
			at := slices.Index(stages, from)
			if at < 0 || at >= i.stage {
				t.Errorf("COPY %s: there is no stage %s before it", i.args, from)
			}
			if !slices.ContainsFunc(of["RUN"], func(r instruction) bool { return r.stage == at && strings.Contains(r.args, "-o "+words[1]+" ") }) {
				t.Errorf("COPY %s: nothing in %s makes %s", i.args, from, words[1])
			}
			continue
		}
		for _, source := range words[:len(words)-1] {
			if _, err := os.Stat(filepath.Join(root, source)); err != nil {
				t.Errorf("COPY %s: %v", i.args, err)
			}
			if slices.Contains(strings.Fields(string(ignored)), "/"+source) {
				t.Errorf("COPY %s: .dockerignore keeps %s from the engine", i.args, source)
			}
		}
	}
	for _, heavy := range []string{"/_output", "/.git"} {
		if !slices.Contains(strings.Fields(string(ignored)), heavy) {
			t.Errorf(".dockerignore lets %s through: the engine would be sent gigabytes that nothing needs", heavy)
		}
	}

	// The program is compiled by a Go that go.mod takes, for the Debian below it.
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(module)
	suite := made(t, "xpkg.mk", "SANDBOX_SUITE")
	if want := "golang:" + string(version[1]) + "-" + suite + " AS build"; of["FROM"][0].args != want {
		t.Errorf("want FROM %s, as go.mod and xpkg.mk have it, got %s", want, of["FROM"][0].args)
	}
	if want := "debian:" + suite + "-slim"; of["FROM"][last].args != want {
		t.Errorf("want FROM %s, got %s", want, of["FROM"][last].args)
	}
	built := regexp.MustCompile(`go build .* (\./cmd/\S+)`).FindStringSubmatch(of["RUN"][1].args)
	if len(built) < 2 || built[1] != "./cmd/sandbox" || !strings.Contains(of["RUN"][1].args, "CGO_ENABLED=0") {
		t.Errorf("want ./cmd/sandbox built without a C compiler, got %s", of["RUN"][1].args)
	}

	// The same packages, without what they only recommend, and what make leaves out.
	above := of["RUN"][len(of["RUN"])-1].args
	installed := regexp.MustCompile(`apt-get install -y --no-install-recommends ([^&;]+) &&`).FindStringSubmatch(above)
	if installed == nil {
		t.Fatalf("no packages are installed: %s", above)
	}
	if want, got := strings.Split(made(t, "xpkg.mk", "SANDBOX_PACKAGES"), ","), strings.Fields(installed[1]); !slices.Equal(want, got) {
		t.Errorf("make puts %v together, the Dockerfile installs %v", want, got)
	}
	for _, gone := range []string{"/usr/include", "/usr/lib/gcc"} {
		if !slices.Contains(leftOut, strings.TrimPrefix(gone, "/")+"/") || !strings.Contains(above, gone) {
			t.Errorf("%s is in one image and not in the other", gone)
		}
	}
	if !strings.Contains(above, "-perm /6000") {
		t.Error("programs that make their caller root stay in the image")
	}
	for name, want := range map[string]string{"USER": nonRoot + ":" + nonRoot, "ENTRYPOINT": `["/sandbox"]`} {
		if got := of[name]; len(got) != 1 || got[0].args != want || got[0].stage != last {
			t.Errorf("want %s %s in the last stage, got %v", name, want, got)
		}
	}
}
