package datasetwatcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"whisperops.io/functions/internal/datasetwatcher/registry"
)

// A Bucket is where the datasets are.
type Bucket interface {
	// List returns every object, or an error: never a part of them.
	List(ctx context.Context) ([]registry.Object, error)
	// First returns the first registry.SniffBytes bytes of the object's generation,
	// as they are stored.
	First(ctx context.Context, o registry.Object) ([]byte, error)
}

// gcs is a bucket in Google Cloud Storage, or in the emulator that
// STORAGE_EMULATOR_HOST names.
type gcs struct {
	bucket *storage.BucketHandle
	prefix string
}

const (
	// listPage is the largest page that Google Cloud Storage returns.
	listPage = 1000
	// storageAttempts is how often one request is tried; the next pass tries again.
	storageAttempts = 4
)

func newGCS(ctx context.Context, bucket, prefix string) (Bucket, error) {
	c, err := storage.NewClient(ctx, option.WithScopes(storage.ScopeReadOnly), option.WithUserAgent("whisperops-dataset-watcher"))
	if err != nil {
		return nil, fmt.Errorf("cannot use Google Cloud Storage: %w", err)
	}
	c.SetRetry(storage.WithMaxAttempts(storageAttempts))
	return &gcs{bucket: c.Bucket(bucket), prefix: prefix}, nil
}

func (g *gcs) List(ctx context.Context) ([]registry.Object, error) {
	q := &storage.Query{Prefix: g.prefix, Projection: storage.ProjectionNoACL}
	if err := q.SetAttrSelection([]string{"Name", "Size", "Generation", "CRC32C", "ContentEncoding", "Metadata"}); err != nil {
		return nil, err
	}
	it := g.bucket.Objects(ctx, q)
	it.PageInfo().MaxSize = listPage
	objects := []registry.Object{}
	for {
		a, err := it.Next()
		switch {
		case errors.Is(err, iterator.Done):
			return objects, nil
		case err != nil:
			return nil, err
		}
		objects = append(objects, registry.Object{
			Name: a.Name, Size: a.Size, Generation: a.Generation, CRC32C: a.CRC32C, Encoding: a.ContentEncoding, Metadata: a.Metadata,
		})
	}
}

func (g *gcs) First(ctx context.Context, o registry.Object) ([]byte, error) {
	r, err := g.bucket.Object(o.Name).Generation(o.Generation).ReadCompressed(true).NewRangeReader(ctx, 0, registry.SniffBytes)
	if err != nil {
		return nil, err
	}
	first, err := io.ReadAll(io.LimitReader(r, registry.SniffBytes))
	return first, errors.Join(err, r.Close())
}

// problem puts the failure of a read into a phrase that stays the same while the
// cause does: it stands in a condition, and every change wakes agents.
func problem(err error) string {
	g := (*googleapi.Error)(nil)
	switch {
	case errors.Is(err, storage.ErrObjectNotExist):
		return "it was replaced or deleted meanwhile"
	case errors.As(err, &g) && (g.Code == http.StatusForbidden || g.Code == http.StatusUnauthorized):
		return "permission denied; the dataset watcher needs roles/storage.objectViewer on the bucket"
	default:
		return "the storage service did not answer as it should"
	}
}
