.PHONY: bench-meter
bench-meter: ## what the token meter adds to calls, beside a bare reverse proxy and direct ones
	@go build -o $(OUTPUT)/bin/bench-meter ./internal/tokenmeter/bench && $(OUTPUT)/bin/bench-meter $(BENCH_FLAGS)

.PHONY: meter-100000
meter-100000: ## 100,000 random calls through the token meter: counted is billed; 100 worlds of its hard cap
	@METER_CALLS=100000 METER_WORLDS=100 go test -count=1 -timeout 3h -v -run 'TestCountedIsBilled|TestHardCapHolds' ./internal/tokenmeter

.PHONY: test-meter-clients
test-meter-clients: ## the providers' own Go clients against the token meter
	@cd test/tokenmeter && GOWORK=off go test -count=1 ./...

.PHONY: fuzz-meter
fuzz-meter: ## feed the token meter's reader answers in pieces, and rubbish: make fuzz-meter FUZZTIME=30s
	@set -e; for f in FuzzPieces FuzzRubbish; do \
	  go test ./internal/tokenmeter/usage -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x; done
