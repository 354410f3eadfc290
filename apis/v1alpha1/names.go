package v1alpha1

import "cmp"

// Names that more than one place must agree on. Each stands here once.

// Labels of what belongs to an agent.
const (
	// LabelAgent holds the agent's name, on everything in its namespace.
	LabelAgent = "whisperops.io/agent"

	// LabelOrderUID is the uid of the order that made a thing: on composed resources, and
	// on what Objects wrap. What it proves: docs/design/0012-ours-and-nobody-elses.md.
	LabelOrderUID = "whisperops.io/order-uid"

	// LabelWorkerUID on the planner is the uid of the worker it was last told about.
	LabelWorkerUID = "whisperops.io/worker-uid"

	// LabelName is how a Service finds its pods, as Kubernetes recommends.
	LabelName = "app.kubernetes.io/name"

	// LabelComposite is the name of the XR that a thing was composed for, and on an XR
	// that nobody composed its own. Crossplane writes it.
	LabelComposite = "crossplane.io/composite"

	// LabelManagedBy marks the XDatasets that a watcher made; its value is the
	// watcher's name.
	LabelManagedBy = "app.kubernetes.io/managed-by"
)

// Labels of what belongs to an agent in Google Cloud, which has neither dots nor slashes
// in them.
const (
	GoogleLabelAgent    = "whisperops-agent"
	GoogleLabelOrderUID = "whisperops-order-uid"
)

const (
	// AnnotationRestoredFrom on an order names the uid that it had in the backup that it
	// was restored from: what carries that uid is taken over, and nothing else.
	AnnotationRestoredFrom = "whisperops.io/restored-from"

	// AnnotationRecorded on an XDataset that a watcher made is the path of the object it
	// was made for. What somebody writes into spec.gcsPath is put back by it, and what lies
	// in another bucket is another watcher's, whatever that is called.
	AnnotationRecorded = "whisperops.io/recorded"

	// AnnotationDataset on the Object of the part "prompts" repeats status.dataset, a
	// Dataset as JSON: a backup that is restored brings no status along.
	AnnotationDataset = "whisperops.io/dataset"

	// AnnotationPausedPeriod on a sparse Object that holds its Deployment at 0 is the
	// period in which that was decided, as status.period names it: the decision
	// outlives a status that was lost, or whose last write was.
	AnnotationPausedPeriod = "whisperops.io/paused-in-period"

	// AnnotationPausedBudget beside it is the budget that was used up, as
	// status.decidedBudgetUsd: decimal US dollars.
	AnnotationPausedBudget = "whisperops.io/paused-at-budget-usd"

	// AnnotationReplicasBefore beside them is how many replicas the Deployment had
	// before the pause, and gets again after it.
	AnnotationReplicasBefore = "whisperops.io/replicas-before-pause"
)

const (
	// Planner and Worker are an agent's two Agents, and the Deployments that kagent
	// makes of them: those that call the model.
	Planner = "planner"

	// Worker is the other, as Planner is.
	Worker = "worker"
)

const (
	// SandboxServiceAccount in the agent's namespace is who the sandbox is where it has
	// no key.
	SandboxServiceAccount = "sandbox"

	// SecretGCPCredentials in the agent's namespace holds the sandbox's key, written by
	// the part sa-key under SecretKeyPrivateKey. It opens two buckets and nothing else.
	SecretGCPCredentials = "gcp-credentials"

	// SecretKeyPrivateKey is the key of that Secret under which it stands.
	SecretKeyPrivateKey = "private_key"
)

const (
	// ControlPlaneNamespace always exists: Crossplane's own.
	ControlPlaneNamespace = "crossplane-system"

	// DefaultPricingName is the ConfigMap that holds the price table when nobody
	// names another, in ControlPlaneNamespace.
	DefaultPricingName = "whisperops-pricing"

	// PricingKey is the key of the price table in its ConfigMap.
	PricingKey = "prices.yaml"

	// DefaultProviderConfig of provider-kubernetes: the cluster that Crossplane runs in.
	DefaultProviderConfig = "in-cluster"

	// DefaultBudgetComposition is the Composition of a budget that an order makes.
	DefaultBudgetComposition = "xagentbudget-default"
)

const (
	// DefaultMaxSandboxGi caps the sandbox's memory, in GiB, when nobody sets a cap.
	DefaultMaxSandboxGi = 8

	// MaxSandboxGi is the highest cap that can be set, in GiB: 1 TiB.
	MaxSandboxGi = 1024

	// DefaultWarnAtPercent is the percentage of a budget at whose crossing one warning
	// is written when nobody says.
	DefaultWarnAtPercent = 80
)

// DefaultPricing is the price table of a budget that names none.
func DefaultPricing() PricingReference {
	return PricingReference{Name: DefaultPricingName, Namespace: ControlPlaneNamespace}
}

// OrDefault fills in what is absent: a budget rendered by hand has passed no schema.
func (r PricingReference) OrDefault() PricingReference {
	return PricingReference{Name: cmp.Or(r.Name, DefaultPricingName), Namespace: cmp.Or(r.Namespace, ControlPlaneNamespace)}
}

// AgentBucket returns the name of the bucket that holds what an agent makes. It
// starts with the project, because bucket names are global. At most 61
// characters.
func AgentBucket(projectID, agentName string) string { return projectID + "-agent-" + agentName }

// AgentHost returns the DNS name of an agent's chat page.
func AgentHost(agentName, baseDomain string) string { return "agent-" + agentName + "." + baseDomain }
