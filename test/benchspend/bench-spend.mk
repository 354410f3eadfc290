# What counting costs: 2,000 agents on one real Prometheus take about five minutes.
BENCH_SPEND_FLAGS ?=

.PHONY: bench-spend
bench-spend: $(PROMETHEUS) ## samples, time and memory of measuring 2,000 agents on a real Prometheus, beside sum(increase())
	@mkdir -p $(OUTPUT)/bin
	@go build $(SMALL) -o $(OUTPUT)/bin ./cmd/function-budget-fetch-spend
	@cd test/benchspend && GOWORK=off go run ./cmd/bench-spend -prometheus=$(PROMETHEUS) -function=$(OUTPUT)/bin/function-budget-fetch-spend $(BENCH_SPEND_FLAGS)
