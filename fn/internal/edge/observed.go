package edge

import (
	"cmp"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"google.golang.org/protobuf/types/known/structpb"

	input "whisperops.io/functions/apis/input/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

// A Part is one observed composed resource, read in place. Every method takes
// whatever the request holds, garbage and nothing included.
type Part struct{ r *fnv1.Resource }

// Observed returns the observed composed resource of that name; it may not exist.
func Observed(req *fnv1.RunFunctionRequest, name string) Part {
	return Part{r: req.GetObserved().GetResources()[name]}
}

// Required returns the resources that Crossplane found for a requirement, and
// whether it has looked at all. An answer may be older than the requirement:
// Crossplane hands over at once what the previous pass asked for.
func Required(req *fnv1.RunFunctionRequest, key string) (found []Part, answered bool) {
	rs, answered := req.GetRequiredResources()[key]
	for _, r := range rs.GetItems() {
		found = append(found, Part{r: r})
	}
	return found, answered
}

// Exists says whether the resource is observed at all.
func (p Part) Exists() bool { return p.r != nil }

// Value returns the value at a path of map keys, or nil.
func (p Part) Value(path ...string) *structpb.Value {
	s := p.r.GetResource()
	for i, k := range path {
		v := s.GetFields()[k]
		if i == len(path)-1 {
			return v
		}
		s = v.GetStructValue()
	}
	return nil
}

// Into decodes the value at a path of map keys. It ignores fields that it doesn't
// know. Errors name the field, but not the part.
func (p Part) Into(into any, path ...string) error {
	return decode(p.Value(path...).AsInterface(), into)
}

// String returns the string at a path of map keys, or "".
func (p Part) String(path ...string) string { return p.Value(path...).GetStringValue() }

// Time returns the time at a path of map keys; the zero time when there is none that
// can be read.
func (p Part) Time(path ...string) time.Time {
	at, err := time.Parse(time.RFC3339, p.String(path...))
	if err != nil {
		return time.Time{}
	}
	return at
}

// Kind of the resource, as observed.
func (p Part) Kind() string { return p.String("kind") }

// Group is the API group of the resource, as observed.
func (p Part) Group() string { return groupOf(p.String("apiVersion")) }

// Deleting says whether the resource is being deleted.
func (p Part) Deleting() bool { return p.String("metadata", "deletionTimestamp") != "" }

// Created returns when the resource was created; the zero time when that isn't known.
func (p Part) Created() time.Time { return p.Time("metadata", "creationTimestamp") }

// Condition returns the status of a condition of the resource ("True", "False",
// "Unknown", or "" when it has none) and since when it has been so (zero when
// that isn't said).
func (p Part) Condition(typ string) (status string, since time.Time) {
	for _, v := range p.Value("status", "conditions").GetListValue().GetValues() {
		c := v.GetStructValue().GetFields()
		if c["type"].GetStringValue() != typ {
			continue
		}
		// An unreadable time is no time: nothing may depend on it then.
		since, err := time.Parse(time.RFC3339, c["lastTransitionTime"].GetStringValue())
		if err != nil {
			since = time.Time{}
		}
		return c["status"].GetStringValue(), since
	}
	return "", time.Time{}
}

// Message returns the message of a condition of the resource, or "".
func (p Part) Message(typ string) string {
	for _, v := range p.Value("status", "conditions").GetListValue().GetValues() {
		if c := v.GetStructValue().GetFields(); c["type"].GetStringValue() == typ {
			return c["message"].GetStringValue()
		}
	}
	return ""
}

// Ready says whether the resource's condition Ready is True.
func (p Part) Ready() bool {
	s, _ := p.Condition(v1alpha1.ConditionReady)
	return s == "True"
}

// HasConnectionDetail says whether the resource's connection details hold a value
// under key. The value itself is a secret, and never leaves this method.
func (p Part) HasConnectionDetail(key string) bool { return len(p.r.GetConnectionDetails()[key]) > 0 }

// NamespaceActive says whether the agent's namespace is there and going to stay:
// the gate of the parts that can't be made before it, or only once.
func NamespaceActive(req *fnv1.RunFunctionRequest) bool {
	o := Observed(req, v1alpha1.PartNamespace)
	wrapped := []string{"status", "atProvider", "manifest"}
	return o.Kind() == "Object" && !o.Deleting() &&
		o.String(append(wrapped, "status", "phase")...) == "Active" &&
		o.String(append(wrapped, "metadata", "deletionTimestamp")...) == ""
}

// NamespaceCreated returns when the agent's observed namespace was created; the zero
// time when that isn't known.
func NamespaceCreated(req *fnv1.RunFunctionRequest) time.Time {
	return Observed(req, v1alpha1.PartNamespace).Time("status", "atProvider", "manifest", "metadata", "creationTimestamp")
}

// OpenedBucket returns the bucket that an observed grant opens, or "" when there
// is no grant, or none that can be read.
func OpenedBucket(grant Part) string {
	switch input.GrantKind(grant.Kind()) {
	case input.GrantProjectIAMMember:
		return manifest.BucketOpenedBy(grant.String("spec", "forProvider", "condition", "expression"))
	case input.GrantBucketIAMMember:
		return grant.String("spec", "forProvider", "bucket")
	}
	return ""
}

// BaseDomain returns the domain that an agent is served under: its order's, or the one
// that it keeps because its order's isn't allowed.
func BaseDomain(req *fnv1.RunFunctionRequest, ordered string) string {
	return cmp.Or(req.GetContext().GetFields()[v1alpha1.ContextBaseDomain].GetStringValue(), ordered)
}

// AnyObserved says whether any composed resource is observed.
func AnyObserved(req *fnv1.RunFunctionRequest) bool { return len(req.GetObserved().GetResources()) > 0 }

// AddComposed adds composed resources by name to the desired ones, each marked with the
// order's uid. It refuses to put another kind under the name of an observed resource:
// Crossplane would forget the observed one and leave it alive, unseen. A resource that
// isn't observed is asked for, and left out while its name is somebody else's (condition
// NamesFree).
func AddComposed(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, parts map[string]manifest.Object) error {
	if rsp.GetDesired() == nil {
		rsp.Desired = &fnv1.State{}
	}
	if rsp.GetDesired().GetResources() == nil {
		rsp.Desired.Resources = make(map[string]*fnv1.Resource, len(parts))
	}
	xr, living := ownerOf(req), AnyObserved(req)
	var taken []v1alpha1.TakenName
	for _, name := range manifest.Keys(parts) {
		if err := xr.marks(parts[name]); err != nil {
			return errors.Wrapf(err, "cannot render composed resource %q", name)
		}
		s, err := manifest.Composed(parts[name])
		if err != nil {
			return errors.Wrapf(err, "cannot render composed resource %q", name)
		}
		o := Observed(req, name)
		if !o.Exists() {
			if others := ask(req, rsp, xr.names(name, parts[name], living)...); len(others) > 0 {
				taken = append(taken, others...)
				continue
			}
		} else if kind, group := s.GetFields()["kind"].GetStringValue(), groupOf(s.GetFields()["apiVersion"].GetStringValue()); o.Kind() != kind || o.Group() != group {
			return errors.Errorf("cannot render composed resource %q as %s (%s): it is observed as %s (%s), which would live on unseen; delete that by hand first", name, kind, group, o.Kind(), o.Group())
		}
		rsp.Desired.Resources[name] = &fnv1.Resource{Resource: s}
	}
	return sayTaken(req, rsp, taken, func(n v1alpha1.TakenName) bool { _, again := parts[n.Part]; return !again })
}

// NothingLost fails when one of the named composed resources is observed and not
// desired: leaving out is deleting. A step calls it last, with the names of its
// own parts.
func NothingLost(req *fnv1.RunFunctionRequest, rsp *fnv1.RunFunctionResponse, why string, names ...string) error {
	var lost []string
	for _, n := range names {
		if _, ok := rsp.GetDesired().GetResources()[n]; !ok && Observed(req, n).Exists() {
			lost = append(lost, n)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return errors.Errorf("cannot go on without deleting what lives: %s (not rendered: %s)", why, strings.Join(lost, ", "))
}

func groupOf(apiVersion string) string {
	if i := strings.LastIndex(apiVersion, "/"); i >= 0 {
		return apiVersion[:i]
	}
	return ""
}
