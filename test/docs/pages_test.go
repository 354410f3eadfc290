package docs

import (
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"whisperops.io/functions/test/pipeline"
)

var update = flag.Bool("update", false, "rewrite the generated pages")

// pages are generated: by their path, who makes them.
func pages(t *testing.T) map[string]func() string {
	t.Helper()
	all := map[string]func() string{
		"docs/troubleshooting.md":   troubleshooting,
		"docs/reference/inputs.md":  func() string { return inputs(t) },
		"docs/reference/status.md":  func() string { return kinds(t) },
		"docs/images/pipelines.svg": func() string { return picture(t) },
		"docs/design/README.md":     func() string { return notes(t) },
	}
	maps.Copy(all, platforms(t))
	return all
}

// TestPages proves that every generated page is what the code makes; make generate
// rewrites them.
func TestPages(t *testing.T) {
	for name, makes := range pages(t) {
		file := filepath.Join(pipeline.Root(), name)
		want := makes()
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("%s is not what the code makes: make generate", name)
		}
	}
}

// texts returns every text file of the repository whose name ends in one of these.
func texts(t *testing.T, endings ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	root := pipeline.Root()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			switch d.Name() {
			case "_output", ".git", "node_modules", "testdata":
				return filepath.SkipDir
			}
			return nil
		}
		for _, e := range endings {
			if !strings.HasSuffix(path, e) {
				continue
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			out[filepath.ToSlash(rel)] = string(b)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestNamedDocumentsExist proves that a document that a comment, a manifest or a
// message names is there: who follows it must not find nothing.
func TestNamedDocumentsExist(t *testing.T) {
	named := regexp.MustCompile(`\bdocs/[A-Za-z0-9_./-]*[A-Za-z0-9]`)
	found := 0
	for file, text := range texts(t, ".go", ".yaml", ".md", ".mk", ".sh", ".mjs", "Makefile") {
		for _, doc := range named.FindAllString(text, -1) {
			found++
			if _, err := os.Stat(filepath.Join(pipeline.Root(), doc)); err != nil && !elsewhere(text, doc) {
				t.Errorf("%s names %s, which does not exist", file, doc)
			}
		}
	}
	if found < 40 {
		t.Fatalf("only %d names of documents were found", found)
	}
}

// elsewhere says whether a document is named by an address: another project's.
func elsewhere(text, doc string) bool {
	before, _, _ := strings.Cut(text, doc)
	word := before[strings.LastIndexAny(before, " \n\t(\"`<")+1:]
	return strings.Contains(word, "://") || strings.Contains(word, ".")
}

// TestLinksLead proves that every link between the repository's own pages leads
// somewhere.
func TestLinksLead(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	found := 0
	for file, text := range texts(t, ".md") {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to, _, _ := strings.Cut(m[1], "#")
			if to == "" || strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") || strings.Contains(to, "{{") {
				continue
			}
			found++
			if _, err := os.Stat(filepath.Join(pipeline.Root(), filepath.Dir(file), to)); err != nil {
				t.Errorf("%s links to %s, which does not exist", file, m[1])
			}
		}
	}
	if found < 60 {
		t.Fatalf("only %d links were found", found)
	}
}

// TestReadmeIsShort proves that the front page stays one: everything else has a page
// of its own below docs.
func TestReadmeIsShort(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(pipeline.Root(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if len(lines) > 130 {
		t.Errorf("README.md has %d lines, more than 130", len(lines))
	}
	for i, l := range lines {
		if strings.HasPrefix(l, "## Use one station") {
			if i >= 60 {
				t.Errorf("README.md shows how to use one station in line %d, not before line 60", i+1)
			}
			return
		}
	}
	t.Error("README.md does not say how to use one station")
}
