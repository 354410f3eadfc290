package tokenmeter

import (
	"testing"
	"time"

	"whisperops.io/functions/internal/tokenmeter/usage"
)

// A row that an edit broke goes on at its last good prices, as in fetch-spend, and so it does
// after a restart: a hard budget is not let through, or shut, by a typing error.
func TestPriceRowBroken(t *testing.T) {
	const (
		good   = `models: {pro: {input: "1", output: "10"}, flash: {input: "1", output: "2"}}`
		broken = `models: {pro: {input: "1", output: "1O"}, flash: {input: "1", output: "3"}}`
	)
	dir := t.TempDir()
	for life, tables := range [][]string{{good, broken}, {broken}} {
		j, _, err := OpenJournal(dir)
		if err != nil {
			t.Fatal(err)
		}
		s := newState(j, time.Now, 0)
		for _, table := range tables {
			if err := s.SetPrices(table); err != nil {
				t.Fatal(err)
			}
		}
		for model, want := range map[string]string{"pro": "10", "flash": "3"} {
			if got := s.Prices().Cost(model, "", "", usage.Tokens{usage.Output: 1_000_000}).String(); got != want {
				t.Errorf("life %d: a million tokens of %s cost %s, want %s", life, model, got, want)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
