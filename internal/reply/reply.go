// Package reply fills a RunFunctionResponse in, as the SDK's package response does.
// Programs are small because of it: the SDK's brings Kubernetes' clients along.
package reply

import (
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// To returns the response to a request that changes nothing: what earlier steps desired
// and left in the context comes along, and the TTL is 0, no opinion.
func To(req *fnv1.RunFunctionRequest) *fnv1.RunFunctionResponse {
	return &fnv1.RunFunctionResponse{
		Meta:    &fnv1.ResponseMeta{Tag: req.GetMeta().GetTag(), Ttl: durationpb.New(0)},
		Desired: req.GetDesired(),
		Context: req.GetContext(),
	}
}

// Fatal ends the pipeline with what err says.
func Fatal(rsp *fnv1.RunFunctionResponse, err error) {
	rsp.Results = append(rsp.GetResults(), result(fnv1.Severity_SEVERITY_FATAL, err.Error()))
}

// Event writes an event of the XR.
func Event(rsp *fnv1.RunFunctionResponse, severity fnv1.Severity, reason, message string) {
	r := result(severity, message)
	r.Reason = &reason
	rsp.Results = append(rsp.GetResults(), r)
}

func result(severity fnv1.Severity, message string) *fnv1.Result {
	return &fnv1.Result{Severity: severity, Message: message, Target: fnv1.Target_TARGET_COMPOSITE.Enum()}
}

// Condition writes a condition of the XR.
func Condition(rsp *fnv1.RunFunctionResponse, typ string, status fnv1.Status, reason, message string) {
	rsp.Conditions = append(rsp.GetConditions(), &fnv1.Condition{
		Type: typ, Status: status, Reason: reason, Message: &message, Target: fnv1.Target_TARGET_COMPOSITE.Enum(),
	})
}
