package usage

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestWordSetFindsWhatContainsFinds: a word that was overlooked is money that
// nobody counts, so that the quick search must agree with the plain one, wherever
// in a document a word stands, whole, cut off, or beside others.
func TestWordSetFindsWhatContainsFinds(t *testing.T) {
	for name, w := range map[string]*words{"gemini": geminiWords, "openai": openAIWords, "anthropic": anthropicWords} {
		for _, set := range []*wordSet{w.set, w.failing} {
			if set == nil {
				continue
			}
			texts := map[uint32]string{}
			var all []string
			for _, places := range set.places {
				for _, p := range places {
					if texts[p.bit] == "" {
						texts[p.bit] = string(p.word)
						all = append(all, string(p.word))
					}
				}
			}
			rng := rand.New(rand.NewPCG(1, 2))
			for range 20_000 {
				var doc strings.Builder
				doc.WriteString("{")
				for range rng.IntN(6) {
					word := all[rng.IntN(len(all))]
					switch rng.IntN(3) {
					case 0:
						doc.WriteString(word[rng.IntN(len(word)):])
					case 1:
						doc.WriteString(word[:rng.IntN(len(word))])
					default:
						doc.WriteString(word)
					}
					doc.WriteString(strings.Repeat(" ", rng.IntN(12)))
				}
				doc.WriteString("}")
				d := []byte(doc.String())
				got := set.in(d, 0)
				for bit, text := range texts {
					if want := bytes.Contains(d, []byte(text)); want != (got&bit != 0) {
						t.Fatalf("%s: %s in %s: want %v", name, text, d, want)
					}
				}
			}
		}
	}
}

// TestEventsThatSayNothingCostNothing: thousands of streams are open at once, and
// nearly all of their events are looked over only.
func TestEventsThatSayNothingCostNothing(t *testing.T) {
	for name, s := range benchStreams() {
		r := NewReader(s.dialect, "")
		r.Write(s.bytes[:50_000]) //nolint:errcheck // it never fails
		if n := testing.AllocsPerRun(10, func() {
			if _, err := r.Write(s.bytes[50_000:100_000]); err != nil {
				t.Error(err)
			}
		}); n > 1 {
			t.Errorf("%s: %v allocations for 50 kB", name, n)
		}
	}
}
