package chaos

import (
	"reflect"
	"testing"
)

// A seed gives the same squatters, each order meets one at least, and over some seeds
// all kinds of them come.
func TestSquat(t *testing.T) {
	kinds := map[string]bool{}
	for seed := range uint64(20) {
		a, b := Squat(seed, 4), Squat(seed, 4)
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("seed %d gives two sets of squatters", seed)
		}
		met := map[string]bool{}
		for _, o := range a.Things {
			kinds[o.GetKind()] = true
			for _, order := range a.Orders {
				ns := "agent-" + order
				if o.GetName() == ns || o.GetName() == ns+"-dashboard" {
					met[order] = true
				}
			}
		}
		if len(met) != 4 {
			t.Errorf("seed %d: of four orders %d meet a squatter", seed, len(met))
		}
	}
	for _, kind := range []string{"Namespace", "ConfigMap", "Secret", "ServiceAccount"} {
		if !kinds[kind] {
			t.Errorf("no squatter has a %s", kind)
		}
	}
}
