package renderworkloads

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	input "whisperops.io/functions/apis/input/workloads/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

// A podKind is one of the four programs of an agent, before the platform has said
// anything of it.
type podKind struct {
	own      input.PodTemplate // the platform's block for it
	requests manifest.Object   // cpu, memory
	limits   manifest.Object
	sized    bool // its memory follows from the dataset, whatever the platform says of all pods
	env      []manifest.Object
	mounts   []any
	volumes  []any
	labels   manifest.Object
}

// A pod is what a podKind became.
type pod struct {
	input.PodTemplate

	env             []manifest.Object
	mounts, volumes []any
	resources       manifest.Object
	podSecurity     any
	labels          manifest.Object
	annotations     map[string]string
}

// pod lays the platform's word over a kind of pod. Where the platform says nothing,
// nothing is rendered: what stands in a manifest is ours to undo.
func (a Agent) pod(k podKind) pod {
	t := a.Input.PodTemplateOf(k.own)
	p := pod{
		PodTemplate: t,
		env:         slices.Clone(k.env),
		mounts:      slices.Clone(k.mounts),
		volumes:     slices.Clone(k.volumes),
		podSecurity: podSecurity,
		labels:      k.labels,
		annotations: t.Annotations,
	}
	if t.RunAs == input.RunAsPlatform {
		p.podSecurity = platformPodSecurity
	}
	for key, value := range t.Labels {
		if p.labels == nil {
			p.labels = manifest.Object{}
		}
		p.labels[key] = value
	}
	p.resources = resources(k, t)
	if t.Proxy != nil {
		p.env = append(p.env, a.proxyEnv(*t.Proxy)...)
	}
	if t.CABundle != nil {
		source := input.ConfigMapKey{Name: promptsName, Key: caKey}
		if t.CABundle.ConfigMap != nil {
			source = *t.CABundle.ConfigMap
		}
		p.volumes = append(p.volumes, manifest.Object{
			"name": "ca",
			"configMap": manifest.Object{
				"name":  source.Name,
				"items": []manifest.Object{{"key": source.Key, "path": caKey}},
			},
		})
		p.mounts = append(p.mounts, caMount)
		for _, name := range input.CAEnv {
			p.env = append(p.env, env(name, caDir+"/"+caKey))
		}
	}
	for _, e := range t.Env {
		p.env = append(p.env, asObject(e))
	}
	return p
}

// The platform's certificates lie in the ConfigMap of the prompts, unless the
// platform has one of its own.
const (
	caKey = "ca.crt"
	caDir = "/etc/whisperops/ca"
)

var caMount = manifest.Constant(manifest.Object{"name": "ca", "mountPath": caDir, "readOnly": true})

// caPEM is the bundle that the ConfigMap of the prompts must hold, or "".
func (a Agent) caPEM() string {
	for _, own := range []input.PodTemplate{a.Input.Planner, a.Input.Worker, a.Input.Sandbox, a.Input.ChatFrontend} {
		if c := a.Input.PodTemplateOf(own).CABundle; c != nil && c.PEM != "" {
			return c.PEM
		}
	}
	return ""
}

// proxyEnv keeps from the proxy what is in the cluster: kagent calls its agents by
// <name>.<namespace>, and the API server is reached by its address.
func (a Agent) proxyEnv(p input.Proxy) []manifest.Object {
	direct := []string{
		"localhost", "127.0.0.1", "::1", ".svc", ".cluster.local",
		"." + a.namespace(), "." + a.Input.Network.KagentNamespace,
		"metadata.google.internal", "169.254.169.254",
	}
	for _, more := range [][]string{a.Input.Network.PrivateCIDRs, a.Input.Network.APIServerCIDRs, p.NoProxy} {
		for _, n := range more {
			if !slices.Contains(direct, n) {
				direct = append(direct, n)
			}
		}
	}
	https := p.HTTPS
	if https == "" {
		https = p.HTTP
	}
	var out []manifest.Object
	for _, v := range []struct{ name, value string }{{"http_proxy", p.HTTP}, {"https_proxy", https}, {"no_proxy", strings.Join(direct, ",")}} {
		if v.value != "" {
			out = append(out, env(strings.ToUpper(v.name), v.value), env(v.name, v.value))
		}
	}
	return out
}

// resources lays what the platform says over a kind's own requests and limits.
func resources(k podKind, t input.PodTemplate) manifest.Object {
	requests, limits := clone(k.requests), clone(k.limits)
	if t.Resources != nil {
		for name, q := range t.Resources.Requests {
			requests[string(name)] = q.String()
		}
		for name, q := range t.Resources.Limits {
			limits[string(name)] = q.String()
			// A request of ours may not pass the platform's limit.
			if _, stated := t.Resources.Requests[name]; !stated && exceeds(requests[string(name)], q) {
				requests[string(name)] = q.String()
			}
		}
		for name, q := range t.Resources.Requests {
			if _, stated := t.Resources.Limits[name]; !stated && below(limits[string(name)], q) {
				limits[string(name)] = q.String()
			}
		}
	}
	if k.sized {
		limits["memory"] = k.limits["memory"]
		if text, ok := k.limits["memory"].(string); ok && exceeds(requests["memory"], resource.MustParse(text)) {
			requests["memory"] = text
		}
	}
	if t.QoSClass == corev1.PodQOSGuaranteed {
		maps.Copy(requests, limits)
	}
	return manifest.Object{"requests": requests, "limits": limits}
}

func clone(o manifest.Object) manifest.Object {
	out := make(manifest.Object, len(o))
	maps.Copy(out, o)
	return out
}

// platformPodSecurity leaves the user to the platform, which gives each namespace
// its own.
var platformPodSecurity = manifest.Constant(manifest.Object{
	"runAsNonRoot":   true,
	"seccompProfile": manifest.Object{"type": "RuntimeDefault"},
})

// into writes the fields of pods that kagent's Agents and Deployments name alike.
func (p pod) into(o manifest.Object) manifest.Object {
	if len(p.ImagePullSecrets) > 0 {
		o["imagePullSecrets"] = asAny(p.ImagePullSecrets)
	}
	if len(p.NodeSelector) > 0 {
		o["nodeSelector"] = p.NodeSelector
	}
	if len(p.Tolerations) > 0 {
		o["tolerations"] = asAny(p.Tolerations)
	}
	if p.Affinity != nil {
		o["affinity"] = asAny(p.Affinity)
	}
	return o
}

// asAny turns one of Kubernetes' own types into the shape of its YAML.
func asAny(v any) any {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // the API's types have no values that JSON lacks
	}
	var out any
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	return out
}

// exceeds and below compare a quantity of ours, "" for none, with the platform's.
func exceeds(ours any, q resource.Quantity) bool { return compare(ours, q) > 0 }
func below(ours any, q resource.Quantity) bool   { return compare(ours, q) < 0 }

func compare(ours any, q resource.Quantity) int {
	text, ok := ours.(string)
	if !ok {
		return 0
	}
	own := resource.MustParse(text)
	return own.Cmp(q)
}

func asObject(v any) manifest.Object {
	o, _ := asAny(v).(map[string]any)
	return o
}
