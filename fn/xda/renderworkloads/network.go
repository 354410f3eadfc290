package renderworkloads

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	input "whisperops.io/functions/apis/input/workloads/v1alpha1"
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
		{"to": dns(a), "ports": dnsPorts(n)},
		// Sessions and tokens: an agent fails without them.
		{"to": []manifest.Object{kagentController(a)}, "ports": tcp8083},
		// Spans, from which the budget is computed.
		{"to": namespacePeers(n.CollectorNamespace), "ports": otlpPorts},
		// Google's APIs have no fixed addresses.
		{"to": internet(n), "ports": tcp443},
	}
	for _, reached := range a.reached() {
		egress = append(egress, manifest.Object{"to": reached.peers, "ports": tcp(reached.port)})
	}
	if len(n.APIServerCIDRs) > 0 {
		// The chat page reads its XAgentBudget.
		egress = append(egress, manifest.Object{"to": cidrPeers(n.APIServerCIDRs...), "ports": tcp(int(n.APIServerPort))})
	}
	if n.GKEMetadataServer || a.Keyless {
		// The two ways to GKE's metadata server: its own address, and with
		// Dataplane V2 the well-known one.
		egress = append(egress,
			manifest.Object{"to": cidrPeers("169.254.169.252/32"), "ports": tcp(988)},
			manifest.Object{"to": cidrPeers("169.254.169.254/32"), "ports": tcp(80)})
	}
	for _, r := range n.ExtraEgress {
		egress = append(egress, asObject(r))
	}
	ingress := []manifest.Object{
		{"from": ownPods, "ports": tcp8080},
		// kagent's controller lists the sandbox's tools and passes on calls to
		// planner and worker.
		{"from": []manifest.Object{kagentController(a)}, "ports": tcp8080},
		{"from": append(namespacePeers(n.IngressNamespace), cidrPeers(n.IngressCIDRs...)...), "ports": chatPortOnly},
	}
	for _, r := range n.ExtraIngress {
		ingress = append(ingress, asObject(r))
	}
	return manifest.Object{
		"apiVersion": "networking.k8s.io/v1",
		"kind":       "NetworkPolicy",
		"metadata":   a.meta(policyName),
		"spec": manifest.Object{
			"podSelector": manifest.Object{},
			"policyTypes": []string{"Ingress", "Egress"},
			"ingress":     ingress,
			"egress":      egress,
		},
	}
}

// A destination is where pods are told to go by a URL of the input.
type destination struct {
	peers []manifest.Object
	port  int
}

// reached are the destinations that the input's URLs name: the token-meter, a
// gateway or a model server, and proxies. A name outside of the cluster has no fixed
// address, so a NetworkPolicy can't hold it.
func (a Agent) reached() []destination {
	urls := []string{a.modelURL()}
	for _, own := range []input.PodTemplate{a.Input.Planner, a.Input.Worker, a.Input.Sandbox, a.Input.ChatFrontend} {
		if p := a.Input.PodTemplateOf(own).Proxy; p != nil {
			urls = append(urls, p.HTTP, p.HTTPS)
		}
	}
	var out []destination
	seen := map[string]bool{}
	for _, u := range urls {
		namespace, address, port := endpoint(u)
		key := namespace + " " + address + " " + strconv.Itoa(port)
		switch {
		case seen[key]:
		case namespace != "":
			out = append(out, destination{namespacePeers(namespace), port})
		case address != "":
			out = append(out, destination{cidrPeers(address), port})
		}
		seen[key] = true
	}
	return out
}

var (
	ownPods = manifest.Constant([]manifest.Object{{"podSelector": manifest.Object{}}})

	tcp443       = manifest.Constant(tcp(443))
	tcp8080      = manifest.Constant(tcp(8080)) // planner, worker and sandbox
	tcp8083      = manifest.Constant(tcp(8083)) // kagent's controller
	chatPortOnly = manifest.Constant(tcp(chatPort))
	otlpPorts    = manifest.Constant(tcp(4317, 4318))
)

// dnsPorts are the ports of the DNS pods: Services are resolved before policies,
// and OpenShift's pods listen on another port than their Service.
func dnsPorts(n input.Network) []manifest.Object {
	ports := n.DNSPorts
	if len(ports) == 0 && n.DNSNamespace == "openshift-dns" {
		ports = []int32{5353}
	}
	if len(ports) == 0 {
		ports = []int32{53}
	}
	var out []manifest.Object
	for _, p := range ports {
		out = append(out, port("UDP", int(p)), port("TCP", int(p)))
	}
	return out
}

// dns is the cluster's DNS, and the cache on the node where there is one.
func dns(a Agent) []manifest.Object {
	peers := namespacePeers(a.Input.Network.DNSNamespace)
	if c := a.Input.Network.NodeLocalDNS; c != "" {
		peers = append(peers, cidrPeers(c)...)
	}
	return peers
}

// kagentController is one peer: both selectors must match.
//
//go:noinline
func kagentController(a Agent) manifest.Object {
	peer := manifest.Object{"namespaceSelector": namespaceNamed(a.Input.Network.KagentNamespace)}
	if k, v, ok := strings.Cut(a.Input.Network.KagentLabel, "="); ok {
		peer["podSelector"] = manifest.Object{"matchLabels": manifest.Object{k: v}}
	}
	return peer
}

//go:noinline
func namespacePeers(name string) []manifest.Object {
	return []manifest.Object{{"namespaceSelector": namespaceNamed(name)}}
}

// endpoint says what a NetworkPolicy can hold of a URL: the namespace of a Service
// in the cluster (service.namespace.svc, with or without the cluster's domain), or
// the CIDR of an address; and the port. Both are empty for any other name.
func endpoint(base string) (namespace, cidr string, port int) {
	u, err := url.Parse(base)
	if err != nil {
		return "", "", 0
	}
	port = 80
	if u.Scheme == "https" {
		port = 443
	}
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil {
			return "", "", 0
		}
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil {
		return "", netip.PrefixFrom(ip, ip.BitLen()).String(), port
	}
	labels := strings.Split(strings.TrimSuffix(u.Hostname(), "."), ".")
	if len(labels) < 3 || labels[2] != "svc" {
		return "", "", 0
	}
	return labels[1], "", port
}

// namespaceNamed uses the label that the API server itself puts on every
// namespace.
//
//go:noinline
func namespaceNamed(name string) manifest.Object {
	return manifest.Object{"matchLabels": manifest.Object{"kubernetes.io/metadata.name": name}}
}

// internet is everything but private networks and, whatever the input says,
// link-local addresses and those where clouds have their metadata servers.
func internet(n input.Network) []manifest.Object {
	var peers []manifest.Object
	for _, f := range []struct {
		family input.IPFamily
		all    string
		never  []string
	}{
		{input.IPv4, "0.0.0.0/0", []string{"169.254.0.0/16"}},
		{input.IPv6, "::/0", []string{"fe80::/10", "fd00:ec2::254/128", "fd20:ce::254/128"}},
	} {
		if !slices.Contains(n.IPFamilies, f.family) {
			continue
		}
		var except []netip.Prefix
		add := func(p netip.Prefix) {
			if !slices.ContainsFunc(except, func(e netip.Prefix) bool { return e.Bits() <= p.Bits() && e.Contains(p.Addr()) }) {
				except = append(except, p)
			}
		}
		for _, c := range n.PrivateCIDRs {
			if p, err := netip.ParsePrefix(c); err == nil && p.Addr().Is4() == (f.family == input.IPv4) {
				except = append(except, p)
			}
		}
		for _, c := range f.never {
			add(netip.MustParsePrefix(c))
		}
		list := make([]string, 0, len(except))
		for _, p := range except {
			list = append(list, p.String())
		}
		peers = append(peers, manifest.Object{"ipBlock": manifest.Object{"cidr": f.all, "except": list}})
	}
	return peers
}

//go:noinline
func cidrPeers(cidrs ...string) []manifest.Object {
	peers := make([]manifest.Object, 0, len(cidrs))
	for _, c := range cidrs {
		peers = append(peers, manifest.Object{"ipBlock": manifest.Object{"cidr": c}})
	}
	return peers
}

//go:noinline
func tcp(ports ...int) []manifest.Object {
	out := make([]manifest.Object, 0, len(ports))
	for _, p := range ports {
		out = append(out, port("TCP", p))
	}
	return out
}

//go:noinline
func port(protocol string, number int) manifest.Object {
	return manifest.Object{"protocol": protocol, "port": number}
}

// kyvernoPolicy keeps the namespace closed: NetworkPolicies add up, so one more
// could open what ours closes. So do Cilium's and Calico's own, in whose groups
// nothing of ours lives; where those kinds aren't installed, nobody can make one. It
// judges requests only; the background scan would need rights that Kyverno's reports
// controller doesn't have by default.
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
		"resourceRules": []manifest.Object{
			guarded("networking.k8s.io", "v1", "networkpolicies"),
			guarded("cilium.io", "*", "ciliumnetworkpolicies"),
			guarded("crd.projectcalico.org", "*", "networkpolicies"),
			guarded("projectcalico.org", "*", "networkpolicies"),
		},
	},
	"validations": []manifest.Object{{
		"expression": `object.apiVersion == "networking.k8s.io/v1" && object.metadata.name == "` + policyName + `"`,
		"message":    "only the NetworkPolicy named " + policyName + " may exist here: others would add to what it allows",
	}},
})

func guarded(group, version, resource string) manifest.Object {
	return manifest.Object{
		"apiGroups":   []string{group},
		"apiVersions": []string{version},
		"operations":  []string{"CREATE", "UPDATE"},
		"resources":   []string{resource},
	}
}
