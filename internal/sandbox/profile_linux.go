package sandbox

import (
	"context"
	"io"
	"os"
	"sync"

	"whisperops.io/functions/internal/csvfile"
)

// A profile is what is known about a file: at first from its beginning, later from
// all of it.
type profile struct {
	mu    sync.Mutex
	known *csvfile.Profile // nil where the file is no table
	err   error            // why it is none
	whole chan struct{}    // closed when all of it was read
}

// profileFile looks at the beginning of a file, and at the rest in the background
// until ctx ends.
func profileFile(ctx context.Context, path string) *profile {
	p := &profile{whole: make(chan struct{})}
	p.known, p.err = inspect(ctx, path, false)
	go func() {
		defer close(p.whole)
		known, err := inspect(ctx, path, true)
		if ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.known, p.err = known, err
	}()
	return p
}

func inspect(ctx context.Context, path string, whole bool) (*csvfile.Profile, error) {
	f, err := os.Open(path) //nolint:gosec // our own file
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if !whole {
		info, err := f.Stat()
		if err != nil {
			return nil, err
		}
		return csvfile.Inspect(io.LimitReader(f, csvfile.SampleBytes), info.Size() <= csvfile.SampleBytes)
	}
	return csvfile.Inspect(&interruptible{ctx, f}, true)
}

// interruptible ends with its context.
type interruptible struct {
	ctx context.Context //nolint:containedctx // a reader has no other way to end
	r   io.Reader
}

func (i *interruptible) Read(b []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(b)
}

// now returns what is known at this moment.
func (p *profile) now() (*csvfile.Profile, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known, p.err
}

// wait returns what is known of the whole file, or at the end of ctx what is known
// by then.
func (p *profile) wait(ctx context.Context) (*csvfile.Profile, error) {
	select {
	case <-p.whole:
	case <-ctx.Done():
	}
	return p.now()
}
