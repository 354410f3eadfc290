package v1alpha1

import (
	"fmt"
	"net/netip"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"whisperops.io/functions/apis/v1alpha1"
)

// RenderWorkloadsInput configures the step "render-workloads".
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=renderworkloadsinputs,categories=crossplane
// +kubebuilder:storageversion
type RenderWorkloadsInput struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// Images of the workloads that are ours. Required: there is no image that
	// works everywhere.
	Images Images `json:"images"`

	// Model is the language model behind planner and worker.
	//
	// +kubebuilder:default={}
	Model Model `json:"model,omitempty"`

	// Ingress serves the chat page.
	//
	// +kubebuilder:default={}
	Ingress Ingress `json:"ingress,omitempty"`

	// Network names the peers that the agent's NetworkPolicy lets in and out.
	//
	// +kubebuilder:default={}
	Network Network `json:"network,omitempty"`

	// PodSecurity is the Pod Security Standard that the agent's namespace enforces:
	// "restricted" (default), "baseline" or "privileged". Everything rendered
	// here, and what kagent makes of it, satisfies the strictest; a service mesh
	// that injects a privileged init container needs another.
	//
	// +kubebuilder:default=restricted
	PodSecurity PodSecurity `json:"podSecurity,omitempty"`

	// ObjectProviderConfig names both provider configs of provider-kubernetes: the
	// ProviderConfig (kubernetes.crossplane.io) and the ClusterProviderConfig
	// (kubernetes.m.crossplane.io).
	//
	// +kubebuilder:default=in-cluster
	ObjectProviderConfig string `json:"objectProviderConfig,omitempty"`

	// ObjectNamespace is the namespace of the Objects. It must exist.
	//
	// +kubebuilder:default=crossplane-system
	ObjectNamespace string `json:"objectNamespace,omitempty"`
}

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
	in.ObjectProviderConfig = v1alpha1.DefaultProviderConfig
	in.ObjectNamespace = v1alpha1.ControlPlaneNamespace
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
	if s := in.Model.CredentialSecret; s != nil && s.Name == v1alpha1.SecretGCPCredentials {
		return fmt.Errorf("model.credentialSecret must not be gcp-credentials: that is the sandbox's key, which opens two buckets and nothing else")
	}
	switch in.PodSecurity {
	case PodSecurityRestricted, PodSecurityBaseline, PodSecurityPrivileged:
	default:
		return fmt.Errorf("podSecurity %q must be %s, %s or %s", in.PodSecurity, PodSecurityRestricted, PodSecurityBaseline, PodSecurityPrivileged)
	}
	return in.Network.validate()
}

// A PodSecurity names a Pod Security Standard.
//
// +kubebuilder:validation:Enum=restricted;baseline;privileged
type PodSecurity string

// The Pod Security Standards.
const (
	PodSecurityRestricted PodSecurity = "restricted"
	PodSecurityBaseline   PodSecurity = "baseline"
	PodSecurityPrivileged PodSecurity = "privileged"
)

// Images of the workloads. Their containers run as user 65532 with a read-only
// root file system; /tmp, which is also HOME, can be written.
type Images struct {
	// Sandbox runs the agent's Python code and serves the MCP tool execute_python
	// on port 8080 at /mcp. It finds in its environment DATASET_GCS_PATH,
	// DATASET_NAME, OUTPUT_BUCKET, EXECUTION_TIMEOUT_SECONDS,
	// GOOGLE_APPLICATION_CREDENTIALS and GOOGLE_CLOUD_PROJECT.
	//
	// +kubebuilder:validation:MinLength=1
	Sandbox string `json:"sandbox"`

	// ChatFrontend serves the chat page on port 3000. It finds in its environment
	// AGENT_NAME (also the name of its XAgentBudget), AGENT_NAMESPACE,
	// AGENT_DESCRIPTION, DATASET_DISPLAY_NAME, PLANNER_URL, OUTPUT_BUCKET and PORT.
	//
	// +kubebuilder:validation:MinLength=1
	ChatFrontend string `json:"chatFrontend"`
}

// Model is the language model behind planner and worker.
type Model struct {
	// Name of the model on Vertex AI.
	//
	// +kubebuilder:default="gemini-2.5-pro"
	Name string `json:"name,omitempty"`

	// Location of Vertex AI.
	//
	// +kubebuilder:default=europe-west1
	Location string `json:"location,omitempty"`

	// ProjectID that pays for the model; empty: the order's project.
	//
	// +optional
	ProjectID string `json:"projectId,omitempty"`

	// CredentialSecret holds the model's credential in the agent's namespace, put
	// there by the platform. Absent: Workload Identity, as the service accounts
	// planner and worker of that namespace; on Google Kubernetes Engine it needs
	// network.gkeMetadataServer too. It is never the sandbox's key, which opens two
	// buckets and nothing else.
	//
	// +optional
	CredentialSecret *SecretKey `json:"credentialSecret,omitempty"`
}

// SecretKey names one key of a Secret.
type SecretKey struct {
	// Name of the Secret.
	//
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`

	// Key in the Secret.
	//
	// +kubebuilder:validation:MinLength=1
	Key string `json:"key"`
}

// Ingress serves the chat page.
type Ingress struct {
	// ClassName of the Ingress.
	//
	// +kubebuilder:default=nginx
	ClassName string `json:"className,omitempty"`

	// TLSIssuer is the cert-manager ClusterIssuer that issues the page's
	// certificate. Empty: TLS ends before the ingress controller, and the
	// Ingress asks for no certificate.
	//
	// +optional
	TLSIssuer string `json:"tlsIssuer,omitempty"`

	// Annotations of the Ingress, beside those that let ingress-nginx wait for
	// long answers; a value given here wins.
	//
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Network names the peers of the agent's NetworkPolicy.
type Network struct {
	// KagentNamespace holds kagent's controller.
	//
	// +kubebuilder:default=kagent
	KagentNamespace string `json:"kagentNamespace,omitempty"`

	// KagentLabel, key=value, tells the pods of kagent's controller from the other
	// pods of KagentNamespace, which may neither call the agent nor its sandbox.
	// Empty: every pod of that namespace may.
	//
	// +kubebuilder:default="app.kubernetes.io/component=controller"
	KagentLabel string `json:"kagentLabel,omitempty"`

	// IngressNamespace holds the ingress controller.
	//
	// +kubebuilder:default=ingress-nginx
	IngressNamespace string `json:"ingressNamespace,omitempty"`

	// CollectorNamespace holds the OpenTelemetry collector (ports 4317 and 4318).
	// The spend is computed from what it receives.
	//
	// +kubebuilder:default=observability
	CollectorNamespace string `json:"collectorNamespace,omitempty"`

	// DNSNamespace holds the cluster's DNS.
	//
	// +kubebuilder:default=kube-system
	DNSNamespace string `json:"dnsNamespace,omitempty"`

	// NodeLocalDNS is the CIDR of a node-local DNS cache, such as
	// 169.254.20.10/32. Empty: there is none.
	//
	// +optional
	NodeLocalDNS string `json:"nodeLocalDNS,omitempty"`

	// PrivateCIDRs are excepted when planner, worker and sandbox reach Google's
	// APIs on port 443. 169.254.0.0/16, where clouds have their metadata servers,
	// is excepted always.
	//
	// +kubebuilder:default={"10.0.0.0/8","100.64.0.0/10","172.16.0.0/12","192.168.0.0/16","169.254.0.0/16"}
	PrivateCIDRs []string `json:"privateCIDRs,omitempty"`

	// APIServerCIDRs are where the Kubernetes API server is reached, at
	// APIServerPort: the chat page reads its budget there. Best the addresses of
	// the control plane alone (kubectl get endpointslices kubernetes). Empty: the
	// API server has a public address and port 443, which is open anyway.
	//
	// +kubebuilder:default={"10.0.0.0/8","172.16.0.0/12","192.168.0.0/16"}
	APIServerCIDRs []string `json:"apiServerCIDRs,omitempty"`

	// APIServerPort is the API server's own port, behind the Service kubernetes.
	//
	// +kubebuilder:default=6443
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	APIServerPort int32 `json:"apiServerPort,omitempty"`

	// GKEMetadataServer lets all pods of the agent reach the metadata server of
	// Google Kubernetes Engine, which Workload Identity needs when the model has
	// no credentialSecret. Off by default: on a node pool without Workload
	// Identity it hands out the node's own credentials, to the sandbox too.
	//
	// +optional
	GKEMetadataServer bool `json:"gkeMetadataServer,omitempty"`
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
