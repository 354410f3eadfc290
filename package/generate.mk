# From the Go types in apis/ to deep copies, XRDs, XDataset's CRD and the inputs'
# CRDs, and from all of it the generated pages of docs/ (test/docs). Money is shown to
# people as a number, hence allowDangerousTypes; nothing computes with it.
GENERATE_CRDS = $(CONTROLLER_GEN) crd:allowDangerousTypes=true paths=./apis/... output:crd:dir="$$tmp/crds"
XRDGEN        = go run -C hack/xrdgen . -crds "$$tmp/crds" -package $(CURDIR)/package
DEEPCOPIES   := apis/v1alpha1 apis/input/v1alpha1 apis/input/workloads/v1alpha1

.PHONY: generate
generate: $(CONTROLLER_GEN) ## write everything that is made from the Go types in apis/, and the pages that are made from code
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	  $(CONTROLLER_GEN) object paths=./apis/... && $(GENERATE_CRDS) && $(XRDGEN) && go test ./test/docs -run 'TestPages$$' -update

.PHONY: generate-check
generate-check: $(CONTROLLER_GEN) ## fail if make generate would change a file
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	  $(GENERATE_CRDS) && $(XRDGEN) -check || exit 1; \
	  for d in $(DEEPCOPIES); do \
	    $(CONTROLLER_GEN) object paths=./$$d output:object:dir="$$tmp/$$d" || exit 1; \
	    cmp "$$tmp/$$d/zz_generated.deepcopy.go" $$d/zz_generated.deepcopy.go || { echo "$$d differs from the Go types: run make generate" >&2; exit 1; }; \
	  done; echo "generated files are up to date"
