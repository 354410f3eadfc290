package examples

import (
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"

	"whisperops.io/functions/fn/budget/decide"
	"whisperops.io/functions/fn/budget/fetchspend"
)

// WithClock returns the functions that read a clock, by name, reading now: a
// recorded answer is about the time at which it was recorded. It is given by the
// server at prometheusURL, whatever server the Composition names.
func WithClock(log logging.Logger, now func() time.Time, prometheusURL func() string) map[string]fnv1.FunctionRunnerServiceServer {
	return map[string]fnv1.FunctionRunnerServiceServer{
		"function-budget-fetch-spend": fetchspend.NewAt(log, now, prometheusURL),
		"function-budget-decide":      decide.NewAt(log, now),
	}
}
