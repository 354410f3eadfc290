package properties

import (
	"strings"
	"testing"

	fnv1 "github.com/crossplane/function-sdk-go/proto/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/structpb"
	"pgregory.net/rapid"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/test/crossplane"
)

// A platform may change any input while agents live. What providers can't change
// they refuse for ever, or make a second time and forget the first: the place of a
// bucket, every field of a grant, and which resource an Object wraps.
func TestInputsDoNotMoveWhatLives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := withInputs(t, "before"), withInputs(t, "after")
		observed, _ := settle(t, before, orders().Draw(t, "order"), healthy)
		place(observed.GetResources())
		r := run(t, after, observed, healthy)
		if r.Fatal != "" {
			t.Fatal("a platform's change stops an agent: ", r.Fatal)
		}
		for _, name := range append(v1alpha1.AgentParts(), v1alpha1.PartSandboxServiceAccount) {
			was, is := identity(observed.GetResources()[name]), identity(r.Desired.GetResources()[name])
			if diff := cmp.Diff(was, is); diff != "" {
				t.Fatalf("%s moves (-observed, +rendered):\n%s", name, diff)
			}
		}
	})
}

// withInputs are the steps with inputs as a platform may choose them.
func withInputs(t *rapid.T, when string) []crossplane.Step {
	one := func(of ...any) any { return rapid.SampledFrom(of).Draw(t, when) }
	inputs := map[string]map[string]any{
		"render-iam": {
			"kind": "RenderIAMInput", "location": one("EU", "us-central1"), "grants": one("ProjectIAMMember", "BucketIAMMember"),
			"datasetsProjectId": one("", "acme-lake"), "dataDeletion": one("Delete", "Orphan"), "providerConfig": one("default", "other"),
			// Whether there is a key is decided when an agent is made, and never again.
			"credentials": one("Key", "WorkloadIdentity"), "workloadIdentityPool": one("", "acme-clusters.svc.id.goog"),
		},
		"render-workloads": {
			"kind": "RenderWorkloadsInput", "images": map[string]any{"sandbox": one("s:1", "s:2"), "chatFrontend": "c:1"},
			"ingress":       map[string]any{"className": one("nginx", "traefik"), "tlsIssuer": one("", "letsencrypt")},
			"model":         map[string]any{"name": one("gemini-2.5-pro", "gemini-2.5-flash")},
			"network":       map[string]any{"kagentNamespace": one("kagent", "ai")},
			"kagentVersion": one("v0.9", "v0.10"), "podTemplate": one(map[string]any{}, map[string]any{"runAs": "Platform", "qosClass": "Guaranteed"}),
			"podSecurity": one("restricted", "baseline"), "objectProviderConfig": one("in-cluster", "other"),
		},
		"render-dashboard": {"kind": "RenderDashboardInput", "dashboardsNamespace": one("monitoring", "grafana"), "folder": one("", "Agents")},
	}
	steps := agentSteps(t)
	for i, s := range steps {
		if in, ok := inputs[s.Name]; ok {
			in["apiVersion"] = "fn.whisperops.io/v1alpha1"
			steps[i].Input = in
		}
	}
	return steps
}

// place says of a bucket and a grant where they are, as the provider does.
func place(parts map[string]*fnv1.Resource) {
	for part, field := range map[string]string{v1alpha1.PartBucket: "location", v1alpha1.PartIAMDatasetsViewer: "project"} {
		o := parts[part].GetResource().GetFields()
		at := o["spec"].GetStructValue().GetFields()["forProvider"].GetStructValue().GetFields()[field].GetStringValue()
		if field == "location" {
			at = strings.ToUpper(at)
		}
		o["status"].GetStructValue().Fields["atProvider"] = structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{field: structpb.NewStringValue(at)}})
	}
}

// identity is what of a part can't be changed where it lives.
func identity(r *fnv1.Resource) map[string]any {
	o := r.GetResource().AsMap()
	id := map[string]any{"kind": o["kind"], "apiVersion": o["apiVersion"]}
	spec, _ := o["spec"].(map[string]any)
	fp, _ := spec["forProvider"].(map[string]any)
	switch o["kind"] {
	case "Bucket":
		location, _ := fp["location"].(string)
		id["location"], id["project"] = strings.ToUpper(location), fp["project"]
	case "ProjectIAMMember", "BucketIAMMember", "ServiceAccountKey":
		id["forProvider"], id["secret"] = fp, spec["writeConnectionSecretToRef"]
	case "Object":
		m, _ := fp["manifest"].(map[string]any)
		meta, _ := m["metadata"].(map[string]any)
		id["wraps"] = []any{m["apiVersion"], m["kind"], meta["namespace"], meta["name"]}
	}
	return id
}
