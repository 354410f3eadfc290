package xpkg

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// A DebianPackage is one that a root file system holds.
type DebianPackage struct{ Name, Version, Arch string }

// Left out of a root file system: what differs from one machine or minute to the
// next, and what nobody needs who runs a program in it.
var leftOut = []string{
	"dev/", "proc/", "sys/", "run/", "tmp/", "boot/", "home/", "media/", "mnt/", "srv/", "var/cache/", "var/log/", "var/tmp/", "var/lib/apt/",
	"usr/include/", "usr/lib/gcc/", // scipy's package asks for a compiler, which no code here may run
	"etc/machine-id", "etc/hostname", "etc/resolv.conf", "etc/apt/sources.list", "etc/.pwd.lock",
}

// passwordChanged is the day on which a user of /etc/shadow was made, behind the name and
// the password, of which nobody here has one.
var passwordChanged = regexp.MustCompile(`(?m)^([^:\n]*:[^:\n]*:)[0-9]*:`)

// Rootfs reads the root file system that mmdebstrap wrote to a file, and returns it as
// a layer, with the packages that it holds. Dates are taken away, so that the same
// package index gives the same layer; Python's sources keep theirs, which are their
// package's, because what is compiled of them beside them counts only with that date.
func Rootfs(file string) (v1.Layer, []DebianPackage, error) {
	packages, err := normalise(file, io.Discard)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot use the root file system %s: %w", file, err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		r, w := io.Pipe()
		go func() {
			_, err := normalise(file, w)
			w.CloseWithError(err)
		}()
		return r, nil
	}, tarball.WithCompressionLevel(compression))
	return layer, packages, err
}

// normalise copies a root file system to w, without what is left out.
func normalise(file string, w io.Writer) ([]DebianPackage, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // a reader
	out := tar.NewWriter(w)
	var packages []DebianPackage
	for in := tar.NewReader(bufio.NewReaderSize(f, 1<<20)); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if name == "" || !kept(name, h) {
			continue
		}
		clean := &tar.Header{Typeflag: h.Typeflag, Name: name, Linkname: h.Linkname, Mode: h.Mode &^ 0o6000, Uid: h.Uid, Gid: h.Gid, Size: h.Size, ModTime: time.Unix(0, 0), Format: tar.FormatPAX}
		if strings.HasSuffix(name, ".py") {
			clean.ModTime = h.ModTime.Truncate(time.Second)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			clean.Name += "/"
		case tar.TypeLink:
			clean.Linkname = strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")
		}
		var content io.Reader = in
		if name == "var/lib/dpkg/status" || name == "etc/shadow" {
			b, err := io.ReadAll(in)
			if err != nil {
				return nil, err
			}
			if name == "etc/shadow" {
				b = passwordChanged.ReplaceAll(b, []byte("${1}:"))
			} else {
				packages = installed(b)
			}
			content, clean.Size = bytes.NewReader(b), int64(len(b))
		}
		if err := out.WriteHeader(clean); err != nil {
			return nil, err
		}
		if _, err := io.Copy(out, content); err != nil {
			return nil, err
		}
	}
	if len(packages) == 0 {
		return nil, errors.New("it holds no packages: was it made with mmdebstrap --variant=minbase --format=tar?")
	}
	return packages, out.Close()
}

// kept says whether an entry belongs into an image. Folders of what is left out stay,
// empty: programs expect them.
func kept(name string, h *tar.Header) bool {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeSymlink, tar.TypeLink:
	default:
		return false // devices and pipes are the container runtime's
	}
	return !slices.ContainsFunc(leftOut, func(p string) bool {
		return name == p || strings.HasSuffix(p, "/") && strings.HasPrefix(name, p)
	})
}

// installed reads dpkg's list.
func installed(status []byte) []DebianPackage {
	var out []DebianPackage
	for paragraph := range strings.SplitSeq(string(status), "\n\n") {
		fields := map[string]string{}
		for line := range strings.Lines(paragraph) {
			if k, v, is := strings.Cut(line, ":"); is && !strings.HasPrefix(line, " ") {
				fields[k] = strings.TrimSpace(v)
			}
		}
		if strings.HasSuffix(fields["Status"], " installed") {
			out = append(out, DebianPackage{fields["Package"], fields["Version"], fields["Architecture"]})
		}
	}
	slices.SortFunc(out, func(a, b DebianPackage) int { return strings.Compare(a.Name+a.Arch, b.Name+b.Arch) })
	return out
}

// OnRootfs makes the image of a program that needs a root file system below it, which is
// left to others if it is nil. The
// program is the only thing that runs, as nobody in particular; nothing in the image
// may be written.
func OnRootfs(meta Meta, rootfs v1.Layer, program []byte, arch string) (v1.Image, error) {
	img, err := build(meta, nil, arch, meta.Metadata.Name, nil)
	if err != nil {
		return nil, err
	}
	top, err := layer([]file{{name: meta.Metadata.Name, mode: 0o555, data: program}})
	if err != nil {
		return nil, err
	}
	layers := []v1.Layer{top}
	if rootfs != nil {
		layers = []v1.Layer{rootfs, top}
	}
	if img, err = mutate.AppendLayers(img, layers...); err != nil {
		return nil, err
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf = cf.DeepCopy()
	cf.History = nil
	cf.Config.Entrypoint = []string{"/" + meta.Metadata.Name}
	cf.Config.User = nonRoot + ":" + nonRoot
	cf.Config.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin"}
	return mutate.ConfigFile(img, cf)
}
