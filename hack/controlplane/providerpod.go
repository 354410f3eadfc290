package controlplane

import (
	"context"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// SchedulerName is who places the pods of providers where Kubernetes' own controllers
// make pods: a pod of another scheduler is left alone by the real one.
const SchedulerName = NodeName

// providersHere makes the Node of the providers' pods, and sends those there whose
// package names no DeploymentRuntimeConfig of its own.
func (s *Stack) providersHere(ctx context.Context) error {
	if err := s.ApplyYAML(ctx, fmt.Sprintf(`
apiVersion: v1
kind: Node
metadata: {name: %[1]s}
spec:
  unschedulable: true
  taints: [{key: whisperops.io/stand-in, value: providers, effect: NoSchedule}]
`, NodeName)); err != nil {
		return err
	}
	return s.Patch(ctx, "pkg.crossplane.io/v1beta1", "DeploymentRuntimeConfig", "", "default", fmt.Sprintf(
		`{"spec":{"deploymentTemplate":{"spec":{"selector":{},"template":{"spec":{"schedulerName":%q,"containers":[{"name":"package-runtime"}]}}}}}}`, SchedulerName))
}

// pods says of the pods that Kubernetes' controllers made of a provider's Deployment what
// a kubelet would: they are on this machine, and run, as its process does.
func (r *runtimes) pods(ctx context.Context, d *appsv1.Deployment) error {
	selector := metav1.FormatLabelSelector(d.Spec.Selector)
	list, err := r.s.Kubernetes.CoreV1().Pods(d.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return err
	}
	for i := range list.Items {
		if err := r.play(ctx, &list.Items[i]); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func (r *runtimes) play(ctx context.Context, p *corev1.Pod) error {
	pods := r.s.Kubernetes.CoreV1().Pods(p.Namespace)
	if p.DeletionTimestamp != nil {
		now := int64(0)
		return pods.Delete(ctx, p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	}
	if p.Spec.NodeName == "" {
		if err := pods.Bind(ctx, &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace}, Target: corev1.ObjectReference{Kind: "Node", Name: NodeName},
		}, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	if p.Status.Phase == corev1.PodRunning {
		return nil
	}
	now := metav1.Now()
	var conditions []corev1.PodCondition
	for _, t := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		conditions = append(conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	status, err := json.Marshal(map[string]any{"status": corev1.PodStatus{
		// Its webhook is on the node's address, behind the Service that Crossplane made.
		Phase: corev1.PodRunning, PodIP: nodeAddress, PodIPs: []corev1.PodIP{{IP: nodeAddress}}, HostIP: nodeAddress, StartTime: &now, Conditions: conditions,
	}})
	if err != nil {
		return err
	}
	_, err = pods.Patch(ctx, p.Name, types.MergePatchType, status, metav1.PatchOptions{}, "status")
	return err
}
