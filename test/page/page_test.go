package page

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReplace(t *testing.T) {
	const (
		a = "<!-- make a writes from here -->\n"
		b = "<!-- make b writes from here -->\n"
	)
	for name, tc := range map[string]struct {
		reason, page, want string
		fails              bool
	}{
		"First":   {"Only the command's own place changes.", "1\n" + a + "old\n" + end + "2\n" + b + "other\n" + end, "1\n" + a + "\nnew\n" + end + "2\n" + b + "other\n" + end, false},
		"Second":  {"Of two places the right one is found.", b + "other\n" + end + a + end + "2\n", b + "other\n" + end + a + "\nnew\n" + end + "2\n", false},
		"NoPlace": {"A page without a place stays as it is.", b + "other\n" + end, b + "other\n" + end, true},
		"NoEnd":   {"So does one whose place has no end.", a + "old\n", a + "old\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "page.md")
			if err := os.WriteFile(file, []byte(tc.page), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := Replace(file, "make a", "new"); (err != nil) != tc.fails {
				t.Errorf("%s Replace(...): %v", tc.reason, err)
			}
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, string(got)); diff != "" {
				t.Errorf("%s -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
