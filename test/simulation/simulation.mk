# Worlds of the failure table, and one of them to live through again.
WORLDS ?= 210
SEED   ?=

.PHONY: test-simulation
test-simulation: ## count spend in made-up worlds in which things fail, and measure overspend; WORLDS=<n> how many, SEED=<n> replays one
	@cd test/simulation && GOWORK=off $(VET) ./... && \
	  GOWORK=off go test -count=1 -v -timeout 30m -parallel 2 $(if $(SEED),-run '^TestFailureTable$$') . -args -worlds=$(WORLDS) $(if $(SEED),-seed=$(SEED))
