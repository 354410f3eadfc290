package fetchspend

import (
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
)

// NewAt returns the function with a clock of its own and the way to a server that
// New has, for stories that are rendered against a recorded one.
func NewAt(log logging.Logger, now func() time.Time) *Function {
	return NewWith(log, now, (&connections{}).connect)
}
