package edge

import (
	"cmp"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/runtime"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/internal/wire"
)

// Ask returns what most stations begin with: it decodes the step's input into in, and
// returns the order and its dataset, in this sequence everywhere. What a platform
// team can mend is told before what a developer can. See Input, Order and Dataset.
func (c *Call) Ask(in runtime.Object, uses ...v1alpha1.OrderField) (*v1alpha1.XDatasetAgent, *v1alpha1.Dataset, error) {
	if err := c.Input(in); err != nil {
		return nil, nil, err
	}
	xr, err := c.Order(uses...)
	if err != nil {
		return nil, nil, err
	}
	d, err := c.Dataset()
	return xr, d, err
}

// Order returns the observed XDatasetAgent, or another kind that has the same
// fields. Only the fields that a station uses must be good, and its status is read only
// for who uses it. What the XRD refuses at admission is refused here too: an order rendered
// by hand has passed no admission.
func (c *Call) Order(uses ...v1alpha1.OrderField) (*v1alpha1.XDatasetAgent, error) {
	xr := &v1alpha1.XDatasetAgent{}
	unread := fieldsOfOthers
	if !slices.Contains(uses, v1alpha1.UsesStatus) {
		unread = statusToo
	}
	if err := c.compositeInto(xr, unread); err != nil {
		return nil, err
	}
	return xr, errors.Wrap(xr.Check(uses...), "cannot use order")
}

// Most of an XR is not for functions: who wrote which field, and Crossplane's list of
// its parts.
var (
	fieldsOfOthers = []wire.Unread{{Of: "metadata", Key: "managedFields"}, {Of: "spec", Key: "crossplane"}}
	statusToo      = append(slices.Clone(fieldsOfOthers), wire.Unread{Key: "status"})
)

// Dataset returns the context value that validate-dataset left: nil when the
// order can't be filled now.
func (c *Call) Dataset() (*v1alpha1.Dataset, error) {
	v, ok := wire.Field(c.Req.GetContext(), v1alpha1.ContextDataset)
	if !ok {
		return nil, errors.Errorf("context key %q is absent: the step validate-dataset sets it always, so it was left out of the pipeline, comes later, or a step in between dropped the context", v1alpha1.ContextDataset)
	}
	if IsNull(v) {
		return nil, nil //nolint:nilnil // null is an answer: there is no dataset now
	}
	d := &v1alpha1.Dataset{}
	if err := decode(v.AsInterface(), d); err != nil {
		return nil, errors.Wrapf(err, "cannot decode context key %q", v1alpha1.ContextDataset)
	}
	return d, errors.Wrapf(d.Validate(), "cannot use context key %q", v1alpha1.ContextDataset)
}

// BaseDomain returns the domain that an agent is served under: its order's, or the one
// that it keeps because its order's isn't allowed.
func (c *Call) BaseDomain(ordered string) string {
	return cmp.Or(c.ContextValue(v1alpha1.ContextBaseDomain).GetStringValue(), ordered)
}

// Composite returns the observed XR, to be read field by field.
func (c *Call) Composite() Part { return Part{r: wire.Composite(c.Req.GetObserved())} }

// DesiredComposite returns the XR as earlier steps want it; it holds a status at most.
func (c *Call) DesiredComposite() Part { return Part{r: wire.Composite(c.Req.GetDesired())} }

// CompositeInto decodes the observed XR. It ignores fields that it doesn't know,
// because Crossplane and later versions add some.
func (c *Call) CompositeInto(into any) error { return c.compositeInto(into, fieldsOfOthers) }

func (c *Call) compositeInto(into any, unread []wire.Unread) error {
	s := wire.Composite(c.Req.GetObserved()).Struct(unread...)
	if s == nil {
		return errors.New("cannot decode observed XR: the request holds none")
	}
	return errors.Wrap(decode(without(s, unread), into), "cannot decode observed XR")
}

// ContextInto decodes the value of a context key. It returns false when the key
// is absent or null.
func (c *Call) ContextInto(key string, into any) (bool, error) {
	v := c.ContextValue(key)
	if IsNull(v) {
		return false, nil
	}
	return true, errors.Wrapf(decode(v.AsInterface(), into), "cannot decode context key %q", key)
}

// ContextValue returns the value of a context key; nil when it is absent.
func (c *Call) ContextValue(key string) *structpb.Value {
	v, _ := wire.Field(c.Req.GetContext(), key)
	return v
}

// Observed returns the observed composed resource of that name; it may not exist.
func (c *Call) Observed(name string) Part {
	if c.observed == nil {
		c.observed = wire.All(c.Req.GetObserved())
	}
	return Part{r: c.observed[name]}
}

// AnyObserved says whether any composed resource is observed.
func (c *Call) AnyObserved() bool { return wire.AnyComposed(c.Req.GetObserved()) }

// Required returns the resources that Crossplane found for a requirement, and
// whether it has looked at all. An answer may be older than the requirement:
// Crossplane hands over at once what the previous pass asked for.
func (c *Call) Required(key string) (found []Part, answered bool) {
	rs, answered := wire.Required(c.Req, key)
	for _, r := range rs {
		found = append(found, Part{r: r})
	}
	return found, answered
}

// NamespaceActive says whether the agent's namespace is there and going to stay:
// the gate of the parts that can't be made before it, or only once.
func (c *Call) NamespaceActive() bool {
	o := c.Observed(v1alpha1.PartNamespace)
	wrapped := []string{"status", "atProvider", "manifest"}
	return o.Kind() == "Object" && !o.Deleting() &&
		o.String(append(wrapped, "status", "phase")...) == "Active" &&
		o.String(append(wrapped, "metadata", "deletionTimestamp")...) == ""
}

// NamespaceCreated returns when the agent's observed namespace was created; the zero
// time when that isn't known.
func (c *Call) NamespaceCreated() time.Time {
	return c.Observed(v1alpha1.PartNamespace).Time("status", "atProvider", "manifest", "metadata", "creationTimestamp")
}

// without returns plain Go, and spares decoding what nobody reads.
func without(s *structpb.Struct, unread []wire.Unread) map[string]any {
	out := make(map[string]any, len(s.GetFields()))
	for k, v := range s.GetFields() {
		if slices.Contains(unread, wire.Unread{Key: k}) {
			continue
		}
		if v.GetStructValue() == nil || !slices.ContainsFunc(unread, func(f wire.Unread) bool { return f.Of == k }) {
			out[k] = v.AsInterface()
			continue
		}
		m := make(map[string]any, len(v.GetStructValue().GetFields()))
		for mk, mv := range v.GetStructValue().GetFields() {
			if !slices.Contains(unread, wire.Unread{Of: k, Key: mk}) {
				m[mk] = mv.AsInterface()
			}
		}
		out[k] = m
	}
	return out
}
