package main

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	"k8s.io/kubernetes/pkg/apis/core"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	"sigs.k8s.io/yaml"

	input "whisperops.io/functions/apis/input/workloads/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/xda/renderworkloads"
)

// platformInput is render-workloads' input with a platform's word laid over it.
func platformInput(t *testing.T, doc string) *input.RenderWorkloadsInput {
	t.Helper()
	in := &input.RenderWorkloadsInput{Images: input.Images{Sandbox: "sandbox:v1", ChatFrontend: "chat:v1"}}
	in.Default()
	if err := yaml.UnmarshalStrict([]byte(doc), in); err != nil {
		t.Fatal(err)
	}
	return in
}

// wrappedBy renders an agent with an input that nobody has validated, and returns the
// manifests in its Objects by their parts, as the API server gets them.
func wrappedBy(t *testing.T, in *input.RenderWorkloadsInput) map[string]*unstructured.Unstructured {
	t.Helper()
	parts := renderworkloads.Render(renderworkloads.Agent{
		Name: "housing-bot", BaseDomain: "example.org", ProjectID: "acme-data", SandboxMemMi: 1024, HasNamespace: true,
		Dataset: v1alpha1.Dataset{Name: "housing", GCSPath: "gs://acme-datasets/housing.csv", SizeBytes: 1 << 20, DisplayName: "Housing"},
		Input:   *in,
	})
	out := map[string]*unstructured.Unstructured{}
	for name, part := range parts {
		o := map[string]any{}
		for k, v := range part {
			o[k] = plainValue(t, v)
		}
		raw, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if o, err = decode(raw); err != nil {
			t.Fatal(err)
		}
		manifest, _, err := unstructured.NestedMap(o, "spec", "forProvider", "manifest")
		if err != nil {
			t.Fatal(err)
		}
		out[name] = &unstructured.Unstructured{Object: manifest}
	}
	return out
}

// serverRefuses returns what the API server says of an agent's parts: the real validation
// of Kubernetes' own kinds, and for the pods that kagent makes that of the Deployment which
// comes of an Agent.
func serverRefuses(t *testing.T, in *input.RenderWorkloadsInput) []string {
	t.Helper()
	parts := wrappedBy(t, in)
	var said []string
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		u := parts[name]
		if u.GetKind() == "Agent" {
			u = kagentsDeployment(t, u)
		}
		k, known := coreKinds[u.GroupVersionKind()]
		if !known {
			continue
		}
		errs := k.check(u.Object, false)
		if template, is, err := unstructured.NestedMap(u.Object, "spec", "template"); err == nil && is {
			// A Deployment with a template that no pod can come of is taken.
			template["apiVersion"], template["kind"] = "v1", "Pod"
			meta, _ := template["metadata"].(map[string]any)
			meta["name"], meta["namespace"] = u.GetName(), u.GetNamespace()
			errs = append(errs, pods.check(template, false)...)
		}
		for _, e := range errs {
			said = append(said, name+": "+e.Error())
		}
	}
	return said
}

var pods = coreKind{true, validator(func(p *core.Pod) field.ErrorList {
	return corevalidation.ValidatePodCreate(p, podutil.GetValidationOptionsFromPodSpecAndMeta(&p.Spec, nil, &p.ObjectMeta, nil))
})}

// plainValue returns a value of a manifest as JSON has it. What stays the same for every agent
// stands in it as an encoded Value of protobuf's.
func plainValue(t *testing.T, v any) any {
	t.Helper()
	r := reflect.ValueOf(v)
	switch {
	case v == nil:
		return nil
	case r.Kind() == reflect.Slice && r.Type().Elem().Kind() == reflect.Uint8:
		encoded := &structpb.Value{}
		if err := proto.Unmarshal(r.Bytes(), encoded); err != nil {
			t.Fatal(err)
		}
		return encoded.AsInterface()
	case r.Kind() == reflect.Slice:
		out := make([]any, r.Len())
		for i := range out {
			out[i] = plainValue(t, r.Index(i).Interface())
		}
		return out
	case r.Kind() == reflect.Map:
		out := map[string]any{}
		for _, k := range r.MapKeys() {
			out[k.String()] = plainValue(t, r.MapIndex(k).Interface())
		}
		return out
	}
	return v
}

// kagentsDeployment is what kagent makes of an Agent, as far as the platform's word goes
// into it.
func kagentsDeployment(t *testing.T, agent *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	d, found, err := unstructured.NestedMap(agent.Object, "spec", "declarative", "deployment")
	if err != nil || !found {
		t.Fatalf("an Agent without a deployment: %v", err)
	}
	container := map[string]any{"name": "kagent", "image": "kagent:v1", "ports": []any{map[string]any{"name": "http", "containerPort": int64(8080)}}}
	spec := map[string]any{"containers": []any{container}, "serviceAccountName": agent.GetName()}
	labels := map[string]any{"app": "kagent", "kagent": agent.GetName()}
	meta := map[string]any{"labels": labels}
	for field, v := range d {
		switch field {
		case "env", "resources", "volumeMounts", "securityContext", "imagePullPolicy":
			container[field] = v
		case "podSecurityContext":
			spec["securityContext"] = v
		case "labels":
			maps.Copy(labels, v.(map[string]any))
		case "annotations":
			meta[field] = v
		default:
			spec[field] = v
		}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": agent.GetName(), "namespace": agent.GetNamespace()},
		"spec": map[string]any{
			"selector": map[string]any{"matchLabels": map[string]any{"app": "kagent", "kagent": agent.GetName()}},
			"template": map[string]any{"metadata": meta, "spec": spec},
		},
	}}
}

// platformNeighbours are inputs next to what people reported: what the API server
// refuses of them we refuse, by the field's name, before there is an Object that
// never comes up. Where "ours" stands, we refuse more than it does, for that reason.
var platformNeighbours = []struct{ field, value, ours string }{
	// Labels, annotations, names.
	{"podTemplate.labels", `{"a b": c}`, ""},
	{"podTemplate.labels", `{a: "b c"}`, ""},
	{"podTemplate.labels", `{"/a": b}`, ""},
	{"podTemplate.labels", `{"A.example/a": b}`, ""},
	{"podTemplate.labels", `{"example.org/a/b": c}`, ""},
	{"podTemplate.labels", `{a: "-b"}`, ""},
	{"podTemplate.labels", `{a: ""}`, ""},
	{"podTemplate.labels", `{a: ` + strings.Repeat("b", 64) + `}`, ""},
	{"podTemplate.labels", `{app.kubernetes.io/name: x}`, "it selects the pods"},
	{"podTemplate.labels", `{app: x}`, "kagent's selector"},
	{"podTemplate.labels", `{whisperops.io/agent: x}`, "it says whose they are"},
	{"podTemplate.annotations", `{"a b": c}`, ""},
	{"podTemplate.annotations", `{"A_b": "anything at all"}`, ""},
	{"podTemplate.annotations", `{a: ` + strings.Repeat("b", 262145) + `}`, ""},
	{"podTemplate.annotations", `{container.apparmor.security.beta.kubernetes.io/nobody: runtime/default}`, ""},
	{"podTemplate.annotations", `{container.apparmor.security.beta.kubernetes.io/sandbox: unknown}`, ""},
	{"podTemplate.annotations", `{seccomp.security.alpha.kubernetes.io/pod: nothing}`, ""},
	{"podTemplate.annotations", `{scheduler.alpha.kubernetes.io/tolerations: "no JSON"}`, ""},
	{"podTemplate.annotations", `{kubernetes.io/config.mirror: x}`, ""},
	{"podTemplate.annotations", `{controller.kubernetes.io/pod-deletion-cost: "5"}`, ""},
	{"podTemplate.annotations", `{controller.kubernetes.io/pod-deletion-cost: "+5"}`, ""},
	{"podTemplate.annotations", `{controller.kubernetes.io/pod-deletion-cost: cheap}`, ""},
	{"podTemplate.annotations", `{controller.kubernetes.io/pod-deletion-cost: "2147483648"}`, ""},
	{"podTemplate.annotations", `{scheduler.alpha.kubernetes.io/affinity: "no JSON"}`, "nothing reads it any more"},
	{"podTemplate.annotations", `{cluster-autoscaler.kubernetes.io/safe-to-evict: "false"}`, ""},
	{"ingress.annotations", `{"nginx.ingress.kubernetes.io/whitelist source": 10.0.0.0/8}`, ""},
	{"ingress.annotations", `{"nginx.ingress.kubernetes.io/": a}`, ""},
	{"ingress.annotations", `{"nginx.ingress.kubernetes.io": a}`, ""},
	{"ingress.annotations", `{"nginx_ingress.kubernetes.io/a": b}`, ""},
	{"ingress.annotations", `{"nginx.ingress.kubernetes.io/a:": b}`, ""},
	{"ingress.annotations", `{"": b}`, ""},
	{"ingress.annotations", `{"Nginx.ingress.kubernetes.io/a": b}`, ""},
	{"ingress.annotations", `{"größe": b}`, ""},
	{"ingress.annotations", `{a: ` + strings.Repeat("b", 262145) + `}`, ""},
	{"ingress.annotations", `{kubernetes.io/ingress.class: gce}`, ""},
	{"ingress.annotations", `{kubernetes.io/ingress.class: ""}`, ""},
	{"ingress.className", `"GCE"`, ""},
	{"ingress.className", `"a_b"`, ""},
	{"ingress.className", `"a/b"`, ""},
	{"ingress.tlsIssuer", `"letsencrypt prod"`, "no ClusterIssuer can be called so"},
	{"ingress.serviceAnnotations", `{"cloud.google.com/neg/a": b}`, ""},
	{"ingress.serviceAnnotations", `{service.kubernetes.io/topology-mode: Auto}`, ""},
	{"images.sandbox", `" sandbox:v1"`, ""},
	{"images.sandbox", `"sandbox:v1 "`, ""},
	{"images.chatFrontend", `"chat:v1\n"`, ""},
	{"images.sandbox", `"sandbox v1"`, "kubelets call it InvalidImageName"},
	{"images.sandbox", `"http://registry/sandbox:v1"`, "as above"},
	{"podTemplate.imagePullSecrets", `[{name: a}, {name: a}]`, ""},
	{"podTemplate.imagePullSecrets", `[{name: "a b"}]`, "no Secret can be called so"},
	{"podTemplate.imagePullSecrets", `[{name: A}]`, "no Secret can be called so"},
	{"podTemplate.imagePullSecrets", `[{name: ""}]`, "no Secret can be called so"},
	{"podTemplate.imagePullPolicy", `always`, ""},
	{"podTemplate.priorityClassName", `"a b"`, ""},
	{"podTemplate.runtimeClassName", `"a_b"`, ""},
	{"namespace.labels", `{istio-injection: "enabled!"}`, ""},
	{"namespace.labels", `{kubernetes.io/metadata.name: x}`, "the API server sets it"},
	{"namespace.annotations", `{"a b": c}`, ""},
	{"podTemplate.labels", `{kagent: x}`, "kagent's selector"},
	{"podTemplate.labels", `{helm.sh/chart: suite-1.0+build}`, ""},
	{"podTemplate.labels", `{pod-template-hash: x}`, ""},
	{"podTemplate.labels", `{"größe": x}`, ""},
	{"podTemplate.labels", `{a: "größe"}`, ""},
	{"podTemplate.labels", `{a: "true"}`, ""},
	{"podTemplate.labels", `{a.: b}`, ""},
	{"podTemplate.annotations", `{kubectl.kubernetes.io/restartedAt: "2026-11-27T10:00:00+01:00"}`, ""},
	{"namespace.labels", `{pod-security.kubernetes.io/enforce: restricted}`, "it is the input podSecurity"},
	{"ingress.annotations", `{"*": b}`, ""},

	// Where pods run.
	{"podTemplate.nodeSelector", `{"pool name": a}`, ""},
	{"podTemplate.nodeSelector", `{pool: "a b"}`, ""},
	{"podTemplate.tolerations", `[{key: "a b", operator: Exists}]`, ""},
	{"podTemplate.tolerations", `[{operator: Equal, value: a}]`, ""},
	{"podTemplate.tolerations", `[{key: a, operator: equal, value: b}]`, ""},
	{"podTemplate.tolerations", `[{key: a, operator: Exists, effect: noschedule}]`, ""},
	{"podTemplate.tolerations", `[{key: a, value: "b c"}]`, ""},
	{"podTemplate.tolerations", `[{key: a, operator: Exists, tolerationSeconds: 5}]`, ""},
	{"podTemplate.tolerations", `[{key: a, operator: Exists}, {key: a, operator: Exists}]`, ""},
	{"podTemplate.tolerations", `[{key: a, operator: Gt, value: "5"}]`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{}]}}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Gt, values: [b]}]}]}}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In, values: ["b c"]}]}]}}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Gt, values: ["b c"]}]}]}}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: "", operator: Exists}]}]}}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [Node_1]}]}]}}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.labels, operator: In, values: [a]}]}]}}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: Exists}]}]}}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 101, preference: {matchExpressions: [{key: a, operator: Exists}]}}]}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {}}]}}`, ""},
	{"podTemplate.affinity", `{podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: "a b"}]}}`, ""},
	{"podTemplate.affinity", `{podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a, namespaces: [A]}]}}`, ""},
	{"podTemplate.affinity", `{podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a, labelSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}]}}`, ""},
	{"podTemplate.affinity", `{podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a, matchLabelKeys: [b]}]}}`, ""},
	{"podTemplate.affinity", `{podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a, labelSelector: {matchLabels: {b: c}}, matchLabelKeys: [b]}]}}`, ""},
	{"podTemplate.affinity", `{podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a, labelSelector: {matchLabels: {b: c}}, matchLabelKeys: [d], mismatchLabelKeys: [d]}]}}`, ""},
	{"podTemplate.affinity", `{podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a, labelSelector: {matchLabels: {b: c}}, matchLabelKeys: ["d e"]}]}}`, ""},
	{"podTemplate.affinity", `{podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: -1, podAffinityTerm: {topologyKey: a}}]}}`, ""},
	{"podTemplate.topologySpreadConstraints", `[{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule}, {maxSkew: 2, topologyKey: a, whenUnsatisfiable: DoNotSchedule}]`, ""},
	{"podTemplate.topologySpreadConstraints", `[{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule}, {maxSkew: 2, topologyKey: a, whenUnsatisfiable: ScheduleAnyway}]`, ""},
	{"podTemplate.topologySpreadConstraints", `[{maxSkew: 1, topologyKey: a, whenUnsatisfiable: ScheduleAnyway, minDomains: 2}]`, ""},
	{"podTemplate.topologySpreadConstraints", `[{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule, nodeAffinityPolicy: Maybe}]`, ""},
	{"podTemplate.topologySpreadConstraints", `[{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule, matchLabelKeys: [b]}]`, ""},
	{"podTemplate.topologySpreadConstraints", `[{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {b: c}}, matchLabelKeys: [b]}]`, ""},
	{"podTemplate.topologySpreadConstraints", `[{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {b: c}}, matchLabelKeys: [d, d]}]`, ""},
	{"podTemplate.tolerations", `[{operator: Exists}]`, ""},
	{"podTemplate.tolerations", `[{operator: Exists, effect: NoExecute, tolerationSeconds: -1}]`, ""},
	{"podTemplate.tolerations", `[{operator: Exists, value: a}]`, ""},
	{"podTemplate.tolerations", `[{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 9223372036854775807}]`, ""},
	{"podTemplate.tolerations", `[{key: a}]`, ""},
	{"podTemplate.tolerations", `[{key: a, value: ` + strings.Repeat("b", 64) + `}]`, ""},
	{"podTemplate.tolerations", `[{key: example.org/a/b, operator: Exists}]`, ""},
	{"podTemplate.tolerations", `[{}]`, ""},
	{"podTemplate.nodeSelector", `{cloud.google.com/gke-nodepool: ""}`, ""},
	{"podTemplate.nodeSelector", `{cloud.google.com/: a}`, ""},
	{"podTemplate.topologySpreadConstraints", `[{maxSkew: 0, topologyKey: a, whenUnsatisfiable: DoNotSchedule}]`, ""},
	{"podTemplate.topologySpreadConstraints", `[{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule, minDomains: 0}]`, ""},
	{"podTemplate.topologySpreadConstraints", `[{maxSkew: 1, topologyKey: "", whenUnsatisfiable: DoNotSchedule}]`, ""},
	{"podTemplate.topologySpreadConstraints", `[{maxSkew: 1, topologyKey: a}]`, ""},
	{"podTemplate.topologySpreadConstraints", `[{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchExpressions: [{key: a, operator: In}]}}]`, ""},
	{"podTemplate.topologySpreadConstraints", `[{maxSkew: 1, topologyKey: a, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {a: "b c"}}}]`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In}]}]}}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: DoesNotExist, values: [b]}]}]}}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Lt, values: ["1", "2"]}]}]}}}`, ""},
	{"podTemplate.affinity", `{nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, preference: {matchExpressions: [{key: a, operator: Exists}]}}]}}`, ""},
	{"podTemplate.affinity", `{podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: "", labelSelector: {matchLabels: {a: b}}}]}}`, ""},
	{"podTemplate.affinity", `{podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 50, podAffinityTerm: {topologyKey: ""}}]}}`, ""},

	// Quantities.
	{"podTemplate.resources", `{limits: {cpu: 0.5}}`, ""},
	{"podTemplate.resources", `{limits: {cpu: ".5"}}`, ""},
	{"podTemplate.resources", `{limits: {cpu: 1e3}}`, ""},
	{"podTemplate.resources", `{limits: {cpu: 1E}}`, ""},
	{"podTemplate.resources", `{requests: {cpu: 9223372036854775808}}`, ""},
	{"chatFrontend.resources", `{limits: {memory: 0.5Gi}}`, ""},
	{"chatFrontend.resources", `{limits: {memory: 1e9}}`, ""},
	{"chatFrontend.resources", `{limits: {memory: "0"}}`, ""},
	{"podTemplate.resources", `{requests: {ephemeral-storage: 2Gi}, limits: {ephemeral-storage: 1Gi}}`, ""},
	{"podTemplate.resources", `{limits: {ephemeral-storage: "-1"}}`, ""},
	{"podTemplate.resources", `{limits: {amd.com/gpu: "0"}}`, ""},
	{"podTemplate.resources", `{limits: {cloud-tpus.google.com/v3: "8"}}`, ""},
	{"podTemplate.resources", `{limits: {cpu: "-1"}}`, ""},
	{"podTemplate.resources", `{limits: {cpu: "0"}}`, ""},
	{"podTemplate.resources", `{requests: {cpu: 1u}}`, ""},
	{"chatFrontend.resources", `{limits: {memory: 100m}}`, ""},
	{"chatFrontend.resources", `{requests: {memory: 2Gi}, limits: {memory: 1Gi}}`, ""},
	{"podTemplate.resources", `{limits: {gpu: "1"}}`, ""},
	{"podTemplate.resources", `{limits: {CPU: "1"}}`, ""},
	{"podTemplate.resources", `{limits: {kubernetes.io/batch: "1"}}`, ""},
	{"podTemplate.resources", `{limits: {requests.nvidia.com/gpu: "1"}}`, ""},
	{"podTemplate.resources", `{limits: {nvidia.com/gpu: 1500m}}`, ""},
	{"podTemplate.resources", `{requests: {nvidia.com/gpu: "1"}}`, ""},
	{"podTemplate.resources", `{requests: {nvidia.com/gpu: "1"}, limits: {nvidia.com/gpu: "2"}}`, ""},
	{"podTemplate.resources", `{limits: {"nvidia.com/g pu": "1"}}`, ""},
	{"podTemplate.resources", `{limits: {hugepages-2Mi: 4Mi}}`, ""},
	{"podTemplate.resources", `{limits: {hugepages-2Mi: 3Mi}}`, ""},
	{"podTemplate.resources", `{limits: {hugepages-x: 4Mi}}`, ""},
	{"podTemplate.resources", `{requests: {hugepages-2Mi: 2Mi}, limits: {hugepages-2Mi: 4Mi}}`, ""},
	{"podTemplate.resources", `{requests: {hugepages-2Mi: 2Mi}}`, ""},
	{"podTemplate.resources", `{limits: {hugepages-0: 4Mi}}`, ""},
	{"podTemplate.resources", `{requests: {hugepages-1Gi: 1Gi}, limits: {hugepages-1Gi: 1Gi}}`, ""},
	{"podTemplate.resources", `{limits: {ephemeral-storage: 1Gi}}`, ""},
	{"podTemplate.resources", `{limits: {storage: 1Gi}}`, ""},
	{"podTemplate.resources", `{limits: {pods: "1"}}`, ""},

	// Environments.
	{"podTemplate.env", `[{name: "", value: a}]`, ""},
	{"podTemplate.env", `[{name: "A=B"}]`, ""},
	{"podTemplate.env", `[{name: "1A"}]`, "API servers before v1.34 refuse it"},
	{"podTemplate.env", `[{name: a.b-c_d}]`, ""},
	{"podTemplate.env", `[{name: "größe"}]`, ""},
	{"podTemplate.env", `[{name: A}, {name: A}]`, ""},
	{"podTemplate.env", `[{name: HOME, value: /}]`, ""},
	{"podTemplate.env", `[{name: PORT, value: "1"}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {}}]`, ""},
	{"podTemplate.env", `[{name: A, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name, apiVersion: v2}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {fieldRef: {fieldPath: "metadata.labels['a']"}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {fieldRef: {fieldPath: "metadata.labels['a b']"}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {fieldRef: {fieldPath: "metadata.labels['a"}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['A_b']"}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {fieldRef: {fieldPath: metadata.labels}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {fieldRef: {fieldPath: ""}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {fieldRef: {fieldPath: status.phase}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 3Mi}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1Mi}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {resourceFieldRef: {resource: limits.gpu}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {secretKeyRef: {name: "", key: a}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {secretKeyRef: {name: a, key: "b c"}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {configMapKeyRef: {name: A, key: b}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {fileKeyRef: {volumeName: tmp, path: a, key: b}}}]`, "API servers drop it unless a gate is open"},
	{"podTemplate.env", `[{name: A, valueFrom: {secretKeyRef: {name: gcp-credentials, key: private_key}}}]`, "it is the sandbox's key"},
	{"podTemplate.caBundle", `{configMap: {name: "a b", key: c}}`, "no ConfigMap holds it"},
	{"podTemplate.caBundle", `{configMap: {name: a, key: "b/c"}}`, "no ConfigMap holds it"},
	{"podTemplate.caBundle", `{configMap: {name: a, key: ".."}}`, "no ConfigMap holds it"},
	{"podTemplate.env", `[{name: A, valueFrom: {resourceFieldRef: {resource: requests.hugepages-2Mi}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {resourceFieldRef: {resource: hugepages-2Mi}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {fieldRef: {fieldPath: "metadata.labels['']"}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['a/b/c']"}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {fieldRef: {fieldPath: "metadata.labels['a']['b']"}}}]`, ""},
	{"podTemplate.env", `[{name: KAGENT_NAME, value: a}]`, "kagent sets it, and its own would win"},
	{"podTemplate.env", `[{name: OTEL_SERVICE_NAME, value: a}]`, ""},
	{"podTemplate.env", `[{name: GOOGLE_CLOUD_PROJECT, value: a}]`, ""},
	{"podTemplate.env", `[{name: A, value: "$(B)$$(C)"}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {secretKeyRef: {name: a, key: ..}}}]`, ""},
	{"podTemplate.env", `[{name: A, valueFrom: {resourceFieldRef: {containerName: other, resource: limits.cpu}}}]`, ""},
	{"podTemplate.env", `[{name: " A"}]`, "API servers before v1.34 refuse it"},

	// Networks.
	{"model.baseUrl", `"http://10.1.2.3:70000/v1"`, ""},
	{"model.baseUrl", `"http://10.1.2.3:0/v1"`, ""},
	{"model.baseUrl", `"http://vllm.-models.svc:8000/v1"`, ""},
	{"model.baseUrl", `"http://vllm.models-.svc.cluster.local:8000/v1"`, ""},
	{"model.baseUrl", `"http://vllm.models.svc:65535/v1"`, ""},
	{"model.baseUrl", `"http://[2001:db8::1]:8000/v1"`, ""},
	{"model.baseUrl", `"http://vllm.a_b.svc:8000/v1"`, "no namespace can be called so"},
	{"model.baseUrl", `"http://169.254.169.254/v1"`, "metadata servers"},
	{"model.baseUrl", `"http://[::ffff:10.0.0.1]:8000/v1"`, "API servers refuse it once StrictIPCIDRValidation is on"},
	{"podTemplate.proxy", `{http: "http://10.0.0.1:66000"}`, ""},
	{"sandbox.proxy", `{https: "http://proxy.ns-.svc:3128"}`, ""},
	{"sandbox.proxy", `{https: "http://proxy.egress.svc.cluster.local:3128"}`, ""},
	{"network.extraIngress", `[{from: [{ipBlock: {cidr: 0.0.0.0/0}}], ports: [{port: 3000}]}]`, ""},
	{"network.extraIngress", `[{from: [{ipBlock: {cidr: "::/0", except: ["::/0"]}}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {}}], ports: [{port: -1}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {}}], ports: [{port: "8080"}]}]`, ""},
	{"network.privateCIDRs", `[0.0.0.0/1, 128.0.0.0/1]`, ""},
	{"network.nodeLocalDNS", `0.0.0.0/0`, "port 53 of everybody would be open"},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: "64:ff9b::/96", except: ["64:ff9b::a00:0/104"]}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: "2001:db8::/32", except: ["2001:db8:1::/48", "2001:db8:1::/48"]}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: "2001:DB8::/32"}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: "2001:0db8::/32"}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: "::1/128"}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: 10.0.0.0/16, except: [10.0.0.0/8]}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: 10.0.0.0/8, except: ["fd00::/8"]}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [""]}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {except: [10.0.0.0/8]}}]}]`, ""},
	{"network.ingressCIDRs", `["2001:db8::/32", "2001:db8::/32"]`, ""},
	{"network.ingressCIDRs", `["::/0"]`, ""},
	{"network.dnsPorts", `[0]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: "2001:db8::/32", except: ["2001:db8:1::/48"]}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: "2001:db8::/32", except: ["2001:db9::/48"]}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: "2001:db8::/32", except: ["10.0.0.0/8"]}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: "2001:db8::/32", except: ["2001:db8::/32"]}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: "2001:db8::1/32"}}]}]`, "API servers refuse it once StrictIPCIDRValidation is on"},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: "::ffff:10.0.0.0/104"}}]}]`, "API servers refuse it once StrictIPCIDRValidation is on"},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: 10.0.0.0/33}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: 010.0.0.0/8}}]}]`, "API servers refuse it once StrictIPCIDRValidation is on"},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: 10.0.0.0}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: ""}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: "fe80::%eth0/64"}}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.2.3/16]}}]}]`, "API servers refuse it once StrictIPCIDRValidation is on"},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]`, ""},
	{"network.extraEgress", `[{to: [{}]}]`, ""},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: 10.0.0.0/8}, namespaceSelector: {}}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {matchLabels: {"a b": c}}}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {matchExpressions: [{key: a, operator: Gt, values: ["1"]}]}}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {}}], ports: [{port: 0}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {}}], ports: [{port: 65536}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {}}], ports: [{port: HTTP}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {}}], ports: [{port: ""}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {}}], ports: [{port: name-that-is-too-long}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {}}], ports: [{port: http, endPort: 90}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {}}], ports: [{endPort: 90}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {}}], ports: [{port: 80, endPort: 79}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {}}], ports: [{port: 80, endPort: 65536}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {}}], ports: [{port: 80, protocol: tcp}]}]`, ""},
	{"network.extraEgress", `[{to: [{podSelector: {}}], ports: [{protocol: UDP}]}]`, ""},
	{"network.extraEgress", `[{ports: [{port: 443}]}]`, "an empty list means everybody"},
	{"network.extraEgress", `[{to: [{ipBlock: {cidr: "::/0"}}]}]`, "metadata servers"},
	{"network.extraIngress", `[{from: [{ipBlock: {cidr: 10.0.0.1/8}}]}]`, "API servers refuse it once StrictIPCIDRValidation is on"},
	{"network.ingressCIDRs", `[10.0.0.1/8]`, "API servers refuse it once StrictIPCIDRValidation is on"},
	{"network.ingressCIDRs", `["::ffff:10.0.0.0/104"]`, "API servers refuse it once StrictIPCIDRValidation is on"},
	{"network.apiServerCIDRs", `[10.0.0.1/8]`, "API servers refuse it once StrictIPCIDRValidation is on"},
	{"network.apiServerCIDRs", `["::ffff:10.0.0.0/104"]`, "API servers refuse it once StrictIPCIDRValidation is on"},
	{"network.nodeLocalDNS", `"::ffff:10.0.0.0/104"`, "API servers refuse it once StrictIPCIDRValidation is on"},
	{"network.nodeLocalDNS", `169.254.20.10`, ""},
	{"network.privateCIDRs", `["::/0"]`, "nothing would be let out by IPv6, which this input's families may add"},
	{"network.privateCIDRs", `[0.0.0.0/0]`, ""},
	{"network.privateCIDRs", `["fd00::1/8"]`, "API servers refuse it once StrictIPCIDRValidation is on"},
	{"network.dnsPorts", `[65536]`, ""},
	{"network.dnsPorts", `[53, 53]`, ""},
	{"network.apiServerPort", `65536`, ""},
	{"network.kagentLabel", `"a=b=c"`, ""},
	{"network.kagentLabel", `"a b=c"`, ""},
	{"network.dnsNamespace", `"kube_system"`, "no namespace can be called so"},
}

// nested writes a.b: v as YAML.
func nested(path, value string) string {
	fields := strings.Split(path, ".")
	return "{" + strings.Join(fields, ": {") + ": " + value + strings.Repeat("}", len(fields))
}

// TestPlatformNeighbours holds what render-workloads' input takes against what the
// API server takes of the parts that come of it, in both directions.
func TestPlatformNeighbours(t *testing.T) {
	if said := serverRefuses(t, platformInput(t, "{}")); len(said) > 0 {
		t.Fatalf("the API server refuses what comes of an input that says nothing: %v", said)
	}
	both, refused := 0, 0
	for _, tc := range slices.Concat(platformNeighbours, moreNeighbours) {
		name := tc.field + ": " + tc.value
		if len(name) > 200 {
			name = name[:200]
		}
		t.Run(name, func(t *testing.T) {
			in := platformInput(t, nested(tc.field, tc.value))
			ours := in.Validate()
			said := serverRefuses(t, in)
			switch {
			case ours == nil && len(said) > 0:
				t.Errorf("we take what the API server refuses: %v", said)
			case ours != nil && len(said) == 0 && tc.ours == "":
				t.Errorf("we refuse what the API server takes, and say no reason: %v", ours)
			case ours != nil && !strings.Contains(ours.Error(), strings.Split(tc.field, ".")[0]) || ours != nil && !strings.Contains(ours.Error(), tc.field[strings.LastIndex(tc.field, ".")+1:]):
				t.Errorf("the field %s isn't named: %v", tc.field, ours)
			case ours == nil && tc.ours != "":
				t.Errorf("want it refused (%s)", tc.ours)
			}
			if ours == nil {
				both++
			} else {
				refused++
			}
		})
	}
	t.Logf("%d inputs taken by both, %d refused", both, refused)
}
