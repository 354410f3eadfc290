package renderworkloads

import (
	"strconv"

	input "whisperops.io/functions/apis/input/workloads/v1alpha1"
	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

// An Agent is everything that its workloads are rendered from.
type Agent struct {
	Name        string // 3 to 24 of [a-z0-9-], letter first
	Description string // a person's text; may be empty
	BaseDomain  string // a DNS name
	ProjectID   string // Google Cloud project of the order

	Dataset      v1alpha1.Dataset
	SandboxMemMi int64 // MiB, more than 0

	// Keyless: the sandbox reaches its data by Workload Identity.
	Keyless bool

	// WorkerUID is the uid of the worker that lives; "" while none was seen.
	WorkerUID string
	// HasNamespace: the agent's namespace is there and active.
	HasNamespace bool

	Input input.RenderWorkloadsInput // validated
}

// Names inside the agent's namespace are an API. kagent makes a Deployment and a
// Service named like each Agent, so none of ours may be called planner or worker.
const (
	promptsName   = "agent-prompts"
	policyName    = "agent"
	modelName     = "model"
	plannerName   = v1alpha1.Planner
	workerName    = v1alpha1.Worker
	sandboxName   = "sandbox"
	chatName      = "chat-frontend"
	gcpSecretName = v1alpha1.SecretGCPCredentials

	// noKeySecretName is written by the part namespace, where a client that nobody
	// asks for a key wants one all the same.
	noKeySecretName = "model-without-key"
	noKeySecretKey  = "agent"

	// chatClusterRole is in the install manifests: get xagentbudgets.
	chatClusterRole = "whisperops-chat-frontend"
)

// When is a wrapped resource ready? CEL over the variable object, with has() at
// every level, because the optional syntax needs provider-kubernetes v1.4. The
// static type must be bool, else the provider calls it not ready and says nothing.
const (
	// ReadyNamespace: a terminating namespace takes nothing new.
	ReadyNamespace = `has(object.status) && has(object.status.phase) && object.status.phase == "Active"`

	// ReadyDeployment: Available says nothing about the newest spec until it was
	// observed.
	ReadyDeployment = `has(object.status) && has(object.status.observedGeneration)` +
		` && object.status.observedGeneration >= object.metadata.generation && has(object.status.conditions)` +
		` && object.status.conditions.exists(c, c.type == "Available" && c.status == "True")`

	// ReadyAgent: Ready alone is the old Deployment's while a broken spec isn't
	// Accepted. An Agent that is held at 0 is healthy: kagent v0.9 calls it Ready,
	// v0.10 says that 0 of 0 pods are.
	ReadyAgent = `has(object.status) && has(object.status.conditions)` +
		` && object.status.conditions.exists(c, c.type == "Accepted" && c.status == "True")` +
		` && object.status.conditions.exists(c, c.type == "Ready" && (c.status == "True"` +
		` || (c.status == "False" && has(c.reason) && c.reason == "DeploymentNotReady" && has(c.message) && c.message.endsWith(" 0/0 pods are ready"))))`

	// ReadyAccepted: ModelConfigs and RemoteMCPServers have no condition Ready.
	ReadyAccepted = `has(object.status) && has(object.status.conditions)` +
		` && object.status.conditions.exists(c, c.type == "Accepted" && c.status == "True")`

	// ReadyKyverno: Kyverno's policies keep it outside status.conditions.
	ReadyKyverno = `has(object.status) && has(object.status.conditionStatus)` +
		` && has(object.status.conditionStatus.ready) && object.status.conditionStatus.ready == true`

	readyAsWritten = "" // as soon as it exists as written
)

// Parts returns the composed resource names of all workloads, in the order in
// which they are rendered; beside them an agent without a key has
// v1alpha1.PartSandboxServiceAccount.
func Parts() []string {
	return []string{
		v1alpha1.PartNamespace, v1alpha1.PartPrompts, v1alpha1.PartNetworkPolicy, v1alpha1.PartModelConfig,
		v1alpha1.PartAgentPlanner, v1alpha1.PartAgentWorker,
		v1alpha1.PartSandboxDeployment, v1alpha1.PartSandboxService, v1alpha1.PartSandboxMCPServer,
		v1alpha1.PartChatServiceAccount, v1alpha1.PartChatRoleBinding, v1alpha1.PartChatDeployment,
		v1alpha1.PartChatService, v1alpha1.PartChatIngress, v1alpha1.PartKyvernoPolicy,
	}
}

// Render returns all workloads of an agent. The namespace comes in the legacy
// cluster-scoped Object, because the namespaced one lives in a namespace and
// something must come first.
func Render(a Agent) map[string]manifest.Object {
	parts := map[string]manifest.Object{
		v1alpha1.PartNamespace: namespaceObject(a),
		v1alpha1.PartPrompts:   promptsObject(a),
	}
	if a.Keyless {
		parts[v1alpha1.PartSandboxServiceAccount] = a.wrap(v1alpha1.PartSandboxServiceAccount, sandboxServiceAccount(a), readyAsWritten).Object()
	}
	for name, w := range map[string]struct {
		manifest manifest.Object
		ready    string
	}{
		v1alpha1.PartNetworkPolicy:      {networkPolicy(a), readyAsWritten},
		v1alpha1.PartModelConfig:        {modelConfig(a), ReadyAccepted},
		v1alpha1.PartAgentPlanner:       {planner(a), ReadyAgent},
		v1alpha1.PartAgentWorker:        {worker(a), ReadyAgent},
		v1alpha1.PartSandboxDeployment:  {sandboxDeployment(a), ReadyDeployment},
		v1alpha1.PartSandboxService:     {sandboxService(a), readyAsWritten},
		v1alpha1.PartSandboxMCPServer:   {sandboxMCPServer(a), ReadyAccepted},
		v1alpha1.PartChatServiceAccount: {chatServiceAccount(a), readyAsWritten},
		v1alpha1.PartChatRoleBinding:    {chatRoleBinding(a), readyAsWritten},
		v1alpha1.PartChatDeployment:     {chatDeployment(a), ReadyDeployment},
		v1alpha1.PartChatService:        {chatService(a), readyAsWritten},
		v1alpha1.PartChatIngress:        {chatIngress(a), readyAsWritten},
		v1alpha1.PartKyvernoPolicy:      {kyvernoPolicy(a), ReadyKyverno},
	} {
		parts[name] = a.wrap(name, w.manifest, w.ready).Object()
	}
	return parts
}

// wrap puts a manifest into the Object that keeps it.
func (a Agent) wrap(part string, m manifest.Object, ready string) manifest.Wrapped {
	return manifest.Wrapped{
		Name:           v1alpha1.PartName(a.Name, part),
		Namespace:      a.Input.ObjectNamespace,
		ProviderConfig: a.Input.ObjectProviderConfig,
		Manifest:       m,
		Ready:          ready,
	}
}

// namespaceObject keeps the agent's namespace. Where the agents' clients want a key
// that nobody asks them for, it also writes the Secret with one: kagent makes no
// Deployment of an Agent whose Gemini model names no Secret. A part of its own
// would be the 23rd; the namespaced Object can't write a Secret elsewhere. The
// "key" is the agent's name, read from the namespace's label, and opens nothing.
func namespaceObject(a Agent) manifest.Object {
	spec := manifest.Object{
		"providerConfigRef": manifest.Object{"name": a.Input.ObjectProviderConfig},
		"watch":             true,
		"readiness":         manifest.Object{"policy": "DeriveFromCelQuery", "celQuery": ReadyNamespace},
		"forProvider":       manifest.Object{"manifest": namespace(a)},
	}
	// Not before the namespace is there: provider-kubernetes writes an Object's Secret
	// before it makes what the Object holds, fails, and would never make the namespace.
	if s := a.modelKey(); s != nil && s.Name == noKeySecretName && a.HasNamespace {
		spec["connectionDetails"] = []manifest.Object{{
			"apiVersion":            "v1",
			"kind":                  "Namespace",
			"name":                  a.namespace(),
			"fieldPath":             "metadata.labels[" + agentLabel + "]",
			"toConnectionSecretKey": s.Key,
		}}
		spec["writeConnectionSecretToRef"] = manifest.Object{"name": s.Name, "namespace": a.namespace()}
	}
	return manifest.Object{
		"apiVersion": "kubernetes.crossplane.io/v1alpha2",
		"kind":       "Object",
		"metadata":   manifest.Object{"name": v1alpha1.PartName(a.Name, v1alpha1.PartNamespace)},
		"spec":       spec,
	}
}

// namespace holds everything of one agent. kagent gives its pods no security
// context of its own, but takes the one that the Agents state, so that even the
// strictest standard holds.
func namespace(a Agent) manifest.Object {
	labels := manifest.Object{}
	for k, v := range a.Input.Namespace.Labels {
		labels[k] = v
	}
	labels[agentLabel] = a.Name
	labels["pod-security.kubernetes.io/enforce"] = string(a.Input.PodSecurity)
	meta := manifest.Object{"name": a.namespace(), "labels": labels}
	if extra := a.Input.Namespace.Annotations; len(extra) > 0 {
		meta["annotations"] = extra
	}
	return manifest.Object{"apiVersion": "v1", "kind": "Namespace", "metadata": meta}
}

const (
	agentLabel  = v1alpha1.LabelAgent
	workerLabel = v1alpha1.LabelWorkerUID
)

//go:noinline
func (a Agent) namespace() string { return v1alpha1.AgentNamespace(a.Name) }

func (a Agent) host() string { return v1alpha1.AgentHost(a.Name, a.BaseDomain) }

// displayName is how people call the dataset.
func (a Agent) displayName() string {
	if n := plain(a.Dataset.DisplayName, 200); n != "" {
		return n
	}
	return plain(a.Dataset.Name, 253)
}

// description is the order's, or else says what every agent does.
func (a Agent) description() string {
	if d := plain(a.Description, 500); d != "" {
		return d
	}
	return "Answers questions about the dataset " + a.displayName()
}

// meta is the metadata of a manifest in the agent's namespace. Like the other small
// builders that are called in many places it isn't inlined: a map is long code, and make
// size has little to spare.
//
//go:noinline
func (a Agent) meta(name string) manifest.Object {
	return manifest.Object{
		"name":      name,
		"namespace": a.namespace(),
		"labels":    manifest.Object{agentLabel: a.Name},
	}
}

// What every pod of an agent has in common: what somebody who took it over could
// use is taken away, and /tmp is the one place that can be written.
var (
	podSecurity = manifest.Constant(manifest.Object{
		"runAsNonRoot":   true,
		"runAsUser":      nobody,
		"runAsGroup":     nobody,
		"fsGroup":        nobody,
		"seccompProfile": manifest.Object{"type": "RuntimeDefault"},
	})
	containerSecurity = manifest.Constant(manifest.Object{
		"allowPrivilegeEscalation": false,
		"readOnlyRootFilesystem":   true,
		"capabilities":             manifest.Object{"drop": []string{"ALL"}},
	})
	tmpMount = manifest.Constant(manifest.Object{"name": "tmp", "mountPath": "/tmp"})

	// readinessProbe asks nothing of an image but that it listens: only the port
	// is agreed.
	readinessProbe = manifest.Constant(manifest.Object{
		"tcpSocket":     manifest.Object{"port": "http"},
		"periodSeconds": 10,
	})
)

// nobody is the user "nonroot" of the distroless images, and of kagent's.
const nobody = 65532

//go:noinline
func tmpVolume(sizeMi int64) manifest.Object {
	return manifest.Object{"name": "tmp", "emptyDir": manifest.Object{"sizeLimit": mebibytes(sizeMi)}}
}

// mebibytes writes a Kubernetes quantity.
func mebibytes(n int64) string { return strconv.FormatInt(n, 10) + "Mi" }

// service is a Service in front of the pods of the same name.
func service(a Agent, name string, port int) manifest.Object {
	return manifest.Object{
		"apiVersion": "v1",
		"kind":       "Service",
		"metadata":   a.meta(name),
		"spec": manifest.Object{
			"selector": selectorOf(name),
			"ports": []manifest.Object{
				{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"},
			},
		},
	}
}

// selectorOf avoids kagent's own labels app and kagent.
//
//go:noinline
func selectorOf(name string) manifest.Object {
	return manifest.Object{v1alpha1.LabelName: name}
}
