// Package fetchspend is the step "fetch-spend" of the budget pipeline: it counts
// what an agent has spent on tokens, from the raw samples of its counters in
// Prometheus or Mimir. It is the only step that talks to a network. What it finds
// it leaves in the context; it writes no status, and it is never fatal for what a
// server or a price table does.
package fetchspend

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/internal/pricing"
)

// requirePricing is the key under which the price table is asked for.
const requirePricing = "pricing"

// patience is how long all queries of one look may take. A reconcile has two
// minutes, and what was counted is lost if the steps after this one don't get
// their turn.
const patience = 90 * time.Second

// A station is the step with its clock and its way to a server.
type station struct {
	now     func() time.Time
	connect func(query.Server) (query.Querier, error)
	tables  *tables
	resting *Resting
	answers *answers
}

// New returns the step.
func New(log logging.Logger) *edge.Function {
	return NewWith(log, time.Now, (&query.Connections{}).Connect)
}

// NewWith returns the step with a clock and a way to its server of its own, for
// tests and stories.
func NewWith(log logging.Logger, now func() time.Time, connect func(query.Server) (query.Querier, error)) *edge.Function {
	return edge.New(log, station{now: now, connect: connect, tables: &tables{}, resting: &Resting{}, answers: &answers{}}.run)
}

// budget is the part of an XAgentBudget that this step reads. A ledger that is
// broken is one that is lost, so it is decoded apart.
type budget struct {
	metav1.ObjectMeta `json:"metadata"`

	Spec   v1alpha1.XAgentBudgetSpec `json:"spec"`
	Status json.RawMessage           `json:"status"`
}

func (b budget) bill() []v1alpha1.BillLine {
	var status struct {
		Bill []v1alpha1.BillLine `json:"bill"`
	}
	if json.Unmarshal(b.Status, &status) != nil {
		return nil
	}
	return status.Bill
}

func (b budget) ledger() *v1alpha1.Ledger {
	var status struct {
		Ledger json.RawMessage `json:"ledger"`
	}
	l := &v1alpha1.Ledger{}
	if json.Unmarshal(b.Status, &status) != nil || json.Unmarshal(status.Ledger, l) != nil {
		return nil
	}
	return l
}

// run counts what the agent has spent.
func (s station) run(c *edge.Call) error {
	if s.again(c) {
		return nil
	}
	in := &input.FetchSpendInput{}
	if err := c.Input(in); err != nil {
		return err
	}
	settings, err := ReadSettings(in)
	if err != nil {
		return err
	}
	xr := &budget{}
	if err := c.CompositeInto(xr); err != nil {
		return err
	}
	if err := xr.Spec.Validate(); err != nil {
		return errors.Wrap(err, "cannot use budget")
	}

	if ok, why := v1alpha1.BudgetAtHome(xr.GetNamespace(), xr.GetName(), xr.Spec.AgentName); !ok {
		return c.SetContext(v1alpha1.ContextSpendProblem, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonNamespaceRefused, Message: why})
	}
	table := xr.Spec.PricingRef.OrDefault()
	if !input.Allows(append(slices.Clone(in.PricingNamespaces), xr.GetNamespace()), table.Namespace) {
		// The same words whatever is there: a price table is no way to look around.
		return leave(c, Outcome{NextLook: settings.MaxLook, Problem: &v1alpha1.SpendProblem{
			Reason:  v1alpha1.ReasonPricingNotAllowed,
			Message: "spec.pricingRef names namespace " + quote(table.Namespace) + ", where price tables may not lie: they may in " + strings.Join(in.PricingNamespaces, ", ") + ", and in the budget's own",
		}})
	}
	require(c, table)
	found, resolved := c.Required(requirePricing)
	if !resolved {
		// Crossplane calls again with the answer; asking the server now would ask
		// it twice in every reconcile.
		return nil
	}

	facts := Facts{
		Now:      s.now(),
		Settings: settings,
		Budget:   xr.Spec,
		Created:  xr.GetCreationTimestamp().Time,
		Ledger:   xr.ledger(),
		Bill:     xr.bill(),
	}
	if !facts.begins() {
		return leave(c, Outcome{NextLook: settings.MaxLook, Problem: &v1alpha1.SpendProblem{
			Reason:  v1alpha1.ReasonNoBeginning,
			Message: "Nothing says from when tokens count: there is no metadata.creationTimestamp, which every object in a cluster has, and neither status.ledger nor spec.opening. If you render by hand, add one of them to the file",
		}})
	}
	facts.Prices, facts.PriceProblem = s.prices(found, table)
	srv, err := server(c, in.Prometheus, settings)
	if err != nil {
		return leave(c, Outcome{Problem: problemOf(err), NextLook: min(waiting, settings.MaxLook)})
	}
	facts.Resting, facts.Server = s.resting, fingerprint(srv)
	o, rest := s.measure(c, srv, facts)
	o.Problem = named(o.Problem, settings.URL)
	if err := leave(c, o); err != nil {
		return err
	}
	return s.keep(c, in, facts, o, rest, srv)
}

// require asks for a price table.
func require(c *edge.Call, table v1alpha1.PricingReference) {
	c.Require(requirePricing, &fnv1.ResourceSelector{
		ApiVersion: "v1",
		Kind:       "ConfigMap",
		Match:      &fnv1.ResourceSelector_MatchName{MatchName: table.Name},
		Namespace:  &table.Namespace,
	})
}

// named says of what a server did which server it was: whoever reads it at night must
// not have to look for the Composition first. What else the address holds, such as a
// password, stays out.
func named(p *v1alpha1.SpendProblem, address string) *v1alpha1.SpendProblem {
	switch {
	case p == nil:
		return nil
	case !slices.Contains([]string{
		v1alpha1.ReasonPrometheusUnreachable, v1alpha1.ReasonQueryFailed, v1alpha1.ReasonQueryTimedOut, v1alpha1.ReasonUnauthorized, v1alpha1.ReasonPartialAnswer,
		v1alpha1.ReasonBadAnswer, v1alpha1.ReasonTooManySamples, v1alpha1.ReasonNamesRefused, v1alpha1.ReasonSamplesVanished,
	}, p.Reason):
		return p
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return p
	}
	at := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return &v1alpha1.SpendProblem{Reason: p.Reason, Message: p.Message + " (Prometheus at " + at.String() + ")"}
}

// begins says whether it is known from when samples count. An XR that was only rendered
// may have no beginning, and a figure of 0 would look like an answer.
func (f Facts) begins() bool {
	return !f.Created.IsZero() || f.Ledger != nil || f.Budget.Opening != nil
}

// prices reads the price table that Crossplane found, or says why there is none.
func (s station) prices(found []edge.Part, ref v1alpha1.PricingReference) (*pricing.Table, *v1alpha1.SpendProblem) {
	table := "ConfigMap " + quote(ref.Namespace+"/"+ref.Name)
	if len(found) == 0 {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonPricingNotFound, Message: table + ", the price table that spec.pricingRef names, does not exist"}
	}
	v, isText := found[0].Value("data", v1alpha1.PricingKey).GetKind().(*structpb.Value_StringValue)
	if found[0].Value("binaryData", v1alpha1.PricingKey) != nil && !isText {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonPricingInvalid, Message: table + " has " + v1alpha1.PricingKey + " in binaryData: save the file as UTF-8, and make it anew"}
	}
	if !isText {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonPricingInvalid, Message: table + " has no key " + v1alpha1.PricingKey + others(found[0])}
	}
	t, err := s.tables.Read(v.StringValue)
	if err != nil {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonPricingInvalid, Message: v1alpha1.PricingKey + " of " + table + " can't be used: " + err.Error()}
	}
	return t, nil
}

// others names the keys that a ConfigMap has instead, of which one is misspelled. What isn't
// about prices is nobody's business who may only name a price table.
func others(cm edge.Part) string {
	var names []string
	for _, in := range []string{"data", "binaryData"} {
		for k := range cm.Value(in).GetStructValue().GetFields() {
			if strings.Contains(strings.ToLower(k), "pric") {
				names = append(names, quote(short(k)))
			}
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	if len(names) > 3 {
		names = append(names[:3], "more")
	}
	return ", but " + strings.Join(names, ", ") + ": the table must stand under that name"
}

func (s station) measure(c *edge.Call, srv query.Server, facts Facts) (Outcome, *proven) {
	q, err := s.connect(srv)
	if err != nil {
		return Outcome{Problem: problemOf(err), NextLook: min(waiting, facts.Settings.MaxLook)}, nil
	}
	ctx, cancel := context.WithTimeout(c.Ctx, patience)
	defer cancel()
	return facts.measure(ctx, q)
}

// server is the one that the input names.
func server(c *edge.Call, in input.Prometheus, set Settings) (query.Server, error) {
	srv := query.Server{
		URL:     set.URL,
		Tenant:  set.Tenant,
		CA:      in.CABundle,
		Timeout: set.Timeout,
	}
	if n := in.CredentialsName; n != "" {
		held, ok := c.Req.GetCredentials()[n]
		if !ok {
			return srv, query.Problem{Reason: v1alpha1.ReasonCredentialsMissing, Message: "The pipeline step has no credentials named " + quote(n) + ", as prometheus.credentialsName says"}
		}
		data := held.GetCredentialData().GetData()
		srv.Token, srv.Username, srv.Password = text(data["token"]), text(data["username"]), text(data["password"])
		if srv.Token == "" && srv.Username == "" && len(data["ca.crt"]) == 0 {
			return srv, query.Problem{Reason: v1alpha1.ReasonCredentialsMissing, Message: "The credentials " + quote(n) + " hold neither token nor username and password"}
		}
		srv.CA += string(data["ca.crt"])
	}
	return srv, nil
}

// leave writes an outcome to the context.
func leave(c *edge.Call, o Outcome) error {
	c.LookAgain(o.NextLook)
	if o.Ledger != nil {
		if err := c.SetContext(v1alpha1.ContextLedger, o.Ledger); err != nil {
			return err
		}
	}
	if o.Measurement.Period != "" {
		if err := c.SetContext(v1alpha1.ContextMeasurement, o.Measurement); err != nil {
			return err
		}
	}
	if o.Problem != nil {
		c.Log.Debug("Could not measure spend", "reason", o.Problem.Reason)
		return c.SetContext(v1alpha1.ContextSpendProblem, o.Problem)
	}
	if err := c.SetContext(v1alpha1.ContextWindowSec, o.Window.Seconds()); err != nil {
		return err
	}
	return c.SetContext(v1alpha1.ContextSpendUSD, o.Spent.Float())
}

// text is a value of a Secret, without the newline that editors leave.
func text(b []byte) string { return strings.TrimSpace(string(b)) }
