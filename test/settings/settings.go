// Package settings holds what a program reads against what it says of itself.
package settings

import (
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	flagLine = regexp.MustCompile(`(?m)^  -{1,2}([a-z][a-z0-9-]*)`)
	named    = regexp.MustCompile(`\benv ([A-Z][A-Z0-9_]+)`)
	honoured = regexp.MustCompile(`\b([A-Z][A-Z0-9_]+) is honoured`)
)

// Check fails if --help of a program does not name every variable that the program
// reads, names one that it does not read, or has a flag without a variable. Elsewhere
// are variables that are read where parse does not see it. It returns what is read.
func Check(t *testing.T, parse func(args []string, env func(string) string, out io.Writer) error, elsewhere ...string) []string {
	t.Helper()
	read := slices.Clone(elsewhere)
	env := func(name string) string {
		if !slices.Contains(read, name) {
			read = append(read, name)
		}
		return ""
	}
	var help strings.Builder
	_ = parse([]string{"--help"}, env, &help) // an error by design
	_ = parse(nil, env, io.Discard)           // for what is read behind the flags
	said := map[string]bool{}
	for _, pattern := range []*regexp.Regexp{named, honoured} {
		for _, m := range pattern.FindAllStringSubmatch(help.String(), -1) {
			said[m[1]] = true
			if !slices.Contains(read, m[1]) {
				t.Errorf("--help names the variable %s, which the program does not read", m[1])
			}
		}
	}
	for _, name := range read {
		if !said[name] {
			t.Errorf("the program reads the variable %s, which --help does not name", name)
		}
	}
	flags := flagLine.FindAllStringSubmatchIndex(help.String(), -1)
	for i, f := range flags {
		end := help.Len()
		if i+1 < len(flags) {
			end = flags[i+1][0]
		}
		if text := help.String()[f[0]:end]; !named.MatchString(text) {
			t.Errorf("the flag --%s has no variable: a Deployment sets only these\n%s", help.String()[f[2]:f[3]], text)
		}
	}
	if len(flags) < 5 {
		t.Errorf("--help shows %d flags: %s", len(flags), help.String())
	}
	return read
}
