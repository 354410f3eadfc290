package datasetwatcher

import (
	"compress/gzip"
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
	"whisperops.io/functions/internal/gcsaccess"
)

// A Bucket is where the datasets are.
type Bucket interface {
	// List returns every object, or an error: never a part of them.
	List(ctx context.Context) ([]registry.Object, error)
	// First returns the first n bytes of the object's generation, as they are stored.
	First(ctx context.Context, o registry.Object, n int64) ([]byte, error)
	// Unpacked returns how many bytes the object's generation unpacks to, which is
	// stored with Content-Encoding gzip. It reads all of it.
	Unpacked(ctx context.Context, o registry.Object) (int64, error)
}

// gcs is a bucket in Google Cloud Storage, or in the emulator that
// STORAGE_EMULATOR_HOST names.
type gcs struct {
	bucket *storage.BucketHandle
	access gcsaccess.Access
	prefix string
}

const (
	// listPage is the largest page that Google Cloud Storage returns.
	listPage = 1000
	// storageAttempts is how often one request is tried; the next pass tries again.
	storageAttempts = 4
)

func newGCS(ctx context.Context, bucket, prefix string, access gcsaccess.Access) (Bucket, error) {
	c, err := storage.NewClient(ctx, option.WithScopes(storage.ScopeReadOnly), option.WithUserAgent("whisperops-dataset-watcher"))
	if err != nil {
		return nil, fmt.Errorf("cannot use Google Cloud Storage: %w", err)
	}
	c.SetRetry(storage.WithMaxAttempts(storageAttempts))
	return &gcs{bucket: access.Bucket(c, bucket), access: access, prefix: prefix}, nil
}

func (g *gcs) List(ctx context.Context) ([]registry.Object, error) {
	q := &storage.Query{Prefix: g.prefix, Projection: storage.ProjectionNoACL}
	if err := q.SetAttrSelection([]string{"Name", "Size", "Generation", "CRC32C", "ContentEncoding", "Metadata", "CustomerKeySHA256"}); err != nil {
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
			Name: a.Name, Size: a.Size, Generation: a.Generation, CRC32C: a.CRC32C, Encoding: a.ContentEncoding, Metadata: a.Metadata, Encrypted: a.CustomerKeySHA256 != "",
		})
	}
}

func (g *gcs) object(o registry.Object) *storage.ObjectHandle {
	return g.access.Object(g.bucket.Object(o.Name), o.Encrypted)
}

func (g *gcs) First(ctx context.Context, o registry.Object, n int64) ([]byte, error) {
	r, err := g.object(o).Generation(o.Generation).ReadCompressed(true).NewRangeReader(ctx, 0, n)
	if err != nil {
		return nil, err
	}
	first, err := io.ReadAll(io.LimitReader(r, n))
	return first, errors.Join(err, r.Close())
}

func (g *gcs) Unpacked(ctx context.Context, o registry.Object) (int64, error) {
	r, err := g.object(o).Generation(o.Generation).ReadCompressed(true).NewReader(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }() // what could be read was read
	z, err := gzip.NewReader(r)
	if err != nil {
		return 0, fmt.Errorf("cannot unpack: %w", err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(z, maxUnpacked))
	if err != nil {
		return 0, fmt.Errorf("cannot unpack: %w", err)
	}
	return n, nil
}

// maxUnpacked is the most that is counted: no sandbox takes more, and an archive may
// unpack to a thousand times its size.
const maxUnpacked = 1 << 40

// problem puts the failure of a read into a phrase that stays the same while the
// cause does: it stands in a condition, and every change wakes agents.
func problem(err error) string {
	g := (*googleapi.Error)(nil)
	switch a := gcsaccess.Advice(err); {
	case a != "":
		return a
	case errors.Is(err, storage.ErrObjectNotExist):
		return "it was replaced or deleted meanwhile"
	case errors.As(err, &g) && (g.Code == http.StatusForbidden || g.Code == http.StatusUnauthorized):
		return "permission denied; the dataset watcher needs roles/storage.objectViewer on the bucket"
	default:
		return "the storage service did not answer as it should"
	}
}
