package datasetwatcher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"whisperops.io/functions/apis/v1alpha1"
	"whisperops.io/functions/internal/datasetwatcher/registry"
)

// cluster reads and writes XDatasets. Its client reads from the API server and
// not from a cache: a pass needs the whole registry once, as it is now.
type cluster struct {
	client.Client

	metrics *metrics
}

const (
	// kubePage bounds one answer of the API server.
	kubePage = 500
	// writers is how many requests are under way at once.
	writers = 8
)

// agentsCRD is the CRD behind the XDatasetAgents. The registry works without it.
var agentsCRD = "xdatasetagents." + v1alpha1.GroupVersion.Group

// newScheme knows the kinds that are read and written.
func newScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	if err := scheme.AddToScheme(s); err != nil {
		return nil, err
	}
	s.AddKnownTypes(v1alpha1.GroupVersion, &v1alpha1.XDataset{}, &v1alpha1.XDatasetList{})
	metav1.AddToGroupVersion(s, v1alpha1.GroupVersion)
	return s, nil
}

// pages calls each with every page of a list.
func (c *cluster) pages(ctx context.Context, list client.ObjectList, each func()) error {
	for next := ""; ; {
		if err := c.List(ctx, list, client.Limit(kubePage), client.Continue(next)); err != nil {
			return err
		}
		each()
		if next = list.GetContinue(); next == "" {
			return nil
		}
	}
}

// Datasets returns every XDataset.
func (c *cluster) Datasets(ctx context.Context) ([]v1alpha1.XDataset, error) {
	all, page := []v1alpha1.XDataset{}, &v1alpha1.XDatasetList{}
	err := c.pages(ctx, page, func() {
		all = append(all, page.Items...)
		page.Items = nil
	})
	if meta.IsNoMatchError(err) {
		err = errors.New("the XDataset CRD is not installed: apply package/install/crds")
	}
	return all, err
}

// Usage says which XDatasetAgents hold on to which dataset: the one they order,
// and the one they run on when the order was changed to one that can't be used.
func (c *cluster) Usage(ctx context.Context) (registry.Usage, error) {
	u := registry.Usage{Known: true, Agents: map[string][]string{}}
	page := &unstructured.UnstructuredList{}
	page.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.KindXDatasetAgent + "List"))
	err := c.pages(ctx, page, func() {
		for _, a := range page.Items {
			ordered, _, _ := unstructured.NestedString(a.Object, "spec", "datasetRef", "name")
			running, _, _ := unstructured.NestedString(a.Object, "status", "dataset", "name")
			u.Agents[ordered] = append(u.Agents[ordered], a.GetName())
			if running != ordered {
				u.Agents[running] = append(u.Agents[running], a.GetName())
			}
		}
		page.Items = nil
	})
	if !apierrors.IsNotFound(err) && !meta.IsNoMatchError(err) {
		return u, err
	}
	// No such kind: there are no agents, unless the API server only does not
	// serve it at the moment.
	crd := &metav1.PartialObjectMetadata{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	switch crdErr := c.Get(ctx, client.ObjectKey{Name: agentsCRD}, crd); {
	case apierrors.IsNotFound(crdErr):
		return registry.Usage{Known: true}, nil
	case crdErr != nil:
		return registry.Usage{}, fmt.Errorf("cannot find out whether XDatasetAgents exist: %w", crdErr)
	default:
		return registry.Usage{}, fmt.Errorf("the API server does not serve XDatasetAgents although their CRD is installed: %w", err)
	}
}

// Apply carries out a plan, and returns the XDatasets that exist afterwards. It
// goes on after a failed write, but does not begin a later stage of the plan
// when that could hurt. What failed is planned again at the next pass; a conflict
// is no error, somebody else only wrote in between.
func (c *cluster) Apply(ctx context.Context, p registry.Plan) ([]v1alpha1.XDataset, error) {
	stale, err := each(p.Updates, func(u registry.Update) (string, error) { return u.Dataset.Name, c.update(ctx, u) })
	if len(stale) > 0 && p.Fall != nil {
		return existing(p.Keep, names(p.Creates)), err
	}
	missing, createErr := each(p.Creates, func(d v1alpha1.XDataset) (string, error) { return d.Name, c.create(ctx, d) })
	_, removeErr := each(p.Removes, func(d v1alpha1.XDataset) (string, error) { return d.Name, c.remove(ctx, d) })
	return existing(p.Keep, missing), errors.Join(err, createErr, removeErr)
}

func (c *cluster) update(ctx context.Context, u registry.Update) error {
	d := u.Dataset.DeepCopy()
	spec := func() error {
		if !u.Spec {
			return nil
		}
		status := d.Status
		err := c.Update(ctx, d) // answers with the status as it was
		d.Status = status
		return c.wrote("update", d.Name, err)
	}
	status := func() error {
		if !u.Status {
			return nil
		}
		wanted := d.DeepCopy()
		err := c.Status().Update(ctx, d) // answers with labels and spec as they were
		d.Labels, d.Annotations, d.Spec = wanted.Labels, wanted.Annotations, wanted.Spec
		return c.wrote("update status of", d.Name, err)
	}
	steps := []func() error{spec, status}
	if u.StatusFirst() {
		steps = []func() error{status, spec}
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) create(ctx context.Context, d v1alpha1.XDataset) error {
	made := d.DeepCopy()
	if err := c.wrote("create", d.Name, c.Create(ctx, made)); err != nil {
		return err
	}
	made.Status = d.Status
	return c.wrote("update status of", d.Name, c.Status().Update(ctx, made))
}

// remove deletes the XDataset that was judged, and no younger one of its name.
func (c *cluster) remove(ctx context.Context, d v1alpha1.XDataset) error {
	err := c.Delete(ctx, &d, client.Preconditions{UID: &d.UID, ResourceVersion: &d.ResourceVersion})
	return c.wrote("delete", d.Name, client.IgnoreNotFound(err))
}

// wrote counts a write.
func (c *cluster) wrote(verb, name string, err error) error {
	result := "ok"
	switch {
	case isConflict(err):
		result = "conflict"
	case err != nil:
		result = "error"
	}
	operation := strings.ReplaceAll(strings.TrimSuffix(verb, " of"), " ", "_")
	c.metrics.writes.WithLabelValues("kubernetes", operation, result).Inc()
	if err != nil {
		return fmt.Errorf("cannot %s XDataset %q: %w", verb, name, err)
	}
	return nil
}

// each does something with every item, a few at a time, and returns the names of
// those that failed.
func each[T any](items []T, do func(T) (string, error)) ([]string, error) {
	var (
		mu     sync.Mutex
		wg     sync.WaitGroup
		failed []string
		errs   []error
	)
	tokens := make(chan struct{}, writers)
	for _, item := range items {
		tokens <- struct{}{}
		wg.Go(func() {
			defer func() { <-tokens }()
			if name, err := do(item); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, name)
				if !isConflict(err) {
					errs = append(errs, err)
				}
			}
		})
	}
	wg.Wait()
	return failed, summary(errs)
}

func isConflict(err error) bool { return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) }

func names(datasets []v1alpha1.XDataset) []string {
	n := []string{}
	for _, d := range datasets {
		n = append(n, d.Name)
	}
	return n
}

// existing returns the datasets without those that could not be made.
func existing(datasets []v1alpha1.XDataset, missing []string) []v1alpha1.XDataset {
	return slices.DeleteFunc(slices.Clone(datasets), func(d v1alpha1.XDataset) bool { return slices.Contains(missing, d.Name) })
}

// without returns the names that are not among others.
func without(names, others []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(others, n) })
}

// summary keeps a message short: when a server is away, a thousand requests fail
// for one reason.
func summary(errs []error) error {
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	return fmt.Errorf("%w (and %d more failures)", errs[0], len(errs)-1)
}
