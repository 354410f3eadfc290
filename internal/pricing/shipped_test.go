package pricing

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	workloads "whisperops.io/functions/apis/input/workloads/v1alpha1"
)

// The table that is installed has no flaw, prices the model that agents get without
// an input, and knows the changes that are known.
func TestShippedTable(t *testing.T) {
	b, err := os.ReadFile("../../package/install/pricing.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var cm struct {
		Data map[string]string `yaml:"data"`
	}
	if err := yaml.Unmarshal(b, &cm); err != nil {
		t.Fatal(err)
	}
	tab, err := Read(cm.Data["prices.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range tab.Flaws {
		t.Error(f)
	}
	if tab.Find(workloads.DefaultModel) == nil {
		t.Errorf("%s, the default of render-workloads, has no price", workloads.DefaultModel)
	}
	last, err := servedUntil(cm.Data["prices.yaml"], workloads.DefaultModel)
	if err != nil {
		t.Fatal(err)
	}
	if time.Now().After(last) {
		t.Errorf("%s, the default of render-workloads, may be shut down since %s: look at the provider's page, and take another, or move the date in package/install/pricing.yaml", workloads.DefaultModel, last.Format(time.DateOnly))
	}
	if n := len(tab.Changes([]string{"gemini-3.8-flash", "gemini-4-carbon"}, time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))); n != 2 {
		t.Errorf("%d changes are known, want 2", n)
	}
}

var until = regexp.MustCompile(`until ([0-9]{4}-[0-9]{2}-[0-9]{2})`)

// servedUntil is the last day on which a provider promises a model, as the comment above
// its row says.
func servedUntil(table, model string) (time.Time, error) {
	above, _, ok := strings.Cut(table, "\n  "+model+":")
	if !ok {
		return time.Time{}, fmt.Errorf("there is no row of %s", model)
	}
	lines := strings.Split(above, "\n")
	for i := len(lines) - 1; i >= 0 && strings.HasPrefix(strings.TrimSpace(lines[i]), "#"); i-- {
		if m := until.FindStringSubmatch(lines[i]); m != nil {
			return time.Parse(time.DateOnly, m[1])
		}
	}
	return time.Time{}, fmt.Errorf("the comment above the row of %s must say until when its provider serves it: until 2027-05-19", model)
}

// A date that is missing must not read as one that never comes.
func TestServedUntil(t *testing.T) {
	for name, tc := range map[string]struct{ why, table, want string }{
		"Said":      {"As it should be.", "models:\n  # It is served until 2027-05-19 at least.\n  # Source: a page.\n  m:", "2027-05-19"},
		"OfAnother": {"The date of the model above is not this one's.", "models:\n  # until 2027-05-19\n  n: {}\n  # a comment\n  m:", ""},
		"NoComment": {"Nobody looked.", "models:\n  m:", ""},
		"NoModel":   {"The default was renamed.", "models:\n  # until 2027-05-19\n  n:", ""},
	} {
		t.Run(name, func(t *testing.T) {
			last, err := servedUntil(tc.table, "m")
			if got := last.Format(time.DateOnly); (err == nil) != (tc.want != "") || err == nil && got != tc.want {
				t.Errorf("%s, %v; want %q: %s", got, err, tc.want, tc.why)
			}
		})
	}
}
