package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	input "whisperops.io/functions/apis/input/workloads/v1alpha1"
)

// kagentInputs are what render-workloads' input may make of kagent's kinds.
var kagentInputs = map[string]string{
	"Defaults":      `{}`,
	"VertexWithKey": `{model: {provider: GeminiVertexAI, name: gemini-2.5-flash, location: eu, projectId: acme-models, credentialSecret: {name: vertex, key: key.json}}}`,
	"Gemini":        `{model: {provider: Gemini, name: gemini-2.5-flash, credentialSecret: {name: model, key: key}}}`,
	"OpenAI":        `{model: {provider: OpenAI, name: gpt-6-sol, credentialSecret: {name: model, key: key}}}`,
	"Gateway":       `{model: {provider: OpenAI, name: anything, baseUrl: "http://litellm.ai.svc:4000/v1"}}`,
	"Anthropic":     `{model: {provider: Anthropic, name: claude-sonnet-5-5, credentialSecret: {name: model, key: key}}}`,
	"Metered":       `{model: {meter: {enabled: true}}}`,
	"MeteredClaude": `{model: {provider: Anthropic, name: claude-sonnet-5-5, meter: {enabled: true}}}`,
	"Pods": `
podTemplate:
  labels: {team: data}
  annotations: {sidecar.istio.io/inject: "false"}
  imagePullSecrets: [{name: regcred}]
  imagePullPolicy: Always
  nodeSelector: {kubernetes.io/arch: arm64}
  tolerations: [{key: dedicated, operator: Exists, effect: NoExecute, tolerationSeconds: 60}]
  affinity:
    nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [a]}]}]}}
    podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 50, podAffinityTerm: {topologyKey: kubernetes.io/hostname, labelSelector: {matchLabels: {a: b}}}}]}
  resources: {requests: {cpu: 200m}, limits: {cpu: "1", ephemeral-storage: 2Gi}}
  qosClass: Guaranteed
  runAs: Platform
  env: [{name: A, value: b}, {name: T, valueFrom: {secretKeyRef: {name: team, key: token, optional: true}}}]
  proxy: {http: "http://proxy.egress.svc:3128"}
  caBundle: {configMap: {name: trust, key: ca.crt}}
`,
}

// TestKagent holds what we render for kagent against the CRDs that SCHEMAS has, of
// whichever version: what kagentVersion v0.9 gives passes those of v0.9.12 and of
// v0.10.0-rc3, what v0.10 gives passes the latter alone, for one field.
func TestKagent(t *testing.T) {
	ks := kinds{}
	for _, dir := range filepath.SplitList(os.Getenv("SCHEMAS")) {
		if _, err := ks.load(dir); err != nil {
			t.Fatal(err)
		}
	}
	agent, err := ks.find(schema.GroupVersionKind{Group: "kagent.dev", Version: "v1alpha2", Kind: "Agent"})
	if err != nil {
		t.Skipf("no CRD of kagent's Agent: make validate SCHEMAS=<folder> runs this (%v)", err)
	}
	tool := agent.structural.Properties["spec"].Properties["declarative"].Properties["tools"].Items
	if tool == nil {
		t.Fatal("an Agent has no spec.declarative.tools: is this kagent's CRD?")
	}
	_, newer := tool.Properties["isolateSessions"]
	t.Logf("these are the CRDs of kagent v0.10: %v", newer)
	for version, fits := range map[input.KagentVersion]bool{input.KagentV09: true, input.KagentV010: newer} {
		for _, name := range slices.Sorted(maps.Keys(kagentInputs)) {
			t.Run(string(version)+"/"+name, func(t *testing.T) {
				in := platformInput(t, kagentInputs[name])
				in.KagentVersion = version
				if err := in.Validate(); err != nil {
					t.Fatal(err)
				}
				checked := map[string]int{}
				var errs field.ErrorList
				for _, u := range wrappedBy(t, in) {
					if u.GroupVersionKind().Group != "kagent.dev" {
						continue
					}
					k, err := ks.find(u.GroupVersionKind())
					if err != nil {
						t.Fatal(err)
					}
					checked[u.GetKind()]++
					errs = append(errs, k.check(runtime.DeepCopyJSON(u.Object), nil)...)
				}
				if checked["Agent"] != 2 || checked["ModelConfig"] != 1 || checked["RemoteMCPServer"] != 1 {
					t.Errorf("want two Agents, a ModelConfig and a RemoteMCPServer, got %v", checked)
				}
				switch {
				case fits && len(errs) > 0:
					t.Error(errs.ToAggregate())
				case !fits && (len(errs) != 1 || !strings.Contains(errs[0].Error(), "isolateSessions")):
					t.Errorf("want isolateSessions refused and nothing else, got %v", errs)
				}
			})
		}
	}
}
