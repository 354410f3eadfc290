// Command validate checks what the suite renders as the API server of a cluster
// would that has the real CRDs: every composed resource, every manifest that an
// Object wraps, and the query that says when such a manifest is ready.
//
//	validate -root <checkout> -schemas <folders with CRDs> [-all]
//
// It reads the expected responses of all golden stories, the orders of
// examples/, what `make render` wrote to _output/render if it has run, the
// manifests in package/install, and the lab in examples/garage. Unknown fields are refused, because one of them
// makes Crossplane's server-side apply fail and stops the whole order. Nothing
// is sent anywhere.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

const howToGetSchemas = `The CRDs of these kinds travel in no Go module. To check them too, get their CRDs into a folder, and
make validate SCHEMAS=<folder>. The folder is searched for *.yaml files with CustomResourceDefinitions:

  crossplane xpkg extract xpkg.upbound.io/upbound/provider-gcp-storage:v3.0.0 -o storage.gz
  crossplane xpkg extract xpkg.upbound.io/upbound/provider-gcp-cloudplatform:v3.0.0 -o cloudplatform.gz
      then for each: gunzip -c storage.gz > <folder>/storage.yaml
  kagent v0.9.12 or v0.10.0-rc3: github.com/kagent-dev/kagent, go/api/config/crd/bases/*.yaml

No CRD of another project is part of this repository.`

func main() {
	root := flag.String("root", "../..", "the checkout")
	schemas := flag.String("schemas", "", "folders with the CRDs of the kinds we render, separated by colons; where two hold a kind, the first counts")
	all := flag.Bool("all", false, "fail when a kind can't be checked because its CRD is in none of the folders")
	flag.Parse()

	if err := run(*root, filepath.SplitList(*schemas), *all); err != nil {
		fmt.Fprintln(os.Stderr, "validate:", err)
		os.Exit(1)
	}
}

func run(root string, schemas []string, all bool) error {
	kinds, err := loadOurs(filepath.Join(root, "package"))
	if err != nil {
		return err
	}
	for _, dir := range schemas {
		n, err := kinds.load(dir)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("no CustomResourceDefinition in %q", dir)
		}
	}
	provider, err := loadProviderRole(root, providerRoleFile, providerRoleName)
	if err != nil {
		return err
	}
	c := &checker{kinds: kinds, provider: provider, report: newReport(), all: all}
	if err := c.loadForeign(root); err != nil {
		return err
	}
	if err := c.checkAll(root); err != nil {
		return err
	}
	return c.report.write(os.Stdout)
}
