# Worlds of the failure table, and one of them to live through again.
WORLDS ?= 1000
SEED   ?=

.PHONY: test-simulation
test-simulation: ## count spend in 1,000 made-up worlds in which things fail, and measure overspend; SEED=<n> replays one world
	@cd test/simulation && GOWORK=off $(VET) ./... && \
	  GOWORK=off go test -count=1 -v -timeout 30m -parallel 2 $(if $(SEED),-run '^TestFailureTable$$') . -args -worlds=$(WORLDS) $(if $(SEED),-seed=$(SEED))
