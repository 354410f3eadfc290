package renderworkloads

import (
	"slices"
	"strconv"
	"strings"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

const (
	sandboxPort = 8080

	// executionTimeoutSeconds bounds one run of the agent's Python code. It is
	// generous for the largest CSV that compute-tuning's default cap takes whole,
	// 2.3 GiB.
	executionTimeoutSeconds = 240

	// toolTimeout is how long kagent waits for an answer of the sandbox: longer
	// than the longest run, so that the sandbox can say itself that it took too
	// long.
	toolTimeout = "300s"
)

// sandboxDeployment runs the agent's Python code. It states no replicas: nobody
// owns them then, and whoever scales it isn't undone. Until the Secret and its
// key exist the pod waits; it doesn't crash.
func sandboxDeployment(a Agent) manifest.Object {
	spec := manifest.Object{"automountServiceAccountToken": false}
	kind := podKind{
		own: a.Input.Sandbox,
		env: []manifest.Object{
			env("DATASET_GCS_PATH", a.Dataset.GCSPath),
			env("DATASET_NAME", a.Dataset.Name),
			env("OUTPUT_BUCKET", v1alpha1.AgentBucket(a.ProjectID, a.Name)),
			env("EXECUTION_TIMEOUT_SECONDS", strconv.Itoa(executionTimeoutSeconds)),
			env("GOOGLE_APPLICATION_CREDENTIALS", "/var/run/gcp/credentials.json"),
			env("GOOGLE_CLOUD_PROJECT", a.ProjectID),
			env("HOME", "/tmp"),
		},
		// The limit is 3.5 times the CSV: a quarter of it holds the CSV.
		requests: manifest.Object{"cpu": "100m", "memory": mebibytes(max(a.SandboxMemMi/4, 1))},
		limits:   manifest.Object{"cpu": "2", "memory": mebibytes(a.SandboxMemMi)},
		sized:    true,
		mounts:   []any{tmpMount, gcpMount},
		volumes:  []any{tmpVolume(a.SandboxMemMi), gcpVolume},
	}
	if a.Keyless {
		// Google's metadata server knows pods by their address: no token is mounted.
		spec["serviceAccountName"] = v1alpha1.SandboxServiceAccount
		kind.env = slices.DeleteFunc(kind.env, func(e manifest.Object) bool { return e["name"] == "GOOGLE_APPLICATION_CREDENTIALS" })
		kind.mounts, kind.volumes = kind.mounts[:1], kind.volumes[:1]
	}
	return deployment(a, sandboxName, a.Input.Images.Sandbox, sandboxPorts, spec, kind)
}

// sandboxServiceAccount is who Google's policies know the sandbox as, where it has no
// key.
func sandboxServiceAccount(a Agent) manifest.Object {
	return manifest.Object{
		"apiVersion":                   "v1",
		"kind":                         "ServiceAccount",
		"metadata":                     a.meta(v1alpha1.SandboxServiceAccount),
		"automountServiceAccountToken": false,
	}
}

var (
	sandboxPorts = httpPort(sandboxPort)
	gcpMount     = manifest.Constant(manifest.Object{"name": "gcp", "mountPath": "/var/run/gcp", "readOnly": true})
	gcpVolume    = manifest.Constant(manifest.Object{
		"name": "gcp",
		"secret": manifest.Object{
			"secretName":  gcpSecretName,
			"defaultMode": 0o440, // for the group, which is fsGroup
			"items":       []manifest.Object{{"key": v1alpha1.SecretKeyPrivateKey, "path": "credentials.json"}},
		},
	})
)

func httpPort(port int) any {
	return manifest.Constant([]manifest.Object{{"name": "http", "containerPort": port, "protocol": "TCP"}})
}

// sandboxService is where kagent's controller and the worker reach the sandbox.
func sandboxService(a Agent) manifest.Object { return service(a, sandboxName, sandboxPort) }

// sandboxMCPServer tells kagent of the sandbox's tool.
func sandboxMCPServer(a Agent) manifest.Object {
	return manifest.Object{
		"apiVersion": "kagent.dev/v1alpha2",
		"kind":       "RemoteMCPServer",
		"metadata":   a.meta(sandboxName),
		"spec": manifest.Object{
			"description":    "Runs Python code for one agent",
			"url":            "http://" + sandboxName + "." + a.namespace() + ".svc:" + strconv.Itoa(sandboxPort) + "/mcp",
			"protocol":       "STREAMABLE_HTTP",
			"timeout":        toolTimeout,
			"sseReadTimeout": toolTimeout,
		},
	}
}

// deployment runs one container, on a port called http. It states no replicas.
func deployment(a Agent, name, image string, ports any, spec manifest.Object, kind podKind) manifest.Object {
	kind.labels = manifest.Object{v1alpha1.LabelName: name, agentLabel: a.Name}
	p := a.pod(kind)
	container := manifest.Object{
		"name":            name,
		"image":           image,
		"ports":           ports,
		"env":             p.env,
		"resources":       p.resources,
		"readinessProbe":  readinessProbe,
		"securityContext": containerSecurity,
		"volumeMounts":    p.mounts,
	}
	if p.ImagePullPolicy != "" {
		container["imagePullPolicy"] = string(p.ImagePullPolicy)
	}
	spec["enableServiceLinks"] = false
	spec["securityContext"] = p.podSecurity
	spec["containers"] = []manifest.Object{container}
	spec["volumes"] = p.volumes
	if p.PriorityClassName != "" {
		spec["priorityClassName"] = p.PriorityClassName
	}
	if p.RuntimeClassName != "" {
		spec["runtimeClassName"] = p.RuntimeClassName
	}
	if len(p.TopologySpreadConstraints) > 0 {
		spec["topologySpreadConstraints"] = asAny(p.TopologySpreadConstraints)
	}
	template := manifest.Object{"labels": p.labels}
	if len(p.annotations) > 0 {
		template["annotations"] = p.annotations
	}
	return manifest.Object{
		"apiVersion": "apps/v1",
		"kind":       "Deployment",
		"metadata":   a.meta(name),
		"spec": manifest.Object{
			"selector": manifest.Object{"matchLabels": selectorOf(name)},
			"template": manifest.Object{"metadata": template, "spec": p.into(spec)},
		},
	}
}

// env is one variable of a container. Kubernetes expands $(NAME) in values, so a
// dollar sign of a person's is doubled, which stands for itself.
//
//go:noinline
func env(name, value string) manifest.Object {
	return manifest.Object{"name": name, "value": strings.ReplaceAll(value, "$", "$$")}
}
