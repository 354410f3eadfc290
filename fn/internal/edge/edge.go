// Package edge is where protobuf comes in and goes out: it decodes a
// RunFunctionRequest into plain Go, and writes what a core decided into the
// response. It never converts what merely passes through a step.
package edge

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/crossplane/function-sdk-go/response"
	"google.golang.org/protobuf/types/known/structpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

// Run lets step write the response to req. A failure is a fatal result and never
// a gRPC error, because Crossplane discards the response that comes with one.
func Run(log logging.Logger, req *fnv1.RunFunctionRequest, step func(rsp *fnv1.RunFunctionResponse) error) *fnv1.RunFunctionResponse {
	rsp := response.To(req, 0) // earlier steps' desired state comes along; no opinion on the TTL
	err := step(rsp)
	if err == nil {
		err = sayAgain(req, rsp)
	}
	if err != nil {
		log.Info("Step failed", "error", err)
		response.Fatal(rsp, err)
	}
	return rsp
}

// sayAgain repeats that the order is not ready where an earlier step knew it. A
// foreign step in between may have forgotten it: the SDK's helpers read no readiness
// of the desired composite and write it back as unspecified, and an order that
// desires nothing counts as ready then.
func sayAgain(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) error {
	known := rsp.GetContext().GetFields()
	dataset, answered := known[v1alpha1.ContextDataset]
	held := len(known[v1alpha1.ContextHeldBack].GetListValue().GetValues()) > 0
	if !held && (!answered || !isNull(dataset)) {
		return nil
	}
	return NotReady(req, rsp)
}

// Agent returns the observed XDatasetAgent. What the XRD refuses at admission is
// refused here too: an order rendered by hand has passed no admission.
func Agent(req *fnv1.RunFunctionRequest) (*v1alpha1.XDatasetAgent, error) {
	xr := &v1alpha1.XDatasetAgent{}
	if err := CompositeInto(req, xr); err != nil {
		return nil, err
	}
	return xr, errors.Wrap(xr.Validate(), "cannot use order")
}

// Budget returns the observed XAgentBudget.
func Budget(req *fnv1.RunFunctionRequest) (*v1alpha1.XAgentBudget, error) {
	xr := &v1alpha1.XAgentBudget{}
	if err := CompositeInto(req, xr); err != nil {
		return nil, err
	}
	return xr, errors.Wrap(xr.Spec.Validate(), "cannot use budget")
}

// CompositeInto decodes the observed XR. It ignores fields that it doesn't know,
// because Crossplane and later versions add some.
func CompositeInto(req *fnv1.RunFunctionRequest, into any) error {
	s := req.GetObserved().GetComposite().GetResource()
	if s == nil {
		return errors.New("cannot decode observed XR: the request holds none")
	}
	return errors.Wrap(decode(withoutManagedFields(s), into), "cannot decode observed XR")
}

// withoutManagedFields spares decoding the largest and least used part of an XR.
func withoutManagedFields(s *structpb.Struct) map[string]any {
	out := make(map[string]any, len(s.GetFields()))
	for k, v := range s.GetFields() {
		if k != "metadata" {
			out[k] = v.AsInterface()
			continue
		}
		if v.GetStructValue() == nil {
			out[k] = v.AsInterface()
			continue
		}
		meta := map[string]any{}
		for mk, mv := range v.GetStructValue().GetFields() {
			if mk != "managedFields" {
				meta[mk] = mv.AsInterface()
			}
		}
		out[k] = meta
	}
	return out
}

// decode converts what JSON would hold into a Go value, with errors for people.
func decode(from, into any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	err = json.Unmarshal(b, into)
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) && te.Field == "" {
		return errors.Errorf("it must be a %s, not a %s", jsonType(te.Type.Kind().String()), te.Value)
	}
	if errors.As(err, &te) {
		return errors.Errorf("field %q must be a %s, not a %s", te.Field, jsonType(te.Type.Kind().String()), te.Value)
	}
	return err
}

// jsonType names a Go kind as readers of YAML know it.
func jsonType(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "whole number"
	case strings.HasPrefix(kind, "float"):
		return "number"
	case kind == "slice":
		return "list"
	case kind == "struct", kind == "map", kind == "ptr":
		return "map"
	}
	return kind
}

// Input decodes the step's input over its defaults, strictly: a typo fails early.
// An absent input leaves the defaults.
func Input(req *fnv1.RunFunctionRequest, into runtime.Object) error {
	if d, ok := into.(interface{ Default() }); ok {
		d.Default()
	}
	if req.GetInput() != nil {
		want := strings.TrimPrefix(kindOf(into), "*")
		if got := req.GetInput().GetFields()["kind"].GetStringValue(); got != want {
			return errors.Errorf("cannot use input: its kind is %q, this step takes %q", got, want)
		}
		if got := req.GetInput().GetFields()["apiVersion"].GetStringValue(); got != inputAPIVersion {
			return errors.Errorf("cannot use input: its apiVersion is %q, this step takes %q", got, inputAPIVersion)
		}
		if err := decodeStrict(req.GetInput().AsMap(), into); err != nil {
			return errors.Wrap(err, "cannot use input")
		}
	}
	if v, ok := into.(interface{ Validate() error }); ok {
		return errors.Wrap(v.Validate(), "cannot use input")
	}
	return nil
}

// ContextInto decodes the value of a context key. It returns false when the key
// is absent or null.
func ContextInto(req *fnv1.RunFunctionRequest, key string, into any) (bool, error) {
	v, ok := req.GetContext().GetFields()[key]
	if !ok || isNull(v) {
		return false, nil
	}
	return true, errors.Wrapf(decode(v.AsInterface(), into), "cannot decode context key %q", key)
}

// Dataset returns the context value that validate-dataset left: nil when the
// order can't be filled now.
func Dataset(req *fnv1.RunFunctionRequest) (*v1alpha1.Dataset, error) {
	v, ok := req.GetContext().GetFields()[v1alpha1.ContextDataset]
	if !ok {
		return nil, errors.Errorf("context key %q is absent: the step validate-dataset sets it always, so it was left out of the pipeline, comes later, or a step in between dropped the context", v1alpha1.ContextDataset)
	}
	if isNull(v) {
		return nil, nil //nolint:nilnil // null is an answer: there is no dataset now
	}
	d := &v1alpha1.Dataset{}
	if err := decode(v.AsInterface(), d); err != nil {
		return nil, errors.Wrapf(err, "cannot decode context key %q", v1alpha1.ContextDataset)
	}
	return d, errors.Wrapf(d.Validate(), "cannot use context key %q", v1alpha1.ContextDataset)
}

func isNull(v *structpb.Value) bool {
	_, null := v.GetKind().(*structpb.Value_NullValue)
	return null || v.GetKind() == nil
}

// SetContext leaves a value for later steps. A nil leaves null.
func SetContext(rsp *fnv1.RunFunctionResponse, key string, value any) error {
	if value == nil {
		response.SetContextKey(rsp, key, structpb.NewNullValue())
		return nil
	}
	v, err := encode(value)
	if err != nil {
		return errors.Wrapf(err, "cannot set context key %q", key)
	}
	response.SetContextKey(rsp, key, v)
	return nil
}

// encode converts a typed value through its JSON form.
func encode(value any) (*structpb.Value, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	v := &structpb.Value{}
	return v, v.UnmarshalJSON(b)
}

// SetStatus sets top-level fields of the XR's desired status and keeps those that
// earlier steps wrote.
func SetStatus(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, fields map[string]any) error {
	xr, err := desiredComposite(req, rsp)
	if err != nil {
		return err
	}
	status := xr.GetResource().GetFields()["status"].GetStructValue()
	if status == nil {
		if v, ok := xr.GetResource().GetFields()["status"]; ok && !isNull(v) {
			return errors.New("cannot set status: an earlier step left a desired status that is not a map")
		}
		status = &structpb.Struct{}
		xr.Resource.Fields["status"] = structpb.NewStructValue(status)
	}
	if status.Fields == nil {
		status.Fields = map[string]*structpb.Value{}
	}
	for _, k := range manifest.Keys(fields) {
		v, err := encode(fields[k])
		if err != nil {
			return errors.Wrapf(err, "cannot set status field %q", k)
		}
		status.Fields[k] = v
	}
	return nil
}

// NotReady says that the XR is not ready, whatever its parts are. An XR that
// desires nothing counts as ready otherwise.
func NotReady(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) error {
	xr, err := desiredComposite(req, rsp)
	if err != nil {
		return err
	}
	xr.Ready = fnv1.Ready_READY_FALSE
	return nil
}

func desiredComposite(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse) (*fnv1.Resource, error) {
	if rsp.GetDesired() == nil {
		rsp.Desired = &fnv1.State{}
	}
	if rsp.GetDesired().GetComposite() == nil {
		rsp.Desired.Composite = &fnv1.Resource{}
	}
	xr := rsp.GetDesired().GetComposite()
	if xr.GetResource() == nil {
		xr.Resource = &structpb.Struct{}
	}
	if xr.GetResource().GetFields() == nil {
		xr.Resource.Fields = map[string]*structpb.Value{}
	}
	observed := req.GetObserved().GetComposite().GetResource().GetFields()
	for _, k := range []string{"apiVersion", "kind"} {
		v := observed[k].GetStringValue()
		if v == "" {
			return nil, errors.Errorf("cannot write desired XR: the observed one has no %s", k)
		}
		xr.Resource.Fields[k] = structpb.NewStringValue(v)
	}
	return xr, nil
}

// Condition writes a condition of the XR: type, status, reason and message.
func Condition(rsp *fnv1.RunFunctionResponse, c metav1.Condition) {
	var o *response.ConditionOption
	switch c.Status {
	case metav1.ConditionTrue:
		o = response.ConditionTrue(rsp, c.Type, c.Reason)
	case metav1.ConditionFalse:
		o = response.ConditionFalse(rsp, c.Type, c.Reason)
	default:
		o = response.ConditionUnknown(rsp, c.Type, c.Reason)
	}
	o.WithMessage(c.Message)
}

// HoldBack adds parts to those that earlier steps hold back, and says so in the
// condition. A step with gates calls it on every pass, with
// nothing when its gates are open, so that the condition never stands stale.
func HoldBack(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, parts ...v1alpha1.HeldBack) error {
	var all []v1alpha1.HeldBack
	if _, err := ContextInto(req, v1alpha1.ContextHeldBack, &all); err != nil {
		return err
	}
	for _, p := range parts {
		if !slices.Contains(all, p) { // Crossplane hands the context of one call to the next
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		response.ConditionFalse(rsp, v1alpha1.ConditionPartsHeldBack, v1alpha1.ReasonNothingHeldBack).WithMessage("No part waits for another")
		return nil
	}
	says := make([]string, 0, len(all))
	for _, p := range all {
		says = append(says, p.Part+" waits for "+p.WaitsFor)
	}
	response.ConditionTrue(rsp, v1alpha1.ConditionPartsHeldBack, v1alpha1.ReasonWaitingForOthers).WithMessage(strings.Join(says, "; "))
	if err := SetContext(rsp, v1alpha1.ContextHeldBack, all); err != nil {
		return err
	}
	return NotReady(req, rsp)
}

// Require asks Crossplane for one resource, by name, under a key.
func Require(rsp *fnv1.RunFunctionResponse, key string, sel *fnv1.ResourceSelector) {
	if rsp.GetRequirements() == nil {
		rsp.Requirements = &fnv1.Requirements{}
	}
	if rsp.GetRequirements().GetResources() == nil {
		rsp.Requirements.Resources = map[string]*fnv1.ResourceSelector{}
	}
	rsp.Requirements.Resources[key] = sel
}
