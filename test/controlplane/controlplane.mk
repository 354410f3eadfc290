# A real control plane on this machine, without containers. State: UP_DIR.
UP_DIR      ?= $(or $(TMPDIR),/tmp)/whisperops-$(shell id -u)
UP_BUILD    := $(OUTPUT)/up
CONTROLPLANE = $(UP_BUILD)/bin/controlplane

.PHONY: up down up-build test-controlplane
up: tools up-build ## boot a real Crossplane with the suite and a first order on it, without containers
	@$(CONTROLPLANE) up -dir $(UP_DIR) -packages $(UP_BUILD)/xpkg -standins $(UP_BUILD)/bin $(if $(SCHEMAS),-schemas $(SCHEMAS))

down: ## stop what make up started; nothing is left
	@if [ -x $(CONTROLPLANE) ]; then $(CONTROLPLANE) down -dir $(UP_DIR); else echo "nothing runs: make up was never run in this checkout"; fi

# Packages for this machine only, and the stand-ins.
up-build:
	@mkdir -p $(UP_BUILD)/bin
	@CGO_ENABLED=0 go build -trimpath -o $(UP_BUILD)/bin/ ./test/standins/autoready
	@cd test/standins/actors && GOWORK=off CGO_ENABLED=0 go build -trimpath -o $(UP_BUILD)/bin/ ./gcp ./cluster
	@cd test/controlplane && GOWORK=off CGO_ENABLED=0 go build -trimpath -o $(UP_BUILD)/bin/ ./cmd/controlplane
	@$(XPKG) build -root $(CURDIR) -out $(UP_BUILD)/xpkg -version $(VERSION) -arch $$(go env GOARCH) >/dev/null

test-controlplane: tools ## test the control plane harness and the stand-ins; boots a real Crossplane
	cd test/standins/actors && GOWORK=off go vet ./... && GOWORK=off go test ./...
	cd test/controlplane && GOWORK=off go vet ./... && GOWORK=off go test -timeout 10m ./...
