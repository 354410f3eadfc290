package controlplane

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
)

// runtimes run what packages hold. For functions they are the "external
// runtime" that Crossplane can leave the work to: a certificate from Crossplane's
// authority, a process, and its endpoint in the revision's status. For providers
// they are the kubelet of the Deployment that Crossplane makes.
type runtimes struct {
	s      *Stack
	cancel context.CancelFunc
	done   sync.WaitGroup
	wake   chan struct{}
	lists  []cache.GenericLister

	mu sync.Mutex
	// running holds, by revision or Deployment, what its process was started for.
	running map[string]string
}

var watched = []schema.GroupVersionResource{
	{Group: "pkg.crossplane.io", Version: "v1", Resource: "functionrevisions"},
	{Group: "apps", Version: "v1", Resource: "deployments"},
}

// runRuntimes starts what runs until stop, however long the context lives.
func (s *Stack) runRuntimes(ctx context.Context) (*runtimes, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &runtimes{s: s, cancel: cancel, wake: make(chan struct{}, 1), running: map[string]string{}}
	factory := dynamicinformer.NewDynamicSharedInformerFactory(s.Dynamic, 0)
	poke := func() {
		select {
		case r.wake <- struct{}{}:
		default: // it will look at everything anyhow
		}
	}
	for _, gvr := range watched {
		inf := factory.ForResource(gvr)
		if _, err := inf.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc: func(any) { poke() }, UpdateFunc: func(any, any) { poke() }, DeleteFunc: func(any) { poke() },
		}); err != nil {
			cancel()
			return nil, err
		}
		r.lists = append(r.lists, inf.Lister())
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	r.done.Go(func() { r.loop(ctx) })
	return r, nil
}

func (r *runtimes) stop() {
	r.cancel()
	r.done.Wait()
}

func (r *runtimes) loop(ctx context.Context) {
	for {
		// A failure is tried again: at the next event, and after a second.
		again := r.look(ctx) || r.s.options.RealNode // pods come without an event of what is watched
		var retry <-chan time.Time
		if again {
			retry = time.After(time.Second)
		}
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-retry:
		}
	}
}

// look compares what should run with what runs. It returns true if it failed at something.
func (r *runtimes) look(ctx context.Context) (failed bool) {
	wanted := map[string]bool{}
	try := func(what string, f func() error) {
		if err := f(); err != nil && ctx.Err() == nil {
			failed = true
			r.s.log("%s: %v", what, err)
		}
	}
	for _, o := range r.list(0) {
		if state, _, _ := unstructured.NestedString(o.Object, "spec", "desiredState"); state != "Active" || o.GetDeletionTimestamp() != nil {
			continue
		}
		wanted[o.GetName()] = true
		try("cannot run function "+o.GetName(), func() error { return r.function(ctx, o) })
	}
	for _, o := range r.list(1) {
		if o.GetNamespace() != Namespace || !slices.ContainsFunc(o.GetOwnerReferences(), func(ref metav1.OwnerReference) bool { return ref.Kind == "ProviderRevision" }) {
			continue
		}
		wanted[o.GetName()] = true
		try("cannot run provider "+o.GetName(), func() error { return r.deployment(ctx, o) })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for n := range r.running {
		if !wanted[n] {
			r.s.Process(n).Stop()
			delete(r.running, n)
			r.s.log("%s stopped: nobody wants it any more", n)
		}
	}
	return failed
}

func (r *runtimes) list(i int) []*unstructured.Unstructured {
	objs, err := r.lists[i].List(labels.Everything())
	if err != nil {
		return nil // a list from memory has no errors
	}
	var us []*unstructured.Unstructured
	for _, o := range objs {
		if u, ok := o.(*unstructured.Unstructured); ok { // a dynamic informer's objects all are
			us = append(us, u)
		}
	}
	slices.SortFunc(us, func(a, b *unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return us
}

// started says whether the process of a revision or Deployment runs for the
// given generation of it, and if not forgets the old one.
func (r *runtimes) started(n, generation string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running[n] == generation {
		return true
	}
	if p := r.s.Process(n); p != nil {
		p.Stop()
	}
	return false
}

func (r *runtimes) run(ctx context.Context, n, generation string, c Command) error {
	if p := r.s.Process(n); p != nil {
		p.Command = c
		if err := p.Start(ctx); err != nil {
			return err
		}
	} else if _, err := r.s.Run(ctx, c); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[n] = generation
	return nil
}

// function runs a FunctionRevision and says so in its status.
func (r *runtimes) function(ctx context.Context, rev *unstructured.Unstructured) error {
	n := rev.GetName()
	if r.started(n, string(rev.GetUID())) {
		if s, _, _ := Condition(rev, "RuntimeHealthy"); s == "True" {
			return nil
		}
	}
	secret := n + "-tls-server"
	dir := filepath.Join(r.s.Dir, "runtimes", n)
	if !r.started(n, string(rev.GetUID())) {
		if err := r.startFunction(ctx, rev, dir, secret); err != nil {
			return err
		}
	}
	address, err := os.ReadFile(filepath.Join(dir, "address"))
	if err != nil {
		return err
	}
	// An apply that leaves a field out removes it: always say everything.
	return r.applyStatus(ctx, "FunctionRevision", n, map[string]any{
		"endpoint": string(address), "tlsServerSecretName": secret,
		"conditions": []any{map[string]any{"type": "RuntimeHealthy", "status": "True", "reason": "HealthyPackageRevision", "lastTransitionTime": time.Now().UTC().Format(time.RFC3339)}},
	})
}

// startFunction runs a FunctionRevision's program with a certificate of its own.
// The folder holds that and the address; the Secret is what Crossplane reads.
func (r *runtimes) startFunction(ctx context.Context, rev *unstructured.Unstructured, dir, secret string) error {
	n, function := rev.GetName(), rev.GetLabels()["pkg.crossplane.io/package"]
	ref, _, _ := unstructured.NestedString(rev.Object, "spec", "image")
	program, err := r.program(ctx, ref)
	if err != nil {
		return err
	}
	l, err := r.s.xpCA.issue(function, "", x509.ExtKeyUsageServerAuth, "localhost", function, "127.0.0.1")
	if err != nil {
		return err
	}
	files := map[string][]byte{"tls.crt": l.cert, "tls.key": l.key, "ca.crt": r.s.xpCA.pem}
	if err := writeFiles(filepath.Join(dir, "tls"), files); err != nil {
		return err
	}
	if err := r.applySecret(ctx, secret, files); err != nil {
		return err
	}
	ports := [2]int{}
	for i := range ports {
		if ports[i], err = FreePort(); err != nil {
			return err
		}
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	if err := os.WriteFile(filepath.Join(dir, "address"), []byte(address), 0o600); err != nil {
		return err
	}
	if err := r.run(ctx, n, string(rev.GetUID()), Command{
		Name: n, Path: program, Args: []string{"--debug", "--address", address, "--metrics-address", fmt.Sprintf("127.0.0.1:%d", ports[1])},
		Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + r.s.Dir, "TLS_SERVER_CERTS_DIR=" + filepath.Join(dir, "tls")}, Ready: Listening(address), Respawn: true,
	}); err != nil {
		return err
	}
	r.s.log("function %s runs at %s", function, address)
	return nil
}

// deployment runs a provider's Deployment and says that it is available.
func (r *runtimes) deployment(ctx context.Context, o *unstructured.Unstructured) error {
	var d appsv1.Deployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d); err != nil {
		return err
	}
	generation := fmt.Sprint(d.UID, d.Generation)
	if !r.started(d.Name, generation) {
		if err := r.runDeployment(ctx, &d, generation); err != nil {
			return err
		}
		r.s.log("provider %s runs", d.Name)
	}
	if r.s.options.RealNode {
		return r.pods(ctx, &d)
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentAvailable && c.Status == corev1.ConditionTrue && d.Status.ObservedGeneration == d.Generation {
			return nil
		}
	}
	status, err := json.Marshal(map[string]any{"status": map[string]any{
		"observedGeneration": d.Generation, "replicas": 1, "readyReplicas": 1, "availableReplicas": 1, "updatedReplicas": 1,
		"conditions": []any{map[string]any{
			"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable",
			"lastTransitionTime": metav1.Now(), "lastUpdateTime": metav1.Now(),
		}},
	}})
	if err != nil {
		return err
	}
	_, err = r.s.Kubernetes.AppsV1().Deployments(d.Namespace).Patch(ctx, d.Name, types.MergePatchType, status, metav1.PatchOptions{}, "status")
	return err
}

// runDeployment does what a kubelet does with the one container of a provider's
// Deployment: image, arguments, environment, Secrets as files, identity.
func (r *runtimes) runDeployment(ctx context.Context, d *appsv1.Deployment, generation string) error {
	pod := d.Spec.Template.Spec
	if len(pod.Containers) != 1 {
		return fmt.Errorf("want one container, got %d", len(pod.Containers))
	}
	c := pod.Containers[0]
	program, err := r.program(ctx, c.Image)
	if err != nil {
		return err
	}
	kubeconfig, err := r.s.serviceAccountConfig(ctx, pod.ServiceAccountName)
	if err != nil {
		return err
	}
	if err := r.inClusterIdentity(ctx, pod.ServiceAccountName); err != nil {
		return err
	}
	dir := filepath.Join(r.s.Dir, "runtimes", d.Name)
	mounts, err := r.mount(ctx, pod.Volumes, c.VolumeMounts, dir)
	if err != nil {
		return err
	}
	env := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": dir, "KUBECONFIG": kubeconfig,
		"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": strconv.Itoa(r.s.port),
	}
	for _, e := range c.Env {
		v := e.Value
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			v = field(e.ValueFrom.FieldRef.FieldPath, d)
		}
		for name, value := range env {
			v = strings.ReplaceAll(v, "$("+name+")", value)
		}
		if there, ok := mounts[v]; ok {
			v = there
		}
		env[e.Name] = v
	}
	// In a pod these ports are the container's own; here they are one machine's.
	ports := map[string]int{"METRICS_BIND_ADDRESS": 0, "HEALTH_PROBE_BIND_ADDRESS": 0, "WEBHOOK_PORT": 0}
	for n := range ports {
		if ports[n], err = FreePort(); err != nil {
			return err
		}
	}
	env["METRICS_BIND_ADDRESS"] = fmt.Sprintf("127.0.0.1:%d", ports["METRICS_BIND_ADDRESS"])
	env["HEALTH_PROBE_BIND_ADDRESS"] = fmt.Sprintf("127.0.0.1:%d", ports["HEALTH_PROBE_BIND_ADDRESS"])
	if !IsIsolated() {
		// In namespaces of our own the Service's address is on this machine, and
		// the API server reaches the webhook on the port that the Service has.
		env["WEBHOOK_PORT"] = strconv.Itoa(ports["WEBHOOK_PORT"])
	}
	var list []string
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return r.run(ctx, d.Name, generation, Command{Name: d.Name, Path: program, Args: c.Args, Env: list, Respawn: true})
}

// mount writes the Secrets that a container mounts below dir, and returns where
// each is by the path that the container knows.
func (r *runtimes) mount(ctx context.Context, volumes []corev1.Volume, mounted []corev1.VolumeMount, dir string) (map[string]string, error) {
	there := map[string]string{}
	for _, m := range mounted {
		for _, v := range volumes {
			if v.Name != m.Name || v.Secret == nil {
				continue
			}
			there[m.MountPath] = filepath.Join(dir, v.Name)
			if err := r.s.secretToDir(ctx, v.Secret.SecretName, there[m.MountPath]); err != nil {
				if apierrors.IsNotFound(err) && v.Secret.Optional != nil && *v.Secret.Optional {
					continue
				}
				return nil, err
			}
		}
	}
	return there, nil
}

// field resolves the two references to the pod's own metadata that Crossplane makes.
func field(path string, d *appsv1.Deployment) string {
	if path == "metadata.namespace" {
		return d.Namespace
	}
	key := strings.TrimSuffix(strings.TrimPrefix(path, "metadata.labels['"), "']")
	return d.Spec.Template.Labels[key]
}

// inClusterIdentity puts a ServiceAccount's token where pods have it. All
// processes see the same one, so it is the identity of provider-kubernetes,
// the only one that looks there.
func (r *runtimes) inClusterIdentity(ctx context.Context, serviceAccount string) error {
	if !IsIsolated() || !strings.HasPrefix(serviceAccount, "provider-kubernetes") {
		return nil
	}
	token, err := r.s.Token(ctx, Namespace, serviceAccount)
	if err != nil {
		return err
	}
	run, err := filepath.EvalSymlinks("/var/run")
	if err != nil {
		return err
	}
	dir := filepath.Join(run, "secrets", "kubernetes.io", "serviceaccount")
	if err := ownRun(); err != nil {
		return err
	}
	return writeFiles(dir, map[string][]byte{"token": []byte(token), "ca.crt": r.s.ca.pem, "namespace": []byte(Namespace)})
}

// program returns the path of what a package's image runs.
func (r *runtimes) program(ctx context.Context, ref string) (string, error) {
	parsed, err := name.ParseReference(r.s.local(ref))
	if err != nil {
		return "", err
	}
	if p, ok := r.s.options.Programs[parsed.Context().RepositoryStr()]; ok {
		return p, nil
	}
	img, err := remote.Image(parsed, remote.WithContext(ctx))
	if err != nil {
		return "", fmt.Errorf("cannot pull %s: %w", ref, err)
	}
	digest, err := img.Digest()
	if err != nil {
		return "", err
	}
	path := filepath.Join(r.s.Dir, "images", digest.Hex, "function")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return "", err
	}
	entry := "function"
	if len(cf.Config.Entrypoint) > 0 && strings.HasPrefix(cf.Config.Entrypoint[0], "/") {
		entry = strings.TrimPrefix(cf.Config.Entrypoint[0], "/")
	}
	fs := mutate.Extract(img)
	defer fs.Close() //nolint:errcheck // a reader
	if err := extract(fs, entry, path); err != nil {
		return "", fmt.Errorf("cannot unpack %s: %w: only one static program can be run from an image here", ref, err)
	}
	return path, nil
}

func (r *runtimes) applySecret(ctx context.Context, n string, data map[string][]byte) error {
	return r.s.Apply(ctx, secret(n, data))
}

func (r *runtimes) applyStatus(ctx context.Context, kind, n string, status map[string]any) error {
	doc, err := json.Marshal(map[string]any{"apiVersion": "pkg.crossplane.io/v1", "kind": kind, "metadata": map[string]any{"name": n}, "status": status})
	if err != nil {
		return err
	}
	res, err := r.s.Resource("pkg.crossplane.io/v1", kind, "")
	if err != nil {
		return err
	}
	force := true
	_, err = res.Patch(ctx, n, types.ApplyPatchType, doc, metav1.PatchOptions{FieldManager: "external-runtime", Force: &force}, "status")
	return err
}
