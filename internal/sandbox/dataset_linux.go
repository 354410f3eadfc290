package sandbox

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/storage"
	"golang.org/x/sys/unix"
	"google.golang.org/api/googleapi"

	"whisperops.io/functions/internal/gcsaccess"
)

// An object is what the store says about the dataset, or about one file of a folder.
type object struct {
	Name       string // of a file of a folder; "" for a dataset
	Generation int64
	Size       int64 // bytes as they are stored
	CRC32C     uint32
	Encoding   string // Content-Encoding
	Updated    time.Time
	Encrypted  bool // with a key of its uploader's

	// Files of a folder that is one dataset; nil for a single CSV. Its Size is theirs
	// together, its Generation another one whenever one of theirs is.
	Files []object
}

// A store holds the dataset, and takes charts.
type store interface {
	Look(ctx context.Context) (object, error)
	// Open reads a generation as it is stored.
	Open(ctx context.Context, o object) (io.ReadCloser, error)
}

// gcs is Google Cloud Storage, or the emulator that STORAGE_EMULATOR_HOST names.
type gcs struct {
	buckets *buckets
	bucket  string
	key     string
	access  gcsaccess.Access
}

// handle of an object, with the key of its uploader's if it is encrypted with one.
func (g *gcs) handle(name string, encrypted bool) *storage.ObjectHandle {
	return g.access.Object(g.handles().Object(name), encrypted)
}

// handles are the bucket's, with the present credential.
func (g *gcs) handles() *storage.BucketHandle { return g.access.Bucket(g.buckets.now(), g.bucket) }

// parsePath takes gs://bucket/key apart.
func parsePath(path string) (bucket, key string, err error) {
	rest, ok := strings.CutPrefix(path, "gs://")
	bucket, key, found := strings.Cut(rest, "/")
	if !ok || !found || bucket == "" || key == "" {
		return "", "", fmt.Errorf("invalid path %q of the dataset: it must be gs://<bucket>/<object>", path)
	}
	return bucket, key, nil
}

func (g *gcs) Look(ctx context.Context) (object, error) {
	if isFolder(g.key) {
		return g.list(ctx)
	}
	a, err := g.handle(g.key, false).Attrs(ctx)
	if err == nil && a.CustomerKeySHA256 != "" && g.access.Key != nil {
		a, err = g.handle(g.key, true).Attrs(ctx) // who has no key hears no checksum
	}
	if err != nil {
		return object{}, err
	}
	return found(a), nil
}

func found(a *storage.ObjectAttrs) object {
	return object{Generation: a.Generation, Size: a.Size, CRC32C: a.CRC32C, Encoding: a.ContentEncoding, Updated: a.Updated.UTC(), Encrypted: a.CustomerKeySHA256 != ""}
}

func (g *gcs) Open(ctx context.Context, o object) (io.ReadCloser, error) {
	return g.handle(cmp.Or(o.Name, g.key), o.Encrypted).Generation(o.Generation).ReadCompressed(true).NewReader(ctx)
}

// A file is one generation of the dataset, as code reads it.
type file struct {
	object

	Path    string
	Bytes   int64 // unpacked
	Fetched time.Time
	Profile *profile

	users int // runs that read it
	old   bool
}

// A dataset keeps the newest generation of an object in a file.
type dataset struct {
	log   *slog.Logger
	store store
	dir   string
	path  string          // gs://...
	limit int64           // bytes that a file may have; more would not fit beside the runs
	life  context.Context //nolint:containedctx // of what goes on in the background

	fetching chan struct{} // holds one token: who has it may fetch
	mu       sync.Mutex
	current  *file // nil until one is fetched
	problem  error // of the last look
	looked   time.Time
}

func newDataset(life context.Context, log *slog.Logger, s store, dir, path string, limit int64) *dataset {
	d := &dataset{life: life, log: log, store: s, dir: dir, path: path, limit: limit, fetching: make(chan struct{}, 1)}
	d.fetching <- struct{}{}
	return d
}

const (
	// lookEvery is how long a generation is believed to be the newest.
	lookEvery = 5 * time.Second
	// lookTimeout is how long a run that has a file waits to hear of a newer one.
	lookTimeout = 5 * time.Second
)

// use returns the newest generation, fetching it where need be, and holds its file
// until release. Where the store doesn't answer, the file that is there does.
func (d *dataset) use(ctx context.Context) (f *file, release func(), err error) {
	if err := d.refresh(ctx); err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.current == nil {
			return nil, nil, err
		}
		d.log.Warn("Cannot look for a newer dataset; the last one is used", "error", err)
		return d.hold()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.hold()
}

// hold is called with the lock held.
func (d *dataset) hold() (*file, func(), error) {
	f := d.current
	f.users++
	return f, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		f.users--
		d.drop(f)
	}, nil
}

// drop removes a file that is old and read by nobody; it is called with the lock held.
func (d *dataset) drop(f *file) {
	if f.old && f.users == 0 {
		if err := os.Remove(f.Path); err != nil {
			d.log.Error("Cannot remove an old dataset", "error", err)
		}
	}
}

// refresh looks whether there is a newer generation and fetches it.
func (d *dataset) refresh(ctx context.Context) error {
	d.mu.Lock()
	fresh := d.current != nil && time.Since(d.looked) < lookEvery
	has := d.current != nil
	d.mu.Unlock()
	if fresh {
		return nil
	}
	select {
	case <-d.fetching:
		defer func() { d.fetching <- struct{}{} }()
	case <-ctx.Done():
		if has {
			return context.Cause(ctx)
		}
		return fmt.Errorf("the dataset is still being fetched: ask again in a minute (%w)", context.Cause(ctx))
	}
	d.mu.Lock()
	fresh = d.current != nil && time.Since(d.looked) < lookEvery
	d.mu.Unlock()
	if fresh {
		return nil
	}
	err := d.fetch(ctx, has)
	d.mu.Lock()
	d.problem = err
	if err == nil {
		d.looked = time.Now()
	}
	d.mu.Unlock()
	return err
}

// fetch gets the newest generation. It is called by one at a time.
func (d *dataset) fetch(ctx context.Context, has bool) error {
	look, cancel := ctx, context.CancelFunc(func() {})
	if has {
		look, cancel = context.WithTimeout(ctx, lookTimeout)
	}
	o, err := d.store.Look(look)
	cancel()
	if err != nil {
		return d.explain("cannot look at", err)
	}
	d.mu.Lock()
	same := d.current != nil && d.current.Generation == o.Generation
	d.mu.Unlock()
	if same {
		return nil
	}
	began := time.Now()
	f, err := d.download(ctx, o)
	if err != nil {
		return d.explain("cannot fetch", err)
	}
	d.log.Info("Fetched the dataset", "path", d.path, "generation", o.Generation, "stored-bytes", o.Size, "bytes", f.Bytes, "seconds", time.Since(began).Seconds())
	d.mu.Lock()
	defer d.mu.Unlock()
	if old := d.current; old != nil {
		old.old = true
		d.drop(old)
	}
	d.current = f
	return nil
}

// download writes a generation to a file of its own and checks it.
func (d *dataset) download(ctx context.Context, o object) (_ *file, err error) {
	if o.Size == 0 {
		return nil, errEmpty
	}
	if err := d.fits(o.Size); err != nil {
		return nil, err
	}
	path := filepath.Join(d.dir, "dataset-"+strconv.FormatInt(o.Generation, 10)+".csv")
	w, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) //nolint:gosec // our own folder
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := w.Close(); err == nil && e != nil {
			err = e
		}
		if err != nil {
			_ = os.Remove(path) // it is no use
		}
	}()
	var n int64
	if o.Files == nil {
		n, err = d.copy(ctx, w, o, d.room(0))
	} else {
		n, err = d.join(ctx, w, o)
	}
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, errEmpty
	}
	if err := w.Chmod(0o444); err != nil { // also for the user that code runs as
		return nil, err
	}
	return &file{object: o, Path: path, Bytes: n, Fetched: time.Now(), Profile: profileFile(d.life, path)}, nil //nolint:contextcheck // it is read on when this call has ended
}

// copy writes one object, unpacked, of at most limit bytes, and checks that it came as it
// is stored.
func (d *dataset) copy(ctx context.Context, w io.Writer, o object, limit int64) (int64, error) {
	r, err := d.store.Open(ctx, o)
	if err != nil {
		return 0, err
	}
	defer r.Close() //nolint:errcheck // it was only read
	sum := &counted{hash: crc32.New(crc32.MakeTable(crc32.Castagnoli))}
	n, err := d.unpack(w, io.TeeReader(r, sum), limit)
	if err != nil {
		return n, err
	}
	// A listing tells no checksum of what is encrypted with a key of its uploader's; of that
	// the client has compared it.
	told := o.Name == "" || !o.Encrypted
	if sum.n != o.Size || told && sum.hash.Sum32() != o.CRC32C {
		return n, fmt.Errorf("it arrived damaged: %d bytes with CRC32C %08x, and the store says %d bytes with %08x", sum.n, sum.hash.Sum32(), o.Size, o.CRC32C)
	}
	return n, nil
}

// unpack copies, and undoes gzip, which is told by its first bytes: uploads name it
// in Content-Encoding, or don't.
func (d *dataset) unpack(w io.Writer, r io.Reader, limit int64) (int64, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	magic, err := in.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		return io.Copy(w, in)
	}
	plain, err := gzip.NewReader(in)
	if err != nil {
		return 0, fmt.Errorf("it can't be unpacked: %w: upload it again", err)
	}
	n, err := io.Copy(w, io.LimitReader(plain, limit+1))
	switch {
	case err != nil:
		return n, fmt.Errorf("it can't be unpacked: %w: upload it again", err)
	case n > limit:
		return n, d.tooLarge(n)
	}
	_, err = io.Copy(io.Discard, in) // what follows the archive counts for the checksum
	return n, err
}

// room is how many more bytes a file may have, of which some are written.
func (d *dataset) room(written int64) int64 {
	var s unix.Statfs_t
	if err := unix.Statfs(d.dir, &s); err != nil {
		return d.limit - written
	}
	return min(d.limit-written, int64(s.Bavail)*s.Bsize) //nolint:gosec // no disk has 2^63 bytes
}

func (d *dataset) fits(size int64) error {
	if size > d.room(0) {
		return d.tooLarge(size)
	}
	return nil
}

func (d *dataset) tooLarge(size int64) error {
	return fmt.Errorf("it has %s or more, and the sandbox has room for %s: order a smaller dataset, or let the platform raise maxSandboxGi, the input of step compute-tuning", mi(size), mi(d.room(0)))
}

var errEmpty = errors.New("it is empty: upload it with its content")

// explain says what is wrong in words that a model can pass on.
func (d *dataset) explain(doing string, err error) error {
	g := (*googleapi.Error)(nil)
	switch advice := gcsaccess.Advice(err); {
	case advice != "":
		return fmt.Errorf("%s the dataset %s: %s", doing, d.path, advice)
	case errors.Is(err, storage.ErrObjectNotExist), errors.Is(err, storage.ErrBucketNotExist):
		what := "there is no such object"
		if isFolder(d.path) {
			what = "there is no CSV in that folder"
		}
		return fmt.Errorf("%s the dataset %s: %s: it was deleted or renamed; ask whoever looks after the datasets", doing, d.path, what)
	case errors.As(err, &g) && (g.Code == http.StatusForbidden || g.Code == http.StatusUnauthorized):
		return fmt.Errorf("%s the dataset %s: access is refused (%d); right after an agent was made that is so for a minute or two: ask again then, and if it stays so, the agent's grants are missing", doing, d.path, g.Code)
	default:
		return fmt.Errorf("%s the dataset %s: %w", doing, d.path, err)
	}
}

// keep fetches the dataset at once and tries again until it is there.
func (d *dataset) keep(ctx context.Context) {
	for wait := time.Second; ctx.Err() == nil; wait = min(2*wait, 30*time.Second) {
		err := d.refresh(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		d.log.Error("Cannot fetch the dataset", "error", err, "again-in", wait.String())
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// state is what is there, without waiting.
func (d *dataset) state() (*file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.current, d.problem
}

// counted sums and counts what is written to it.
type counted struct {
	hash hash.Hash32
	n    int64
}

func (c *counted) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return c.hash.Write(b)
}

// mi writes bytes as a person reads them.
func mi(bytes int64) string {
	switch {
	case bytes < 10*1024:
		return fmt.Sprintf("%d bytes", bytes)
	case bytes < mebibyte:
		return fmt.Sprintf("%d KiB", (bytes+512)/1024)
	case bytes < 10*mebibyte:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/mebibyte)
	default:
		return fmt.Sprintf("%d MiB", (bytes+mebibyte/2)/mebibyte)
	}
}
