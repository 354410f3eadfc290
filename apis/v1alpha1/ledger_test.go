package v1alpha1

import (
	"strings"
	"testing"
)

func TestLedgerValidate(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*Ledger)
		err    string
	}{
		"Good":       {"As fetch-spend writes it.", func(*Ledger) {}, ""},
		"Empty":      {"What is only absent is refused by nobody.", func(l *Ledger) { *l = Ledger{} }, ""},
		"Class":      {"The schema knows six.", func(l *Ledger) { l.Totals[0].Class = "thinking" }, `"thinking"`},
		"NoTokens":   {"A string of no digits is none.", func(l *Ledger) { l.Totals[0].Tokens = "" }, "totals[].tokens"},
		"Fraction":   {"Tokens are whole.", func(l *Ledger) { l.Totals[0].Tokens = "1.5" }, "totals[].tokens"},
		"Time":       {"A cursor's time is a number.", func(l *Ledger) { l.Cursors[0].At = "2026-11-23T10:00:00Z" }, "cursors[].at"},
		"NoValue":    {"As above.", func(l *Ledger) { l.Cursors[0].Value = "" }, "value"},
		"Resets":     {"As above.", func(l *Ledger) { l.Cursors[0].ResetsBefore = "-1" }, "resetsBefore"},
		"ManyTotals": {"A status has an end.", func(l *Ledger) { l.Totals = make([]TokenTotal, 257) }, "256"},
		"ManySeries": {"As above.", func(l *Ledger) { l.Cursors = make([]Cursor, 513) }, "512"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := Ledger{
				Totals:  []TokenTotal{{Model: "m", Class: TokenInput, Tokens: "1"}},
				Cursors: []Cursor{{Series: "s", At: "1", Value: "1", Resets: "1"}},
			}
			tc.change(&l)
			err := l.Validate()
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s\nValidate() = %v, want one that says %q", tc.reason, err, tc.err)
			}
		})
	}
}
