package edge

import (
	"maps"
	"slices"
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"

	"whisperops.io/functions/fn/internal/manifest"
	"whisperops.io/functions/internal/wire"
)

const (
	orderUID  = "11111111-2222-3333-4444-555555555555"
	backupUID = "99999999-2222-3333-4444-555555555555"
)

// ordered is a request of an order with a uid.
func ordered(t *testing.T, annotations map[string]any) *fnv1.RunFunctionRequest {
	t.Helper()
	o := order(goodSpec())
	o["metadata"] = map[string]any{"name": "bot", "uid": orderUID, "annotations": annotations}
	return requestOf(t, o)
}

func controlledBy(uid string) map[string]any {
	return map[string]any{"ownerReferences": []any{map[string]any{"kind": "XDatasetAgent", "name": "bot", "uid": uid, "controller": true}}}
}

func markedWith(uid string) map[string]any {
	return map[string]any{"labels": map[string]any{"whisperops.io/order-uid": uid}}
}

func TestOwns(t *testing.T) {
	both := markedWith(orderUID)
	maps.Copy(both, controlledBy(backupUID))
	restored := map[string]any{"whisperops.io/restored-from": backupUID}
	for name, tc := range map[string]struct {
		reason      string
		annotations map[string]any
		meta        map[string]any
		want        bool
	}{
		"Nothing":          {reason: "What carries no proof is somebody else's.", meta: map[string]any{}},
		"OurController":    {reason: "Crossplane wrote it.", meta: controlledBy(orderUID), want: true},
		"OurMark":          {reason: "What an Object wraps has no controller.", meta: markedWith(orderUID), want: true},
		"OtherController":  {reason: "Another order's part.", meta: controlledBy(backupUID)},
		"OtherMark":        {reason: "An earlier order of the same name.", meta: markedWith(backupUID)},
		"AgentLabel":       {reason: "A label that anybody can write proves nothing.", meta: map[string]any{"labels": map[string]any{"whisperops.io/agent": "bot"}}},
		"MarkOnAnothers":   {reason: "A mark says nothing against a controller.", meta: both},
		"Restored":         {reason: "A person said which order it was.", annotations: restored, meta: markedWith(backupUID), want: true},
		"RestoredObject":   {reason: "As above, for a composed resource of the old order.", annotations: restored, meta: controlledBy(backupUID), want: true},
		"RestoredNotAll":   {reason: "Only what carries the old order's mark is taken over.", annotations: restored, meta: markedWith("other")},
		"RestoredUnmarked": {reason: "As above.", annotations: restored, meta: map[string]any{}},
		"NoController":     {reason: "An owner that isn't the controller made nothing.", meta: map[string]any{"ownerReferences": []any{map[string]any{"uid": orderUID}}}},
		"Rubbish":          {reason: "An unreadable owner is none.", meta: map[string]any{"ownerReferences": "x", "labels": 1.0}},
	} {
		t.Run(name, func(t *testing.T) {
			p := Part{r: wire.Decoded(&fnv1.Resource{Resource: object(t, map[string]any{"metadata": tc.meta})})}
			if got := (&Call{Req: ordered(t, tc.annotations)}).owner().owns(p); got != tc.want {
				t.Errorf("%s\nowns(...) = %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
	if (owner{}).owns(Part{r: wire.Decoded(&fnv1.Resource{Resource: object(t, map[string]any{"metadata": markedWith("")})})}) {
		t.Error("an order without a uid owns what carries none")
	}
}

// An object's name is asked for until it is made, and never again.
func TestAddComposedAsksFirst(t *testing.T) {
	parts := func() map[string]manifest.Object {
		return map[string]manifest.Object{
			"bucket": {"apiVersion": "storage.gcp.upbound.io/v1beta2", "kind": "Bucket", "metadata": manifest.Object{"name": "agent-bot-bucket"}},
			"prompts": manifest.Wrapped{Name: "agent-bot-prompts", Namespace: "crossplane-system", Manifest: manifest.Object{
				"apiVersion": "v1", "kind": "ConfigMap", "metadata": manifest.Object{"name": "agent-prompts", "namespace": "agent-bot"},
			}}.Object(),
			"dashboard": manifest.Wrapped{Name: "agent-bot-dashboard", Namespace: "crossplane-system", Manifest: manifest.Object{
				"apiVersion": "v1", "kind": "ConfigMap", "metadata": manifest.Object{"name": "agent-bot-dashboard", "namespace": "monitoring", "labels": manifest.Object{"a": "b"}},
			}}.Object(),
		}
	}
	req, rsp := ordered(t, nil), &fnv1.RunFunctionResponse{}
	says(t, (&Call{Req: req, Rsp: rsp}).AddComposed(parts()), "")
	asked := slices.Sorted(maps.Keys(rsp.GetRequirements().GetResources()))
	want := []string{"name/bucket/Bucket", "name/dashboard/ConfigMap", "name/dashboard/Object", "name/prompts/Object"}
	if !slices.Equal(asked, want) {
		t.Errorf("asked for %v, want %v: the namespace stands for what is in it, until the order lives", asked, want)
	}

	// Crossplane has looked: the dashboard's ConfigMap is somebody else's.
	foreign := &fnv1.Resource{Resource: object(t, map[string]any{"kind": "ConfigMap", "metadata": map[string]any{"name": "agent-bot-dashboard"}})}
	req.RequiredResources = map[string]*fnv1.Resources{}
	for _, k := range asked {
		req.RequiredResources[k] = &fnv1.Resources{}
	}
	req.RequiredResources["name/dashboard/ConfigMap"].Items = []*fnv1.Resource{foreign}
	rsp = &fnv1.RunFunctionResponse{}
	says(t, (&Call{Req: req, Rsp: rsp}).AddComposed(parts()), "")
	if got := slices.Sorted(maps.Keys(decoded(t, rsp))); !slices.Equal(got, []string{"bucket", "prompts"}) {
		t.Errorf("made: %v; want all but the one whose name is taken", got)
	}
	c := rsp.GetConditions()
	if len(c) != 1 || c[0].GetReason() != "NameTaken" || !strings.Contains(c[0].GetMessage(), "ConfigMap monitoring/agent-bot-dashboard was not made by this order") {
		t.Errorf("the condition must name the object: %v", c)
	}
	if rsp.GetDesired().GetComposite().GetReady() != fnv1.Ready_READY_FALSE {
		t.Error("an order without a part is not ready")
	}
	for name, r := range decoded(t, rsp) {
		p := Part{r: wire.Decoded(r)}
		if p.String("metadata", "labels", "whisperops.io/order-uid") != orderUID {
			t.Errorf("%s carries no mark", name)
		}
		if p.Kind() == "Object" && p.String("spec", "forProvider", "manifest", "metadata", "labels", "whisperops.io/order-uid") != orderUID {
			t.Errorf("what %s wraps carries no mark", name)
		}
	}

	// An answer to what an earlier pass asked for says nothing.
	req.RequiredResources["name/dashboard/ConfigMap"].Items[0] = &fnv1.Resource{Resource: object(t, map[string]any{"metadata": map[string]any{"name": "agent-other-dashboard"}})}
	rsp = &fnv1.RunFunctionResponse{}
	says(t, (&Call{Req: req, Rsp: rsp}).AddComposed(parts()), "")
	if len(decoded(t, rsp)) != 3 {
		t.Error("an object of another name takes no name")
	}

	// A part that lives is rendered whatever is answered, and not asked for.
	req.Observed.Resources = map[string]*fnv1.Resource{"dashboard": {Resource: object(t, map[string]any{"apiVersion": "kubernetes.m.crossplane.io/v1alpha1", "kind": "Object"})}}
	req.RequiredResources["name/dashboard/ConfigMap"].Items = []*fnv1.Resource{foreign}
	rsp = &fnv1.RunFunctionResponse{}
	says(t, (&Call{Req: req, Rsp: rsp}).AddComposed(parts()), "")
	if decoded(t, rsp)["dashboard"] == nil {
		t.Error("a taken name makes a living agent lose a part")
	}
	if asked := slices.Sorted(maps.Keys(rsp.GetRequirements().GetResources())); !slices.Equal(asked, []string{"name/bucket/Bucket", "name/prompts/ConfigMap", "name/prompts/Object"}) {
		t.Errorf("an order that lives asks for what is in its namespace, too, and not for what it has: %v", asked)
	}
}

// A name that is no longer taken is said once, and never where none was.
func TestNamesFreeAgain(t *testing.T) {
	for was, want := range map[string]string{"": "", "True": "", "False": "NoNameTaken", "Unknown": "NoNameTaken"} {
		o := order(goodSpec())
		if was != "" {
			o["status"] = map[string]any{"conditions": []any{map[string]any{"type": "NamesFree", "status": was}}}
		}
		rsp, got := &fnv1.RunFunctionResponse{}, ""
		says(t, (&Call{Req: requestOf(t, o), Rsp: rsp}).AddComposed(nil), "")
		for _, c := range rsp.GetConditions() {
			got = c.GetReason()
		}
		if got != want {
			t.Errorf("after NamesFree=%q: %q, want %q", was, got, want)
		}
	}
}

// Later steps name what earlier ones found, and Crossplane's second call of a step
// brings along what the first one left.
func TestTakenNamesAddUp(t *testing.T) {
	req := ordered(t, nil)
	req.Context = object(t, map[string]any{"names_taken": []any{map[string]any{"part": "bucket", "by": "Bucket x"}}})
	rsp := &fnv1.RunFunctionResponse{Context: req.GetContext()}
	says(t, (&Call{Req: req, Rsp: rsp}).AddComposed(nil), "")
	if c := rsp.GetConditions(); len(c) != 1 || !strings.Contains(c[0].GetMessage(), "Bucket x") {
		t.Errorf("a step denies what an earlier one found: %v", c)
	}
	if len(rsp.GetResults()) != 0 {
		t.Errorf("one event for one finding: %v", rsp.GetResults())
	}

	// The first call of this step had an old answer, the second has a new one.
	rsp = &fnv1.RunFunctionResponse{Context: req.GetContext()}
	says(t, (&Call{Req: req, Rsp: rsp}).AddComposed(map[string]manifest.Object{"bucket": {"apiVersion": "storage.gcp.upbound.io/v1beta2", "kind": "Bucket", "metadata": manifest.Object{"name": "agent-bot-bucket"}}}), "")
	if c := rsp.GetConditions(); len(c) != 0 || decoded(t, rsp)["bucket"] == nil {
		t.Errorf("what an older answer said is kept: %v", c)
	}
}
