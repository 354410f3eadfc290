package tokenmeter

import "testing"

// TestCloseTellsOfItsWrite: who closes a journal waits for the last write and for the end,
// which come together. Told of the end first, a meter would say that it lost what is kept.
func TestCloseTellsOfItsWrite(t *testing.T) {
	for range 20_000 {
		j, _, err := OpenJournal("")
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatalf("want no error, got %v", err)
		}
	}
}
