// Package fetchspend is the step "fetch-spend" of the budget pipeline: it counts
// what an agent has spent on tokens, from the raw samples of its counters in
// Prometheus or Mimir. It is the only step that talks to a network. What it finds
// it leaves in the context; it writes no status, and it is never fatal for what a
// server or a price table does.
package fetchspend

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/internal/pricing"
)

// requirePricing is the key under which the price table is asked for.
const requirePricing = "pricing"

// pricesKey is the key of the price table in its ConfigMap.
const pricesKey = "prices.yaml"

// patience is how long all queries of one look may take. A reconcile has two
// minutes, and what was counted is lost if the steps after this one don't get
// their turn.
const patience = 90 * time.Second

// Function runs the step.
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log     logging.Logger
	now     func() time.Time
	connect func(query.Server) (query.Querier, error)
}

// New returns the function.
func New(log logging.Logger) *Function {
	return NewWith(log, time.Now, (&query.Connections{}).Connect)
}

// NewWith returns the function with a clock and a way to its server of its own,
// for tests and stories.
func NewWith(log logging.Logger, now func() time.Time, connect func(query.Server) (query.Querier, error)) *Function {
	return &Function{log: log, now: now, connect: connect}
}

// RunFunction counts what the agent in the request has spent.
func (f *Function) RunFunction(ctx context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	return edge.Run(f.log, req, func(rsp *fnv1.RunFunctionResponse) error { return f.run(ctx, req, rsp) }), nil
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

func (f *Function) run(ctx context.Context, req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) error {
	xr := &budget{}
	if err := edge.CompositeInto(req, xr); err != nil {
		return err
	}
	if err := xr.Spec.Validate(); err != nil {
		return errors.Wrap(err, "cannot use budget")
	}
	in := &input.FetchSpendInput{}
	if err := edge.Input(req, in); err != nil {
		return err
	}
	settings, err := ReadSettings(in)
	if err != nil {
		return err
	}

	name, namespace := cmp.Or(xr.Spec.PricingRef.Name, "whisperops-pricing"), cmp.Or(xr.Spec.PricingRef.Namespace, "crossplane-system")
	edge.Require(rsp, requirePricing, &fnv1.ResourceSelector{
		ApiVersion: "v1",
		Kind:       "ConfigMap",
		Match:      &fnv1.ResourceSelector_MatchName{MatchName: name},
		Namespace:  &namespace,
	})
	pricing, resolved := req.GetRequiredResources()[requirePricing]
	if !resolved {
		// Crossplane calls again with the answer; asking the server now would ask
		// it twice in every reconcile.
		return nil
	}

	facts := Facts{
		Now:      f.now(),
		Settings: settings,
		Budget:   xr.Spec,
		Created:  xr.GetCreationTimestamp().Time,
		Ledger:   xr.ledger(),
		Bill:     xr.bill(),
	}
	facts.Prices, facts.PriceProblem = prices(pricing, name, namespace)
	return f.leave(rsp, f.measure(ctx, req, in, facts))
}

// prices reads the price table that Crossplane found, or says why there is none.
func prices(found *fnv1.Resources, name, namespace string) (*pricing.Table, *v1alpha1.SpendProblem) {
	table := "ConfigMap " + quote(namespace+"/"+name)
	if len(found.GetItems()) == 0 {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonPricingNotFound, Message: table + ", the price table that spec.pricingRef names, does not exist"}
	}
	fields := found.GetItems()[0].GetResource().GetFields()
	v, isText := fields["data"].GetStructValue().GetFields()[pricesKey].GetKind().(*structpb.Value_StringValue)
	if _, binary := fields["binaryData"].GetStructValue().GetFields()[pricesKey]; binary && !isText {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonPricingInvalid, Message: table + " has " + pricesKey + " in binaryData: save the file as UTF-8, and make it anew"}
	}
	if !isText {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonPricingInvalid, Message: table + " has no key " + pricesKey}
	}
	t, err := pricing.Read(v.StringValue)
	if err != nil {
		return nil, &v1alpha1.SpendProblem{Reason: v1alpha1.ReasonPricingInvalid, Message: pricesKey + " of " + table + " can't be used: " + err.Error()}
	}
	return t, nil
}

func (f *Function) measure(ctx context.Context, req *fnv1.RunFunctionRequest, in *input.FetchSpendInput, facts Facts) Outcome {
	q, err := f.open(req, in, facts.Settings)
	if err != nil {
		return Outcome{Problem: problemOf(err), NextLook: min(waiting, facts.Settings.MaxLook)}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return Measure(ctx, q, facts)
}

// open returns the server that the input names.
func (f *Function) open(req *fnv1.RunFunctionRequest, in *input.FetchSpendInput, s Settings) (query.Querier, error) {
	srv := query.Server{
		URL:     s.URL,
		Tenant:  s.Tenant,
		CA:      in.Prometheus.CABundle,
		Timeout: s.Timeout,
	}
	if n := in.Prometheus.CredentialsName; n != "" {
		c, ok := req.GetCredentials()[n]
		if !ok {
			return nil, query.Problem{Reason: v1alpha1.ReasonCredentialsMissing, Message: "The pipeline step has no credentials named " + quote(n) + ", as prometheus.credentialsName says"}
		}
		data := c.GetCredentialData().GetData()
		srv.Token, srv.Username, srv.Password = text(data["token"]), text(data["username"]), text(data["password"])
		if srv.Token == "" && srv.Username == "" && len(data["ca.crt"]) == 0 {
			return nil, query.Problem{Reason: v1alpha1.ReasonCredentialsMissing, Message: "The credentials " + quote(n) + " hold neither token nor username and password"}
		}
		srv.CA += string(data["ca.crt"])
	}
	return f.connect(srv)
}

// leave writes an outcome to the context.
func (f *Function) leave(rsp *fnv1.RunFunctionResponse, o Outcome) error {
	rsp.Meta.Ttl = durationpb.New(o.NextLook)
	if o.Ledger != nil {
		if err := edge.SetContext(rsp, v1alpha1.ContextLedger, o.Ledger); err != nil {
			return err
		}
	}
	if o.Measurement.Period != "" {
		if err := edge.SetContext(rsp, v1alpha1.ContextMeasurement, o.Measurement); err != nil {
			return err
		}
	}
	if o.Problem != nil {
		f.log.Debug("Could not measure spend", "reason", o.Problem.Reason)
		return edge.SetContext(rsp, v1alpha1.ContextSpendProblem, o.Problem)
	}
	if err := edge.SetContext(rsp, v1alpha1.ContextWindowSec, o.Window.Seconds()); err != nil {
		return err
	}
	return edge.SetContext(rsp, v1alpha1.ContextSpendUSD, o.Spent.Float())
}

// text is a value of a Secret, without the newline that editors leave.
func text(b []byte) string { return strings.TrimSpace(string(b)) }
