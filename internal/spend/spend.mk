# How a budget's figure came about, and price tables, without a cluster.
BUDGET  ?= -
PRICES  ?=
SAMPLES ?=
INPUT   ?=
FROM    ?= -
MODELS  ?=

.PHONY: explain prices
explain: ## work a budget's figure out again: kubectl get xab <agent> -n agent-<agent> -o yaml | make -s explain; PRICES=, SAMPLES=, INPUT= name files
	@go run ./cmd/spend explain --budget '$(BUDGET)' --prices '$(PRICES)' --samples '$(SAMPLES)' --input '$(INPUT)'

prices: ## write a price table from a catalog: make -s prices FROM=model_prices_and_context_window.json MODELS=gemini-3.5-flash
	@go run ./cmd/spend prices --from '$(FROM)' --models '$(MODELS)'
