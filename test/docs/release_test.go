package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"whisperops.io/functions/test/pipeline"
)

var (
	section = regexp.MustCompile(`^## (\d+\.\d+\.\d+) / (unreleased|\d{4}-\d{2}-\d{2})$`)
	entry   = regexp.MustCompile(`^\* \[(CHANGE|FEATURE|ENHANCEMENT|BUGFIX)\] \S`)
	shipped = regexp.MustCompile(`/whisperops/[a-z-]+:(v[0-9][^\s"]*)`)
)

// entryKinds are the kinds of entries, in the order in which a section has them.
var entryKinds = []string{"CHANGE", "FEATURE", "ENHANCEMENT", "BUGFIX"}

// TestChangelog proves that people and tools can read CHANGELOG.md: sections with a version
// and a date, in them lines that say of what kind they are, what forces people to act first.
// What is not released yet may lie there as it came.
func TestChangelog(t *testing.T) {
	last, released := "", false
	for i, line := range strings.Split(read(t, "CHANGELOG.md"), "\n") {
		switch {
		case strings.HasPrefix(line, "## "):
			if !section.MatchString(line) {
				t.Errorf("CHANGELOG.md:%d: want ## 0.2.0 / unreleased, or a date, got %q", i+1, line)
			}
			last, released = "", !strings.HasSuffix(line, "unreleased")
		case !released:
		case strings.HasPrefix(line, "- "), strings.HasPrefix(line, "* "):
			m := entry.FindStringSubmatch(line)
			if m == nil {
				t.Errorf("CHANGELOG.md:%d: want * [CHANGE], [FEATURE], [ENHANCEMENT] or [BUGFIX], got %q", i+1, line)
				continue
			}
			if strings.Index(strings.Join(entryKinds, " "), m[1]) < strings.Index(strings.Join(entryKinds, " "), last) {
				t.Errorf("CHANGELOG.md:%d: [%s] stands above [%s]: the order is %s", i+1, m[1], last, strings.Join(entryKinds, ", "))
			}
			last = m[1]
		}
	}
}

// TestOneVersion proves that all that is shipped asks for the version on top of
// CHANGELOG.md: packages and images are released together.
func TestOneVersion(t *testing.T) {
	var want string
	for line := range strings.Lines(read(t, "CHANGELOG.md")) {
		if m := section.FindStringSubmatch(strings.TrimSpace(line)); m != nil && want == "" {
			want = "v" + m[1]
		}
	}
	found := 0
	for _, dir := range []string{"package", "examples"} {
		err := filepath.WalkDir(filepath.Join(pipeline.Root(), dir), func(path string, d os.DirEntry, err error) error {
			// What a story expects was written by another version, at times.
			if err != nil || d.IsDir() || filepath.Ext(path) != ".yaml" || (dir == "examples" && d.Name() != "functions.yaml") {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range shipped.FindAllStringSubmatch(string(b), -1) {
				if found++; m[1] != want {
					t.Errorf("%s asks for %s, CHANGELOG.md is at %s", path, m[0], want)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 25 {
		t.Errorf("found only %d references to what is shipped", found)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(pipeline.Root(), file))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSixCommands proves that the commands of a day are the same in CONTRIBUTING.md and
// in what make alone shows first.
func TestSixCommands(t *testing.T) {
	m := regexp.MustCompile(`(?m)^DAILY := (.*)$`).FindStringSubmatch(read(t, "Makefile"))
	if m == nil {
		t.Fatal("the Makefile names no commands of a day")
	}
	_, after, _ := strings.Cut(read(t, "CONTRIBUTING.md"), "## Six commands")
	table, _, _ := strings.Cut(after, "\n## ")
	var told []string
	for _, row := range regexp.MustCompile("(?m)^\\| `make ([a-z]+)`").FindAllStringSubmatch(table, -1) {
		told = append(told, row[1])
	}
	if got := strings.Join(told, " "); got != m[1] {
		t.Errorf("CONTRIBUTING.md has %q, make shows %q", got, m[1])
	}
}
