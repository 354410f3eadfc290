package architecture

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/test/crossplane"
	"whisperops.io/functions/test/pipeline"
)

// An order renders parts that name each other, and parts of the installation: a name
// that leads nowhere is a pod that waits for ever, or an agent that answers nobody.
func TestOrdersReferToWhatIsThere(t *testing.T) {
	for _, order := range []string{"first-order", "metered", "without-key", "everything-set", "openai-gateway", "worker-ready"} {
		t.Run(order, func(t *testing.T) {
			r := references{t: t, objects: map[string]map[string]any{}}
			for _, m := range rendered(t, order) {
				r.objects[key(m)] = m
				if m["kind"] == "Agent" { // for which kagent makes a Service of this name, at 8080
					name := at(m, "metadata", "name").(string)
					r.objects["Service/"+name] = map[string]any{"spec": map[string]any{"ports": []any{map[string]any{"name": "http", "port": 8080.0}}}}
				}
			}
			// The planner is rendered when its worker is ready.
			if _, is := r.objects["Agent/"+v1alpha1.Planner]; !is && (order == "first-order" || order == "everything-set") {
				r.objects["Service/"+v1alpha1.Planner] = map[string]any{"spec": map[string]any{"ports": []any{map[string]any{"port": 8080.0}}}}
			}
			for name := range r.objects {
				r.check(name)
			}
		})
	}
}

// rendered are the manifests of an order in a golden of render-workloads.
func rendered(t *testing.T, order string) []map[string]any {
	t.Helper()
	var want struct {
		Resources map[string]struct {
			Resource struct {
				Spec struct {
					ForProvider struct{ Manifest map[string]any }
				}
			}
		}
	}
	if err := yaml.Unmarshal([]byte(readFile(t, "fn/xda/renderworkloads/testdata", order, "want.yaml")), &want); err != nil {
		t.Fatal(err)
	}
	var out []map[string]any
	for _, r := range want.Resources {
		out = append(out, r.Resource.Spec.ForProvider.Manifest)
	}
	return out
}

// references are the objects of one order, by kind and name.
type references struct {
	t       *testing.T
	objects map[string]map[string]any
}

func key(m map[string]any) string { return fmt.Sprintf("%s/%s", m["kind"], at(m, "metadata", "name")) }

// at walks into an object; nil where there is nothing.
func at(v any, path ...string) any {
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	return v
}

func list(v any) []map[string]any {
	var out []map[string]any
	items, _ := v.([]any)
	for _, i := range items {
		out = append(out, i.(map[string]any))
	}
	return out
}

func (r references) check(name string) {
	m := r.objects[name]
	switch kind, _, _ := strings.Cut(name, "/"); kind {
	case "Service":
		r.service(name, m)
	case "Ingress":
		for _, rule := range list(at(m, "spec", "rules")) {
			for _, p := range list(at(rule, "http", "paths")) {
				r.port(name, at(p, "backend", "service", "name"), at(p, "backend", "service", "port", "name"))
			}
		}
	case "RoleBinding":
		for _, s := range list(m["subjects"]) {
			r.there(name, "ServiceAccount", s["name"])
		}
		if role := at(m, "roleRef", "name"); !strings.Contains(readFile(r.t, "package/install/rbac.yaml"), "\n  name: "+role.(string)+"\n") {
			r.t.Errorf("%s: package/install/rbac.yaml has no role %s", name, role)
		}
	case "RemoteMCPServer":
		path := r.address(name, at(m, "spec", "url").(string))
		if !strings.Contains(literals(r.t, programs["sandbox"]), fmt.Sprintf("%q", path)) {
			r.t.Errorf("%s: the sandbox does not serve %s", name, path)
		}
	case "Agent":
		r.agent(name, m)
	case "Deployment":
		spec := at(m, "spec", "template", "spec").(map[string]any)
		if account := spec["serviceAccountName"]; account != nil {
			r.there(name, "ServiceAccount", account)
		}
		for _, c := range list(spec["containers"]) {
			r.pod(name, c, list(spec["volumes"]))
			for _, p := range list(c["ports"]) {
				r.letIn(name, p["containerPort"])
			}
		}
	}
}

func (r references) there(from, kind string, name any) {
	if _, is := r.objects[fmt.Sprintf("%s/%s", kind, name)]; !is {
		r.t.Errorf("%s names the %s %v, which the order does not have", from, kind, name)
	}
}

// letIn says whether the order's NetworkPolicy lets anybody ask at a port.
func (r references) letIn(name string, port any) {
	for other, m := range r.objects {
		if !strings.HasPrefix(other, "NetworkPolicy/") {
			continue
		}
		for _, rule := range list(at(m, "spec", "ingress")) {
			if slices.ContainsFunc(list(rule["ports"]), func(p map[string]any) bool { return fmt.Sprint(p["port"]) == fmt.Sprint(port) }) {
				return
			}
		}
	}
	r.t.Errorf("%s listens at %v, and the NetworkPolicy lets nobody in there", name, port)
}

// port looks for a Service's port, by its name or number.
func (r references) port(from string, service, port any) {
	s, is := r.objects[fmt.Sprintf("Service/%v", service)]
	if !is || !slices.ContainsFunc(list(at(s, "spec", "ports")), func(p map[string]any) bool {
		return p["name"] == port || fmt.Sprint(p["port"]) == fmt.Sprint(port)
	}) {
		r.t.Errorf("%s leads to port %v of the Service %v, which is not there", from, port, service)
	}
}

// service holds a Service against the Deployment that it leads to.
func (r references) service(name string, m map[string]any) {
	selector, _ := at(m, "spec", "selector").(map[string]any)
	if selector == nil {
		return // kagent's
	}
	for other, d := range r.objects {
		labels, _ := at(d, "spec", "template", "metadata", "labels").(map[string]any)
		if !strings.HasPrefix(other, "Deployment/") || slices.ContainsFunc(pairs(selector), func(p string) bool { return !slices.Contains(pairs(labels), p) }) {
			continue
		}
		for _, p := range list(at(m, "spec", "ports")) {
			ports := list(list(at(d, "spec", "template", "spec", "containers"))[0]["ports"])
			if !slices.ContainsFunc(ports, func(c map[string]any) bool { return c["name"] == p["targetPort"] }) {
				r.t.Errorf("%s leads to port %v of %s, which has none", name, p["targetPort"], other)
			}
		}
		return
	}
	r.t.Errorf("%s selects no pod of the order", name)
}

func pairs(labels map[string]any) []string {
	var out []string
	for k, v := range labels {
		out = append(out, fmt.Sprintf("%s=%v", k, v))
	}
	return out
}

// address looks where an address in the cluster leads, and returns its path.
func (r references) address(from, text string) string {
	u, err := url.Parse(text)
	if err != nil {
		r.t.Fatalf("%s: %v", from, err)
	}
	service, rest, _ := strings.Cut(u.Hostname(), ".")
	namespace, _, _ := strings.Cut(rest, ".")
	if namespace != "whisperops-system" {
		r.port(from, service, u.Port())
		return u.Path
	}
	for _, d := range installed(r.t) {
		if key(d) == "Service/"+service && slices.ContainsFunc(list(at(d, "spec", "ports")), func(p map[string]any) bool { return fmt.Sprint(p["port"]) == u.Port() }) {
			return u.Path
		}
	}
	r.t.Errorf("%s asks %s: package/install has no such Service and port", from, text)
	return u.Path
}

func installed(t *testing.T) []map[string]any {
	t.Helper()
	docs, err := crossplane.ReadDocuments(filepath.Join(pipeline.Root(), "package/install/token-meter/base/deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

func (r references) agent(name string, m map[string]any) {
	declared := at(m, "spec", "declarative").(map[string]any)
	r.there(name, "ModelConfig", declared["modelConfig"])
	from := declared["systemMessageFrom"].(map[string]any)
	r.there(name, fmt.Sprint(from["type"]), from["name"])
	if prompts := r.objects[fmt.Sprintf("%s/%s", from["type"], from["name"])]; at(prompts, "data", fmt.Sprint(from["key"])) == nil {
		r.t.Errorf("%s takes its prompt from the key %v, which is not there", name, from["key"])
	}
	for _, tool := range list(declared["tools"]) {
		if other := at(tool, "agent", "name"); other != nil {
			r.there(name, "Agent", other)
		}
		server, _ := tool["mcpServer"].(map[string]any)
		if server == nil {
			continue
		}
		r.there(name, fmt.Sprint(server["kind"]), server["name"])
		for _, n := range server["toolNames"].([]any) {
			if !strings.Contains(literals(r.t, programs["sandbox"]), fmt.Sprintf("%q", n)) {
				r.t.Errorf("%s calls the tool %v, which the sandbox does not have", name, n)
			}
		}
	}
	d := declared["deployment"].(map[string]any)
	r.pod(name, d, list(d["volumes"]))
}

// secrets are those that other parts of an order, or the platform, write, with their
// keys.
var secrets = map[string]string{v1alpha1.SecretGCPCredentials: v1alpha1.SecretKeyPrivateKey}

// pod holds a container against its volumes, and its variables against both.
func (r references) pod(name string, c map[string]any, volumes []map[string]any) {
	mounts := list(c["volumeMounts"])
	files := map[string]bool{}
	for _, v := range volumes {
		i := slices.IndexFunc(mounts, func(m map[string]any) bool { return m["name"] == v["name"] })
		if i < 0 {
			r.t.Errorf("%s: nobody mounts the volume %v", name, v["name"])
			continue
		}
		source, _ := v["secret"].(map[string]any)
		if source == nil {
			if source, _ = v["configMap"].(map[string]any); source != nil {
				source = map[string]any{"items": source["items"]}
			}
		}
		for _, item := range list(at(source, "items")) {
			files[fmt.Sprintf("%v/%v", mounts[i]["mountPath"], item["path"])] = true
			if secret := source["secretName"]; secret != nil && secrets[fmt.Sprint(secret)] != item["key"] {
				r.t.Errorf("%s reads the key %v of the Secret %v, which nobody writes", name, item["key"], secret)
			}
		}
	}
	for _, m := range mounts {
		if !slices.ContainsFunc(volumes, func(v map[string]any) bool { return v["name"] == m["name"] }) {
			r.t.Errorf("%s mounts the volume %v, which it does not have", name, m["name"])
		}
	}
	for _, e := range list(c["env"]) {
		value, _ := e["value"].(string)
		switch {
		case strings.HasPrefix(value, "/") && value != "/tmp" && !files[value]:
			r.t.Errorf("%s: %v names the file %s, which is in none of its volumes", name, e["name"], value)
		case strings.HasPrefix(value, "http") && !strings.Contains(strings.ToUpper(fmt.Sprint(e["name"])), "PROXY"):
			if host := regexp.MustCompile(`^https?://[^/:]+\.svc\b`); host.MatchString(value) {
				r.address(name+": "+fmt.Sprint(e["name"]), value)
			}
		}
	}
}
