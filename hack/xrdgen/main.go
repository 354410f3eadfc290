// Command xrdgen turns the CRDs that controller-gen makes from the Go types in
// apis/ into what the packages carry: an XRD for each composite kind, the CRD of
// XDataset, and the CRDs of the function inputs, each beside its function.
//
//	xrdgen -crds <folder of controller-gen's output> -package <package folder> [-check]
//
// With -check it writes nothing and fails when a file differs, is missing or is
// left over.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	crds := flag.String("crds", "", "folder that holds the CRDs made by controller-gen")
	pkg := flag.String("package", "package", "folder of the packages")
	check := flag.Bool("check", false, "compare with what is there and write nothing")
	flag.Parse()

	if err := run(*crds, *pkg, *check); err != nil {
		fmt.Fprintln(os.Stderr, "xrdgen:", err)
		os.Exit(1)
	}
}

func run(crds, pkg string, check bool) error {
	want, err := generate(crds)
	if err != nil {
		return err
	}
	stale, err := leftOver(pkg, want)
	if err != nil {
		return err
	}
	if check {
		return compare(pkg, want, stale)
	}
	for _, f := range stale {
		if err := os.Remove(filepath.Join(pkg, f)); err != nil {
			return fmt.Errorf("cannot remove a file that is no longer generated: %w", err)
		}
	}
	for f, content := range want {
		path := filepath.Join(pkg, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("cannot make the folder of %s: %w", path, err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("cannot write %s: %w", path, err)
		}
	}
	return nil
}

// generate returns the generated files by their path below the package folder.
func generate(crds string) (map[string][]byte, error) {
	paths, err := filepath.Glob(filepath.Join(crds, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("cannot list %q: %w", crds, err)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no CRD in %q: make generate runs controller-gen first", crds)
	}
	files := map[string][]byte{}
	for _, p := range paths {
		in, err := os.ReadFile(p)
		if err != nil {
			return nil, fmt.Errorf("cannot read a CRD: %w", err)
		}
		name, out, err := convert(in)
		if err != nil {
			return nil, fmt.Errorf("cannot convert %s: %w", filepath.Base(p), err)
		}
		files[name] = out
	}
	return files, nil
}

// leftOver returns the generated files below the package folder that are not
// wanted any more, such as the CRD of a kind that was renamed.
func leftOver(pkg string, want map[string][]byte) ([]string, error) {
	var stale []string
	for _, pattern := range []string{"xrds", "install/crds", "functions/*/input"} {
		paths, err := filepath.Glob(filepath.Join(pkg, pattern, "zz_generated.*.yaml"))
		if err != nil {
			return nil, fmt.Errorf("cannot list generated files: %w", err)
		}
		for _, p := range paths {
			f, err := filepath.Rel(pkg, p)
			if err != nil {
				return nil, fmt.Errorf("cannot list generated files: %w", err)
			}
			if _, ok := want[f]; !ok {
				stale = append(stale, f)
			}
		}
	}
	return stale, nil
}

// compare reports every file that make generate would change.
func compare(pkg string, want map[string][]byte, stale []string) error {
	var errs []error
	for _, f := range stale {
		errs = append(errs, fmt.Errorf("%s is left over: run make generate", filepath.Join(pkg, f)))
	}
	names := make([]string, 0, len(want))
	for f := range want {
		names = append(names, f)
	}
	slices.Sort(names)
	for _, f := range names {
		got, err := os.ReadFile(filepath.Join(pkg, f))
		if err != nil {
			errs = append(errs, fmt.Errorf("cannot compare: %w: run make generate", err))
			continue
		}
		if !bytes.Equal(got, want[f]) {
			errs = append(errs, fmt.Errorf("%s differs from the Go types: run make generate", filepath.Join(pkg, f)))
		}
	}
	return errors.Join(errs...)
}
