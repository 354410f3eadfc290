// Package page writes what a command measured into a page, in the place of what it wrote
// there the last time.
package page

import (
	"os"
	"strings"

	"whisperops.io/functions/internal/errors"
)

// end closes every place.
const end = "<!-- to here -->\n"

// Replace puts a text in the place that a command has in a page: between the line
// "<!-- make bench writes from here -->", for the command make bench, and the next line
// "<!-- to here -->".
func Replace(file, command, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin := "<!-- " + command + " writes from here -->\n"
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return errors.Errorf("%s has no place for what %s measured: a line %q and a line %q", file, command, strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return os.WriteFile(file, []byte(before+begin+"\n"+text+"\n"+end+after), 0o600)
}
