package csvfile

import (
	"testing"

	"golang.org/x/text/encoding/charmap"
)

// Every byte is what the library that isn't linked says.
func TestWindows1252(t *testing.T) {
	for i := 0x80; i <= 0xff; i++ {
		want := charmap.Windows1252.DecodeByte(byte(i))
		if got := (&Profile{}).decode(string([]byte{byte(i)})); got != string(want) {
			t.Errorf("byte %#x: want %q, got %q", i, want, got)
		}
	}
}
