package xpkg

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// A Licence is a text that has to travel with what it is for.
type Licence struct {
	Of   string // the module, with its version
	File string
	Text []byte
}

// licenceFile is what modules call theirs.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([.-].*)?$`)

// Own is the licence of this repository.
func Own(root string) (Licence, error) {
	b, err := os.ReadFile(filepath.Join(root, "LICENSE"))
	return Licence{Of: "whisperops.io/functions", File: "LICENSE", Text: b}, err
}

// Licences reads the texts of all modules that a program was built from, out of the go
// command's cache of modules, and that of Go itself. A module without one is an error:
// nobody may hand it on.
func Licences(program []byte, modcache, goroot string) ([]Licence, error) {
	bi, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("cannot read what the program was built from: %w", err)
	}
	all, err := licencesIn(goroot, "go@"+strings.TrimPrefix(bi.GoVersion, "go"))
	if err != nil {
		return nil, err
	}
	for _, m := range bi.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		texts, err := licencesIn(filepath.Join(modcache, escaped(m.Path)+"@"+escaped(m.Version)), m.Path+"@"+m.Version)
		if err != nil {
			return nil, err
		}
		all = append(all, texts...)
	}
	return all, nil
}

func licencesIn(dir, of string) ([]Licence, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the licence of %s: %w", of, err)
	}
	var all []Licence
	for _, e := range entries {
		if e.IsDir() || !licenceFile.MatchString(e.Name()) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		all = append(all, Licence{of, e.Name(), b})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s has no licence in %s: nobody may hand it on", of, dir)
	}
	return all, nil
}

// escaped is a module's path or version as the cache writes it: for file systems that don't
// tell A from a.
func escaped(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsUpper(r) {
			b.WriteByte('!')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// WithLicences adds texts to an image, below /licenses.
func WithLicences(img v1.Image, texts ...Licence) (v1.Image, error) {
	if len(texts) == 0 {
		return nil, errors.New("there is no licence")
	}
	var files []file
	for _, l := range texts {
		files = append(files, file{name: "licenses/" + l.Of + "/" + l.File, mode: 0o444, data: l.Text})
	}
	texted, err := layer(files)
	if err != nil {
		return nil, err
	}
	img, err = mutate.AppendLayers(img, texted)
	if err != nil {
		return nil, err
	}
	cf, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cf = cf.DeepCopy()
	cf.History = nil
	return mutate.ConfigFile(img, cf)
}
