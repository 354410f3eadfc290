package scale

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"whisperops.io/functions/hack/controlplane/suite"
)

// TestReadAudit proves that a log is read on from where it was left, that a line
// which is not complete waits, and that a log which was put away is no quiet one.
func TestReadAudit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.jsonl")
	line := func(verb string) string {
		return `{"kind":"Event","stage":"ResponseComplete","verb":"` + verb + "\"}\n"
	}
	var got []string
	read := func(from int64) (int64, error) {
		return suite.ReadAudit(file, from, func(q suite.Request) { got = append(got, q.Verb) })
	}
	if from, err := read(0); err != nil || from != 0 {
		t.Fatalf("a log that isn't there yet: %d, %v", from, err)
	}
	var from int64
	for _, content := range []string{
		line("create") + line("patch")[:20],
		line("create") + line("patch") + line("delete"),
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		if from, err = read(from); err != nil {
			t.Fatal(err)
		}
	}
	if want := "create patch delete"; strings.Join(got, " ") != want {
		t.Errorf("want %s, got %v", want, got)
	}
	if err := os.WriteFile(file, []byte(line("create")), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := read(from); err == nil || !strings.Contains(err.Error(), "put away") {
		t.Errorf("a shorter log is read as a quiet one: %v", err)
	}
}
