// Command cluster stands in for three programs that a real cluster runs and a
// control plane without nodes lacks: kagent, which makes a Deployment, a Service, a
// Secret and a ServiceAccount of each Agent; the kubelets, which make Deployments
// available where no process runs for them; and Kyverno, which says that a policy is
// in force.
//
// Of kagent it plays what the real controller (v0.9.12 and v0.10.0-rc3) was seen to
// write. Environment: REAL_PODS names the namespaces, separated by commas, whose pods
// somebody runs (* for all): there a sandbox must really answer before its
// RemoteMCPServer is Accepted. KAGENT=v0.10 makes an Agent with no pods not Ready.
package main

import (
	"context"
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

var (
	agents      = schema.GroupVersionResource{Group: "kagent.dev", Version: "v1alpha2", Resource: "agents"}
	models      = schema.GroupVersionResource{Group: "kagent.dev", Version: "v1alpha2", Resource: "modelconfigs"}
	servers     = schema.GroupVersionResource{Group: "kagent.dev", Version: "v1alpha2", Resource: "remotemcpservers"}
	policies    = schema.GroupVersionResource{Group: "policies.kyverno.io", Version: "v1", Resource: "namespacedvalidatingpolicies"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	secrets     = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	accounts    = schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}
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
		{Resource: secrets, Keys: modelsOf},
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
	var later error // what to try again once the status is written
	switch k.Resource {
	case agents:
		err = agent(ctx, c, o)
	case models:
		err = model(ctx, c, o)
	case servers:
		later, err = server(ctx, c, o)
	case deployments:
		if !runs(o.GetNamespace()) {
			kubelet(o)
		}
	case policies:
		controller.Set(o, true, "status", "conditionStatus", "ready")
	}
	if err != nil {
		return err
	}
	if !equality.Semantic.DeepEqual(was.Object["status"], o.Object["status"]) {
		if _, err := c.At(k).UpdateStatus(ctx, o, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	return later
}

// runs says whether the pods of a namespace are processes.
func runs(namespace string) bool {
	named := strings.Split(os.Getenv("REAL_PODS"), ",")
	return slices.Contains(named, namespace) || slices.Contains(named, "*")
}

// modelsOf looks at the models that may want a Secret.
func modelsOf(c *controller.Controller, before, after *unstructured.Unstructured) []controller.Key {
	if before != nil && after != nil {
		return nil
	}
	o := after
	if o == nil {
		o = before
	}
	var keys []controller.Key
	for _, m := range c.Cached(models, o.GetNamespace()) {
		keys = append(keys, controller.Key{Resource: models, Namespace: m.GetNamespace(), Name: m.GetName()})
	}
	return keys
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

// specChanged looks at an object that is new or whose spec or labels changed. Kinds that
// have no spec have no generation: of those any write counts.
func specChanged(r schema.GroupVersionResource) func(*controller.Controller, *unstructured.Unstructured, *unstructured.Unstructured) []controller.Key {
	return func(_ *controller.Controller, before, after *unstructured.Unstructured) []controller.Key {
		if after == nil || (before != nil && same(before, after)) {
			return nil
		}
		return []controller.Key{{Resource: r, Namespace: after.GetNamespace(), Name: after.GetName()}}
	}
}

func same(before, after *unstructured.Unstructured) bool {
	if after.GetGeneration() == 0 {
		return before.GetResourceVersion() == after.GetResourceVersion()
	}
	return before.GetGeneration() == after.GetGeneration() && equality.Semantic.DeepEqual(before.GetLabels(), after.GetLabels())
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
