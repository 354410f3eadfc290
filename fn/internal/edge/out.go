package edge

import (
	"slices"
	"strings"
	"sync"
	"time"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/internal/reply"
	"whisperops.io/functions/internal/wire"
)

// SetContext leaves a value for later steps. A nil leaves null.
func (c *Call) SetContext(key string, value any) error {
	if value == nil {
		c.setContext(key, structpb.NewNullValue())
		return nil
	}
	v, err := encode(value)
	if err != nil {
		return errors.Wrapf(err, "cannot set context key %q", key)
	}
	c.setContext(key, v)
	return nil
}

func (c *Call) setContext(key string, v *structpb.Value) {
	if c.Rsp.GetContext() == nil {
		c.Rsp.Context = &structpb.Struct{}
	}
	wire.SetField(c.Rsp.GetContext(), key, v)
}

// Left is a value that was left for later steps, as it was encoded.
type Left struct {
	key   string
	value []byte
}

// Left returns the values that this call leaves under some of the context's keys.
func (c *Call) Left(keys ...string) ([]Left, error) {
	all := make([]Left, 0, len(keys))
	for _, k := range keys {
		v, ok := wire.Field(c.Rsp.GetContext(), k)
		if !ok {
			return nil, errors.Errorf("nothing is left under context key %q", k)
		}
		b, err := proto.Marshal(v)
		if err != nil {
			return nil, errors.Wrapf(err, "cannot keep context key %q", k)
		}
		all = append(all, Left{k, b})
	}
	return all, nil
}

// Leave leaves values again as an earlier call left them.
func (c *Call) Leave(all []Left) {
	if c.Rsp.GetContext() == nil {
		c.Rsp.Context = &structpb.Struct{}
	}
	for _, l := range all {
		wire.SetEncoded(c.Rsp.GetContext(), l.key, l.value)
	}
}

// SetStatus sets top-level fields of the XR's desired status and keeps those that
// earlier steps wrote.
func (c *Call) SetStatus(fields map[string]any) error {
	xr, err := c.desiredComposite()
	if err != nil {
		return err
	}
	status := xr.GetResource().GetFields()["status"].GetStructValue()
	if status == nil {
		if v := xr.GetResource().GetFields()["status"]; !IsNull(v) {
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
func (c *Call) NotReady() error {
	xr, err := c.desiredComposite()
	if err != nil {
		return err
	}
	xr.Ready = fnv1.Ready_READY_FALSE
	return nil
}

// sayAgain repeats that the order is not ready where an earlier step knew it. A
// foreign step in between may have forgotten it: the SDK's helpers read no readiness
// of the desired composite and write it back as unspecified, and an order that
// desires nothing counts as ready then.
func (c *Call) sayAgain() error {
	dataset, answered := wire.Field(c.Rsp.GetContext(), v1alpha1.ContextDataset)
	all, _ := wire.Field(c.Rsp.GetContext(), v1alpha1.ContextHeldBack)
	held := len(all.GetListValue().GetValues()) > 0
	if !held && (!answered || !IsNull(dataset)) {
		return nil
	}
	return c.NotReady()
}

func (c *Call) desiredComposite() (*fnv1.Resource, error) {
	if c.Rsp.GetDesired() == nil {
		c.Rsp.Desired = &fnv1.State{}
	}
	xr, err := wire.DecodeComposite(c.Rsp.GetDesired())
	if err != nil {
		return nil, errors.Wrap(err, "cannot read desired XR")
	}
	if xr.GetResource() == nil {
		xr.Resource = &structpb.Struct{}
	}
	if xr.GetResource().GetFields() == nil {
		xr.Resource.Fields = map[string]*structpb.Value{}
	}
	for _, k := range []string{"apiVersion", "kind"} {
		v := c.Composite().String(k)
		if v == "" {
			return nil, errors.Errorf("cannot write desired XR: the observed one has no %s", k)
		}
		xr.Resource.Fields[k] = structpb.NewStringValue(v)
	}
	return xr, nil
}

// Condition writes a condition of the XR: type, status, reason and message.
func (c *Call) Condition(is metav1.Condition) {
	status := fnv1.Status_STATUS_CONDITION_UNKNOWN
	switch is.Status { //nolint:exhaustive // all else is unknown
	case metav1.ConditionTrue:
		status = fnv1.Status_STATUS_CONDITION_TRUE
	case metav1.ConditionFalse:
		status = fnv1.Status_STATUS_CONDITION_FALSE
	}
	reply.Condition(c.Rsp, is.Type, status, is.Reason, is.Message)
}

// Warn writes a warning event of the XR.
func (c *Call) Warn(reason, message string) {
	reply.Event(c.Rsp, fnv1.Severity_SEVERITY_WARNING, reason, message)
}

// Tell writes a normal event of the XR.
func (c *Call) Tell(reason, message string) {
	reply.Event(c.Rsp, fnv1.Severity_SEVERITY_NORMAL, reason, message)
}

// LookAgain asks Crossplane to run the pipeline again after so long. The shortest
// wish of a pipeline wins; 0 is none.
func (c *Call) LookAgain(after time.Duration) { c.Rsp.Meta.Ttl = durationpb.New(after) }

// HoldBack adds parts to those that earlier steps hold back, and says so in the
// condition. A step with gates calls it on every pass, with
// nothing when its gates are open, so that the condition never stands stale.
func (c *Call) HoldBack(parts ...v1alpha1.HeldBack) error {
	var all []v1alpha1.HeldBack
	if _, err := c.ContextInto(v1alpha1.ContextHeldBack, &all); err != nil {
		return err
	}
	for _, p := range parts {
		if !slices.Contains(all, p) { // Crossplane hands the context of one call to the next
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		reply.Condition(c.Rsp, v1alpha1.ConditionPartsHeldBack, fnv1.Status_STATUS_CONDITION_FALSE, v1alpha1.ReasonNothingHeldBack, "No part waits for another")
		return nil
	}
	says := make([]string, 0, len(all))
	for _, p := range all {
		says = append(says, p.Part+" waits for "+p.WaitsFor)
	}
	reply.Condition(c.Rsp, v1alpha1.ConditionPartsHeldBack, fnv1.Status_STATUS_CONDITION_TRUE, v1alpha1.ReasonWaitingForOthers, strings.Join(says, "; "))
	if err := c.SetContext(v1alpha1.ContextHeldBack, all); err != nil {
		return err
	}
	return c.NotReady()
}

// Require asks Crossplane for resources, under a key.
func (c *Call) Require(key string, sel *fnv1.ResourceSelector) {
	if c.Rsp.GetRequirements() == nil {
		c.Rsp.Requirements = &fnv1.Requirements{}
	}
	if c.Rsp.GetRequirements().GetResources() == nil {
		c.Rsp.Requirements.Resources = map[string]*fnv1.ResourceSelector{}
	}
	c.Rsp.Requirements.Resources[key] = sel
}

// manifests are buffers that AddComposed encodes into, before the response has them.
var manifests = sync.Pool{New: func() any { return new([]byte) }}

// AddComposed adds composed resources by name to the desired ones, each marked with the
// order's uid. It refuses to put another kind under the name of an observed resource:
// Crossplane would forget the observed one and leave it alive, unseen. A resource that
// isn't observed is asked for, and left out while its name is somebody else's (condition
// NamesFree).
func (c *Call) AddComposed(parts map[string]manifest.Object) error {
	if c.Rsp.GetDesired() == nil {
		c.Rsp.Desired = &fnv1.State{}
	}
	xr, living := c.owner(), c.AnyObserved()
	var taken []v1alpha1.TakenName
	var (
		add = make([]wire.Part, 0, len(parts))
		buf = manifests.Get().(*[]byte) //nolint:forcetypeassert // there is nothing else in it
		all = (*buf)[:0]
		err error
	)
	defer func() {
		if *buf = all; cap(all) <= 1<<20 { // what one giant needed isn't kept for all
			manifests.Put(buf)
		}
	}()
	for _, name := range manifest.Keys(parts) {
		if err := xr.marks(parts[name]); err != nil {
			return errors.Wrapf(err, "cannot render composed resource %q", name)
		}
		from := len(all)
		if all, err = manifest.Append(all, parts[name]); err != nil {
			return errors.Wrapf(err, "cannot render composed resource %q", name)
		}
		o := c.Observed(name)
		if !o.Exists() {
			if others := c.others(xr.names(name, parts[name], living)...); len(others) > 0 {
				taken = append(taken, others...)
				continue
			}
		} else if kind, group := kindOf(parts[name]); o.Kind() != kind || o.Group() != group {
			return errors.Errorf("cannot render composed resource %q as %s (%s): it is observed as %s (%s), which would live on unseen; delete that by hand first", name, kind, group, o.Kind(), o.Group())
		}
		add = append(add, wire.Part{Name: name, Manifest: all[from:]})
	}
	wire.SetComposed(c.Rsp.GetDesired(), add...)
	return c.sayTaken(taken, func(n v1alpha1.TakenName) bool { _, again := parts[n.Part]; return !again })
}

// NothingLost fails when one of the named composed resources is observed and not
// desired: leaving out is deleting. A step calls it last, with the names of its
// own parts.
func (c *Call) NothingLost(why string, names ...string) error {
	var lost []string
	desired := wire.All(c.Rsp.GetDesired())
	for _, n := range names {
		if c.Observed(n).Exists() && !desired[n].Exists() {
			lost = append(lost, n)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return errors.Errorf("cannot go on without deleting what lives: %s (not rendered: %s)", why, strings.Join(lost, ", "))
}

// kindOf returns a manifest's kind and API group.
func kindOf(m manifest.Object) (kind, group string) {
	kind, _ = m["kind"].(string)
	apiVersion, _ := m["apiVersion"].(string)
	return kind, groupOf(apiVersion)
}
