package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
)

// A PodTemplate is what a platform says of pods. The fields are Kubernetes' own,
// and checked by its rules. For all pods of an agent they stand in podTemplate; a
// field in planner, worker, sandbox or chatFrontend is for that pod alone: lists
// are added to those of podTemplate, maps and environments are laid over them, and
// everything else takes their place.
type PodTemplate struct {
	// Labels of the pods, beside those that select them.
	//
	// +optional
	Labels map[string]string `json:"labels,omitempty"`

	// Annotations of the pods.
	//
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`

	// ImagePullSecrets are Secrets in the agent's namespace, put there by the
	// platform.
	//
	// +optional
	// +listType=atomic
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`

	// ImagePullPolicy of the pods' container: Always, IfNotPresent or Never.
	//
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`

	// NodeSelector chooses nodes by their labels.
	//
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// Tolerations let pods run on nodes with taints.
	//
	// +optional
	// +listType=atomic
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// Affinity draws pods to nodes, and to and from other pods.
	//
	// +optional
	Affinity *corev1.Affinity `json:"affinity,omitempty"`

	// TopologySpreadConstraints of sandbox and chat front end. kagent has no such
	// field for its agents.
	//
	// +optional
	// +listType=atomic
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`

	// PriorityClassName of sandbox and chat front end. kagent has no such field for
	// its agents.
	//
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// RuntimeClassName of sandbox and chat front end, such as gvisor. kagent has no
	// such field for its agents.
	//
	// +optional
	RuntimeClassName string `json:"runtimeClassName,omitempty"`

	// Resources of the pods' container. What is stated takes the place of the same
	// request or limit; the rest stays. The sandbox's memory is what compute-tuning
	// says.
	//
	// +optional
	Resources *Resources `json:"resources,omitempty"`

	// QoSClass is "Burstable" (default) or "Guaranteed": with the latter, requests
	// are as high as limits. Google Kubernetes Engine's Autopilot lowers limits to
	// requests where it can't burst, which would take three quarters of its memory
	// from the sandbox.
	//
	// +optional
	// +kubebuilder:validation:Enum=Burstable;Guaranteed
	QoSClass corev1.PodQOSClass `json:"qosClass,omitempty"`

	// Env of the pods' container, beside what it has by contract.
	//
	// +optional
	// +listType=atomic
	Env []corev1.EnvVar `json:"env,omitempty"`

	// RunAs says who the containers run as: "Nonroot", user, group and file system
	// group 65532, or "Platform": none is stated, the platform gives one to each
	// namespace, as OpenShift does. Unset: Nonroot, and Platform where
	// network.dnsNamespace is OpenShift's.
	//
	// +optional
	RunAs RunAs `json:"runAs,omitempty"`

	// Proxy is how pods reach what is outside of the cluster.
	//
	// +optional
	Proxy *Proxy `json:"proxy,omitempty"`

	// CABundle are the certificates that the programs trust, in PEM. They take the
	// place of those in the images, so name public ones too where they are needed.
	// Programs find them by SSL_CERT_FILE, REQUESTS_CA_BUNDLE, NODE_EXTRA_CA_CERTS and
	// GRPC_DEFAULT_SSL_ROOTS_FILE_PATH.
	//
	// +optional
	CABundle *CABundle `json:"caBundle,omitempty"`
}

// Resources of a container.
type Resources struct {
	// Requests: what a node must have left. cpu, memory, ephemeral-storage, or a
	// device such as nvidia.com/gpu.
	//
	// +optional
	Requests corev1.ResourceList `json:"requests,omitempty"`

	// Limits: what is the most.
	//
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
}

// RunAs says who containers run as.
//
// +kubebuilder:validation:Enum=Nonroot;Platform
type RunAs string

// Who containers run as.
const (
	RunAsNonroot  RunAs = "Nonroot"
	RunAsPlatform RunAs = "Platform"
)

// Proxy is an HTTP proxy, by the variables that programs read: HTTP_PROXY,
// HTTPS_PROXY and NO_PROXY, in capitals and in small letters. What is in the
// cluster or in network.privateCIDRs is never asked of it.
type Proxy struct {
	// HTTP is the URL of the proxy for http.
	//
	// +optional
	HTTP string `json:"http,omitempty"`

	// HTTPS is the URL of the proxy for https; empty: that of HTTP.
	//
	// +optional
	HTTPS string `json:"https,omitempty"`

	// NoProxy are more hosts, .domains and CIDRs that are reached without it.
	//
	// +optional
	// +listType=atomic
	NoProxy []string `json:"noProxy,omitempty"`
}

// CABundle are certificates, written here or kept in a ConfigMap.
type CABundle struct {
	// PEM holds the certificates.
	//
	// +optional
	PEM string `json:"pem,omitempty"`

	// ConfigMap in the agent's namespace holds them, put there by the platform:
	// trust-manager does so for all namespaces.
	//
	// +optional
	ConfigMap *ConfigMapKey `json:"configMap,omitempty"`
}

// ConfigMapKey names one key of a ConfigMap.
type ConfigMapKey struct {
	// Name of the ConfigMap.
	//
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`

	// Key in the ConfigMap.
	//
	// +kubebuilder:validation:MinLength=1
	Key string `json:"key"`
}
