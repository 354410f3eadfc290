package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// An XDatasetAgent orders one AI agent that analyses one CSV dataset. It
// expands into 22 resources in Kubernetes and Google Cloud: a bucket and an
// identity of its own, a namespace with a planner, a worker and a Python
// sandbox, a chat page, a dashboard, and a budget that stops it when its money
// is gone.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,path=xdatasetagents,shortName=xda
// +kubebuilder:printcolumn:name="DATASET",type=string,JSONPath=`.status.dataset.displayName`
// +kubebuilder:printcolumn:name="PHASE",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="BUDGET",type=number,JSONPath=`.spec.budgetUsd`
// +kubebuilder:printcolumn:name="SPENT",type=number,JSONPath=`.status.budget.spentUsd`
// +kubebuilder:printcolumn:name="PAUSED",type=boolean,JSONPath=`.status.budget.paused`
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.status.url`
// +kubebuilder:validation:XValidation:rule="self.metadata.name == self.spec.agentName",message="metadata.name and spec.agentName must be equal: the agent's name is its identity and never changes"
type XDatasetAgent struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   XDatasetAgentSpec   `json:"spec"`
	Status XDatasetAgentStatus `json:"status,omitempty"`
}

// XDatasetAgentSpec is what a developer orders.
type XDatasetAgentSpec struct {
	// AgentName is the agent's identity: its namespace is agent-<agentName>, its
	// Google service account agent-<agentName>. It equals metadata.name and
	// never changes. 3 to 24 lower-case letters, digits and dashes, starting
	// with a letter, ending with a letter or digit, not containing "google" or what looks like
	// it, such as "g00gle".
	//
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=24
	// +kubebuilder:validation:Pattern=`^[a-z][a-z0-9-]*[a-z0-9]$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('[g9q6]+[o0][o0]+[g9q6]+[l1i]+[e3]')",message="agentName must not contain \"google\" or what looks like it: the agent's bucket carries its name, and Google refuses such buckets"
	AgentName string `json:"agentName"`

	// DatasetRef names the XDataset that the agent analyses. It may be changed to
	// another dataset in the same bucket; a dataset in another bucket is
	// refused for a living agent, because its grants can't be edited.
	DatasetRef DatasetReference `json:"datasetRef"`

	// BudgetUSD is what the agent may spend on LLM tokens, in US dollars, in each
	// period of its budget. 0 means no money at all: the agent stays stopped.
	//
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	BudgetUSD float64 `json:"budgetUsd"`

	// Enforcement says what happens when the money is gone: "enabled" stops the agent,
	// "monitor-only" measures and never stops it. Unset: as the XAgentBudget says, which
	// is its operator's to edit. Where the platform has decided it for all agents, in the
	// input of emit-budget, that counts.
	//
	// +optional
	Enforcement Enforcement `json:"enforcement,omitempty"`

	// Period after which spending starts again from zero: "lifetime" (never), "daily",
	// "weekly" (from Monday) or "monthly". Unset: as Enforcement.
	//
	// +optional
	Period Period `json:"period,omitempty"`

	// Description says in a sentence what the agent is for. It is shown to
	// people and told to the agent; it can't change how the agent works.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=500
	Description string `json:"description,omitempty"`

	// BaseDomain is the DNS domain under which the agent's chat page is served,
	// at https://agent-<agentName>.<baseDomain>/.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=220
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`
	BaseDomain string `json:"baseDomain"`

	// ProjectID is the Google Cloud project that holds the agent's bucket and
	// identity. It never changes: everything in it would have to be made anew.
	//
	// +kubebuilder:validation:Pattern=`^[a-z][a-z0-9-]{4,28}[a-z0-9]$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="projectId never changes: delete the order and make a new one for another project"
	// +kubebuilder:validation:XValidation:rule="!self.matches('[g9q6]+[o0][o0]+[g9q6]+[l1i]+[e3]') && !self.startsWith('goog')",message="projectId must not contain \"google\" or what looks like it, or start with \"goog\": the agent's bucket carries it, and Google refuses such buckets"
	ProjectID string `json:"projectId"`
}

// A DatasetReference names an XDataset.
type DatasetReference struct {
	// Name of the XDataset; kubectl get xds lists them.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// An AgentPhase says in one word how far an order has come.
//
// +kubebuilder:validation:Enum=Validating;Failed;Provisioning;Ready
type AgentPhase string

// The phases of an order.
const (
	// PhaseValidating: the dataset has been asked for and not been answered yet.
	PhaseValidating AgentPhase = "Validating"
	// PhaseFailed: the order can't be filled; condition DatasetValid says why.
	PhaseFailed AgentPhase = "Failed"
	// PhaseProvisioning: parts are still missing or not ready.
	PhaseProvisioning AgentPhase = "Provisioning"
	// PhaseReady: all 22 parts are observed Ready.
	PhaseReady AgentPhase = "Ready"
)

// XDatasetAgentStatus is what the pipeline knows about an order.
type XDatasetAgentStatus struct {
	// Phase says how far the order has come: Validating, Failed, Provisioning or
	// Ready.
	//
	// +optional
	Phase AgentPhase `json:"phase,omitempty"`

	// Dataset is the last dataset that was valid. A living agent keeps running on
	// it when the XDataset vanishes or changes to one that can't be used.
	//
	// +optional
	Dataset *Dataset `json:"dataset,omitempty"`

	// SandboxMemMi is the memory limit of the agent's Python sandbox in MiB.
	//
	// +optional
	SandboxMemMi int64 `json:"sandboxMemMi,omitempty"`

	// URL of the agent's chat page.
	//
	// +optional
	URL string `json:"url,omitempty"`

	// Budget repeats the figures of the agent's XAgentBudget. They stay when the
	// XAgentBudget is deleted, so that a new one opens with what was spent.
	//
	// +optional
	Budget *BudgetFigures `json:"budget,omitempty"`

	// Platform is yours: what steps of a platform team's own know about an order,
	// such as its owner or a ticket. No step of ours reads or writes it.
	//
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	Platform *runtime.RawExtension `json:"platform,omitempty"`

	// Conditions of the order.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// BudgetFigures are an XAgentBudget's figures as its order repeats them.
type BudgetFigures struct {
	// SpentUSD is what the agent has spent in the current period, in US dollars.
	SpentUSD float64 `json:"spentUsd"`

	// Ratio of SpentUSD to the budget; 1 is all of it.
	Ratio float64 `json:"ratio"`

	// Paused says whether the budget has stopped the agent.
	Paused bool `json:"paused"`

	// Cause of the budget's decision, in one word: budget-exhausted,
	// agent-unreachable, unknown or running.
	Cause Cause `json:"cause"`

	// AsOf is the time of the newest sample that SpentUSD counts (RFC 3339). Empty
	// while nothing was ever counted.
	//
	// +optional
	AsOf string `json:"asOf,omitempty"`

	// Period that SpentUSD belongs to: "lifetime", a day "2026-11-23", a week
	// "2026-W48" or a month "2026-11" (UTC).
	//
	// +optional
	Period string `json:"period,omitempty"`
}

// XDatasetAgentList is a list of orders.
//
// +kubebuilder:object:root=true
type XDatasetAgentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []XDatasetAgent `json:"items"`
}
