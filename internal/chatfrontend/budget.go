package chatfrontend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"whisperops.io/functions/apis/v1alpha1"
)

// budgetTimeout bounds the one GET that each request makes.
const budgetTimeout = 5 * time.Second

// A budgetReader reads the agent's XAgentBudget, each time anew.
type budgetReader struct {
	http *http.Client
	url  string
}

// newBudgetReader finds the API server by KUBECONFIG, or as a pod does.
func newBudgetReader(namespace, name string) (*budgetReader, error) {
	cfg, err := kubeConfig()
	if err != nil {
		return nil, fmt.Errorf("cannot find the API server: %w", err)
	}
	cfg.UserAgent = "whisperops-chat-frontend"
	cfg.Timeout = budgetTimeout
	h, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot make a client of the API server: %w", err)
	}
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("cannot use the API server's address: %w", err)
	}
	gv := v1alpha1.GroupVersion
	u := base.JoinPath("apis", gv.Group, gv.Version, "namespaces", url.PathEscape(namespace), "xagentbudgets", url.PathEscape(name))
	return &budgetReader{http: h, url: u.String()}, nil
}

func kubeConfig() (*rest.Config, error) {
	if os.Getenv(clientcmd.RecommendedConfigPathEnvVar) == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
}

// errNoBudget is the absence of the XAgentBudget.
var errNoBudget = errors.New("the agent has no budget yet")

// read is one GET.
func (b *budgetReader) read(ctx context.Context) (v1alpha1.XAgentBudget, error) {
	var xab v1alpha1.XAgentBudget
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url, http.NoBody)
	if err != nil {
		return xab, err
	}
	req.Header.Set("Accept", "application/json")
	rsp, err := b.http.Do(req)
	if err != nil {
		return xab, fmt.Errorf("cannot read the agent's budget: %w", err)
	}
	defer rsp.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(io.LimitReader(rsp.Body, 4<<20))
	if err != nil {
		return xab, fmt.Errorf("cannot read the agent's budget: %w", err)
	}
	if rsp.StatusCode != http.StatusOK {
		status := metav1.Status{}
		_ = json.Unmarshal(body, &status) // a proxy may answer with anything
		if rsp.StatusCode == http.StatusNotFound && status.Kind == "Status" {
			return xab, errNoBudget
		}
		return xab, fmt.Errorf("cannot read the agent's budget: the API server answered %s %s", rsp.Status, status.Message)
	}
	if err := json.Unmarshal(body, &xab); err != nil {
		return xab, fmt.Errorf("cannot read the agent's budget: %w", err)
	}
	if xab.Kind != v1alpha1.KindXAgentBudget {
		return xab, fmt.Errorf("cannot read the agent's budget: got a %q", xab.Kind)
	}
	return xab, nil
}

// Money is what a page shows of a budget. All amounts are US dollars.
type Money struct {
	BudgetUSD float64  `json:"budgetUsd"`
	SpentUSD  *float64 `json:"spentUsd"` // nil: not measured yet
	LeftUSD   *float64 `json:"leftUsd"`  // never below 0
	Ratio     float64  `json:"ratio"`    // of what is spent, from 0 to 1
	Period    string   `json:"period"`   // lifetime, daily, weekly, monthly
	// Exhausted is the one meaning of 402: paused, and for no other reason than money.
	Exhausted bool `json:"exhausted"`
	// Paused without being exhausted: somebody or something else stopped the agent.
	Paused   bool       `json:"paused"`
	Enforced bool       `json:"enforced"`        // false: measured only, never cut
	Resumes  *time.Time `json:"resumes"`         // when the next period begins; nil: never by itself
	AsOf     string     `json:"asOf,omitempty"`  // up to when spending is known (RFC 3339)
	Raise    string     `json:"raise"`           // who can raise it, and how
	Stale    bool       `json:"stale,omitempty"` // measuring fails at the moment
}

func money(b v1alpha1.XAgentBudget, agent, contact string, now time.Time) Money {
	m := Money{
		BudgetUSD: b.Spec.BudgetUSD,
		SpentUSD:  b.Status.SpentUSD,
		Period:    string(b.Spec.Period),
		Enforced:  b.Spec.Enforcement != v1alpha1.EnforcementMonitorOnly,
		Paused:    b.Status.Paused != nil && *b.Status.Paused,
	}
	if m.Period == "" {
		m.Period = string(v1alpha1.PeriodLifetime)
	}
	m.Exhausted = m.Paused && b.Status.Cause == v1alpha1.CauseBudgetExhausted
	if decided := b.Status.DecidedBudgetUSD; m.Exhausted && decided != nil {
		m.BudgetUSD = *decided // an order that was cut is followed before the budget has its sum
	}
	if m.SpentUSD != nil {
		left := max(0, m.BudgetUSD-*m.SpentUSD)
		m.LeftUSD = &left
		m.Ratio = 1
		if m.BudgetUSD > 0 {
			m.Ratio = math.Min(1, *m.SpentUSD/m.BudgetUSD)
		}
	}
	if b.Status.Ledger != nil {
		m.AsOf = b.Status.Ledger.AsOf
	}
	for _, c := range b.Status.Conditions {
		if c.Type == v1alpha1.ConditionSpendMeasured && c.Status == metav1.ConditionFalse {
			m.Stale = true
		}
	}
	if next := v1alpha1.PeriodEnd(b.Spec.Period, b.Spec.In(now)); !next.IsZero() {
		m.Resumes = &next
	}
	if contact != "" {
		m.Raise = contact
	} else {
		m.Raise = fmt.Sprintf("Whoever ordered the agent, or the platform team: they raise spec.budgetUsd of the XDatasetAgent %q.", agent)
	}
	return m
}

// SpentText says what was spent, for a page without its script.
func (m Money) SpentText() string {
	spent := "an amount not known yet"
	if m.SpentUSD != nil {
		spent = fmt.Sprintf("$%.2f", *m.SpentUSD)
	}
	return fmt.Sprintf("%s of $%.2f (%s)", spent, m.BudgetUSD, m.Period)
}

// BackText says when there is money again.
func (m Money) BackText() string {
	if m.Resumes == nil {
		return "Not by itself: this budget is for the agent's whole life. It goes on as soon as somebody raises it."
	}
	return m.Resumes.Format("Monday, 2 January 2006, 15:04 MST") + "; sooner if somebody raises it."
}
