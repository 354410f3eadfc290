package tokenmeter

import (
	"net/http"

	"whisperops.io/functions/internal/tokenmeter/usage"
)

// A Treasury hands out the money of hard budgets.
type Treasury struct{}

// A hold is what a call may cost at most, set aside. A nil one holds nothing.
type hold struct {
	amount Picos
	period string
}

func (h *hold) spend(Picos)                                 {}
func (h *hold) release()                                    {}
func (h *hold) keep()                                       {}
func (h *hold) settle(*Meter, *call, *usage.Report, string) {}

func (m *Meter) reserve(*call, Budget, []byte) ([]byte, *refusal) {
	return nil, &refusal{status: http.StatusForbidden, reason: "hard", message: "hard mode is not available"}
}
