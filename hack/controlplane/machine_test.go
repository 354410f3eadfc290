package controlplane

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Who may not have a real node is told what is missing, and what happens without.
func TestCanRunRealNode(t *testing.T) {
	err := CanRunRealNode()
	if os.Geteuid() == 0 && !IsIsolated() { // as root of the machine itself, it depends on what is installed
		if err != nil && !strings.Contains(err.Error(), "apt-get install") {
			t.Errorf("want what to install, got %v", err)
		}
		return
	}
	// The tests' namespaces are those of a user namespace, whose root is not the machine's.
	if err == nil || !strings.Contains(err.Error(), "root, of the machine itself") {
		t.Errorf("want root of a user namespace refused, got %v", err)
	}
	t.Setenv("PATH", t.TempDir())
	if err := CanRunRealNode(); err == nil || !strings.HasSuffix(err.Error(), "without NODE=real the pods run as plain processes") {
		t.Errorf("want what happens without, got %v", err)
	}
}

// A stack that ends takes its control groups along, also those that runc makes where
// cgroup v2 lies beside v1.
func TestCgroupsAreRemoved(t *testing.T) {
	for name, dirs := range map[string][]string{
		"V1":      {"memory", "cpu"},
		"Both":    {"memory", "unified"},
		"Unified": {""},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if name == "Unified" {
				if err := os.WriteFile(filepath.Join(root, "cgroup.controllers"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			for _, d := range dirs {
				for _, stack := range []string{"ours", "theirs"} {
					if err := os.MkdirAll(filepath.Join(root, d, stack, "kubepods", "pod"), 0o700); err != nil {
						t.Fatal(err)
					}
				}
			}
			removeCgroups(root, "ours")
			for _, d := range dirs {
				if _, err := os.Stat(filepath.Join(root, d, "ours")); !os.IsNotExist(err) {
					t.Errorf("%s was left", filepath.Join(d, "ours"))
				}
				if _, err := os.Stat(filepath.Join(root, d, "theirs", "kubepods", "pod")); err != nil {
					t.Errorf("another stack's groups: %v", err)
				}
			}
		})
	}
}
