# Mistakes that break a rule which keeps data safe, and the scenarios of make e2e
# that must notice. Each boots a control plane; PARALLEL of them at once.
PARALLEL ?= 1

.PHONY: mutants mutants-quick test-mutants
mutants: tools up-build ## break each of the nine rules on purpose and see a scenario of make e2e go red; one mutant: RUN=unpaid-bill
	cd test/e2e && GOWORK=off $(VET) . ./mutants && MUTANTS=$(OUTPUT)/mutants GOWORK=off go test -count=1 -timeout 4h -parallel $(PARALLEL) \
	  -run '^TestMutants$$$(if $(RUN),/^$(RUN)$$)' -v ./mutants

mutants-quick: ## see the unit tests go red that notice a mutant, where one does, without a server
	cd test/e2e && GOWORK=off $(VET) ./mutants && QUICK=1 GOWORK=off go test -count=1 -v -run '^TestQuick$$' ./mutants

test-mutants: ## test that every mutant of make mutants still applies, compiles and has its scenario, without a server
	cd test/e2e && GOWORK=off $(VET) ./mutants && GOWORK=off go test -count=1 ./mutants
