package decide

import (
	"strings"
	"testing"
)

// Of prices all is said that somebody has to do: one thing hides no other.
func TestPricingCompleteHidesNothing(t *testing.T) {
	const tier, row, change = "tier of service, whose tokens count at the usual price: m (flex)", "all other rows count but these: line 3", "A price changes: from 2027-01-01T00:00:00Z on m will cost"
	all := Spend{Tierless: []string{"m (flex)"}, PriceFlaws: []string{`line 3: model "x": it has no row`}, Announced: []string{"from 2027-01-01T00:00:00Z on m will cost input 2 (before: input 1)"}}
	for name, tc := range map[string]struct {
		reason string
		spend  func(Spend) Spend
		is     string
		says   []string
	}{
		"Priced":   {"A change alone is no flaw.", func(s Spend) Spend { s.Tierless, s.PriceFlaws = nil, nil; return s }, "AllModelsPriced", []string{change}},
		"Tier":     {"A tier that nobody priced.", func(s Spend) Spend { s.PriceFlaws = nil; return s }, "ModelsWithoutPrice", []string{tier, change}},
		"Row":      {"A row that can't be used.", func(s Spend) Spend { return s }, "PriceRowsInvalid", []string{row, tier, change}},
		"Unpriced": {"A model without a row.", func(s Spend) Spend { s.Unpriced = []string{"new"}; return s }, "ModelsWithoutPrice", []string{"new", row, change}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			s := tc.spend(all)
			c := pricingComplete(Facts{Spend: &s, PricingTable: "ConfigMap x"})
			for _, says := range tc.says {
				if !strings.Contains(c.Message, says) {
					t.Errorf("%q does not say %q", c.Message, says)
				}
			}
			if c.Reason != tc.is || strings.Contains(c.Message, "..") {
				t.Errorf("%s: %s", c.Reason, c.Message)
			}
		})
	}
}
