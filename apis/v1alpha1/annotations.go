package v1alpha1

// A sparse Object that holds its Deployment at 0 tells what for, so that the
// decision outlives a status that was lost, or whose last write was.
const (
	// AnnotationPausedPeriod is the period in which it was decided, as
	// status.period names it.
	AnnotationPausedPeriod = "whisperops.io/paused-in-period"

	// AnnotationPausedBudget is the budget that was used up, as
	// status.decidedBudgetUsd: decimal US dollars.
	AnnotationPausedBudget = "whisperops.io/paused-at-budget-usd"
)
