// Command validate checks what the suite renders as the API server of a cluster
// would that has the real CRDs: every composed resource, every manifest that an
// Object wraps, and the query that says when such a manifest is ready.
//
//	validate -root <checkout> -schemas <folder with CRDs>
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

const howToGetSchemas = `no folder of CRDs is given: make validate SCHEMAS=<folder>

The folder is searched for *.yaml files with CustomResourceDefinitions. They come out of the published
packages and releases of what the suite renders (versions are those it was checked with):

  crossplane xpkg extract xpkg.upbound.io/upbound/provider-gcp-storage:v3.0.0 -o storage.gz
  crossplane xpkg extract xpkg.upbound.io/upbound/provider-gcp-cloudplatform:v3.0.0 -o cloudplatform.gz
  crossplane xpkg extract xpkg.crossplane.io/crossplane-contrib/provider-kubernetes:v1.3.1 -o kubernetes.gz
      then for each: gunzip -c storage.gz > <folder>/storage.yaml
  kagent v0.9.12:   github.com/kagent-dev/kagent, go/api/config/crd/bases/*.yaml
  Kyverno v1.19.1:  github.com/kyverno/kyverno, config/crds/policies.kyverno.io/*.yaml
  Argo CD v3.6.1:   github.com/argoproj/argo-cd, manifests/crds/application-crd.yaml

No CRD of another project is part of this repository.`

func main() {
	root := flag.String("root", "../..", "the checkout")
	schemas := flag.String("schemas", "", "folder with the CRDs of the kinds we render")
	flag.Parse()

	if *schemas == "" {
		fmt.Fprintln(os.Stderr, "validate:", howToGetSchemas)
		os.Exit(2)
	}
	if err := run(*root, *schemas); err != nil {
		fmt.Fprintln(os.Stderr, "validate:", err)
		os.Exit(1)
	}
}

func run(root, schemas string) error {
	kinds, err := loadOurs(filepath.Join(root, "package"))
	if err != nil {
		return err
	}
	n, err := kinds.load(schemas)
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("no CustomResourceDefinition in %q", schemas)
	}
	provider, err := loadProviderRole(root, providerRoleFile, providerRoleName)
	if err != nil {
		return err
	}
	c := &checker{kinds: kinds, provider: provider, report: newReport()}
	if err := c.checkAll(root); err != nil {
		return err
	}
	return c.report.write(os.Stdout)
}
