# Every task of this repository. `make` alone shows a day's six, then all by their files.
SHELL := /bin/bash -o pipefail
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# A folder with CRDs that no Go module carries, searched for *.yaml; make validate says
# which and where they are. Empty: their kinds are named as not checked.
SCHEMAS ?=
export SCHEMAS

# All is compiled in one way, so that what programs, tests and tools share is
# compiled once, not three times.
export CGO_ENABLED := 0
export GOFLAGS := $(strip $(GOFLAGS) -trimpath)

# How programs are built that people pull. gRPC's tracing, which nobody serves, would keep
# every method of every type in a program: a fifth of its size.
SMALL := -tags grpcnotrace -ldflags '-s -w'

# What looks at code before its tests run.
VET ?= go vet

FUNCTIONS := $(notdir $(wildcard cmd/function-*))
OUTPUT := $(CURDIR)/_output

include test/tools/tools.mk
include $(filter-out test/tools/tools.mk,$(wildcard test/*/*.mk package/*.mk hack/*/*.mk internal/*/*.mk findings/*.mk))

# The day's commands, and the files whose tasks belong together, for help.
DAILY := test golden render validate up check

.PHONY: help
help: ## show the six commands of a day, then every task
	@tasks() { grep -hE '^[a-z][a-zA-Z0-9-]*:.*## ' $$1 | sort -u | sed -E 's/^([^:]+):.*## (.*)/  \1\t\2/' | expand -t 24; }; \
	  echo "A day's six:"; for t in $(DAILY); do grep -hE "^$$t:.*## " $(MAKEFILE_LIST) | sed -E 's/^([^:]+):.*## (.*)/  \1\t\2/' | expand -t 24; done; \
	  for f in $(MAKEFILE_LIST); do tasks $$f | grep -qE . || continue; echo; echo "$$f:"; tasks $$f; done

.PHONY: build
build: ## build every binary into _output/bin
	@mkdir -p $(OUTPUT)/bin
	go build $(SMALL) -o $(OUTPUT)/bin ./cmd/...

.PHONY: test
test: ## run the tests of the product's module
	go test ./...

# The modules beside the product's, each with users of its own.
MODULES = $(patsubst %/go.mod,%,$(shell git ls-files '*/go.mod' ':!test/tools'))

UNIT_MODULES := test/gitops hack/xrdgen test/standins/actors

.PHONY: test-modules
test-modules: ## vet the modules beside the product's, and run those of their tests that need no server
	@set -e; for m in $(MODULES); do echo "== $$m"; (cd $$m && GOWORK=off $(VET) ./...); done
	@set -e; for m in $(UNIT_MODULES); do echo "== $$m"; (cd $$m && GOWORK=off go test -count=1 -short ./...); done
	@echo "== hack/controlplane"; cd hack/controlplane && GOWORK=off go test -count=1 ./configuration ./cmd/...

# What CI runs: first what is quick, then what needs a control plane and mostly
# waits for it; meanwhile the packages are built for all machines, and the tools that
# only the rest needs, with what time is left over.
QUICK      := generate-check build size test test-modules test-portal render validate test-dashboard test-load test-mutants tools test-servers test-simulation test-prometheus up-build
MEANWHILE  :=
LIVE       := e2e-short
REST       := test-again

# What takes too long for every change, or is not green yet: docs/open-ends.md says
# which is which.
LONG       := lint xpkg-check chaos-short test-controlplane test-watcher test-chat test-sandbox test-meter-clients

.PHONY: check-long
check-long: ## what a release needs beside make check; goes on after a failure and names all
	@failed=; for c in $(LONG); do echo "=== $$(date +%T) make $$c"; $(MAKE) $$c || failed="$$failed $$c"; done; \
	  if [ -n "$$failed" ]; then echo "=== failed:$$failed" >&2; exit 1; fi

.PHONY: test-again
test-again:
	@go test -count=1 ./test/pipeline ./test/examples ./test/architecture

.PHONY: check
check: ## everything CI runs; at the end, what took how long and what was not checked
	@hack/check.sh '$(QUICK)' '$(MEANWHILE)' '$(LIVE)' '$(REST)'

.PHONY: lint
lint: $(GOLANGCI_LINT) ## run every linter that has no exception in .golangci.yml, in every module
	@set -e; for m in . $(MODULES); do echo "== $$m"; (cd $$m && GOWORK=off $(GOLANGCI_LINT) run -c $(CURDIR)/.golangci.yml ./...); done

.PHONY: golden
golden: ## rewrite the expected responses of all stories; read the diff before you commit it
	go test ./fn/... -update

.PHONY: clean
clean: ## remove what was built in this checkout (the tools stay)
	rm -rf $(OUTPUT)
