// Package renderdashboard is the step "render-dashboard" of the XDatasetAgent
// pipeline: it renders the agent's Grafana dashboard, one ConfigMap in an Object
// of provider-kubernetes.
package renderdashboard

import (
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/edge"
	"whisperops.io/functions/fn/internal/manifest"
	"whisperops.io/functions/internal/errors"
)

// New returns the step.
func New(log logging.Logger) *edge.Function { return edge.New(log, run) }

func run(c *edge.Call) error {
	in := &input.RenderDashboardInput{}
	xr, dataset, err := c.Ask(in, v1alpha1.UsesAgentName, v1alpha1.UsesBudgetUSD, v1alpha1.UsesBaseDomain)
	if err != nil {
		return err
	}
	if dataset != nil {
		metrics, err := in.Metrics.Resolve(*in.InputContainsCached)
		if err != nil {
			return errors.Wrap(err, "cannot use input: metrics")
		}
		in.DashboardsNamespace = namespace(c.Observed(v1alpha1.PartDashboard), in.DashboardsNamespace)
		parts := map[string]manifest.Object{v1alpha1.PartDashboard: Render(Agent{
			Name:        xr.Spec.AgentName,
			Description: manifest.Plain(xr.Spec.Description, 500), // people read it as it is
			BaseDomain:  c.BaseDomain(xr.Spec.BaseDomain),
			BudgetUSD:   xr.Spec.BudgetUSD,
			Input:       *in,
			Metrics:     metrics,
		})}
		if err := c.AddComposed(parts); err != nil {
			return err
		}
	}
	return c.NothingLost("there is no dataset, so the agent's dashboard has nothing to show", v1alpha1.PartDashboard)
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
