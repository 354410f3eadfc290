package renderworkloads

import (
	"encoding/json"
	"strings"

	input "whisperops.io/functions/apis/input/workloads/v1alpha1"
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
	spec := manifest.Object{"provider": string(a.dialect()), "model": m.Name}
	switch base := a.modelURL(); {
	case a.dialect() == input.ProviderGeminiVertexAI:
		project := m.ProjectID
		if project == "" {
			project = a.ProjectID
		}
		spec["geminiVertexAI"] = manifest.Object{"projectID": project, "location": m.Location}
	case base == "":
	case a.dialect() == input.ProviderOpenAI:
		spec["openAI"] = manifest.Object{"baseUrl": base}
	case a.dialect() == input.ProviderAnthropic:
		spec["anthropic"] = manifest.Object{"baseUrl": base}
	}
	if s := a.modelKey(); s != nil {
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

// dialect is the API that planner and worker speak. To the meter they speak plain
// Gemini where the model is on Vertex AI: kagent's Vertex client wants Google's
// credentials even when it is sent elsewhere.
func (a Agent) dialect() input.ModelProvider {
	if m := a.Input.Model; !m.Meter.Enabled || m.Provider != input.ProviderGeminiVertexAI {
		return m.Provider
	}
	return input.ProviderGemini
}

// modelURL is where the model is reached, or "" for the provider's own API. The
// meter's path claims whose calls these are; OpenAI's clients alone expect the
// version in what they are given.
func (a Agent) modelURL() string {
	m := a.Input.Model
	if !m.Meter.Enabled {
		return m.BaseURL
	}
	own := strings.TrimRight(m.Meter.URL, "/") + "/agents/" + a.Name
	switch a.dialect() {
	case input.ProviderOpenAI:
		return own + "/openai/v1"
	case input.ProviderAnthropic:
		return own + "/anthropic"
	case input.ProviderGemini, input.ProviderGeminiVertexAI:
	}
	return own + "/gemini"
}

// modelEnv tells clients the model's URL that kagent has no field for.
func modelEnv(a Agent) []manifest.Object {
	base := a.modelURL()
	switch {
	case base == "":
	case a.dialect() == input.ProviderGemini:
		return []manifest.Object{env("GOOGLE_GEMINI_BASE_URL", base)}
	case a.dialect() == input.ProviderGeminiVertexAI:
		return []manifest.Object{env("GOOGLE_VERTEX_BASE_URL", base)}
	}
	return nil
}

// modelKey is the Secret with the model's key, or nil for Workload Identity.
// kagent's clients start with none but Vertex' without a key, so where nobody
// wants one they get the agent's name (see namespaceObject).
func (a Agent) modelKey() *input.SecretKey {
	if s := a.Input.Model.CredentialSecret; s != nil {
		return s
	}
	if a.dialect() == input.ProviderGeminiVertexAI {
		return nil
	}
	return &input.SecretKey{Name: noKeySecretName, Key: noKeySecretKey}
}

// planner talks with people and lets the worker calculate.
func planner(a Agent) manifest.Object {
	o := agent(a, plannerName, quotable(a.description(), 500), plannerDeclarative(a))
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
	return agent(a, workerName, "Calculates the answer to one question about the agent's dataset with Python and explains it with figures", workerDeclarative(a))
}

func plannerDeclarative(a Agent) manifest.Object {
	return manifest.Object{
		"runtime":           pythonRuntime,
		"stream":            true,
		"modelConfig":       modelName,
		"systemMessageFrom": promptFrom("planner.md"),
		"tools":             plannerTools[a.Input.KagentVersion],
		"a2aConfig":         plannerCard,
		"deployment":        agentDeployment(a, a.Input.Planner),
	}
}

func workerDeclarative(a Agent) manifest.Object {
	return manifest.Object{
		"runtime":           pythonRuntime,
		"modelConfig":       modelName,
		"systemMessageFrom": promptFrom("worker.md"),
		"tools":             workerTools,
		"deployment":        agentDeployment(a, a.Input.Worker),
	}
}

var (
	// One session of the worker's for all that one user ever asks would bring one
	// person's questions and data before another. v0.9 has no field against it.
	plannerTools = map[input.KagentVersion]any{
		input.KagentV09:  manifest.Constant([]manifest.Object{workerTool}),
		input.KagentV010: manifest.Constant([]manifest.Object{{"type": workerTool["type"], "agent": workerTool["agent"], "isolateSessions": true}}),
	}
	workerTool = manifest.Object{
		"type": "Agent",
		"agent": manifest.Object{
			"apiGroup": "kagent.dev",
			"kind":     "Agent",
			"name":     workerName,
		},
	}
	plannerCard = manifest.Constant(manifest.Object{
		"skills": []manifest.Object{{
			"id":          "dataset-questions",
			"name":        "Dataset questions",
			"description": "Answers questions about one dataset with figures calculated from it",
			"tags":        []string{"dataset", "analysis"},
		}},
	})
	workerTools = manifest.Constant([]manifest.Object{{
		"type": "McpServer",
		"mcpServer": manifest.Object{
			"apiGroup":  "kagent.dev",
			"kind":      "RemoteMCPServer", // the default is another kind
			"name":      sandboxName,
			"toolNames": []string{"execute_python", "describe_dataset"},
		},
	}})
)

// pythonRuntime is stated because the default changes to go with kagent v0.10.
const pythonRuntime = "python"

func promptFrom(key string) manifest.Object {
	return manifest.Object{"type": "ConfigMap", "name": promptsName, "key": key}
}

// agentDeployment is what kagent makes an Agent's Deployment from. It states no
// replicas: kagent would put them back within seconds of a pause.
func agentDeployment(a Agent, own input.PodTemplate) manifest.Object {
	p := a.pod(podKind{
		own:      own,
		env:      append([]manifest.Object{{"name": "HOME", "value": "/tmp"}}, modelEnv(a)...),
		requests: manifest.Object{"cpu": "100m", "memory": "384Mi"},
		limits:   manifest.Object{"cpu": "2", "memory": "1Gi"},
		volumes:  []any{tmpVolume(256)},
		mounts:   []any{tmpMount},
	})
	d := manifest.Object{
		"env":                p.env,
		"podSecurityContext": p.podSecurity,
		"securityContext":    containerSecurity,
		"resources":          p.resources,
		"volumes":            p.volumes,
		"volumeMounts":       p.mounts,
	}
	if len(p.labels) > 0 {
		d["labels"] = p.labels
	}
	if len(p.annotations) > 0 {
		d["annotations"] = p.annotations
	}
	if p.ImagePullPolicy != "" {
		d["imagePullPolicy"] = string(p.ImagePullPolicy)
	}
	return p.into(d)
}

// agent is one of the two.
func agent(a Agent, name, description string, declarative manifest.Object) manifest.Object {
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
