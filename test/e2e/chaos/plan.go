package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Verb is what an Act does.
type Verb string

// What is done to an agent, to a dataset, and to a process.
const (
	Order       Verb = "order"        // the order is made, or made again
	Drop        Verb = "drop"         // the order is deleted
	SetBudget   Verb = "set-budget"   // the order's budget becomes USD
	MonitorOnly Verb = "monitor-only" // the budget measures and never cuts
	Enforce     Verb = "enforce"      // the budget cuts again
	Burst       Verb = "burst"        // a running agent uses tokens for USD at once
	Swap        Verb = "swap"         // the order names another dataset
	DeletePart  Verb = "delete-part"  // a part is deleted by hand
	ScaleUp     Verb = "scale-up"     // planner and worker are scaled to 1 by hand
	WipeOrder   Verb = "wipe-order"   // the order's status is lost, as after a restore
	WipeBudget  Verb = "wipe-budget"  // the budget's status is lost, its ledger with it
	WipePart    Verb = "wipe-part"    // the status of a part is lost

	Vanish Verb = "vanish" // the XDataset is deleted
	Appear Verb = "appear" // and made again

	Kill  Verb = "kill"  // the process ends as in a crash, and is started again
	Pause Verb = "pause" // the process stands still, and goes on
)

// An Act is one thing that chaos does.
type Act struct {
	At     time.Duration // after the first
	Verb   Verb
	Target string // an agent, a dataset, or a process of Processes

	USD     float64       // of SetBudget, Order and Burst; whole cents
	Dataset string        // of Order and Swap
	Part    string        // of DeletePart and WipePart: its composed name
	For     time.Duration // of Kill and Pause
}

// String is a line of the plan.
func (a Act) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%7.1fs %-12s %s", a.At.Seconds(), a.Verb, a.Target)
	if a.Part != "" {
		b.WriteString(" " + a.Part)
	}
	if a.Dataset != "" {
		b.WriteString(" dataset=" + a.Dataset)
	}
	if a.USD != 0 {
		fmt.Fprintf(&b, " usd=%.2f", a.USD)
	}
	if a.For != 0 {
		fmt.Fprintf(&b, " for=%.1fs", a.For.Seconds())
	}
	return b.String()
}

// A Case is what a plan is made from.
type Case struct {
	Seed   uint64
	Length time.Duration
	Agents int
}

// String is how to run the case again.
func (c Case) String() string {
	return fmt.Sprintf("make chaos SEED=%d MINUTES=%g AGENTS=%d", c.Seed, c.Length.Minutes(), c.Agents)
}

// A Process that chaos ends and pauses: by the name it has in the stack, or, of a
// function or provider, by the name of its package.
type Process struct {
	Name string
	// Away is how long it may be down or still.
	Away time.Duration
}

// Processes are all processes of the stack. Those that everything waits for are
// away shortly, so that something happens between.
var Processes = []Process{
	{Name: "etcd", Away: 6 * time.Second},
	{Name: "kube-apiserver", Away: 8 * time.Second},
	{Name: "kube-controller-manager", Away: 30 * time.Second},
	{Name: "crossplane", Away: 20 * time.Second},
	{Name: "rbac-manager", Away: 30 * time.Second},
	{Name: "provider-kubernetes", Away: 30 * time.Second},
	{Name: "provider-gcp-storage", Away: 30 * time.Second},
	{Name: "provider-gcp-cloudplatform", Away: 30 * time.Second},
	{Name: "cluster", Away: 20 * time.Second},
	{Name: "prometheus", Away: 45 * time.Second},
	{Name: "token-meter-1", Away: 15 * time.Second},
	{Name: "token-meter-2", Away: 15 * time.Second},
	{Name: "function-xda-validate-dataset", Away: 15 * time.Second},
	{Name: "function-xda-compute-tuning", Away: 15 * time.Second},
	{Name: "function-xda-render-iam", Away: 15 * time.Second},
	{Name: "function-xda-render-workloads", Away: 15 * time.Second},
	{Name: "function-xda-render-dashboard", Away: 15 * time.Second},
	{Name: "function-xda-emit-budget", Away: 15 * time.Second},
	{Name: "function-budget-fetch-spend", Away: 15 * time.Second},
	{Name: "function-budget-decide", Away: 15 * time.Second},
	{Name: "function-budget-render", Away: 15 * time.Second},
	{Name: "function-auto-ready", Away: 15 * time.Second},
}

// longestAway is how old a decision may be that a process acts on when it goes on.
var longestAway = slices.MaxFunc(Processes, func(a, b Process) int { return int(a.Away - b.Away) }).Away

// Datasets that exist when chaos begins. The last lies in a bucket of its own, to
// which a live agent can't move.
var Datasets = []string{"houses", "passengers", "wines", "elsewhere"}

const (
	sharedBucket = "acme-data-datasets"
	otherBucket  = "acme-data-elsewhere"
)

// bucketOf is where a dataset lies.
func bucketOf(dataset string) string {
	if dataset == Datasets[len(Datasets)-1] {
		return otherBucket
	}
	return sharedBucket
}

// deletable are the parts that are deleted by hand: Objects, the budget, and what
// holds the key. Not the namespace: with it goes all that is in it, parts among
// it, and nothing could be told from loss any more.
var deletable = []string{
	"prompts", "networkpolicy", "modelconfig", "agent-planner", "agent-worker", "sandbox-deployment", "sandbox-service",
	"sandbox-mcpserver", "chat-frontend-sa", "chat-frontend-rolebinding", "chat-frontend-deployment", "chat-frontend-service",
	"chat-frontend-ingress", "kyverno-policy", "dashboard", "sa-key", "planner-replicas", "worker-replicas", budgetPart, budgetPart, budgetPart,
}

const budgetPart = "xagentbudget"

// wipeable are parts whose status is lost.
var wipeable = []string{"namespace", "bucket", "sa", "sa-key", "agent-planner", "agent-worker", "planner-replicas", "worker-replicas", "sandbox-deployment"}

// AgentName is the name of the i-th agent.
func AgentName(i int) string { return fmt.Sprintf("bot-%02d", i) }

// forgets says whether an agent is one whose order may lose its status. Such an
// agent's budget is never deleted: spend that neither of the two remembers is
// gone, and nobody promised otherwise.
func forgets(agent int) bool { return agent%2 == 1 }

// A planner makes a plan.
type planner struct {
	*rand.Rand

	c    Case
	acts []Act
}

// Plan says what chaos does in a case, in the order of time. It is a pure
// function: a plan that is made again is the same.
func Plan(c Case) []Act {
	p := &planner{c: c, Rand: rand.New(rand.NewPCG(c.Seed, 0x6368616f73))}
	p.agents()
	p.datasets()
	p.processes()
	slices.SortStableFunc(p.acts, func(a, b Act) int { return int(a.At - b.At) })
	return p.acts
}

func (p *planner) add(a Act) { p.acts = append(p.acts, a) }

// between returns a time from low to high, in whole milliseconds.
func (p *planner) between(low, high time.Duration) time.Duration {
	return low + time.Duration(p.Int64N(int64((high-low)/time.Millisecond)+1))*time.Millisecond
}

// usd returns an amount from low to high, in whole tenths: what a token costs
// divides it (unit).
func (p *planner) usd(low, high int) float64 { return float64(low+p.IntN(high-low+1)) / 10 }

// usual are the datasets that a live agent can move between.
func (p *planner) usual() string { return Datasets[p.IntN(len(Datasets)-1)] }

// agents orders all agents one after the other, and then picks one of them every
// now and then, more often the more there are.
func (p *planner) agents() {
	type state struct {
		since   time.Duration
		budget  float64
		dropped bool
	}
	agents := make([]state, p.c.Agents)
	order := func(i int, at time.Duration) {
		agents[i] = state{since: at, budget: p.usd(5, 30)}
		p.add(Act{At: at, Verb: Order, Target: AgentName(i), USD: agents[i].budget, Dataset: p.usual()})
	}
	begin := min(p.c.Length/4, 3*time.Minute)
	for i := range agents {
		order(i, begin*time.Duration(i)/time.Duration(p.c.Agents))
	}
	const settled = 30 * time.Second // so long an order is left alone, or away
	pause := 20 * time.Second / time.Duration(p.c.Agents)
	for at := settled; at < p.c.Length; at += p.between(pause/2, 3*pause/2) {
		i := p.IntN(len(agents))
		a, name := &agents[i], AgentName(i)
		if at < a.since+settled {
			continue
		}
		if a.dropped {
			order(i, at)
			continue
		}
		act := Act{At: at, Target: name}
		switch n := p.IntN(100); {
		case n < 32:
			act.Verb, act.USD = Burst, p.usd(1, 15)
		case n < 42:
			a.budget = min(10_000, a.budget+p.usd(5, 30))
			act.Verb, act.USD = SetBudget, a.budget
		case n < 49:
			a.budget = p.usd(1, 10)
			act.Verb, act.USD = SetBudget, a.budget
		case n < 53:
			act.Verb = MonitorOnly
		case n < 61:
			act.Verb = Enforce
		case n < 67:
			act.Verb, act.Dataset = Swap, Datasets[p.IntN(len(Datasets))]
		case n < 79:
			act.Verb, act.Part = DeletePart, deletable[p.IntN(len(deletable))]
			if act.Part == budgetPart && forgets(i) {
				act.Part, act.Verb = "", WipeOrder
			}
		case n < 85:
			act.Verb = ScaleUp
		case n < 91:
			if act.Verb = WipeBudget; forgets(i) && p.IntN(2) == 0 {
				act.Verb = WipeOrder
			}
		case n < 95:
			act.Verb, act.Part = WipePart, wipeable[p.IntN(len(wipeable))]
		case at+2*settled > p.c.Length:
			continue // too late to be made again
		default:
			act.Verb = Drop
			a.dropped, a.since = true, at-p.between(0, settled)
		}
		p.add(act)
	}
}

// datasets come and go, one at a time.
func (p *planner) datasets() {
	for at := p.between(20*time.Second, 40*time.Second); at < p.c.Length; at += p.between(10*time.Second, 30*time.Second) {
		d := Datasets[p.IntN(len(Datasets))]
		p.add(Act{At: at, Verb: Vanish, Target: d})
		at += p.between(2*time.Second, 30*time.Second)
		p.add(Act{At: at, Verb: Appear, Target: d})
	}
}

// processes are ended and paused in turn, in an order that is shuffled each
// round, so that each has its turn; up to three are away at once.
func (p *planner) processes() {
	var deck []Process
	free := map[string]time.Duration{}
	for at := 15 * time.Second; at < p.c.Length; at += p.between(2*time.Second, 8*time.Second) {
		if len(deck) == 0 {
			deck = slices.Clone(Processes)
			p.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		v := deck[0]
		deck = deck[1:]
		away := 0
		for _, until := range free {
			if until > at {
				away++
			}
		}
		if away >= 3 || free[v.Name] > at {
			deck = append(deck, v)
			continue
		}
		a := Act{At: at, Verb: Kill, Target: v.Name, For: p.between(0, v.Away)}
		if p.IntN(3) == 0 {
			a.Verb = Pause
		}
		free[v.Name] = at + a.For + 5*time.Second // it also has to start
		p.add(a)
	}
}
