package tokenmeter

import (
	"encoding/json"
	"net/http"
	"strconv"

	"whisperops.io/functions/internal/tokenmeter/usage"
)

// A refusal is an answer that the meter gives in place of a provider.
type refusal struct {
	status  int
	reason  string // label of the metric, and the error's code where the dialect has one
	message string
}

// Statuses of refusals. The clients of all three providers repeat a call after
// 408, 409, 429 and 5xx and after nothing else (openai-go v3.99.0 and
// anthropic-sdk-go v1.84.0, shouldRetry; genai v1.77.0, common.go). Those who look
// at Google's status retry RESOURCE_EXHAUSTED and UNAVAILABLE.
const statusSpent = http.StatusPaymentRequired

var googleStatus = map[int]string{
	http.StatusBadRequest:            "INVALID_ARGUMENT",
	http.StatusPaymentRequired:       "FAILED_PRECONDITION",
	http.StatusForbidden:             "PERMISSION_DENIED",
	http.StatusNotFound:              "NOT_FOUND",
	http.StatusRequestEntityTooLarge: "INVALID_ARGUMENT",
	http.StatusUnsupportedMediaType:  "INVALID_ARGUMENT",
	http.StatusBadGateway:            "UNAVAILABLE",
	http.StatusServiceUnavailable:    "UNAVAILABLE",
	http.StatusGatewayTimeout:        "DEADLINE_EXCEEDED",
}

var anthropicType = map[int]string{
	http.StatusBadRequest:            "invalid_request_error",
	http.StatusPaymentRequired:       "billing_error",
	http.StatusForbidden:             "permission_error",
	http.StatusNotFound:              "not_found_error",
	http.StatusRequestEntityTooLarge: "request_too_large",
	http.StatusUnsupportedMediaType:  "invalid_request_error",
}

// body is the refusal in the shape of a dialect's errors.
func (r refusal) body(d usage.Dialect) []byte {
	var v any
	switch d {
	case usage.OpenAI:
		kind := "invalid_request_error"
		code := r.reason
		switch {
		case r.status == statusSpent:
			kind, code = "insufficient_quota", "insufficient_quota"
		case r.status >= http.StatusInternalServerError:
			kind = "server_error"
		}
		v = map[string]any{"error": map[string]any{"message": r.message, "type": kind, "param": nil, "code": code}}
	case usage.Anthropic:
		kind, ok := anthropicType[r.status]
		if !ok {
			kind = "api_error"
		}
		v = map[string]any{"type": "error", "error": map[string]any{"type": kind, "message": r.message}}
	case usage.Gemini:
		status, ok := googleStatus[r.status]
		if !ok {
			status = "INTERNAL"
		}
		v = map[string]any{"error": map[string]any{"code": r.status, "message": r.message, "status": status}}
	}
	b, err := json.Marshal(v)
	if err != nil {
		return []byte(`{}`) // it can't fail: strings and numbers
	}
	return append(b, '\n')
}

// write answers with the refusal. Clients that ask (those of Stainless do) are
// told not to come back.
func (r refusal) write(w http.ResponseWriter, d usage.Dialect) {
	b := r.body(d)
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	if r.status < http.StatusInternalServerError {
		h.Set("X-Should-Retry", "false")
	}
	h.Set("X-Token-Meter-Reason", r.reason)
	w.WriteHeader(r.status)
	w.Write(b) //nolint:errcheck,gosec // whoever left doesn't read it; it is JSON
}
