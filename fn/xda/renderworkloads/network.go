package renderworkloads

import (
	"slices"
	"strings"

	"whisperops.io/functions/fn/internal/manifest"
)

// networkPolicy lets the agent's pods talk to what they need, and to nothing
// else. It is one policy for all pods, because kyvernoPolicy allows no second
// one and kagent labels its pods itself. So it can't tell the agent's own pods
// apart: the sandbox may call the planner and reach kagent, the API server (for
// which it has no token), the collector and Google's APIs just as the others may.
// What it does keep: no pod of another namespace gets in but kagent's controller
// and the ingress controller, and nothing gets out into private networks or to
// the metadata server but on the ports named here.
// Ports are those of pods: Services are resolved before policies.
func networkPolicy(a Agent) manifest.Object {
	n := a.Input.Network
	egress := []manifest.Object{
		// Planner to worker, worker to sandbox, chat page to planner.
		{"to": ownPods, "ports": tcp8080},
		{"to": dns(a), "ports": dnsPorts},
		// Sessions and tokens: an agent fails without them.
		{"to": []manifest.Object{kagentController(a)}, "ports": tcp8083},
		// Spans, from which the budget is computed.
		{"to": namespacePeers(n.CollectorNamespace), "ports": otlpPorts},
		// Google's APIs have no fixed addresses.
		{"to": []manifest.Object{internet(n.PrivateCIDRs)}, "ports": tcp443},
	}
	if len(n.APIServerCIDRs) > 0 {
		// The chat page reads its XAgentBudget.
		egress = append(egress, manifest.Object{"to": cidrPeers(n.APIServerCIDRs...), "ports": tcp(int(n.APIServerPort))})
	}
	if n.GKEMetadataServer {
		// The two ways to GKE's metadata server: its own address, and with
		// Dataplane V2 the well-known one.
		egress = append(egress,
			manifest.Object{"to": cidrPeers("169.254.169.252/32"), "ports": tcp(988)},
			manifest.Object{"to": cidrPeers("169.254.169.254/32"), "ports": tcp(80)})
	}
	return manifest.Object{
		"apiVersion": "networking.k8s.io/v1",
		"kind":       "NetworkPolicy",
		"metadata":   a.meta(policyName),
		"spec": manifest.Object{
			"podSelector": manifest.Object{},
			"policyTypes": []string{"Ingress", "Egress"},
			"ingress": []manifest.Object{
				{"from": ownPods, "ports": tcp8080},
				// kagent's controller lists the sandbox's tools and passes on calls to
				// planner and worker.
				{"from": []manifest.Object{kagentController(a)}, "ports": tcp8080},
				{"from": namespacePeers(n.IngressNamespace), "ports": chatPortOnly},
			},
			"egress": egress,
		},
	}
}

var (
	ownPods = manifest.Constant([]manifest.Object{{"podSelector": manifest.Object{}}})

	tcp443       = manifest.Constant(tcp(443))
	tcp8080      = manifest.Constant(tcp(8080)) // planner, worker and sandbox
	tcp8083      = manifest.Constant(tcp(8083)) // kagent's controller
	chatPortOnly = manifest.Constant(tcp(chatPort))
	otlpPorts    = manifest.Constant(tcp(4317, 4318))
	dnsPorts     = manifest.Constant([]manifest.Object{port("UDP", 53), port("TCP", 53)})
)

// dns is the cluster's DNS, and the cache on the node where there is one.
func dns(a Agent) []manifest.Object {
	peers := namespacePeers(a.Input.Network.DNSNamespace)
	if c := a.Input.Network.NodeLocalDNS; c != "" {
		peers = append(peers, cidrPeers(c)...)
	}
	return peers
}

// kagentController is one peer: both selectors must match.
func kagentController(a Agent) manifest.Object {
	peer := manifest.Object{"namespaceSelector": namespaceNamed(a.Input.Network.KagentNamespace)}
	if k, v, ok := strings.Cut(a.Input.Network.KagentLabel, "="); ok {
		peer["podSelector"] = manifest.Object{"matchLabels": manifest.Object{k: v}}
	}
	return peer
}

func namespacePeers(name string) []manifest.Object {
	return []manifest.Object{{"namespaceSelector": namespaceNamed(name)}}
}

// namespaceNamed uses the label that the API server itself puts on every
// namespace.
func namespaceNamed(name string) manifest.Object {
	return manifest.Object{"matchLabels": manifest.Object{"kubernetes.io/metadata.name": name}}
}

// internet is everything but private networks and, whatever the input says, the
// addresses where clouds have their metadata servers.
func internet(private []string) manifest.Object {
	except := private
	if !slices.Contains(private, linkLocal) {
		except = append(slices.Clone(private), linkLocal)
	}
	return manifest.Object{"ipBlock": manifest.Object{"cidr": "0.0.0.0/0", "except": except}}
}

const linkLocal = "169.254.0.0/16"

func cidrPeers(cidrs ...string) []manifest.Object {
	peers := make([]manifest.Object, 0, len(cidrs))
	for _, c := range cidrs {
		peers = append(peers, manifest.Object{"ipBlock": manifest.Object{"cidr": c}})
	}
	return peers
}

func tcp(ports ...int) []manifest.Object {
	out := make([]manifest.Object, 0, len(ports))
	for _, p := range ports {
		out = append(out, port("TCP", p))
	}
	return out
}

func port(protocol string, number int) manifest.Object {
	return manifest.Object{"protocol": protocol, "port": number}
}

// kyvernoPolicy keeps the namespace closed: NetworkPolicies add up, so one more
// could open what ours closes. It judges requests only; the background scan would
// need rights that Kyverno's reports controller doesn't have by default.
func kyvernoPolicy(a Agent) manifest.Object {
	return manifest.Object{
		"apiVersion": "policies.kyverno.io/v1",
		"kind":       "NamespacedValidatingPolicy",
		"metadata":   a.meta("only-our-networkpolicy"),
		"spec":       kyvernoSpec,
	}
}

var kyvernoSpec = manifest.Constant(manifest.Object{
	"validationActions": []string{"Deny"},
	"evaluation":        manifest.Object{"background": manifest.Object{"enabled": false}},
	"matchConstraints": manifest.Object{
		"resourceRules": []manifest.Object{{
			"apiGroups":   []string{"networking.k8s.io"},
			"apiVersions": []string{"v1"},
			"operations":  []string{"CREATE", "UPDATE"},
			"resources":   []string{"networkpolicies"},
		}},
	},
	"validations": []manifest.Object{{
		"expression": `object.metadata.name == "` + policyName + `"`,
		"message":    "only the NetworkPolicy named " + policyName + " may exist here: others would add to what it allows",
	}},
})
