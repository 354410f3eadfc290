package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"cloud.google.com/go/storage"
	"google.golang.org/api/iterator"

	"whisperops.io/functions/internal/csvfile"
)

// list looks at a folder that is one dataset: its CSVs, in the order of their names, and
// what they come to together.
func (g *gcs) list(ctx context.Context) (object, error) {
	q := &storage.Query{Prefix: g.key, Delimiter: "/", Projection: storage.ProjectionNoACL}
	if err := q.SetAttrSelection([]string{"Name", "Size", "Generation", "CRC32C", "ContentEncoding", "Updated", "CustomerKeySHA256"}); err != nil {
		return object{}, err
	}
	folder, names, files := object{}, []string{}, []csvfile.File{}
	for it := g.handles().Objects(ctx, q); ; {
		a, err := it.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		if err != nil {
			return object{}, err
		}
		if a.Prefix != "" || a.Name == g.key {
			continue // a folder below, or what stands for this one
		}
		names = append(names, a.Name)
		if csvfile.IsCSV(a.Name) {
			folder.add(a)
			files = append(files, csvfile.File{Name: a.Name, Generation: a.Generation})
		}
	}
	if problem := csvfile.FolderProblem(names); problem != "" {
		return object{}, errors.New(problem)
	}
	if len(files) == 0 {
		return object{}, storage.ErrObjectNotExist
	}
	folder.Generation = csvfile.Generation(files)
	return folder, nil
}

func (o *object) add(a *storage.ObjectAttrs) {
	file := found(a)
	file.Name = a.Name
	o.Files = append(o.Files, file) // a listing is in the order of names
	o.Size += file.Size
	if file.Updated.After(o.Updated) {
		o.Updated = file.Updated
	}
}

// join writes the files of a folder behind each other, below the first one's header, and
// returns how many bytes that is.
func (d *dataset) join(ctx context.Context, w io.Writer, o object) (int64, error) {
	j := &joiner{w: w}
	for _, f := range o.Files {
		if f.Size == 0 {
			continue // an engine that writes in parallel leaves such
		}
		j.begin(f.Name)
		_, err := d.copy(ctx, j, f, d.room(j.written))
		if err == nil {
			err = j.end()
		}
		switch {
		case errors.Is(err, storage.ErrObjectNotExist):
			return 0, fmt.Errorf("its file %q was replaced or deleted meanwhile: ask again in a minute", f.Name)
		case err != nil && !errors.As(err, &columnsError{}):
			return 0, fmt.Errorf("its file %q: %w", f.Name, err)
		case err != nil:
			return 0, err
		}
	}
	return j.written, nil
}

// A joiner makes one CSV of many: it drops the first line of all but the first, and
// refuses what has other columns.
type joiner struct {
	w       io.Writer
	written int64

	first *csvfile.Header
	named string // the file whose header that is

	name string // of the file that is being written
	head []byte // what came of it so far, while its first line isn't known
	body bool   // its first line is known
	cut  bool   // its last byte is no line end
}

// columnsError says all by itself.
type columnsError struct{ error }

func (j *joiner) begin(name string) { j.name, j.head, j.body = name, nil, false }

// Write takes what comes of a file.
func (j *joiner) Write(b []byte) (int, error) {
	if j.body {
		return len(b), j.put(b)
	}
	j.head = append(j.head, b...)
	if len(j.head) <= csvfile.MaxHeader {
		return len(b), nil
	}
	return len(b), j.open(false)
}

// end is called when a file has come whole.
func (j *joiner) end() error {
	if j.body {
		return nil
	}
	return j.open(true)
}

func (j *joiner) open(whole bool) error {
	header, n, err := csvfile.ReadHeader(j.head[:min(len(j.head), csvfile.MaxHeader)], whole)
	switch {
	case errors.Is(err, csvfile.ErrEmpty):
		return nil // blanks
	case err != nil:
		return err
	case j.first == nil:
		j.first, j.named, n = &header, j.name, 0
	default:
		if differs := header.Differs(*j.first); differs != "" {
			return columnsError{errors.New(csvfile.ColumnsDiffer(j.name, j.named, differs))}
		}
	}
	rest := j.head[n:]
	j.body, j.head = true, nil
	if j.cut && len(rest) > 0 {
		rest = append([]byte("\n"), rest...)
	}
	return j.put(rest)
}

func (j *joiner) put(b []byte) error {
	n, err := j.w.Write(b)
	j.written += int64(n)
	if len(b) > 0 {
		j.cut = b[len(b)-1] != '\n'
	}
	return err
}

// files says in a sentence that a dataset is a folder, or is empty.
func (o *object) files() string {
	if len(o.Files) == 0 {
		return ""
	}
	return fmt.Sprintf("It is a folder of %d CSV files, which lie here as one, in the order of their names, below one header.\n", len(o.Files))
}

// isFolder says whether a path is that of a folder.
func isFolder(path string) bool { return strings.HasSuffix(path, "/") }
