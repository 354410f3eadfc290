# Worlds per property. 9 properties times 12,000 are above 100,000 cases.
CASES ?= 12000

.PHONY: properties
properties: ## the properties over many generated worlds: make properties CASES=12000
	go test ./test/properties -count=1 -v -rapid.checks=$(CASES) -timeout 60m
