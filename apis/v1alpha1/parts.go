package v1alpha1

// Composed resource names are an API: Crossplane deletes what is stored under a
// name that disappears, and makes what appears under a new one. A part's
// metadata.name is agent-<agentName>-<composed resource name>.
const (
	PartBucket             = "bucket"
	PartServiceAccount     = "sa"
	PartServiceAccountKey  = "sa-key"
	PartIAMDatasetsViewer  = "iam-datasets-viewer"
	PartIAMBucketAdmin     = "iam-bucket-admin"
	PartNamespace          = "namespace"
	PartPrompts            = "prompts"
	PartNetworkPolicy      = "networkpolicy"
	PartModelConfig        = "modelconfig"
	PartAgentPlanner       = "agent-planner"
	PartAgentWorker        = "agent-worker"
	PartSandboxDeployment  = "sandbox-deployment"
	PartSandboxService     = "sandbox-service"
	PartSandboxMCPServer   = "sandbox-mcpserver"
	PartChatServiceAccount = "chat-frontend-sa"
	PartChatRoleBinding    = "chat-frontend-rolebinding"
	PartChatDeployment     = "chat-frontend-deployment"
	PartChatService        = "chat-frontend-service"
	PartChatIngress        = "chat-frontend-ingress"
	PartKyvernoPolicy      = "kyverno-policy"
	PartDashboard          = "dashboard"
	PartXAgentBudget       = "xagentbudget"

	// PartSandboxServiceAccount takes the place of PartServiceAccountKey where the
	// sandbox reaches its data by Workload Identity.
	PartSandboxServiceAccount = "sandbox-sa"

	// PartDatasetsViewerUsage and PartBucketAdminUsage are there where a platform wants an
	// agent's grants to go before its account.
	PartDatasetsViewerUsage = "iam-datasets-viewer-usage"
	PartBucketAdminUsage    = "iam-bucket-admin-usage"

	// PartPlannerReplicas and PartWorkerReplicas are the two parts of an
	// XAgentBudget.
	PartPlannerReplicas = "planner-replicas"
	PartWorkerReplicas  = "worker-replicas"
)

// AgentParts returns the composed resource names of an XDatasetAgent's 22 parts
// in the order in which the pipeline renders them. Of an agent without a key,
// PartSandboxServiceAccount stands for PartServiceAccountKey.
func AgentParts() []string {
	return []string{
		PartBucket, PartServiceAccount, PartServiceAccountKey, PartIAMDatasetsViewer, PartIAMBucketAdmin,
		PartNamespace, PartPrompts, PartNetworkPolicy, PartModelConfig, PartAgentPlanner, PartAgentWorker,
		PartSandboxDeployment, PartSandboxService, PartSandboxMCPServer,
		PartChatServiceAccount, PartChatRoleBinding, PartChatDeployment, PartChatService, PartChatIngress,
		PartKyvernoPolicy, PartDashboard, PartXAgentBudget,
	}
}

// PartName returns the metadata.name of an agent's part. At most 56 characters:
// the server-side apply field manager of an Object holds its name.
func PartName(agentName, part string) string { return "agent-" + agentName + "-" + part }

// AgentNamespace returns the name of an agent's namespace, which is also its
// Google service account's id. At most 30 characters.
func AgentNamespace(agentName string) string { return "agent-" + agentName }
