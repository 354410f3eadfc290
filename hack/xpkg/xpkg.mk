# Packages: the functions and the Configuration, as registries hold them, and the
# images of programs that are none.
XPKG_DIR    := $(OUTPUT)/xpkg
XPKG        := GOWORK=off go run -C hack/xpkg ./cmd/xpkg
XPKG_SRC    := $(CURDIR)
XPKG_IMAGES := -images dataset-watcher,chat-frontend,ledger,token-meter

# The sandbox's image has Debian's Python and pandas below the program. mmdebstrap
# puts them together from Debian's packages, without a container engine, for the
# machine's own architecture. One package index is meant to give one image, byte for byte
# (the date in the recipe only has to be later than any package's): SANDBOX_MIRROR, a
# mirror or a snapshot of Debian's archive, pins it; empty is mmdebstrap's own choice.
SANDBOX_SUITE    ?= bookworm
SANDBOX_MIRROR   ?=
SANDBOX_PACKAGES := python3-pandas,python3-matplotlib,fonts-dejavu-core,ca-certificates,tzdata
SANDBOX_ARCH     := $(shell go env GOARCH)
SANDBOX_ROOTFS   ?= $(OUTPUT)/sandbox/$(SANDBOX_SUITE)-$(SANDBOX_ARCH).tar

# The version that the install manifests ask for; one place says it.
VERSION ?= $(shell sed -n 's|^ *package: .*/whisperops:\(v.*\)|\1|p' package/install/configuration.yaml)

.PHONY: xpkg sandbox-rootfs sandbox-rootfs-check push pin xpkg-check
xpkg: ## build all packages and the images of the other programs into _output/xpkg, with SBOMs and digests; the sandbox's after make sandbox-rootfs
	@$(XPKG) build -root $(XPKG_SRC) -out $(XPKG_DIR) -version $(VERSION) $(XPKG_IMAGES) $$(test ! -e $(SANDBOX_ROOTFS) || echo -sandbox $(SANDBOX_ROOTFS))
	@test -e $(SANDBOX_ROOTFS) || echo "the sandbox's image was not built: make sandbox-rootfs first (needs mmdebstrap), or docker build -f hack/xpkg/sandbox.Dockerfile ." >&2

sandbox-rootfs: ## put Debian's Python and pandas together again, for the sandbox's image (SANDBOX_MIRROR, SANDBOX_SUITE)
	@rm -f $(SANDBOX_ROOTFS) && $(MAKE) $(SANDBOX_ROOTFS)

sandbox-rootfs-check: $(SANDBOX_ROOTFS) ## put the sandbox's root file system together a second time, and fail if an image would differ
	@again=$(OUTPUT)/sandbox/again.tar; trap 'rm -f "$$again"' EXIT; $(MAKE) sandbox-rootfs SANDBOX_ROOTFS="$$again" && \
	  cd hack/xpkg && SANDBOX_ROOTFS_PAIR="$(abspath $(SANDBOX_ROOTFS)):$$again" GOWORK=off go test -count=1 -v -timeout 30m -run 'TestSameRootfs$$' .

$(SANDBOX_ROOTFS):
	@mkdir -p $(@D)
	SOURCE_DATE_EPOCH=1893456000 mmdebstrap --quiet --variant=minbase --format=tar --architectures=$(SANDBOX_ARCH) --include=$(SANDBOX_PACKAGES) \
	  --aptopt='APT::Install-Recommends "false"' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
	  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/info/*' \
	  $(SANDBOX_SUITE) $@.tmp $(SANDBOX_MIRROR)
	@mv $@.tmp $@

push: ## push the packages that make xpkg built: make push REGISTRY=registry.example.org/whisperops
	@test -n "$(REGISTRY)" || { echo "say where to: make push REGISTRY=registry.example.org/whisperops" >&2; exit 2; }
	@$(XPKG) push -from $(XPKG_DIR) -version $(VERSION) -registry $(REGISTRY)

pin: ## write the install manifests into _output/install with the digests of what make xpkg built, and of the providers as their registries say: OTHERS= leaves these alone
	@$(XPKG) pin -from $(XPKG_DIR) -manifests $(XPKG_SRC)/package/install -out $(OUTPUT)/install $(if $(filter-out undefined,$(origin OTHERS)),,-others)

xpkg-check: ## build the packages twice, in two folders, and fail if their digests differ; test the builder
	@cd hack/xpkg && GOWORK=off $(VET) ./... && GOWORK=off go test ./...
	@tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; mkdir "$$tmp/copy"; \
	  git ls-files -z --cached --others --exclude-standard | xargs -0 tar c --ignore-failed-read | tar x -C "$$tmp/copy" && \
	  export SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) && \
	  $(XPKG) build -root $(XPKG_SRC) -out "$$tmp/1" -version $(VERSION) $(XPKG_IMAGES) >/dev/null && \
	  $(XPKG) build -root "$$tmp/copy" -out "$$tmp/2" -version $(VERSION) $(XPKG_IMAGES) >/dev/null && \
	  (cd "$$tmp/1" && sha256sum *) | (cd "$$tmp/2" && sha256sum --check --quiet) && echo "two builds in two folders are the same, byte for byte:" && cat "$$tmp/1/digests"
