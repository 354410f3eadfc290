# The meter on a real Prometheus.
PROMETHEUS_TEST_FLAGS ?=

.PHONY: test-prometheus
test-prometheus: $(PROMETHEUS) ## measure fake agents on a real Prometheus with the real binaries, and print how exact that was
	@mkdir -p $(OUTPUT)/bin
	@go build -o $(OUTPUT)/bin ./cmd/function-budget-fetch-spend ./cmd/function-budget-decide
	@cd test/prometheus && GOWORK=off $(VET) ./... && \
	  GOWORK=off go test -count=1 -timeout 10m -parallel 16 $(PROMETHEUS_TEST_FLAGS) -args -prometheus=$(PROMETHEUS) -bin=$(OUTPUT)/bin
