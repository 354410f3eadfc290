package chaos

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"whisperops.io/functions/hack/controlplane/suite"
)

var deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}

// A recorder writes the history down.
type recorder struct {
	meter *suite.Meter

	mu      sync.Mutex
	history History
	audited int64             // bytes of the audit log that history.Deletes are from
	lives   map[string]int    // index in history.Lives, by uid
	scales  map[string]Scale  // the last one, by Deployment
	purses  map[string]*purse // by agent
	meters  map[string]*purse // that a budget measured last, by its uid

	called int                         // how many calls were made of the provider
	calls  map[string]call             // under way, by id
	bills  map[string]Picos            // the provider's, ever, by agent
	doubts map[string]map[string]Picos // calls of this order that the meter may not have counted, by agent and id
}

// A purse is what chaos knows of an agent's money, by what it did itself.
type purse struct {
	Money

	order  string // uid of the order; empty while there is none
	budget string // uid of its budget; empty until the first of this order was seen
	base   Picos  // on the meter when it was ordered
	works  bool   // its planner runs
}

func newRecorder(meter *suite.Meter) *recorder {
	return &recorder{
		meter: meter, history: History{ByHand: map[string]bool{}},
		lives: map[string]int{}, scales: map[string]Scale{}, purses: map[string]*purse{}, meters: map[string]*purse{},
		calls: map[string]call{}, bills: map[string]Picos{}, doubts: map[string]map[string]Picos{},
	}
}

// watch records until the context ends. An API server that is away loses
// nothing but time: what changed meanwhile is seen when it is back, and what
// came and went is in its audit log.
func (r *recorder) watch(ctx context.Context, client dynamic.Interface) error {
	factory := dynamicinformer.NewDynamicSharedInformerFactory(client, 0)
	add := func(resource schema.GroupVersionResource, see, gone func(*unstructured.Unstructured)) error {
		_, err := factory.ForResource(resource).Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { see(object(o)) },
			UpdateFunc: func(before, after any) { update(object(before), object(after), see, gone) },
			DeleteFunc: func(o any) { gone(object(o)) },
		})
		return err
	}
	for _, l := range suite.Lived {
		if err := add(l, r.see, r.gone); err != nil {
			return err
		}
	}
	if err := add(deployments, r.scaled, r.unscaled); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	return ctx.Err()
}

// update is what became of an object; another one, if it went and came again while
// nobody could look.
func update(before, after *unstructured.Unstructured, see, gone func(*unstructured.Unstructured)) {
	if before.GetUID() != after.GetUID() {
		gone(before)
	}
	see(after)
}

func object(o any) *unstructured.Unstructured {
	if d, unseen := o.(cache.DeletedFinalStateUnknown); unseen {
		o = d.Obj
	}
	u, isObject := o.(*unstructured.Unstructured)
	if !isObject {
		return &unstructured.Unstructured{Object: map[string]any{}}
	}
	return u
}

func (r *recorder) see(o *unstructured.Unstructured) {
	r.mu.Lock()
	defer r.mu.Unlock()
	uid := string(o.GetUID())
	owner := ""
	if c := metav1.GetControllerOf(o); c != nil {
		owner = string(c.UID)
	}
	i, known := r.lives[uid]
	if !known {
		i = len(r.history.Lives)
		r.history.Lives = append(r.history.Lives, Life{Kind: o.GetKind(), Namespace: o.GetNamespace(), Name: o.GetName(), UID: uid, Born: time.Now()})
		r.lives[uid] = i
	}
	l := &r.history.Lives[i]
	if o.GetDeletionTimestamp() != nil && known {
		r.doom(i) // with the owner it had until now
	}
	if owner != "" && l.Owner != owner {
		l.Owner = owner
		r.measured(*l)
	}
	if o.GetDeletionTimestamp() != nil {
		r.doom(i)
	}
}

// measured notes the budget that measures an order. One that is made anew enforces,
// whatever the last one did. One that Kubernetes had not yet deleted with the last
// order of that name is taken over by the next, with whether it enforces; but the next
// opens it anew, and owes nothing for the last.
func (r *recorder) measured(l Life) {
	p := r.purses[l.Name]
	if l.Kind != "XAgentBudget" || p == nil || p.order == "" || l.Owner != p.order {
		return
	}
	p.budget = l.UID
	enforced := true
	if last := r.meters[l.UID]; last != nil {
		enforced = last.Enforced
	}
	r.meters[l.UID] = p
	r.spent(p, func(m *Money) { m.Enforced = enforced })
}

func (r *recorder) gone(o *unstructured.Unstructured) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i, known := r.lives[string(o.GetUID())]; known {
		r.doom(i)
	}
}

func (r *recorder) doom(i int) {
	if l := &r.history.Lives[i]; l.Doomed.IsZero() {
		l.Doomed, l.Condemned = time.Now(), l.Owner
	}
}

// deploymentOf returns the agent whose planner or worker a Deployment is.
func deploymentOf(o *unstructured.Unstructured) (agent string, is bool) {
	agent, is = strings.CutPrefix(o.GetNamespace(), "agent-")
	return agent, is && (o.GetName() == "planner" || o.GetName() == "worker")
}

func (r *recorder) scaled(o *unstructured.Unstructured) {
	agent, is := deploymentOf(o)
	if !is {
		return
	}
	n, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
	available, _, _ := unstructured.NestedInt64(o.Object, "status", "availableReplicas")
	s := Scale{At: time.Now(), Agent: agent, Deployment: o.GetName(), Replicas: n, Ours: strings.HasPrefix(setter(o), "provider-kubernetes/")}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.purses[agent]; p != nil && s.Deployment == "planner" {
		p.works = available > 0
	}
	key := agent + "/" + s.Deployment
	if last, known := r.scales[key]; known && last.Replicas == s.Replicas && last.Ours == s.Ours {
		return
	}
	r.scales[key] = s
	r.history.Scales = append(r.history.Scales, s)
}

func (r *recorder) unscaled(o *unstructured.Unstructured) {
	agent, is := deploymentOf(o)
	if !is {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.scales, agent+"/"+o.GetName())
	if p := r.purses[agent]; p != nil && o.GetName() == "planner" {
		p.works = false
	}
}

// setter is who set a Deployment's replicas last, by the API server's own account.
func setter(o *unstructured.Unstructured) string {
	who, at := "", time.Time{}
	for _, m := range o.GetManagedFields() {
		if m.FieldsV1 == nil || m.Subresource == "status" || !strings.Contains(string(m.FieldsV1.Raw), `"f:replicas"`) {
			continue
		}
		if m.Time == nil || !m.Time.Time.Before(at) {
			who = m.Manager
			if m.Time != nil {
				at = m.Time.Time
			}
		}
	}
	return who
}

// spent writes down what holds of an agent's money from now on.
func (r *recorder) spent(p *purse, change func(*Money)) {
	change(&p.Money)
	p.At, p.Spent, p.Doubt = time.Now(), r.truth(p.Agent)-p.base, 0
	for _, d := range r.doubts[p.Agent] {
		p.Doubt += d
	}
	r.history.Money = append(r.history.Money, p.Money)
	p.New = false
}

// What a token costs: that of the price table which chaos applies.
const (
	inputPicos  Picos = 1_250_000
	outputPicos Picos = 10_000_000
)

const priceTable = `
apiVersion: v1
kind: ConfigMap
metadata: {name: whisperops-pricing, namespace: crossplane-system}
data:
  prices.yaml: |
    models:
      ` + suite.Model + `: {input: "1.25", output: "10.00"}
`

// truth is what an agent has used, ever.
func (r *recorder) truth(agent string) Picos {
	return r.bills[agent] + Picos(r.meter.Total(agent, suite.Model, suite.Input))*inputPicos + Picos(r.meter.Total(agent, suite.Model, suite.Output))*outputPicos
}

// working is the purse of an agent that runs, or nil: its planner doesn't, or there
// is no budget yet whose birth is when counting begins.
func (r *recorder) working(agent string) *purse {
	p := r.purses[agent]
	if p == nil || !p.works || p.order == "" || p.budget == "" {
		return nil
	}
	return p
}

// work lets an agent that runs use tokens. It returns false if none runs.
func (r *recorder) work(agent string, input, output float64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.working(agent)
	if p == nil {
		return false
	}
	r.meter.Spend(agent, suite.Model, suite.Input, input)
	r.meter.Spend(agent, suite.Model, suite.Output, output)
	r.spent(p, func(*Money) {})
	return true
}

// workAll lets all agents that run spend something each second.
func (r *recorder) workAll(ctx context.Context, spend func(agent string)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		r.mu.Lock()
		agents := make([]string, 0, len(r.purses))
		for a := range r.purses {
			agents = append(agents, a)
		}
		r.mu.Unlock()
		for _, a := range agents {
			spend(a)
		}
	}
}

// ordered begins the account of an order; it owes nothing for earlier ones of its name.
func (r *recorder) ordered(agent, uid string, usd float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &purse{order: uid, base: r.truth(agent), Money: Money{Agent: agent, Enforced: true, New: true, Cap: inPicos(usd)}}
	if d, there := r.scales[agent+"/planner"]; there {
		p.works = d.Replicas > 0
	}
	r.purses[agent] = p
	clear(r.doubts[agent]) // the last order's
	r.spent(p, func(*Money) {})
	// The budget may have been quicker than the answer to who ordered.
	for _, l := range r.history.Lives {
		if l.Owner == uid {
			r.measured(l)
		}
	}
}

// byHand notes that chaos deletes something; before it does, because whoever is
// killed within a request answers nothing.
func (r *recorder) byHand(uid string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.history.ByHand[uid] = true
	for _, p := range r.purses {
		if p.order == uid {
			p.order, p.budget = "", "" // works no more
		}
	}
}

// changed notes what chaos does to an agent's money.
func (r *recorder) changed(agent string, change func(*Money)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.purses[agent]; p != nil {
		r.spent(p, change)
	}
}

// orders are the agents that are ordered now, with their money.
func (r *recorder) orders() map[string]Money {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]Money{}
	for a, p := range r.purses {
		if p.order != "" {
			out[a] = p.Money
		}
	}
	return out
}

// copy is the history so far, with what the audit log says.
func (r *recorder) copy(auditLog string) (History, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var err error
	r.audited, err = suite.ReadAudit(auditLog, r.audited, func(q suite.Request) {
		if q.Stage == "RequestReceived" {
			r.history.Deletes = append(r.history.Deletes, Delete{
				At: q.At, User: q.User.Username, Group: q.Object.APIGroup, Resource: q.Object.Resource, Namespace: q.Object.Namespace, Subject: q.Object.Name,
			})
		}
	})
	return History{
		Lives: slices.Clone(r.history.Lives), ByHand: maps.Clone(r.history.ByHand),
		Scales: slices.Clone(r.history.Scales), Money: slices.Clone(r.history.Money), Deletes: slices.Clone(r.history.Deletes),
	}, err
}
