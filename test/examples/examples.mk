.PHONY: examples-observed
examples-observed: ## write the observed.yaml of the agents' stories anew
	@go run ./test/examples/observe

.PHONY: examples-update
examples-update: ## accept what came out of the stories into their want.yaml; read the diff before you commit it
	@go test ./test/examples -count=1 -update
