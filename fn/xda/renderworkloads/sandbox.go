package renderworkloads

import (
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
	return deployment(a, sandboxName, manifest.Object{
		"automountServiceAccountToken": false,
		"enableServiceLinks":           false,
		"securityContext":              podSecurity,
		"containers": []manifest.Object{{
			"name":  sandboxName,
			"image": a.Input.Images.Sandbox,
			"ports": sandboxPorts,
			"env": []manifest.Object{
				env("DATASET_GCS_PATH", a.Dataset.GCSPath),
				env("DATASET_NAME", a.Dataset.Name),
				env("OUTPUT_BUCKET", v1alpha1.AgentBucket(a.ProjectID, a.Name)),
				env("EXECUTION_TIMEOUT_SECONDS", strconv.Itoa(executionTimeoutSeconds)),
				env("GOOGLE_APPLICATION_CREDENTIALS", "/var/run/gcp/credentials.json"),
				env("GOOGLE_CLOUD_PROJECT", a.ProjectID),
				env("HOME", "/tmp"),
			},
			"resources": manifest.Object{
				// The limit is 3.5 times the CSV: a quarter of it holds the CSV.
				"requests": manifest.Object{"cpu": "100m", "memory": mebibytes(max(a.SandboxMemMi/4, 1))},
				"limits":   manifest.Object{"cpu": "2", "memory": mebibytes(a.SandboxMemMi)},
			},
			"readinessProbe":  readinessProbe,
			"securityContext": containerSecurity,
			"volumeMounts":    sandboxMounts,
		}},
		"volumes": []any{tmpVolume(a.SandboxMemMi), gcpVolume},
	})
}

var (
	sandboxPorts  = httpPort(sandboxPort)
	sandboxMounts = manifest.Constant([]any{
		tmpMount,
		manifest.Object{"name": "gcp", "mountPath": "/var/run/gcp", "readOnly": true},
	})
	gcpVolume = manifest.Constant(manifest.Object{
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

// deployment states no replicas.
func deployment(a Agent, name string, pod manifest.Object) manifest.Object {
	return manifest.Object{
		"apiVersion": "apps/v1",
		"kind":       "Deployment",
		"metadata":   a.meta(name),
		"spec": manifest.Object{
			"selector": manifest.Object{"matchLabels": selectorOf(name)},
			"template": manifest.Object{
				"metadata": manifest.Object{
					"labels": manifest.Object{v1alpha1.LabelName: name, agentLabel: a.Name},
				},
				"spec": pod,
			},
		},
	}
}

// env is one variable of a container. Kubernetes expands $(NAME) in values, so a
// dollar sign of a person's is doubled, which stands for itself.
func env(name, value string) manifest.Object {
	return manifest.Object{"name": name, "value": strings.ReplaceAll(value, "$", "$$")}
}
