# How long each target is fuzzed.
FUZZTIME ?= 30s

.PHONY: fuzz
fuzz: ## feed rubbish to each station, and to what reads requests: make fuzz FUZZTIME=30s
	@set -e; for p in ./test/fuzz ./internal/wire; do for f in $$(go test $$p -list 'Fuzz.*' | grep ^Fuzz); do \
	  go test $$p -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x; done; done
