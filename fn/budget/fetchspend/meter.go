package fetchspend

import (
	"context"
	"time"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/budget/fetchspend/query"
)

// heard is how long before a look the last heartbeat of a meter may lie. It is shorter
// than the longest time between two looks, so that the second look after a meter fell
// silent says so, and long enough for a scrape or two that fail.
func (s Settings) heard() time.Duration { return max(3*time.Minute, 4*s.Rules.Grid) }

// meter says that nobody counts what the agent uses: its meter has fallen silent, or
// never spoke. A figure that stands still looks the same for an agent at rest. Nil: all
// is well, or the counters aren't a meter's. For agents at rest since a time it is asked of
// all of them at once.
func (f Facts) meter(ctx context.Context, q query.Querier, since, at int64) *v1alpha1.SpendProblem {
	s := f.Settings
	if s.Canary == "" || f.Created.After(time.UnixMilli(at).Add(-s.heard())) {
		return nil // a meter needs a moment to hear of a new budget
	}
	if f.Resting.heard(f, f.who(since), at) {
		return nil
	}
	beats, err := each(ctx, q, f, []string{query.Last(s.Canary, s.Rules.Metrics, f.Budget.AgentName, s.heard())}, at)
	if err != nil {
		return problemOf(err)
	}
	for _, b := range beats {
		if b.Labels["__name__"] == s.Canary && b.Labels[s.Rules.Metrics.AgentLabel] == s.Rules.Metrics.Agent(f.Budget.AgentName) {
			return nil
		}
	}
	return &v1alpha1.SpendProblem{
		Reason:  v1alpha1.ReasonMeterSilent,
		Message: "The token meter shows no heartbeat of this agent (" + s.Canary + "): no meter is running, none is scraped, or none knows this budget. What the agent uses meanwhile may be counted by nobody",
	}
}
