.PHONY: bench
bench: build ## time, allocations, size and memory of each station beside doing nothing
	@CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(OUTPUT)/bin/nothing ./test/bench/nothing
	@go run ./test/bench $(BENCH_FLAGS)
