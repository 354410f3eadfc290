// Package renderdashboard is the step "render-dashboard" of the XDatasetAgent
// pipeline: it renders the agent's Grafana dashboard, one ConfigMap in an Object
// of provider-kubernetes.
package renderdashboard

import (
	"context"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/fn/internal/manifest"
)

// Function renders an agent's dashboard.
type Function struct {
	fnv1.UnimplementedFunctionRunnerServiceServer

	log logging.Logger
}

// New returns the step.
func New(log logging.Logger) *Function { return &Function{log: log} }

// RunFunction runs the step. It never returns an error: a failure is a fatal
// result.
func (f *Function) RunFunction(_ context.Context, req *fnv1.RunFunctionRequest) (*fnv1.RunFunctionResponse, error) {
	return edge.Run(f.log, req, func(rsp *fnv1.RunFunctionResponse) error { return f.run(req, rsp) }), nil
}

func (f *Function) run(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) error {
	xr, err := edge.Agent(req)
	if err != nil {
		return err
	}
	in := input.RenderDashboardInput{}
	if err := edge.Input(req, &in); err != nil {
		return err
	}
	dataset, err := edge.Dataset(req)
	if err != nil {
		return err
	}
	if dataset != nil {
		in.DashboardsNamespace = namespace(edge.Observed(req, v1alpha1.PartDashboard), in.DashboardsNamespace)
		parts := map[string]manifest.Object{v1alpha1.PartDashboard: Render(Agent{
			Name:        xr.Spec.AgentName,
			Description: manifest.Plain(xr.Spec.Description, 500), // people read it as it is
			BaseDomain:  edge.BaseDomain(req, xr.Spec.BaseDomain),
			BudgetUSD:   xr.Spec.BudgetUSD,
			Input:       in,
		})}
		if err := edge.AddComposed(req, rsp, parts); err != nil {
			return err
		}
	}
	return edge.NothingLost(req, rsp, "there is no dataset, so the agent's dashboard has nothing to show", v1alpha1.PartDashboard)
}

// namespace keeps a ConfigMap where it is: an input that was changed since is for
// new agents. The provider would make a second one and forget the first, and two
// dashboards of one uid stop Grafana importing any. What was never made, because
// its namespace isn't there, goes where the input says now.
func namespace(dashboard edge.Part, chosen string) string {
	if at := dashboard.String("status", "atProvider", "manifest", "metadata", "namespace"); at != "" {
		return at
	}
	return chosen
}
