package controlplane

import (
	"os"
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
