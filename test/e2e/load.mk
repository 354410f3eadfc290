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

SCALE = cd test/e2e && GOWORK=off $(VET) ./scale && SCALE_SIZES='$(SIZES)' SCALE_WINDOW=$(WINDOW) E2E_CORE_ARGS='$(CORE_ARGS)' \
	  GOWORK=off go test -count=1 -timeout 5h -run 'TestScale$$' -v ./scale

scale: tools up-build ## grow one control plane to SIZES ("10 100 500") agents, each left alone for WINDOW (10) minutes, and print what that costs; with BASE=<commit> that commit's first, and docs/measured.md is written
	@set -e; if [ -z "$(BASE)" ]; then $(SCALE); exit; fi; \
	  tmp=$$(mktemp -d); trap 'git worktree remove --force "$$tmp/base"; rm -rf "$$tmp"' EXIT; \
	  git worktree add --quiet --detach "$$tmp/base" "$(BASE)"; \
	  $(MAKE) -C "$$tmp/base" scale BASE= SIZES='$(SIZES)' WINDOW=$(WINDOW) CORE_ARGS='$(CORE_ARGS)' | tee "$$tmp/base.log"; \
	  ($(SCALE)) | tee "$$tmp/now.log"; \
	  (cd test/e2e && GOWORK=off go run ./scale/beside -base "$$tmp/base.log" -now "$$tmp/now.log" \
	    -commits "Commit $$(git describe --always --dirty --exclude '*') beside $$(git rev-parse --short $(BASE)): \`make scale BASE=$(BASE) SIZES=\"$(SIZES)\" WINDOW=$(WINDOW)$(if $(CORE_ARGS), CORE_ARGS=$(CORE_ARGS))\`") >"$$tmp/table"; \
	  cat "$$tmp/table"; go run ./test/page/write -page docs/measured.md -command 'make scale' <"$$tmp/table"

test-load: ## test the plans, the invariants and the measurements of chaos and scale, without a server
	cd test/e2e && GOWORK=off $(VET) ./chaos ./scale/... && GOWORK=off go test -count=1 ./chaos ./scale
