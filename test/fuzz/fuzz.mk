# How long each station is fuzzed.
FUZZTIME ?= 30s

.PHONY: fuzz
fuzz: ## feed rubbish to each station: make fuzz FUZZTIME=30s
	@set -e; for f in $$(go test ./test/fuzz -list 'Fuzz.*' | grep ^Fuzz); do \
	  go test ./test/fuzz -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x; done
