package xpkg

import (
	"bufio"
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Digests reads what build wrote: lines such as "sha256:...  function-a:v0.1.0". It
// returns the digests by name and version.
func Digests(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("cannot read digests (make xpkg writes them): %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	all := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		digest, what, is := strings.Cut(lines.Text(), "  ")
		if !is || !strings.HasPrefix(digest, "sha256:") {
			return nil, fmt.Errorf("cannot read digests: %s holds the line %q, want a digest and a name", file, lines.Text())
		}
		all[what] = digest
	}
	return all, lines.Err()
}

// reference is a line of a manifest that names a package or an image by a tag. Kustomize's
// lists are none: they name by newTag.
var reference = regexp.MustCompile(`(?m)^(\s*(?:- )?(package|image|sandbox|chatFrontend): "?)([a-z0-9.-]+(?::[0-9]+)?/[a-z0-9./_-]+):(v[0-9][A-Za-z0-9.+-]*)("?)\s*$`)

// A Resolver says which digest a reference has now.
type Resolver func(ref string) (digest string, err error)

// Remote asks the references' registries.
func Remote(ctx context.Context) Resolver {
	return func(ref string) (string, error) {
		r, err := name.ParseReference(ref)
		if err != nil {
			return "", err
		}
		d, err := remote.Head(r, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
		if err != nil {
			return "", err
		}
		return d.Digest.String(), nil
	}
}

// Pin writes digests behind the tags of a manifest: those of what was built here, and what
// a resolver, which may be nil, says of others. It returns what has none. The package
// manager wants a package by tag or by digest, so a package's tag goes to a comment.
func Pin(manifest string, built map[string]string, others Resolver) (pinned string, without []string, err error) {
	pinned = reference.ReplaceAllStringFunc(manifest, func(line string) string {
		m := reference.FindStringSubmatch(line)
		before, key, repository, tag, after := m[1], m[2], m[3], m[4], m[5]
		digest, is := built[repository[strings.LastIndex(repository, "/")+1:]+":"+tag]
		if !is && others != nil {
			d, rerr := others(repository + ":" + tag)
			if rerr != nil && err == nil {
				err = fmt.Errorf("cannot ask for the digest of %s:%s: %w", repository, tag, rerr)
			}
			digest, is = d, rerr == nil
		}
		switch {
		case !is:
			without = append(without, repository+":"+tag)
			return line
		case key == "package":
			return before + repository + "@" + digest + after + " # " + tag
		}
		return before + repository + ":" + tag + "@" + digest + after
	})
	return pinned, without, err
}

// PinAll writes the manifests of a folder into another, pinned, and returns what is not.
func PinAll(from, to string, built map[string]string, others Resolver) (without []string, err error) {
	missing := map[string]bool{}
	err = filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if filepath.Ext(path) == ".yaml" {
			text, w, err := Pin(string(b), built, others)
			if err != nil {
				return fmt.Errorf("cannot pin %s: %w", path, err)
			}
			b = []byte(text)
			for _, ref := range w {
				missing[ref] = true
			}
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		at := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		return os.WriteFile(at, b, 0o644)
	})
	return slices.Sorted(maps.Keys(missing)), err
}
