package renderworkloads

import (
	"encoding/json"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

// promptsObject keeps the prompts, and remembers which dataset the agent works
// on: a backup that is restored brings the XR's status not along, but this.
func promptsObject(a Agent) manifest.Object {
	w := a.wrap(v1alpha1.PartPrompts, prompts(a), readyAsWritten)
	dataset, err := json.Marshal(a.Dataset)
	if err != nil {
		panic(err) // strings and a whole number: there is no such error
	}
	w.Annotations = map[string]string{v1alpha1.AnnotationDataset: string(dataset)}
	return w.Object()
}

// modelConfig is the language model behind planner and worker. The provider must
// be stated: its default is OpenAI. kagent v0.9 gives Vertex nothing but project
// and location, so no temperature or token limit is pretended here.
func modelConfig(a Agent) manifest.Object {
	m := a.Input.Model
	project := m.ProjectID
	if project == "" {
		project = a.ProjectID
	}
	spec := manifest.Object{
		"provider": "GeminiVertexAI",
		"model":    m.Name,
		"geminiVertexAI": manifest.Object{
			"projectID": project,
			"location":  m.Location,
		},
	}
	if s := m.CredentialSecret; s != nil {
		spec["apiKeySecret"] = s.Name
		spec["apiKeySecretKey"] = s.Key
	}
	return manifest.Object{
		"apiVersion": "kagent.dev/v1alpha2",
		"kind":       "ModelConfig",
		"metadata":   a.meta(modelName),
		"spec":       spec,
	}
}

// planner talks with people and lets the worker calculate.
func planner(a Agent) manifest.Object {
	o := agent(a, plannerName, quotable(a.description(), 500), plannerDeclarative)
	if a.WorkerUID != "" {
		// kagent gives up on a planner that it sees before its worker, as it may when
		// both come back after their namespace was deleted, and looks at it again
		// only when its spec or its labels change.
		o["metadata"] = manifest.Object{
			"name":      plannerName,
			"namespace": a.namespace(),
			"labels":    manifest.Object{agentLabel: a.Name, workerLabel: a.WorkerUID},
		}
	}
	return o
}

// worker calculates in the sandbox. The planner's model chooses it by its
// description, which therefore holds nobody's text.
func worker(a Agent) manifest.Object {
	return agent(a, workerName, "Calculates the answer to one question about the agent's dataset with Python and explains it with figures", workerDeclarative)
}

var (
	plannerDeclarative = manifest.Constant(manifest.Object{
		"runtime":           pythonRuntime,
		"stream":            true,
		"modelConfig":       modelName,
		"systemMessageFrom": promptFrom("planner.md"),
		"tools": []manifest.Object{{
			"type": "Agent",
			"agent": manifest.Object{
				"apiGroup": "kagent.dev",
				"kind":     "Agent",
				"name":     workerName,
			},
		}},
		"a2aConfig": manifest.Object{
			"skills": []manifest.Object{{
				"id":          "dataset-questions",
				"name":        "Dataset questions",
				"description": "Answers questions about one dataset with figures calculated from it",
				"tags":        []string{"dataset", "analysis"},
			}},
		},
		"deployment": agentDeployment(),
	})
	workerDeclarative = manifest.Constant(manifest.Object{
		"runtime":           pythonRuntime,
		"modelConfig":       modelName,
		"systemMessageFrom": promptFrom("worker.md"),
		"tools": []manifest.Object{{
			"type": "McpServer",
			"mcpServer": manifest.Object{
				"apiGroup":  "kagent.dev",
				"kind":      "RemoteMCPServer", // the default is another kind
				"name":      sandboxName,
				"toolNames": []string{"execute_python"},
			},
		}},
		"deployment": agentDeployment(),
	})
)

// pythonRuntime is stated because the default changes to go with kagent v0.10.
const pythonRuntime = "python"

func promptFrom(key string) manifest.Object {
	return manifest.Object{"type": "ConfigMap", "name": promptsName, "key": key}
}

// agentDeployment is what kagent makes an Agent's Deployment from. It states no
// replicas: kagent would put them back within seconds of a pause.
func agentDeployment() manifest.Object {
	return manifest.Object{
		"env":                []manifest.Object{{"name": "HOME", "value": "/tmp"}},
		"podSecurityContext": podSecurity,
		"securityContext":    containerSecurity,
		"resources": manifest.Object{
			"requests": manifest.Object{"cpu": "100m", "memory": "384Mi"},
			"limits":   manifest.Object{"cpu": "2", "memory": "1Gi"},
		},
		"volumes":      []manifest.Object{tmpVolume(256)},
		"volumeMounts": []any{tmpMount},
	}
}

// agent is one of the two. What planner and worker have of their own is the same
// for all orders.
func agent(a Agent, name, description string, declarative any) manifest.Object {
	return manifest.Object{
		"apiVersion": "kagent.dev/v1alpha2",
		"kind":       "Agent",
		"metadata":   a.meta(name),
		"spec": manifest.Object{
			"type":        "Declarative",
			"description": description,
			"declarative": declarative,
		},
	}
}
