package spend

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/count"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/internal/money"
	"whisperops.io/functions/internal/pricing"
)

// A Budget is as much of an XAgentBudget as explains its figure.
type Budget struct {
	metav1.ObjectMeta `json:"metadata"`

	Kind   string                      `json:"kind"`
	Spec   v1alpha1.XAgentBudgetSpec   `json:"spec"`
	Status v1alpha1.XAgentBudgetStatus `json:"status"`
}

// ReadBudget reads YAML or JSON, as kubectl prints it.
func ReadBudget(text string) (*Budget, error) {
	b := &Budget{}
	if err := yaml.Unmarshal([]byte(text), b); err != nil {
		return nil, errors.Wrap(err, "it is no YAML of an XAgentBudget")
	}
	switch {
	case b.Kind != v1alpha1.KindXAgentBudget:
		return nil, errors.Errorf("it is a %q, and no %s: kubectl get xab <agent> -n agent-<agent> -o yaml prints one", b.Kind, v1alpha1.KindXAgentBudget)
	case b.Status.SpentUSD == nil:
		return nil, errors.New("its status has no spentUsd yet: nothing was measured")
	case len(b.Status.Bill) == 0 && *b.Status.SpentUSD > 0:
		return nil, errors.New("its status has no bill: it was written before version 2 of the functions, and the next look writes one")
	}
	return b, nil
}

func (b *Budget) keptPrices() string {
	if b.Status.Ledger == nil {
		return ""
	}
	return b.Status.Ledger.Prices
}

// readTable reads a price table: the ConfigMap that holds it, or the table itself.
// Empty: there is none.
func readTable(text string) (*pricing.Table, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil //nolint:nilnil // no table is a choice and no failure
	}
	var cm struct {
		Kind string            `json:"kind"`
		Data map[string]string `json:"data"`
	}
	if yaml.Unmarshal([]byte(text), &cm) == nil && cm.Kind == "ConfigMap" {
		table, ok := cm.Data[v1alpha1.PricingKey]
		if !ok {
			return nil, errors.Errorf("the ConfigMap has no key %s", v1alpha1.PricingKey)
		}
		text = table
	}
	return pricing.Read(text)
}

// An Explanation works out a budget's figure again.
type Explanation struct {
	Budget  *Budget
	Prices  *pricing.Table // nil: prices aren't compared
	Samples []count.Series // nil: tokens aren't counted again
	Input   input.FetchSpendInput

	wrong []string
}

// Write writes the bill as it is worked out, line by line. It fails if a figure of the
// status is another than that, and names each that is.
func (e *Explanation) Write(ctx context.Context, out io.Writer) error {
	e.wrong = nil
	s := e.Budget.Status
	fmt.Fprintf(out, "Budget %s/%s: period %s, %s", e.Budget.Namespace, e.Budget.Name, orNone(s.Period), s.Cause)
	if s.Paused != nil && *s.Paused {
		fmt.Fprint(out, ", paused")
	}
	if l := s.Ledger; l != nil {
		fmt.Fprintf(out, "\nCounted from %s to %s", l.From, l.AsOf)
	}
	fmt.Fprint(out, "\n\n")

	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TOKENS\tCLASS\tMODEL\tPRICED FROM\tUSD PER MILLION\tUSD\tPRICE TABLE")
	var sum money.USD
	table := e.applied()
	for i, l := range s.Bill {
		usd := e.line(l)
		sum = sum.Plus(usd)
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.Tokens, kind(l), l.Model, orNone(l.From), l.USDPerMillion, usd, e.compared(l, table[i]))
	}
	fmt.Fprintf(w, "\t\t\t\tsum\t%s\t\n", sum)
	e.figures(w, sum)
	if err := w.Flush(); err != nil {
		return errors.Wrap(err, "cannot write")
	}
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(out, strings.TrimRight(line, " \n"))
	}
	if err := e.recount(ctx, out); err != nil {
		return err
	}
	if len(e.wrong) > 0 {
		return errors.Errorf("%d of the figures can't be explained:\n  %s", len(e.wrong), strings.Join(e.wrong, "\n  "))
	}
	return nil
}

func (e *Explanation) missf(format string, args ...any) {
	e.wrong = append(e.wrong, fmt.Sprintf(format, args...))
}

// line works out one line of the bill.
func (e *Explanation) line(l v1alpha1.BillLine) money.USD {
	said, err := money.Parse(l.USD)
	if err != nil {
		e.missf("%s %s: usd %q is no amount", l.Model, kind(l), l.USD)
	}
	if l.Tokens == "" {
		return said // spent before this budget, or all others
	}
	tokens, errTokens := strconv.ParseUint(l.Tokens, 10, 64)
	perMillion, errPrice := money.Parse(l.USDPerMillion)
	if errTokens != nil || errPrice != nil {
		e.missf("%s %s: tokens %q at %q aren't figures", l.Model, kind(l), l.Tokens, l.USDPerMillion)
		return said
	}
	usd := (perMillion / 1_000_000).Times(tokens)
	if usd != said {
		e.missf("%s %s: %d tokens at %s USD per million are %s USD, and the bill says %s", l.Model, kind(l), tokens, perMillion, usd, said)
	}
	return usd
}

// applied are the prices that the table says were right for each line. A model without
// a row is priced at the one that is dearest for all that it used in a span of time.
func (e *Explanation) applied() []*pricing.Price {
	bill := e.Budget.Status.Bill
	out := make([]*pricing.Price, len(bill))
	if e.Prices == nil {
		return out
	}
	type span struct{ model, from string }
	uses := map[span]map[pricing.Use]uint64{}
	for _, l := range bill {
		tokens, err := strconv.ParseUint(l.Tokens, 10, 64)
		if err != nil {
			continue
		}
		s := span{l.Model, l.From}
		if uses[s] == nil {
			uses[s] = map[pricing.Use]uint64{}
		}
		uses[s][useOf(l)] += tokens
	}
	for i, l := range bill {
		if l.Tokens == "" {
			continue
		}
		from, err := time.Parse(time.RFC3339, l.From)
		if err != nil {
			from = time.Time{}
		}
		_, prices, _ := e.Prices.Cost(l.Model, uses[span{l.Model, l.From}], from)
		if p, ok := prices[useOf(l)]; ok {
			out[i] = &p
		}
	}
	return out
}

func useOf(l v1alpha1.BillLine) pricing.Use {
	return pricing.Use{Class: l.Class, Context: l.Context, Tier: l.Tier}
}

// compared says which row of the table a price is from.
func (e *Explanation) compared(l v1alpha1.BillLine, p *pricing.Price) string {
	if p == nil {
		return "-"
	}
	row := p.Model
	if e.Prices.Find(l.Model) == nil {
		row += ", the dearest: " + strconv.Quote(l.Model) + " has no row"
	}
	is := (p.Rate * 1_000_000).String()
	if is == l.USDPerMillion {
		return row
	}
	e.missf("%s %s: %s USD per million were applied, and the price table says %s (%s): it was edited since, or is another", l.Model, kind(l), l.USDPerMillion, is, row)
	return row + " says " + is
}

// figures compares what status shows with the sum.
func (e *Explanation) figures(w io.Writer, sum money.USD) {
	s := e.Budget.Status
	said := *s.SpentUSD
	fmt.Fprintf(w, "\t\t\t\tstatus.spentUsd\t%s\tthe sum with four decimals\n", strconv.FormatFloat(said, 'f', -1, 64))
	// The budget may have been changed since the status was written.
	budgets := []float64{e.Budget.Spec.BudgetUSD}
	if s.DecidedBudgetUSD != nil {
		budgets = append(budgets, *s.DecidedBudgetUSD)
	}
	if !slices.ContainsFunc(budgets, func(usd float64) bool {
		budget, ok := money.Of(usd)
		return ok && money.Shown(sum, budget).Float() == said
	}) {
		e.missf("status.spentUsd is %v, and the bill's sum is %s", said, sum)
	}
	fmt.Fprintf(w, "\t\t\t\tspec.budgetUsd\t%s\t\n", strconv.FormatFloat(e.Budget.Spec.BudgetUSD, 'f', -1, 64))
}

func kind(l v1alpha1.BillLine) string {
	var out strings.Builder
	out.WriteString(string(l.Class))
	for _, more := range []string{l.Context, l.Tier} {
		if more != "" {
			out.WriteString(" " + more)
		}
	}
	return out.String()
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
