package sandbox

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"github.com/google/uuid"
)

// A gallery keeps charts where people see them: in the agent's bucket.
type gallery struct {
	log     *slog.Logger
	bucket  string
	buckets *buckets // nil without a bucket
	expiry  time.Duration
	metrics func() *metrics
}

// uploadTimeout bounds the upload of one chart.
const uploadTimeout = 20 * time.Second

// publish uploads charts and gives them links. A chart that can't be uploaded stays
// without one.
func (g *gallery) publish(ctx context.Context, charts []chart) {
	for i := range charts {
		c := &charts[i]
		if g.buckets == nil {
			g.metrics().charts.WithLabelValues("shown").Inc()
			continue
		}
		link, err := g.upload(ctx, c)
		if err != nil {
			g.log.Error("Cannot upload a chart", "bucket", g.bucket, "error", err)
			g.metrics().charts.WithLabelValues("failed").Inc()
			continue
		}
		c.Link = link
		g.metrics().charts.WithLabelValues("linked").Inc()
	}
}

func (g *gallery) upload(ctx context.Context, c *chart) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	ext := ".png"
	if c.Type == "image/jpeg" {
		ext = ".jpg"
	}
	// A name that nobody can guess: who knows the link may see the chart.
	name := "charts/" + uuid.NewString() + ext
	w := g.buckets.now().Bucket(g.bucket).Object(name).If(storage.Conditions{DoesNotExist: true}).NewWriter(ctx)
	w.ContentType, w.CacheControl = c.Type, "private, max-age=86400"
	if _, err := w.Write(c.Data); err != nil {
		_ = w.Close() // the write's error is the one to tell
		return "", err
	}
	if err := w.Close(); err != nil {
		return "", err
	}
	return g.link(name)
}

// link is where a browser gets an object: signed by the key that the sandbox holds,
// or, from an emulator, as it is.
func (g *gallery) link(name string) (string, error) {
	if e := os.Getenv("STORAGE_EMULATOR_HOST"); e != "" {
		if !strings.Contains(e, "://") {
			e = "http://" + e
		}
		return strings.TrimSuffix(e, "/") + "/" + g.bucket + "/" + (&url.URL{Path: name}).EscapedPath(), nil
	}
	link, err := g.buckets.now().Bucket(g.bucket).SignedURL(name, &storage.SignedURLOptions{Scheme: storage.SigningSchemeV4, Method: http.MethodGet, Expires: time.Now().Add(g.expiry)})
	if err != nil {
		return "", fmt.Errorf("cannot sign a link: %w", err)
	}
	return link, nil
}
