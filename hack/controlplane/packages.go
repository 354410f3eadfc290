package controlplane

import (
	"archive/tar"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"whisperops.io/functions/hack/xpkg"
)

// Push puts a package into the local registry. The reference may be the
// published one, xpkg.crossplane.io/whisperops/function-budget-decide:v0.1.0.
func (s *Stack) Push(ctx context.Context, p *xpkg.Package, ref string) error {
	return p.Push(ctx, s.local(ref))
}

// PushDir packs a folder with a crossplane.yaml and manifests, and the program
// at the given path if it is not empty, and pushes it.
func (s *Stack) PushDir(ctx context.Context, ref, program, dir string, further ...string) error {
	meta, stream, err := xpkg.Stream(dir, further...)
	if err != nil {
		return err
	}
	img, err := xpkg.Plain(meta, stream)
	if program != "" {
		var bin []byte
		if bin, err = os.ReadFile(program); err != nil {
			return err
		}
		img, err = xpkg.Function(meta, stream, bin, "amd64")
	}
	if err != nil {
		return err
	}
	p, err := xpkg.Join(img)
	if err != nil {
		return err
	}
	return s.Push(ctx, p, ref)
}

func secret(name string, data map[string][]byte) *unstructured.Unstructured {
	values := map[string]any{}
	for k, v := range data {
		values[k] = base64.StdEncoding.EncodeToString(v)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
		"metadata": map[string]any{"name": name, "namespace": Namespace}, "data": values,
	}}
}

// extract writes one file of a tar stream to a path, executable.
func extract(r io.Reader, file, to string) error {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("it holds no file %s", file)
		}
		if err != nil {
			return err
		}
		if path.Clean(h.Name) != file {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return err
		}
		f, err := os.OpenFile(to+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o700)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, t)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		return os.Rename(to+".tmp", to)
	}
}
