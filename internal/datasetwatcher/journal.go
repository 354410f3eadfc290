package datasetwatcher

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// AcceptFallAnnotation on the watcher's ConfigMap is how a person declares that
// objects are missing rightly; its value is how many at most.
const AcceptFallAnnotation = "whisperops.io/accept-fall"

// Keys of the watcher's ConfigMap.
const (
	keyBucket   = "bucket"
	keyListed   = "lastCompleteListing" // RFC 3339
	keyObjects  = "csvObjects"
	keyDatasets = "datasets"
	keyReady    = "ready"
	keyMissing  = "missing"
	keyProblem  = "problem"
	keyCatalog  = "catalog"
	keyIgnored  = "ignored" // what looks like a dataset and is none, and why

	// keyRemoved holds the names of datasets whose removal from the registry is
	// decided and whose entities may still be in the catalog. It is written before
	// the first of the two deletions, so that a crash between them leaves no entity
	// that nobody can explain.
	keyRemoved = "removed"
)

// journal is the one object on which the watcher writes what moves at every pass.
// It is not on the XDatasets, because every write of those wakes agents.
type journal struct {
	client client.Client
	key    client.ObjectKey
	object *corev1.ConfigMap // as it was last read or written
}

// read fetches the ConfigMap, and makes it where there is none.
func (j *journal) read(ctx context.Context) error {
	o := &corev1.ConfigMap{}
	err := j.client.Get(ctx, j.key, o)
	if apierrors.IsNotFound(err) {
		o = &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: j.key.Name, Namespace: j.key.Namespace}}
		err = j.client.Create(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("cannot read ConfigMap %s: %w", j.key, err)
	}
	j.object = o
	return nil
}

// accepted returns how many missing datasets a person has accepted; 0 when nobody
// has, or in words that are no number.
func (j *journal) accepted() int {
	n, err := strconv.Atoi(strings.TrimSpace(j.object.Annotations[AcceptFallAnnotation]))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func (j *journal) removed() []string { return strings.Fields(j.object.Data[keyRemoved]) }

// write brings the ConfigMap to hold the data, if it does not, and takes the
// acceptance away if it has served.
func (j *journal) write(ctx context.Context, data map[string]string, served bool) error {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		o := j.object.DeepCopy()
		o.Data = maps.Clone(o.Data)
		if o.Data == nil {
			o.Data = map[string]string{}
		}
		maps.Copy(o.Data, data)
		_, annotated := o.Annotations[AcceptFallAnnotation]
		if served {
			delete(o.Annotations, AcceptFallAnnotation)
		}
		if maps.Equal(o.Data, j.object.Data) && !(served && annotated) {
			return nil
		}
		err := j.client.Update(ctx, o)
		switch {
		case err == nil:
			j.object = o
		case apierrors.IsConflict(err):
			// A person has annotated it just now: their word is read at the next pass.
			served = false
			if readErr := j.read(ctx); readErr != nil {
				return readErr
			}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot write ConfigMap %s: %w", j.key, err)
	}
	return nil
}

// remember adds names to those that must leave the catalog.
func (j *journal) remember(ctx context.Context, names []string) error {
	return j.write(ctx, map[string]string{keyRemoved: list(append(j.removed(), names...))}, false)
}

// list is names in order, each once, as the ConfigMap holds them.
func list(names []string) string {
	names = slices.Sorted(slices.Values(names))
	return strings.Join(slices.Compact(names), " ")
}
