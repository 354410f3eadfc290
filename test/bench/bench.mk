BASE ?=

# A program of crossplane-contrib/function-go-templating, built from its sources: one
# step of it that renders the workloads is compared with the six stations.
PEER ?=

PEER_FLAG = $(if $(PEER),-peer $(PEER))

.PHONY: bench bench-up size
bench: build $(OUTPUT)/bin/nothing ## what each station costs beside doing nothing and, with BASE=<commit>, beside that commit's; writes docs/measured.md then
	@set -e; if [ -z "$(BASE)" ]; then go run ./test/bench $(PEER_FLAG) $(BENCH_FLAGS); exit; fi; \
	  tmp=$$(mktemp -d); trap 'git worktree remove --force "$$tmp/base"; rm -rf "$$tmp"' EXIT; \
	  git worktree add --quiet --detach "$$tmp/base" "$(BASE)"; \
	  how=$$(sed -n 's/^SMALL := //p' "$$tmp/base/Makefile"); \
	  (cd "$$tmp/base" && eval "go build $${how:--ldflags '-s -w'} -o '$$tmp/bin/' ./cmd/function-..."); \
	  go run ./test/bench -base "$$tmp/bin" -page docs/measured.md $(PEER_FLAG) \
	    -commits "Commit $$(git describe --always --dirty --exclude '*') beside $$(git rev-parse --short $(BASE)): \`make bench BASE=$(BASE)$(if $(PEER), PEER=$(notdir $(PEER)))\`" $(BENCH_FLAGS)

ROUNDS ?= 3

bench-up: tools up-build ## how long `make up` takes when everything is built, and its first order to Ready, beside those of BASE=<commit>, by turns; writes docs/measured.md
	@set -e; test -n "$(BASE)" || { echo 'bench-up compares with an earlier commit: make bench-up BASE=<commit>' >&2; exit 2; }; \
	  tmp=$$(mktemp -d); trap 'git worktree remove --force "$$tmp/base"; rm -rf "$$tmp"' EXIT; \
	  git worktree add --quiet --detach "$$tmp/base" "$(BASE)"; \
	  { echo "$$(date -u '+%F %H:%M'). Commit $$(git describe --always --dirty --exclude '*') beside $$(git rev-parse --short $(BASE)): \`make bench-up BASE=$(BASE)\`."; echo; \
	    go run ./test/bench/up -base "$$tmp/base" -now . -rounds $(ROUNDS); } >"$$tmp/table"; \
	  cat "$$tmp/table"; go run ./test/page/write -page docs/measured.md -command 'make bench-up' <"$$tmp/table"

# A guard that can't flake: no clock, no machine.
size: build $(OUTPUT)/bin/nothing ## fail if a function's binary is more than 0.48 of a do-nothing function's on Crossplane's SDK
	@go run ./test/bench -max-size 0.48

.PHONY: $(OUTPUT)/bin/nothing
$(OUTPUT)/bin/nothing:
	@go build -ldflags '-s -w' -o $@ ./test/bench/nothing
