package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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

// Images of the workloads.
type Images struct {
	// Sandbox runs the agent's Python code and serves the MCP tool execute_python
	// on port 8080 at /mcp.
	//
	// +kubebuilder:validation:MinLength=1
	Sandbox string `json:"sandbox"`

	// ChatFrontend serves the chat page on port 3000.
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
	// there by the platform. Absent: Workload Identity. It is never the
	// sandbox's key, which opens two buckets and nothing else.
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
}

// Network names the peers of the agent's NetworkPolicy.
type Network struct {
	// KagentNamespace holds kagent's controller.
	//
	// +kubebuilder:default=kagent
	KagentNamespace string `json:"kagentNamespace,omitempty"`

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
	// APIs on port 443.
	//
	// +kubebuilder:default={"10.0.0.0/8","172.16.0.0/12","192.168.0.0/16","169.254.0.0/16"}
	PrivateCIDRs []string `json:"privateCIDRs,omitempty"`
}
