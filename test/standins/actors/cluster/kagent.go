package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"whisperops.io/functions/test/standins/actors/controller"
)

// model does kagent's work on a ModelConfig: its Secret must be there. The Agents
// don't mind, and get a pod that waits for it.
func model(ctx context.Context, c *controller.Controller, o *unstructured.Unstructured) error {
	controller.Set(o, o.GetGeneration(), "status", "observedGeneration")
	name := controller.Text(o, "spec", "apiKeySecret")
	if name != "" {
		_, err := c.Get(ctx, controller.Key{Resource: secrets, Namespace: o.GetNamespace(), Name: name})
		if apierrors.IsNotFound(err) {
			controller.SetCondition(o, "Accepted", "False", "ModelConfigReconcileFailed", fmt.Sprintf("1 error occurred:\n\t* failed to get secret %s: %v\n\n", name, err))
			return nil
		}
		if err != nil {
			return err
		}
	}
	controller.SetCondition(o, "Accepted", "True", "ModelConfigReconciled", "Model configuration accepted")
	return nil
}

// agent does kagent's work on an Agent. What is wrong with one is written to it and
// not tried again. Ready is written in a later pass than Accepted: a pass that
// changes the one leaves the other as it is.
func agent(ctx context.Context, c *controller.Controller, o *unstructured.Unstructured) error {
	controller.Set(o, o.GetGeneration(), "status", "observedGeneration")
	was := accepted(o)
	cfg, err := compile(ctx, c, o)
	if err != nil {
		controller.SetCondition(o, "Accepted", "False", "ReconcileFailed", fmt.Sprintf("failed to compile agent %s/%s: %v", o.GetNamespace(), o.GetName(), err))
		return nil
	}
	controller.SetCondition(o, "Accepted", "True", "Reconciled", "Agent configuration accepted")
	if err := children(ctx, c, o, cfg); err != nil {
		return err
	}
	if was != accepted(o) {
		return nil
	}
	d, err := c.Get(ctx, controller.Key{Resource: deployments, Namespace: o.GetNamespace(), Name: o.GetName()})
	if err != nil {
		return err
	}
	want, _, _ := unstructured.NestedInt64(d.Object, "spec", "replicas")
	have, _, _ := unstructured.NestedInt64(d.Object, "status", "availableReplicas")
	if have >= want && (have > 0 || os.Getenv("KAGENT") != "v0.10") { // until v0.9 none wanted and none there is ready, too
		controller.SetCondition(o, "Ready", "True", "DeploymentReady", "Deployment is ready")
	} else {
		controller.SetCondition(o, "Ready", "False", "DeploymentNotReady", fmt.Sprintf("Deployment is not ready, %d/%d pods are ready", have, want))
	}
	return nil
}

func accepted(o *unstructured.Unstructured) string {
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, e := range list {
		if m, isMap := e.(map[string]any); isMap && m["type"] == "Accepted" {
			s, _ := m["status"].(string)
			return s
		}
	}
	return ""
}

// What kagent makes of an Agent and of what it refers to.
type compiled struct {
	config map[string]any // config.json
	env    []any
}

// compile reads what an Agent refers to. A name that nothing has is an error.
func compile(ctx context.Context, c *controller.Controller, o *unstructured.Unstructured) (compiled, error) {
	get := func(r schema.GroupVersionResource, kind, name string) (*unstructured.Unstructured, error) {
		found, err := c.Get(ctx, controller.Key{Resource: r, Namespace: o.GetNamespace(), Name: name})
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("%s %q not found", kind, name)
		}
		return found, err
	}
	m, err := get(models, "ModelConfig.kagent.dev", controller.Text(o, "spec", "declarative", "modelConfig"))
	if err != nil {
		return compiled{}, err
	}
	out := compiled{config: map[string]any{"description": controller.Text(o, "spec", "description")}}
	stream, _, _ := unstructured.NestedBool(o.Object, "spec", "declarative", "stream")
	out.config["stream"] = stream
	own, _, _ := unstructured.NestedSlice(o.Object, "spec", "declarative", "deployment", "env")
	of, env, err := modelOf(m)
	if err != nil {
		return compiled{}, err
	}
	out.config["model"], out.env = of, slices.Concat(own, env)
	out.config["instruction"] = controller.Text(o, "spec", "declarative", "systemMessage")
	if name := controller.Text(o, "spec", "declarative", "systemMessageFrom", "name"); name != "" {
		prompts, err := get(configMaps, "ConfigMap", name)
		if err != nil {
			return compiled{}, err
		}
		key := controller.Text(o, "spec", "declarative", "systemMessageFrom", "key")
		text, found, _ := unstructured.NestedString(prompts.Object, "data", key)
		if !found {
			return compiled{}, fmt.Errorf("key %q not found in ConfigMap %s/%s", key, o.GetNamespace(), name)
		}
		out.config["instruction"] = text
	}
	remotes, tooled := []any{}, []any{} // written even when they are empty
	tools, _, _ := unstructured.NestedSlice(o.Object, "spec", "declarative", "tools")
	for _, t := range tools {
		tool := &unstructured.Unstructured{}
		tool.Object, _ = t.(map[string]any)
		if name := controller.Text(tool, "agent", "name"); name != "" {
			a, err := get(agents, "Agent.kagent.dev", name)
			if err != nil {
				return compiled{}, err
			}
			remotes = append(remotes, map[string]any{
				"name": strings.ReplaceAll(o.GetNamespace()+"__NS__"+name, "-", "_"), "url": "http://" + name + "." + o.GetNamespace() + ":8080",
				"description": controller.Text(a, "spec", "description"),
			})
		}
		if name := controller.Text(tool, "mcpServer", "name"); name != "" {
			s, err := get(servers, "RemoteMCPServer.kagent.dev", name)
			if err != nil {
				return compiled{}, err
			}
			names, _, _ := unstructured.NestedStringSlice(tool.Object, "mcpServer", "toolNames")
			tooled = append(tooled, map[string]any{
				"tools": names, "params": map[string]any{
					"url": controller.Text(s, "spec", "url"), "headers": map[string]any{}, "terminate_on_close": true,
					"timeout": timeout(s).Seconds(), "sse_read_timeout": timeout(s).Seconds(),
				},
			})
		}
	}
	out.config["remote_agents"], out.config["http_tools"] = remotes, tooled
	return out, nil
}

// modelOf is a model's part of config.json, and the environment that its client reads.
func modelOf(m *unstructured.Unstructured) (config map[string]any, env []any, err error) {
	secret, key := controller.Text(m, "spec", "apiKeySecret"), controller.Text(m, "spec", "apiKeySecretKey")
	fromSecret := func(name string) []any {
		if secret == "" {
			return nil
		}
		return []any{map[string]any{"name": name, "valueFrom": map[string]any{"secretKeyRef": map[string]any{"name": secret, "key": key}}}}
	}
	config = map[string]any{"model": controller.Text(m, "spec", "model")}
	switch provider := controller.Text(m, "spec", "provider"); provider {
	case "Gemini":
		if secret == "" {
			return nil, nil, errors.New("gemini model requires an apiKeySecret")
		}
		config["type"] = "gemini"
		return config, fromSecret("GOOGLE_API_KEY"), nil
	case "GeminiVertexAI":
		config["type"] = "gemini_vertex_ai"
		return config, []any{
			map[string]any{"name": "GOOGLE_CLOUD_PROJECT", "value": controller.Text(m, "spec", "geminiVertexAI", "projectID")},
			map[string]any{"name": "GOOGLE_CLOUD_LOCATION", "value": controller.Text(m, "spec", "geminiVertexAI", "location")},
			map[string]any{"name": "GOOGLE_GENAI_USE_VERTEXAI", "value": "true"},
		}, nil
	case "OpenAI":
		config["type"], config["base_url"] = "openai", controller.Text(m, "spec", "openAI", "baseUrl")
		return config, fromSecret("OPENAI_API_KEY"), nil
	case "Anthropic":
		config["type"], config["base_url"] = "anthropic", controller.Text(m, "spec", "anthropic", "baseUrl")
		return config, fromSecret("ANTHROPIC_API_KEY"), nil
	default:
		return nil, nil, fmt.Errorf("unknown model provider: %s", provider)
	}
}

// children makes the objects that are named like the Agent. Without replicas in the
// Agent the Deployment's are nobody's business of kagent's.
func children(ctx context.Context, c *controller.Controller, o *unstructured.Unstructured, cfg compiled) error {
	config, err := json.Marshal(cfg.config)
	if err != nil {
		return err
	}
	skills, _, _ := unstructured.NestedSlice(o.Object, "spec", "declarative", "a2aConfig", "skills")
	card, err := json.Marshal(map[string]any{
		"name": strings.ReplaceAll(o.GetNamespace()+"/"+o.GetName(), "-", "_"), "description": cfg.config["description"], "url": "http://" + o.GetName() + "." + o.GetNamespace() + ":8080",
		"version": "", "protocolVersion": "0.3.0", "capabilities": map[string]any{"streaming": cfg.config["stream"]},
		"defaultInputModes": []any{"text"}, "defaultOutputModes": []any{"text"}, "skills": append([]any{}, skills...),
	})
	if err != nil {
		return err
	}
	hash := sha256.Sum256(slices.Concat(config, card))
	selector := map[string]any{"app": "kagent", "kagent": o.GetName()}
	own := map[string]any{
		"app": "kagent", "kagent": o.GetName(), "app.kubernetes.io/managed-by": "kagent", "app.kubernetes.io/part-of": "kagent", "app.kubernetes.io/name": o.GetName(),
	}
	meta := func() map[string]any {
		return map[string]any{
			"name": o.GetName(), "namespace": o.GetNamespace(), "labels": own,
			"ownerReferences": []any{map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "name": o.GetName(), "uid": string(o.GetUID()), "controller": true, "blockOwnerDeletion": true}},
		}
	}
	spec := map[string]any{
		"selector": map[string]any{"matchLabels": selector},
		"strategy": map[string]any{"type": "RollingUpdate", "rollingUpdate": map[string]any{"maxSurge": int64(1), "maxUnavailable": int64(0)}},
		"template": map[string]any{
			"metadata": map[string]any{"labels": own, "annotations": map[string]any{"kagent.dev/config-hash": hex.EncodeToString(hash[:8])}},
			"spec":     podSpec(o, cfg),
		},
	}
	if n, found, _ := unstructured.NestedInt64(o.Object, "spec", "declarative", "deployment", "replicas"); found {
		spec["replicas"] = n
	}
	b64 := base64.StdEncoding.EncodeToString
	for _, child := range []struct {
		resource schema.GroupVersionResource
		object   map[string]any
	}{
		{accounts, map[string]any{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta()}},
		{secrets, map[string]any{"apiVersion": "v1", "kind": "Secret", "metadata": meta(), "data": map[string]any{"config.json": b64(config), "agent-card.json": b64(card)}}},
		{services, map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": meta(), "spec": map[string]any{
			"selector": selector, "ports": []any{map[string]any{"name": "http", "port": int64(8080), "targetPort": int64(8080), "protocol": "TCP"}},
		}}},
		{deployments, map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(), "spec": spec}},
	} {
		if err := put(ctx, c, child.resource, &unstructured.Unstructured{Object: child.object}); err != nil {
			return err
		}
	}
	return nil
}

// podSpec is the pod of an Agent: what the Agent says of it, around kagent's image.
func podSpec(o *unstructured.Unstructured, cfg compiled) map[string]any {
	dep := func(field string) (any, bool) {
		v, found, _ := unstructured.NestedFieldCopy(o.Object, "spec", "declarative", "deployment", field)
		return v, found
	}
	list := func(field string) []any { v, _ := dep(field); l, _ := v.([]any); return l }
	image := "ghcr.io/kagent-dev/kagent/app:0.9.12"
	if controller.Text(o, "spec", "declarative", "runtime") == "go" {
		image = "ghcr.io/kagent-dev/kagent/golang-adk:0.9.12"
	}
	container := map[string]any{
		"name": "kagent", "image": image, "args": []any{"--host", "0.0.0.0", "--port", "8080", "--filepath", "/config"},
		"ports": []any{map[string]any{"name": "http", "containerPort": int64(8080), "protocol": "TCP"}},
		"env": slices.Concat(cfg.env, []any{
			map[string]any{"name": "KAGENT_NAMESPACE", "valueFrom": map[string]any{"fieldRef": map[string]any{"fieldPath": "metadata.namespace"}}},
			map[string]any{"name": "KAGENT_NAME", "value": o.GetName()},
			map[string]any{"name": "KAGENT_URL", "value": "http://kagent-controller.kagent:8083"},
		}),
		"readinessProbe": map[string]any{"httpGet": map[string]any{"path": "/.well-known/agent-card.json", "port": "http"}, "initialDelaySeconds": int64(15), "timeoutSeconds": int64(15), "periodSeconds": int64(15)},
		"volumeMounts": slices.Concat(list("volumeMounts"), []any{
			map[string]any{"name": "config", "mountPath": "/config"}, map[string]any{"name": "kagent-token", "mountPath": "/var/run/secrets/tokens"},
		}),
	}
	for _, f := range []string{"resources", "securityContext"} {
		if v, found := dep(f); found {
			container[f] = v
		}
	}
	spec := map[string]any{
		"serviceAccountName": o.GetName(), "containers": []any{container},
		"volumes": slices.Concat(list("volumes"), []any{
			map[string]any{"name": "config", "secret": map[string]any{"secretName": o.GetName()}},
			map[string]any{"name": "kagent-token", "projected": map[string]any{"sources": []any{
				map[string]any{"serviceAccountToken": map[string]any{"audience": "kagent", "expirationSeconds": int64(3600), "path": "kagent-token"}},
			}}},
		}),
	}
	if v, found := dep("podSecurityContext"); found {
		spec["securityContext"] = v
	}
	return spec
}

// put writes an object as kagent does: a whole update, in which labels and
// annotations are merged and a Deployment's replicas stay where none are stated. The
// API server's defaults are not mistaken for changes, because what kagent wrote last is
// remembered in an annotation of this stand-in's own.
func put(ctx context.Context, c *controller.Controller, r schema.GroupVersionResource, o *unstructured.Unstructured) error {
	const wrote = "standin.example.org/wrote"
	b, err := json.Marshal(o.Object)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(b)
	k := controller.Key{Resource: r, Namespace: o.GetNamespace(), Name: o.GetName()}
	have, err := c.Get(ctx, k)
	if apierrors.IsNotFound(err) {
		o.SetAnnotations(map[string]string{wrote: hex.EncodeToString(sum[:8])})
		_, err = c.At(k).Create(ctx, o, metav1.CreateOptions{FieldManager: "kagent-controller"})
		return err
	}
	if err != nil {
		return err
	}
	if have.GetAnnotations()[wrote] == hex.EncodeToString(sum[:8]) && !drifted(have, o) {
		return nil
	}
	labels, notes := have.GetLabels(), have.GetAnnotations()
	if labels == nil {
		labels = map[string]string{}
	}
	if notes == nil {
		notes = map[string]string{}
	}
	maps.Copy(labels, o.GetLabels())
	notes[wrote] = hex.EncodeToString(sum[:8])
	next := have.DeepCopy()
	next.SetLabels(labels)
	next.SetAnnotations(notes)
	next.SetOwnerReferences(o.GetOwnerReferences())
	for _, f := range []string{"data", "spec"} {
		v, has := o.Object[f]
		if !has {
			continue
		}
		if m, isMap := v.(map[string]any); isMap && f == "spec" {
			for name, value := range m {
				controller.Set(next, value, "spec", name)
			}
			continue
		}
		next.Object[f] = v
	}
	if equality.Semantic.DeepEqual(have.Object, next.Object) {
		return nil
	}
	_, err = c.At(k).Update(ctx, next, metav1.UpdateOptions{FieldManager: "kagent-controller"})
	return err
}

// drifted says whether replicas that an Agent states were changed by somebody.
func drifted(have, want *unstructured.Unstructured) bool {
	n, states, _ := unstructured.NestedInt64(want.Object, "spec", "replicas")
	m, _, _ := unstructured.NestedInt64(have.Object, "spec", "replicas")
	return states && n != m
}
