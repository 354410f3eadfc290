package decide

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
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

// A budget is one of its name, and what a step asked for is looked at: while an agent spends,
// each write of its status would be another look.
func TestAsksForOthers(t *testing.T) {
	spending := &Spend{USD: *usd(3), BurnPerHour: *usd(1)}
	said := func(s metav1.ConditionStatus) Status {
		return Status{Conditions: []metav1.Condition{{Type: v1alpha1.ConditionSoleBudget, Status: s}}}
	}
	for name, c := range map[string]struct {
		facts Facts
		want  bool
	}{
		"NoFigure":        {Facts{}, true},
		"AtRest":          {Facts{Spend: &Spend{USD: *usd(3)}}, true},
		"Spending":        {Facts{Spend: spending}, false},
		"SpendingInPairs": {Facts{Spend: spending, Status: said(metav1.ConditionFalse)}, true}, // or nobody would hear that the other one is gone
		"SpendingAlone":   {Facts{Spend: spending, Status: said(metav1.ConditionTrue)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.facts.asksForOthers(); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
