# The tests read files outside their module, which Go does not cache by: -count=1.
# SCHEMAS adds the kinds whose CRDs no Go module carries (kagent's and the Google
# provider's). Without it they are named at the end as not checked; ALL_SCHEMAS=1 insists.
CRD_FOLDERS = $(if $(SCHEMAS),$(abspath $(SCHEMAS)):)$(PROVIDER_KUBERNETES_FILES)/package:$(CROSSPLANE_FILES)/crds:$(CRDS)

.PHONY: validate
validate: $(PROVIDER_KUBERNETES_FILES) $(CROSSPLANE_FILES) $(CRDS) ## check all that is rendered against real CRDs; SCHEMAS=<folder> adds those that no Go module carries
	@cd hack/validate && SCHEMAS='$(CRD_FOLDERS)' go test -count=1 ./... && \
	  go run . -root '$(CURDIR)' -schemas '$(CRD_FOLDERS)' $(if $(ALL_SCHEMAS),-all)

.PHONY: test-package
test-package: ## test XRDs, input schemas, Compositions and install manifests
	cd hack/validate && go test -count=1 ./...
	cd hack/xrdgen && go test ./...
