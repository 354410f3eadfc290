package controlplane

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Tools are the paths of the programs a control plane consists of, by the name
// of their variable in test/tools/tools.mk, for example "ETCD".
type Tools map[string]string

// FindTools asks test/tools/tools.mk of the checkout that holds the working
// folder where the tools are. It builds none, because a build needs a network.
func FindTools(ctx context.Context) (Tools, error) {
	root, err := Checkout()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "make", "-s", "--no-print-directory", "-f", "test/tools/tools.mk", "tools-paths")
	cmd.Dir = root
	// A make that runs this program hands its own flags down.
	cmd.Env = append(os.Environ(), "MAKEFLAGS=", "MAKELEVEL=")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot ask make for the paths of the tools: %w: %s", err, stderr.Bytes())
	}
	tools := Tools{}
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		name, path, ok := bytes.Cut(s.Bytes(), []byte("="))
		if ok {
			tools[string(name)] = string(path)
		}
	}
	return tools, nil
}

// Need returns an error that says how to build the first named tool that is missing.
func (t Tools) Need(names ...string) error {
	for _, n := range names {
		path, ok := t[n]
		if !ok {
			return fmt.Errorf("no path for tool %s: test/tools/tools.mk does not list it in CONTROLPLANE_TOOLS", n)
		}
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("tool %s is missing: run `make tools` at the root of the checkout, which builds it once: %w", n, err)
		}
	}
	return nil
}

// Checkout returns the root of the checkout that holds the working folder.
func Checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "test", "tools", "tools.mk")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("cannot find test/tools/tools.mk in the working folder or above it: run this inside the checkout")
		}
		dir = parent
	}
}
