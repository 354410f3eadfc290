// Command cluster stands in for three programs that a real cluster runs and a
// control plane without nodes lacks: kagent, which makes a Deployment and a
// Service of each Agent; the kubelets, which make Deployments available; and
// Kyverno, which says that a policy is in force.
package main

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"whisperops.io/functions/test/standins/actors/controller"
)

var (
	agents      = schema.GroupVersionResource{Group: "kagent.dev", Version: "v1alpha2", Resource: "agents"}
	models      = schema.GroupVersionResource{Group: "kagent.dev", Version: "v1alpha2", Resource: "modelconfigs"}
	servers     = schema.GroupVersionResource{Group: "kagent.dev", Version: "v1alpha2", Resource: "remotemcpservers"}
	policies    = schema.GroupVersionResource{Group: "policies.kyverno.io", Version: "v1", Resource: "namespacedvalidatingpolicies"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
)

// crossplaneNamespace holds the Deployments of providers, whose kubelet is the
// control plane's harness.
const crossplaneNamespace = "crossplane-system"

func main() {
	controller.Main("cluster", []controller.Watch{
		// An Agent is looked at again when its spec changes, when what it refers to
		// changes, and when its Deployment does. Not when another Agent appears:
		// that is why a planner that came before its worker stays stuck.
		{Resource: agents, Keys: specChanged(agents)},
		{Resource: models, Keys: andAgents(models)},
		{Resource: servers, Keys: andAgents(servers)},
		{Resource: configMaps, Keys: andAgents(configMaps)},
		{Resource: deployments, Keys: deploymentAndAgent},
		{Resource: policies},
	}, look)
}

func look(ctx context.Context, c *controller.Controller, k controller.Key) error {
	o, err := c.Get(ctx, k)
	if apierrors.IsNotFound(err) || (err == nil && o.GetDeletionTimestamp() != nil) {
		return nil
	}
	if err != nil {
		return err
	}
	was := o.DeepCopy()
	switch k.Resource {
	case agents:
		err = agent(ctx, c, o)
	case models, servers:
		controller.SetCondition(o, "Accepted", "True", "Reconciled", "")
		controller.Set(o, o.GetGeneration(), "status", "observedGeneration")
	case deployments:
		kubelet(o)
	case policies:
		controller.Set(o, true, "status", "conditionStatus", "ready")
	}
	if err != nil {
		return err
	}
	if equality.Semantic.DeepEqual(was.Object["status"], o.Object["status"]) {
		return nil
	}
	_, err = c.At(k).UpdateStatus(ctx, o, metav1.UpdateOptions{})
	return err
}

// kubelet makes as many pods as a Deployment wants, at once.
func kubelet(o *unstructured.Unstructured) {
	if o.GetNamespace() == crossplaneNamespace {
		return
	}
	n, found, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
	if !found {
		n = 1
	}
	for _, f := range []string{"replicas", "readyReplicas", "availableReplicas", "updatedReplicas"} {
		if n == 0 { // a real one leaves zeros out
			unstructured.RemoveNestedField(o.Object, "status", f)
			continue
		}
		controller.Set(o, n, "status", f)
	}
	controller.Set(o, o.GetGeneration(), "status", "observedGeneration")
	controller.SetCondition(o, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
}

// agent does kagent's work. What is wrong with an Agent is written to it and not
// tried again, as kagent does.
func agent(ctx context.Context, c *controller.Controller, o *unstructured.Unstructured) error {
	controller.Set(o, o.GetGeneration(), "status", "observedGeneration")
	if err := refersTo(ctx, c, o); err != nil {
		controller.SetCondition(o, "Accepted", "False", "ReconcileFailed", err.Error())
		return nil
	}
	controller.SetCondition(o, "Accepted", "True", "Reconciled", "")
	if err := children(ctx, c, o); err != nil {
		return err
	}
	d, err := c.Get(ctx, controller.Key{Resource: deployments, Namespace: o.GetNamespace(), Name: o.GetName()})
	if err != nil {
		return err
	}
	want, _, _ := unstructured.NestedInt64(d.Object, "spec", "replicas")
	have, _, _ := unstructured.NestedInt64(d.Object, "status", "availableReplicas")
	if have >= want { // none wanted and none there is ready, too
		controller.SetCondition(o, "Ready", "True", "DeploymentReady", "Deployment is ready")
	} else {
		controller.SetCondition(o, "Ready", "False", "DeploymentNotReady", fmt.Sprintf("Deployment is not ready, %d/%d pods are ready", have, want))
	}
	return nil
}

// refersTo checks that what an Agent names exists.
func refersTo(ctx context.Context, c *controller.Controller, o *unstructured.Unstructured) error {
	exists := func(r schema.GroupVersionResource, name string) error {
		if name == "" {
			return nil
		}
		if _, err := c.Get(ctx, controller.Key{Resource: r, Namespace: o.GetNamespace(), Name: name}); err != nil {
			return fmt.Errorf("failed to translate agent %s/%s: %w", o.GetNamespace(), o.GetName(), err)
		}
		return nil
	}
	if err := exists(models, controller.Text(o, "spec", "declarative", "modelConfig")); err != nil {
		return err
	}
	if err := exists(configMaps, controller.Text(o, "spec", "declarative", "systemMessageFrom", "name")); err != nil {
		return err
	}
	tools, _, _ := unstructured.NestedSlice(o.Object, "spec", "declarative", "tools")
	for _, t := range tools {
		tool := &unstructured.Unstructured{}
		tool.Object, _ = t.(map[string]any)
		if err := exists(agents, controller.Text(tool, "agent", "name")); err != nil {
			return err
		}
		if err := exists(servers, controller.Text(tool, "mcpServer", "name")); err != nil {
			return err
		}
	}
	return nil
}

// children applies the Deployment and the Service, both named like the Agent.
// Without replicas in the Agent the Deployment's are nobody's business of ours.
func children(ctx context.Context, c *controller.Controller, o *unstructured.Unstructured) error {
	labels := map[string]any{"app": "kagent", "kagent": o.GetName()}
	meta := map[string]any{
		"name": o.GetName(), "namespace": o.GetNamespace(), "labels": labels,
		"ownerReferences": []any{map[string]any{"apiVersion": o.GetAPIVersion(), "kind": o.GetKind(), "name": o.GetName(), "uid": string(o.GetUID()), "controller": true, "blockOwnerDeletion": true}},
	}
	spec := map[string]any{
		"selector": map[string]any{"matchLabels": labels},
		"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": []any{
			map[string]any{"name": "kagent", "image": "cr.kagent.dev/kagent-dev/kagent/app", "ports": []any{map[string]any{"name": "http", "containerPort": int64(8080), "protocol": "TCP"}}},
		}}},
	}
	if n, found, _ := unstructured.NestedInt64(o.Object, "spec", "declarative", "deployment", "replicas"); found {
		spec["replicas"] = n
	}
	for r, child := range map[schema.GroupVersionResource]map[string]any{
		deployments: {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec},
		services: {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": map[string]any{
			"selector": labels, "ports": []any{map[string]any{"name": "http", "port": int64(8080), "targetPort": int64(8080), "protocol": "TCP"}},
		}},
	} {
		data, err := json.Marshal(child)
		if err != nil {
			return err
		}
		force := true
		if _, err := c.At(controller.Key{Resource: r, Namespace: o.GetNamespace()}).Patch(ctx, o.GetName(), types.ApplyPatchType, data,
			metav1.PatchOptions{FieldManager: "kagent-controller", Force: &force}); err != nil {
			return err
		}
	}
	return nil
}

// specChanged looks at an object that is new or whose spec or labels changed.
func specChanged(r schema.GroupVersionResource) func(*controller.Controller, *unstructured.Unstructured, *unstructured.Unstructured) []controller.Key {
	return func(_ *controller.Controller, before, after *unstructured.Unstructured) []controller.Key {
		if after == nil || (before != nil && before.GetGeneration() == after.GetGeneration() && equality.Semantic.DeepEqual(before.GetLabels(), after.GetLabels())) {
			return nil
		}
		return []controller.Key{{Resource: r, Namespace: after.GetNamespace(), Name: after.GetName()}}
	}
}

// andAgents looks at an object, and at the Agents that may refer to it.
func andAgents(r schema.GroupVersionResource) func(*controller.Controller, *unstructured.Unstructured, *unstructured.Unstructured) []controller.Key {
	return func(c *controller.Controller, before, after *unstructured.Unstructured) []controller.Key {
		keys := specChanged(r)(c, before, after)
		if len(keys) == 0 {
			return nil
		}
		for _, a := range c.Cached(agents, after.GetNamespace()) {
			keys = append(keys, controller.Key{Resource: agents, Namespace: a.GetNamespace(), Name: a.GetName()})
		}
		return keys
	}
}

// deploymentAndAgent looks at a Deployment, and at the Agent that owns it, even
// if the Deployment is gone.
func deploymentAndAgent(_ *controller.Controller, before, after *unstructured.Unstructured) []controller.Key {
	o := after
	if o == nil {
		o = before
	}
	var keys []controller.Key
	if after != nil {
		keys = append(keys, controller.Key{Resource: deployments, Namespace: o.GetNamespace(), Name: o.GetName()})
	}
	for _, ref := range o.GetOwnerReferences() {
		if ref.Kind == "Agent" {
			keys = append(keys, controller.Key{Resource: agents, Namespace: o.GetNamespace(), Name: ref.Name})
		}
	}
	return keys
}
