package main

import (
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// loaded are the kinds by the folder they came from: the real CRDs are large.
var loaded = map[string]kinds{}

// newChecker returns a checker that knows our kinds and those in dirs, separated by
// colons.
func newChecker(t *testing.T, dirs string) *checker {
	t.Helper()
	ks := loaded[dirs]
	if ks == nil {
		var err error
		if ks, err = loadOurs(pkg); err != nil {
			t.Fatal(err)
		}
		for _, dir := range filepath.SplitList(dirs) {
			n, err := ks.load(dir)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				t.Fatalf("no CRD in %s", dir)
			}
		}
		loaded[dirs] = ks
	}
	role, err := loadProviderRole("../..", providerRoleFile, providerRoleName)
	if err != nil {
		t.Fatal(err)
	}
	return &checker{kinds: ks, provider: role, report: newReport()}
}

// expect checks one composed resource and compares with the one failure that is
// wanted; empty wants none.
func expect(t *testing.T, c *checker, doc, xrNamespace, want string) {
	t.Helper()
	o, err := decode([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	c.composed(place{file: "test", part: "part"}, o, xrNamespace)
	got := strings.Join(c.report.failures, "\n")
	switch {
	case want == "" && got != "":
		t.Errorf("refused:\n%s", got)
	case want != "" && !strings.Contains(got, want):
		t.Errorf("got %q, want a failure with %q", got, want)
	}
}

const bucket = `
apiVersion: example.org/v1beta2
kind: Bucket
metadata: {name: b}
spec: {location: EU, versioning: {enabled: true}, rules: [{name: a}, {name: b}]}
`

// TestComposed takes one thing after the other out of a bucket that is accepted.
func TestComposed(t *testing.T) {
	for name, tc := range map[string]struct{ old, now, want string }{
		"Accepted":             {},
		"UnknownField":         {"location: EU", "location: EU, lokation: EU", "spec.lokation: Forbidden: field not declared in schema"},
		"UnknownNestedField":   {"{enabled: true}", "{enabled: true, since: today}", "spec.versioning.since: Forbidden"},
		"UnknownMetadata":      {"{name: b}", "{name: b, label: {}}", "metadata.label: Forbidden"},
		"ListOfOne":            {"versioning: {enabled: true}", "versioning: [{enabled: true}]", "spec.versioning in body must be of type object"},
		"NumberForText":        {"location: EU", "location: 1", "spec.location in body must be of type string"},
		"TooLong":              {"location: EU", "location: a-place-that-is-far-away", "spec.location: Too long"},
		"NoSpec":               {"spec: {location", "speck: {location", "spec: Required value"},
		"RuleBroken":           {"location: EU, ", "", "location is required unless the bucket is only observed"},
		"DefaultSeenByRule":    {"location: EU", "deletionPolicy: Orphan", ""},
		"NotInEnum":            {"location: EU", "location: EU, deletionPolicy: Keep", `Unsupported value: "Keep"`},
		"TwoEntriesOneKey":     {"{name: b}]", "{name: a}]", `spec.rules[1]: Duplicate value`},
		"KindUnknown":          {"kind: Bucket", "kind: Pail", `no matches for kind "Pail"`},
		"GroupUnknown":         {"example.org/v1beta2", "example.com/v1beta2", `no matches for kind "Bucket" in group "example.com"`},
		"VersionUnknown":       {"v1beta2", "v1", `no matches for kind "Bucket" in version "example.org/v1": served are v1beta2`},
		"VersionNotServed":     {"v1beta2", "v1beta1", "served are v1beta2"},
		"NamespaceOfCluster":   {"{name: b}", "{name: b, namespace: c}", "metadata.namespace: Forbidden"},
		"NoName":               {"metadata: {name: b}", "metadata: {}", "metadata.name: missing"},
		"BadName":              {"metadata: {name: b}", "metadata: {name: B}", "a lowercase RFC 1123 subdomain"},
		"BadLabel":             {"{name: b}", "{name: b, labels: {a: with space}}", "metadata.labels: Invalid value"},
		"AnnotationNotString":  {"{name: b}", "{name: b, annotations: {a: 1}}", "metadata"},
		"StatusIsNotDesired":   {"spec: {location", "status: {}\nspec: {location", "status: a function says what should be"},
		"ListTypeOfOurKind":    {"example.org/v1beta2\nkind: Bucket", "whisperops.io/v1alpha1\nkind: XDataset", "spec.gcsPath: Required value"},
		"InputIsNotComposable": {"example.org/v1beta2\nkind: Bucket", "fn.whisperops.io/v1alpha1\nkind: DecideInput", "metadata.namespace: Required value"},
	} {
		t.Run(name, func(t *testing.T) {
			doc := strings.Replace(bucket, tc.old, tc.now, 1)
			if name != "Accepted" && doc == bucket {
				t.Fatalf("%q is not in the sample", tc.old)
			}
			expect(t, newChecker(t, "testdata/crds"), doc, "", tc.want)
		})
	}
}

const deployment = `
apiVersion: kubernetes.m.crossplane.io/v1alpha1
kind: Object
metadata: {name: agent-a-sandbox-deployment, namespace: crossplane-system}
spec:
  readiness:
    policy: DeriveFromCelQuery
    celQuery: has(object.status) && has(object.status.conditions) && object.status.conditions.exists(c, c.type == "Available" && c.status == "True") && has(object.status.observedGeneration) && object.status.observedGeneration >= object.metadata.generation
  forProvider:
    manifest:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: sandbox, namespace: agent-a}
      spec:
        selector: {matchLabels: {app: sandbox}}
        template:
          metadata: {labels: {app: sandbox}}
          spec:
            containers:
              - name: sandbox
                image: ghcr.io/whisperops/sandbox:v0.1.0
                env: [{name: A, value: b}, {name: B, value: c}]
                ports: [{name: http, containerPort: 8080}]
                resources: {limits: {memory: 1Gi}}
                readinessProbe: {httpGet: {path: /, port: http}}
`

// TestWrapped takes one thing after the other out of an Object that is accepted
// and becomes ready.
func TestWrapped(t *testing.T) {
	for name, tc := range map[string]struct{ old, now, want string }{
		"Accepted":          {},
		"UnknownField":      {"image: ghcr", "imagine: true\n                image: ghcr", "field not declared in schema"},
		"TypoInProbe":       {"httpGet: {path", "httpget: {path", "field not declared in schema"},
		"SelectorMismatch":  {"labels: {app: sandbox}}\n          spec", "labels: {app: other}}\n          spec", "`selector` does not match template `labels`"},
		"NoSelector":        {"        selector: {matchLabels: {app: sandbox}}\n", "", "spec.selector: Required value"},
		"TwoEnvOfOneName":   {"{name: B, value: c}", "{name: A, value: c}", "duplicate"},
		"BadQuantity":       {"memory: 1Gi", "memory: 1 GiB", "quantities must match"},
		"PortName":          {"name: http, containerPort", "name: a-very-long-port-name, containerPort", "must be no more than 15 characters"},
		"NoNamespace":       {"namespace: agent-a}", "labels: {a: b}}", "metadata.namespace: Required value"},
		"KindUnknown":       {"kind: Deployment", "kind: Deploymint", `no matches for kind "Deploymint"`},
		"VersionUnknown":    {"apps/v1", "apps/v1beta1", `no matches for kind "Deployment"`},
		"ManifestStatus":    {"      spec:\n        selector", "      status: {}\n      spec:\n        selector", "status: a manifest says what should be"},
		"Forbidden":         {"apiVersion: apps/v1\n      kind: Deployment", "apiVersion: v1\n      kind: Secret", "does not let provider-kubernetes create, delete, get, list, patch, watch it"},
		"QueryOfNothing":    {"celQuery: has(object.status) &&", "celQuery: has(object.statis) &&", "never counts as ready"},
		"OptionalSyntax":    {"celQuery: has(object.status) &&", "celQuery: object.?status.hasValue() &&", "celQuery does not compile"},
		"QueryOfAnyType":    {"celQuery: has(object.status) &&", "celQuery: object.status.ready #", "celQuery is of type dyn, not bool"},
		"FailsOnEmpty":      {"celQuery: has(object.status) &&", "celQuery: object.status.replicas > 0 &&", "can't be judged"},
		"ReadyTooEarly":     {`conditions.exists(c, c.type == "Available" && c.status == "True")`, `conditions.exists(c, c.type == "Available")`, `"pods are starting" counts as ready`},
		"ReadyTooEarly2":    {"&& has(object.status.observedGeneration) && object.status.observedGeneration >= object.metadata.generation", "", `"the spec was changed and the controller has not looked yet" counts as ready`},
		"NeverReady":        {`c.type == "Available"`, `c.type == "Availible"`, "never counts as ready"},
		"NeverReadyEither":  {"policy: DeriveFromCelQuery", "policy: DeriveFromObject", "never counts as ready"},
		"AllTrueOldSpec":    {"policy: DeriveFromCelQuery", "policy: AllTrue", "counts as ready"},
		"QueryWithoutUse":   {"policy: DeriveFromCelQuery", "policy: SuccessfulCreate", "celQuery has no effect"},
		"UnknownPolicy":     {"policy: DeriveFromCelQuery", "policy: WhenReady", `no policy "WhenReady"`},
		"NobodyKnows":       {"apiVersion: apps/v1\n      kind: Deployment", "apiVersion: v1\n      kind: Service", "nobody knows when a Service is ready"},
		"ObjectNameTooLong": {"agent-a-sandbox-deployment", strings.Repeat("a", 109), "the field manager"},
		"NoManifest":        {"manifest:", "manifesto:", "spec.forProvider.manifest: missing"},
	} {
		t.Run(name, func(t *testing.T) {
			doc := strings.Replace(deployment, tc.old, tc.now, 1)
			if name != "Accepted" && doc == deployment {
				t.Fatalf("%q is not in the sample", tc.old)
			}
			expect(t, newChecker(t, "testdata/crds"), doc, "", tc.want)
		})
	}
}

const sparse = `
apiVersion: kubernetes.m.crossplane.io/v1alpha1
kind: Object
metadata: {name: agent-a-planner-replicas}
spec:
  managementPolicies: [Observe, Update]
  forProvider:
    manifest:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: planner, namespace: agent-a}
      spec: {replicas: 0}
`

// TestSparse: an Object that may not create owns a few fields of what exists.
func TestSparse(t *testing.T) {
	for name, tc := range map[string]struct{ old, now, namespace, want string }{
		"Accepted":          {namespace: "agent-a"},
		"OnlyObserved":      {"[Observe, Update]", "[Observe]", "agent-a", ""},
		"MayCreate":         {"[Observe, Update]", "[Observe, Create, Update]", "agent-a", "spec.selector: Required value"},
		"MayDoAll":          {"[Observe, Update]", "['*']", "agent-a", "spec.selector: Required value"},
		"UnknownField":      {"replicas: 0", "replikas: 0", "agent-a", "field not declared in schema"},
		"NoNamespaceOfIts":  {"namespace: agent-a}", "labels: {a: b}}", "agent-a", "metadata.namespace: Required value"},
		"OutsideXRs":        {"metadata: {name: agent-a-planner-replicas}", "metadata: {name: a, namespace: b}", "agent-a", `Crossplane silently replaces "b"`},
		"XRWithoutAnyOfIts": {"replicas: 0", "replicas: 1", "", "metadata.namespace: Required value"},
	} {
		t.Run(name, func(t *testing.T) {
			expect(t, newChecker(t, "testdata/crds"), strings.Replace(sparse, tc.old, tc.now, 1), tc.namespace, tc.want)
		})
	}
}

// TestNothingCheckedIsAFailure: a check that found nothing to look at has not
// passed.
func TestNothingCheckedIsAFailure(t *testing.T) {
	c := newChecker(t, "testdata/crds")
	if err := c.checkAll(t.TempDir()); err == nil {
		t.Error("a checkout without install manifests passes")
	}
	if err := c.report.write(io.Discard); err == nil {
		t.Error("an empty report passes")
	}
}

// TestNoSchemas: a folder without CRDs is a mistake, and a kind that can't be checked is
// named with the way to its CRD; where all are insisted on, it is a failure.
func TestNoSchemas(t *testing.T) {
	if err := run("../..", []string{t.TempDir()}, false); err == nil || !strings.Contains(err.Error(), "no CustomResourceDefinition") {
		t.Errorf("got %v", err)
	}
	const agent = `{apiVersion: kagent.dev/v1alpha2, kind: Agent, metadata: {name: planner, namespace: agent-a}}`
	for name, tc := range map[string]struct {
		reason, doc  string
		all          bool
		failed, said string
	}{
		"Named":    {reason: "Nobody has kagent's CRDs on the first day.", doc: agent, said: "NOT CHECKED"},
		"Insisted": {reason: "CI has them.", doc: agent, all: true, failed: "no matches for kind"},
		"Typo":     {reason: "A group that nobody knows is no kind without a CRD.", doc: strings.Replace(agent, "kagent.dev", "kagnet.dev", 1), failed: "no matches for kind"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(tc.reason)
			c := newChecker(t, "testdata/crds")
			c.kinds, c.all = maps.Clone(c.kinds), tc.all
			delete(c.kinds, schema.GroupKind{Group: "kagent.dev", Kind: "Agent"})
			docs, err := documentsIn([]byte(tc.doc))
			if err != nil {
				t.Fatal(err)
			}
			c.object(place{"x.yaml", ""}, docs[0], false)
			c.object(place{"y.yaml", ""}, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": "agent-a"}}, false)
			c.report.sources["golden responses"]++
			var out strings.Builder
			err = c.report.write(&out)
			if (err != nil) != (tc.failed != "") || !strings.Contains(out.String(), tc.failed) || !strings.Contains(out.String(), tc.said) {
				t.Errorf("%v\n%s", err, &out)
			}
			if tc.said != "" && !strings.Contains(out.String(), "go/api/config/crd/bases") {
				t.Errorf("it does not say where the CRD is:\n%s", &out)
			}
		})
	}
}

// realSchemas returns the folders of real CRDs that make validate was given.
func realSchemas(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("SCHEMAS")
	if dir == "" {
		t.Skip("SCHEMAS is not set: make validate runs this")
	}
	return dir
}

// TestRealSchemas proves on the real CRDs that the mistakes which people make
// with these kinds are refused.
func TestRealSchemas(t *testing.T) {
	dir := realSchemas(t)
	const realBucket = `
apiVersion: storage.gcp.upbound.io/v1beta2
kind: Bucket
metadata: {name: b}
spec: {forProvider: {location: EU, versioning: {enabled: true}}}
`
	const realObject = `
apiVersion: kubernetes.m.crossplane.io/v1alpha1
kind: Object
metadata: {name: o, namespace: crossplane-system}
spec:
  providerConfigRef: {kind: ClusterProviderConfig, name: in-cluster}
  forProvider:
    manifest:
      apiVersion: kagent.dev/v1alpha2
      kind: ModelConfig
      metadata: {name: model, namespace: agent-a}
      spec: {provider: GeminiVertexAI, model: gemini-2.5-pro, geminiVertexAI: {projectID: p, location: l}}
`
	_, model, _ := strings.Cut(realObject, "    manifest:\n      ")
	const server = `apiVersion: kagent.dev/v1alpha2
      kind: RemoteMCPServer
      metadata: {name: sandbox, namespace: agent-a}
      spec: {url: "http://sandbox:8080/mcp"`
	for name, tc := range map[string]struct{ doc, old, now, want string }{
		"Bucket":                 {doc: realBucket},
		"BucketVersioningList":   {realBucket, "{enabled: true}", "[{enabled: true}]", "spec.forProvider.versioning in body must be of type object"},
		"BucketWithoutLocation":  {realBucket, "location: EU, ", "", "spec.forProvider.location is a required parameter"},
		"BucketOfV1Beta1":        {realBucket, "v1beta2", "v1beta1", "no matches for kind"},
		"BucketNamespaced":       {realBucket, "{name: b}", "{name: b, namespace: c}", "metadata.namespace: Forbidden"},
		"Object":                 {doc: realObject},
		"ObjectRefWithoutKind":   {realObject, "kind: ClusterProviderConfig, ", "", "spec.providerConfigRef.kind: Required value"},
		"ObjectDeletionPolicy":   {realObject, "  forProvider:", "  deletionPolicy: Orphan\n  forProvider:", "spec.deletionPolicy: Forbidden"},
		"ObjectEmptyQuery":       {realObject, "  forProvider:", "  readiness: {policy: DeriveFromCelQuery}\n  forProvider:", "celQuery"},
		"ObjectBadLabelInside":   {realObject, "{name: model, namespace: agent-a}", "{name: model, namespace: agent-a, labels: {a: b c}}", "spec.forProvider.manifest.metadata.labels: Invalid value"},
		"ModelWithoutProvider":   {realObject, "provider: GeminiVertexAI, ", "", "geminiVertexAI"},
		"ModelOfV1Alpha1Field":   {realObject, "model: gemini-2.5-pro", "model: gemini-2.5-pro, apiKeySecretRef: s", "spec.apiKeySecretRef: Forbidden"},
		"ModelReadyByCondition":  {realObject, "  forProvider:", "  readiness: {policy: DeriveFromObject}\n  forProvider:", "never counts as ready"},
		"ServerWithoutWords":     {realObject, model, server + "}\n", "spec.description: Required value"},
		"ServerTimeoutAsANumber": {realObject, model, server + ", description: d, timeout: 30}\n", "spec.timeout in body must be of type string"},
	} {
		t.Run(name, func(t *testing.T) {
			doc := strings.Replace(tc.doc, tc.old, tc.now, 1)
			if tc.old != "" && doc == tc.doc {
				t.Fatalf("%q is not in the sample", tc.old)
			}
			c := newChecker(t, dir)
			for _, gk := range []schema.GroupKind{{Group: "kagent.dev", Kind: "ModelConfig"}, {Group: "storage.gcp.upbound.io", Kind: "Bucket"}} {
				if strings.Contains(doc, gk.Group) && !c.kinds.has(gk) {
					t.Skipf("no CRD of %s: make validate SCHEMAS=<folder> runs this", gk)
				}
			}
			expect(t, c, doc, "", tc.want)
		})
	}
}

// TestSamplesAreReal proves that the states by which readiness is judged are
// states that the real kinds can be in.
func TestSamplesAreReal(t *testing.T) {
	c := newChecker(t, realSchemas(t))
	files, err := samples.ReadDir("samples")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(f.Name(), ".yaml")
		set, err := readSamples(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range append(set.NotReady, set.Ready...) {
			o := s.in(&unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{"name": "x"}}})
			gk := schema.GroupKind{Group: set.Group, Kind: name}
			if set.Group == "" || set.Group == "apps" {
				gvk := gk.WithVersion("v1")
				o.SetGroupVersionKind(gvk)
				if _, err := applied.ObjectToTyped(o); err != nil {
					t.Errorf("%s, %s: %v", name, s.What, err)
				}
				continue
			}
			if !c.kinds.has(gk) {
				continue // make validate names it as not checked
			}
			for version := range c.kinds[gk].served {
				k, err := c.kinds.find(gk.WithVersion(version))
				if err != nil {
					t.Fatal(err)
				}
				status := k.statusOnly(o.Object["status"])
				if len(status) > 0 {
					t.Errorf("%s %s, %s: %v", name, version, s.What, status.ToAggregate())
				}
			}
		}
	}
}
