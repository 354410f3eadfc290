# The tests read files outside their module, which Go does not cache by: -count=1.
.PHONY: validate
validate: ## check all that is rendered against real CRDs: make validate SCHEMAS=<folder of CRDs>
	@cd test/validate && $(if $(SCHEMAS),SCHEMAS='$(abspath $(SCHEMAS))' go test -count=1 ./... &&) \
	  go run . -root '$(CURDIR)' -schemas '$(if $(SCHEMAS),$(abspath $(SCHEMAS)))'

.PHONY: test-package
test-package: ## test XRDs, input schemas, Compositions and install manifests
	cd test/validate && go test -count=1 ./...
	cd hack/xrdgen && go test ./...
