# Packages: the functions and the Configuration, as registries hold them, and the
# images of programs that are none.
XPKG_DIR    := $(OUTPUT)/xpkg
XPKG        := GOWORK=off go run -C hack/xpkg ./cmd/xpkg
XPKG_SRC    := $(CURDIR)
XPKG_IMAGES := -images dataset-watcher,chat-frontend,ledger,token-meter

# The version that the install manifests ask for; one place says it.
VERSION ?= $(shell sed -n 's|^ *package: .*/whisperops:\(v.*\)|\1|p' package/install/configuration.yaml)

.PHONY: xpkg push xpkg-check
xpkg: ## build all packages and the images of the other programs into _output/xpkg, with SBOMs and digests
	@$(XPKG) build -root $(XPKG_SRC) -out $(XPKG_DIR) -version $(VERSION) $(XPKG_IMAGES)

push: ## push the packages that make xpkg built: make push REGISTRY=registry.example.org/whisperops
	@test -n "$(REGISTRY)" || { echo "say where to: make push REGISTRY=registry.example.org/whisperops" >&2; exit 2; }
	@$(XPKG) push -from $(XPKG_DIR) -version $(VERSION) -registry $(REGISTRY)

xpkg-check: ## build the packages twice, in two folders, and fail if their digests differ; test the builder
	@cd hack/xpkg && GOWORK=off $(VET) ./... && GOWORK=off go test ./...
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; mkdir "$$tmp/copy"; \
	  git ls-files -z --cached --others --exclude-standard | xargs -0 tar c --ignore-failed-read | tar x -C "$$tmp/copy" && \
	  export SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) && \
	  $(XPKG) build -root $(XPKG_SRC) -out "$$tmp/1" -version $(VERSION) $(XPKG_IMAGES) >/dev/null && \
	  $(XPKG) build -root "$$tmp/copy" -out "$$tmp/2" -version $(VERSION) $(XPKG_IMAGES) >/dev/null && \
	  (cd "$$tmp/1" && sha256sum *) | (cd "$$tmp/2" && sha256sum --check --quiet) && echo "two builds in two folders are the same, byte for byte:" && cat "$$tmp/1/digests"
