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

.PHONY: golden
golden: ## rewrite the expected responses of all stories; read the diff before you commit it
	go test ./fn/... -update

.PHONY: clean
clean: ## remove what was built in this checkout (the tools stay)
	rm -rf $(OUTPUT)
