.PHONY: bench
bench: build ## time, allocations, size and memory of each station beside doing nothing
	@go build -ldflags '-s -w' -o $(OUTPUT)/bin/nothing ./test/bench/nothing
	@go run ./test/bench $(BENCH_FLAGS)
