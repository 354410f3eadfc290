package chaos

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Picos are 10^-12 US dollars: what one token costs is a whole number of them.
type Picos int64

const picosPerUSD = 1_000_000_000_000

// inPicos converts US dollars that have at most six decimals.
func inPicos(usd float64) Picos { return Picos(math.Round(usd*1e6)) * (picosPerUSD / 1e6) }

// A History is what happened, as far as invariants need it.
type History struct {
	Lives []Life
	// ByHand holds the uids of what chaos deleted itself, orders and parts.
	ByHand map[string]bool
	// Scales and Money are in the order of time.
	Scales []Scale
	Money  []Money
	// Deletes are all requests to delete anything, as the API server logged them.
	Deletes []Delete
}

// A Life is that of an order or of one of the resources that it, or its budget, composes.
type Life struct {
	Kind, Namespace, Name string
	UID, Owner            string // Owner is the uid of the controller; an order has none

	Born time.Time
	// Doomed is when it was first seen to be deleted, or gone; zero while it lives.
	Doomed time.Time
	// Condemned is the Owner that it had then: the next order of that name may take
	// over what is still being deleted.
	Condemned string
}

// A Scale is a change of the replicas of an agent's planner or worker.
type Scale struct {
	At                time.Time
	Agent, Deployment string
	Replicas          int64
	Ours              bool // by an Object of the agent's budget
}

// Money is what holds of an agent's money from a time on.
type Money struct {
	At       time.Time
	Agent    string
	Spent    Picos // the truth
	Doubt    Picos // of it, what calls cost whose answer a killed token-meter may not have seen
	Cap      Picos
	Enforced bool
	New      bool // the agent was ordered anew; what was before is of another
}

// over says whether the agent must not run.
func (m Money) over() bool { return m.Enforced && m.Spent-m.Doubt >= m.Cap }

func (m Money) mayRun() bool { return !m.over() }

// A Delete is a request to delete something.
type Delete struct {
	At                                        time.Time
	User, Group, Resource, Namespace, Subject string
}

// An End is what there is of an agent when everything is calm again.
type End struct {
	Agent  string
	Money  Money
	Doubts []Picos // each may have been counted or not
	Budget float64 // USD in the status of its XAgentBudget; NaN if there is none
	Order  float64 // USD in the order's status; likewise
	// Parts that the order has; 22 are right.
	Parts int
	// NotReady are the order, the budget and the parts whose condition Ready isn't True.
	NotReady []string
	// Replicas of planner and worker; -1 of one that doesn't exist.
	Planner, Worker int64
}

// A Violation is an invariant that did not hold, in words.
type Violation string

func violation(format string, args ...any) Violation { return Violation(fmt.Sprintf(format, args...)) }

const clock = "15:04:05.000"

// PartsKept says that no composed resource of an order that lives is ever deleted,
// except by chaos itself.
func PartsKept(h History) []Violation {
	owner := map[string]string{}
	for _, l := range h.Lives {
		owner[l.UID] = l.Owner
		if l.Condemned != "" {
			owner[l.UID] = l.Condemned
		}
	}
	var vs []Violation
	for _, l := range h.Lives {
		if l.Doomed.IsZero() {
			continue
		}
		excused, uid := false, l.UID
		for range 4 { // part, budget, order; one more for a cycle that should not be
			excused = excused || h.ByHand[uid]
			uid = owner[uid]
		}
		if excused {
			continue
		}
		vs = append(vs, violation("%s %s/%s (uid %s) was deleted at %s, but neither it nor what it belongs to was deleted by hand; who asked for it: %s",
			l.Kind, l.Namespace, l.Name, l.UID, l.Doomed.Format(clock), whoDeleted(h, l)))
	}
	return vs
}

// whoDeleted says who asked to delete something of that name, shortly before.
func whoDeleted(h History, l Life) string {
	var users []string
	for _, d := range h.Deletes {
		if d.Subject == l.Name && d.Namespace == l.Namespace && !d.At.After(l.Doomed.Add(time.Second)) && d.At.After(l.Doomed.Add(-staleness)) {
			users = append(users, fmt.Sprintf("%s (%s, at %s)", d.User, d.Resource, d.At.Format(clock)))
		}
	}
	slices.Sort(users)
	if users = slices.Compact(users); len(users) == 0 {
		return "nobody that the audit log names"
	}
	return fmt.Sprint(users)
}

// core is who Crossplane is to the API server.
const core = "system:serviceaccount:crossplane-system:crossplane"

// composedGroups are the API groups of everything that the suite composes.
var composedGroups = []string{
	"whisperops.io", "kubernetes.crossplane.io", "kubernetes.m.crossplane.io", "storage.gcp.upbound.io", "cloudplatform.gcp.upbound.io",
}

// NothingLeftOut says that Crossplane never asks to delete a composed resource. It
// does so when a pipeline leaves one out, and only then: what belongs to an order that is
// deleted is Kubernetes' to collect.
func NothingLeftOut(h History) []Violation {
	var vs []Violation
	for _, d := range h.Deletes {
		if d.User == core && slices.Contains(composedGroups, d.Group) {
			vs = append(vs, violation("Crossplane asked to delete %s %s/%s at %s: a pipeline left it out", d.Resource, d.Namespace, d.Subject, d.At.Format(clock)))
		}
	}
	return vs
}

// staleness is how old a decision may be that takes effect: core or the provider
// may have stood still while they held it.
const staleness = time.Minute

// during returns what held of an agent's money at any moment from a time to
// another, not counting what was before it was ordered anew.
func (h History) during(agent string, from, to time.Time) []Money {
	var ms []Money
	for _, m := range h.Money {
		if m.Agent != agent || m.At.After(to) {
			continue
		}
		if m.New || !m.At.After(from) {
			ms = nil // what held before is over
		}
		ms = append(ms, m)
	}
	return ms
}

// from returns what held from the first moment on that is as it should be.
func from(ms []Money, is func(Money) bool) []Money {
	if i := slices.IndexFunc(ms, is); i >= 0 {
		return ms[i:]
	}
	return nil
}

// walkScales calls f for each Scale of ours that changes something, with the
// time of our last one in the other direction; zero if there was none.
func walkScales(h History, f func(s Scale, opposite time.Time)) {
	type key struct {
		agent, deployment string
		stops             bool
	}
	last := map[key]time.Time{}
	before := map[key]Scale{}
	for _, s := range h.Scales {
		k := key{s.Agent, s.Deployment, s.Replicas == 0}
		was, known := before[key{s.Agent, s.Deployment, false}]
		before[key{s.Agent, s.Deployment, false}] = s
		if !s.Ours {
			continue
		}
		if !known || !was.Ours || (was.Replicas == 0) != k.stops {
			f(s, last[key{s.Agent, s.Deployment, !k.stops}])
		}
		last[k] = s.At
	}
}

// NeverStartedOver says that an agent that was stopped is started again by its budget only
// if since then there was a moment in which it was allowed to run: its cap above
// what it had really spent, or not enforced. An outage is no such moment.
func NeverStartedOver(h History) []Violation {
	var vs []Violation
	walkScales(h, func(s Scale, stopped time.Time) {
		if s.Replicas == 0 || stopped.IsZero() {
			return
		}
		// What it was stopped for began before; what was before that doesn't matter.
		ms := from(h.during(s.Agent, stopped.Add(-staleness), s.At), Money.over)
		if len(ms) > 0 && !slices.ContainsFunc(ms, Money.mayRun) {
			m := ms[len(ms)-1]
			vs = append(vs, violation("%s of %s was started at %s, but its cap of %s was spent (%s) all the time since it was stopped at %s",
				s.Deployment, s.Agent, s.At.Format(clock), m.Cap, m.Spent, stopped.Format(clock)))
		}
	})
	return vs
}

// overAtAnOldCap says whether there was a moment in which an agent had really spent
// a cap that held then, or had held shortly before: a raise of the order reaches its
// budget later than the tokens that are spent meanwhile.
func overAtAnOldCap(ms []Money) bool {
	for i, m := range ms {
		until := m.At
		if i+1 < len(ms) {
			until = ms[i+1].At
		}
		for _, later := range ms[i:] {
			if later.At.After(until.Add(staleness)) {
				break
			}
			if m.Enforced && later.Spent >= m.Cap {
				return true
			}
		}
	}
	return false
}

// NeverStoppedUnder says that an agent is stopped by its budget only if since it was last
// started (or ordered) there was a moment in which it had really spent its cap.
func NeverStoppedUnder(h History) []Violation {
	var vs []Violation
	walkScales(h, func(s Scale, started time.Time) {
		if s.Replicas > 0 {
			return
		}
		ms := h.during(s.Agent, started.Add(-staleness), s.At)
		if !started.IsZero() {
			ms = from(ms, Money.mayRun)
		}
		if len(ms) > 0 && !overAtAnOldCap(ms) {
			m := ms[len(ms)-1]
			vs = append(vs, violation("%s of %s was stopped at %s, but since it was started (%s) it never had spent its cap of %s: it spent %s",
				s.Deployment, s.Agent, s.At.Format(clock), started.Format(clock), m.Cap, m.Spent))
		}
	})
	return vs
}

// counted is what was counted of an agent's calls: all, or, where a token-meter was
// killed while some were under way, the sum without some of those that its budget shows.
func (e *End) counted() Picos {
	sums := map[Picos]bool{e.Money.Spent: true}
	for _, d := range e.Doubts {
		for s := range maps.Clone(sums) {
			sums[s-d] = true
		}
	}
	for s := range sums {
		if math.Round(e.Budget*1e4) == math.Round(float64(s)/(picosPerUSD/1e4)) {
			return s
		}
	}
	return e.Money.Spent
}

// SpendIsTruth says that in the end both statuses show what the agents really used, to the
// last of their four decimals.
func SpendIsTruth(ends []End) []Violation {
	var vs []Violation
	for _, e := range ends {
		counted := e.counted()
		truth := math.Round(float64(counted) / (picosPerUSD / 1e4))
		for who, usd := range map[string]float64{"its budget": e.Budget, "its order": e.Order} {
			if math.Round(usd*1e4) != truth { // also if it is no number
				vs = append(vs, violation("%s says that %s spent %v USD, but it was %s", who, e.Agent, usd, counted))
			}
		}
	}
	slices.Sort(vs)
	return vs
}

// AllReady says that in the end every order has its 22 parts, and all of it is ready.
func AllReady(ends []End) []Violation {
	var vs []Violation
	for _, e := range ends {
		if e.Parts != 22 {
			vs = append(vs, violation("%s has %d parts, want 22", e.Agent, e.Parts))
		}
		for _, n := range e.NotReady {
			vs = append(vs, violation("%s: not ready: %s", e.Agent, n))
		}
	}
	return vs
}

// Decided says that in the end who has spent the cap stands at 0, and all others run.
func Decided(ends []End) []Violation {
	var vs []Violation
	for _, e := range ends {
		m := e.Money
		m.Spent, m.Doubt = e.counted(), 0
		for d, n := range map[string]int64{"planner": e.Planner, "worker": e.Worker} {
			if (n > 0) == m.over() || n < 0 {
				vs = append(vs, violation("%s of %s has %d replicas, with %s of %s spent (enforced: %v)", d, e.Agent, n, e.Money.Spent, e.Money.Cap, e.Money.Enforced))
			}
		}
	}
	slices.Sort(vs)
	return vs
}

// NoLeftovers says that nothing is left of orders that were deleted.
func NoLeftovers(left []string) []Violation {
	var vs []Violation
	for _, l := range left {
		vs = append(vs, violation("left: %s", l))
	}
	return vs
}

// Always are the invariants that hold all along.
func Always(h History) []Violation {
	return slices.Concat(PartsKept(h), NothingLeftOut(h), NeverStartedOver(h), NeverStoppedUnder(h))
}

// Calm are the invariants that hold when nothing happens any more.
func Calm(ends []End) []Violation {
	return slices.Concat(AllReady(ends), SpendIsTruth(ends), Decided(ends))
}

// String is the amount as people write it, to 4 decimals.
func (p Picos) String() string { return fmt.Sprintf("%.4f USD", float64(p)/picosPerUSD) }
