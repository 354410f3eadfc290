package fetchspend

import (
	"fmt"
	"testing"
)

// A table is read once, and another text is another table, the moment that it is there.
func TestTables(t *testing.T) {
	text := func(usd int) string { return fmt.Sprintf(`models: {m: {input: "%d", output: "9"}}`, usd) }
	ts := &tables{}
	first, err := ts.Read(text(1))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ts.Read(text(1)); err != nil || again != first {
		t.Errorf("the same text was read again (%v)", err)
	}
	if other, err := ts.Read(text(2)); err != nil || other == first || other.Models[0].Rows[0].Words() == first.Models[0].Rows[0].Words() {
		t.Errorf("an edited table is the old one (%v)", err)
	}
	for range 2 {
		if _, err := ts.Read("models: ["); err == nil {
			t.Error("what can't be read is no table")
		}
	}
	for i := range 100 {
		if _, err := ts.Read(text(i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	if len(ts.read) > maxTables {
		t.Errorf("%d tables are kept", len(ts.read))
	}
}
