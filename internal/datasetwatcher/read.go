package datasetwatcher

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"

	"whisperops.io/functions/internal/csvfile"
	"whisperops.io/functions/internal/datasetwatcher/registry"
)

// read fetches the first bytes of objects and judges them.
func (w *watcher) read(ctx context.Context, objects []registry.Object) map[string]registry.Read {
	mu := sync.Mutex{}
	reads := map[string]registry.Read{}
	_, err := each(objects, func(o registry.Object) (string, error) {
		judge := w.readObject
		if o.Files != nil {
			judge = w.readFolder
		}
		r, err := judge(ctx, o)
		result := "ok"
		if err != nil {
			r, result = registry.Read{Problem: problem(err)}, "error"
		}
		w.metrics.reads.WithLabelValues(result).Inc()
		mu.Lock()
		defer mu.Unlock()
		reads[o.Name] = r
		return o.Name, err
	})
	if err != nil {
		w.log.Info("Some objects could not be read", "error", err.Error())
	}
	return reads
}

func (w *watcher) readObject(ctx context.Context, o registry.Object) (registry.Read, error) {
	first, unpacked, err := w.first(ctx, o, registry.SampleBytes)
	if err != nil {
		return registry.Read{}, err
	}
	return registry.Read{
		Verdict:  registry.Sniff(first[:min(len(first), registry.SniffBytes)], o.Size, o.Encoding),
		Shape:    registry.Measure(first, o.Size, o.Encoding, unpacked),
		Unpacked: unpacked,
	}, nil
}

// sampledFiles is of how many files of a folder as much is read as of a single CSV. Of
// more files less is read of each: their estimates are added up.
const sampledFiles = 16

// readFolder judges the files of a folder, each by its first bytes.
func (w *watcher) readFolder(ctx context.Context, o registry.Object) (registry.Read, error) {
	sample := max(registry.SampleBytes*sampledFiles/int64(max(len(o.Files), sampledFiles)), csvfile.MaxHeader)
	files := make([]registry.FileRead, len(o.Files))
	numbers := make([]int, len(o.Files))
	for i := range numbers {
		numbers[i] = i
	}
	_, err := each(numbers, func(i int) (string, error) {
		file := o.Files[i]
		if file.Size == 0 {
			files[i] = registry.JudgeFile(file, nil, nil)
			return file.Name, nil
		}
		first, unpacked, err := w.first(ctx, file, sample)
		if err == nil {
			files[i] = registry.JudgeFile(file, first, unpacked)
		}
		return file.Name, err
	})
	if err != nil {
		return registry.Read{}, err
	}
	return registry.Join(files), nil
}

// first returns the first n bytes of an object, and what it unpacks to.
func (w *watcher) first(ctx context.Context, o registry.Object, n int64) ([]byte, *int64, error) {
	first, err := w.bucket.First(ctx, o, n)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read the first bytes of %q: %w", o.Name, err)
	}
	unpacked, err := w.unpacked(ctx, o, first)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot tell the size of %q: %w", o.Name, err)
	}
	return first, unpacked, nil
}

// unpacked counts what readers get of an object that is stored with Content-Encoding
// gzip, once for each of its generations; it is nil for others. One that only says so
// is as large as it is stored.
func (w *watcher) unpacked(ctx context.Context, o registry.Object, first []byte) (*int64, error) {
	if !strings.EqualFold(o.Encoding, "gzip") {
		return nil, nil //nolint:nilnil // nothing is packed
	}
	if !bytes.HasPrefix(first, []byte("\x1f\x8b")) {
		return &o.Size, nil
	}
	if n, ok := w.sizes.of(o); ok {
		return &n, nil
	}
	n, err := w.bucket.Unpacked(ctx, o)
	if err != nil {
		return nil, err
	}
	w.sizes.know(o, n)
	return &n, nil
}

// sizes remembers what packed objects unpack to. The registry does so for an object, but
// of a folder it knows the sum alone: one new file must not make all be read again.
type sizes struct {
	mu    sync.Mutex
	known map[string]size // by object
}

type size struct{ generation, bytes int64 }

func (s *sizes) of(o registry.Object) (int64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.known[o.Name]
	return k.bytes, ok && k.generation == o.Generation
}

func (s *sizes) know(o registry.Object, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= sizesKnown {
		s.known = map[string]size{} // it only costs reading again
	}
	s.known[o.Name] = size{o.Generation, bytes}
}

// sizesKnown bounds what is remembered.
const sizesKnown = 100_000
