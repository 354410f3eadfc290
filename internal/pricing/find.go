package pricing

import (
	"slices"
	"strings"
)

// Find returns the prices of a model by the name that a counter has for it. An exact
// name or alias wins, then one that is the same but for its path or its case, then the
// pattern with the most characters of its own. nil: it has none.
//
// Google's models have paths (google/<model>, publishers/google/models/<model>,
// models/<model>) in one dialect and none in another, and a table is written from either.
// A name is looked up as it is, and then without its path; a name that has no path may be
// that of a row that has one. What would be several models' is nobody's.
func (t *Table) Find(name string) *Model {
	if m, ok := t.exact[name]; ok {
		return m // nearly always
	}
	published, bare := spellings(name)
	for _, n := range []string{published, bare} {
		if m, ok := t.exact[n]; ok {
			return m
		}
	}
	for _, n := range []string{published, bare, strings.ToLower(published), strings.ToLower(bare)} {
		if m := t.alike[n]; m != nil {
			return m
		}
	}
	if published == bare { // of no publisher
		for _, n := range []string{bare, strings.ToLower(bare)} {
			if m := t.alike[anyPath+n]; m != nil {
				return m
			}
		}
	}
	for _, n := range slices.Compact([]string{name, bare, published}) {
		for _, p := range t.patterns {
			if p.matches(n) {
				return p.model
			}
		}
	}
	return nil
}

// anyPath stands before a name in Table.alike that some row has behind a path.
const anyPath = "*/"

// spellings are a model's name with the publisher alone before it, and without any path:
// publishers/google/models/<model> is google/<model>, and models/<model> is <model>.
func spellings(name string) (published, bare string) {
	parts := strings.Split(name, "/")
	n := len(parts)
	if bare = parts[n-1]; bare == "" {
		return name, name // it ends with a slash
	}
	switch {
	case n >= 4 && parts[n-4] == "publishers" && parts[n-2] == "models":
		return parts[n-3] + "/" + bare, bare
	case n == 2 && parts[0] == "models":
		return bare, bare
	}
	return name, bare
}

// index notes the other spellings of the names that the table has.
func (t *Table) index() {
	t.alike = map[string]*Model{}
	note := func(name string, m *Model) {
		if is, known := t.alike[name]; known && is != m {
			m = nil
		}
		t.alike[name] = m
	}
	for name, m := range t.exact {
		published, bare := spellings(name)
		for _, n := range slices.Compact([]string{published, strings.ToLower(published)}) {
			note(n, m)
		}
		if bare != name {
			for _, n := range slices.Compact([]string{bare, strings.ToLower(bare)}) {
				note(anyPath+n, m)
			}
		}
	}
}
