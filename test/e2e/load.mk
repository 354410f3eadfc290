# The suite on a real Crossplane under load: broken at random, and with many agents.
SEED    ?=
MINUTES ?= 30
AGENTS  ?= 20
SIZES   ?= 10 100 500
WINDOW  ?= 10

# More flags for Crossplane core, which runs with its defaults otherwise.
CORE_ARGS ?=

.PHONY: chaos chaos-short scale test-load
chaos: tools up-build ## break everything at random for MINUTES (30) with AGENTS (20) orders; a failing SEED is printed and replays
	cd test/e2e && GOWORK=off $(VET) ./chaos && CHAOS_SEED=$(SEED) CHAOS_MINUTES=$(MINUTES) CHAOS_AGENTS=$(AGENTS) E2E_CORE_ARGS='$(CORE_ARGS)' \
	  GOWORK=off go test -count=1 -timeout $$(( $(MINUTES) + 20 ))m -run 'TestChaos$$' -v ./chaos

chaos-short:
	@$(MAKE) chaos SEED=1 MINUTES=5 AGENTS=6

scale: tools up-build ## grow one control plane to SIZES ("10 100 500") agents, each left alone for WINDOW (10) minutes, and print what that costs
	cd test/e2e && GOWORK=off $(VET) ./scale && SCALE_SIZES='$(SIZES)' SCALE_WINDOW=$(WINDOW) E2E_CORE_ARGS='$(CORE_ARGS)' \
	  GOWORK=off go test -count=1 -timeout 5h -run 'TestScale$$' -v ./scale

test-load: ## test the plans, the invariants and the measurements of chaos and scale, without a server
	cd test/e2e && GOWORK=off $(VET) ./chaos ./scale && GOWORK=off go test -count=1 ./chaos ./scale
