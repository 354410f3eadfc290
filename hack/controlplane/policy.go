package controlplane

import (
	"fmt"
	"net"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// allowed says whether the NetworkPolicies let a pod reach another one's port. A
// caller that is no pod, such as the ingress controller that a person's browser
// stands for, or the API server, is let in.
func (n *Node) allowed(from, to *pod, port int32) error {
	if from == nil {
		return nil
	}
	if n.permits(from, to, port, networkingv1.PolicyTypeEgress) && n.permits(to, from, port, networkingv1.PolicyTypeIngress) {
		return nil
	}
	return fmt.Errorf("a NetworkPolicy refuses %s/%s the way to %s/%s, port %d", from.namespace, from.name, to.namespace, to.name, port)
}

// permits asks the policies that select a pod, in one direction.
func (n *Node) permits(p, peer *pod, port int32, direction networkingv1.PolicyType) bool {
	all, err := n.policies.NetworkPolicies(p.namespace).List(labels.Everything())
	if err != nil {
		return false // a list from memory has no errors
	}
	selected := false
	for _, np := range all {
		if !slices.Contains(np.Spec.PolicyTypes, direction) || !matches(&np.Spec.PodSelector, p.labels) {
			continue
		}
		selected = true
		if direction == networkingv1.PolicyTypeEgress {
			for _, r := range np.Spec.Egress {
				if n.rule(np.Namespace, r.To, r.Ports, peer, peer, port) {
					return true
				}
			}
			continue
		}
		for _, r := range np.Spec.Ingress {
			if n.rule(np.Namespace, r.From, r.Ports, peer, p, port) {
				return true
			}
		}
	}
	return !selected
}

// rule says whether a rule names a peer and a port. The port is the server's.
func (n *Node) rule(namespace string, peers []networkingv1.NetworkPolicyPeer, ports []networkingv1.NetworkPolicyPort, peer, server *pod, port int32) bool {
	if len(ports) > 0 && !slices.ContainsFunc(ports, func(q networkingv1.NetworkPolicyPort) bool { return covers(q, server, port) }) {
		return false
	}
	return len(peers) == 0 || slices.ContainsFunc(peers, func(q networkingv1.NetworkPolicyPeer) bool { return n.isPeer(namespace, q, peer) })
}

func covers(q networkingv1.NetworkPolicyPort, server *pod, port int32) bool {
	if q.Protocol != nil && *q.Protocol != corev1.ProtocolTCP {
		return false
	}
	if q.Port == nil {
		return true
	}
	first := q.Port.IntVal
	if q.Port.Type == intstr.String {
		first = portOf(server.spec.Containers[0], *q.Port)
	}
	last := first
	if q.EndPort != nil {
		last = *q.EndPort
	}
	return port >= first && port <= last
}

func (n *Node) isPeer(namespace string, q networkingv1.NetworkPolicyPeer, peer *pod) bool {
	if q.IPBlock != nil {
		ip := net.ParseIP(peer.ip)
		in := func(cidr string) bool { _, block, err := net.ParseCIDR(cidr); return err == nil && block.Contains(ip) }
		return in(q.IPBlock.CIDR) && !slices.ContainsFunc(q.IPBlock.Except, in)
	}
	if q.NamespaceSelector == nil {
		if peer.namespace != namespace {
			return false
		}
	} else {
		ns, err := n.namespaces.Get(peer.namespace)
		if err != nil || !matches(q.NamespaceSelector, ns.Labels) {
			return false
		}
	}
	return q.PodSelector == nil || matches(q.PodSelector, peer.labels)
}

func matches(s *metav1.LabelSelector, set map[string]string) bool {
	sel, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && sel.Matches(labels.Set(set))
}
