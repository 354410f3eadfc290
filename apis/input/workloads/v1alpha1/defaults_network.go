package v1alpha1

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	input "whisperops.io/functions/apis/input/v1alpha1"
)

// validate is strict: the API server refuses a policy with one bad name in it, and
// the agent's pods, which it doesn't refuse, would run without any.
func (n Network) validate() error { //nolint:gocognit // one field after the other
	for _, f := range []struct{ field, value, is string }{
		{"network.kagentNamespace", n.KagentNamespace, "it names the namespace of kagent's controller"},
		{"network.ingressNamespace", n.IngressNamespace, "it names the namespace of the ingress controller"},
		{"network.collectorNamespace", n.CollectorNamespace, "it names the namespace of the OpenTelemetry collector"},
		{"network.dnsNamespace", n.DNSNamespace, "it names the namespace of the cluster's DNS"},
	} {
		if err := input.ValidateNamespace(f.field, f.value, f.is); err != nil {
			return err
		}
	}
	if k, v, _ := strings.Cut(n.KagentLabel, "="); n.KagentLabel != "" && (v == "" || len(validation.IsQualifiedName(k)) > 0 || len(validation.IsValidLabelValue(v)) > 0) {
		return fmt.Errorf("network.kagentLabel %q must be key=value, such as app.kubernetes.io/component=controller", n.KagentLabel)
	}
	if n.APIServerPort < 1 || n.APIServerPort > 65535 {
		return fmt.Errorf("network.apiServerPort %d must be from 1 to 65535", n.APIServerPort)
	}
	if len(n.IPFamilies) == 0 {
		return fmt.Errorf("network.ipFamilies is empty: it holds %s, %s or both", IPv4, IPv6)
	}
	for i, f := range n.IPFamilies {
		if f != IPv4 && f != IPv6 || slices.Contains(n.IPFamilies[:i], f) {
			return fmt.Errorf("network.ipFamilies holds %q: it holds %s, %s or both", f, IPv4, IPv6)
		}
	}
	for _, c := range n.PrivateCIDRs {
		// The API server refuses an exception that isn't a strict part of 0.0.0.0/0.
		if p, ok := cidr(c); !ok || p.Bits() == 0 {
			return fmt.Errorf("network.privateCIDRs holds %q: each must be a part of the IPv4 or IPv6 addresses, such as 10.0.0.0/8", c)
		}
	}
	for _, p := range n.DNSPorts {
		if p < 1 || p > 65535 {
			return fmt.Errorf("network.dnsPorts holds %d: each must be from 1 to 65535", p)
		}
	}
	for _, list := range []struct {
		field, example string
		blocks         []string
	}{{"network.ingressCIDRs", "35.191.0.0/16", n.IngressCIDRs}, {"network.apiServerCIDRs", "10.0.0.0/8", n.APIServerCIDRs}} {
		for _, c := range list.blocks {
			if _, ok := cidr(c); !ok {
				return fmt.Errorf("%s holds %q: each must be a CIDR, such as %s", list.field, c, list.example)
			}
		}
	}
	if err := n.validateExtra(); err != nil {
		return err
	}
	if n.NodeLocalDNS == "" {
		return nil
	}
	if p, ok := cidr(n.NodeLocalDNS); !ok || p.Bits() == 0 {
		return fmt.Errorf("network.nodeLocalDNS %q must be a CIDR, such as 169.254.20.10/32", n.NodeLocalDNS)
	}
	return nil
}

// validateExtra checks the rules that are added to ours.
func (n Network) validateExtra() error {
	for i, r := range n.ExtraEgress {
		at := field.NewPath("network", "extraEgress").Index(i)
		if errs := append(validatePeers(r.To, metadataServers, at.Child("to")), validatePorts(r.Ports, at.Child("ports"))...); len(errs) > 0 {
			return errs.ToAggregate()
		}
	}
	for i, r := range n.ExtraIngress {
		at := field.NewPath("network", "extraIngress").Index(i)
		if errs := append(validatePeers(r.From, nil, at.Child("from")), validatePorts(r.Ports, at.Child("ports"))...); len(errs) > 0 {
			return errs.ToAggregate()
		}
	}
	return nil
}

// cidr reads a block of addresses. API servers take bits behind the prefix and IPv4
// in IPv6's clothes so far, and refuse both once StrictIPCIDRValidation is on.
func cidr(s string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(s)
	return p, err == nil && p == p.Masked() && !p.Addr().Is4In6()
}

// validatePeers says what of the peers of a NetworkPolicy rule can't be used, or nil. Beyond the
// API server's rules each names its peers: an empty list means everybody. No block of
// addresses may hold one of never unless it is that address alone.
func validatePeers(peers []networkingv1.NetworkPolicyPeer, never []netip.Addr, path *field.Path) field.ErrorList {
	if len(peers) == 0 {
		return field.ErrorList{field.Required(path, "an empty list means everybody; name the peers")}
	}
	var errs field.ErrorList
	for i, p := range peers {
		at := path.Index(i)
		selectors := p.PodSelector != nil || p.NamespaceSelector != nil
		switch {
		case p.IPBlock != nil && selectors:
			errs = append(errs, field.Forbidden(at, "may not specify both ipBlock and another peer"))
		case p.IPBlock == nil && !selectors:
			errs = append(errs, field.Required(at, "must specify a peer"))
		case p.IPBlock != nil:
			errs = append(errs, validateIPBlock(*p.IPBlock, never, at.Child("ipBlock"))...)
		}
		errs = append(errs, metavalidation.ValidateLabelSelector(p.PodSelector, metavalidation.LabelSelectorValidationOptions{}, at.Child("podSelector"))...)
		errs = append(errs, metavalidation.ValidateLabelSelector(p.NamespaceSelector, metavalidation.LabelSelectorValidationOptions{}, at.Child("namespaceSelector"))...)
	}
	return errs
}

// metadataServers are where clouds hand out a node's own credentials.
var metadataServers = []netip.Addr{netip.MustParseAddr("169.254.169.254"), netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("fd20:ce::254")}

func validateIPBlock(b networkingv1.IPBlock, never []netip.Addr, path *field.Path) field.ErrorList {
	whole, ok := cidr(b.CIDR)
	if !ok {
		return field.ErrorList{field.Invalid(path.Child("cidr"), b.CIDR, "must be a CIDR, such as 10.0.0.0/8 or fd00::/8")}
	}
	var errs field.ErrorList
	excepted := func(netip.Addr) bool { return false }
	for i, e := range b.Except {
		p, ok := cidr(e)
		if !ok || !whole.Contains(p.Addr()) || p.Bits() <= whole.Bits() {
			errs = append(errs, field.Invalid(path.Child("except").Index(i), e, "must be a strict subset of cidr"))
			continue
		}
		before := excepted
		excepted = func(a netip.Addr) bool { return p.Contains(a) || before(a) }
	}
	for _, m := range never {
		if whole.Bits() < m.BitLen() && whole.Contains(m) && !excepted(m) {
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("it opens the clouds' metadata server %s, which hands out the node's own credentials; except it", m)))
		}
	}
	return errs
}

func validatePorts(ports []networkingv1.NetworkPolicyPort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, p := range ports {
		at := path.Index(i)
		if p.Protocol != nil {
			switch *p.Protocol {
			case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
			default:
				errs = append(errs, field.NotSupported(at.Child("protocol"), *p.Protocol, []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}))
			}
		}
		switch {
		case p.Port == nil && p.EndPort != nil:
			errs = append(errs, field.Required(at.Child("port"), "must be specified when endPort is"))
		case p.Port == nil:
		case p.Port.Type == intstr.Int:
			for _, m := range validation.IsValidPortNum(int(p.Port.IntVal)) {
				errs = append(errs, field.Invalid(at.Child("port"), p.Port.IntVal, m))
			}
			if p.EndPort != nil && (*p.EndPort < p.Port.IntVal || *p.EndPort > 65535) {
				errs = append(errs, field.Invalid(at.Child("endPort"), *p.EndPort, "must be greater than or equal to port, and at most 65535"))
			}
		default:
			if p.EndPort != nil {
				errs = append(errs, field.Invalid(at.Child("endPort"), *p.EndPort, "may not be specified when port is a name"))
			}
			for _, m := range validation.IsValidPortName(p.Port.StrVal) {
				errs = append(errs, field.Invalid(at.Child("port"), p.Port.StrVal, m))
			}
		}
	}
	return errs
}
