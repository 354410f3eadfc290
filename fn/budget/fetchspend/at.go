package fetchspend

import (
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"

	"whisperops.io/functions/fn/budget/fetchspend/query"
	"whisperops.io/functions/fn/internal/edge"
)

// NewAt returns the function with a clock of its own, for stories that are rendered
// against a recorded server. That one is asked in place of the one that the input
// names; a ledger belongs to the latter all the same.
func NewAt(log logging.Logger, now func() time.Time, recorded func() string) *edge.Function {
	c := &query.Connections{}
	return NewWith(log, now, func(srv query.Server) (query.Querier, error) {
		srv.URL = recorded()
		return c.Connect(srv)
	})
}
