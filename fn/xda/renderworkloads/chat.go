package renderworkloads

import (
	"maps"
	"strconv"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/fn/internal/manifest"
)

const chatPort = 3000

var chatPorts = httpPort(chatPort)

// chatServiceAccount lets the chat page's server read its agent's budget, and
// nothing else. Its token is mounted where the pod asks for it only.
func chatServiceAccount(a Agent) manifest.Object {
	return manifest.Object{
		"apiVersion":                   "v1",
		"kind":                         "ServiceAccount",
		"metadata":                     a.meta(chatName),
		"automountServiceAccountToken": false,
	}
}

// chatRoleBinding opens the XAgentBudget in the agent's namespace to the chat
// page. The roleRef of a RoleBinding can't be changed, so the role's name is final.
func chatRoleBinding(a Agent) manifest.Object {
	return manifest.Object{
		"apiVersion": "rbac.authorization.k8s.io/v1",
		"kind":       "RoleBinding",
		"metadata":   a.meta(chatName),
		"roleRef": manifest.Object{
			"apiGroup": "rbac.authorization.k8s.io",
			"kind":     "ClusterRole",
			"name":     chatClusterRole,
		},
		"subjects": []manifest.Object{
			{"kind": "ServiceAccount", "name": chatName, "namespace": a.namespace()},
		},
	}
}

// chatDeployment serves the chat page.
func chatDeployment(a Agent) manifest.Object {
	return deployment(a, chatName, a.Input.Images.ChatFrontend, chatPorts,
		manifest.Object{
			"serviceAccountName":           chatName,
			"automountServiceAccountToken": true, // to read the XAgentBudget
		},
		podKind{
			own: a.Input.ChatFrontend,
			env: []manifest.Object{
				env("AGENT_NAME", a.Name),
				env("AGENT_NAMESPACE", a.namespace()),
				env("AGENT_DESCRIPTION", a.description()),
				env("DATASET_DISPLAY_NAME", a.displayName()),
				env("PLANNER_URL", "http://"+plannerName+"."+a.namespace()+".svc:8080"),
				// Charts lie there; a picture from elsewhere is not shown.
				env("OUTPUT_BUCKET", v1alpha1.AgentBucket(a.ProjectID, a.Name)),
				env("PORT", strconv.Itoa(chatPort)),
				env("HOME", "/tmp"),
			},
			requests: manifest.Object{"cpu": "50m", "memory": "128Mi"},
			limits:   manifest.Object{"cpu": "500m", "memory": "512Mi"},
			mounts:   []any{tmpMount},
			volumes:  []any{tmpVolume(256)},
		})
}

// chatService is where the Ingress finds the chat page.
func chatService(a Agent) manifest.Object {
	s := service(a, chatName, chatPort)
	if extra := a.Input.Ingress.ServiceAnnotations; len(extra) > 0 {
		meta := a.meta(chatName)
		meta["annotations"] = extra
		s["metadata"] = meta
	}
	return s
}

// chatIngress publishes the chat page.
func chatIngress(a Agent) manifest.Object {
	spec := manifest.Object{
		"rules": []manifest.Object{{
			"host": a.host(),
			"http": manifest.Object{
				"paths": []manifest.Object{{
					"path":     "/",
					"pathType": "Prefix",
					"backend": manifest.Object{
						"service": manifest.Object{"name": chatName, "port": manifest.Object{"name": "http"}},
					},
				}},
			},
		}},
	}
	if class := a.Input.Ingress.ClassName; class != "" {
		spec["ingressClassName"] = class
	}
	// An answer comes piece by piece, and between two pieces may lie several tool
	// calls; ingress-nginx would keep the pieces back, and give up after a minute.
	annotations := map[string]string{
		"nginx.ingress.kubernetes.io/proxy-buffering":    "off",
		"nginx.ingress.kubernetes.io/proxy-read-timeout": "3600",
	}
	if issuer := a.Input.Ingress.TLSIssuer; issuer != "" {
		annotations["cert-manager.io/cluster-issuer"] = issuer
		spec["tls"] = []manifest.Object{{"hosts": []string{a.host()}, "secretName": chatName + "-tls"}}
	}
	maps.Copy(annotations, a.Input.Ingress.Annotations)

	meta := a.meta(chatName)
	meta["annotations"] = annotations
	return manifest.Object{
		"apiVersion": "networking.k8s.io/v1",
		"kind":       "Ingress",
		"metadata":   meta,
		"spec":       spec,
	}
}
