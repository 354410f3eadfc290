package v1alpha1

import (
	"fmt"
	"net/netip"
	"strings"
)

// Default fills in what an absent field means.
func (in *RenderWorkloadsInput) Default() {
	in.Model = Model{Name: "gemini-2.5-pro", Location: "europe-west1"}
	in.Ingress = Ingress{ClassName: "nginx"}
	in.Network = Network{
		KagentNamespace:    "kagent",
		KagentLabel:        "app.kubernetes.io/component=controller",
		IngressNamespace:   "ingress-nginx",
		CollectorNamespace: "observability",
		DNSNamespace:       "kube-system",
		PrivateCIDRs:       []string{"10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"},
		APIServerCIDRs:     []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"},
		APIServerPort:      6443,
	}
	in.PodSecurity = PodSecurityRestricted
	in.ObjectProviderConfig = "in-cluster"
	in.ObjectNamespace = "crossplane-system"
}

// Validate says what of the input can't be used, or nil.
func (in *RenderWorkloadsInput) Validate() error {
	for _, f := range []struct{ field, value, is string }{
		{"images.sandbox", in.Images.Sandbox, "RenderWorkloadsInput needs the image that runs the agents' Python code"},
		{"images.chatFrontend", in.Images.ChatFrontend, "RenderWorkloadsInput needs the image that serves the chat pages"},
		{"model.name", in.Model.Name, "it names a model on Vertex AI"},
		{"model.location", in.Model.Location, "it names a location of Vertex AI"},
		{"ingress.className", in.Ingress.ClassName, "it names an IngressClass"},
		{"network.kagentNamespace", in.Network.KagentNamespace, "it names the namespace of kagent's controller"},
		{"network.ingressNamespace", in.Network.IngressNamespace, "it names the namespace of the ingress controller"},
		{"network.collectorNamespace", in.Network.CollectorNamespace, "it names the namespace of the OpenTelemetry collector"},
		{"network.dnsNamespace", in.Network.DNSNamespace, "it names the namespace of the cluster's DNS"},
		{"objectProviderConfig", in.ObjectProviderConfig, "it names a ProviderConfig and a ClusterProviderConfig of provider-kubernetes"},
		{"objectNamespace", in.ObjectNamespace, "it names a namespace that exists"},
	} {
		if f.value == "" {
			return fmt.Errorf("%s is empty: %s", f.field, f.is)
		}
	}
	if s := in.Model.CredentialSecret; s != nil && (s.Name == "" || s.Key == "") {
		return fmt.Errorf("model.credentialSecret needs the name of a Secret and a key in it; leave it out for Workload Identity")
	}
	if s := in.Model.CredentialSecret; s != nil && s.Name == "gcp-credentials" {
		return fmt.Errorf("model.credentialSecret must not be gcp-credentials: that is the sandbox's key, which opens two buckets and nothing else")
	}
	switch in.PodSecurity {
	case PodSecurityRestricted, PodSecurityBaseline, PodSecurityPrivileged:
	default:
		return fmt.Errorf("podSecurity %q must be %s, %s or %s", in.PodSecurity, PodSecurityRestricted, PodSecurityBaseline, PodSecurityPrivileged)
	}
	return in.Network.validate()
}

func (n Network) validate() error {
	if k, v, ok := strings.Cut(n.KagentLabel, "="); n.KagentLabel != "" && (!ok || k == "" || v == "") {
		return fmt.Errorf("network.kagentLabel %q must be key=value, such as app.kubernetes.io/component=controller", n.KagentLabel)
	}
	if n.APIServerPort < 1 || n.APIServerPort > 65535 {
		return fmt.Errorf("network.apiServerPort %d must be from 1 to 65535", n.APIServerPort)
	}
	for _, c := range n.PrivateCIDRs {
		p, err := netip.ParsePrefix(c)
		// The API server refuses an exception that isn't a strict part of 0.0.0.0/0.
		if err != nil || p != p.Masked() || !p.Addr().Is4() || p.Bits() == 0 {
			return fmt.Errorf("network.privateCIDRs holds %q: each must be a part of the IPv4 addresses, such as 10.0.0.0/8", c)
		}
	}
	for _, c := range n.APIServerCIDRs {
		if p, err := netip.ParsePrefix(c); err != nil || p != p.Masked() {
			return fmt.Errorf("network.apiServerCIDRs holds %q: each must be a CIDR, such as 10.0.0.0/8", c)
		}
	}
	if n.NodeLocalDNS == "" {
		return nil
	}
	if p, err := netip.ParsePrefix(n.NodeLocalDNS); err != nil || p != p.Masked() {
		return fmt.Errorf("network.nodeLocalDNS %q must be a CIDR, such as 169.254.20.10/32", n.NodeLocalDNS)
	}
	return nil
}
