package manifest

import (
	"strings"
	"unicode"
)

// Plain makes a person's text one line of at most limit characters: white space and
// control characters become one blank, and invisible characters, which can hide words
// from people but not from a model, or turn what they read around, are left out.
func Plain(text string, limit int) string {
	visible := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r):
			return ' '
		case !unicode.IsGraphic(r), unicode.In(r, invisible...):
			return -1
		}
		return r
	}, text)
	line := strings.Join(strings.Fields(visible), " ")
	if runes := []rune(line); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return line
}

// invisible characters that Unicode counts among marks and letters: fillers, and
// the variation selectors, 256 of which write any text behind a single letter.
var invisible = []*unicode.RangeTable{unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point}
