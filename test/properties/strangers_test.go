package properties

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/test/crossplane"
)

// A thing is what an object is found by.
type thing struct{ apiVersion, kind, namespace, name string }

func thingOf(o map[string]any) thing {
	meta, _ := o["metadata"].(map[string]any)
	text := func(m map[string]any, k string) string { s, _ := m[k].(string); return s }
	return thing{text(o, "apiVersion"), text(o, "kind"), text(meta, "namespace"), text(meta, "name")}
}

// askable is whether a step asks for what an Object wraps. What it can't ask for is held by
// an admission policy; docs/design/0012-ours-and-nobody-elses.md.
func (n thing) askable() bool {
	return !strings.HasPrefix(n.apiVersion, "kagent.dev/") && !strings.HasPrefix(n.apiVersion, "policies.kyverno.io/")
}

// needs are the things that a part is, and stands for.
func needs(part *fnv1.Resource) []thing {
	o := part.GetResource().AsMap()
	all := []thing{thingOf(o)}
	if m := wrapped(o); m != nil {
		if w := thingOf(m); w.askable() {
			all = append(all, w)
		}
	}
	return all
}

// stranger has a thing, and whatever a stranger may write on it.
func (n thing) stranger(t *rapid.T, agent string) map[string]any {
	meta := map[string]any{"name": n.name, "uid": "uid-of-a-stranger's"}
	if n.namespace != "" {
		meta["namespace"] = n.namespace
	}
	switch rapid.SampledFrom([]string{"bare", "label", "mark", "controlled", "marked and controlled", "owned"}).Draw(t, "stranger's") {
	case "label":
		meta["labels"] = map[string]any{v1alpha1.LabelAgent: agent, v1alpha1.LabelManagedBy: "crossplane"}
	case "mark":
		meta["labels"] = map[string]any{v1alpha1.LabelOrderUID: "99999999-2222-3333-4444-555555555555"}
	case "marked and controlled":
		meta["labels"] = map[string]any{v1alpha1.LabelOrderUID: "11111111-2222-3333-4444-555555555555"} // a mark that was copied
		fallthrough
	case "controlled":
		meta["ownerReferences"] = []any{map[string]any{"apiVersion": "example.org/v1", "kind": "Thing", "name": agent, "uid": "uid-of-a-thing", "controller": true}}
	case "owned":
		meta["ownerReferences"] = []any{map[string]any{"apiVersion": "example.org/v1", "kind": "Thing", "name": agent, "uid": "11111111-2222-3333-4444-555555555555"}}
	}
	return map[string]any{"apiVersion": n.apiVersion, "kind": n.kind, "metadata": meta}
}

// TestStrangersAreNeverWritten: whatever names of an order are somebody else's, in whatever
// pass they come and go, no part is made that is such a thing, or stands for one. Strangers
// come between passes, and delete and make anew; what is an order's own already is not
// theirs to take.
func TestStrangersAreNeverWritten(t *testing.T) {
	refused, made := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		steps := agentSteps(t)
		order := orders().Draw(t, "order")
		agent, _ := order["spec"].(map[string]any)["agentName"].(string)
		parts := everything(t, steps, order).Desired.GetResources()
		observed := &fnv1.State{Composite: &fnv1.Resource{Resource: mustStruct(order)}, Resources: map[string]*fnv1.Resource{}}
		if rapid.Bool().Draw(t, "lives") {
			for _, name := range slices.Sorted(maps.Keys(parts)) {
				if name == v1alpha1.PartNamespace || rapid.Bool().Draw(t, name) {
					observed.Resources[name] = live(name, parts[name], "True")
				}
			}
		}
		for range 4 {
			cluster, taken := slices.Clone(healthy), map[thing]bool{}
			for _, name := range slices.Sorted(maps.Keys(parts)) {
				if observed.GetResources()[name] != nil {
					continue
				}
				for _, n := range needs(parts[name]) {
					if rapid.SampledFrom([]bool{false, false, false, true}).Draw(t, "taken") {
						taken[n] = true
						cluster = append(cluster, n.stranger(t, agent))
					}
				}
			}
			home := thing{"v1", "Namespace", "", v1alpha1.AgentNamespace(agent)}
			if within := slices.ContainsFunc(slices.Collect(maps.Keys(taken)), func(n thing) bool { return n.namespace == home.name }); within && !taken[home] && observed.GetResources()[v1alpha1.PartNamespace] == nil {
				taken[home] = true // a namespace is there before what is in it
				cluster = append(cluster, home.stranger(t, agent))
			}
			r := run(t, steps, observed, cluster)
			if r.Fatal != "" {
				continue // Crossplane writes nothing
			}
			next := &fnv1.State{Composite: observed.GetComposite(), Resources: map[string]*fnv1.Resource{}}
			for name, d := range r.Desired.GetResources() {
				next.Resources[name] = live(name, d, "True")
				if observed.GetResources()[name] != nil {
					continue
				}
				made++
				for _, n := range needs(d) {
					if taken[n] {
						t.Fatalf("part %s is made, and %s is somebody else's", name, n)
					}
				}
			}
			if len(taken) > 0 {
				refused++
				if says(r, v1alpha1.ConditionNamesFree) != fnv1.Status_STATUS_CONDITION_FALSE && wanted(parts, r, taken) {
					t.Fatalf("nobody says that names are taken: %v", taken)
				}
			}
			observed = next
		}
	})
	if refused == 0 || made == 0 {
		t.Errorf("%d passes met strangers, %d parts were made: the property shows nothing", refused, made)
	}
}

// wanted is whether a part was left out whose names somebody else has.
func wanted(parts map[string]*fnv1.Resource, r *crossplane.Result, taken map[thing]bool) bool {
	for name, p := range parts {
		if r.Desired.GetResources()[name] != nil {
			continue
		}
		if slices.ContainsFunc(needs(p), func(n thing) bool { return taken[n] }) && !heldBack(r, name) {
			return true
		}
	}
	return false
}

// heldBack is whether a part waits for another, so that nobody asked for its names yet.
func heldBack(r *crossplane.Result, part string) bool {
	for _, c := range r.Conditions {
		if c.GetType() == v1alpha1.ConditionPartsHeldBack && strings.Contains(c.GetMessage(), part+" waits for ") {
			return true
		}
	}
	return false
}

func says(r *crossplane.Result, typ string) fnv1.Status {
	for _, c := range r.Conditions {
		if c.GetType() == typ {
			return c.GetStatus()
		}
	}
	return fnv1.Status_STATUS_CONDITION_UNSPECIFIED
}

func (n thing) String() string {
	return fmt.Sprintf("%s %s/%s", n.kind, n.namespace, n.name)
}
