package pricing

import (
	"os"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
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
	// Google's pages name 2027-05-19 as the first day on which it may be gone.
	const usual, shutdown = "gemini-3.5-flash", "2027-05-19"
	if tab.Find(usual) == nil {
		t.Errorf("%s, the default of render-workloads, has no price", usual)
	}
	if gone, err := time.Parse(time.DateOnly, shutdown); err != nil || time.Now().After(gone) {
		t.Errorf("%s, the default of render-workloads, may be shut down since %s: look at the provider's page, and take another", usual, shutdown)
	}
	if n := len(tab.Changes([]string{"gemini-3.8-flash", "gemini-4-carbon"}, time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))); n != 2 {
		t.Errorf("%d changes are known, want 2", n)
	}
}
