package sandbox

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// slots bound how many runs there are at once: two that share the memory, or one
// that needs more than half of it. Who comes later waits, in order, for a while.
type slots struct {
	halves  *semaphore.Weighted
	taken   atomic.Int64 // runs
	waiting atomic.Int64
}

const (
	// halfSlots is one for each processor that the rendered Deployment's limit has.
	halfSlots = 2
	// queueLength is how many may wait. The caller's own patience ends first.
	queueLength = 16
)

func newSlots() *slots { return &slots{halves: semaphore.NewWeighted(halfSlots)} }

// share returns how many halves of a budget a run takes that should have need bytes,
// and the bytes that it gets.
func share(budget, need int64) (halves, memory int64) {
	if need <= budget/halfSlots {
		return 1, budget / halfSlots
	}
	return halfSlots, budget
}

// take returns when there is room, or an error in words for whoever asked.
func (s *slots) take(ctx context.Context, halves int64, patience time.Duration) (release func(), err error) {
	release = func() {
		s.taken.Add(-1)
		s.halves.Release(halves)
	}
	if s.halves.TryAcquire(halves) {
		s.taken.Add(1)
		return release, nil
	}
	if s.waiting.Add(1) > queueLength {
		s.waiting.Add(-1)
		return nil, fmt.Errorf("the sandbox is busy: %d other calls are waiting already; try the same code again in a minute", queueLength)
	}
	defer s.waiting.Add(-1)
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	switch err := s.halves.Acquire(patient, halves); {
	case err == nil:
		s.taken.Add(1)
		return release, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	default:
		return nil, fmt.Errorf("the sandbox has been busy with other runs for %d seconds; try the same code again in a minute", int(patience.Seconds()))
	}
}
