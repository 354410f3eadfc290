package v1alpha1

import (
	"strings"
	"testing"
)

func TestRenderWorkloadsInputValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		change func(*RenderWorkloadsInput)
		want   string // part of the error; empty: the input is fine
	}{
		"Defaults":          {"Everything but the images has a default that works.", func(*RenderWorkloadsInput) {}, ""},
		"NoSandboxImage":    {"There is no image that works everywhere.", func(in *RenderWorkloadsInput) { in.Images.Sandbox = "" }, "images.sandbox is empty: RenderWorkloadsInput"},
		"NoChatImage":       {"There is no image that works everywhere.", func(in *RenderWorkloadsInput) { in.Images.ChatFrontend = "" }, "images.chatFrontend is empty: RenderWorkloadsInput"},
		"NoModel":           {"An empty string isn't an absent field.", func(in *RenderWorkloadsInput) { in.Model.Name = "" }, "model.name is empty"},
		"NoObjectNamespace": {"An Object must live somewhere.", func(in *RenderWorkloadsInput) { in.ObjectNamespace = "" }, "objectNamespace is empty"},
		"HalfACredential":   {"kagent refuses a Secret without a key.", func(in *RenderWorkloadsInput) { in.Model.CredentialSecret = &SecretKey{Name: "vertex"} }, "model.credentialSecret needs"},
		"SandboxKeyAsCredential": {"The sandbox's key opens two buckets and nothing else.", func(in *RenderWorkloadsInput) {
			in.Model.CredentialSecret = &SecretKey{Name: "gcp-credentials", Key: "private_key"}
		}, "must not be gcp-credentials"},
		"PodSecurity":     {"The API server refuses a fourth standard.", func(in *RenderWorkloadsInput) { in.PodSecurity = "strict" }, `podSecurity "strict" must be`},
		"NoKagentLabel":   {"Every pod of kagent's namespace may be let in.", func(in *RenderWorkloadsInput) { in.Network.KagentLabel = "" }, ""},
		"KagentLabel":     {"A label has a key and a value.", func(in *RenderWorkloadsInput) { in.Network.KagentLabel = "controller" }, `kagentLabel "controller" must be key=value`},
		"KagentLabelKey":  {"The API server refuses the whole policy for it, and pods without a policy are open.", func(in *RenderWorkloadsInput) { in.Network.KagentLabel = "app kubernetes=x" }, `kagentLabel "app kubernetes=x" must be key=value`},
		"TwoLabels":       {"A peer is told by one label.", func(in *RenderWorkloadsInput) { in.Network.KagentLabel = "app=kagent,component=controller" }, `must be key=value`},
		"PeerNamespace":   {"A selector holds what a label may hold.", func(in *RenderWorkloadsInput) { in.Network.IngressNamespace = "Traefik " }, `network.ingressNamespace "Traefik " can't be a namespace's name`},
		"NoPeer":          {"Without a collector no spend is seen.", func(in *RenderWorkloadsInput) { in.Network.CollectorNamespace = "" }, "network.collectorNamespace is empty: it names"},
		"NoPrivateCIDRs":  {"A cluster may have none.", func(in *RenderWorkloadsInput) { in.Network.PrivateCIDRs = nil }, ""},
		"CIDR":            {"A typo is refused before the API server refuses the whole order.", func(in *RenderWorkloadsInput) { in.Network.PrivateCIDRs = []string{"10.0.0.0"} }, `privateCIDRs holds "10.0.0.0"`},
		"CIDRv6":          {"A private network may be of IPv6.", func(in *RenderWorkloadsInput) { in.Network.PrivateCIDRs = []string{"fd00::/8"} }, ""},
		"CIDRAll":         {"An exception is less than all.", func(in *RenderWorkloadsInput) { in.Network.PrivateCIDRs = []string{"0.0.0.0/0"} }, `privateCIDRs holds "0.0.0.0/0"`},
		"CIDRHostBits":    {"10.1.2.3/8 is most likely meant to be something else.", func(in *RenderWorkloadsInput) { in.Network.PrivateCIDRs = []string{"10.1.2.3/8"} }, `privateCIDRs holds "10.1.2.3/8"`},
		"APIServerCIDR":   {"A typo is refused.", func(in *RenderWorkloadsInput) { in.Network.APIServerCIDRs = []string{"x"} }, `apiServerCIDRs holds "x"`},
		"APIServerCIDRv6": {"The API server may have an IPv6 address.", func(in *RenderWorkloadsInput) { in.Network.APIServerCIDRs = []string{"fd00::1/128"} }, ""},
		"APIServerPort":   {"A port has a range.", func(in *RenderWorkloadsInput) { in.Network.APIServerPort = 65536 }, "apiServerPort 65536"},
		"NodeLocalDNS":    {"It is a CIDR, not an address.", func(in *RenderWorkloadsInput) { in.Network.NodeLocalDNS = "169.254.20.10" }, "nodeLocalDNS"},
	} {
		t.Run(name, func(t *testing.T) {
			in := &RenderWorkloadsInput{Images: Images{Sandbox: "sandbox:v1", ChatFrontend: "chat:v1"}}
			in.Default()
			tc.change(in)
			if err := in.Validate(); !says(err, tc.want) {
				t.Errorf("%s\nValidate() = %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// says whether err holds want; an empty want wants no error.
func says(err error, want string) bool {
	if err == nil || want == "" {
		return err == nil && want == ""
	}
	return strings.Contains(err.Error(), want)
}
