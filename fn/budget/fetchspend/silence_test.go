package fetchspend

import (
	"math"
	"testing"
)

// What a fall after a silence may hide is in doubt where a process that began anew could
// look so; where none could, there is nothing to be doubted.
func TestDoubtAfterASilence(t *testing.T) {
	for name, tc := range map[string]struct {
		why     string
		samples string
		counted int64
		doubted float64 // tokens
	}{
		"ATokenBehind":   {"No process begins with nearly as much.", "10:00:30=1000 .. 10:20:00=40000 10:21:30=39999 10:22:00=41000", 41000, 0},
		"HalfAndBack":    {"None is back in one step.", "10:00:30=1000 .. 10:20:00=40000 10:21:30=20000 10:22:00=41000", 41000, 0},
		"NothingAndBack": {"As above.", "10:00:30=1000 .. 10:20:00=40000 10:21:30=0 10:22:00=41000", 41000, 0},
		"HalfAndOn":      {"One may have begun anew, and used as much as there was before.", "10:00:30=1000 .. 10:20:00=40000 10:21:30=20000 10:22:00=21000", 40000, 40000},
		"LittleAndOn":    {"So does a process begin: it counts.", "10:00:30=1000 .. 10:20:00=40000 10:21:30=900 10:22:00=1900", 41900, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := storeOf(t, map[string]string{"output pod=a": tc.samples})
			f := facts(t, "10:40:20", nil)
			s.now = f.Now
			o := Measure(t.Context(), s, f)
			if doubted := math.Round(o.Measurement.DoubtfulUSD * 1e12); tokens(o) != tc.counted || doubted != tc.doubted {
				t.Errorf("counted %d, %g in doubt; want %d and %g: %s", tokens(o), doubted, tc.counted, tc.doubted, tc.why)
			}
		})
	}
}
