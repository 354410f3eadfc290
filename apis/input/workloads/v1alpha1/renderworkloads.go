package v1alpha1

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	input "whisperops.io/functions/apis/input/v1alpha1"
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

	// PodTemplate is what the platform says of all pods of an agent: planner,
	// worker, sandbox and chat front end. kagent makes the first two from what its
	// Agents say.
	//
	// +optional
	PodTemplate PodTemplate `json:"podTemplate,omitempty"`

	// Planner is laid over podTemplate for the planner.
	//
	// +optional
	Planner PodTemplate `json:"planner,omitempty"`

	// Worker is laid over podTemplate for the worker.
	//
	// +optional
	Worker PodTemplate `json:"worker,omitempty"`

	// Sandbox is laid over podTemplate for the sandbox.
	//
	// +optional
	Sandbox PodTemplate `json:"sandbox,omitempty"`

	// ChatFrontend is laid over podTemplate for the chat front end.
	//
	// +optional
	ChatFrontend PodTemplate `json:"chatFrontend,omitempty"`

	// Namespace is what the platform says of the agents' namespaces.
	//
	// +optional
	Namespace NamespaceMetadata `json:"namespace,omitempty"`

	// KagentVersion is what is installed: "v0.9" (default) or "v0.10". With v0.10
	// every conversation gets a session of its own with the worker; with v0.9
	// conversations of one user share one, so the chat front end gives each a user
	// of its own.
	//
	// +kubebuilder:default="v0.9"
	KagentVersion KagentVersion `json:"kagentVersion,omitempty"`

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
	in.Model = Model{
		Provider: ProviderGeminiVertexAI,
		Name:     DefaultModel,
		Location: "global",
		Meter:    Meter{URL: "http://token-meter.whisperops-system.svc:8080"},
	}
	in.Ingress = Ingress{ClassName: "nginx"}
	in.Network = Network{
		KagentNamespace:    "kagent",
		KagentLabel:        "app.kubernetes.io/component=controller",
		IngressNamespace:   "ingress-nginx",
		CollectorNamespace: "observability",
		DNSNamespace:       "kube-system",
		PrivateCIDRs:       []string{"10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7"},
		IPFamilies:         []IPFamily{IPv4},
		APIServerCIDRs:     []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"},
		APIServerPort:      6443,
	}
	in.KagentVersion = KagentV09
	in.PodSecurity = PodSecurityRestricted
	in.ObjectProviderConfig = v1alpha1.DefaultProviderConfig
	in.ObjectNamespace = v1alpha1.ControlPlaneNamespace
}

// Validate says what of the input can't be used, or nil.
func (in *RenderWorkloadsInput) Validate() error {
	for _, f := range []struct{ field, value, is string }{
		{"images.sandbox", in.Images.Sandbox, "RenderWorkloadsInput needs the image that runs the agents' Python code"},
		{"images.chatFrontend", in.Images.ChatFrontend, "RenderWorkloadsInput needs the image that serves the chat pages"},
	} {
		if f.value == "" {
			return fmt.Errorf("%s is empty: %s", f.field, f.is)
		}
	}
	for _, i := range []struct{ field, image string }{{"images.sandbox", in.Images.Sandbox}, {"images.chatFrontend", in.Images.ChatFrontend}} {
		if err := validateImage(i.field, i.image); err != nil {
			return err
		}
	}
	if err := input.ValidateObjectName("objectProviderConfig", in.ObjectProviderConfig, "it names a ProviderConfig and a ClusterProviderConfig of provider-kubernetes"); err != nil {
		return err
	}
	if err := input.ValidateNamespace("objectNamespace", in.ObjectNamespace, "it names a namespace that exists"); err != nil {
		return err
	}
	if err := in.Model.validate(); err != nil {
		return err
	}
	if err := in.Ingress.validate(); err != nil {
		return err
	}
	if err := in.validatePods(); err != nil {
		return err
	}
	if errs := validateMetadata(in.Namespace.Labels, in.Namespace.Annotations, field.NewPath("namespace")); len(errs) > 0 {
		return errs.ToAggregate()
	}
	for _, l := range sortedKeys(in.Namespace.Labels) {
		if strings.HasPrefix(l, "whisperops.io/") || l == "kubernetes.io/metadata.name" || l == "pod-security.kubernetes.io/enforce" {
			return fmt.Errorf("namespace.labels[%s] can't be set here: it says whose the namespace is, or is the input podSecurity", l)
		}
	}
	if err := validatePodSecurityLabels(in.Namespace.Labels); err != nil {
		return err
	}
	if in.KagentVersion != KagentV09 && in.KagentVersion != KagentV010 {
		return fmt.Errorf("kagentVersion %q must be %s or %s", in.KagentVersion, KagentV09, KagentV010)
	}
	switch in.PodSecurity {
	case PodSecurityRestricted, PodSecurityBaseline, PodSecurityPrivileged:
	default:
		return fmt.Errorf("podSecurity %q must be %s, %s or %s", in.PodSecurity, PodSecurityRestricted, PodSecurityBaseline, PodSecurityPrivileged)
	}
	return in.Network.validate()
}

// NamespaceMetadata is laid over the agents' namespaces' own.
type NamespaceMetadata struct {
	// Labels of the namespace, such as those that a service mesh or a quota
	// controller looks for.
	//
	// +optional
	Labels map[string]string `json:"labels,omitempty"`

	// Annotations of the namespace.
	//
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`
}

// A KagentVersion is a minor version of kagent.
//
// +kubebuilder:validation:Enum=v0.9;v0.10
type KagentVersion string

// The versions of kagent that are known.
const (
	KagentV09  KagentVersion = "v0.9"
	KagentV010 KagentVersion = "v0.10"
)

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
	// Provider speaks for the model: "GeminiVertexAI" (default), "Gemini" (the
	// Gemini API), "OpenAI" or "Anthropic". OpenAI also stands for whatever speaks
	// its API under another baseUrl.
	//
	// +kubebuilder:default=GeminiVertexAI
	Provider ModelProvider `json:"provider,omitempty"`

	// Name of the model, as its provider knows it.
	//
	// +kubebuilder:default="gemini-3.5-flash"
	Name string `json:"name,omitempty"`

	// Location of Vertex AI; unused by other providers, and by agents that reach
	// their model through the meter. Newer models are served at "global" and in
	// few multi-regions, not in single regions.
	//
	// +kubebuilder:default=global
	Location string `json:"location,omitempty"`

	// ProjectID that pays for the model on Vertex AI; empty: the order's project.
	//
	// +optional
	ProjectID string `json:"projectId,omitempty"`

	// BaseURL of the provider's API, when it isn't the provider's own: a gateway's,
	// or a model server's in the cluster. Its host must be let out by
	// network.extraEgress unless it has a public address and port 443. Not beside
	// meter.enabled: the meter has upstreams of its own.
	//
	// +optional
	BaseURL string `json:"baseUrl,omitempty"`

	// Meter stands between the agents and the model, counts every call and refuses
	// it when the budget is spent.
	//
	// +kubebuilder:default={}
	Meter Meter `json:"meter,omitempty"`

	// CredentialSecret holds the model's credential in the agent's namespace, put
	// there by the platform. Absent with GeminiVertexAI: Workload Identity, as the
	// service accounts planner and worker of that namespace; on Google Kubernetes
	// Engine it needs network.gkeMetadataServer too. The other providers need one,
	// or a baseUrl that asks for none. Not beside meter.enabled: the meter alone
	// holds the credential then. It is never the sandbox's key, which opens two
	// buckets and nothing else.
	//
	// +optional
	CredentialSecret *SecretKey `json:"credentialSecret,omitempty"`
}

// A ModelProvider is a company's API for its models.
//
// +kubebuilder:validation:Enum=GeminiVertexAI;Gemini;OpenAI;Anthropic
type ModelProvider string

// The providers.
const (
	ProviderGeminiVertexAI ModelProvider = "GeminiVertexAI"
	ProviderGemini         ModelProvider = "Gemini"
	ProviderOpenAI         ModelProvider = "OpenAI"
	ProviderAnthropic      ModelProvider = "Anthropic"
)

// Meter is the token-meter (package/install/token-meter).
type Meter struct {
	// Enabled points planner and worker at the meter. Their namespace then holds
	// no credential of the provider at all: with GeminiVertexAI they speak the
	// plain Gemini dialect, and the meter does what Vertex AI wants.
	//
	// +optional
	Enabled bool `json:"enabled,omitempty"`

	// URL of the meter's Service. A cluster-internal name (service.namespace.svc)
	// is let out by the NetworkPolicy; another host needs network.extraEgress
	// unless it has a public address and port 443. The Service's port must be the
	// pods' port too.
	//
	// +kubebuilder:default="http://token-meter.whisperops-system.svc:8080"
	URL string `json:"url,omitempty"`
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
	// ClassName of the Ingress. Empty: no class is stated, for controllers that
	// look at the annotation kubernetes.io/ingress.class alone, as Google
	// Kubernetes Engine's does; annotations must hold it then. The NetworkPolicy does
	// not follow it: network.ingressNamespace says where the controller's pods are.
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

	// ServiceAnnotations of the Service behind the Ingress, where some load
	// balancers look for their settings.
	//
	// +optional
	ServiceAnnotations map[string]string `json:"serviceAnnotations,omitempty"`
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

	// IngressNamespace holds the pods of the ingress controller, which alone may reach
	// the chat page. Set it together with ingress.className.
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

	// DNSPorts are those of the DNS pods, UDP and TCP. Unset: 53, or 5353 where
	// dnsNamespace is OpenShift's.
	//
	// +optional
	// +listType=atomic
	DNSPorts []int32 `json:"dnsPorts,omitempty"`

	// NodeLocalDNS is the CIDR of a node-local DNS cache, such as
	// 169.254.20.10/32. Empty: there is none.
	//
	// +optional
	NodeLocalDNS string `json:"nodeLocalDNS,omitempty"`

	// IngressCIDRs may reach the chat page beside the ingress controller: load
	// balancers that call pods directly, and their health checks.
	//
	// +optional
	// +listType=atomic
	IngressCIDRs []string `json:"ingressCIDRs,omitempty"`

	// IPFamilies of the cluster's pods: IPv4 (default), IPv6 or both. Google's APIs
	// are reached by each of them.
	//
	// +kubebuilder:default={"IPv4"}
	// +listType=atomic
	IPFamilies []IPFamily `json:"ipFamilies,omitempty"`

	// ExtraEgress lets pods out to more peers: a proxy, a registry of packages, a
	// gateway, a model server. Rules of a NetworkPolicy; each must name its peers.
	//
	// +optional
	// +listType=atomic
	ExtraEgress []networkingv1.NetworkPolicyEgressRule `json:"extraEgress,omitempty"`

	// ExtraIngress lets more peers in, such as a Prometheus. Rules of a
	// NetworkPolicy; each must name its peers.
	//
	// +optional
	// +listType=atomic
	ExtraIngress []networkingv1.NetworkPolicyIngressRule `json:"extraIngress,omitempty"`

	// PrivateCIDRs are excepted when planner, worker and sandbox reach Google's
	// APIs on port 443. Link-local addresses and those where clouds have their
	// metadata servers are excepted always.
	//
	// +kubebuilder:default={"10.0.0.0/8","100.64.0.0/10","172.16.0.0/12","192.168.0.0/16","169.254.0.0/16","fc00::/7"}
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

// An IPFamily is a version of the Internet Protocol.
//
// +kubebuilder:validation:Enum=IPv4;IPv6
type IPFamily string

// The versions of the Internet Protocol.
const (
	IPv4 IPFamily = "IPv4"
	IPv6 IPFamily = "IPv6"
)

// ingressClassAnnotation is how Ingresses named their class before they had a field.
const ingressClassAnnotation = "kubernetes.io/ingress.class"

func (i Ingress) validate() error {
	path := field.NewPath("ingress")
	errs := validateAnnotations(i.Annotations, path.Child("annotations"))
	errs = append(errs, validateAnnotations(i.ServiceAnnotations, path.Child("serviceAnnotations"))...)
	hints, old := i.ServiceAnnotations[corev1.DeprecatedAnnotationTopologyAwareHints]
	if mode, also := i.ServiceAnnotations[corev1.AnnotationTopologyMode]; old && also && mode != hints {
		errs = append(errs, field.Invalid(path.Child("serviceAnnotations").Key(corev1.AnnotationTopologyMode), mode, "must match annotation "+corev1.DeprecatedAnnotationTopologyAwareHints+", its older name, when both are there"))
	}
	if i.ClassName != "" {
		for _, m := range apivalidation.NameIsDNSSubdomain(i.ClassName, false) {
			errs = append(errs, field.Invalid(path.Child("className"), i.ClassName, m))
		}
	}
	if i.TLSIssuer != "" {
		for _, m := range apivalidation.NameIsDNSSubdomain(i.TLSIssuer, false) {
			errs = append(errs, field.Invalid(path.Child("tlsIssuer"), i.TLSIssuer, m))
		}
	}
	if len(errs) > 0 {
		return errs.ToAggregate()
	}
	if issuer, also := i.Annotations["cert-manager.io/issuer"]; also && i.TLSIssuer != "" {
		return fmt.Errorf("ingress.annotations[cert-manager.io/issuer] is %q beside ingress.tlsIssuer %q: cert-manager issues nothing for an Ingress that names both; leave tlsIssuer out and name the certificate's Secret yourself, or leave the annotation out", issuer, i.TLSIssuer)
	}
	switch class, annotated := i.Annotations[ingressClassAnnotation]; {
	case annotated && i.ClassName != "" && class != i.ClassName:
		return fmt.Errorf("ingress.annotations[%s] is %q and ingress.className is %q: the API server takes both only if they are equal; for a controller that looks at the annotation alone set className to \"\"", ingressClassAnnotation, class, i.ClassName)
	case !annotated && i.ClassName == "":
		return fmt.Errorf("ingress.className is empty: it names an IngressClass, or ingress.annotations holds %s", ingressClassAnnotation)
	}
	return nil
}
