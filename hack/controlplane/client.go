package controlplane

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// fieldManager owns what this package applies.
const fieldManager = "controlplane"

// A Client reads and writes objects of any kind.
type Client struct {
	Dynamic    dynamic.Interface
	Metadata   metadata.Interface
	Kubernetes kubernetes.Interface
	REST       rest.Interface

	config *rest.Config
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

// NewClient returns a client without the client-side limits that real clusters
// want and tests suffer from.
func NewClient(cfg *rest.Config) (*Client, error) {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	cfg.WarningHandlerWithContext = rest.NoWarnings{}
	d, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	m, err := metadata.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	k, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, err
	}
	disco, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{
		Dynamic: d, Metadata: m, Kubernetes: k, REST: disco.RESTClient(), config: cfg,
		mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(disco)),
	}, nil
}

// Resource returns the client of a kind. The namespace is ignored for
// cluster-scoped kinds.
func (c *Client) Resource(apiVersion, kind, namespace string) (dynamic.ResourceInterface, error) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	if err != nil {
		return nil, err
	}
	m, err := c.mapper.RESTMapping(gv.WithKind(kind).GroupKind(), gv.Version)
	if meta.IsNoMatchError(err) {
		c.mapper.Reset() // the kind may be younger than what is cached
		m, err = c.mapper.RESTMapping(gv.WithKind(kind).GroupKind(), gv.Version)
	}
	if err != nil {
		return nil, err
	}
	if m.Scope.Name() == meta.RESTScopeNameNamespace && namespace != "" {
		return c.Dynamic.Resource(m.Resource).Namespace(namespace), nil
	}
	return c.Dynamic.Resource(m.Resource), nil
}

// Get reads one object.
func (c *Client) Get(ctx context.Context, apiVersion, kind, namespace, name string) (*unstructured.Unstructured, error) {
	r, err := c.Resource(apiVersion, kind, namespace)
	if err != nil {
		return nil, err
	}
	return r.Get(ctx, name, metav1.GetOptions{})
}

// List reads all objects of a kind, in one namespace or, if it is empty, in all.
func (c *Client) List(ctx context.Context, apiVersion, kind, namespace string) ([]unstructured.Unstructured, error) {
	r, err := c.Resource(apiVersion, kind, namespace)
	if err != nil {
		return nil, err
	}
	l, err := r.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	return l.Items, nil
}

// Delete deletes one object and does not wait until it is gone.
func (c *Client) Delete(ctx context.Context, apiVersion, kind, namespace, name string) error {
	r, err := c.Resource(apiVersion, kind, namespace)
	if err != nil {
		return err
	}
	return r.Delete(ctx, name, metav1.DeleteOptions{})
}

// Patch merges a JSON document into one object; subresources may name "status".
func (c *Client) Patch(ctx context.Context, apiVersion, kind, namespace, name, patch string, subresources ...string) error {
	r, err := c.Resource(apiVersion, kind, namespace)
	if err != nil {
		return err
	}
	_, err = r.Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: fieldManager}, subresources...)
	return err
}

// Apply applies objects on the server's side, one after the other. A kind that
// the server does not know yet is waited for, because a CRD is served a moment
// after it is made.
func (c *Client) Apply(ctx context.Context, objects ...*unstructured.Unstructured) error {
	for _, o := range objects {
		data, err := json.Marshal(o)
		if err != nil {
			return err
		}
		if err := Eventually(ctx, 30*time.Second, describe(o)+" to be accepted", func(ctx context.Context) error {
			r, err := c.Resource(o.GetAPIVersion(), o.GetKind(), o.GetNamespace())
			if err != nil {
				return err
			}
			force := true
			_, err = r.Patch(ctx, o.GetName(), types.ApplyPatchType, data, metav1.PatchOptions{FieldManager: fieldManager, Force: &force})
			if err != nil && !passing(err) {
				return Never(err)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// passing says whether an error may go away by itself.
func passing(err error) bool {
	var s interface{ Status() metav1.Status }
	if !errors.As(err, &s) {
		return true // the connection, or a kind that is not served yet
	}
	switch s.Status().Code {
	case 400, 403, 422:
		return false
	}
	// What does not fit the schema at all is answered with a 500.
	return !strings.Contains(err.Error(), "failed to create typed patch object")
}

// ApplyYAML applies every document of a YAML stream.
func (c *Client) ApplyYAML(ctx context.Context, doc string) error {
	objs, err := Decode(strings.NewReader(doc))
	if err != nil {
		return err
	}
	return c.Apply(ctx, objs...)
}

// Decode reads the objects of a stream of YAML documents.
func Decode(r io.Reader) ([]*unstructured.Unstructured, error) {
	var objs []*unstructured.Unstructured
	dec := yaml.NewYAMLOrJSONDecoder(r, 4096)
	for {
		o := &unstructured.Unstructured{}
		err := dec.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return objs, nil
		}
		if err != nil {
			return nil, err
		}
		if len(o.Object) > 0 {
			objs = append(objs, o)
		}
	}
}

// DecodeFiles reads the objects of YAML files; of a folder it reads every
// *.yaml in and below it, in the order of their paths.
func DecodeFiles(paths ...string) ([]*unstructured.Unstructured, error) {
	var objs []*unstructured.Unstructured
	for _, p := range paths {
		var files []string
		if err := filepath.WalkDir(p, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && (filepath.Ext(path) == ".yaml" || path == p) {
				files = append(files, path)
			}
			return err
		}); err != nil {
			return nil, err
		}
		slices.Sort(files)
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				return nil, err
			}
			o, err := Decode(bytes.NewReader(data))
			if err != nil {
				return nil, fmt.Errorf("cannot read %s: %w", f, err)
			}
			objs = append(objs, o...)
		}
	}
	return objs, nil
}

// Token returns a token of a ServiceAccount that is valid for a year.
func (c *Client) Token(ctx context.Context, namespace, serviceAccount string) (string, error) {
	year := int64(365 * 24 * 3600)
	t, err := c.Kubernetes.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, serviceAccount,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &year}}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("cannot create token of service account %s/%s: %w", namespace, serviceAccount, err)
	}
	return t.Status.Token, nil
}

// Condition returns status, reason and message of an object's condition; empty
// strings if it has none of that type.
func Condition(o *unstructured.Unstructured, kind string) (status, reason, message string) {
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	if err != nil {
		return "", "", ""
	}
	for _, c := range conditions {
		if m, isMap := c.(map[string]any); isMap && m["type"] == kind {
			text := func(k string) string { s, _, _ := unstructured.NestedString(m, k); return s }
			return text("status"), text("reason"), text("message")
		}
	}
	return "", "", ""
}

// WaitFor waits until an object's condition is True.
func (c *Client) WaitFor(ctx context.Context, within time.Duration, condition, apiVersion, kind, namespace, name string) error {
	return Eventually(ctx, within, fmt.Sprintf("%s %s to be %s", kind, name, condition), func(ctx context.Context) error {
		o, err := c.Get(ctx, apiVersion, kind, namespace, name)
		if err != nil {
			return err
		}
		if s, reason, msg := Condition(o, condition); s != "True" {
			return fmt.Errorf("%s is %q (%s: %s)", condition, s, reason, msg)
		}
		return nil
	})
}

func describe(o *unstructured.Unstructured) string {
	if o.GetNamespace() == "" {
		return o.GetKind() + " " + o.GetName()
	}
	return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}
