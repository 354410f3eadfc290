package sandbox

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A chart is a picture that code saved.
type chart struct {
	Name string // of the file, in the run's folder
	Type string // image/png or image/jpeg
	Data []byte
	Link string // where people see it, once it is uploaded
}

const (
	chartsLimit = 4
	// chartLimit is how large a picture may be. matplotlib's are 20 to 200 kB.
	chartLimit = 4 << 20
)

// collect reads the pictures of a run's folder: regular files only, never through
// a link, told by their first bytes and not by their names. It also returns the
// names of other files that were saved.
func collect(dir string) (charts []chart, others []string) {
	names := []string{}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // what can't be seen is no chart
		if err == nil && d.Type().IsRegular() && len(names) < fileCountLimit {
			names = append(names, path)
		}
		return nil
	})
	slices.Sort(names)
	for _, path := range names {
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "main.py" || strings.HasPrefix(name, "fontlist") || strings.HasPrefix(filepath.Base(name), ".") {
			continue
		}
		kind, data := picture(path)
		if kind == "" || len(charts) == chartsLimit {
			others = append(others, name)
			continue
		}
		charts = append(charts, chart{Name: name, Type: kind, Data: data})
	}
	return charts, others
}

// picture reads a file if it is a picture of a size that can be shown.
func picture(path string) (kind string, data []byte) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close() //nolint:errcheck // it was only read
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() > chartLimit {
		return "", nil
	}
	data, err = io.ReadAll(io.LimitReader(f, chartLimit+1))
	if err != nil || len(data) > chartLimit {
		return "", nil
	}
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png", data
	case bytes.HasPrefix(data, []byte("\xff\xd8\xff")):
		return "image/jpeg", data
	}
	return "", nil
}
