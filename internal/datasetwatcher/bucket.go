package datasetwatcher

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

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
	// First returns the first registry.SampleBytes bytes of the object's generation,
	// as they are stored.
	First(ctx context.Context, o registry.Object) ([]byte, error)
	// Unpacked returns how many bytes the object's generation unpacks to, which is
	// stored with Content-Encoding gzip. It reads all of it.
	Unpacked(ctx context.Context, o registry.Object) (int64, error)
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

func newGCS(ctx context.Context, bucket, prefix, billingProject string) (Bucket, error) {
	c, err := storage.NewClient(ctx, option.WithScopes(storage.ScopeReadOnly), option.WithUserAgent("whisperops-dataset-watcher"))
	if err != nil {
		return nil, fmt.Errorf("cannot use Google Cloud Storage: %w", err)
	}
	c.SetRetry(storage.WithMaxAttempts(storageAttempts))
	handle := c.Bucket(bucket)
	if billingProject != "" {
		handle = handle.UserProject(billingProject)
	}
	return &gcs{bucket: handle, prefix: prefix}, nil
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
	r, err := g.bucket.Object(o.Name).Generation(o.Generation).ReadCompressed(true).NewRangeReader(ctx, 0, registry.SampleBytes)
	if err != nil {
		return nil, err
	}
	first, err := io.ReadAll(io.LimitReader(r, registry.SampleBytes))
	return first, errors.Join(err, r.Close())
}

func (g *gcs) Unpacked(ctx context.Context, o registry.Object) (int64, error) {
	r, err := g.bucket.Object(o.Name).Generation(o.Generation).ReadCompressed(true).NewReader(ctx)
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

// advice says in a sentence what a refusal of Google's means, where it can be told.
func advice(err error) string {
	g := (*googleapi.Error)(nil)
	if !errors.As(err, &g) {
		return ""
	}
	var text strings.Builder
	text.WriteString(strings.ToLower(g.Message + " " + g.Body))
	for _, e := range g.Errors {
		text.WriteString(" " + strings.ToLower(e.Reason+" "+e.Message))
	}
	switch {
	case strings.Contains(text.String(), "vpcservicecontrols") || strings.Contains(text.String(), "prohibited by organization's policy"):
		return "VPC Service Controls refuse the request: the watcher runs outside of the bucket's perimeter; let it in by an access level or an ingress rule, or run it inside"
	case strings.Contains(text.String(), "cloud kms") || strings.Contains(text.String(), "cloudkms") || strings.Contains(text.String(), "kms key"):
		return "the key in Cloud KMS that encrypts the object can't be used: it is disabled or destroyed, or Google Cloud Storage's service agent lacks roles/cloudkms.cryptoKeyEncrypterDecrypter on it"
	case strings.Contains(text.String(), "requester pays") || strings.Contains(text.String(), "userprojectmissing"):
		return "who asks must pay for this bucket: name a project with --billing-project"
	case strings.Contains(text.String(), "customerencryptionkey") || strings.Contains(text.String(), "customer-supplied encryption key") || strings.Contains(text.String(), "encrypted by a customer"):
		return "the object is encrypted with a key that its uploader keeps: upload it without one, or with a key in Cloud KMS"
	}
	return ""
}

// problem puts the failure of a read into a phrase that stays the same while the
// cause does: it stands in a condition, and every change wakes agents.
func problem(err error) string {
	g := (*googleapi.Error)(nil)
	switch a := advice(err); {
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
