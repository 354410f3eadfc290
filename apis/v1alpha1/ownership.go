package v1alpha1

import "strings"

// A TakenName is a name that an order needs and somebody else's object has.
type TakenName struct {
	// Part is the composed resource name that needs it.
	Part string `json:"part"`

	// By says in words what has it.
	By string `json:"by"`
}

// A Twin is another project and agent whose bucket would have the same name.
//
// +kubebuilder:object:generate=false
type Twin struct{ ProjectID, AgentName string }

// Twins returns the twins of an agent. The name of a bucket is the project's, "-agent-"
// and the agent's, and both of these may hold "-agent-", too.
func Twins(projectID, agentName string) []Twin {
	const between = "-agent-"
	bucket := AgentBucket(projectID, agentName)
	var all []Twin
	for i := range bucket {
		if !strings.HasPrefix(bucket[i:], between) {
			continue
		}
		t := Twin{ProjectID: bucket[:i], AgentName: bucket[i+len(between):]}
		if t.ProjectID != projectID && projectIDPattern.MatchString(t.ProjectID) && validateAgentName(t.AgentName) == nil {
			all = append(all, t)
		}
	}
	return all
}

// BudgetAtHome says whether a namespace is the one that a budget of an agent belongs into,
// or says in words why it isn't. A budget rendered by hand may have none.
func BudgetAtHome(namespace, name, agentName string) (bool, string) {
	if home := AgentNamespace(agentName); namespace != "" && namespace != home {
		return false, "XAgentBudget " + namespace + "/" + name + " measures and stops nobody: a budget of agent " + agentName + " belongs into namespace " + home + ", where XAgentBudget " + home + "/" + agentName + " is the one that counts"
	}
	return true, ""
}
