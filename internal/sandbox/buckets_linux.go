package sandbox

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"
)

// buckets reach Google Cloud Storage with the credential that is in its file now. A
// client reads it once, and Google refuses a key that was replaced, so a client that
// stays would outlive what it may: a new one is made when the file changes.
type buckets struct {
	life context.Context //nolint:containedctx // of the clients
	log  *slog.Logger
	file string // of the credential; empty: what the machine has

	mu     sync.Mutex
	client *storage.Client
	key    []byte // what the file held when the client was made
}

func newBuckets(life context.Context, log *slog.Logger, file string) (*buckets, error) {
	b := &buckets{life: life, log: log, file: file}
	var err error
	if file != "" {
		// Where it can't be read, the client says so, and what it looked for.
		b.key, _ = os.ReadFile(file) //nolint:gosec // the platform's
	}
	b.client, err = newClient(life)
	return b, err
}

func newClient(ctx context.Context) (*storage.Client, error) {
	c, err := storage.NewClient(ctx, option.WithScopes(storage.ScopeReadWrite), option.WithUserAgent("whisperops-sandbox"))
	if err != nil {
		return nil, fmt.Errorf("cannot use Google Cloud Storage: %w", err)
	}
	c.SetRetry(storage.WithMaxAttempts(4))
	return c, nil
}

// now returns a client with the present credential. While the file is away, or holds
// what no client takes, the last good one goes on.
func (b *buckets) now() *storage.Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file == "" {
		return b.client
	}
	key, err := os.ReadFile(b.file)
	if err != nil || len(key) == 0 || bytes.Equal(key, b.key) {
		return b.client
	}
	c, err := newClient(b.life)
	if err != nil {
		b.log.Warn("The credential's file has changed and can't be used; the last one is used", "file", b.file, "error", err)
		return b.client
	}
	b.log.Info("The credential's file has changed; the new one is used", "file", b.file)
	// The old client's requests may go on; it is not closed under them.
	b.client, b.key = c, key
	return c
}
