package v1alpha1

import (
	"fmt"
	"net/netip"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
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
		{"objectProviderConfig", in.ObjectProviderConfig, "it names a ProviderConfig and a ClusterProviderConfig of provider-kubernetes"},
	} {
		if f.value == "" {
			return fmt.Errorf("%s is empty: %s", f.field, f.is)
		}
	}
	if err := validateNamespace("objectNamespace", in.ObjectNamespace, "it names a namespace that exists"); err != nil {
		return err
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

// validate is strict: the API server refuses a policy with one bad name in it, and
// the agent's pods, which it doesn't refuse, would run without any.
func (n Network) validate() error {
	for _, f := range []struct{ field, value, is string }{
		{"network.kagentNamespace", n.KagentNamespace, "it names the namespace of kagent's controller"},
		{"network.ingressNamespace", n.IngressNamespace, "it names the namespace of the ingress controller"},
		{"network.collectorNamespace", n.CollectorNamespace, "it names the namespace of the OpenTelemetry collector"},
		{"network.dnsNamespace", n.DNSNamespace, "it names the namespace of the cluster's DNS"},
	} {
		if err := validateNamespace(f.field, f.value, f.is); err != nil {
			return err
		}
	}
	if k, v, _ := strings.Cut(n.KagentLabel, "="); n.KagentLabel != "" && (v == "" || len(validation.IsQualifiedName(k)) > 0 || len(validation.IsValidLabelValue(v)) > 0) {
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

// validateNamespace says what of a namespace's name can't be used, or nil.
func validateNamespace(field, name, is string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s is empty: %s", field, is)
	case len(validation.IsDNS1123Label(name)) > 0:
		return fmt.Errorf("%s %q can't be a namespace's name: at most 63 lower-case letters, digits and dashes, no dash at either end", field, name)
	}
	return nil
}
