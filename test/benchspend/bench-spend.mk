# What counting costs: 2,000 agents on one real Prometheus take about ten minutes.
BENCH_SPEND_FLAGS ?=

.PHONY: bench-spend
bench-spend: $(PROMETHEUS) ## samples, bytes, time and memory of measuring 2,000 agents on a real Prometheus, beside sum(increase()) and with BASE=<commit>, beside that commit's
	@mkdir -p $(OUTPUT)/bin
	@go build $(SMALL) -o $(OUTPUT)/bin ./cmd/function-budget-fetch-spend
	@set -e; base=; if [ -n "$(BASE)" ]; then \
	    tmp=$$(mktemp -d); trap 'git worktree remove --force "$$tmp/base"; rm -rf "$$tmp"' EXIT; \
	    git worktree add --quiet --detach "$$tmp/base" "$(BASE)"; \
	    (cd "$$tmp/base" && go build $(SMALL) -o "$$tmp/bin/" ./cmd/function-budget-fetch-spend); base=-base="$$tmp/bin/function-budget-fetch-spend"; fi; \
	  cd test/benchspend && GOWORK=off go run ./cmd/bench-spend -prometheus=$(PROMETHEUS) -function=$(OUTPUT)/bin/function-budget-fetch-spend $$base $(BENCH_SPEND_FLAGS)
