package simulation

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/decide"
	"whisperops.io/functions/fn/budget/fetchspend"
	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/pipeline"
)

// AgentName is the agent of every world.
const AgentName = "housing-bot"

const namespace = "agent-" + AgentName

// Prices of every world.
const Prices = `models:
  gemini-2.5-flash: {input: "0.30", output: "2.50", cachedInput: "0.03"}
  gemini-2.5-pro: {input: "1.25", output: "10.00", cachedInput: "0.125"}
  gemini-2.0-flash-lite: {input: "0.075", output: "0.30"}
`

// A ControlPlane is what Crossplane, the API server and provider-kubernetes do
// for one budget. It runs the real Composition with the real functions. What
// status its reader sees, and whether a write arrives, is up to the test.
type ControlPlane struct {
	Now     time.Time // the clock of every function
	Created time.Time // of the budget
	Prices  string    // the price table; "": its ConfigMap doesn't exist

	store   *Store
	steps   []crossplane.Step
	objects map[string]map[string]any // that are composed, by composed resource name

	// Replicas of the planner's and the worker's Deployment, by the Object that
	// may scale it.
	Replicas map[string]float64
}

// composition is parsed once: there are thousands of worlds.
var composition = sync.OnceValues(func() ([]crossplane.Step, error) {
	return pipeline.Budget(pipeline.All())
})

// NewControlPlane returns one whose meter asks a store. inputs replace those of
// the Composition, by step.
func NewControlPlane(store *Store, created time.Time, inputs map[string]map[string]any) (*ControlPlane, error) {
	c := &ControlPlane{
		Created: created, Prices: Prices, store: store,
		objects:  map[string]map[string]any{},
		Replicas: map[string]float64{v1alpha1.PartPlannerReplicas: 1, v1alpha1.PartWorkerReplicas: 1},
	}
	steps, err := composition()
	if err != nil {
		return nil, err
	}
	c.steps = slices.Clone(steps)
	for i := range c.steps {
		if in := inputs[c.steps[i].Name]; in != nil {
			c.steps[i].Input = in
		}
	}
	c.Restart()
	return c, nil
}

// EndWith leaves out the steps after one: what they do costs time and counts
// nothing.
func (c *ControlPlane) EndWith(step string) {
	c.steps = c.steps[:1+slices.IndexFunc(c.steps, func(s crossplane.Step) bool { return s.Name == step })]
}

// Restart replaces the functions that have a clock by new ones, which remember
// nothing.
func (c *ControlPlane) Restart() {
	clock := func() time.Time { return c.Now }
	log := logging.NewNopLogger()
	for i := range c.steps {
		switch c.steps[i].Name {
		case "fetch-spend":
			c.steps[i].Function = fetchspend.NewWith(log, clock, func(query.Server) (query.Querier, error) { return c.store, nil })
		case "decide":
			c.steps[i].Function = decide.NewAt(log, clock)
		}
	}
}

// Reconcile runs the pipeline once for a budget with a status, and applies what
// it renders. It returns what it answers and the status that it would write.
func (c *ControlPlane) Reconcile(ctx context.Context, spec, status map[string]any) (*crossplane.Result, map[string]any, error) {
	xr := map[string]any{
		"apiVersion": "whisperops.io/v1alpha1", "kind": "XAgentBudget",
		"metadata": map[string]any{"name": AgentName, "namespace": namespace, "creationTimestamp": c.Created.UTC().Format(time.RFC3339)},
		"spec":     spec,
	}
	if status != nil {
		xr["status"] = status
	}
	observed, err := crossplane.Observed(xr, slices.Collect(maps.Values(c.objects)), nil)
	if err != nil {
		return nil, nil, err
	}
	var cluster []map[string]any
	if c.Prices != "" {
		cluster = []map[string]any{{
			"apiVersion": "v1", "kind": "ConfigMap",
			"metadata": map[string]any{"name": "whisperops-pricing", "namespace": "crossplane-system"},
			"data":     map[string]any{"prices.yaml": c.Prices},
		}}
	}
	r, err := crossplane.Run(ctx, c.steps, observed, cluster, nil)
	if err != nil || r.Fatal != "" {
		return r, nil, err
	}
	c.apply(r)
	return r, statusOf(r), nil
}

// apply does what Crossplane does with composed resources before it writes a
// status, and then what provider-kubernetes does with the Objects.
func (c *ControlPlane) apply(r *crossplane.Result) {
	c.objects = map[string]map[string]any{}
	for name, d := range r.Desired.GetResources() {
		o := d.GetResource().AsMap()
		meta := into(o, "metadata")
		into(meta, "annotations")[crossplane.NameAnnotation] = name
		if may, _ := into(o, "spec")["managementPolicies"].([]any); slices.Contains(may, any("Update")) {
			c.Replicas[name], _ = into(into(into(into(o, "spec"), "forProvider"), "manifest"), "spec")["replicas"].(float64)
		}
		o["status"] = map[string]any{
			"conditions": []any{map[string]any{"type": "Synced", "status": "True"}, map[string]any{"type": "Ready", "status": "True"}},
			"atProvider": map[string]any{"manifest": map[string]any{"spec": map[string]any{"replicas": c.Replicas[name]}}},
		}
		c.objects[name] = o
	}
}

// into returns a map within a map, and makes it if it isn't there.
func into(o map[string]any, key string) map[string]any {
	m, ok := o[key].(map[string]any)
	if !ok {
		m = map[string]any{}
		o[key] = m
	}
	return m
}

// Running says whether any caller of the model is up.
func (c *ControlPlane) Running() bool {
	for _, n := range c.Replicas {
		if n > 0 {
			return true
		}
	}
	return false
}

// statusOf is the status that Crossplane would write.
func statusOf(r *crossplane.Result) map[string]any {
	status := r.Desired.GetComposite().GetResource().GetFields()["status"].GetStructValue().AsMap()
	words := map[fnv1.Status]string{fnv1.Status_STATUS_CONDITION_TRUE: "True", fnv1.Status_STATUS_CONDITION_FALSE: "False"}
	var conditions []any
	for _, c := range r.Conditions {
		word := words[c.GetStatus()]
		if word == "" {
			word = "Unknown"
		}
		conditions = append(conditions, map[string]any{"type": c.GetType(), "status": word, "reason": c.GetReason(), "message": c.GetMessage()})
	}
	status["conditions"] = conditions
	return status
}
