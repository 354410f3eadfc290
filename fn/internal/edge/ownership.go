package edge

import (
	"slices"
	"strings"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
	"whisperops.io/functions/internal/errors"
	"whisperops.io/functions/internal/reply"
	"whisperops.io/functions/internal/wire"
)

// Before the first creation of a part its name is asked for. An object of that name
// that this XR did not make is never adopted: server-side apply would merge into it, and
// the XR's deletion would take it along. A part that is observed is the XR's own, and is
// never asked for again: a name that is taken makes nobody lose a part.
//
// Nothing is made before somebody has looked, though the call that asks renders, too: only
// the response to a call that has all answers is ever used. Crossplane calls again until
// a step asks for no more, and drops what the step said before.

// A Name is what an object is found by.
type Name struct {
	Part                              string // composed resource name that needs it
	APIVersion, Kind, Namespace, Name string // Namespace is empty for what is cluster-scoped
}

func (n Name) String() string {
	if n.Namespace == "" {
		return n.Kind + " " + n.Name
	}
	return n.Kind + " " + n.Namespace + "/" + n.Name
}

// key of the requirement. It holds the kind: a part and what it wraps are two names.
func (n Name) key() string { return "name/" + n.Part + "/" + n.Kind }

// others requires the objects of the given names, and returns those that somebody else has.
func (c *Call) others(names ...Name) (taken []v1alpha1.TakenName) {
	xr := c.owner()
	for _, n := range names {
		for _, p := range c.LookUp(n.key(), n) {
			if !xr.owns(p) {
				taken = append(taken, v1alpha1.TakenName{Part: n.Part, By: n.String() + " " + xr.says(p)})
			}
		}
	}
	return taken
}

// LookUp requires the object of a name under a key, and returns it if Crossplane has found it.
// An object of another name is the answer to what an earlier pass asked for.
func (c *Call) LookUp(key string, n Name) []Part {
	sel := &fnv1.ResourceSelector{ApiVersion: n.APIVersion, Kind: n.Kind, Match: &fnv1.ResourceSelector_MatchName{MatchName: n.Name}}
	if n.Namespace != "" {
		sel.Namespace = &n.Namespace
	}
	c.Require(key, sel)
	found, _ := c.Required(key)
	return slices.DeleteFunc(found, func(p Part) bool { return p.String("metadata", "name") != n.Name })
}

// LookUpLabelled requires the objects of a kind that have labels under a key, in whatever
// namespace, and returns those that Crossplane has found.
func (c *Call) LookUpLabelled(key, apiVersion, kind string, labels map[string]string) []Part {
	c.Require(key, &fnv1.ResourceSelector{
		ApiVersion: apiVersion, Kind: kind,
		Match: &fnv1.ResourceSelector_MatchLabels{MatchLabels: &fnv1.MatchLabels{Labels: labels}},
	})
	found, _ := c.Required(key)
	return found
}

// Unadopted returns the object of a name that is proved to be the XR's own, though Crossplane
// doesn't count it among its parts: what an order made that was then restored from a backup.
func (c *Call) Unadopted(n Name) Part {
	xr := c.owner()
	for _, p := range c.LookUp(n.key(), n) {
		if xr.owns(p) {
			return p
		}
	}
	return Part{}
}

// An owner is the XR of a request, as what proves that a thing is its own.
type owner struct {
	kind, agent string
	uid         string // "" where nobody gave the XR one: composition render
	restored    string // the uid that it had in a backup, or ""
}

func (c *Call) owner() owner {
	xr := c.Composite()
	return owner{
		kind:     xr.Kind(),
		agent:    xr.String("spec", "agentName"),
		uid:      xr.String("metadata", "uid"),
		restored: xr.String("metadata", "annotations", v1alpha1.AnnotationRestoredFrom),
	}
}

// owns says whether an object is proved to be the XR's: by its controller or, where it
// has none, by the uid it is marked with. A mark says nothing against a controller.
func (o owner) owns(p Part) bool {
	proof := p.Controller()
	if proof == "" {
		proof = p.String("metadata", "labels", v1alpha1.LabelOrderUID)
	}
	return proof != "" && (proof == o.uid || proof == o.restored)
}

// says what is known of an object that isn't the XR's, and the way out.
func (o owner) says(p Part) string {
	mark := p.String("metadata", "labels", v1alpha1.LabelOrderUID)
	switch {
	case p.Deleting():
		return "is not this order's and is being deleted: this goes on when it is gone"
	case mark != "" && o.kind == v1alpha1.KindXDatasetAgent:
		return "carries the mark of another order, uid " + mark + ": if this order was restored from a backup in which it had that uid, say so with its annotation " + v1alpha1.AnnotationRestoredFrom
	}
	return "was not made by this order"
}

// marks puts the order's uid on what the order makes: on a composed resource, and on
// what an Object wraps. A budget's Objects wrap what is somebody else's.
func (o owner) marks(m manifest.Object) error {
	if o.kind != v1alpha1.KindXDatasetAgent || o.uid == "" {
		return nil
	}
	if err := label(m, v1alpha1.LabelOrderUID, o.uid); err != nil {
		return err
	}
	if wrapped := wrappedBy(m); wrapped != nil {
		return label(wrapped, v1alpha1.LabelOrderUID, o.uid)
	}
	return nil
}

func label(m manifest.Object, key, value string) error {
	meta, ok := m["metadata"].(manifest.Object)
	if !ok {
		return errors.New("cannot mark it with its order's uid: it has no metadata")
	}
	switch labels := meta["labels"].(type) {
	case nil:
		meta["labels"] = manifest.Object{key: value}
	case manifest.Object:
		labels[key] = value
	case map[string]string:
		labels[key] = value
	default:
		return errors.Errorf("cannot mark it with its order's uid: its labels are a %T", labels)
	}
	return nil
}

// wrappedBy returns the manifest that an Object of provider-kubernetes wraps, or nil.
func wrappedBy(m manifest.Object) manifest.Object {
	apiVersion, _ := m["apiVersion"].(string)
	if group := groupOf(apiVersion); m["kind"] != "Object" || group != "kubernetes.crossplane.io" && group != "kubernetes.m.crossplane.io" {
		return nil
	}
	spec, _ := m["spec"].(manifest.Object)
	forProvider, _ := spec["forProvider"].(manifest.Object)
	wrapped, _ := forProvider["manifest"].(manifest.Object)
	return wrapped
}

// askable are the kinds of wrapped objects that can be asked for. A kind that Crossplane
// may not read blocks the whole XR, and so does one whose CRD isn't there: those of
// kagent and Kyverno are left to the admission policy, and Secrets to nobody.
var askable = map[string]bool{
	"v1/Namespace": true, "v1/ConfigMap": true, "v1/Service": true, "v1/ServiceAccount": true,
	"apps/v1/Deployment":                       true,
	"networking.k8s.io/v1/NetworkPolicy":       true,
	"networking.k8s.io/v1/Ingress":             true,
	"rbac.authorization.k8s.io/v1/RoleBinding": true,
}

// names returns what must be free before a part is made for the first time. As long as
// nothing of an order is observed, its namespace stands for all that is in it.
func (o owner) names(part string, m manifest.Object, living bool) []Name {
	names := []Name{nameOf(part, m)}
	wrapped := wrappedBy(m)
	if wrapped == nil || o.kind != v1alpha1.KindXDatasetAgent {
		return names
	}
	n := nameOf(part, wrapped)
	if askable[n.APIVersion+"/"+n.Kind] && (living || n.Namespace != v1alpha1.AgentNamespace(o.agent)) {
		names = append(names, n)
	}
	return names
}

func nameOf(part string, m manifest.Object) Name {
	meta, _ := m["metadata"].(manifest.Object)
	text := func(o manifest.Object, k string) string { s, _ := o[k].(string); return s }
	return Name{Part: part, APIVersion: text(m, "apiVersion"), Kind: text(m, "kind"), Namespace: text(meta, "namespace"), Name: text(meta, "name")}
}

// NamesTaken asks for the names that an order needs before it makes anything, and knows of
// some that are taken already. It says whether one is somebody else's.
func (c *Call) NamesTaken(names []Name, known ...v1alpha1.TakenName) (bool, error) {
	taken := append(c.others(names...), known...)
	return len(taken) > 0, c.sayTaken(taken, func(v1alpha1.TakenName) bool { return false })
}

// SayTaken is for a name that a step itself found to be somebody else's.
func (c *Call) SayTaken(names ...v1alpha1.TakenName) error {
	return c.sayTaken(names, func(v1alpha1.TakenName) bool { return true })
}

// UIDs returns the uid of the request's order, and the one that it was restored from; each
// may be "".
func (c *Call) UIDs() (own, restored string) {
	o := c.owner()
	return o.uid, o.restored
}

// sayTaken adds names to those that earlier steps found taken, and says so in the
// condition: when there are some, and once more when there are none any longer. Crossplane
// hands the context of a step's first call to the next: what is asked anew isn't kept.
func (c *Call) sayTaken(names []v1alpha1.TakenName, keep func(v1alpha1.TakenName) bool) error {
	var all []v1alpha1.TakenName
	v, ok := wire.Field(c.Rsp.GetContext(), v1alpha1.ContextNamesTaken) // what this step found before, too
	if ok && !IsNull(v) {
		if err := decode(v.AsInterface(), &all); err != nil {
			return errors.Wrapf(err, "cannot decode context key %q", v1alpha1.ContextNamesTaken)
		}
	}
	before := len(all)
	all = slices.DeleteFunc(all, func(n v1alpha1.TakenName) bool { return !keep(n) })
	all = append(all, names...)
	if before > 0 && len(all) == 0 {
		wire.DeleteField(c.Rsp.GetContext(), v1alpha1.ContextNamesTaken)
	}
	was, _ := c.Composite().Condition(v1alpha1.ConditionNamesFree)
	if len(all) == 0 {
		if was != "" && was != "True" {
			reply.Condition(c.Rsp, v1alpha1.ConditionNamesFree, fnv1.Status_STATUS_CONDITION_TRUE, v1alpha1.ReasonNoNameTaken, "No name that is needed is taken any longer")
		}
		return nil
	}
	says := make([]string, 0, len(all))
	for _, n := range all {
		says = append(says, n.By)
	}
	message := strings.Join(says, "; ") + ". Nothing of that is changed, and what needs the name is not made: order under another name, or have it removed"
	reply.Condition(c.Rsp, v1alpha1.ConditionNamesFree, fnv1.Status_STATUS_CONDITION_FALSE, v1alpha1.ReasonNameTaken, message)
	if was != "False" && len(names) > 0 {
		c.Warn(v1alpha1.ReasonNameTaken, message)
	}
	if err := c.SetContext(v1alpha1.ContextNamesTaken, all); err != nil {
		return err
	}
	return c.NotReady()
}

// Controller returns the uid of the object's controller, or "".
func (p Part) Controller() string { return string(p.ControlledBy().UID) }

// ControlledBy returns what controls the object; empty while nothing does.
func (p Part) ControlledBy() metav1.OwnerReference {
	for _, v := range p.Value("metadata", "ownerReferences").GetListValue().GetValues() {
		r := v.GetStructValue().GetFields()
		if is := Bool(r["controller"]); is != nil && *is {
			text := func(k string) string { return r[k].GetStringValue() }
			return metav1.OwnerReference{APIVersion: text("apiVersion"), Kind: text("kind"), Name: text("name"), UID: types.UID(text("uid"))}
		}
	}
	return metav1.OwnerReference{}
}
