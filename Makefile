# Every task of this repository. `make` alone lists them.
SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# Where the CRDs of the kinds we render are: a folder, searched for *.yaml. See
# "Schemas" in the README for how to get them.
SCHEMAS ?=
export SCHEMAS

FUNCTIONS := $(notdir $(wildcard cmd/function-*))
OUTPUT := $(CURDIR)/_output

include test/tools/tools.mk
include $(filter-out test/tools/tools.mk,$(wildcard test/*/*.mk package/*.mk hack/*/*.mk internal/*/*.mk))

.PHONY: help
help: ## list every task
	@grep -hE '^[a-z][a-zA-Z0-9-]*:.*## ' $(MAKEFILE_LIST) | sort -u | sed -E 's/^([^:]+):.*## (.*)/  \1\t\2/' | expand -t 24

.PHONY: build
build: ## build every binary into _output/bin
	@mkdir -p $(OUTPUT)/bin
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(OUTPUT)/bin ./cmd/...

.PHONY: test
test: ## run the tests of the product's module
	go test ./...

# The modules beside the product's, each with users of its own.
MODULES = $(patsubst %/go.mod,%,$(shell git ls-files '*/go.mod' ':!test/tools'))

UNIT_MODULES := hack/xrdgen test/standins/actors

.PHONY: test-modules
test-modules: ## vet the modules beside the product's, and run those of their tests that need no server
	@set -e; for m in $(MODULES); do echo "== $$m"; (cd $$m && GOWORK=off go vet ./...); done
	@set -e; for m in $(UNIT_MODULES); do echo "== $$m"; (cd $$m && GOWORK=off go test -count=1 -short ./...); done

# What CI runs, quick things first. e2e, chaos and lint are not part of it: they
# were not green in one go yet.
CHECKS := generate-check build test test-modules render validate test-dashboard xpkg-check test-load test-prometheus test-simulation test-watcher

.PHONY: check
check: ## everything CI runs
	@set -e; for c in $(CHECKS); do echo "=== make $$c"; $(MAKE) $$c; done
	@echo "=== all of: $(CHECKS)"; go test -count=1 ./test/pipeline ./test/examples ./test/architecture

.PHONY: lint
lint: $(GOLANGCI_LINT) ## run every linter that has no exception in .golangci.yml, in every module
	@set -e; for m in . $(MODULES); do echo "== $$m"; (cd $$m && GOWORK=off $(GOLANGCI_LINT) run -c $(CURDIR)/.golangci.yml ./...); done

.PHONY: golden
golden: ## rewrite the expected responses of all stories; read the diff before you commit it
	go test ./fn/... -update

.PHONY: clean
clean: ## remove what was built in this checkout (the tools stay)
	rm -rf $(OUTPUT)
