package v1alpha1

// AgentBucket returns the name of the bucket that holds what an agent makes. It
// starts with the project, because bucket names are global. At most 61
// characters.
func AgentBucket(projectID, agentName string) string { return projectID + "-agent-" + agentName }

// AgentHost returns the DNS name of an agent's chat page.
func AgentHost(agentName, baseDomain string) string { return "agent-" + agentName + "." + baseDomain }
