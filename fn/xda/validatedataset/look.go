package validatedataset

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
)

// How soon an order is looked at again: while its parts are made, and when they
// are but Crossplane drops its events. A look applies all 22 parts anew, so it is
// most of what a new order costs an API server. What takes long is therefore looked
// at less often: the looks of hundreds of orders at once would cost an API server
// more time than it has, and be why they take long.
const (
	// An order alone on its cluster has its breaker open after three seconds, and all
	// that its planner waits for after five.
	soonestSettling = 4 * time.Second
	settling        = 15 * time.Second
	// part is how much of the time that an order's parts take may pass between two looks.
	part = 4

	// The ready step has every order looked at so often anyway.
	longestSettling = 10 * time.Minute

	resting        = 30 * time.Second
	longestResting = breakerOpen / 2
)

// nextLook says when an order is looked at again without an event; 0 is never.
// 22 new parts make more events than Crossplane's circuit breaker lets through. It
// then drops them for five minutes, all but one every half minute, so that only
// the clock tells what became of the parts, and what a person changed shortly
// after something else had changed.
func nextLook(v Verdict, retry time.Duration, r history, responsive bool) time.Duration {
	switch {
	case v.Phase == v1alpha1.PhaseProvisioning:
		soon := min(max(r.making/part, soonestSettling), settling)
		return min(max(r.unready/2, min(soon, retry)), longestSettling)
	case !responsive:
		return min(max(r.took/2, min(resting, retry)), longestResting)
	case v.Waits:
		return retry
	}
	return 0
}

// A history says how long things take on this cluster, as far as an order tells.
type history struct {
	unready time.Duration // Crossplane calls the order not Ready; 0 while it calls it Ready
	took    time.Duration // for the order to become Ready; 0 until it is
	making  time.Duration // from the order to its planner, the last part to be made, or till now
}

// readiness reads the history of an order. Ready's time is that of its last change:
// of an order that lost a part after an hour, or of which one function was upgraded,
// it says nothing about how long it took. The planner is the last part to be made,
// shortly before the order is Ready for the first time, and says when as long as it lives.
func readiness(xr *v1alpha1.XDatasetAgent, planner, now time.Time) history {
	r := history{making: part * settling} // of an order that is rendered by hand
	if born := xr.CreationTimestamp.Time; !born.IsZero() {
		made := planner
		if made.IsZero() {
			made = now
		}
		r.making = max(0, made.Sub(born))
	}
	i := slices.IndexFunc(xr.Status.Conditions, func(c metav1.Condition) bool { return c.Type == v1alpha1.ConditionReady })
	if i < 0 || xr.Status.Conditions[i].LastTransitionTime.IsZero() {
		return r
	}
	ready := xr.Status.Conditions[i].LastTransitionTime.Time
	if xr.Status.Conditions[i].Status != metav1.ConditionTrue {
		r.unready = max(0, now.Sub(ready))
		return r
	}
	if xr.CreationTimestamp.IsZero() {
		return r
	}
	if !planner.IsZero() && planner.Before(ready) {
		ready = planner
	}
	r.took = max(0, ready.Sub(xr.CreationTimestamp.Time))
	return r
}

// breakerOpen is how long Crossplane's circuit breaker is open by default, and a
// little more.
const breakerOpen = 5*time.Minute + 30*time.Second

// responsive says whether Crossplane lets the XR's events through. Before it calls
// a function it writes so into the XR. A breaker whose time is over lets the next
// event through and closes with it, but not before: of an order at rest it says
// False for ever, and to look at it till then would never end.
func responsive(conditions []metav1.Condition, now time.Time) bool {
	return !slices.ContainsFunc(conditions, func(c metav1.Condition) bool {
		return c.Type == v1alpha1.ConditionResponsive && c.Status == metav1.ConditionFalse && now.Sub(c.LastTransitionTime.Time) < breakerOpen
	})
}
