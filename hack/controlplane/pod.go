package controlplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// repository is an image without its tag or digest.
func repository(image string) string {
	image, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndex(image, ":"); i > strings.LastIndex(image, "/") {
		image = image[:i]
	}
	return image
}

// command makes the process of a pod of its one container. An error is what a
// kubelet would wait for: a Secret that isn't there yet, most often.
func (n *Node) command(ctx context.Context, p *pod) (Command, error) {
	if len(p.spec.Containers) != 1 {
		return Command{}, fmt.Errorf("want one container, got %d", len(p.spec.Containers))
	}
	c := p.spec.Containers[0]
	repo := repository(c.Image)
	program, known := n.o.Programs[repo]
	if !known {
		return Command{}, fmt.Errorf("no program stands in for image %s", c.Image)
	}
	at, err := n.volumes(ctx, p, c)
	if err != nil {
		return Command{}, err
	}
	tmp := at["/tmp"]
	if tmp == "" {
		tmp = filepath.Join(p.dir, "tmp")
	}
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return Command{}, err
	}
	env := map[string]string{"PATH": os.Getenv("PATH"), "HOME": tmp, "TMPDIR": tmp, "HOST": p.ip, "HOSTNAME": p.name}
	if m := c.Resources.Limits.Memory(); !m.IsZero() {
		env["MEMORY_LIMIT_MI"] = strconv.FormatInt(m.Value()>>20, 10)
	}
	if err := n.environment(ctx, p, c, env); err != nil {
		return Command{}, err
	}
	for k, v := range env {
		env[k] = n.here(v, at)
	}
	if a := p.spec.AutomountServiceAccountToken; a == nil || *a {
		if env["KUBECONFIG"], err = n.identity(ctx, p); err != nil {
			return Command{}, err
		}
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	for _, e := range n.o.Env[repo] {
		k, v, _ := strings.Cut(e, "=")
		list = append(list, k+"="+n.here(v, at))
	}
	var args []string
	for _, a := range slices.Concat(c.Command[min(1, len(c.Command)):], c.Args) {
		switch flag, v, has := strings.Cut(a, "="); {
		case a == "0.0.0.0":
			a = p.ip
		case has && strings.HasPrefix(flag, "-"):
			a = flag + "=" + n.here(expand(v, env), at)
		default:
			a = n.here(expand(a, env), at)
		}
		args = append(args, a)
	}
	path, args := as(p.spec, program, args)
	return Command{Name: "pod-" + p.namespace + "-" + p.name, Path: path, Args: args, Env: list, Respawn: true}, nil
}

// as runs a program as the user that a pod wants, in a user namespace of its own that
// has no other: it has no capability, and what this process's user owns is the
// pod's. Where that can't be had it runs as this process does.
func as(spec corev1.PodSpec, program string, args []string) (string, []string) {
	if spec.SecurityContext == nil || spec.SecurityContext.RunAsUser == nil {
		return program, args
	}
	unshare := unshareUser()
	if unshare == "" {
		return program, args
	}
	user := strconv.FormatInt(*spec.SecurityContext.RunAsUser, 10)
	return unshare, append([]string{"--map-user=" + user, "--map-group=" + user, "--", program}, args...)
}

var unshareUser = sync.OnceValue(func() string {
	unshare, err := exec.LookPath("unshare")
	if err != nil || exec.Command(unshare, "--map-user=65532", "--map-group=65532", "--", "true").Run() != nil {
		return ""
	}
	return unshare
})

// here changes paths inside a container to where they are, and, where names of
// Services can't be resolved, those in addresses.
func (n *Node) here(v string, at map[string]string) string {
	if strings.HasPrefix(v, n.s.Dir+"/") {
		return v // it is no container's path
	}
	mounts := slices.Sorted(maps.Keys(at))
	for _, m := range slices.Backward(mounts) { // the longest first of those that begin alike
		if rest, is := strings.CutPrefix(v, m); is && (rest == "" || rest[0] == '/') {
			return at[m] + rest
		}
	}
	return n.resolve(v)
}

// expand replaces $(NAME), as Kubernetes does; $$ is a dollar sign.
func expand(v string, env map[string]string) string {
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] != '$' || i+1 == len(v) {
			b.WriteByte(v[i])
			continue
		}
		if v[i+1] == '$' {
			b.WriteByte('$')
			i++
			continue
		}
		if end := strings.IndexByte(v[i:], ')'); v[i+1] == '(' && end > 0 {
			if value, known := env[v[i+2:i+end]]; known {
				b.WriteString(value)
				i += end
				continue
			}
		}
		b.WriteByte('$')
	}
	return b.String()
}

func (n *Node) environment(ctx context.Context, p *pod, c corev1.Container, env map[string]string) error {
	core := n.s.Kubernetes.CoreV1()
	for _, e := range c.Env {
		v := expand(e.Value, env)
		switch from := e.ValueFrom; {
		case from == nil:
		case from.FieldRef != nil:
			v = p.field(from.FieldRef.FieldPath)
		case from.SecretKeyRef != nil:
			s, err := core.Secrets(p.namespace).Get(ctx, from.SecretKeyRef.Name, metav1.GetOptions{})
			if err != nil {
				if from.SecretKeyRef.Optional != nil && *from.SecretKeyRef.Optional && apierrors.IsNotFound(err) {
					continue
				}
				return err
			}
			b, has := s.Data[from.SecretKeyRef.Key]
			if !has {
				return fmt.Errorf("couldn't find key %s in Secret %s/%s", from.SecretKeyRef.Key, p.namespace, s.Name)
			}
			v = string(b)
		case from.ConfigMapKeyRef != nil:
			m, err := core.ConfigMaps(p.namespace).Get(ctx, from.ConfigMapKeyRef.Name, metav1.GetOptions{})
			if err != nil {
				return err
			}
			v = m.Data[from.ConfigMapKeyRef.Key]
		case from.ResourceFieldRef != nil:
			q := c.Resources.Limits[corev1.ResourceName(strings.TrimPrefix(from.ResourceFieldRef.Resource, "limits."))]
			v = strconv.FormatInt(q.Value(), 10)
		}
		env[e.Name] = v
	}
	return nil
}

// field resolves a reference to the pod's own fields.
func (p *pod) field(path string) string {
	switch path {
	case "metadata.namespace":
		return p.namespace
	case "metadata.name":
		return p.name
	case "metadata.uid":
		return string(p.uid)
	case "status.podIP":
		return p.ip
	case "spec.nodeName":
		return NodeName
	case "spec.serviceAccountName":
		return p.spec.ServiceAccountName
	}
	return p.labels[strings.TrimSuffix(strings.TrimPrefix(path, "metadata.labels['"), "']")]
}

// identity writes a kubeconfig for the pod's ServiceAccount.
func (n *Node) identity(ctx context.Context, p *pod) (string, error) {
	year := int64(365 * 24 * 3600) // as long as anybody leaves this running
	account := p.spec.ServiceAccountName
	if account == "" {
		account = "default"
	}
	t, err := n.s.Kubernetes.CoreV1().ServiceAccounts(p.namespace).CreateToken(ctx, account, &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &year}}, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	file := filepath.Join(p.dir, "volumes", "kubeconfig")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", err
	}
	return file, n.s.WriteKubeconfig(file, n.s.URL, &clientcmdapi.AuthInfo{Token: t.Status.Token})
}

// refreshEvery is the time between two looks at what a running pod's volumes should hold;
// of a kubelet's it is a minute or two.
const refreshEvery = 5 * time.Second

// refresh brings Secrets and ConfigMaps that have changed into a pod that runs, as a
// kubelet does: not where a single file of a volume is mounted, and while one of them is
// away the files stay.
func (n *Node) refresh(ctx context.Context, p *pod) {
	c := p.spec.Containers[0]
	c.VolumeMounts = slices.DeleteFunc(slices.Clone(c.VolumeMounts), func(m corev1.VolumeMount) bool { return m.SubPath != "" })
	if _, err := n.volumes(ctx, p, c); err != nil && ctx.Err() == nil && p.stale != err.Error() {
		p.stale = err.Error()
		n.s.log("pod %s/%s keeps its files: %v", p.namespace, p.name, err)
	}
}

// volumes writes what a container mounts, and returns where it is by the path that
// the container knows.
func (n *Node) volumes(ctx context.Context, p *pod, c corev1.Container) (map[string]string, error) {
	at := map[string]string{}
	for _, m := range c.VolumeMounts {
		i := slices.IndexFunc(p.spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if i < 0 {
			return nil, fmt.Errorf("volume %s is mounted and not there", m.Name)
		}
		dir := filepath.Join(p.dir, "volumes", m.Name)
		files, err := n.files(ctx, p, p.spec.Volumes[i])
		if err != nil {
			return nil, fmt.Errorf("MountVolume.SetUp failed for volume %q: %w", m.Name, err)
		}
		for k, b := range files {
			files[k] = []byte(n.resolve(string(b)))
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		if err := replaceFiles(dir, files); err != nil {
			return nil, err
		}
		at[m.MountPath] = filepath.Join(dir, m.SubPath)
	}
	return at, nil
}

// replaceFiles writes what has changed, each file at once: who reads meanwhile gets the old
// one whole or the new one.
func replaceFiles(dir string, files map[string][]byte) error {
	changed := map[string][]byte{}
	for name, data := range files {
		if old, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(old, data) {
			changed[name+".new"] = data
		}
	}
	if err := writeFiles(dir, changed); err != nil {
		return err
	}
	for name := range changed {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(dir, strings.TrimSuffix(name, ".new"))); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) files(ctx context.Context, p *pod, v corev1.Volume) (map[string][]byte, error) {
	switch {
	case v.Secret != nil:
		s, err := n.s.Kubernetes.CoreV1().Secrets(p.namespace).Get(ctx, v.Secret.SecretName, metav1.GetOptions{})
		if err != nil {
			if v.Secret.Optional != nil && *v.Secret.Optional && apierrors.IsNotFound(err) {
				return map[string][]byte{}, nil
			}
			return nil, err
		}
		return items(s.Data, v.Secret.Items)
	case v.ConfigMap != nil:
		m, err := n.s.Kubernetes.CoreV1().ConfigMaps(p.namespace).Get(ctx, v.ConfigMap.Name, metav1.GetOptions{})
		if err != nil {
			if v.ConfigMap.Optional != nil && *v.ConfigMap.Optional && apierrors.IsNotFound(err) {
				return map[string][]byte{}, nil
			}
			return nil, err
		}
		data := map[string][]byte{}
		for k, t := range m.Data {
			data[k] = []byte(t)
		}
		maps.Copy(data, m.BinaryData)
		return items(data, v.ConfigMap.Items)
	}
	return map[string][]byte{}, nil // an empty folder; tokens are in the kubeconfig
}

// items chooses keys and gives them paths.
func items(data map[string][]byte, keys []corev1.KeyToPath) (map[string][]byte, error) {
	if len(keys) == 0 {
		return data, nil
	}
	out := map[string][]byte{}
	for _, k := range keys {
		b, has := data[k.Key]
		if !has {
			return nil, fmt.Errorf("references non-existent key: %s", k.Key)
		}
		out[k.Path] = b
	}
	return out, nil
}

// probe is the readiness of a pod by its own probe.
func probe(p *pod) func(context.Context) error {
	c := p.spec.Containers[0]
	r := c.ReadinessProbe
	switch {
	case r != nil && r.HTTPGet != nil:
		url := "http://" + net.JoinHostPort(p.ip, strconv.Itoa(int(portOf(c, r.HTTPGet.Port)))) + r.HTTPGet.Path
		return func(ctx context.Context) error {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
			if err != nil {
				return err
			}
			rsp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			_ = rsp.Body.Close() // the status is all that counts
			if rsp.StatusCode >= 400 {
				return errors.New(rsp.Status)
			}
			return nil
		}
	case r != nil && r.TCPSocket != nil:
		return Listening(fmt.Sprintf("%s:%d", p.ip, portOf(c, r.TCPSocket.Port)))
	}
	return func(context.Context) error { return nil }
}

func portOf(c corev1.Container, port intstr.IntOrString) int32 {
	if port.Type == intstr.Int {
		return port.IntVal
	}
	for _, p := range c.Ports {
		if p.Name == port.StrVal {
			return p.ContainerPort
		}
	}
	return 0
}
