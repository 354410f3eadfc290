# A real control plane on this machine, without containers. State: UP_DIR.
UP_DIR      ?= $(or $(TMPDIR),/tmp)/whisperops-$(shell id -u)
UP_BUILD    := $(OUTPUT)/up
CONTROLPLANE = $(UP_BUILD)/bin/controlplane

# NODE=real: Kubernetes' own kubelet with Debian's containerd, and the images of make xpkg.
# What is named on make's command line is in the environment of what it runs.
UP_NODE := $(if $(filter real,$(NODE)),up-node)

.PHONY: up up-node dataset down up-build test-controlplane test-kyverno
up: tools up-build $(UP_NODE) ## boot a real Crossplane with the suite and an agent that answers on a chat page, without containers; MODEL_URL= MODEL_KEY= MODEL= for a real model; CONFIGURATION=<xpkg or folder> boots that instead; NODE=real runs the pods in containers, which needs root
	@MODEL_URL='$(MODEL_URL)' MODEL_KEY='$(MODEL_KEY)' MODEL='$(MODEL)' $(CONTROLPLANE) up -dir $(UP_DIR) -packages $(UP_BUILD)/xpkg -standins $(UP_BUILD)/bin $(if $(SCHEMAS),-schemas $(SCHEMAS)) $(if $(UP_NODE),-rootfs $(abspath $(SANDBOX_ROOTFS))) \
	  $(if $(CONFIGURATION),-configuration '$(abspath $(CONFIGURATION))' $(if $(PACKAGES),-more '$(abspath $(PACKAGES))'))

up-node: node-tools
	@test -e $(SANDBOX_ROOTFS) || $(MAKE) $(SANDBOX_ROOTFS)

dataset: ## bring a CSV of your own to what make up started: FILE=path/to/your.csv, perhaps NAME=
	@$(CONTROLPLANE) dataset -dir $(UP_DIR) -file '$(FILE)' $(if $(NAME),-name '$(NAME)')

down: ## stop what make up started; nothing is left
	@if [ -x $(CONTROLPLANE) ]; then $(CONTROLPLANE) down -dir $(UP_DIR); else echo "nothing runs: make up was never run in this checkout"; fi

# Packages for this machine only, and the stand-ins. Packing takes longer than
# booting, so it is left out while nothing that goes in has changed.
UP_INPUTS = cmd fn apis internal package hack/xpkg go.mod go.sum
up-build:
	@mkdir -p $(UP_BUILD)/bin
	@go build -ldflags '-s -w' -o $(UP_BUILD)/bin/ ./test/standins/autoready ./test/standins/foreign ./test/standins/provider ./test/standins/pause \
	  ./cmd/sandbox ./cmd/chat-frontend ./cmd/token-meter ./cmd/dataset-watcher
	@cd test/standins/agentruntime && GOWORK=off go build -ldflags '-s -w' -o $(UP_BUILD)/bin/ .
	@cd test/standins/actors && GOWORK=off go build -o $(UP_BUILD)/bin/ ./gcp ./cluster
	@cd hack/controlplane && GOWORK=off go build -o $(UP_BUILD)/bin/ ./cmd/controlplane
	@inputs=$$({ go version; echo $(VERSION); find $(wildcard $(UP_INPUTS)) -type f -not -name '*_test.go' -not -path '*/testdata/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum; } | sha256sum); \
	  if [ "$$inputs" != "$$(cat $(UP_BUILD)/inputs 2>/dev/null)" ]; then \
	    rm -f $(UP_BUILD)/inputs && \
	    $(XPKG) build -root $(CURDIR) -out $(UP_BUILD)/xpkg -version $(VERSION) -arch $$(go env GOARCH) >/dev/null && \
	    echo "$$inputs" >$(UP_BUILD)/inputs; \
	  fi

test-controlplane: tools ## test the control plane harness and the stand-ins; boots a real Crossplane
	cd test/standins/actors && GOWORK=off $(VET) ./... && GOWORK=off go test ./...
	cd hack/controlplane && GOWORK=off $(VET) ./... && GOWORK=off go test -timeout 20m ./...

test-kyverno: tools $(KYVERNO) $(KYVERNO_FILES) ## hold the policy that we render against Kyverno's own admission controller, which takes minutes to build once
	cd hack/controlplane && GOWORK=off KYVERNO=$(KYVERNO) KYVERNO_FILES=$(KYVERNO_FILES) go test -count=1 -v -timeout 10m -run TestKyverno .
