package mutants

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Overlay writes a mutant's files into a folder, and the list that makes the go
// command read them instead of those of the checkout. It returns the list's path.
func (m Mutant) Overlay(checkout, dir string) (string, error) {
	replace, text := map[string]string{}, map[string]string{}
	for _, e := range m.Edits {
		file := filepath.Join(checkout, filepath.FromSlash(e.File))
		if _, again := text[file]; !again {
			b, err := os.ReadFile(file)
			if err != nil {
				return "", fmt.Errorf("cannot mutate %s: %w", e.File, err)
			}
			text[file] = string(b)
		}
		if n := strings.Count(text[file], e.Old); n != 1 {
			return "", fmt.Errorf("cannot mutate %s: %q occurs %d times in it, want once", e.File, e.Old, n)
		}
		text[file] = strings.Replace(text[file], e.Old, e.New, 1)
		replace[file] = filepath.Join(dir, strings.ReplaceAll(e.File, "/", "_"))
	}
	for file, to := range replace {
		if err := os.WriteFile(to, []byte(text[file]), 0o600); err != nil {
			return "", err
		}
	}
	list := filepath.Join(dir, "overlay.json")
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	return list, os.WriteFile(list, data, 0o600)
}

// Packages that a mutant changes, as the go command takes them in the checkout.
func (m Mutant) Packages() []string {
	var ps []string
	for _, e := range m.Edits {
		ps = append(ps, "./"+path.Dir(e.File))
	}
	slices.Sort(ps)
	return slices.Compact(ps)
}

// Build builds every function that has something of the mutant in it, into a
// folder, and returns its programs by the repository of their packages.
func (m Mutant) Build(ctx context.Context, checkout, dir string) (map[string]string, error) {
	overlay, err := m.Overlay(checkout, dir)
	if err != nil {
		return nil, err
	}
	commands, err := goTool(ctx, checkout, "list", "-f", `{{.ImportPath}} {{join .Deps " "}}`, "./cmd/function-...")
	if err != nil {
		return nil, err
	}
	packages, err := goTool(ctx, checkout, append([]string{"list"}, m.Packages()...)...)
	if err != nil {
		return nil, err
	}
	programs := map[string]string{}
	args := []string{"build", "-trimpath", "-overlay", overlay, "-o", dir + string(filepath.Separator)}
	for line := range strings.Lines(commands) {
		command, deps, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !slices.ContainsFunc(strings.Fields(deps), func(d string) bool { return slices.Contains(strings.Fields(packages), d) }) {
			continue
		}
		name := path.Base(command)
		programs["whisperops/"+name] = filepath.Join(dir, name)
		args = append(args, command)
	}
	_, err = goTool(ctx, checkout, args...)
	return programs, err
}

// goTest runs tests and returns what they print, be they red or not.
func goTest(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"test"}, args...)...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// goTool runs the go command and returns what it prints.
func goTool(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("cannot go %s: %w: %s", args[0], err, errs.String())
	}
	return out.String(), nil
}
